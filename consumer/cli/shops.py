"""`orderflow shops`: the shops, and the switches of their effects."""

from collections.abc import Sequence
from dataclasses import asdict
from typing import Annotated, Any

import typer

from adapters.store import shops as shop_rows
from adapters.store.backlog import Backlog
from consumer.cli import shop_account, shop_documents
from consumer.cli.opening import Session, opened
from consumer.cli.options import FILE, Config, Json, Only, Reason, ShopName, Who, Yes, group
from consumer.cli.output import BAD_ANSWER, ask, cell, fail, note, print_json, print_pairs, print_rows, print_table
from consumer.operations import shops
from consumer.operations.errors import NotPossible
from consumer.operations.pauses import Pause, read_pauses
from consumer.polling.account_compare import Finding

commands = group("Shops, their accounts, and the switches of their effects.")
commands.add_typer(shop_account.commands, name="account")
commands.add_typer(shop_documents.commands, name="documents")


@commands.command("list")
def shops_list(context: typer.Context, file: Config = FILE, as_json: Json = False) -> None:
    """List the shops, their switches, who paused them and why, and how far their polls have come.

    \b
    Example:
      orderflow shops list
    """
    with opened(context, file) as session:
        rows = shop_rows.list_all(session.store)
        effects = {name: shop.effects for name, shop in session.settings.shops.items()}
        pauses = read_pauses(session.store, rows, effects)
    shown = [
        asdict(row) | {"pauses": [asdict(one) if as_json else str(one) for one in pauses.get(row.name, ())]}
        for row in rows
    ]
    print_table(
        shown if as_json else [one | {"pauses": "; ".join(one["pauses"])} for one in shown], as_json, ["endpoint"]
    )


@commands.command("check")
def shops_check(
    context: typer.Context,
    names: Annotated[list[str] | None, typer.Argument(metavar="[SHOP]...", help="By default every shop.")] = None,
    *,
    file: Config = FILE,
    verbose: Annotated[bool, typer.Option("--verbose", help="Write log lines to standard error too, as -v.")] = False,
    as_json: Json = False,
) -> None:
    """Compare each shop's account at Mirakl with the configuration. Exit code 1 if something is wrong.

    Mirakl allows one such read a day for each shop, and `run` makes it at its start: after that its answer is compared.
    A key that belongs to another shop pauses the effects of the shop. The shop's map `carriers` is compared with the
    marketplace's carriers (SH21), also once a day.

    \b
    Example:
      orderflow shops check alpha
    """
    if verbose:
        from consumer.telemetry import log_to_standard_error  # noqa: PLC0415 - it imports structlog, which takes time

        log_to_standard_error()
    with opened(context, file) as session:
        tables = session.settings.shops
        if unknown := sorted(set(names or ()) - set(tables)):
            raise NotPossible(f"the configuration has no shop {unknown[0]}")
        rows: list[dict[str, Any]] = []
        refused: list[str] = []
        for name in names or sorted(tables):
            found: list[Finding] = []
            try:
                found += _check_account(session, name)
            except NotPossible as error:
                refused.append(str(error))  # the other checks are still made
            try:
                found += _check_carriers(session, name)
            except NotPossible as error:
                note(f"{error}; the carriers are not compared")
            rows += [{"shop": name, **asdict(one)} for one in found]
    if rows or not refused:
        print_rows(rows, as_json)
    if refused:
        fail("\n".join([*refused, "`orderflow doctor` says at any time whether the key is right."]), BAD_ANSWER)
    if any(row["wrong"] for row in rows):
        raise typer.Exit(BAD_ANSWER)


def _check_account(session: Session, shop: str) -> list[Finding]:
    with shop_account.account_of(session, shop) as account:
        checked = shops.check(session.store, session.clock, shop, account.table, account.client)
    if checked.again_at:
        compared = f"the account is compared as read at {cell(checked.read_at)} UTC; " if checked.read_at else ""
        note(f"{shop}: {compared}A01 is possible again at {cell(checked.again_at)} UTC: Mirakl allows one a day")
    return checked.findings


def _check_carriers(session: Session, shop: str) -> list[Finding]:
    from consumer import clients  # noqa: PLC0415 - it imports the clients of the remotes

    table, key = session.shop_with_key(shop)
    client = clients.mirakl_client(
        table, key, session.clock, lambda *_, **__: None, session.transport, http=session.settings.http
    )
    try:
        return shops.check_carriers(session.store, session.clock, shop, table, client.catalog)
    finally:
        client.close()


@commands.command("pause")
def shops_pause(
    context: typer.Context,
    shop: ShopName,
    *,
    reason: Reason,
    file: Config = FILE,
    only: Only = None,
    who: Who = None,
    yes: Yes = False,
) -> None:
    """Pause a shop's effects: its orders are still read and decided, but nothing is sent. Mirakl's deadlines go on.

    Says before it asks how many calls wait from now on, by kind, and what is paused already, since when and by whom.

    \b
    Example:
      orderflow shops pause alpha --only import --reason "the OMS is being moved"
    """
    with opened(context, file) as session:
        shops.require(session.store, shop)
        calls = shops.waiting_calls(session.store, session.clock, shop, only)
        table = session.settings.shops.get(shop)
        before = shops.paused_already(session.store, shop, only, table.effects if table else None)
        ask(f"pause {only or 'every effect'} of {shop}: {_paused(*before)}{_staying(calls)}?", yes)
        paused = shops.pause(session.store, session.clock, shop, only=only, who=session.name_of(who), why=reason)
        print_pairs(asdict(paused))


@commands.command("resume")
def shops_resume(
    context: typer.Context,
    shop: ShopName,
    *,
    reason: Reason,
    file: Config = FILE,
    only: Only = None,
    as_json: Json = False,
    who: Who = None,
    yes: Yes = False,
) -> None:
    """Resume a shop's effects. A new shop, whose effects are off until then, begins to accept, import and ship.

    Says before it asks how many calls wait, by kind, and how many of them are for an order whose deadline at Mirakl is
    over.

    \b
    Example:
      orderflow shops resume alpha --reason "looked at what it would do"
    """
    with opened(context, file) as session:
        table = session.settings.shops.get(shop)
        shops.require(session.store, shop)
        calls = shops.waiting_calls(session.store, session.clock, shop, only)
        ask(f"resume {only or 'every effect'} of {shop}: {_going_out(calls)}?", yes)
        resumed = shops.resume(
            session.store,
            session.clock,
            shop,
            only=only,
            who=session.name_of(who),
            why=reason,
            configured=table.effects if table else None,
        )
    if as_json:
        print_json(asdict(resumed) | {"calls": [_for_programs(one) for one in calls]})
    else:
        print_pairs(asdict(resumed))


def _paused(pauses: Sequence[Pause], is_all: bool) -> str:
    """What is paused already of what a person wants to pause."""
    if not pauses:
        return ""
    already = "it is paused already, and this changes nothing" if is_all else "a part is paused already"
    return f"{already} ({'; '.join(map(str, pauses))}); "


def _staying(calls: Sequence[Backlog]) -> str:
    """What a pause keeps from going out, until when, and what it does not stop."""
    kinds = ", ".join(f"{one.live} {one.kind.operation} ({one.kind})" for one in calls)
    stay = f"these calls stay, and all that come: {kinds}" if kinds else "no call waits now, and all that come stay"
    return f"{stay}, until `shops resume`; decisions are kept, and Mirakl's deadlines go on"


def _going_out(calls: Sequence[Backlog]) -> str:
    """How many calls go out, by kind, and for how many of them Mirakl's deadline is over."""
    kinds = (
        f"{one.live} {one.kind.operation} ({one.kind}" + (f", {one.overdue} past the deadline)" if one.overdue else ")")
        for one in calls
    )
    return f"these calls wait and go out: {', '.join(kinds)}" if calls else "no call waits"


def _for_programs(one: Backlog) -> dict[str, Any]:
    return {
        "kind": one.kind,
        "calls": one.live,
        "due_now": one.due,
        "past_deadline": one.overdue,
        "nearest_deadline": one.deadline,
    }
