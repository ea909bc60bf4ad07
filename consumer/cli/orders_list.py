"""`orderflow orders list`: which orders there are, and which of them need a person first."""

import sys
from collections.abc import Callable, Collection
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any

import typer

from adapters.store import shops as shop_rows
from consumer.cli import watching
from consumer.cli.at_work import note_no_worker, note_paused_shops, note_unconfigured
from consumer.cli.opening import Environment, Session, opened
from consumer.cli.options import FILE, Config, Json, Limit
from consumer.cli.output import at_most, fits, note, print_json, print_rows, span
from consumer.cli.spans import instant_of, span_of
from consumer.cli.watching import JsonLines, Screen
from consumer.operations.listing import Listed, Sort, Wanted, count_orders, find_orders, summary
from consumer.operations.what_first import names_in_turn
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
    text: Annotated[
        str,
        typer.Option(
            help="Only orders with an id, a reference, a SKU or a tracking number that begins with this text, or has a "
            "word that does. Upper and lower case are the same."
        ),
    ] = "",
    older_than: Annotated[
        str,
        typer.Option(
            metavar="SPAN",
            help="Only orders that are in their state for longer; with --attention or --reason, that need a person for "
            "longer.",
        ),
    ] = "",
    deadline_within: Annotated[
        str, typer.Option(metavar="SPAN", help="Only orders whose deadline is over, or nearer than this.")
    ] = "",
    since: Annotated[
        str, typer.Option(metavar="SPAN|TIME", help="Only orders that changed after this: see above.")
    ] = "",
    after: Annotated[
        str, typer.Option(metavar="PLACE", help="The page after this place, which the page before names.")
    ] = "",
    sort: Annotated[Sort | None, typer.Option(help="What comes first: see above.")] = None,
    count: Annotated[bool, typer.Option("--count", help="Print only how many orders there are.")] = False,
    watch: Annotated[bool, typer.Option("--watch", help="Read the list every 2 s and show it, until Ctrl-C.")] = False,
    limit: Limit = 100,
    as_json: Json = False,
) -> None:
    """List orders, the latest change first; those that need a person by their urgency, then by their deadline.

    A read of Mirakl is a change if it shows something new, or if the order gets or loses a reason. `do`: when a person
    has to act. `now`: goods are made that must be stopped or changed. `wait`: a read ends it.
    Above the list stands if no worker runs, which of these shops are not in the configuration and, with --attention or
    --reason, which shops are paused and what waits.
    A terminal that is too narrow shows no states with --attention and --reason.
    `since`: for how long the order needs a person. `deadline`: until when Mirakl waits for the seller, or none. A SPAN
    is a number with its unit: 90min, 2h, 3d. A TIME is in UTC: 2026-03-01 or 2026-03-01T08:00. Sorted by `urgency`,
    `now` comes first; by `deadline`, the nearest; by `since` or `entered`, the longest; by `updated`, the last change.

    --watch needs a terminal. With --json it prints a line for each change: an order is `listed`, `changed` or
    `unlisted`.

    \b
    Examples:
      orderflow orders list --attention
      orderflow orders list --attention --watch
      orderflow orders list --reason needs_decision --reason acceptance_due
      orderflow orders list --attention --deadline-within 12h --count
      orderflow orders list --text 0998877
      orderflow orders list --after 2026-03-01T08:15:00.000000/4711
      orderflow orders list --state imported --older-than 3d --sort entered
      orderflow orders list --shop alpha --state shipping --state imported --json
    """
    _require_known("--state", "state", state, list(State))
    _require_known("--reason", "attention reason", reason, list(Reason))
    by_change = sort is Sort.UPDATED or (sort is None and not (attention or reason))
    if after and not by_change:
        raise typer.BadParameter("pages follow each other only with --sort updated", param_hint="--after")
    if watch and (count or after):
        raise typer.BadParameter("it shows the list from its beginning: no --count, no --after", param_hint="--watch")
    if watch and not (as_json or sys.stdout.isatty()):
        raise typer.BadParameter("it needs a terminal; --json prints a line for each change", param_hint="--watch")
    place = _place_of(after) if after else None
    with opened(context, file) as session:
        _require_shop(session, shop)

        def wanted_at(now: datetime) -> Wanted:
            return Wanted(
                shop,
                state or (),
                attention,
                reason or (),
                text=text,
                older_than=span_of("--older-than", older_than),
                deadline_within=span_of("--deadline-within", deadline_within),
                changed_after=instant_of("--since", since, now),
                after=place,
                sort=sort,
            )

        if watch:
            _watch(session, wanted_at, limit, Environment.of(context), as_json=as_json)
            return
        now = session.clock.now()
        wanted = wanted_at(now)
        if count:
            how_many = count_orders(session.store, wanted, session.policies(), now)
            print_json({"count": how_many}) if as_json else typer.echo(how_many)
            return
        rows = find_orders(session.store, wanted, session.policies(), now, limit + 1)
        if not as_json:
            note_no_worker(session)
            note_unconfigured(session, (one.row.shop for one in rows))
        if wanted.for_a_person and not as_json:
            note_paused_shops(session, shop)
    shown = [summary(row) if as_json else _in_words(row, now, wanted.for_a_person) for row in rows]
    more = "--limit shows more"
    if by_change and len(rows) > limit:
        last = rows[limit - 1].row
        more = f"--after {last.updated_at:%Y-%m-%dT%H:%M:%S.%f}/{last.key} shows the next"
    print_rows(at_most(limit, shown if as_json else _narrowed(shown), more), as_json)
    if text and not rows and not as_json:
        note(
            f"No id, reference, SKU or tracking number begins with {text}, nor does a word in one. "
            "Names and addresses are not looked at."
        )


def _watch(
    session: Session, wanted_at: Callable[[datetime], Wanted], limit: int, environment: Environment, *, as_json: bool
) -> None:
    def read() -> list[dict[str, Any]]:
        now = session.clock.now()
        wanted = wanted_at(now)
        rows = find_orders(session.store, wanted, session.policies(), now, limit)
        if as_json:
            return [summary(row) for row in rows]
        return _narrowed([_in_words(row, now, wanted.for_a_person) for row in rows])

    def title() -> str:
        return f"{session.clock.now():%H:%M:%S} UTC, at most {limit} orders, Ctrl-C ends"

    shown = JsonLines(("shop", "order_id")) if as_json else Screen(title)
    watching.watch(read, shown, environment.wait)


def _place_of(text: str) -> tuple[datetime, int]:
    """The place of an order in the list by change, as the page before named it."""
    instant, _, key = text.partition("/")
    try:
        return datetime.fromisoformat(instant).replace(tzinfo=UTC), int(key)
    except ValueError:
        raise typer.BadParameter(f"{text} is no place in this list", param_hint="--after") from None


def _require_known(option: str, what: str, given: Collection[str] | None, known: Collection[str]) -> None:
    for one in sorted(set(given or ()) - set(known)):
        raise typer.BadParameter(f"{one} is no {what}; these are: {', '.join(known)}", param_hint=option)


def _require_shop(session: Session, shop: str | None) -> None:
    """A shop that was taken out of the configuration may still have orders."""
    known = {*session.settings.shops, *(row.name for row in shop_rows.list_all(session.store))}
    _require_known("--shop", "shop", [shop] if shop else [], sorted(known))


def _in_words(one: Listed, now: datetime, for_a_person: bool) -> dict[str, Any]:
    """An order as a table shows it: with spans of time instead of instants, which a person would have to subtract."""
    updated = {} if for_a_person else {"updated": span(now - one.row.updated_at)}
    return {
        "shop": one.row.shop,
        "order_id": one.row.order_id,
        "state": one.row.state,
        **updated,
        **({"do": one.urgency or ""} if for_a_person else {}),
        "deadline": "none" if one.deadline is None else _distance(one.deadline - now),
        "since": "" if one.since is None else span(now - one.since),
        "attention": names_in_turn(one.row),
    }


def _narrowed(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The rows of the list as this terminal shows them: if it is too narrow, those that need a person come without
    their state, so that the names of their reasons stay whole. `explain` has the state."""
    if fits(rows) or not all("do" in row for row in rows):
        return rows
    return [{name: value for name, value in row.items() if name != "state"} for row in rows]


def _distance(from_now: timedelta) -> str:
    return f"in {span(from_now)}" if from_now >= timedelta() else f"{span(-from_now)} ago"
