"""`orderflow shops account`: what Mirakl holds of a shop, and how a person changes it."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from typing import Annotated

import typer

from consumer.cli.opening import Session, opened
from consumer.cli.options import FILE, Config, Json, Reason, ShopName, Who, Yes, group
from consumer.cli.output import ask, cell, note, print_json, print_pairs, print_results, print_rows, span
from consumer.operations.shop_account import ShopAccount, changes_since, fields_of, stored_account

commands = group("The shop's account at Mirakl.")

Assignments = Annotated[list[str], typer.Argument(metavar="FIELD=VALUE", help="What to set. FIELD= clears the field.")]


@commands.command("show")
def account_show(
    context: typer.Context,
    shop: ShopName,
    *,
    file: Config = FILE,
    stored: Annotated[bool, typer.Option("--stored", help="Show it as it was last read; do not ask Mirakl.")] = False,
    as_json: Json = False,
) -> None:
    """Show the account: state, closing dates, model, counts, texts. No personal data, no bank data.

    Mirakl allows one such read a day for each shop; `run`, `doctor`, `shops check` and `shops account set` make the
    same read. With --stored Mirakl is not asked: what the last of these reads showed is shown, with its age and what
    `shops account set` changed since.

    \b
    Examples:
      orderflow shops account show alpha
      orderflow shops account show alpha --stored
    """
    with opened(context, file) as session:
        if stored:
            read_at, account = stored_account(session.store, shop)
            head = {"read_at": read_at, "age": span(session.clock.now() - read_at)}
            account = head | {"changed_since": changes_since(session.store, shop, read_at)} | account
        else:
            with account_of(session, shop) as found:
                account = found.show()
    if as_json:
        print_json(account)
    else:
        print_pairs(account)


@commands.command("set")
def account_set(
    context: typer.Context,
    shop: ShopName,
    assignments: Assignments,
    *,
    reason: Reason,
    file: Config = FILE,
    as_json: Json = False,
    who: Who = None,
    yes: Yes = False,
) -> None:
    """Change named fields of the account. All others stay. Shows what changes, and asks.

    Possible: closed_from, closed_to, description, recycling_policy, return_policy, shipping_country, shop_name,
    web_site. A date without an offset is in UTC. Mirakl allows one change a day for each shop. Exit code 1 if Mirakl
    refused a field.

    \b
    Example:
      orderflow shops account set alpha closed_from=2026-12-24 closed_to=2027-01-02 --reason "Christmas"
    """
    fields = fields_of(assignments)
    with opened(context, file) as session, account_of(session, shop) as account:
        changes = account.preview(fields)
        if not changes:
            note("the account has these values already")
            print_rows([], as_json)
            return
        for one in changes:
            as_read = f" (as read at {cell(one.read_at)} UTC)" if one.read_at else ""
            note(f"{one.field}: {cell(one.now) or '(empty)'}{as_read} -> {cell(one.then) or '(empty)'}")
        if any(one.now == "?" for one in changes):
            note("? is not known: Mirakl allows one read of the account a day")
        ask(f"change this at Mirakl for {shop}?", yes)
        result = account.change(changes, who=session.name_of(who), why=reason)
    done = [one.field for one in result if not one.error]
    if done:
        names = ", ".join(done)
        note(f"changed at Mirakl: {names}. `shops account show --stored` names it, and has it after the next read.")
    print_results([asdict(one) for one in result], as_json)


@contextmanager
def account_of(session: Session, shop: str) -> Iterator[ShopAccount]:
    """The account of a configured shop, with a client that is closed at the end."""
    from consumer import clients  # noqa: PLC0415 - it imports the clients of the remotes

    table, key = session.shop_with_key(shop)
    client = clients.account_client(table, key, lambda *_, **__: None, session.transport, http=session.settings.http)
    try:
        yield ShopAccount(shop, table, client, session.store, session.clock)
    finally:
        client.close()
