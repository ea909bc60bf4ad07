"""An order in sentences: why it is in its state, what it waits for, what happens next, and what needs a person.

Pure functions of what is stored. They repeat no rule: the table says what an edge means, reasons.py what needs a
person. No sentence holds personal data: texts of Mirakl or the OMS may quote an order, so what they quote is left out.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from adapters.store.commands import CommandRow
from adapters.store.journal import JournalRow
from adapters.store.orders import OrderRow
from adapters.store.shops import ShopRow
from consumer.operations.calls import what_it_does
from consumer.operations.causes import AttentionReason, attention_reasons, last_result
from consumer.operations.cures_of_calls import NOT_ASKED
from consumer.operations.history import Period, periods
from consumer.operations.instants import to_the_second
from consumer.operations.outside import (
    answer_awaited,
    disproved_by_read,
    gone_and_settled,
    is_all_canceled,
    money_awaited,
    settled_and_open,
    unknown_and_settled,
)
from consumer.operations.payments import is_paid_after_shipping, left_after_debit
from consumer.operations.stops import stopping, what_follows, who_ends
from consumer.operations.timeline import what_happened
from statemachine.attention.urgency_of_order import shipped_by_somebody_else
from statemachine.commands import Command, CommandKind, CommandState, Policy
from statemachine.events import Trigger
from statemachine.facts import DEBIT, DecisionKind, Facts
from statemachine.plan import awaits_read_after, plan
from statemachine.questions.in_oms import all_left, is_debited_after_shipping
from statemachine.questions.payloads import import_known, may_be_in_oms
from statemachine.questions.readings import (
    acceptance,
    is_canceled_by_oms,
    is_pending,
    is_sent,
    last_answer,
    mirakl_state,
    unsent_parts,
    was_read_by_earlier_version,
)
from statemachine.reasons import Reason
from statemachine.states import State
from statemachine.table import TABLE
from statemachine.urgency import EndsBy

_MEANING_OF_EDGE: Final = {(edge.source, edge.target): edge.means for edge in TABLE}

#: Who says that the OMS holds an order, by the kind of the event.
_WHO_SAYS: Final = {
    Trigger.CALL: "it took the import",
    Trigger.OMS_EVENT: "it reports on it",
    Trigger.DECISION: "a person says so",
}
_WHO_SENT: Final = {Trigger.OMS_EVENT: "the OMS reports", Trigger.DECISION: "a person vouches"}
#: What follows a due call.
_THEN: Final = {
    CommandKind.ACCEPT: ", and it becomes accepted",
    CommandKind.IMPORT: ", and it becomes imported",
    CommandKind.TRACK: "",
    CommandKind.CONFIRM: ", and a read shows it",
}
#: What changes the state of an order while no call is due.
_NEXT: Final = {
    State.NEW: "the first read shows its state at Mirakl",
    State.WAITING_ACCEPTANCE: "Mirakl is answered as soon as the answer is known",
    State.ACCEPTED: "a read shows it in debit or in shipping; if a read still shows it waiting, it is answered again",
    State.AWAITING_PAYMENT: "a read shows that the customer paid, and it becomes shipping; canceled if the debit fails",
    State.SHIPPING: "it goes to the OMS as soon as nothing stops that",
    State.IMPORTED: "the OMS reports every open line sent, and it becomes dispatched",
    State.DISPATCHED: "a read shows it shipped",
    State.SHIPPED: "only a better tracking is sent; only a late cancellation would change its state",
    State.REFUSED: "nothing: this state is final",
    State.CANCELED: "nothing: this state is final",
}

#: What a read has to show after Mirakl answered the call.
_PROOFS: Final = {
    CommandKind.ACCEPT: "the acceptance",
    CommandKind.CONFIRM: "the shipment",
    CommandKind.TRACK: "the tracking",
}
#: The state at Mirakl in which a call is needed. Once a read shows another state, the effect need not be shown.
_SHOWN_IN: Final[Mapping[str, str]] = {CommandKind.ACCEPT: "WAITING_ACCEPTANCE", CommandKind.CONFIRM: "SHIPPING"}
#: Reasons for which the OMS does not make the order until somebody decides there.
_STOPS_IN_OMS: Final = (Reason.HELD_IN_OMS, Reason.OMS_QUERY, Reason.OMS_ON_HOLD)
_DEBITS: Final = "Mirakl, which debits the customer; neither orderflow nor the seller can speed that up"


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
    earlier: tuple[Period, ...] = ()  # the attention reasons that have ended, the newest end last


def explain(
    order: OrderRow,
    journal: Sequence[JournalRow],
    commands: Sequence[CommandRow],
    *,
    shop: ShopRow | None,
    policy: Policy,
    now: datetime,
    received: bytes | None = None,
) -> Explanation:
    """The order in sentences. `shop` is None if the store does not know the order's shop.

    `received`: the order as Mirakl showed it. Words of a remote are shown without those that `received` or a payload of
    `commands` holds (words.py). If there is neither, no words of a remote are shown.
    """
    bodies = (received, *(command.payload for command in commands))
    return Explanation(
        shop=order.shop,
        order_id=order.order_id,
        state=order.state,
        since=order.entered_at,
        why_here=_why_here(order.facts, journal, now),
        waits_for=_waits_for(order, journal, commands, shop=shop, policy=policy, now=now) + _still_open(order, policy),
        happens_next=_happens_next(order, policy, now),
        attention=attention_reasons(order, journal, policy, bodies),
        earlier=tuple(
            sorted((one for one in periods(order, journal, policy) if one.until), key=lambda one: one.until or now)
        ),
    )


def _when(instant: datetime, now: datetime) -> str:
    """An instant in UTC. The date is left out if it is today's."""
    return f"{instant:%H:%M:%S} UTC" if instant.date() == now.date() else to_the_second(instant)


# -- Why here ----------------------------------------------------------------------------------------------------


def _why_here(facts: Facts, journal: Sequence[JournalRow], now: datetime) -> str:
    move = next((row for row in reversed(journal) if row.moved), None)
    if move is not None:
        means = _meaning(facts, move)
        if move.after is State.SHIPPED and move.before is not State.NEW and shipped_by_somebody_else(facts):
            means += "; somebody else than orderflow reported the shipment to Mirakl"
        return f"{means} ({what_happened(move)}, {_when(move.event.at, now)})"
    if journal:
        first = journal[0]
        return f"no event has changed its state yet (the first: {what_happened(first)}, {_when(first.event.at, now)})"
    return "no event is known of it yet"


def _meaning(facts: Facts, move: JournalRow) -> str:
    """What the move of the order means. Of an edge that several things can cause, the one that caused this move."""
    trigger, new = move.event.trigger, move.event.new_facts
    answer = last_answer(facts, CommandKind.ACCEPT)
    match move.before, move.after:
        case State.SHIPPING, State.IMPORTED if trigger in _WHO_SAYS:
            who = _WHO_SAYS[trigger]
            canceled = is_canceled_by_oms(facts)
            return f"the OMS had it ({who}), and canceled all of it since" if canceled else f"the OMS holds it: {who}"
        case State.WAITING_ACCEPTANCE, State.ACCEPTED if trigger is Trigger.CALL:
            return "Mirakl took our answer; not yet seen applied"
        case State.IMPORTED, State.DISPATCHED if trigger in _WHO_SENT and new.dispatches:
            return f"every open line was sent, as {_WHO_SENT[trigger]}"
        case State.IMPORTED, State.DISPATCHED if trigger is Trigger.SNAPSHOT and is_debited_after_shipping(facts):
            return "Mirakl debits a shipment"
        case State.ACCEPTED, State.REFUSED if answer is not None and answer.carries == DecisionKind.REFUSE:
            return "we refused every line"
    return _MEANING_OF_EDGE.get((move.before, move.after), f"{move.before} -> {move.after}")


# -- Waits for ---------------------------------------------------------------------------------------------------


def _waits_for(
    order: OrderRow,
    journal: Sequence[JournalRow],
    commands: Sequence[CommandRow],
    *,
    shop: ShopRow | None,
    policy: Policy,
    now: datetime,
) -> str:
    live = [command for command in commands if command.state.is_live]
    stopped = stopping(order)
    stops = list(dict.fromkeys(who_ends(one) for one in stopped))
    if stops and not any(command.state is CommandState.OPEN for command in live):
        under_way = [_under_way(command) for command in live]
        is_held = any(CommandKind.ACCEPT in one.about.holds for one in stopped)
        awaited = answer_awaited(order.facts, policy) if is_held else ""
        return "; ".join([*stops, *under_way, *([awaited] if awaited else [])]) + _oms_goes_on(order)
    if live:  # the oldest goes first, the others wait for it
        first, *later = live
        then = f"; then {', '.join(command.kind for command in later)}" if later else ""
        by_hand = disproved_by_read(order.facts, first.kind, first.carries)
        why = f"; {by_hand}" if by_hand else ""
        released = [who_ends(one) for one in order.attention if one.reason == Reason.MESSAGES_NOT_READ]
        return "; or ".join([*released, _to_call(first, _last_failure(first, journal), shop, now) + then + why])
    if policy.leaves_alone(order.facts) and not order.state.is_final:
        return f"nothing: it is older than the shop's not_before ({_when(policy.not_before, now)}), so no call is made"
    if gone := "" if order.state.is_final else gone_and_settled(order.facts, policy, order.attention):
        return gone
    final = (
        "a person (see attention); for Mirakl it is final"
        if order.attention
        else f"nothing: Mirakl shows it {order.state}"
    )
    return _proof(order.facts, now) or _outside(order, policy) or final


def _still_open(order: OrderRow, policy: Policy) -> str:
    """A remark on what a person settled and what is not done yet. Else an empty text."""
    if order.state.is_at_its_end or order.quarantine is not None:
        return ""
    left = settled_and_open(order.facts, policy, order.attention)
    return f"; {left}" if left else ""


def _to_call(command: CommandRow, failure: str, shop: ShopRow | None, now: datetime) -> str:
    """What has to happen before the call of a live command is made, or answered."""
    if command.state is CommandState.LEASED:
        return _under_way(command)
    if shop is None or not shop.effects:
        return f"a person: the effects of this shop are off, so {command.kind} is due and not sent"
    if command.kind.group in shop.paused:
        return f"a person: {command.kind.group} is paused for this shop, so {command.kind} is due and not sent"
    if command.next_at > now:
        last = f" (attempt {command.attempts} ended with {failure})" if command.attempts else ""
        next_try, end = _when(command.next_at, now), _when(command.give_up_at, now)
        return f"the next try of {command.kind} at {next_try}{last}; gives up at {end}"
    return f"a worker: {command.kind} is due since {_when(command.next_at, now)}"


def _under_way(command: CommandRow) -> str:
    return f"the answer to {command.kind}, which is under way (attempt {command.attempts})"


def _last_failure(command: CommandRow, journal: Sequence[JournalRow]) -> str:
    """How the last try of this command ended: its HTTP status if there was one."""
    note = last_result(journal, lambda event: event.event_id.startswith(f"{command.id}:"))
    if "outcome" in note:
        return str(note.get("status") or note["outcome"])
    return command.last_outcome or "unknown"


def _outside(order: OrderRow, policy: Policy) -> str:
    """What has to happen outside while no call is due; empty in a final state."""
    facts = order.facts
    by_state = {
        State.NEW: _new(facts),
        State.WAITING_ACCEPTANCE: _waiting_acceptance(facts, policy),
        State.ACCEPTED: "a read that shows the acceptance",
        State.AWAITING_PAYMENT: _DEBITS,
        State.SHIPPING: _shipping(facts),
        State.IMPORTED: _imported(order),
        State.DISPATCHED: _dispatched(order),
        State.SHIPPED: f"{'a person (see attention)' if order.attention else 'nothing'}: {_shipped(facts)}",
    }
    return by_state.get(order.state, "")


def _oms_goes_on(order: OrderRow) -> str:
    """A remark on a held order that the OMS still makes: a hold stops our calls, and not the OMS. Else empty."""
    held = any(one.reason == Reason.HELD for one in order.attention)
    goes_on = oms_goes_on(order.facts) if held else ""
    return f"; {goes_on}" if goes_on else ""


def oms_goes_on(facts: Facts) -> str:
    """What to say of the OMS if it has the order, or may have it, and has not sent all of it. Else an empty text."""
    if all_left(facts):
        return ""
    if is_canceled_by_oms(facts):
        return ""
    if import_known(facts):
        return "the OMS has the order and goes on with it"
    return "the OMS may have the order, and goes on with it then" if may_be_in_oms(facts) else ""


def _proof(facts: Facts, now: datetime) -> str:
    """The read that the order waits for, or an empty text (docs/rules.md 16, 19).

    It has to show the effect of a call that Mirakl confirmed, or why Mirakl refused a call. Empty if no such read is
    asked for (`awaits_read_after`): a read has shown the effect, or the order is final.
    """
    snapshot = facts.snapshot
    if snapshot is None or awaits_read_after(facts) is None:
        return ""
    if was_read_by_earlier_version(facts):
        return f"a read that begins after {_when(snapshot.read_at, now)}, because an earlier version read less of it"
    for kind, shown in _PROOFS.items():
        answer = last_answer(facts, kind)
        if answer is not None and is_pending(facts, answer) and snapshot.state == _SHOWN_IN.get(kind, snapshot.state):
            return f"a read that begins after {_when(answer.proof_after, now)} and shows {shown}"
    for no in facts.rejections:
        if _SHOWN_IN.get(no.kind) == snapshot.state and no.at >= snapshot.read_at:
            read = f"a read that begins after {_when(no.at, now)}"
            if no.code in NOT_ASKED:
                return f"{read}; orderflow did not make the call {no.kind}: {no.words}"
            return f"{read} and shows why {no.kind} was refused"
    return ""


def _new(facts: Facts) -> str:
    if mirakl_state(facts) == "STAGING":
        return "Mirakl, which still checks it"
    if facts.newest is None and facts.statuses:
        never = "the first read that shows it at Mirakl; until now only the OMS reports on it"
        return unknown_and_settled(facts) or never
    return "the first read of its state"


def _waiting_acceptance(facts: Facts, policy: Policy) -> str:
    if facts.snapshot is not None and not facts.snapshot.lines:
        return "a read that shows its lines, which Mirakl does not show"
    return "a worker" if acceptance(facts, policy) else "a person: accept or refuse it"


def _shipping(facts: Facts) -> str:
    snapshot = facts.snapshot
    if snapshot is not None and not snapshot.has_address:
        return "an address: Mirakl shows SHIPPING without one, and the order is read again"
    if snapshot is not None and not snapshot.owed_lines:
        return "a read that shows it canceled, or a line to send: Mirakl shows SHIPPING without any open line"
    if facts.dispatches:
        return "a person: some of it left, and the OMS does not have the order"
    return "a worker"


def _imported(order: OrderRow) -> str:
    facts = order.facts
    stopped = [one.about.meaning for one in order.attention if one.reason in _STOPS_IN_OMS]
    if stopped:
        return f"a person in the OMS: {'; '.join(stopped)}"
    if _nothing_owed(facts):
        return _end_of_lines(facts)
    if is_all_canceled(facts):
        return "a person: the OMS canceled all of it, so nobody there makes it"
    rest, money = _the_rest(facts) or "the OMS to report that it sent the goods", money_awaited(facts)
    return f"{rest}; {money}" if money else rest


def _end_of_lines(facts: Facts) -> str:
    """What an imported order waits for of which no line is to be sent."""
    if any(line.has_incident for line in facts.lines):
        return "Mirakl to show how the incident ends"
    if any(line.is_marked for line in facts.lines if not line.is_taken_back):
        return "Mirakl to show it shipped, as it does its lines"
    return "Mirakl to show it canceled; no line is open, so ask the operator to cancel it"


def _the_rest(facts: Facts) -> str:
    """What the OMS still has to send after it sent a part. Else an empty text."""
    unsent = [line.id for line in facts.owed_lines if not is_sent(facts, line)]
    return f"the OMS to send the rest: {', '.join(unsent)}" if facts.dispatches and unsent else ""


def _nothing_owed(facts: Facts) -> bool:
    """Whether Mirakl shows no line that has to be sent."""
    return facts.snapshot is not None and not facts.snapshot.owed_lines


def _dispatched(order: OrderRow) -> str:
    facts = order.facts
    if parts := unsent_parts(facts):
        return f"the OMS to send the other parts of the order: {', '.join(str(part) for part in parts)}"
    if mirakl_state(facts) in DEBIT:
        left = left_after_debit(facts)
        return f"{_DEBITS}; then the OMS to send the rest: {', '.join(left)}" if left else _DEBITS
    if mirakl_state(facts) == "WAITING_ACCEPTANCE":
        return "Mirakl to show it accepted and SHIPPING; only then can it be marked shipped"
    rest = _the_rest(facts) if _is_partly_sent(order) else ""
    return rest or "a read that shows it shipped"


def _shipped(facts: Facts) -> str:
    shown = mirakl_state(facts)
    if shown in DEBIT:
        return "a read showed it shipped, and Mirakl debits the customer"
    return f"Mirakl shows it {_LATER.get(shown, 'shipped')}"


#: What Mirakl shows of a parcel that is at the customer's, or nearly.
_LATER: Final = {
    "TO_COLLECT": "ready for the customer to collect (TO_COLLECT)",
    "RECEIVED": "received by the customer (RECEIVED)",
    "CLOSED": "received by the customer and closed (CLOSED)",
}


def _is_partly_sent(order: OrderRow) -> bool:
    return any(one.reason == Reason.PARTLY_SENT for one in order.attention)


def _happens_next(order: OrderRow, policy: Policy, now: datetime) -> str:
    stops = what_follows(order, policy, now)
    if any(one.about.ends_by is EndsBy.UPGRADE for one in order.attention):  # the facts may not be planned
        return "; ".join(stops)
    calls = [_by_call(command, order, policy) for command in plan(order.facts, policy).due]
    if calls or stops:
        return "; ".join([*calls, *stops])
    if unknown_and_settled(order.facts):
        return "a read shows it at Mirakl after all; else nothing"
    if not order.state.is_final and gone_and_settled(order.facts, policy, order.attention):
        return "a read shows it at Mirakl again, or the OMS reports on it; else nothing"
    return _moves_next(order)


def _moves_next(order: OrderRow) -> str:
    """What changes the state of an order of which no call is due."""
    if order.state is State.DISPATCHED and (unsent_parts(order.facts) or _is_partly_sent(order)):
        return "Mirakl is notified as soon as the rest is sent"
    if order.state is State.IMPORTED and _nothing_owed(order.facts):
        return "a read shows it canceled, and it becomes canceled"
    if order.state is State.SHIPPING and order.facts.snapshot is not None and _nothing_owed(order.facts):
        return "a read shows it canceled, or a line to send; without a line to send nothing goes to the OMS"
    if order.state is State.SHIPPING and order.facts.dispatches:
        return "the OMS reports that the rest left, or a person vouches for it"
    if order.state is State.IMPORTED and is_canceled_by_oms(order.facts):
        return "the OMS reports that it makes the order again, or a read shows it canceled"
    is_debited = order.state is State.DISPATCHED and mirakl_state(order.facts) in DEBIT
    goes_on = "a read shows SHIPPING after the debit, and it waits for the rest"
    moves = goes_on if is_debited and left_after_debit(order.facts) else _next_by_state(order)
    return moves + (", or canceled if the debit fails" if is_debited else "")


def _next_by_state(order: OrderRow) -> str:
    if order.state is State.AWAITING_PAYMENT and is_paid_after_shipping(order.facts):
        return "a read shows it shipped, or shipping if some of it is still to be sent; canceled if the debit fails"
    return _NEXT[order.state]


def _by_call(command: Command, order: OrderRow, policy: Policy) -> str:
    refuses = command.kind is CommandKind.ACCEPT and command.carries == DecisionKind.REFUSE
    then = ", and a read shows it refused" if refuses else _THEN[command.kind]
    return what_it_does(command.key, order.facts, policy) + then
