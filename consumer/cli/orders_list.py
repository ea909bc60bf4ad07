"""`orderflow orders list`: which orders there are, and which of them need a person first."""

from collections.abc import Collection
from datetime import datetime, timedelta
from typing import Annotated, Any

import typer

from adapters.store import shops as shop_rows
from consumer import config
from consumer.cli.opening import Session, opened
from consumer.cli.options import FILE, Config, Json, Limit
from consumer.cli.output import at_most, print_rows
from consumer.operations.listing import Listed, Wanted, find_orders, summary
from statemachine.reasons import Reason
from statemachine.states import State


def orders_list(
    context: typer.Context,
    *,
    file: Config = FILE,
    shop: Annotated[str | None, typer.Option(help="Only orders of this shop.")] = None,
    state: Annotated[list[str] | None, typer.Option(help="Only orders in this state; may be given again.")] = None,
    attention: Annotated[bool, typer.Option("--attention", help="Only orders that need a person.")] = False,
    reason: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help="Only orders with this attention reason; may be given again."),
    ] = None,
    limit: Limit = 100,
    as_json: Json = False,
) -> None:
    """List orders, the latest change first; those that need a person by their deadline, the nearest first.

    `since`: for how long the order needs a person. `deadline`: until when Mirakl waits for the seller.

    \b
    Examples:
      orderflow orders list --attention
      orderflow orders list --reason needs_decision --reason acceptance_due
      orderflow orders list --shop alpha --state shipping --state imported --json
    """
    _require_known("--state", "state", state, list(State))
    _require_known("--reason", "attention reason", reason, list(Reason))
    wanted = Wanted(shop, state or (), attention, reason or ())
    with opened(context, file) as session:
        _require_shop(session, shop)
        rows = find_orders(session.store, wanted, config.policies(session.settings), limit + 1)
        now = session.clock.now()
    shown = [summary(row) if as_json else _in_words(row, now) for row in rows]
    print_rows(at_most(limit, shown), as_json)


def _require_known(option: str, what: str, given: Collection[str] | None, known: Collection[str]) -> None:
    for one in sorted(set(given or ()) - set(known)):
        raise typer.BadParameter(f"{one} is no {what}; these are: {', '.join(known)}", param_hint=option)


def _require_shop(session: Session, shop: str | None) -> None:
    """A shop that was taken out of the configuration may still have orders."""
    known = {*session.settings.shops, *(row.name for row in shop_rows.list_all(session.store))}
    _require_known("--shop", "shop", [shop] if shop else [], sorted(known))


def _in_words(one: Listed, now: datetime) -> dict[str, Any]:
    """An order as a table shows it: with spans of time instead of instants, which a person would have to subtract."""
    return {
        "shop": one.row.shop,
        "order_id": one.row.order_id,
        "state": one.row.state,
        "updated": _span(now - one.row.updated_at),
        "deadline": "" if one.deadline is None else _distance(one.deadline - now),
        "since": "" if one.since is None else _span(now - one.since),
        "attention": list(dict.fromkeys(each.reason for each in one.row.attention)),
    }


def _distance(span: timedelta) -> str:
    return f"in {_span(span)}" if span >= timedelta() else f"{_span(-span)} ago"


def _span(span: timedelta) -> str:
    """A span of time in its greatest unit that fits twice: "90 min", "47 h", "3 d"."""
    minutes = max(int(span.total_seconds() // 60), 0)
    if minutes < 120:
        return f"{minutes} min"
    return f"{minutes // 60} h" if minutes < 48 * 60 else f"{minutes // (24 * 60)} d"
