"""What an attention reason that is about no call rests on in one order: line, SKU, part, tracking, date, setting.

No text holds personal data.
"""

import re
from collections.abc import Callable, Mapping
from typing import Final

from consumer.operations.cases import (
    Case,
    is_marked_by_us,
    joined,
    lines_named_in,
    may_have_line,
    mirakl_shows,
    moment,
    named,
    oms_order,
    orders_in_oms,
    shipped_by_somebody_else,
    shown_between,
    shown_lines,
    taken_back_since,
    tracking_in_words,
    trackings_sent,
    unsent_lines,
)
from consumer.operations.deadline_causes import acceptance_due, shipping_due
from consumer.operations.instants import to_the_minute
from consumer.operations.lines import withdrawals_of
from consumer.resting import RESTING
from statemachine.canceled_by_oms import NOT_OWED
from statemachine.deadlines import next_deadline
from statemachine.facts import (
    AFTER_SHIPPING,
    DEBIT,
    EPOCH,
    OWED_LINE_STATES,
    DecisionKind,
    Facts,
    Line,
    OmsStatus,
    Tracking,
    Withdrawn,
)
from statemachine.ids_in_text import entries, named_in, read
from statemachine.in_oms import changed_contents, has_left, is_confirmed_by_us, unfinished_parts
from statemachine.missing import not_found_since_read
from statemachine.parcels import sent_quantity
from statemachine.payloads import import_known, our_payloads, what_oms_got
from statemachine.readings import (
    alive_parts,
    is_canceled_by_oms,
    is_ended_everywhere,
    is_vouched,
    last_decision,
    mirakl_state,
    ordered_pieces,
    parts_in_oms,
    pieces_of,
    shown_pieces,
    unknown_skus,
    unsent_parts,
)
from statemachine.reasons import Reason
from statemachine.settled import settled_pieces
from statemachine.trackings import best_tracking
from statemachine.troubles import MESSAGES, NO_MESSAGE


def cause_of_order(case: Case) -> str:
    """What the reason rests on, if it is not about a call. Empty if the facts know no more than its meaning says."""
    return _CAUSES[case.one.reason](case) if case.one.reason in _CAUSES else ""


# -- Before the import -------------------------------------------------------------------------------------------


def _unknown_state(case: Case) -> str:
    return mirakl_shows(case.facts.unknown)


def _needs_decision(case: Case) -> str:
    unknown = unknown_skus(case.facts, case.policy)
    why = f"not in the list of known SKUs: {', '.join(unknown)}" if unknown else 'the shop has acceptance = "hold"'
    decision = last_decision(case.facts, DecisionKind.ACCEPT, DecisionKind.REFUSE)
    if decision is not None:
        accepted = [
            f"{named(line)} {_state_of(line)}" for line in shown_lines(case.facts) if line.id in decision.subject
        ]
        why = f"{decision.who} accepted lines at {moment(decision.at)} that are canceled since: {', '.join(accepted)}"
    until = next_deadline(case.facts, case.policy)
    lines = ", ".join(f"{_pieces(line.quantity)} of {named(line)}" for line in shown_lines(case.facts) if line.is_owed)
    return joined((why, f"lines: {lines}", f"Mirakl waits until {to_the_minute(until)}" if until else ""))


def _refused_in_vain(case: Case) -> str:
    decision = last_decision(case.facts, DecisionKind.ACCEPT, DecisionKind.REFUSE)
    lines = ", ".join(f"{named(line)} {_state_of(line)}" for line in lines_named_in(case.one, case.facts))
    return f"{decision.who} refused at {moment(decision.at)}: {lines}" if decision else ""


def _address_missing(case: Case) -> str:
    return f"{mirakl_shows(case.facts.snapshot)}, without a shipping address"


def _states_of_lines(case: Case) -> str:
    """What Mirakl shows of each line."""
    return ", ".join(f"{named(line)} {_state_of(line)}" for line in shown_lines(case.facts)) or "Mirakl shows no line"


def _state_of(line: Line) -> str:
    taken = {
        Withdrawn.WHOLE: "refunded or canceled",
        Withdrawn.PRICE: "refunded",
        Withdrawn.PART: "in part refunded or canceled",
    }
    if line.withdrawn is Withdrawn.PART and not line.is_owed:
        return line.state or "0 pieces"  # nothing of it is left, whatever was withdrawn before
    return " ".join(dict.fromkeys(one for one in (line.state, taken.get(line.withdrawn, "")) if one)) or "without state"


def _not_ours(case: Case) -> str:
    snapshot = case.facts.snapshot
    if snapshot is None:
        return ""
    found = [] if snapshot.can_ship else ["Mirakl says that the shop does not ship it (`can_shop_ship` is false)"]
    if snapshot.centre not in case.policy.centres:
        ours = ", ".join(sorted(case.policy.centres - {""}))
        found.append(f"the fulfilment centre is {snapshot.centre}; ours: {ours}")
    return joined(found)


def _shipped_elsewhere(case: Case) -> str:
    lines, by = lines_named_in(case.one, case.facts), case.one.detail
    which = f"shipped: {', '.join(map(named, lines))}" if lines else f"the fulfilment centre is {by}" if by else ""
    shown = mirakl_shows(case.facts.snapshot) if mirakl_state(case.facts) in DEBIT else ""
    if is_confirmed_by_us(case.facts) or is_vouched(case.facts, *shown_lines(case.facts)):
        shown = "a person said that the goods left, and the OMS reports since that it works on them"
    return joined((shown, which, f"in the OMS: {orders_in_oms(case.facts)}"))


def _partly_withdrawn(case: Case) -> str:
    return joined(
        f"{named(line)}: Mirakl shows {_in_pieces(line.quantity)}, and {_withdrawals(case, line)}"
        for line in lines_named_in(case.one, case.facts)
    )


def _withdrawals(case: Case, line: Line) -> str:
    """Each refund and cancelation of the line with its amount, as far as the read that shows it is stored."""
    return " and ".join(withdrawals_of(case.received, line.id)) or "a cancelation or refund of a part"


def _quantity_missing(case: Case) -> str:
    return f"without a quantity: {', '.join(map(named, lines_named_in(case.one, case.facts)))}"


def _unknown_line_state(case: Case) -> str:
    unknown = [line for line in lines_named_in(case.one, case.facts) if line.state not in OWED_LINE_STATES]
    return joined(f"{named(line)} is {line.state}, {_whether_in_oms(case.facts, line)}" for line in unknown)


def _whether_in_oms(facts: Facts, line: Line) -> str:
    """Whether the OMS has the line, as far as the import and the OMS's reports tell."""
    got, held = what_oms_got(facts), {one for lines in parts_in_oms(facts).values() for one in lines}
    if is_canceled_by_oms(facts):
        return "the OMS canceled the order"
    pieces = [dict(one.items).get(line.id, 0) for one in got]
    if line.id in held or (pieces and all(pieces)):
        return "the OMS has it"
    if import_known(facts) and not held and not any(one.items for one in got):
        return "the OMS has the order, and its lines are not known"
    return "the OMS may have it" if may_have_line(facts, line) else "the OMS does not have it"


def _shipped_before(case: Case) -> str:
    return (
        f"shown shipped with the update of {moment(case.facts.shipped_update)}; now {mirakl_shows(case.facts.snapshot)}"
    )


def _line_shipped_before(case: Case) -> str:
    lines = [named(line) for line in lines_named_in(case.one, case.facts) if line.shipped]
    return f"with a shipped_date: {', '.join(lines)}; {mirakl_shows(case.facts.snapshot)}"


def _gone(case: Case) -> str:
    missed, newest = not_found_since_read(case.facts), case.facts.newest
    if not missed or newest is None:
        return ""
    hours = f"gone_after_hours = {case.policy.gone_after.total_seconds() / 3600:g}"
    shown = f"last shown at {moment(newest.read_at)} as {newest.state}"
    return f"{shown}; not shown at {moment(missed[0])} and after that; {hours}"


def _unknown_to_mirakl(case: Case) -> str:
    """When the OMS first reported on the order, and with which status."""
    first = min(case.facts.statuses, key=lambda one: one.at, default=None)
    return f"the OMS's order {first.oms_id} was reported at {moment(first.at)}, status {first.status}" if first else ""


def _attachment(case: Case) -> str:
    return joined(
        ("M11 showed a file with a message of the customer, and an import carries texts only", _imported_at(case))
    )


def _messages_not_found(case: Case) -> str:
    """What Mirakl answered when the messages were read for the import."""
    got = what_oms_got(case.facts)
    failed = [one for one in case.facts.troubles if one.operation == MESSAGES and got and one.since <= got[-1].at]
    last = max(failed, key=lambda one: one.since, default=None)
    answered = f"M11 failed since {moment(last.since)}: {code_in_words(last.code)}" if last else ""
    return joined((answered, _imported_at(case)))


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


# -- In the OMS --------------------------------------------------------------------------------------------------


def _oms_canceled(case: Case) -> str:
    reported, _, not_owed = case.one.detail.partition(NOT_OWED)
    canceled, at = _TOLD_AT.fullmatch(reported).groups()  # type: ignore[union-attr]  # matches any text
    oms_id, *pieces = map(read, entries(canceled))
    skus = {line.id: named(line) for line in shown_lines(case.facts)}
    lines = [(skus.get(line, line), n) for line, _, n in (text.rpartition("*") for text in pieces)]
    what = ", ".join(f"{n} of {line}" for line, n in lines) or "all of it"
    when = f", reported at {at} UTC" if at else ""
    if not oms_id.isdecimal():
        return ""
    not_to_send = [f"not to be sent any more: {', '.join(map(read, entries(not_owed)))}"] if not_owed else []
    others = [_not_canceled(case.facts, one) for one in sorted(alive_parts(case.facts)) if one != int(oms_id)]
    return joined((f"{oms_order(case.facts, int(oms_id))}: {what}{when}", *others, *not_to_send))


def _not_canceled(facts: Facts, oms_id: int) -> str:
    """Another order of ours in the OMS, which goes on, and the last that the OMS reported on it."""
    newest = max((one for one in facts.statuses if one.oms_id == oms_id), key=lambda one: one.at, default=None)
    left = any(one.oms_id == oms_id for one in facts.dispatches)
    last = "sent" if left else f"status {newest.status} at {moment(newest.at)}" if newest else "no status is known"
    return f"not canceled: {oms_order(facts, oms_id)}, {last}"


#: The detail of `oms_canceled`, and the time of the report, which cancellations of earlier versions do not have.
_TOLD_AT: Final = re.compile(r"(.*?)(?: (\d+-\d\d-\d\d \d\d:\d\d:\d\d)\.\d+)?", re.DOTALL)


def _dead_with_oms(case: Case) -> str:
    return joined((mirakl_shows(case.facts.snapshot), f"in the OMS: {orders_in_oms(case.facts)}"))


def _dead_after_dispatch(case: Case) -> str:
    return joined((mirakl_shows(case.facts.snapshot), trackings_sent(case.facts)))


def _lines_canceled(case: Case) -> str:
    return joined(
        f"{named(line)}: {_sent_to_oms(case.facts, line, None)}{_settled(case.facts, line)}, {_left_over(case, line)}"
        f"{_what_oms_did(case.facts, line)}"
        for line in lines_named_in(case.one, case.facts)
    )


def _left_over(case: Case, line: Line) -> str:
    """What Mirakl shows of a line of which a person has to take out pieces, or all."""
    if line not in shown_lines(case.facts):
        return "the newest read does not show this line"
    is_part = line.withdrawn is Withdrawn.PART and line.quantity != 0
    if not line.is_owed and not (is_part and line.state in AFTER_SHIPPING):
        return f"none is to be sent any more: Mirakl shows {_state_of(line)}"
    if is_part:
        return f"Mirakl shows {_in_pieces(line.quantity)}, and {_withdrawals(case, line)}"
    return f"Mirakl shows {_pieces(line.quantity)} {_state_of(line)}{shown_between(case.facts, line)}"


def _what_oms_did(facts: Facts, line: Line) -> str:
    if has_left(facts, line):
        return ", sent"
    return ", canceled by the OMS" if is_ended_everywhere(facts, line.id) else ""


def _sent_to_oms(facts: Facts, line: Line, otherwise: int | None) -> str:
    """How many pieces of the line the OMS got, as far as it is known. `otherwise`: if no line is named so."""
    got = what_oms_got(facts)
    each = dict.fromkeys(_pieces(dict(one.items).get(line.id, otherwise)) for one in got)
    pieces = " or ".join(each) or _pieces(otherwise)
    pieces = "none" if pieces == "0" else pieces
    if not got or our_payloads(facts):
        return f"{pieces} {'went' if import_known(facts) else 'may have gone'} to the OMS"
    if len(each) > 1:
        return "somebody else sent the order to the OMS, with or without this line"
    return f"somebody else sent it to the OMS, Mirakl showed {pieces} at {moment(got[0].at)}"


def _settled(facts: Facts, line: Line) -> str:
    """What the newest settle of the line says that the OMS makes of it. Empty: no settle does."""
    got = what_oms_got(facts)
    settled = settled_pieces(facts, got[0].at if got else EPOCH).get(line.id)
    if not settled:
        return ""
    part = "a part of " if settled[-1].withdrawn else ""
    return f" and as settled it makes {part}{_pieces(settled[-1].number)}"


def _pieces(count: int | None) -> str:
    return "an unknown number" if count is None else f"{count}"


def _in_pieces(count: int | None) -> str:
    return "an unknown number of pieces" if count is None else f"{count} pieces"


def _lines_added(case: Case) -> str:
    return joined(
        f"{named(line)}: {_sent_to_oms(case.facts, line, 0)}{_settled(case.facts, line)}, "
        + (_left_over(case, line) if line.withdrawn is Withdrawn.PART else f"Mirakl shows {_pieces(line.quantity)}")
        + shown_between(case.facts, line)
        + (f" {line.state}, as OR24 marked the whole order" if is_marked_by_us(case.facts, line) else "")
        for line in lines_named_in(case.one, case.facts)
    )


def _changed(case: Case) -> str:
    has, shown = changed_contents(case.facts), [text.rpartition(" ") for text in case.one.detail.split(", ")]
    again = ", ".join(name for name, _, digest in shown if has.get(name) == digest)
    changed = ", ".join(name for name, _, digest in shown if has.get(name) != digest)
    back = f"changed, and now again as the OMS got it: {again}" if again else ""
    return joined((f"changed: {changed}" if changed else "", back, _imported_at(case)))


def _imported_at(case: Case) -> str:
    got = what_oms_got(case.facts)
    when = " or ".join(moment(one.at) for one in got)
    if got and not our_payloads(case.facts):
        return f"somebody else sent the order to the OMS; compared with what Mirakl showed at {when}"
    return f"the OMS has the order as Mirakl showed it at {when}" if got else ""


def _not_imported(case: Case) -> str:
    sent = our_payloads(case.facts)
    handed, shown = dict(sent[-1].items) if sent else {}, shown_pieces(case.facts)
    held = {line for lines in parts_in_oms(case.facts).values() for line in lines}
    skus = {line.id: named(line) for line in case.facts.snapshot.lines} if case.facts.snapshot else {}
    ids = sorted(named_in(case.one.detail, held | handed.keys() | skus.keys()))
    return joined(
        f"{skus.get(line, f'{line} (not sent by us)')}: {handed.get(line, 'none')} went to the OMS, it has "
        + (f"{shown[line]}" if line in shown else "an unknown number" if line in held else "none")
        for line in ids
    )


def _partly_sent(case: Case) -> str:
    if parts := unsent_parts(case.facts):
        return f"not sent: {', '.join(oms_order(case.facts, part) for part in parts)}"
    return "not sent: " + ", ".join(
        f"{named(line)}, {sent_quantity(case.facts, line.id)} of {_pieces(pieces_of(case.facts, line))} in parcels"
        + (f", and Mirakl shows {_withdrawals(case, line)}" if line.withdrawn is Withdrawn.PART else "")
        for line in unsent_lines(case.facts)
    )


def _sent_too_early(case: Case) -> str:
    return joined((trackings_sent(case.facts), mirakl_shows(case.facts.snapshot)))


def _too_many(case: Case) -> str:
    lines = lines_named_in(case.one, case.facts)
    each = [(line, sent_quantity(case.facts, line.id), ordered_pieces(case.facts, line)) for line in lines]
    taken = {line.id: taken_back_since(case.facts, line) for line in lines}
    return joined(
        f"{named(line)}: {sent} in parcels, {_pieces(ordered)} "
        + (f"to be sent, {taken[line.id]} canceled or refunded since the import" if taken[line.id] else "ordered")
        for line, sent, ordered in each
    )


def _foreign_tracking(case: Case) -> str:
    shown = case.facts.snapshot.tracking if case.facts.snapshot else Tracking()
    both = f"Mirakl shows {tracking_in_words(shown)}, the OMS reported {tracking_in_words(best_tracking(case.facts))}"
    if not shipped_by_somebody_else(case.facts):
        return both
    return f"{both}; somebody else than orderflow reported the shipment to Mirakl, so perhaps two parcels left"


def _held_in_oms(case: Case) -> str:
    unfinished = unfinished_parts(case.facts)
    held = sorted({part.oms_id for part in case.facts.parts if part.has_error and part.oms_id in unfinished})
    return f"held: {', '.join(oms_order(case.facts, oms_id) for oms_id in held)}"


def _stopped(case: Case) -> str:
    mine: list[OmsStatus] = [status for status in case.facts.statuses if str(status.oms_id) == case.one.detail]
    if not mine:
        return ""
    newest = max(mine, key=lambda status: status.at)
    return f"{oms_order(case.facts, newest.oms_id)}, reported at {moment(newest.at)}"


def _unreadable(case: Case) -> str:
    reason, _, at = case.one.detail.partition(" ")
    return f"{reason}, reported at {at.partition('.')[0]} UTC"


def _incident(case: Case) -> str:
    facts = case.facts
    return joined(
        f"{named(line)} {_since_incident(line)}, {'sent' if has_left(facts, line) else _whether_in_oms(facts, line)}"
        for line in lines_named_in(case.one, facts)
    )


def _since_incident(line: Line) -> str:
    return f"is {line.state}" if line.has_incident else f"had an incident when it left, and is now {_state_of(line)}"


def _withdrawn(case: Case) -> str:
    goods = trackings_sent(case.facts) if case.facts.dispatches else f"in the OMS: {orders_in_oms(case.facts)}"
    return joined((_states_of_lines(case), goods))


# -- Decisions and payments --------------------------------------------------------------------------------------


def _held(case: Case) -> str:
    held = last_decision(case.facts, DecisionKind.HOLD)
    return f"{held.who}: {held.why}" if held else ""


def _payment_late(case: Case) -> str:
    return mirakl_shows(case.facts.snapshot)


_CAUSES: Final[Mapping[Reason, Callable[[Case], str]]] = {
    Reason.UNKNOWN_STATE: _unknown_state,
    Reason.NEEDS_DECISION: _needs_decision,
    Reason.NOTHING_TO_ACCEPT: _states_of_lines,
    Reason.REFUSAL_NOT_APPLIED: _refused_in_vain,
    Reason.ADDRESS_MISSING: _address_missing,
    Reason.NOTHING_TO_IMPORT: _states_of_lines,
    Reason.OMS_CANCELED: _oms_canceled,
    Reason.CANCELED_AFTER_IMPORT: _dead_with_oms,
    Reason.CANCELED_AFTER_DISPATCH: _dead_after_dispatch,
    Reason.DEAD_IN_MIRAKL: _dead_with_oms,
    Reason.LINES_CANCELED_AFTER_IMPORT: _lines_canceled,
    Reason.LINES_ADDED_AFTER_IMPORT: _lines_added,
    Reason.CHANGED_AFTER_IMPORT: _changed,
    Reason.MESSAGE_AFTER_IMPORT: _imported_at,
    Reason.ATTACHMENT: _attachment,
    Reason.MESSAGES_NOT_FOUND: _messages_not_found,
    Reason.MESSAGES_NOT_READ: _messages_not_read,
    Reason.LINES_NOT_IMPORTED: _not_imported,
    Reason.PARTLY_SENT: _partly_sent,
    Reason.SENT_BEFORE_SHIPPING: _sent_too_early,
    Reason.QUANTITY_EXCEEDS_ORDER: _too_many,
    Reason.FOREIGN_TRACKING: _foreign_tracking,
    Reason.HELD_IN_OMS: _held_in_oms,
    Reason.OMS_QUERY: _stopped,
    Reason.OMS_ON_HOLD: _stopped,
    Reason.REPORT_UNREADABLE: _unreadable,
    Reason.LINE_INCIDENT: _incident,
    Reason.HELD: _held,
    Reason.NOT_OURS_TO_SHIP: _not_ours,
    Reason.SHIPPED_ELSEWHERE: _shipped_elsewhere,
    Reason.GO_ON_IN_OMS: lambda case: joined((mirakl_shows(case.facts.snapshot), f"before: {case.one.detail}")),
    Reason.PARTLY_WITHDRAWN: _partly_withdrawn,
    Reason.QUANTITY_MISSING: _quantity_missing,
    Reason.UNKNOWN_LINE_STATE: _unknown_line_state,
    Reason.SHIPPED_BEFORE: _shipped_before,
    Reason.LINE_SHIPPED_BEFORE: _line_shipped_before,
    Reason.WITHDRAWN_AFTER_IMPORT: _withdrawn,
    Reason.GONE_FROM_MIRAKL: _gone,
    Reason.UNKNOWN_TO_MIRAKL: _unknown_to_mirakl,
    Reason.ACCEPTANCE_DUE: acceptance_due,
    Reason.PAYMENT_LATE: _payment_late,
    Reason.PAYMENT_AWAITED_AGAIN: _payment_late,
    Reason.SHIPPING_DUE: shipping_due,
}
