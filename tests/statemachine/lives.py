"""Lives of an order: what Mirakl can show of it, what the OMS can report, and which answers our calls can get.

The enumeration of the table and the property tests use this small model of the remotes.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from hashlib import sha256

from statemachine import facts as f
from statemachine.commands import CommandKind
from statemachine.events import Event, Trigger
from statemachine.facts import (
    Answer,
    Decision,
    DecisionKind,
    Dispatch,
    Facts,
    Handover,
    Line,
    Part,
    Seen,
    Snapshot,
    Tracking,
    rank_of,
)
from statemachine.failures import Rejection
from statemachine.joining import snapshot_facts
from statemachine.occurrences import seen_in
from statemachine.plan import Plan

START = datetime(2026, 3, 1, tzinfo=UTC)
LINES = (Line("L1", "", "MUG", 2), Line("L2", "", "TEE", 1))
WORKFLOWS = (
    f.PAY_ON_ACCEPTANCE,
    f.PAY_ON_SHIPMENT,
    f.PAY_ON_DELIVERY,
    f.PAY_ON_DUE_DATE,
    "NO_CUSTOMER_PAYMENT_CONFIRMATION",
)


def at(seconds: float) -> datetime:
    return START + timedelta(seconds=seconds)


def read(
    state: str,
    workflow: str = f.PAY_ON_ACCEPTANCE,
    *,
    updated: float = 0,
    began: float | None = None,
    lines: tuple[Line, ...] = LINES,
    tracking: Tracking = Tracking(),
    has_address: bool | None = None,
    has_messages: bool = False,
    ship_by: datetime = f.EPOCH,
    accept_by: datetime = f.EPOCH,
    accepted_at: datetime = f.EPOCH,
    created: datetime = START,
    contents: tuple[tuple[str, str], ...] = (),
) -> Snapshot:
    """One read of OR11 that began at `began` and shows `state` as updated at `updated` seconds. `began` None: then."""
    address = state not in ("STAGING", "WAITING_ACCEPTANCE", *f.DEBIT) if has_address is None else has_address
    shown = (workflow, updated, tracking, address, lines, ship_by, accept_by, accepted_at, created, contents)
    digest = f"{state}/{sha256(repr(shown).encode()).hexdigest()[:32]}"
    return Snapshot(
        updated_at=at(updated),
        rank=rank_of(workflow, state),
        has_address=address,
        has_messages=has_messages,
        read_at=at(updated if began is None else began),
        digest=digest,
        state=state,
        workflow=workflow,
        created_at=created,
        lines=lines,
        tracking=tracking,
        ship_by=ship_by,
        accept_by=accept_by,
        accepted_at=accepted_at,
        import_digest=digest,
        contents=contents,
    )


def without_objectives(found: Plan) -> Plan:
    """The plan as clock events keep it: the objectives change by time alone (statemachine/plan.py, Plan)."""
    return replace(found, results=(), limits=())


def snapshot_event(snapshot: Snapshot) -> Event:
    """The event that the poller publishes for this read."""
    return event(Trigger.SNAPSHOT, f"{snapshot.digest}:{snapshot.read_at}", snapshot_facts(snapshot))


def event(trigger: Trigger, event_id: str, new_facts: Facts) -> Event:
    return Event(f"/test/{trigger}", event_id, "alpha", "O-1", trigger, START, new_facts)


def answer(kind: str, *, carries: str = "", round_: int = 0, answered: float = 0, grace: float = 50) -> Answer:
    return Answer(kind, carries, round_, at(answered), at(answered + grace))


def spoke(oms_id: int = 1) -> Event:
    return event(Trigger.OMS_EVENT, f"spoke{oms_id}", Facts(parts=(Part(oms_id),)))


def sent(number: str = "T1", *, oms_id: int = 1, when: float = 0, status: int = 8, covers: str = "order") -> Event:
    """A dispatched status."""
    tracking = Tracking("DPD", number) if number else Tracking()
    return event(
        Trigger.OMS_EVENT,
        f"{status}:{oms_id}:{number}:{when}",
        Facts(parts=(Part(oms_id),), dispatches=(Dispatch(oms_id, at(when), tracking, (), covers),)),
    )


def parcel(line: str, quantity: int, number: str = "T1", *, oms_id: int = 1, when: float = 0) -> Event:
    """One parcel under a status that is not a dispatched one."""
    dispatch = Dispatch(oms_id, at(when), Tracking("DPD", number), ((line, quantity),))
    return event(
        Trigger.OMS_EVENT, f"parcel:{line}:{quantity}:{number}", Facts(parts=(Part(oms_id),), dispatches=(dispatch,))
    )


def answered(kind: str, **more: object) -> Event:
    one = answer(kind, **more)  # type: ignore[arg-type]
    parts = (Part(1, "REF", ("L1", "L2")),) if kind == CommandKind.IMPORT else ()
    return event(Trigger.CALL, f"{kind}:{one.round}:{one.at}", Facts(answers=(one,), parts=parts))


def settled(*subject: str, when: float = 0, on: Facts | None = None) -> Event:
    """A settle that was made on these facts. None: a version before stored the settle, and did not keep that."""
    seen = Seen() if on is None else seen_in(on)
    return event(
        Trigger.DECISION,
        f"settle:{subject}:{when}",
        Facts(decisions=(Decision(at(when), DecisionKind.SETTLE, "ana", "checked", subject, seen),)),
    )


def clock(seconds: float) -> Event:
    """A clock event: the time is at least this."""
    return event(Trigger.CLOCK, f"clock{seconds}", Facts(clock=at(seconds)))


def not_found(seconds: float) -> Event:
    """A read by id that did not show the order."""
    return event(Trigger.SNAPSHOT, f"not found {seconds}", Facts(not_found=(at(seconds),)))


@dataclass(frozen=True)
class Life:
    """States that one order shows one after the other, each with the workflow that it shows then."""

    shown: tuple[tuple[str, str], ...]
    #: The answer to the import shows one line of two.
    shows_fewer: bool = False
    #: The OMS splits the order, cancels a part, sends the other, and makes the canceled part again.
    makes_again: bool = False
    #: Mirakl shows more pieces in the second read. The first payload of two may have landed, or another's import.
    grows: bool = False

    def lines(self, step: int) -> tuple[Line, ...]:
        """Lines in a debit that follows a shipment have a shipped_date. In any other debit they have none."""
        state, workflow = self.shown[step]
        if self.grows:
            return (replace(LINES[0], quantity=1 + step), LINES[1])
        before = {shown for shown, _ in self.shown[:step]}
        shipped = before & {*f.AFTER_SHIPPING, *(["SHIPPING"] if workflow == f.PAY_ON_SHIPMENT else [])}
        return tuple(replace(line, shipped=bool(shipped) and state in f.DEBIT) for line in LINES)

    def events(self) -> tuple[Event, ...]:
        """Everything that can be reported of this life: each state read early and late, answers, reports."""
        found: list[Event] = []
        for step, (state, workflow) in enumerate(self.shown):
            for began in (step, 100 + step):  # before and after the grace period of every answer
                found.append(snapshot_event(read(state, workflow, updated=step, began=began, lines=self.lines(step))))
            if state == "WAITING_ACCEPTANCE":  # this read began before the late one, and shows a newer update
                found.append(snapshot_event(read(state, workflow, updated=step + 0.5)))
        found += [spoke(), sent()]
        states = {state for state, _ in self.shown}
        if "WAITING_ACCEPTANCE" in states:
            found.append(answered(CommandKind.ACCEPT, carries="accept"))
        if "SHIPPING" in states:
            found += [answered(CommandKind.IMPORT), answered(CommandKind.CONFIRM), settled("already_in_oms:")]
        if self.shows_fewer:
            sent_lines = tuple((line.id, line.quantity or 0) for line in LINES)
            found = [one for one in found if CommandKind.IMPORT not in one.event_id]
            found.append(event(Trigger.CALL, "handover", Facts(handovers=(Handover(at(0), sent_lines),))))
            fewer = Facts(parts=(Part(1, "REF", ("L1",), quantities=(("L1", 2),)),))
            found += [event(Trigger.CALL, "fewer", fewer), settled("lines_canceled_after_import:L1 (1 of 2)")]
        if self.grows:  # the OMS refused a repeat of the first payload, and may have the second
            found = [one for one in found if one.trigger is not Trigger.CALL]
            no = Rejection(CommandKind.IMPORT, "", 0, "", at(2), maybe_there=True)
            first, second = (Handover(at(when), (("L1", pieces), ("L2", 1))) for when, pieces in ((1, 1), (3, 2)))
            new = (Facts(handovers=(first,)), Facts(rejections=(no,)), Facts(handovers=(second,)))
            found += [event(Trigger.CALL, f"payload {n}", one) for n, one in enumerate(new)]
        if self.makes_again:
            found = [one for one in found if one.trigger is Trigger.SNAPSHOT]
            found.append(event(Trigger.CALL, "split", Facts(parts=(Part(1, "", ("L1",)), Part(2, "", ("L2",))))))
            reports = (
                Facts(cancellations=(f.Cancellation(2, (), at(1)),)),
                Facts(statuses=(f.OmsStatus(2, at(2), 4),)),
                Facts(dispatches=(Dispatch(1, at(1), covers="part", told_at=at(1)),)),
            )
            found += [event(Trigger.OMS_EVENT, f"report {n}", report) for n, report in enumerate(reports)]
        return tuple(found)


def lives() -> Iterator[Life]:
    """Every workflow: to its end, refused, and canceled in any state. Also a workflow that the operator converts."""
    for workflow in WORKFLOWS:
        full = _full_life(workflow)
        yield Life(full)
        waiting = next(i for i, (state, _) in enumerate(full) if state == "WAITING_ACCEPTANCE")
        for end in range(waiting + 1, len(full)):
            yield Life((*full[:end], ("REFUSED", workflow)))
            yield Life((*full[:end], ("CANCELED", workflow)))
    due = [(state, f.PAY_ON_DUE_DATE) for state in ("WAITING_ACCEPTANCE", "SHIPPING")]
    converted = [(state, f.PAY_ON_ACCEPTANCE) for state in (*f.DEBIT, "SHIPPING", "SHIPPED")]
    yield Life((*due, *converted))
    yield Life((*due, *converted[:2], ("CANCELED", f.PAY_ON_ACCEPTANCE)))
    for workflow in (f.PAY_ON_DELIVERY, f.PAY_ON_DUE_DATE):  # a debit right after the acceptance
        early = ("WAITING_ACCEPTANCE", *f.DEBIT, "SHIPPING", "SHIPPED")
        yield Life(tuple((state, workflow) for state in early))
    # One parcel is shipped and debited, then the order is in SHIPPING again.
    by_parcel = ("WAITING_ACCEPTANCE", "SHIPPING", "WAITING_DEBIT", "SHIPPING", "SHIPPED")
    yield Life(tuple((state, f.PAY_ON_SHIPMENT) for state in by_parcel))
    # The order is debited before it is shipped, and again after that.
    twice = ("WAITING_ACCEPTANCE", "WAITING_DEBIT", "SHIPPING", "WAITING_DEBIT_PAYMENT", "SHIPPED")
    yield Life(tuple((state, f.PAY_ON_SHIPMENT) for state in twice))
    for ends in (("REFUSED", "CANCELED"), ("CANCELED", "REFUSED")):
        yield Life(tuple((state, f.PAY_ON_ACCEPTANCE) for state in ("WAITING_ACCEPTANCE", *ends)))
    yield Life(tuple((state, f.PAY_ON_ACCEPTANCE) for state in ("SHIPPING", "SHIPPED")), shows_fewer=True)
    yield Life((("SHIPPING", f.PAY_ON_ACCEPTANCE),), makes_again=True)
    yield Life(tuple(("SHIPPING", f.PAY_ON_ACCEPTANCE) for _ in range(2)), grows=True)
    undone = ("WAITING_ACCEPTANCE", "SHIPPING", "SHIPPED", "SHIPPING", "CLOSED")
    yield Life(tuple((state, f.PAY_ON_ACCEPTANCE) for state in undone))


def _full_life(workflow: str) -> tuple[tuple[str, str], ...]:
    unknown = ("STAGING", "WAITING_ACCEPTANCE", "SHIPPING", *f.AFTER_SHIPPING)
    states = f.WORKFLOWS.get(workflow, unknown)
    return tuple((state, workflow) for state in states)
