"""Why an order is where it is, what it waits for, and what a person can do: sentences from what is stored. Pure.

Nothing here repeats a rule: the table says what an edge means, commands.py what is due and what is wrong. No personal
data leaves: a remote's words may quote an order, so only its codes are shown.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from adapters.store.commands import CommandRow
from adapters.store.journal import JournalRow
from adapters.store.orders import OrderRow
from adapters.store.shops import ShopRow
from statemachine.attention import Reason
from statemachine.commands import CommandKind, CommandState, Policy
from statemachine.events import Trigger
from statemachine.facts import DEBIT, Decision, DecisionKind, Facts, Tracking
from statemachine.machine import EventResult
from statemachine.plan import read_after
from statemachine.readings import (
    acceptance,
    best_tracking,
    is_pending,
    is_sent,
    last_answer,
    mirakl_state,
    unsent_parts,
)
from statemachine.states import State
from statemachine.table import TABLE

_EDGES: Final = {(edge.source, edge.target): edge.means for edge in TABLE}

#: What moves an order on from each state, where nothing stands in the way.
_NEXT: Final = {
    State.NEW: "the first read that shows its state decides where it goes",
    State.WAITING_ACCEPTANCE: "OR21 answers Mirakl, and it becomes accepted",
    State.ACCEPTED: "a read shows it in debit or shipping; one that still shows it waiting sends it back",
    State.AWAITING_PAYMENT: "a read shows that the customer paid, and it becomes shipping; canceled if the debit fails",
    State.SHIPPING: "POST /order brings it to the OMS, and it becomes imported",
    State.IMPORTED: "the OMS reports every open line sent, and it becomes dispatched",
    State.DISPATCHED: "OR23 and OR24 tell Mirakl, and a read shows it shipped",
    State.SHIPPED: "nothing but a better tracking is sent; only a late cancel would move it",
    State.REFUSED: "nothing: this is final, and only Mirakl's word made it",
    State.CANCELED: "nothing: this is final, and only Mirakl's word made it",
}

_PROOFS: Final = {
    CommandKind.ACCEPT: "the acceptance",
    CommandKind.CONFIRM: "the shipment",
    CommandKind.TRACK: "the tracking",
}
_DEBITS: Final = "Mirakl debits the customer; nobody here can retry_now it"


@dataclass(frozen=True, slots=True)
class AttentionReason:
    """One reason why a person should look, with what it means and what to do."""

    reason: str
    detail: str
    since: datetime
    meaning: str
    cure: str


@dataclass(frozen=True, slots=True)
class Explanation:
    """One order, in sentences."""

    shop: str
    order_id: str
    state: str
    since: datetime
    why_here: str
    waits_for: str
    happens_next: str
    attention: tuple[AttentionReason, ...]


@dataclass(frozen=True, slots=True)
class TimelineRow:
    """One thing that happened. `moved` is "a -> b", or empty; `repeats` how often it was told again."""

    at: datetime
    kind: str
    what: str
    moved: str
    repeats: int


def explain(
    row: OrderRow,
    entries: Sequence[JournalRow],
    commands: Sequence[CommandRow],
    *,
    shop: ShopRow | None,
    policy: Policy,
    now: datetime,
) -> Explanation:
    """Put one order into sentences; `shop` is None where the store does not know its switches."""
    return Explanation(
        shop=row.shop,
        order_id=row.order_id,
        state=row.state,
        since=row.entered_at,
        why_here=_why_here(entries, now),
        waits_for=_waits_for(row, entries, commands, shop=shop, policy=policy, now=now),
        happens_next=_happens_next(row, policy),
        attention=tuple(
            AttentionReason(one.reason, one.detail, one.since, one.about.meaning, one.about.cure)
            for one in row.attention
        ),
    )


def when(instant: datetime, now: datetime) -> str:
    """An instant in UTC, without its date where that is today's."""
    return f"{instant:%H:%M:%S}" if instant.date() == now.date() else f"{instant:%Y-%m-%d %H:%M:%S}"


# -- Why here ----------------------------------------------------------------------------------------------------


def _why_here(entries: Sequence[JournalRow], now: datetime) -> str:
    move = next((entry for entry in reversed(entries) if entry.before != entry.after), None)
    if move is not None:
        means = _EDGES.get((move.before, move.after), f"{move.before} -> {move.after}")
        return f"{means} ({_what(move)}, {when(move.event.at, now)})"
    if entries:
        return (
            f"known by id, and nothing has moved it yet (first: {_what(entries[0])}, {when(entries[0].event.at, now)})"
        )
    return "known by id alone"


# -- Waits for ---------------------------------------------------------------------------------------------------


def _waits_for(
    row: OrderRow,
    entries: Sequence[JournalRow],
    commands: Sequence[CommandRow],
    *,
    shop: ShopRow | None,
    policy: Policy,
    now: datetime,
) -> str:
    blocking = [one for one in row.attention if one.about.blocks]
    if blocking:
        return f"a person: {blocking[0].about.meaning}"
    live = [command for command in commands if command.state.is_live]
    if live:  # the oldest goes first, the others wait for it
        first, *later = live
        then = f"; then {', '.join(command.kind for command in later)}" if later else ""
        return _call(first, _last_failure(first, entries), shop, now) + then
    snapshot = row.facts.snapshot
    if snapshot is not None and snapshot.created_at < policy.not_before and not row.state.is_final:
        return f"nobody here: it is older than the shop's not_before ({when(policy.not_before, now)}) and left alone"
    return _without_a_call(row, policy, now)


def _call(command: CommandRow, failure: str, shop: ShopRow | None, now: datetime) -> str:
    """What stands between an open command and its call."""
    if command.state is CommandState.LEASED:
        return f"the answer to {command.kind}, which is under way (attempt {command.attempts})"
    if shop is None or not shop.effects:
        return f"effects of this shop are off: {command.kind} is due and would be sent"
    if command.kind.group in shop.paused:
        return f"{command.kind.group} is paused for this shop: {command.kind} is due and would be sent"
    if command.next_at > now:
        tried = f" (attempt {command.attempts}, last {failure})" if command.attempts else ""
        return (
            f"{command.kind}, retried at {when(command.next_at, now)}{tried}, gives up at "
            f"{when(command.give_up_at, now)}"
        )
    return f"a worker: {command.kind} is due since {when(command.next_at, now)}"


def _last_failure(command: CommandRow, entries: Sequence[JournalRow]) -> str:
    """How the last try of this command ended: the HTTP status where there was one."""
    for entry in reversed(entries):
        note = entry.event.note
        same = (note.get("command"), note.get("round"), note.get("step")) == (command.kind, command.round, "result")
        if same and "outcome" in note:
            return str(note.get("status") or note["outcome"])
    return command.last_outcome or "unknown"


def _without_a_call(row: OrderRow, policy: Policy, now: datetime) -> str:
    """Nothing is due: what has to happen outside."""
    facts = row.facts
    outside = {
        State.NEW: "Mirakl, which still checks it"
        if mirakl_state(facts) == "STAGING"
        else "the first read of its state",
        State.WAITING_ACCEPTANCE: "its lines, which Mirakl does not show"
        if facts.snapshot is not None and not facts.snapshot.lines
        else "a worker"
        if acceptance(facts, policy)
        else "a person: accept or refuse it",
        State.ACCEPTED: "a read that shows the acceptance",
        State.AWAITING_PAYMENT: _DEBITS,
        State.SHIPPING: _shipping(facts),
        State.IMPORTED: _imported(facts),
        State.DISPATCHED: _dispatched(facts),
        State.SHIPPED: "nothing: Mirakl shows it shipped",
    }
    final = "a person, as said below; for Mirakl it is final" if row.attention else "nothing: it is final"
    return _blocked(row) or _proof(facts, now) or outside.get(row.state, final)


def _blocked(row: OrderRow) -> str:
    """A call that ended without success, and that only a person opens again."""
    for one in row.attention:
        if one.about.stops_call:
            return f"a person: {one.about.meaning}" + (f" ({one.command})" if one.command else "")
    return ""


def _proof(facts: Facts, now: datetime) -> str:
    """The read that has to show what Mirakl said yes to, or why it said no (docs/rules.md 16, 19)."""
    snapshot = facts.snapshot
    if snapshot is None or read_after(facts) is None:
        return ""
    for kind, shown in _PROOFS.items():
        answer = last_answer(facts, kind)
        if answer is not None and is_pending(facts, answer):
            return f"a read that begins after {when(answer.proof_after, now)} to show {shown}"
    for no in facts.rejections:
        if no.kind in (CommandKind.ACCEPT, CommandKind.CONFIRM) and no.at >= snapshot.read_at:
            return f"a read that begins after {when(no.at, now)} to show why {no.kind} was refused"
    return ""


def _shipping(facts: Facts) -> str:
    snapshot = facts.snapshot
    if snapshot is not None and not snapshot.has_address:
        return "an address: Mirakl shows SHIPPING without one, and the order is read again"
    if snapshot is not None and not snapshot.open_lines:
        return "a person: Mirakl shows SHIPPING without any open line"
    return "a worker: import_order is due"


def _imported(facts: Facts) -> str:
    open_lines = facts.snapshot.open_lines if facts.snapshot else ()
    unsent = [line.id for line in open_lines if not is_sent(facts, line)]
    if facts.dispatches and unsent:
        return f"the OMS to send the rest: {', '.join(unsent)}"
    return "the OMS to report that it sent the goods"


def _dispatched(facts: Facts) -> str:
    if parts := unsent_parts(facts):
        return f"the OMS to send its other orders of this one: {', '.join(str(part) for part in parts)}"
    if mirakl_state(facts) in DEBIT:
        return _DEBITS
    if mirakl_state(facts) == "WAITING_ACCEPTANCE":
        return "Mirakl to show it accepted and SHIPPING; only then can it be marked shipped"
    return "a read that shows it shipped"


def _happens_next(row: OrderRow, policy: Policy) -> str:
    blocking = {one.reason for one in row.attention if one.about.blocks}
    if blocking:
        return f"nothing is sent until {'an upgrade' if Reason.NO_EDGE in blocking else 'a person settles it'}"
    if row.state == State.WAITING_ACCEPTANCE and acceptance(row.facts, policy) == DecisionKind.REFUSE:
        return "OR21 refuses every line, and a read shows it refused"
    return _NEXT[row.state]


# -- Timeline ----------------------------------------------------------------------------------------------------


def timeline(entries: Sequence[JournalRow]) -> list[TimelineRow]:
    """Everything that happened to an order, in the order in which it was applied."""
    return [
        TimelineRow(
            at=entry.event.at,
            kind=entry.event.trigger,
            what=_what(entry) + _remark(entry),
            moved=f"{entry.before} -> {entry.after}" if entry.before != entry.after else "",
            repeats=entry.repeats,
        )
        for entry in entries
    ]


def _remark(entry: JournalRow) -> str:
    if entry.result == EventResult.NO_EDGE:
        return ", and no row of the table leads to what the facts are"
    return (
        ", nothing new"
        if entry.result == EventResult.STALE and entry.event.trigger in (Trigger.SNAPSHOT, Trigger.OMS_EVENT)
        else ""
    )


def _what(entry: JournalRow) -> str:
    describe = {
        Trigger.SNAPSHOT: _snapshot,
        Trigger.OMS_EVENT: _oms_event,
        Trigger.CALL: _called,
        Trigger.DECISION: _acted,
    }
    return describe[entry.event.trigger](entry)


def _snapshot(entry: JournalRow) -> str:
    snapshot = entry.event.new_facts.newest
    if snapshot is None:
        return "Mirakl was read"
    bare = snapshot.state == "SHIPPING" and not snapshot.has_address
    return f"Mirakl shows {snapshot.state}" + (" without an address" if bare else "")


def _oms_event(entry: JournalRow) -> str:
    note, says = entry.event.note, entry.event.new_facts
    said = []
    if "status" in note:
        said.append(f"status {note['status']} {note.get('status_name', '')}".strip())
    if says.dispatches:
        numbers = sorted({dispatch.tracking.number for dispatch in says.dispatches} - {""})
        said.append("sent" + (f", tracking {', '.join(numbers)}" if numbers else ", no tracking"))
    if says.cancellations:
        said.append("canceled" if any(not each.items for each in says.cancellations) else "lines canceled")
    return "the OMS reports " + ("; ".join(said) if said else f"order {', '.join(str(p.oms_id) for p in says.parts)}")


def _called(entry: JournalRow) -> str:
    note = entry.event.note
    if "command" not in note:  # a call of before a restore, or of a test
        says = entry.event.new_facts
        kinds = [*(a.kind for a in says.answers), *(r.kind for r in says.rejections), *(g.kind for g in says.given_up)]
        return ", ".join(kinds) or "a call"
    call = f"{note['command']} ({note.get('operation', '')}) attempt {note.get('attempt', '')}"
    if note.get("step") == "claimed":
        return f"{call} begins"
    details = [str(note[key]) for key in ("outcome", "status", "code") if note.get(key)]
    return f"{call}: {note.get('result', '')}" + (f" ({', '.join(details)})" if details else "")


def _acted(entry: JournalRow) -> str:
    def said(decision: Decision) -> str:
        about = " " + ", ".join(decision.subject) if decision.subject else ""
        return f"{decision.who}: {decision.kind}{about} ({decision.why})"

    return "; ".join(said(decision) for decision in entry.event.new_facts.decisions)


# -- What is known -----------------------------------------------------------------------------------------------


def known(facts: Facts) -> dict[str, str]:
    """What the facts amount to, without personal data."""
    found: dict[str, str] = {}
    snapshot = facts.newest
    if snapshot is not None:
        found["Mirakl"] = f"{snapshot.state} {snapshot.workflow}, updated {snapshot.updated_at:%Y-%m-%d %H:%M:%S}"
        found["read"] = f"{snapshot.read_at:%Y-%m-%d %H:%M:%S}"
        found["lines"] = ", ".join(f"{x.id} {x.quantity} * {x.sku} {x.state}".strip() for x in snapshot.lines)
        found["tracking at Mirakl"] = _tracking(snapshot.tracking)
    # A part is told with its lines by the import's answer and without them by its events.
    found["orders in the OMS"] = ", ".join(sorted({f"{part.oms_id} {part.ref}".strip() for part in facts.parts}))
    found["tracking"] = _tracking(best_tracking(facts))
    return {name: value for name, value in found.items() if value}


def _tracking(tracking: Tracking) -> str:
    return f"{tracking.carrier or tracking.carrier_code} {tracking.number}".strip()
