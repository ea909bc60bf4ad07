"""`orderflow shops documents`: the business documents of a shop at Mirakl."""

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from consumer.cli.opening import Session, opened
from consumer.cli.options import FILE, Config, Json, Reason, ShopName, Who, Yes, group
from consumer.cli.output import ask, note, print_json, print_results, print_rows
from consumer.cli.shop_account import account_of
from consumer.operations.shop_account import ShopAccount
from consumer.operations.shop_documents import ShopDocuments

commands = group("The shop's business documents at Mirakl.")

Ids = Annotated[list[int], typer.Argument(metavar="ID", help="One id or several, as `list` shows them.")]
AnyIds = Annotated[list[int] | None, typer.Argument(metavar="[ID]...", help="By default every document.")]
Types = Annotated[list[str] | None, typer.Option("--type", metavar="TYPE", help="All of this type. Repeatable.")]
Folder = Annotated[Path, typer.Option("--to", metavar="FOLDER", help="Where the file is written.")]


@commands.command("list")
def documents_list(context: typer.Context, shop: ShopName, *, file: Config = FILE, as_json: Json = False) -> None:
    """List the documents: id, name, type, and when each was uploaded.

    \b
    Example:
      orderflow shops documents list alpha
    """
    with opened(context, file) as session, account_of(session, shop) as account:
        print_rows([asdict(one) for one in _documents(session, account).all()], as_json)


@commands.command("download")
def documents_download(
    context: typer.Context,
    shop: ShopName,
    ids: AnyIds = None,
    *,
    types: Types = None,
    folder: Folder = Path(),
    file: Config = FILE,
    as_json: Json = False,
) -> None:
    """Download documents into a new file: one as it is, several as a ZIP archive. Prints the path.

    Only the file's owner may read it.

    \b
    Examples:
      orderflow shops documents download alpha 17
      orderflow shops documents download alpha --type IDENTITY --to /safe/place
    """
    with opened(context, file) as session, account_of(session, shop) as account:
        documents = _documents(session, account)
        chosen = documents.chosen(ids or (), types or ())
        path = documents.download(chosen, folder)
    if as_json:
        print_json({"path": str(path), "bytes": path.stat().st_size, "ids": [one.id for one in chosen]})
    else:
        typer.echo(path)


@commands.command("delete")
def documents_delete(
    context: typer.Context,
    shop: ShopName,
    ids: Ids,
    *,
    reason: Reason,
    file: Config = FILE,
    as_json: Json = False,
    who: Who = None,
    yes: Yes = False,
) -> None:
    """Delete documents at Mirakl. Shows them, and asks. Exit code 1 if one of them is not deleted, or if that is not
    known.

    \b
    Example:
      orderflow shops documents delete alpha 17 --reason "an old certificate"
    """
    with opened(context, file) as session, account_of(session, shop) as account:
        documents = _documents(session, account)
        chosen = documents.chosen(ids)
        for one in chosen:
            note(f"{one.id}  {one.type}  {one.file_name}")
        what = "this document" if len(chosen) == 1 else f"these {len(chosen)} documents"
        ask(f"delete {what} of {shop} at Mirakl?", yes)
        result = documents.delete(chosen, who=session.name_of(who), why=reason)
    print_results([asdict(one) for one in result], as_json)


def _documents(session: Session, account: ShopAccount) -> ShopDocuments:
    return ShopDocuments(account.name, account.client, session.store, session.clock)
