"""What Mirakl still waits for, and what a person said about an order, in sentences of explanations and questions."""

from collections.abc import Collection, Iterator

from consumer.operations.cases import tracking_in_words
from consumer.operations.instants import to_the_minute, to_the_second
from consumer.operations.payments import left_after_debit
from statemachine.attention.canceled_by_oms import canceled_and_to_be_sent
from statemachine.commands import CommandKey, CommandKind, Policy, answers_in_vain
from statemachine.deadlines import acceptance_deadline, has_come, next_deadline
from statemachine.facts import DEBIT, EPOCH, Answer, Decision, DecisionKind, Facts
from statemachine.questions.in_oms import is_debited_after_shipping, is_sent_by_others
from statemachine.questions.missing import is_gone, not_found_since_read
from statemachine.questions.payloads import what_oms_got
from statemachine.questions.readings import (
    acceptance,
    is_canceled_by_oms,
    is_pending,
    is_sent,
    is_shown,
    last_answer,
    mirakl_state,
)
from statemachine.questions.settled import is_settled_as_added
from statemachine.questions.trackings import best_tracking
from statemachine.reason_of_order import Attention
from statemachine.reasons import Reason


def answer_awaited(facts: Facts, policy: Policy) -> str:
    """That Mirakl waits for the seller's answer, or will ask for one that only a person gives. Empty: it does not."""
    snapshot, answer = facts.snapshot, acceptance(facts, policy)
    if snapshot is None or not snapshot.lines or is_pending(facts, last_answer(facts, CommandKind.ACCEPT)):
        return ""
    if snapshot.state == "STAGING":
        return "" if answer else "when Mirakl asks for the answer, a person has to accept or refuse the order"
    if snapshot.state != "WAITING_ACCEPTANCE":
        return ""
    until = acceptance_deadline(snapshot, policy)
    who = "Mirakl waits for the answer" if answer else "Mirakl waits for the answer of a person: accept or refuse it"
    return who + (f"; after {to_the_minute(until)} Mirakl refuses it by itself" if until > EPOCH else "")


def money_awaited(facts: Facts) -> str:
    """That Mirakl has not got the customer's money for an order that it does not show shipped. Empty: it has, or the
    debit follows a shipment."""
    if mirakl_state(facts) not in DEBIT or is_debited_after_shipping(facts):
        return ""
    return f"Mirakl still waits for the customer's money ({mirakl_state(facts)})"


def gone_and_settled(facts: Facts, policy: Policy, attention: Collection[Attention]) -> str:
    """What an order waits for that Mirakl does not show any more, after a person settled that. Empty: it is not so."""
    decision = _settle(facts, Reason.GONE_FROM_MIRAKL)
    if (
        decision is None
        or not is_gone(facts, policy)
        or any(one.reason is Reason.GONE_FROM_MIRAKL for one in attention)
    ):
        return ""
    since, who = not_found_since_read(facts)[0], "a person (see attention)" if attention else "nothing"
    said = f"{who}: Mirakl has not shown the order since {to_the_minute(since)}; "
    said += f"{decision.who} settled that: {decision.why}"
    until = next_deadline(facts, policy)
    if until is None or has_come(facts, until):
        return said
    return f"{said}; when the deadline {to_the_minute(until)} is near, a person is asked again"


def unknown_and_settled(facts: Facts) -> str:
    """What an order waits for that only the OMS knows, after a person settled that. Empty: nobody did."""
    decision = _settle(facts, Reason.UNKNOWN_TO_MIRAKL)
    if decision is None or facts.newest is not None:
        return ""
    return f"nothing: no read has shown the order at Mirakl; {decision.who} settled that: {decision.why}"


def canceled_in_oms(facts: Facts, policy: Policy, attention: Collection[Attention]) -> Iterator[str]:
    """What becomes of the lines that the OMS canceled and Mirakl still shows to be sent, after a settle of that."""
    lines = ", ".join(canceled_and_to_be_sent(facts))
    if not lines or not_found_since_read(facts):  # Mirakl does not show the order any more
        return
    if is_sent_by_others(facts, policy):
        yield "somebody else ships the order, so nothing is missing; if the shop is to ship it again, a person is asked"
        return
    if is_debited_after_shipping(facts) and not left_after_debit(facts):
        yield (
            f"Mirakl debits the shipment, and the OMS canceled {lines}: if nobody sent it, have the OMS make it again, "
            "or refund it in Mirakl's portal"
        )
        return
    if not is_all_canceled(facts):
        yield (
            f"Mirakl still shows {lines} to be sent, which the OMS canceled: OR24 reports it shipped with the rest, "
            "so cancel or refund it in Mirakl's portal first"
        )
        return
    yield (
        f"Mirakl still shows {lines} to be sent, and nobody makes it: cancel or refund it in Mirakl's portal, or have "
        f"the OMS make it again; else {_asked_again(facts, policy, attention)}"
    )


def is_all_canceled(facts: Facts) -> bool:
    """Whether the OMS canceled the order, or each line that is to be sent, and nothing left."""
    owed = {line.id for line in facts.owed_lines} if not facts.dispatches else set()
    return is_canceled_by_oms(facts) or (bool(owed) and owed <= {*canceled_and_to_be_sent(facts)})


def _asked_again(facts: Facts, policy: Policy, attention: Collection[Attention]) -> str:
    """When a person is asked again about an order that the OMS canceled (statemachine/deadlines.py)."""
    until, created_at = next_deadline(facts, policy), facts.snapshot.created_at if facts.snapshot else EPOCH
    due = f" (shipping_due, before {to_the_minute(until)})" if until else ""
    if any(one.reason is Reason.SHIPPING_DUE for one in attention):
        return f"it stays on the list{due}"
    at = f"at {to_the_minute(until - (until - created_at) / 2)}, " if until and created_at > EPOCH else ""
    return f"a person is asked again {at}when half of the time is over{due}"


def settled_and_open(facts: Facts, policy: Policy, attention: Collection[Attention]) -> str:
    """What is left to do of what a person settled: lines that the OMS canceled, or that the import did not have.

    Empty: nothing, or the reason is on the list again.
    """
    standing = {one.reason for one in attention}
    found = []
    canceled = _settle(facts, Reason.OMS_CANCELED)
    if canceled and Reason.OMS_CANCELED not in standing:
        found += [f"{_said(canceled, 'oms_canceled')}: {one}" for one in canceled_in_oms(facts, policy, attention)]
    added = _settle(facts, Reason.LINES_ADDED_AFTER_IMPORT)
    if added and Reason.LINES_ADDED_AFTER_IMPORT not in standing and (lines := _added_and_not_sent(facts)):
        said = f"{_said(added, 'lines_added_after_import')}: the OMS makes what was added of {', '.join(lines)}"
        found.append(f"{said}; that counts as sent when parcels hold it, or by `orders sent`")
    return "; ".join(found)


def _said(settle: Decision, reason: str) -> str:
    return f"{settle.who} settled {reason} at {to_the_minute(settle.at)} ({settle.why})"


def _added_and_not_sent(facts: Facts) -> list[str]:
    """The lines of which a person settled that the OMS makes them, or more pieces of them, and that have not left.
    Without those that it canceled and does not make again."""
    got, canceled = what_oms_got(facts), canceled_and_to_be_sent(facts)
    since = got[0].at if got else EPOCH
    lines = [one for one in facts.owed_lines if one.id not in canceled and not is_sent(facts, one)]
    return [one.id for one in lines if is_settled_as_added(facts, one.id, since)]


def _settle(facts: Facts, reason: Reason) -> Decision | None:
    """The newest settle that names this reason."""
    return max((one for one in facts.settles if one.names(reason)), default=None)


def disproved_by_read(facts: Facts, kind: CommandKind, carries: str) -> str:
    """That a person said that this call was done by hand, and that the newest read does not show it. Empty: not so."""
    snapshot, answer = facts.snapshot, last_answer(facts, kind, carries)
    if snapshot is None or answer is None or is_pending(facts, answer) or _shows(facts, kind):
        return ""
    handled = _by_hand(facts, answer)
    if handled is None:
        return ""
    said = f"{handled.who} said at {to_the_second(handled.at)} that {kind.operation} was done by hand"
    return f"{said}, and the read of {to_the_second(snapshot.read_at)} does not show it"


def yes_in_vain(facts: Facts, kind: CommandKind, carries: str) -> str:
    """How often Mirakl said yes to this call, and what its newest read shows all the same."""
    mine = answers_in_vain(facts, kind, carries)
    times = sorted(one.at for one in mine if _by_hand(facts, one) is None)
    if not times or facts.snapshot is None:
        return ""
    shown = facts.snapshot.state if kind is not CommandKind.TRACK else tracking_in_words(facts.snapshot.tracking)
    return (
        f"Mirakl said yes to {kind.operation} ({kind}) {len(times)} times, the last time at "
        f"{to_the_second(times[-1])}, and the read of {to_the_second(facts.snapshot.read_at)} still shows {shown}"
    )


def _by_hand(facts: Facts, answer: Answer) -> Decision | None:
    """The decision `handled` that stands behind an answer. None: a remote gave the answer."""
    handled = (one for one in facts.decisions if one.kind is DecisionKind.HANDLED and one.at == answer.at)
    named = str(CommandKey(CommandKind(answer.kind), answer.carries, answer.round))  # type: ignore[call-arg]  # as in parse
    return next((one for one in handled if named in one.subject), None)


def _shows(facts: Facts, kind: CommandKind) -> bool:
    """Whether the newest read shows the effect of a call of this kind."""
    snapshot = facts.snapshot
    if snapshot is None or kind is CommandKind.IMPORT:
        return True
    if kind is CommandKind.TRACK:
        return is_shown(facts, snapshot.tracking, best_tracking(facts))
    waits = "WAITING_ACCEPTANCE" if kind is CommandKind.ACCEPT else "SHIPPING"
    return snapshot.state != waits
