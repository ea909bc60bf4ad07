"""What each call of orderflow does, in words that a person reads before a decision and in `orders explain`."""

from statemachine.attention.canceled_by_oms import canceled_and_to_be_sent
from statemachine.commands import CommandKey, CommandKind, Policy
from statemachine.facts import DecisionKind, Facts, Tracking
from statemachine.questions.missing import is_gone
from statemachine.questions.readings import answers_of_lines
from statemachine.questions.trackings import best_tracking
from statemachine.questions.troubles import MESSAGES, imports_without_messages, troubles_of


def what_it_does(call: CommandKey, facts: Facts, policy: Policy) -> str:
    """What this call of the order brings about."""
    match call.kind:
        case CommandKind.ACCEPT:
            return f"OR21 {answer_in_words(call.carries, facts)}"
        case CommandKind.IMPORT:
            brings = "POST /order brings the order to the OMS"
            if _needs_messages(call, facts, policy):
                return f"M11 reads the messages again, and only if they can be read, {brings}"
            return brings
        case CommandKind.TRACK:
            return f"OR23 gives Mirakl {_tracking(best_tracking(facts))}{_if_gone(facts, policy)}"
        case CommandKind.CONFIRM:
            canceled = ", ".join(canceled_and_to_be_sent(facts))
            also = f", also {canceled}, which the OMS canceled" if canceled else ""
            return f"OR24 tells Mirakl that the order is shipped{also}{_if_gone(facts, policy)}"


def _if_gone(facts: Facts, policy: Policy) -> str:
    """A remark on a call for an order that Mirakl does not show any more. Else empty."""
    return ", which fails unless Mirakl has the order after all" if is_gone(facts, policy) else ""


def _needs_messages(call: CommandKey, facts: Facts, policy: Policy) -> bool:
    """Whether the customer's messages cannot be read for this import, and it does not go out without them."""
    failing = [one for one in troubles_of(facts, call) if one.operation == MESSAGES]
    return bool(failing) and not any(imports_without_messages(facts, policy, one, facts.clock) for one in failing)


def _tracking(tracking: Tracking) -> str:
    carrier = tracking.carrier or tracking.carrier_code
    if not carrier:
        by_setting = "as carrier what the shop's setting other_carrier names (normally Other)"
        return f"the tracking {tracking.number}, and {by_setting}"
    if not tracking.number:
        return f"the carrier {carrier} without a tracking number"
    return f"the tracking {carrier} {tracking.number}"


def answer_in_words(carries: str, facts: Facts) -> str:
    if carries in (DecisionKind.ACCEPT, DecisionKind.REFUSE):
        return ("accepts " if carries == DecisionKind.ACCEPT else "refuses ") + _every_line(facts)
    answers = answers_of_lines(carries, facts.lines)
    accepted, refused = ([line for line, yes in answers.items() if yes is wanted] for wanted in (True, False))
    return f"accepts {', '.join(accepted)} and refuses {', '.join(refused)}"


def _every_line(facts: Facts) -> str:
    """The lines that Mirakl asks about: all of them, or those that are not canceled yet."""
    gone = [line.id for line in facts.lines if line.is_taken_back]
    if not gone:
        return "every line"
    return f"every line but {', '.join(gone)}, which Mirakl shows canceled"
