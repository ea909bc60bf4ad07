"""Why a person should look at one order: each reason with what it rests on in this order, and what to do about it.

No sentence holds personal data. Of a remote's answer the status and the code are shown, and its words as far as they
are not the order's (words.py).
"""

import shlex
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final

from adapters.store.journal import JournalRow
from adapters.store.orders import OrderRow
from consumer.operations.cases import Case
from consumer.operations.causes_before_import import code_in_words
from consumer.operations.causes_of_orders import cause_of_order
from consumer.operations.cures_of_calls import CURES_OF_CALLS, NOT_ASKED, cure_of_call
from consumer.operations.cures_of_canceled import CURE_OF_ENDED_IN_OMS, CURES_OF_CANCELED, is_taken_out
from consumer.operations.cures_of_deadlines import CURES_OF_DEADLINES, cure_of_deadline
from consumer.operations.cures_of_goods import (
    CURE_OF_MORE_IN_OMS,
    CURE_OF_MORE_LEFT,
    CURES_OF_GOODS,
    cure_of_goods,
    has_left_all,
    with_what_is_to_arrive,
)
from consumer.operations.cures_of_stops import CURES_OF_STOPS, cure_of_stop
from consumer.operations.instants import to_the_second
from consumer.operations.outside import disproved_by_read, yes_in_vain
from consumer.operations.what_first import come_before, in_turn
from consumer.operations.words import without_personal_data
from statemachine.attention.left_twice import more_left_than_went
from statemachine.attention.urgency_of_order import (
    is_canceled_as_a_whole,
    left_in_part,
    lines_named_in,
    makes_more_than_went,
)
from statemachine.commands import CommandKey, CommandKind, Policy
from statemachine.deadlines import has_come
from statemachine.events import Event
from statemachine.facts import Answer, DecisionKind, Facts
from statemachine.failures import GiveUp, Rejection, Trouble
from statemachine.plan import needed
from statemachine.questions.payloads import import_known, our_payloads
from statemachine.questions.readings import is_ended_everywhere, unknown_skus
from statemachine.questions.settled import says_unclear
from statemachine.questions.troubles import is_released, messages_waited_until, troubles_of
from statemachine.reason_of_order import Attention
from statemachine.reasons import Reason


@dataclass(frozen=True, slots=True)
class AttentionReason:
    """One reason why a person should look at the order, with what it means and what to do."""

    reason: str
    detail: str
    since: datetime
    meaning: str
    cause: str  # what it rests on in this order: the answer of a remote, the missing field, the unknown SKU, the part
    cure: str


def attention_reasons(
    order: OrderRow, journal: Sequence[JournalRow], policy: Policy, bodies: Sequence[bytes | None] = ()
) -> tuple[AttentionReason, ...]:
    """Every reason that the order has now, in the order in which a person sees to them (`in_turn`). `bodies`: the order
    as received, then as sent (words.py)."""
    return tuple(
        AttentionReason(
            reason=one.reason,
            detail=one.detail,
            since=one.since,
            meaning=one.about.meaning,
            cause=_cause(one, order, journal, policy, bodies),
            cure=cure(one, order, policy),
        )
        for one in in_turn(order)
    )


def _cause(
    one: Attention,
    order: OrderRow,
    journal: Sequence[JournalRow],
    policy: Policy,
    bodies: Sequence[bytes | None],
) -> str:
    """What this reason rests on in this order. Empty if its detail says all."""
    facts = order.facts
    found = ""
    match one.reason:
        case Reason.RETRYING:
            found = _cause_of_trouble(one, facts, policy, bodies)
        case Reason.NOT_APPLIED if key := _key(one, facts, policy):
            found = yes_in_vain(facts, key.kind, key.carries)
        case _ if key := _key(one, facts, policy):
            # The detail names the next round: the last one ended without success.
            found = _cause_of_call(replace(key, round=key.round - 1), facts, journal, bodies)
        case Reason.ALREADY_IN_OMS:
            last = max(one.round for one in facts.rejections if one.kind == CommandKind.IMPORT)
            found = _cause_of_call(CommandKey(CommandKind.IMPORT, "", last), facts, journal, bodies)
            if any(one.maybe_there for one in facts.rejections if one.kind == CommandKind.IMPORT):
                found += "; an earlier try of ours may have brought it there"
                if sent := our_payloads(facts):
                    found += f", as it was sent at {' or '.join(to_the_second(one.at) for one in sent)}"
        case Reason.NO_EDGE | Reason.QUARANTINED:
            found = one.detail
        case _:
            found = cause_of_order(Case(one, facts, policy, bodies[0] if bodies else None))
    key = _key(one, facts, policy)
    by_hand = disproved_by_read(facts, key.kind, key.carries) if key else ""
    return "; ".join(text for text in (found, by_hand) if text)


def _key(one: Attention, facts: Facts, policy: Policy) -> CommandKey | None:
    """The command that the reason is about. None: the reason is about no call, or the call is not needed any more.

    The detail has the kind and the round. What the call carries is what is needed now: each tracking has its own
    rounds, so an earlier tracking may have ended in the same round, for another cause.
    """
    if one.command is None or one.round is None:
        return None
    need = needed(facts, policy, one.command)
    return CommandKey(one.command, need.carries, one.round) if need else None


def _cause_of_trouble(one: Attention, facts: Facts, policy: Policy, bodies: Sequence[bytes | None]) -> str:
    """Which operation of a call keeps failing, since when, and how."""
    key = _key(one, facts, policy)
    for trouble in troubles_of(facts, key) if key else ():
        if key and one.detail == f"{key.kind}#{key.round} {trouble.operation} {trouble.code}".rstrip():
            of_call = trouble.operation == key.kind.operation
            name = trouble.operation if of_call else f"{trouble.operation} for {key.kind}"
            since = f"{name} fails since {to_the_second(trouble.since)}: {code_in_words(trouble.code)}"
            return since + _quoted(trouble.words, bodies) + _waits_until(facts, policy, trouble)
    return ""


def _waits_until(facts: Facts, policy: Policy, trouble: Trouble) -> str:
    """Until when the import waits for the customer's messages, and what comes then. Empty for another trouble."""
    until = messages_waited_until(policy, trouble)
    if until is None:
        return ""
    if is_released(facts, trouble):
        return "; a person let the import go out without the messages"
    then = "a person decides" if policy.without_messages == "hold" else "it goes out without them"
    waits = "waited" if has_come(facts, until) else "waits"
    return f"; the import {waits} for the messages until {to_the_second(until)}, then {then}"


def _quoted(words: str, bodies: Sequence[bytes | None]) -> str:
    """The words of a remote as the end of a sentence."""
    shown = without_personal_data(words, *bodies)
    return f', "{shown}"' if shown else ""


def _cause_of_call(key: CommandKey, facts: Facts, journal: Sequence[JournalRow], bodies: Sequence[bytes | None]) -> str:
    """How this round of a call ended: the operation, and the status and code of the remote's answer.

    If the journal has no result of the call, only the operation.
    """
    note, kind = (
        last_result(journal, lambda event: any(_is_end_of(key, one) for one in _ends(event.new_facts))),
        key.kind,
    )
    words = next((one.words for one in _ends(facts) if _is_end_of(key, one) and not isinstance(one, Answer)), "")
    if not note.get("status") and note.get("code") in NOT_ASKED:
        return f"orderflow did not call {kind.operation} ({kind}): {words}"
    if not note:
        return f"{kind.operation} ({kind})"
    code = note.get("code") if str(note.get("code")) != "0" else ""  # KornitX sends 0 if its error has no code
    answer = " ".join(str(one) for one in (note.get("status"), code) if one) or str(note.get("outcome", ""))
    times = f" in attempt {note['attempt']}" if note.get("attempt", 1) != 1 else ""
    return f"{kind.operation} ({kind}) ended with {answer or note.get('result', '')}{times}" + _quoted(words, bodies)


def _ends(facts: Facts) -> tuple[Rejection | GiveUp | Answer, ...]:
    return (*facts.rejections, *facts.given_up, *facts.answers)


def _is_end_of(key: CommandKey, one: Rejection | GiveUp | Answer) -> bool:
    return (one.kind, one.carries, one.round) == (key.kind, key.carries, key.round)


def last_result(journal: Sequence[JournalRow], is_of: Callable[[Event], bool]) -> Mapping[str, str | int]:
    """The note of the last result of a try for which `is_of` holds. Empty if the journal has none."""
    events = (row.event for row in reversed(journal))
    return next((event.note for event in events if event.note.get("step") == "result" and is_of(event)), {})


#: What to do about a line of which another part is withdrawn than a person settled.
_CURE_OF_ANOTHER_PART: Final = (
    "It may be more or fewer pieces than before. Find out what is still to be sent, compare it with what the OMS "
    "makes, and correct it there. Then `orders settle ORDER --reason WHY`."
)

#: What to do about a line without a quantity of an order that the OMS has.
_CURE_OF_QUANTITY_IN_OMS: Final = (
    "Look at the line in Mirakl's portal, and ask the operator. Compare the pieces with what the OMS makes. It clears "
    "when a read shows the quantity."
)

#: Cures that stand in place of that of the reason.
CURES_OF_CASES: Final = (
    *CURES_OF_CALLS,
    *CURES_OF_DEADLINES,
    *CURES_OF_GOODS,
    *CURES_OF_STOPS,
    *CURES_OF_CANCELED,
    _CURE_OF_ANOTHER_PART,
    _CURE_OF_QUANTITY_IN_OMS,
)
#: Reasons whose cure is to stop lines in the OMS.
_STOP_LINES: Final = (Reason.LINES_CANCELED_AFTER_IMPORT, Reason.WITHDRAWN_AFTER_IMPORT)


def cure(one: Attention, order: OrderRow, policy: Policy | None = None) -> str:
    """What to do. Its commands can be pasted: they name this order, and a settle names this reason."""
    is_as_ordered = not (one.reason is Reason.LINES_NOT_IMPORTED and more_left_than_went(order.facts))
    is_out = one.reason is Reason.LINES_CANCELED_AFTER_IMPORT and is_taken_out(
        lines_named_in(one, order.facts), order.facts
    )
    have_left = has_left_all(one, order.facts) or _left_before_cancel(one, order.facts)
    text = one.about.cure_when_sent if is_as_ordered and not is_out and have_left else ""
    cure_of = one.about.cure
    if of_call := cure_of_call(one, order, policy):
        cure_of = of_call
    elif of_stop := cure_of_stop(one, order, policy):
        cure_of = of_stop
    elif of_deadline := cure_of_deadline(one, order):
        cure_of = of_deadline
    elif not is_as_ordered:
        cure_of = CURE_OF_MORE_LEFT
    elif one.reason is Reason.LINES_NOT_IMPORTED and makes_more_than_went(order.facts):
        cure_of = CURE_OF_MORE_IN_OMS
    elif one.reason in _STOP_LINES and _is_ended_in_oms(one, order.facts):
        cure_of = CURE_OF_ENDED_IN_OMS
    elif one.reason is Reason.QUANTITY_MISSING and import_known(order.facts):
        cure_of = _CURE_OF_QUANTITY_IN_OMS
    elif one.reason is Reason.NEEDS_DECISION and policy is not None:
        cure_of = _cure_of_unknown_skus(order.facts, policy) or cure_of
    elif of_goods := cure_of_goods(one, order.facts):
        cure_of = of_goods
    elif one.reason is Reason.LINES_CANCELED_AFTER_IMPORT and says_unclear(one.detail):
        cure_of = _CURE_OF_ANOTHER_PART
    said = with_what_is_to_arrive(f"The goods have left. {text}" if text else cure_of, one, order.facts)
    named = (_first(one, order) + said).replace(
        "orders settle ORDER --reason", f"orders settle ORDER --only {one.reason} --reason"
    )
    named = named.replace("orders release ORDER --reason", f"orders release ORDER --only {one.reason} --reason")
    if one.command:
        named = named.replace("orders handled ORDER --reason", f"orders handled ORDER --call {one.command} --reason")
    named = named.replace("`orders ", "`orderflow orders ")
    return named.replace(" ORDER", f" {shlex.quote(order.order_id)} --shop {shlex.quote(order.shop)}")


def _first(one: Attention, order: OrderRow) -> str:
    """Which other reasons of the order come before this one."""
    stops = come_before(one, order)
    return f"First see to {' and '.join(stops)}: what is stopped in the OMS is not made. " if stops else ""


def _cure_of_unknown_skus(facts: Facts, policy: Policy) -> str:
    """What to do about an order of which the shop's list of known SKUs lacks some lines. Empty if this is another
    order."""
    unknown = unknown_skus(facts, policy)
    ids = [line.id for line in facts.owed_lines if line.sku in unknown]
    is_decided = any(one.kind in (DecisionKind.ACCEPT, DecisionKind.REFUSE) for one in facts.decisions)
    if is_decided or not ids or len(ids) == len(facts.owed_lines):
        return ""
    named = " ".join(f"--line {shlex.quote(each)}" for each in ids)
    return (
        f"Decide before its deadline. `orders refuse ORDER {named} --reason WHY` refuses what is not in the list and "
        "accepts the other lines. `orders accept ORDER --reason WHY` accepts every line, `orders refuse ORDER --reason "
        "WHY` refuses every line. Or decide in Mirakl's portal."
    )


def _is_ended_in_oms(one: Attention, facts: Facts) -> bool:
    """Whether the OMS canceled the lines that the reason names, or all of the order."""
    lines = lines_named_in(one, facts)
    return is_canceled_as_a_whole(facts) or (bool(lines) and all(is_ended_everywhere(facts, line.id) for line in lines))


def _left_before_cancel(one: Attention, facts: Facts) -> bool:
    """Whether Mirakl took goods back of which some left, and the OMS canceled them all."""
    if one.reason not in _STOP_LINES or not _is_ended_in_oms(one, facts):
        return False
    lines = lines_named_in(one, facts)
    return any(left_in_part(facts, line) for line in lines) if lines else bool(facts.dispatches)
