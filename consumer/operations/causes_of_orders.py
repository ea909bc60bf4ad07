"""What an attention reason that is about no call rests on in one order: line, SKU, part, tracking, date, setting.

No text holds personal data.
"""

import re
from collections.abc import Callable, Iterable, Mapping
from typing import Final

from consumer.operations.cases import (
    Case,
    imported_at,
    in_pieces,
    is_marked_by_us,
    joined,
    mirakl_shows,
    moment,
    named,
    oms_order,
    orders_in_oms,
    pieces_in_words,
    shown_between,
    state_of_line,
    tracking_in_words,
    trackings_sent,
    unsent_lines,
    was_marked_in_incident,
    whether_in_oms,
    withdrawals,
)
from consumer.operations.causes_before_import import BEFORE_IMPORT, states_of_lines
from consumer.operations.cures_of_canceled import is_marked_by_us_alone, is_out
from consumer.operations.deadline_causes import acceptance_due, shipping_due
from consumer.operations.payments import workflow_in_words
from statemachine.attention.canceled_by_oms import NOT_OWED, is_said_to_have_left, lines_canceled_in
from statemachine.attention.canceled_pieces import pieces_canceled, pieces_made_again, pieces_taken_back
from statemachine.attention.changed_contents import changed_contents
from statemachine.attention.elsewhere import left_though_marked, sent_twice_at
from statemachine.attention.left_twice import LeftTwice, left_twice
from statemachine.attention.made_twice import made_twice, orders_too_many
from statemachine.attention.urgency_of_order import (
    is_canceled_as_a_whole,
    lines_named_in,
    shipped_by_somebody_else,
    taken_back_since,
)
from statemachine.facts import (
    AFTER_SHIPPING,
    DEBIT,
    EPOCH,
    VOUCHED,
    DecisionKind,
    Dispatch,
    Facts,
    Line,
    OmsStatus,
    Tracking,
    Withdrawn,
)
from statemachine.questions.ids_in_text import entries, named_in, read
from statemachine.questions.in_oms import has_left, is_confirmed_by_us, unfinished_parts
from statemachine.questions.missing import not_found_since_read
from statemachine.questions.parcels import sent_quantity
from statemachine.questions.parts import parts_in_oms, shown_pieces
from statemachine.questions.payloads import import_known, our_payloads, what_oms_got
from statemachine.questions.readings import (
    alive_parts,
    ended_in_oms,
    is_ended_everywhere,
    is_vouched,
    last_decision,
    may_have,
    mirakl_state,
    ordered_pieces,
    pieces_of,
    unsent_parts,
)
from statemachine.questions.settled import settled_pieces
from statemachine.questions.shared_numbers import by_number
from statemachine.questions.trackings import best_tracking
from statemachine.questions.vouches import sent_beside
from statemachine.reasons import Reason


def cause_of_order(case: Case) -> str:
    """What the reason rests on, if it is not about a call. Empty if the facts know no more than its meaning says."""
    return _CAUSES[case.one.reason](case) if case.one.reason in _CAUSES else ""


# -- In the OMS --------------------------------------------------------------------------------------------------


def _shipped_elsewhere(case: Case) -> str:
    lines, by = lines_named_in(case.one, case.facts), case.one.detail
    which = f"shipped: {', '.join(map(named, lines))}" if lines else f"the fulfilment centre is {by}" if by else ""
    shown = mirakl_shows(case.facts.snapshot) if mirakl_state(case.facts) in DEBIT else ""
    if not by and (twice := _sent_twice(case.facts)):
        return joined((twice, f"in the OMS: {orders_in_oms(case.facts)}" if unfinished_parts(case.facts) else ""))
    if not lines and (is_confirmed_by_us(case.facts) or is_vouched(case.facts, *case.facts.lines)):
        shown = "a person said that the goods left, and the OMS reports since that it works on them"
    beside = f"{_sent_by_oms(case.facts)}" if any(line in left_though_marked(case.facts) for line in lines) else ""
    return joined((shown, which + (f", and {beside}" if beside else ""), f"in the OMS: {orders_in_oms(case.facts)}"))


def _sent_twice(facts: Facts) -> str:
    """Under which numbers perhaps two parcels left. Empty: nothing shows two."""
    if sent_twice_at(facts) == EPOCH:
        return ""
    beside = sent_beside(facts)
    by_person = [one for one in facts.dispatches if one.oms_id == VOUCHED]
    who = f"a person said that the goods left{_under(by_person)}" if beside else "somebody else reported the shipment"
    return f"{who}, and {_sent_by_oms(facts, beside)}"


def _sent_by_oms(facts: Facts, reports: Iterable[Dispatch] = ()) -> str:
    by_oms = reports or [one for one in facts.dispatches if one.oms_id != VOUCHED]
    return f"the OMS reported since that it sent the goods{_under(by_oms)}, so perhaps two parcels left"


def _under(dispatches: Iterable[Dispatch]) -> str:
    """The trackings of these dispatches, each once. Empty: they have none."""
    each = dict.fromkeys(tracking_in_words(one.tracking) for one in dispatches if one.tracking.number)
    return f" under {', '.join(each)}" if each else ""


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
        ("M11 showed a file with a message of the customer, and an import carries texts only", imported_at(case))
    )


def _oms_canceled(case: Case) -> str:
    reported = case.one.detail.partition(NOT_OWED)[0]
    canceled, at = _TOLD_AT.fullmatch(reported).groups()  # type: ignore[union-attr]  # matches any text
    oms_id, *pieces = map(read, entries(canceled))
    skus = {line.id: named(line) for line in case.facts.lines}
    lines = [(skus.get(line, line), n) for line, _, n in (text.rpartition("*") for text in pieces)]
    when = f", reported at {at} UTC" if at else ""
    if not oms_id.isdecimal():
        return ""
    what = ", ".join(f"{n} of {line}" for line, n in lines) or _all_of(case.facts, int(oms_id))
    alive = [one for one in sorted(alive_parts(case.facts)) if one != int(oms_id)]
    others = [f"not canceled: {_with_newest(case.facts, one)}" for one in alive]
    shown = [
        f"{named(line)}: {_beside_cancellation(case, line)}"
        for line in lines_canceled_in(case.one, case.facts)
        if is_out(case.facts, line)
    ]
    return joined((f"{oms_order(case.facts, int(oms_id))}: {what}{when}", *others, *shown))


def _all_of(facts: Facts, oms_id: int) -> str:
    """That the OMS canceled all of one of its orders. If only some lines of the order are in it: with these."""
    held = parts_in_oms(facts).get(oms_id, set())
    mine = [line for line in facts.lines if line.id in held]
    if len(mine) in (0, len(facts.lines)):
        return "all of it"
    pieces = {line: f"{n} of " for one in facts.parts if one.oms_id == oms_id for line, n in one.quantities}
    return f"all of it, which is {', '.join(pieces.get(line.id, '') + named(line) for line in mine)}"


def _beside_cancellation(case: Case, line: Line) -> str:
    """What Mirakl shows of a line that the OMS canceled, and that is not to be sent, or not all of it."""
    if is_said_to_have_left(case.facts, line):
        return "a person said that it left" if is_vouched(case.facts, line) else "Mirakl shows it shipped"
    if is_marked_by_us_alone(case.facts, line):
        incident = ", and it had an incident then" if was_marked_in_incident(case.facts, line) else ""
        return f"Mirakl shows it {line.state}, as OR24 marked the whole order{incident}"
    return _left_over(case, line) + ("" if line.is_taken_back else _what_oms_did(case.facts, line))


def _with_newest(facts: Facts, oms_id: int) -> str:
    """An order of ours in the OMS, and the last that the OMS reported on it."""
    newest = max((one for one in facts.statuses if one.oms_id == oms_id), key=lambda one: one.at, default=None)
    left = any(one.oms_id == oms_id for one in facts.dispatches)
    last = "sent" if left else f"status {newest.status} at {moment(newest.at)}" if newest else "no status is known"
    return f"{oms_order(facts, oms_id)}, {last}"


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
    if line not in case.facts.lines:
        return "the newest read does not show this line"
    is_part = line.withdrawn is Withdrawn.PART and line.quantity != 0
    if not line.is_owed and not (is_part and line.state in AFTER_SHIPPING):
        return f"none is to be sent any more: Mirakl shows {state_of_line(line)}"
    if is_part:
        return f"Mirakl shows {in_pieces(line.quantity)}, and {withdrawals(case, line)}"
    return f"Mirakl shows {pieces_in_words(line.quantity)} {state_of_line(line)}{shown_between(case.facts, line)}"


def _what_oms_did(facts: Facts, line: Line) -> str:
    if not has_left(facts, line) and is_ended_everywhere(facts, line.id):
        return ", canceled by the OMS"
    canceled, (again, orders) = pieces_canceled(facts, line.id), pieces_made_again(facts, line.id)
    sent = ", sent" if has_left(facts, line) else ""
    if canceled is None and not line.is_taken_back:
        ended, alive = ended_in_oms(facts).intersection(may_have(facts, line.id)), alive_parts(facts)
        each = [", ".join(oms_order(facts, one) for one in sorted(some)) for some in (ended, alive)]
        return f", canceled by the OMS: {each[0]}" + (f", not canceled: {each[1]}" if alive else "") + sent
    if not canceled:
        return sent
    by_oms = f", {canceled} canceled by the OMS"
    if again:
        which = f"{again} of these" if again < canceled else "and"
        return f"{by_oms}, {which} perhaps made again in {_each(facts, orders)}{sent}"
    return f"{by_oms}{_beside_mirakl(canceled, pieces_taken_back(facts, line))}{sent}"


def _each(facts: Facts, oms_ids: Iterable[int]) -> str:
    return " or ".join(oms_order(facts, oms_id) for oms_id in oms_ids)


def _beside_mirakl(canceled: int, taken: int | None) -> str:
    """What the OMS canceled, compared with what Mirakl took back. Empty: nothing, or it is not known."""
    if not taken:
        return ""
    if canceled < taken:
        return f": {taken - canceled} left to be taken out"
    return f": both {canceled}" if canceled == taken else f": {canceled - taken} more than Mirakl"


def _sent_to_oms(facts: Facts, line: Line, otherwise: int | None) -> str:
    """How many pieces of the line the OMS got, as far as it is known. `otherwise`: if no line is named so."""
    got = what_oms_got(facts)
    each = dict.fromkeys(pieces_in_words(dict(one.items).get(line.id, otherwise)) for one in got)
    pieces = " or ".join(each) or pieces_in_words(otherwise)
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
    return f" and as settled it makes {part}{pieces_in_words(settled[-1].number)}"


def _lines_added(case: Case) -> str:
    return joined(
        f"{named(line)}: {_sent_to_oms(case.facts, line, 0)}{_settled(case.facts, line)}, "
        + (
            _left_over(case, line)
            if line.withdrawn is Withdrawn.PART
            else f"Mirakl shows {pieces_in_words(line.quantity)}"
        )
        + shown_between(case.facts, line)
        + (f" {line.state}, as OR24 marked the whole order" if is_marked_by_us(case.facts, line) else "")
        for line in lines_named_in(case.one, case.facts)
    )


def _changed(case: Case) -> str:
    found = changed_contents(case.facts, case.policy.left_out)
    names = [text.rpartition(" ")[0] for text in case.one.detail.split(", ")]
    again = ", ".join(name for name in names if name in found and found[name].is_back)
    changed = ", ".join(name for name in names if name not in found or not found[name].is_back)
    back = f"changed, and now again as the OMS got it: {again}" if again else ""
    return joined((f"changed: {changed}" if changed else "", back, imported_at(case)))


def _not_imported(case: Case) -> str:
    sent = our_payloads(case.facts)
    handed, shown = dict(sent[-1].items) if sent else {}, shown_pieces(case.facts)
    held = {line for lines in parts_in_oms(case.facts).values() for line in lines}
    skus = {line.id: named(line) for line in case.facts.lines}
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
        f"{named(line)}, {sent_quantity(case.facts, line.id)} of {pieces_in_words(pieces_of(case.facts, line))} in "
        + "parcels"
        + (f", and Mirakl shows {withdrawals(case, line)}" if line.withdrawn is Withdrawn.PART else "")
        for line in unsent_lines(case.facts)
    )


def _sent_too_early(case: Case) -> str:
    return joined((trackings_sent(case.facts), mirakl_shows(case.facts.snapshot)))


def _too_many(case: Case) -> str:
    lines = lines_named_in(case.one, case.facts)
    each = [(line, sent_quantity(case.facts, line.id), ordered_pieces(case.facts, line)) for line in lines]
    taken = {line.id: taken_back_since(case.facts, line) for line in lines}
    twice, made = left_twice(case.facts), made_twice(case.facts)
    return joined(
        f"{named(line)}: {f'{sent} in parcels, ' if sent or line.id not in {*twice, *made} else ''}"
        + f"{pieces_in_words(ordered)} "
        + (f"to be sent, {taken[line.id]} canceled or refunded since the import" if taken[line.id] else "ordered")
        + (_left_twice(case.facts, twice[line.id]) if line.id in twice else "")
        + (_made_twice(case.facts) if line.id in made else "")
        for line, sent, ordered in each
    )


def _left_twice(facts: Facts, left: LeftTwice) -> str:
    by = f", and sent by {' and by '.join(oms_order(facts, oms_id) for oms_id in left.oms_ids)}: "
    if left.is_known:
        return f"{by}one piece cannot leave in two orders of the OMS, so perhaps two parcels left"
    if len(by_number(facts, left.oms_ids)) == 1:
        return f"{by}they report one number, so perhaps one parcel left; it is not known what it holds"
    return f"{by}it is not known what each of these orders sent. Perhaps each piece left once, perhaps one left twice"


def _made_twice(facts: Facts) -> str:
    orders = " and ".join(_with_newest(facts, oms_id) for oms_id in orders_too_many(facts))
    return f", and more orders of the OMS than pieces are to be sent: {orders}"


def _foreign_tracking(case: Case) -> str:
    facts = case.facts
    shown, best = facts.snapshot.tracking if facts.snapshot else Tracking(), best_tracking(facts)
    by_oms = [one for one in facts.dispatches if one.oms_id != VOUCHED and one.tracking.number]
    is_of_oms = best.bare_number in {one.tracking.bare_number for one in by_oms} or not _is_vouched_under(facts, best)
    who = "the OMS reported" if is_of_oms else "a person named (`orders sent`)"
    both = f"Mirakl shows {tracking_in_words(shown)}, {who} {tracking_in_words(best)}"
    if others := [] if is_of_oms else by_oms:
        both += f", and the OMS reported the goods sent{_under(others)}"
    if shipped_by_somebody_else(facts):
        return f"{both}; somebody else than orderflow reported the shipment to Mirakl, so perhaps two parcels left"
    return both if is_of_oms else f"{both}: perhaps two parcels left, one under each number"


def _is_vouched_under(facts: Facts, number: Tracking) -> bool:
    """Whether a person named this number (`orders sent`)."""
    return any(one.oms_id == VOUCHED and one.tracking.bare_number == number.bare_number for one in facts.dispatches)


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
    when, why = f"reported at {at.partition('.')[0]} UTC", f"{_UNREADABLE.get(reason, reason)}"
    of_report = [one for one in case.facts.unread if f"{one.at:%Y-%m-%d %H:%M:%S.%f}" == at and one.reason == reason]
    if fields := dict.fromkeys(one.fields for one in of_report if one.fields):
        why += f": {', '.join(fields)}"
    mine = [one for one in case.facts.statuses if f"{one.at:%Y-%m-%d %H:%M:%S.%f}" == at]
    if not mine:
        return f"nothing could be read of what was {when}: {why}"
    of = ", ".join(f"{oms_order(case.facts, one.oms_id)}, status {one.status}" for one in mine)
    return f"{of}, {when}: parcels, cancelations or items in it could not be read: {why}"


#: Why a report of the OMS could not be read (adapters/errors.py).
_UNREADABLE: Final = {
    "not_json": "it is not JSON (not_json)",
    "missing_field": "a field is missing (missing_field)",
    "bad_field": "a field has a value that it cannot have (bad_field)",
    "bad_id": "an id is none (bad_id)",
}


def _incident(case: Case) -> str:
    facts = case.facts
    return joined(
        f"{named(line)} {_since_incident(facts, line)}, {_whether_sent(facts, line)}"
        for line in lines_named_in(case.one, facts)
    )


def _since_incident(facts: Facts, line: Line) -> str:
    if line.has_incident:
        return f"is {line.state}"
    when = "it left" if has_left(facts, line) else "our OR24 reported the order shipped"
    return f"had an incident when {when}, and is now {state_of_line(line)}"


def _whether_sent(facts: Facts, line: Line) -> str:
    if has_left(facts, line):
        return "sent"
    not_sent = "it has not left, " if was_marked_in_incident(facts, line) else ""
    return not_sent + whether_in_oms(facts, line)


def _withdrawn(case: Case) -> str:
    is_canceled = is_canceled_as_a_whole(case.facts)
    in_oms = "the OMS canceled all of it" if is_canceled else f"in the OMS: {orders_in_oms(case.facts)}"
    return joined((states_of_lines(case), trackings_sent(case.facts) if case.facts.dispatches else in_oms))


# -- Decisions and payments --------------------------------------------------------------------------------------


def _held(case: Case) -> str:
    held = last_decision(case.facts, DecisionKind.HOLD)
    return f"{held.who}: {held.why}" if held else ""


def _payment_late(case: Case) -> str:
    return joined((mirakl_shows(case.facts.snapshot), workflow_in_words(case.facts)))


_CAUSES: Final[Mapping[Reason, Callable[[Case], str]]] = {
    **BEFORE_IMPORT,
    Reason.OMS_CANCELED: _oms_canceled,
    Reason.CANCELED_AFTER_IMPORT: _dead_with_oms,
    Reason.CANCELED_AFTER_DISPATCH: _dead_after_dispatch,
    Reason.DEAD_IN_MIRAKL: _dead_with_oms,
    Reason.LINES_CANCELED_AFTER_IMPORT: _lines_canceled,
    Reason.LINES_ADDED_AFTER_IMPORT: _lines_added,
    Reason.CHANGED_AFTER_IMPORT: _changed,
    Reason.MESSAGE_AFTER_IMPORT: imported_at,
    Reason.ATTACHMENT: _attachment,
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
    Reason.SHIPPED_ELSEWHERE: _shipped_elsewhere,
    Reason.GO_ON_IN_OMS: lambda case: joined((mirakl_shows(case.facts.snapshot), f"before: {case.one.detail}")),
    Reason.WITHDRAWN_AFTER_IMPORT: _withdrawn,
    Reason.GONE_FROM_MIRAKL: _gone,
    Reason.UNKNOWN_TO_MIRAKL: _unknown_to_mirakl,
    Reason.ACCEPTANCE_DUE: acceptance_due,
    Reason.PAYMENT_LATE: _payment_late,
    Reason.PAYMENT_AWAITED_AGAIN: lambda case: mirakl_shows(case.facts.snapshot),
    Reason.SHIPPING_DUE: shipping_due,
}
