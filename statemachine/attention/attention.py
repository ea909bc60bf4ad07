"""The rules by which an order needs a person. reasons.py has a row for each reason.

Reasons that come by time alone, such as payment_late, are in deadlines.py. consumer/applying/planning.py adds no_edge,
and adapters/store/orders.py adds quarantined.

A reason is never a state: an order in trouble keeps its state.
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Final

from statemachine import deadlines
from statemachine.attention.changes_by_mirakl import all_taken_back, changes_by_mirakl
from statemachine.attention.elsewhere import is_released_as_dated, shipped_elsewhere
from statemachine.attention.ends import is_ended
from statemachine.attention.left_twice import sent_too_many
from statemachine.attention.refused_or_canceled import reasons_of_dead
from statemachine.attention.reported_by_oms import reasons_of_oms
from statemachine.commands import CommandKind, Need, Obstacle, Policy, next_round, obstacle, rejections_of
from statemachine.facts import (
    DEBIT,
    EPOCH,
    OWED_LINE_STATES,
    PAY_ON_SHIPMENT,
    DecisionKind,
    Facts,
    Line,
    Snapshot,
    Withdrawn,
)
from statemachine.occurrences import (
    NOTHING_OWED,
    PAYMENT,
    Begun,
    last_without,
    of_number,
    of_state,
    of_withdrawal,
)
from statemachine.questions.ids_in_text import written
from statemachine.questions.in_oms import (
    goes_on_at,
    has_left,
    is_confirmed_by_us,
    is_debited_after_shipping,
    is_debited_as_shipped,
    is_sent_by_others,
    left_at,
)
from statemachine.questions.missing import is_gone, not_found_since_read
from statemachine.questions.payloads import may_be_in_oms
from statemachine.questions.readings import (
    acceptance,
    answers_of_lines,
    is_foreign_tracking,
    is_pending,
    last_answer,
    last_decision,
    was_shipped,
)
from statemachine.questions.settled import (
    has_left_since,
    left_though_stopped_at,
    named,
    pieces_now,
    sent_again_at,
    taken_out,
)
from statemachine.questions.stops import INCIDENT, is_marked_in_incident, is_put_back, shipped_until, stood_at_shipment
from statemachine.questions.trackings import best_begun, best_tracking
from statemachine.questions.troubles import (
    is_released,
    messages_waited_until,
    named_since,
    reason_from,
    troubles_of_need,
)
from statemachine.reason_of_order import Attention
from statemachine.reasons import Reason
from statemachine.states import State

#: Code of a rejection: the OMS has the order already, and no try of ours can have brought it there.
ALREADY_THERE: Final = "ALREADY_IN_OMS"


# -- Which reasons stand -----------------------------------------------------------------------------------------


def standing(facts: Facts, policy: Policy, state: State, needs: Sequence[Need]) -> tuple[Attention, ...]:
    """The reasons that the order has now, without those that a person has settled or released.

    `no_edge` and `quarantined` are not among them: consumer/applying/ and adapters/store/orders.py add these.
    """
    found = {*_of_commands(facts, policy, needs), *_of_order(facts, policy, state)}
    if facts.newest is not None or not policy.other_channels:  # else it may be an order of another sales channel
        found |= {*reasons_of_oms(facts, state)}
    found |= {*deadlines.reasons_now(facts, policy)}
    if is_gone(facts, policy):
        found.add(_gone(facts))
    if state.is_final:
        found |= {*reasons_of_dead(facts, state)}
    return tuple(sorted(one for one in found if not is_ended(facts, one)))


_REJECTED: Final = {
    CommandKind.ACCEPT: Reason.ACCEPT_REJECTED,
    CommandKind.IMPORT: Reason.IMPORT_REJECTED,
    CommandKind.TRACK: Reason.TRACKING_REJECTED,
    CommandKind.CONFIRM: Reason.SHIPMENT_REJECTED,
}


def _of_commands(facts: Facts, policy: Policy, needs: Sequence[Need]) -> Iterator[Attention]:
    """Reasons of needed calls: the last round ended without success, so no call is due, or the call keeps failing."""
    for need in needs:
        match obstacle(facts, need):
            case Obstacle.REJECTED:
                yield from _of_rejection(facts, need)
            case Obstacle.GAVE_UP:
                yield Attention.of_command(Reason.GAVE_UP, need.kind, next_round(facts, need))
            case Obstacle.NOT_APPLIED:
                yield Attention.of_command(Reason.NOT_APPLIED, need.kind, next_round(facts, need))
            case None:
                yield from _of_troubles(facts, policy, need)


def _of_troubles(facts: Facts, policy: Policy, need: Need) -> Iterator[Attention]:
    """RETRYING for each operation of this call that fails, once `reason_from` has come.

    Also MESSAGES_NOT_READ, if the wait for the customer's messages is over, the policy holds the import, and no person
    has released it.
    """
    for one in troubles_of_need(facts, need):
        if deadlines.has_come(facts, reason_from(facts, policy, one)):
            yield Attention.of_command(Reason.RETRYING, need.kind, one.round, f"{one.operation} {one.code}")
        until = messages_waited_until(policy, one)
        is_over = until is not None and deadlines.has_come(facts, until)
        if is_over and policy.without_messages == "hold" and not is_released(facts, one):
            yield Attention(Reason.MESSAGES_NOT_READ, named_since(one))


def _of_rejection(facts: Facts, need: Need) -> Iterator[Attention]:
    last = max(rejections_of(facts, need))
    # Mirakl's 400 may only mean that the order was in a later state already. The next read shows that
    # (docs/rules.md 19).
    read_since = facts.snapshot is not None and facts.snapshot.read_at > last.at
    if last.code == ALREADY_THERE:
        yield Attention(Reason.ALREADY_IN_OMS)
    elif need.kind in (CommandKind.IMPORT, CommandKind.TRACK) or read_since:
        yield Attention.of_command(_REJECTED[need.kind], need.kind, next_round(facts, need))


def _of_order(facts: Facts, policy: Policy, state: State) -> Iterator[Attention]:
    """Reasons from what Mirakl shows, and from what people decided."""
    snapshot = facts.snapshot
    if facts.unknown is not None and facts.newest is facts.unknown:
        yield Attention(Reason.UNKNOWN_STATE, facts.unknown.state)
    if _is_held(facts):
        yield Attention(Reason.HELD)
    if snapshot is None:
        return
    is_asked = snapshot.state == "WAITING_ACCEPTANCE" and not is_pending(facts, last_answer(facts, CommandKind.ACCEPT))
    if is_asked and not (snapshot.lines and acceptance(facts, policy)):
        yield Attention(Reason.NEEDS_DECISION if snapshot.lines else Reason.NOTHING_TO_ACCEPT)
    yield from _refused_in_vain(facts, policy, state)
    if state == State.SHIPPING and not is_sent_by_others(facts, policy):  # else nobody here decides on an import
        yield from _before_import(facts, snapshot)
    yield from _unclear_lines(facts, snapshot, state)
    if snapshot.state == "SHIPPING":
        yield from _while_shipping(facts, policy, snapshot)
    yield from _too_early(facts, snapshot, state)
    if not state.is_final:
        yield from changes_by_mirakl(facts, policy, snapshot, state)
        yield from shipped_elsewhere(facts, policy, snapshot, state)
    shown = snapshot.tracking
    if is_foreign_tracking(facts, shown) and (best := best_tracking(facts)) and not shown.shows(best):
        after = replace(best_begun(facts), ended=last_without(facts, of_number(shown)))
        yield Attention(Reason.FOREIGN_TRACKING, after=after)
    yield from _incidents(facts, snapshot, state)
    for line_id, told_at in sent_too_many(facts).items():
        yield Attention(Reason.QUANTITY_EXCEEDS_ORDER, written(line_id), after=Begun(told_at=told_at))


def _gone(facts: Facts) -> Attention:
    since = f"since {not_found_since_read(facts)[0]:%Y-%m-%d %H:%M}"
    return Attention(
        Reason.GONE_FROM_MIRAKL, since, after=Begun(told_at=max(left_at(facts, *facts.lines), goes_on_at(facts)))
    )


def _refused_in_vain(facts: Facts, policy: Policy, state: State) -> Iterator[Attention]:
    """Lines that a person refused, and that Mirakl shows accepted and still to be sent."""
    decision = last_decision(facts, DecisionKind.ACCEPT, DecisionKind.REFUSE)
    if decision is None or facts.snapshot is None or state not in (State.AWAITING_PAYMENT, State.SHIPPING):
        return
    answers = answers_of_lines(acceptance(facts, policy) or DecisionKind.ACCEPT, facts.snapshot.lines)
    if lines := [written(line.id) for line in facts.snapshot.owed_lines if not answers[line.id]]:
        yield Attention(Reason.REFUSAL_NOT_APPLIED, ", ".join(lines), after=Begun(decided_at=decision.at))


def _incidents(facts: Facts, snapshot: Snapshot, state: State) -> Iterator[Attention]:
    """Lines with an incident. A closed incident counts until the order is shipped, because its line is not sent. Our
    OR24 for the others, which marks the line shipped, does not end the reason if the line left, nor as long as the OMS
    has it and nobody settled that it is stopped.

    If goods left of an order of which no line is to be sent any more, withdrawn_after_import stands instead of these.
    """
    if facts.dispatches and all_taken_back(facts, snapshot):
        return
    for line in snapshot.lines:
        if line.state == "INCIDENT_OPEN" or (line.state == "INCIDENT_CLOSED" and state != State.SHIPPED):
            after = Begun(last_without(facts, of_state(line)), left_at(facts, line))
            yield Attention(Reason.LINE_INCIDENT, written(of_state(line)), after=after)
        elif not state.is_final and is_marked_in_incident(facts, line):
            yield Attention(Reason.LINE_INCIDENT, written(f"{line.id} INCIDENT_OPEN"))
        elif not state.is_final and _left_with_incident(facts, line):
            # A settle of an earlier incident, after which a person let the line go on, is not about this one.
            left = left_though_stopped_at(facts, line.id) if taken_out(facts, line.id) else left_at(facts, line)
            yield Attention(Reason.LINE_INCIDENT, written(f"{line.id} INCIDENT_OPEN"), after=Begun(told_at=left))


def _left_with_incident(facts: Facts, line: Line) -> bool:
    """Whether the line left though Mirakl showed an incident of it, and no person settled that who knew that it left.

    After a settle a status may be about the other lines (settled.py, left_though_stopped_at).
    """
    if not (is_confirmed_by_us(facts) and has_left(facts, line) and stood_at_shipment(facts, line, INCIDENT)):
        return False
    settle = taken_out(facts, line.id)
    return settle is None or has_left_since(facts, line.id, settle)


def _before_import(facts: Facts, snapshot: Snapshot) -> Iterator[Attention]:
    """Why an order that the OMS does not have yet is not imported."""
    lines = snapshot.owed_lines
    if not snapshot.has_address:
        yield Attention(Reason.ADDRESS_MISSING)
    if not lines:
        yield Attention(Reason.NOTHING_TO_IMPORT)
    if partly := [line for line in lines if line.withdrawn is Withdrawn.PART]:
        names = [_withdrawal_of(snapshot, line) for line in partly]
        after = Begun(last_without(facts, *map(of_withdrawal, partly)))
        yield Attention(Reason.PARTLY_WITHDRAWN, ", ".join(names), after=after)
    if was_shipped(facts, snapshot.workflow) and lines:
        order = _shipped_before(facts.shipped_update)
        yield order
        if not is_ended(facts, order):  # one release covers the order and its lines
            return
    if dated := [line for line in lines if line.shipped and not is_released_as_dated(facts, line)]:
        yield Attention(Reason.LINE_SHIPPED_BEFORE, ", ".join(written(line.id) for line in dated))


def _shipped_before(at: datetime) -> Attention:
    """The reason, which names until when the order was shown shipped: a release does not cover that it is shown shipped
    again later."""
    return Attention(Reason.SHIPPED_BEFORE, f"{at:%Y-%m-%d %H:%M:%S}" if at > EPOCH else "")


def _withdrawal_of(snapshot: Snapshot, line: Line) -> str:
    """Name a line of which a part was withdrawn, with a digest that tells one withdrawal from the next."""
    pieces = pieces_now(snapshot, line)
    return named(line.id, pieces, pieces)


def _unclear_lines(facts: Facts, snapshot: Snapshot, state: State) -> Iterator[Attention]:
    """Owed lines without a quantity, or in a state that we do not know. They hold an import. After the import the
    reasons only inform: the OMS may work on something else."""
    lines = snapshot.owed_lines if state in (State.SHIPPING, State.IMPORTED, State.DISPATCHED) else ()
    if missing := [written(line.id) for line in lines if line.quantity is None]:
        yield Attention(Reason.QUANTITY_MISSING, ", ".join(missing))
    if unknown := [of_state(line) for line in lines if line.state not in OWED_LINE_STATES]:
        after = Begun(last_without(facts, *unknown))
        yield Attention(Reason.UNKNOWN_LINE_STATE, ", ".join(map(written, unknown)), after=after)


def _while_shipping(facts: Facts, policy: Policy, snapshot: Snapshot) -> Iterator[Attention]:
    """Why an order in SHIPPING must not be sent: somebody else ships it, somebody put it back after our shipment, or
    Mirakl took all of it back."""
    if is_sent_by_others(facts, policy):
        yield Attention(Reason.NOT_OURS_TO_SHIP, snapshot.centre)
    if is_put_back(facts):
        yield _shipped_before(shipped_until(facts))
    if gone := all_taken_back(facts, snapshot):
        again = sent_again_at(facts)  # an earlier settle of this reason does not cover what was owed again since
        detail = f"after {again:%Y-%m-%d %H:%M:%S}" if again > EPOCH else ""
        after = Begun(last_without(facts, NOTHING_OWED), max(left_at(facts, *gone), goes_on_at(facts)))
        yield Attention(Reason.WITHDRAWN_AFTER_IMPORT, detail, after=after)


def _is_held(facts: Facts) -> bool:
    """Whether a person holds the order. Only a release ends a hold, or a settle that names no reason. An earlier
    version stored such settles; this one stores none."""
    ends = [one for one in facts.decisions if one.kind is DecisionKind.RELEASE and f"{Reason.HELD}:" in one.subject]
    ends += [one for one in facts.settles if not one.subject]
    held = last_decision(facts, DecisionKind.HOLD)
    return held is not None and not any(end > held for end in ends)


def _too_early(facts: Facts, snapshot: Snapshot, state: State) -> Iterator[Attention]:
    """What the OMS does with an order that Mirakl does not let the shop send yet."""
    if state == State.DISPATCHED and _may_not_ship_yet(facts, snapshot):
        yield Attention(Reason.SENT_BEFORE_SHIPPING)
    in_oms = state is State.IMPORTED or (state is State.AWAITING_PAYMENT and may_be_in_oms(facts))
    if in_oms and snapshot.state in DEBIT and not is_debited_after_shipping(facts):
        after = Begun(last_without(facts, PAYMENT), goes_on_at(facts))
        yield Attention(Reason.PAYMENT_AWAITED_AGAIN, snapshot.state, after=after)


def _may_not_ship_yet(facts: Facts, snapshot: Snapshot) -> bool:
    """Whether Mirakl does not allow the shipment yet, because it waits for the seller or for the customer's money."""
    money_comes_first = snapshot.workflow != PAY_ON_SHIPMENT and not is_debited_as_shipped(facts)
    return snapshot.state == "WAITING_ACCEPTANCE" or (snapshot.state in DEBIT and money_comes_first)
