"""`orderflow orders`: look orders up, and decide about them."""

import json
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import asdict, replace
from datetime import datetime
from functools import partial
from inspect import Signature, signature
from pathlib import Path
from typing import Annotated, Any, Final, Literal

import typer

from adapters.store import commands as command_rows
from adapters.store import journal as journal_rows
from adapters.store import snapshots as snapshot_rows
from adapters.store.commands import CommandRow
from adapters.store.facts_json import facts_to_json
from adapters.store.orders import OrderRow
from consumer import config
from consumer.cli.opening import Session, opened, with_config
from consumer.cli.options import FILE, AllOf, Config, Json, MaybeOrderId, OfShop, OrderId, Raw, Reason, Who, Yes, group
from consumer.cli.orders_bulk import STDIN, decide_all, orders_of
from consumer.cli.orders_list import orders_list
from consumer.cli.orders_messages import orders_messages
from consumer.cli.output import (
    BAD_ANSWER,
    ask,
    cell,
    print_bytes,
    print_json,
    print_json_items,
    print_pairs,
    print_rows,
    printable,
    text,
)
from consumer.cli.spans import instant_of
from consumer.operations.causes import AttentionReason, attention_reasons
from consumer.operations.changed import changed_values
from consumer.operations.explain import Explanation
from consumer.operations.known import known, remote_texts, without_remote_texts
from consumer.operations.lines import lines_of
from consumer.operations.listing import listed, summary_of
from consumer.operations.orders import Act, decide, explanation, find, question_of, replan
from consumer.operations.timeline import timeline
from consumer.operations.verify import verified, verify
from statemachine.commands import Policy
from statemachine.deadlines import DeadlineKind, mirakl_deadline
from statemachine.facts import DecisionKind, Facts, Tracking

commands = group("Orders: look them up, and decide about them.")


commands.command("list")(orders_list)
commands.command("messages")(orders_messages)


@commands.command("show")
def orders_show(
    context: typer.Context,
    order_id: OrderId,
    *,
    file: Config = FILE,
    shop: OfShop = None,
    received: Annotated[
        bool,
        typer.Option("--received", help="Show also the order as received, and texts of the remotes: personal data."),
    ] = False,
    raw: Raw = False,
    as_json: Json = False,
) -> None:
    """Show what is known of an order, its calls, and everything that happened to it.

    If Mirakl changed the order after the import, both values of each field are shown: personal data.

    \b
    Examples:
      orderflow orders show 5f4dcc3b-A --received
      orderflow orders show 5f4dcc3b-A --raw > order.json
    """
    with opened(context, file) as session:
        store = session.store
        row = find(store, order_id, shop)
        commands = command_rows.of_order(store, row.key)
        calls = [_call(command, row.facts) for command in commands]
        journal, policy = journal_rows.of_order(store, row.key), session.policies().get(row.shop, Policy())
        events = [asdict(event) for event in timeline(journal)]
        body = snapshot_rows.find(store, row.key, row.digest)
        summary = summary_of(row, policy)
        external_ref = _prefix(session, row) + row.order_id
        changed = _changed(session, row)
        reasons = attention_reasons(row, journal, policy, (body, *(command.payload for command in commands)))
    attention, lines = [asdict(one) for one in row.attention], [asdict(one) for one in lines_of(row.facts, body)]
    words = [asdict(each) for each in remote_texts(row.facts)] if received else []
    if raw:
        print_bytes(body, raw=True)
        return
    if as_json:
        facts = json.loads(facts_to_json(without_remote_texts(row.facts)))
        more = {"received": text(body), "words": words} if received else {}
        all_of_it = {"attention": attention, "changed": changed, "lines": lines, "facts": facts, "commands": calls}
        print_json(summary | {"external_ref": external_ref} | all_of_it | {"timeline": events} | more)
        return
    print_pairs(_in_words(summary) | {"external_ref": external_ref} | known(row.facts))
    for title, rows in (
        ("Lines", lines),
        ("Attention", [_reason_row(one) for one in reasons]),
        (_CHANGED, _shown(changed)),
        ("Calls", calls),
        ("Timeline", events),
        ("Words", words),
    ):
        if rows:
            typer.echo(f"\n{title}")
            print_rows(_without_empty(rows))
    if received:
        typer.echo("\nAs received")
        print_bytes(body)


@commands.command("explain")
def orders_explain(
    context: typer.Context, order_id: OrderId, file: Config = FILE, shop: OfShop = None, as_json: Json = False
) -> None:
    """Explain why an order is in its state, since when, what it waits for, and what a person can do.

    If Mirakl changed the order after the import, both values of each field are shown: personal data.

    \b
    Example:
      orderflow orders explain 5f4dcc3b-A
    """
    with opened(context, file) as session:
        _print_explanation(session, find(session.store, order_id, shop), as_json)


def _print_explanation(session: Session, row: OrderRow, as_json: bool = False) -> None:
    policy = session.policies().get(row.shop, Policy())
    found = explanation(session.store, row, policy, session.clock.now())
    found = replace(found, attention=tuple(_with_config(one, session.file) for one in found.attention))
    external_ref = {"external_ref": _prefix(session, row) + row.order_id}
    changed = _changed(session, row)
    if as_json:
        print_json(asdict(found) | external_ref | {"changed": changed})
        return
    pairs = _state(found, row, policy) | external_ref
    for number, one in enumerate(found.attention, start=1):
        pairs[f"attention {number}"] = f"{one.reason}, since {cell(one.since)} UTC"
        pairs[f"  meaning {number}"] = one.meaning
        pairs |= {f"  cause {number}": one.cause} if one.cause else {}
        pairs[f"  cure {number}"] = one.cure
    print_pairs(pairs)
    if changed:
        typer.echo(f"\n{_CHANGED}")
        print_rows(_without_empty(_shown(changed)))


#: What Mirakl waits for until the deadline.
_WAITED_FOR: Final = {DeadlineKind.ACCEPT: "your answer", DeadlineKind.SHIP: "the shipment"}


def _state(found: Explanation, row: OrderRow, policy: Policy) -> dict[str, str]:
    """Where the order stands and by when a person has to act, with the values that `orders list` shows, and why."""
    one = listed(row, policy)
    ends = None if row.quarantine else mirakl_deadline(row.facts, policy)
    pairs: dict[str, str] = {
        "shop": found.shop,
        "order id": found.order_id,
        "state": found.state,
        "in this state since": f"{cell(found.since)} UTC",
        "needs you since": f"{cell(one.since)} UTC" if one.since else "",
        "do": one.urgency or "",
        "deadline": f"{cell(ends[1])} UTC ({_WAITED_FOR[ends[0]]})" if ends else "none",
    }
    sentences = {"why here": found.why_here, "waits for": found.waits_for, "happens next": found.happens_next}
    return {name: value for name, value in pairs.items() if value} | sentences


#: The title of the table of `_changed`.
_CHANGED = "Changed after the import"


def _changed(session: Session, row: OrderRow) -> list[dict[str, Any]]:
    """Each value that the OMS has beside the one that Mirakl shows now, if they differ. Personal data."""
    shop = session.settings.shops.get(row.shop)
    left_out = config.fields_left_out(shop.oms) if shop else ()
    return [asdict(one) for one in changed_values(session.store, row, left_out)]


def _in_words(summary: dict[str, Any]) -> dict[str, Any]:
    """The summary of an order with the names that `explain` and the list have for its times."""
    names = {"since": "needs you since", "entered_at": "in this state since", "updated_at": "changed"}
    times = {key: f"{cell(value)} UTC" for key, value in summary.items() if isinstance(value, datetime)}
    empty = {"deadline": "none", "attention": "none"}
    return {names.get(key, key): times.get(key, value or empty.get(key)) for key, value in summary.items()}


def _reason_row(one: AttentionReason) -> dict[str, Any]:
    """A reason as a table shows it. Its detail is for programs; a person reads what it rests on."""
    return {"reason": one.reason, "since": one.since, "cause": one.cause or one.detail}


def _shown(changed: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The rows as a table shows them."""
    words = {None: "(not stored)", "": "(empty)"}
    return [row | {name: words.get(row[name], row[name]) for name in ("oms", "mirakl")} for row in changed]


def _prefix(session: Session, row: OrderRow) -> str:
    """What stands before the order's id in the OMS. Empty for a shop that is not in the configuration."""
    shop = session.settings.shops.get(row.shop)
    return shop.oms.external_ref_prefix if shop else ""


def _with_config(one: AttentionReason, file: Path) -> AttentionReason:
    return replace(one, cure=with_config(one.cure, file))


@commands.command("verify")
def orders_verify(
    context: typer.Context,
    order_id: Annotated[str | None, typer.Argument(metavar="[ORDER]", help="Mirakl's order id.")] = None,
    *,
    file: Config = FILE,
    shop: OfShop = None,
    every: Annotated[bool, typer.Option("--all", help="Every order; with --shop, every order of this shop.")] = False,
    since: Annotated[
        str, typer.Option(metavar="SPAN|TIME", help="With --all: only orders that changed after this.")
    ] = "",
    redecide: Annotated[
        bool, typer.Option("--redecide", help="Compare also with what this version would decide.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Rebuild an order from its journal and compare it with what is stored. Exit code 1 if they differ.

    \b
    Examples:
      orderflow orders verify 5f4dcc3b-A
      orderflow orders verify --all --redecide
      orderflow orders verify --all --since 2d
    """
    if every == (order_id is not None):
        raise typer.BadParameter("give an ORDER or --all")
    if since and not every:
        raise typer.BadParameter("it selects among --all orders", param_hint="--since")
    with opened(context, file) as session:
        store = session.store
        policies = session.policies() if redecide else None
        orders: Iterable[tuple[OrderRow, list[str]]]
        if order_id is None:
            orders = verified(store, shop, policies, instant_of("--since", since, session.clock.now()))
        else:
            row = find(store, order_id, shop)
            orders = [(row, verify(row, journal_rows.of_order(store, row.key), policies))]
        tally = Counter[bool]()
        results = (_verified(row, found, tally) for row, found in orders)
        if as_json:
            print_json_items(results)
        else:
            for one in results:
                for difference in one["differences"]:
                    typer.echo(printable(f"{one['shop']} {one['order_id']}: {difference}"))
            typer.echo(f"{tally.total()} verified, {tally[False]} differ")
    if tally[False]:
        raise typer.Exit(BAD_ANSWER)


@commands.command("replan")
def orders_replan(context: typer.Context, order_id: OrderId, *, file: Config = FILE, shop: OfShop = None) -> None:
    """Plan an order again from what is stored of it. A quarantined order goes on, if this version can read and plan it.

    One of the workers does this for every open order when it takes the housekeeping over, and every six hours.

    \b
    Example:
      orderflow orders replan 5f4dcc3b-A
    """
    with opened(context, file) as session:
        order = replan(session.store, session.order_writer(), find(session.store, order_id, shop))
    reasons = ", ".join(dict.fromkeys(one.reason for one in order.attention)) or "no attention reason"
    typer.echo(printable(f"{order.shop} {order.order_id}: {order.state}, {reasons}"))


def _verified(row: OrderRow, found: list[str], tally: Counter[bool]) -> dict[str, Any]:
    """An order and its differences as `--json` shows them. Counts the order in `tally`: True if nothing differs."""
    tally[not found] += 1
    return {"shop": row.shop, "order_id": row.order_id, "ok": not found, "differences": found}


def _without_empty(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The rows without the columns in which no row has a value."""
    filled = [name for name in rows[0] if any(row[name] not in (None, "") for row in rows)]
    return [{name: row[name] for name in filled} for row in rows]


def _call(command: CommandRow, facts: Facts) -> dict[str, Any]:
    """A command without its payload, which holds personal data. Its outcome says if a person did the call by hand."""
    names = ("kind", "carries", "round", "state", "attempts", "next_at", "give_up_at", "last_outcome")
    handled = [one for one in facts.decisions if one.kind is DecisionKind.HANDLED and str(command.key) in one.subject]
    shown = {name: getattr(command, name) for name in names}
    if handled:
        shown["last_outcome"] = f"done by hand ({handled[-1].who}, {cell(handled[-1].at)})"
    return shown


# -- Deciding about orders ---------------------------------------------------------------------------------------


def _shape(context: typer.Context, order_id: MaybeOrderId = None, *, reason: Reason) -> None:
    """The first parameters of every decision."""


def _shape_end(
    *, all_of: AllOf = None, file: Config = FILE, shop: OfShop = None, who: Who = None, yes: Yes = False
) -> None:
    """The last parameters of every decision."""


def _decision(kind: DecisionKind) -> Callable[[Callable[..., dict[str, Any]]], None]:
    """Make the command of a decision: it asks, applies the decision, and explains the order as it is after that.

    The decorated function has the parameters that only this command has, and its help. It returns the fields of `Act`
    that they fill.
    """

    def register(options: Callable[..., dict[str, Any]]) -> None:
        own = signature(options).parameters

        def command(context: typer.Context, order_id: str | None, *, reason: str, **more: Any) -> None:
            fields, all_of = options(**{name: more[name] for name in own}), more["all_of"]
            _require_one_way(order_id, all_of, fields, yes=more["yes"])
            with opened(context, more["file"]) as session:
                act = Act(kind, session.name_of(more["who"]), reason, session.clock.now(), **fields)
                if order_id is None:
                    rows = orders_of(session.store, all_of, more["shop"])
                    decide_all(session, rows, act, yes=more["yes"], prefix=partial(_prefix, session))
                    return
                row = find(session.store, order_id, more["shop"])
                policy = session.policies().get(row.shop, Policy())
                ask(question_of(session.store, row, act, policy, prefix=_prefix(session, row)), more["yes"])
                after = decide(session.store, session.order_writer(), row, act, shops=session.settings.shops)
                _print_explanation(session, after)

        shape = [*signature(_shape).parameters.values(), *own.values(), *signature(_shape_end).parameters.values()]
        command.__doc__ = options.__doc__
        command.__signature__ = Signature(shape)  # type: ignore[attr-defined]  # typer reads both
        command.__annotations__ = {one.name: one.annotation for one in shape}
        commands.command(kind.value)(command)

    return register


def _require_one_way(order_id: str | None, all_of: str | None, fields: dict[str, Any], *, yes: bool) -> None:
    """Raise BadParameter unless either one order or a file of orders is named, with what fits it."""
    if (order_id is None) == (all_of is None):
        raise typer.BadParameter("give an ORDER or --all-of FILE")
    if all_of is not None and (fields.get("tracking") or fields.get("lines")):
        raise typer.BadParameter("lines and trackings belong to one order, not to --all-of")
    if all_of == STDIN and not yes:
        raise typer.BadParameter("--all-of - needs --yes, because standard input holds the list and no answer")


@_decision(DecisionKind.ACCEPT)
def _accept(
    *, line: Annotated[list[str] | None, typer.Option(metavar="ID", help="Only this line; may be given again.")] = None
) -> dict[str, Any]:
    """Accept an order, even if the shop's policy does not. With --line all other lines are refused.

    \b
    Examples:
      orderflow orders accept 5f4dcc3b-A --reason "agreed with the warehouse"
      orderflow orders accept 5f4dcc3b-A --line 5f4dcc3b-A-1 --reason "the other mug is sold out"
    """
    return {"lines": line or ()}


@_decision(DecisionKind.REFUSE)
def _refuse(
    *, line: Annotated[list[str] | None, typer.Option(metavar="ID", help="Only this line; may be given again.")] = None
) -> dict[str, Any]:
    """Refuse every line of an order. Mirakl informs the customer. With --line all other lines are accepted.

    \b
    Examples:
      orderflow orders refuse 5f4dcc3b-A --reason "agreed with the warehouse"
      orderflow orders refuse 5f4dcc3b-A --line 5f4dcc3b-A-2 --reason "sold out"
    """
    return {"lines": line or ()}


@_decision(DecisionKind.HOLD)
def _hold() -> dict[str, Any]:
    """Hold an order: nothing is sent until it is released.

    \b
    Example:
      orderflow orders hold 5f4dcc3b-A --reason "agreed with the warehouse"
    """
    return {}


@_decision(DecisionKind.SETTLE)
def _settle(
    *,
    only: Annotated[
        list[str] | None, typer.Option("--only", metavar="NAME", help="The attention reason; may be given again.")
    ] = None,
) -> dict[str, Any]:
    """Mark attention reasons as seen, if their cure names `orders settle`. Where several stand, --only names which.

    Any other reason ends as its cure says (`orders explain`).

    \b
    Examples:
      orderflow orders settle 5f4dcc3b-A --reason "agreed with the warehouse"
      orderflow orders settle 5f4dcc3b-A --only foreign_tracking --reason "the portal is right"
      orderflow orders settle --all-of ids.txt --only attachment --reason "the files are with the OMS"
    """
    return {"only": only or ()}


@_decision(DecisionKind.RELEASE)
def _release(
    *,
    only: Annotated[
        list[str] | None, typer.Option("--only", metavar="NAME", help="The attention reason; may be given again.")
    ] = None,
) -> dict[str, Any]:
    """End a hold, or let calls be made that wait for a person's release. Where several wait, --only names which.

    \b
    Examples:
      orderflow orders release 5f4dcc3b-A --reason "agreed with the marketplace"
      orderflow orders release 5f4dcc3b-A --only held --reason "the customer has paid"
    """
    return {"only": only or ()}


@_decision(DecisionKind.SENT)
def _sent(
    *,
    carrier: Annotated[str, typer.Option(help="The carrier of the parcel, if it is known.")] = "",
    tracking: Annotated[str, typer.Option(help="The tracking number, if there is one.")] = "",
) -> dict[str, Any]:
    """Vouch that all goods of an order have left, though the OMS does not report it. Mirakl is then notified.

    \b
    Examples:
      orderflow orders sent 5f4dcc3b-A --reason "the warehouse saw the parcel leave"
      orderflow orders sent 5f4dcc3b-A --carrier DPD --tracking 0998877 --reason "number from the carrier's portal"
    """
    return {"tracking": Tracking(carrier, tracking)}


@_decision(DecisionKind.HANDLED)
def _handled(
    *,
    call: Annotated[
        Literal["accept_order", "import_order", "send_tracking", "confirm_shipment"] | None,
        typer.Option(help="The call, if several are due or failed."),
    ] = None,
) -> dict[str, Any]:
    """Say that a person did by hand what a call should have done. The call is not made any more.

    accept_order: Mirakl has the answer. import_order: the OMS has the order as Mirakl shows it. send_tracking: Mirakl
    has the tracking. confirm_shipment: Mirakl has the shipment. If the next read of Mirakl does not show it, the reason
    for a person comes back.

    \b
    Example:
      orderflow orders handled 5f4dcc3b-A --call import_order --reason "keyed in by ana as order 4711"
    """
    return {"call": call or ""}


@_decision(DecisionKind.RETRY)
def _retry() -> dict[str, Any]:
    """Make a refused or given-up call once more. One that waits for its next try is made at once.

    \b
    Example:
      orderflow orders retry 5f4dcc3b-A --reason "agreed with the warehouse"
    """
    return {}
