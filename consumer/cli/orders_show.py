"""`orderflow orders show` and `orderflow orders explain`: what is known of one order."""

import json
import re
from dataclasses import asdict, replace
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from adapters.store import commands as command_rows
from adapters.store import journal as journal_rows
from adapters.store import snapshots as snapshot_rows
from adapters.store.commands import CommandRow
from adapters.store.facts_json import facts_to_json
from adapters.store.orders import OrderRow
from consumer import config
from consumer.cli.at_work import note_no_worker, note_unconfigured
from consumer.cli.opening import Session, opened, with_config
from consumer.cli.options import FILE, Config, Json, OfShop, OrderId, Raw
from consumer.cli.output import (
    cell,
    fits,
    print_bytes,
    print_json,
    print_narrow,
    print_pairs,
    print_rows,
    text,
    without_empty,
)
from consumer.operations.causes import AttentionReason, attention_reasons
from consumer.operations.changed import changed_values
from consumer.operations.explain import Explanation
from consumer.operations.history import Period, periods, timeline_with_reasons
from consumer.operations.known import known, remote_texts, without_remote_texts
from consumer.operations.lines import lines_of
from consumer.operations.listing import listed, summary_of
from consumer.operations.orders import explanation, find
from consumer.operations.what_first import in_turn
from statemachine.commands import Policy
from statemachine.deadlines import DeadlineKind, mirakl_deadline
from statemachine.facts import DecisionKind, Facts


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
        events = [asdict(event) for event in timeline_with_reasons(journal, periods(row, journal, policy))]
        body = snapshot_rows.find(store, row.key, row.digest)
        summary = summary_of(row, policy)
        external_ref = prefix_of(session, row) + row.order_id
        changed = _changed(session, row)
        reasons = attention_reasons(row, journal, policy, (body, *(command.payload for command in commands)))
    attention, lines = [asdict(one) for one in in_turn(row)], [asdict(one) for one in lines_of(row.facts, body)]
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
            _print_table(without_empty(rows))
    if received:
        typer.echo("\nAs received")
        print_bytes(body)


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
        print_explanation(session, find(session.store, order_id, shop), as_json)


def print_explanation(session: Session, row: OrderRow, as_json: bool = False) -> None:
    policy = session.policies().get(row.shop, Policy())
    found = explanation(session.store, row, policy, session.clock.now())
    found = replace(found, attention=tuple(_with_config(one, session.file) for one in found.attention))
    external_ref = {"external_ref": prefix_of(session, row) + row.order_id}
    changed = _changed(session, row)
    if as_json:
        print_json(_for_programs(found, row, policy) | external_ref | {"changed": changed})
        return
    note_no_worker(session)
    note_unconfigured(session, [row.shop])
    pairs = _state(found, row, policy) | external_ref
    names = [one.reason for one in found.attention]
    for number, one in enumerate(found.attention, start=1):
        name = f"{one.reason}{_of_call(one)}" if names.count(one.reason) > 1 else one.reason
        pairs[f"attention {number}"] = f"{name}, since {cell(one.since)} UTC"
        pairs[f"  meaning {number}"] = one.meaning
        pairs |= {f"  cause {number}": one.cause} if one.cause else {}
        pairs[f"  cure {number}"] = one.cure
    pairs |= {f"earlier {number}": _ended(one) for number, one in enumerate(found.earlier[-MOST_EARLIER:], start=1)}
    print_pairs(pairs)
    if changed:
        typer.echo(f"\n{_CHANGED}")
        print_rows(without_empty(_shown(changed)))


def _of_call(one: AttentionReason) -> str:
    """The call that the reason is about, in brackets. Empty: it is about none."""
    found = re.match(r"(\w+)#\d", one.detail)
    return f" ({found[1]})" if found else ""


def _ended(one: Period) -> str:
    """A reason that the order had, with the events with which it began and ended."""
    began, ended = f"{cell(one.since)} UTC ({one.began_with})", f"{cell(one.until)} UTC ({one.ended_with})"
    return f"{one.reason}, from {began} until {ended}"


def _print_table(rows: list[dict[str, Any]]) -> None:
    """Print a table. On a terminal that is too narrow each row is a text behind its first value."""
    if fits(rows):
        print_rows(rows)
        return
    print_narrow([{name: value for name, value in row.items() if (name, value) != ("times", 1)} for row in rows], _SAYS)


#: Values that a row on a narrow terminal says first, without their names.
_SAYS: Final = ("what", "moved", "cause", "sku", "state", "words")
#: So many of the attention reasons that have ended are shown as text, the last ones. `--json` has all.
MOST_EARLIER: Final = 5
#: What Mirakl waits for until the deadline.
_WAITED_FOR: Final = {DeadlineKind.ACCEPT: "your answer", DeadlineKind.SHIP: "the shipment"}


def _for_programs(found: Explanation, row: OrderRow, policy: Policy) -> dict[str, Any]:
    """The explanation as `--json` has it, with what the text says of the time that is left, and with each cure's
    commands."""
    one, ends = listed(row, policy), _deadline(row, policy)
    urgency = {
        "do": one.urgency,
        "needs_you_since": one.since,
        "deadline": one.deadline,
        "deadline_of": ends[0] if ends else None,
    }
    reasons = [asdict(each) | {"commands": commands_in(each.cure)} for each in found.attention]
    return asdict(found) | urgency | {"attention": reasons}


def _deadline(row: OrderRow, policy: Policy) -> tuple[DeadlineKind, datetime] | None:
    """Until when Mirakl waits, and for what. None also for a quarantined order, whose facts may not be read."""
    return None if row.quarantine else mirakl_deadline(row.facts, policy)


def commands_in(cure: str) -> list[str]:
    """The commands of orderflow that a cure names, in the order of the text."""
    return re.findall(r"`(orderflow [^`]+)`", cure)


def _state(found: Explanation, row: OrderRow, policy: Policy) -> dict[str, str]:
    """Where the order stands and by when a person has to act, with the values that `orders list` shows, and why."""
    one, ends = listed(row, policy), _deadline(row, policy)
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
    shown = {key: times.get(key, value or empty.get(key)) for key, value in summary.items()}
    return {names.get(key, key): value for key, value in shown.items() if value is not None}


def _reason_row(one: AttentionReason) -> dict[str, Any]:
    """A reason as a table shows it. Its detail is for programs; a person reads what it rests on."""
    return {"reason": one.reason, "since": one.since, "cause": one.cause or one.detail}


def _shown(changed: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The rows as a table shows them."""
    words = {None: "(not stored)", "": "(empty)"}
    return [row | {name: words.get(row[name], row[name]) for name in ("oms", "mirakl")} for row in changed]


def prefix_of(session: Session, row: OrderRow) -> str:
    """What stands before the order's id in the OMS: in the newest import, as the settings may have changed since.
    Without an import: as the settings say. Empty for a shop that is not in the configuration."""
    from adapters.remotes.kornitx_order import external_ref_in  # noqa: PLC0415 - a list of orders needs no payload

    payloads = [one.payload for one in command_rows.of_order(session.store, row.key) if one.payload]
    if payloads and (sent := external_ref_in(payloads[-1])).endswith(row.order_id):
        return sent.removesuffix(row.order_id)
    shop = session.settings.shops.get(row.shop)
    return shop.oms.external_ref_prefix if shop else ""


def _with_config(one: AttentionReason, file: Path) -> AttentionReason:
    return replace(one, cure=with_config(one.cure, file))


def _call(command: CommandRow, facts: Facts) -> dict[str, Any]:
    """A command without its payload, which holds personal data. Its outcome says if a person did the call by hand."""
    names = ("kind", "carries", "round", "state", "attempts", "next_at", "give_up_at", "last_outcome")
    handled = [one for one in facts.decisions if one.kind is DecisionKind.HANDLED and str(command.key) in one.subject]
    shown = {name: getattr(command, name) for name in names}
    if handled:
        shown["last_outcome"] = f"done by hand ({handled[-1].who}, {cell(handled[-1].at)})"
    return shown
