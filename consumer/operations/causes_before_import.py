"""What an attention reason rests on in one order that stands before the import, or is about the customer's messages.

No text holds personal data.
"""

from collections.abc import Callable, Mapping
from typing import Final

from consumer.calling.resting import RESTING
from consumer.operations.cases import (
    Case,
    imported_at,
    in_pieces,
    joined,
    mirakl_shows,
    moment,
    named,
    pieces_in_words,
    state_of_line,
    whether_in_oms,
    withdrawals,
)
from consumer.operations.instants import to_the_minute
from statemachine.attention.urgency_of_order import lines_named_in
from statemachine.deadlines import next_deadline
from statemachine.facts import OWED_LINE_STATES, DecisionKind
from statemachine.questions.payloads import what_oms_got
from statemachine.questions.readings import last_decision, unknown_skus
from statemachine.questions.troubles import MESSAGES, NO_MESSAGE
from statemachine.reasons import Reason


def _unknown_state(case: Case) -> str:
    return mirakl_shows(case.facts.unknown)


def _needs_decision(case: Case) -> str:
    unknown = unknown_skus(case.facts, case.policy)
    why = f"not in the list of known SKUs: {', '.join(unknown)}" if unknown else 'the shop has acceptance = "hold"'
    decision = last_decision(case.facts, DecisionKind.ACCEPT, DecisionKind.REFUSE)
    if decision is not None:
        accepted = [f"{named(line)} {state_of_line(line)}" for line in case.facts.lines if line.id in decision.subject]
        why = f"{decision.who} accepted lines at {moment(decision.at)} that are canceled since: {', '.join(accepted)}"
    until = next_deadline(case.facts, case.policy)
    lines = ", ".join(f"{pieces_in_words(line.quantity)} of {named(line)}" for line in case.facts.lines if line.is_owed)
    return joined((why, f"lines: {lines}", f"Mirakl waits until {to_the_minute(until)}" if until else ""))


def _refused_in_vain(case: Case) -> str:
    decision = last_decision(case.facts, DecisionKind.ACCEPT, DecisionKind.REFUSE)
    lines = ", ".join(f"{named(line)} {state_of_line(line)}" for line in lines_named_in(case.one, case.facts))
    return f"{decision.who} refused at {moment(decision.at)}: {lines}" if decision else ""


def _address_missing(case: Case) -> str:
    return f"{mirakl_shows(case.facts.snapshot)}, without a shipping address"


def states_of_lines(case: Case) -> str:
    """What Mirakl shows of each line."""
    return ", ".join(f"{named(line)} {state_of_line(line)}" for line in case.facts.lines) or "Mirakl shows no line"


def _not_ours(case: Case) -> str:
    snapshot = case.facts.snapshot
    if snapshot is None:
        return ""
    found = [] if snapshot.can_ship else ["Mirakl says that the shop does not ship it (`can_shop_ship` is false)"]
    if snapshot.centre not in case.policy.centres:
        ours = ", ".join(sorted(case.policy.centres - {""}))
        found.append(f"the fulfilment centre is {snapshot.centre}; ours: {ours}")
    return joined(found)


def _partly_withdrawn(case: Case) -> str:
    return joined(
        f"{named(line)}: Mirakl shows {in_pieces(line.quantity)}, and {withdrawals(case, line)}"
        for line in lines_named_in(case.one, case.facts)
    )


def _quantity_missing(case: Case) -> str:
    return f"without a quantity: {', '.join(map(named, lines_named_in(case.one, case.facts)))}"


def _unknown_line_state(case: Case) -> str:
    unknown = [line for line in lines_named_in(case.one, case.facts) if line.state not in OWED_LINE_STATES]
    return joined(f"{named(line)} is {line.state}, {whether_in_oms(case.facts, line)}" for line in unknown)


def _shipped_before(case: Case) -> str:
    return (
        f"shown shipped with the update of {moment(case.facts.shipped_update)}; now {mirakl_shows(case.facts.snapshot)}"
    )


def _line_shipped_before(case: Case) -> str:
    lines = [named(line) for line in lines_named_in(case.one, case.facts) if line.shipped]
    return f"with a shipped_date: {', '.join(lines)}; {mirakl_shows(case.facts.snapshot)}"


def _messages_not_found(case: Case) -> str:
    """What Mirakl answered when the messages were read for the import."""
    got = what_oms_got(case.facts)
    failed = [one for one in case.facts.troubles if one.operation == MESSAGES and got and one.since <= got[-1].at]
    last = max(failed, key=lambda one: one.since, default=None)
    answered = f"M11 failed since {moment(last.since)}: {code_in_words(last.code)}" if last else ""
    return joined((answered, imported_at(case)))


def _messages_not_read(case: Case) -> str:
    failed = [trouble for trouble in case.facts.troubles if trouble.operation == MESSAGES]
    waited = case.policy.messages_wait
    return joined(
        f"M11 fails since {moment(trouble.since)}: {code_in_words(trouble.code)}; "
        f"the import waited for the messages until {moment(trouble.since + waited)}"
        for trouble in failed
    )


def code_in_words(code: str) -> str:
    """The code of a failed try. A code of our own is said in words."""
    return _CODES_IN_WORDS.get(code, code)


_CODES_IN_WORDS: Final = {
    NO_MESSAGE: "Mirakl says that the customer wrote, and shows no message",
    RESTING: "the call is not made now, because it fails for other orders too",
}


#: The cause of each of these reasons.
BEFORE_IMPORT: Final[Mapping[Reason, Callable[[Case], str]]] = {
    Reason.UNKNOWN_STATE: _unknown_state,
    Reason.NEEDS_DECISION: _needs_decision,
    Reason.NOTHING_TO_ACCEPT: states_of_lines,
    Reason.REFUSAL_NOT_APPLIED: _refused_in_vain,
    Reason.ADDRESS_MISSING: _address_missing,
    Reason.NOTHING_TO_IMPORT: states_of_lines,
    Reason.MESSAGES_NOT_FOUND: _messages_not_found,
    Reason.MESSAGES_NOT_READ: _messages_not_read,
    Reason.NOT_OURS_TO_SHIP: _not_ours,
    Reason.PARTLY_WITHDRAWN: _partly_withdrawn,
    Reason.QUANTITY_MISSING: _quantity_missing,
    Reason.UNKNOWN_LINE_STATE: _unknown_line_state,
    Reason.SHIPPED_BEFORE: _shipped_before,
    Reason.LINE_SHIPPED_BEFORE: _line_shipped_before,
}
