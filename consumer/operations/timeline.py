"""The timeline of an order: every event in words, without personal data and without texts of Mirakl or the OMS."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final

from adapters.errors import NOT_SENT
from adapters.store.journal import JournalRow
from consumer.calling.resting import RESTING
from consumer.calling.tries import DOUBTED
from consumer.retry import TryResult
from statemachine.events import Event, Trigger
from statemachine.facts import Decision, DecisionKind
from statemachine.machine import EventResult


@dataclass(frozen=True, slots=True)
class TimelineRow:
    """One event of an order, or several equal ones in a row."""

    at: datetime
    until: datetime | None  # the last of several equal events; None if there is one
    times: int
    kind: str  # its trigger
    what: str
    moved: str  # "from -> to", or empty
    begins: tuple[str, ...] = ()  # the attention reasons that the order has from here on
    ends: tuple[str, ...] = ()  # those that it does not have any more


_NONE: Final[Mapping[int, tuple[str, ...]]] = {}


def timeline(
    journal: Sequence[JournalRow],
    begins: Mapping[int, tuple[str, ...]] = _NONE,
    ends: Mapping[int, tuple[str, ...]] = _NONE,
) -> list[TimelineRow]:
    """Every event of an order, in the order in which they were applied. Equal ones in a row are one row. So are equal
    tries of a call that fail while another call fails too.

    The beginning of a try is left out if its result is known. Tries that end alike are equal. `begins`, `ends`: the
    attention reasons that begin and end with an event, by the version of the order after it (history.py). An event with
    which one ends or begins has a row of its own.
    """
    ended = {_try_of(row.event) for row in journal if row.event.note.get("step") == "result"}
    found: list[TimelineRow] = []
    since = 0  # where the failing tries begin that are the last rows
    for row in journal:
        one = replace(_row_of(row), begins=begins.get(row.version, ()), ends=ends.get(row.version, ()))
        changes = bool(row.moved or one.begins or one.ends)
        if not changes and row.event.note.get("step") in _BEGINS and _try_of(row.event) in ended:
            continue
        failing = not changes and row.event.note.get("result") in _TRIED_AGAIN
        since = since if failing and found else len(found)
        place = next((n for n in range(since, len(found)) if _are_equal(found[n], one)), None)
        if place is None and found and not changes and _are_equal(found[-1], one):
            place = len(found) - 1
        if place is None:
            found.append(one)
        else:
            found[place] = replace(found[place], until=one.until or one.at, times=found[place].times + one.times)
    return found


def _are_equal(one: TimelineRow, other: TimelineRow) -> bool:
    return (one.kind, one.what) == (other.kind, other.what)


#: The steps of a try before its result (consumer/calling/tries.py).
_BEGINS: Final = ("claimed", "handover")


def _try_of(event: Event) -> tuple[object, ...]:
    return tuple(event.note.get(name) for name in ("command", "round", "attempt"))


def _row_of(row: JournalRow) -> TimelineRow:
    moved = f"{row.before} -> {row.after}" if row.moved else ""
    return TimelineRow(row.event.at, None, 1 + row.repeats, row.event.trigger, what_happened(row) + _remark(row), moved)


def _remark(row: JournalRow) -> str:
    if row.result is EventResult.NO_EDGE:
        return ", and no edge leads to the state of the facts"
    if row.result is EventResult.STALE and row.event.trigger in (Trigger.SNAPSHOT, Trigger.OMS_EVENT):
        return ", nothing new"
    return ""


def what_happened(row: JournalRow) -> str:
    """What the event says."""
    match row.event.trigger:
        case Trigger.SNAPSHOT:
            return _snapshot(row.event)
        case Trigger.OMS_EVENT:
            return _oms_event(row.event)
        case Trigger.CALL:
            return _call(row.event)
        case Trigger.DECISION:
            decisions = row.event.new_facts.decisions  # `offsets reset` writes an event without one
            return "; ".join(_decision(one) for one in decisions) or str(row.event.note.get("act", ""))
        case Trigger.CLOCK:
            return "a deadline came near, or a wait ended"


def _snapshot(event: Event) -> str:
    snapshot = event.new_facts.newest
    if snapshot is None:
        return "Mirakl was asked for the order and did not show it" if event.new_facts.not_found else "Mirakl was read"
    bare = snapshot.state == "SHIPPING" and not snapshot.has_address
    return f"Mirakl shows {snapshot.state}" + (" without an address" if bare else "")


def _oms_event(event: Event) -> str:
    note, facts = event.note, event.new_facts
    reported = []
    if "status" in note:
        reported.append(f"status {note['status']} {note.get('status_name', '')}".strip())
    if facts.dispatches:
        numbers = sorted({dispatch.tracking.number for dispatch in facts.dispatches} - {""})
        reported.append("sent" + (f", tracking {', '.join(numbers)}" if numbers else ", no tracking"))
    if facts.cancellations:
        reported.append("canceled" if any(not each.items for each in facts.cancellations) else "lines canceled")
    oms_ids = {one.oms_id for one in facts.parts} | {one.oms_id for one in facts.dispatches}
    oms_ids |= {one.oms_id for one in facts.statuses} | {one.oms_id for one in facts.cancellations}
    orders = ", ".join(map(str, sorted(oms_ids)))
    return ": ".join(one for one in (f"the OMS reports order {orders}".rstrip(), "; ".join(reported)) if one)


def _call(event: Event) -> str:
    note, facts = event.note, event.new_facts
    if "command" not in note:
        kinds = [answer.kind for answer in facts.answers]
        kinds += [rejection.kind for rejection in facts.rejections]
        kinds += [give_up.kind for give_up in facts.given_up]
        return ", ".join(kinds) or "a call"
    if note.get("step") == "sent_before":
        return f"a version before sent {note['command']}"
    call = f"{note.get('operation', '')} ({note['command']})".lstrip()
    match note.get("step"):
        case "claimed":
            return f"{call} begins"
        case "handover":
            return f"{call} is sent"
        case "recovery":
            return f"{call}: {', '.join(one.operation for one in facts.recoveries)} works again"
    # A read before the call failed, so the call was not made. Events of earlier versions tell that by their trouble.
    failed = next((one.operation for one in facts.troubles), note.get("failed", note.get("operation")))
    if failed != note.get("operation"):
        call = f"{failed}, which {note['command']} needs first,"
    result = str(note.get("result", ""))
    canceled = ", ".join(str(one.oms_id) for one in facts.cancellations)
    shows = f"; the OMS shows order {canceled} canceled" if canceled else ""
    return f"{call} {_RESULTS.get(result, result)}{_how(note)}{shows}"


#: The results of a try after which the call is tried again.
_TRIED_AGAIN: Final = (TryResult.RETRY, TryResult.UNKNOWN, TryResult.ACCOUNT_FAULT, DOUBTED, RESTING)
#: How a try ended, after the name of its call.
_RESULTS: Final[Mapping[str, str]] = {
    TryResult.DONE: "is done",
    TryResult.ALREADY_DONE: "was done by an earlier try",
    TryResult.RETRY: "failed, and is tried again",
    TryResult.UNKNOWN: "may have been carried out, and is tried again",
    TryResult.REJECTED: "is refused",
    TryResult.ACCOUNT_FAULT: "was not answered for the whole account, and is tried again",
    TryResult.GAVE_UP: "is given up",
    DOUBTED: "was refused as other orders were, and is tried again",
    RESTING: "waits, because it fails for other orders",
    TryResult.OBSOLETE: "is not made: it is not needed any more",
}


def _how(note: Mapping[str, str | int]) -> str:
    """The answer of the remote, or why there is none. Codes only, because its words may quote the order."""
    status, code, outcome = note.get("status"), str(note.get("code") or "0"), note.get("outcome")
    if not outcome:
        return ""
    answer = f"HTTP status {status}" if status else "orderflow did not send it" if outcome == NOT_SENT else str(outcome)
    return f": {answer}" + (f", code {code}" if code != "0" else "")  # KornitX sends 0 if its error has no code


def _decision(decision: Decision) -> str:
    """Who decided what, and why. Of a token or a key of a call, only its name is for people."""
    named = [one.partition(":")[0] if decision.kind in _NAMES_REASONS_OR_CALLS else one for one in decision.subject]
    subject = " " + ", ".join(dict.fromkeys(named)) if named else ""
    return f"{decision.who}: {decision.kind}{subject} ({decision.why})"


#: The subject of these decisions is tokens of reasons or keys of calls; of the others it is ids of lines.
_NAMES_REASONS_OR_CALLS: Final = (
    DecisionKind.SETTLE,
    DecisionKind.RELEASE,
    DecisionKind.RETRY,
    DecisionKind.HANDLED,
)
