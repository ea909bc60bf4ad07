"""The timeline of an order: every event in words, without personal data and without texts of Mirakl or the OMS."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from adapters.store.journal import JournalRow
from statemachine.events import Event, Trigger
from statemachine.facts import Decision
from statemachine.machine import EventResult


@dataclass(frozen=True, slots=True)
class TimelineRow:
    """One event of an order."""

    at: datetime
    kind: str  # its trigger
    what: str
    moved: str  # "from -> to", or empty
    repeats: int  # how often the same event came again


def timeline(journal: Sequence[JournalRow]) -> list[TimelineRow]:
    """Every event of an order, in the order in which they were applied."""
    return [
        TimelineRow(
            at=row.event.at,
            kind=row.event.trigger,
            what=what_happened(row) + _remark(row),
            moved=f"{row.before} -> {row.after}" if row.moved else "",
            repeats=row.repeats,
        )
        for row in journal
    ]


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
    if not reported:
        reported.append(f"order {', '.join(str(part.oms_id) for part in facts.parts)}")
    return "the OMS reports " + "; ".join(reported)


def _call(event: Event) -> str:
    note, facts = event.note, event.new_facts
    if "command" not in note:
        kinds = [answer.kind for answer in facts.answers]
        kinds += [rejection.kind for rejection in facts.rejections]
        kinds += [give_up.kind for give_up in facts.given_up]
        return ", ".join(kinds) or "a call"
    if note.get("step") == "sent_before":
        return f"a version before sent {note['command']}"
    call = f"{note['command']} ({note.get('operation', '')}) attempt {note.get('attempt', '')}"
    if note.get("step") == "claimed":
        return f"{call} begins"
    if note.get("step") == "handover":
        return f"{call} is sent"
    if note.get("step") == "recovery":
        return f"{call}: {', '.join(one.operation for one in facts.recoveries)} works again"
    details = [str(note[key]) for key in ("outcome", "status", "code") if note.get(key)]
    return f"{call}: {note.get('result', '')}" + (f" ({', '.join(details)})" if details else "")


def _decision(decision: Decision) -> str:
    subject = " " + ", ".join(decision.subject) if decision.subject else ""
    return f"{decision.who}: {decision.kind}{subject} ({decision.why})"
