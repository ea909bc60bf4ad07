"""The rules by which an order that the OMS canceled, as a whole or in part, needs a person."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime
from typing import Final

from statemachine.attention.canceled_pieces import (
    cancellations_counted,
    perhaps_taken_back,
    pieces_canceled,
    pieces_in,
    pieces_made_again,
    pieces_taken_back,
)
from statemachine.attention.left_twice import most_sent
from statemachine.attention.marked_by_or24 import added_beside_or24, pieces_in_oms
from statemachine.commands import CommandKind
from statemachine.facts import (
    AFTER_SHIPPING,
    EPOCH,
    Cancellation,
    Decision,
    Facts,
    Line,
    Withdrawn,
    age_of,
)
from statemachine.occurrences import Begun, age_of_kept, is_kept
from statemachine.questions.ids_in_text import entries, read, written
from statemachine.questions.in_oms import has_left, is_confirmed_by_us, is_shown_shipped, is_to_be_sent
from statemachine.questions.missing import misses_known_to
from statemachine.questions.parcels import sent_quantity
from statemachine.questions.parts import parts_in_oms, sent_by_status
from statemachine.questions.payloads import most_handed_over
from statemachine.questions.readings import (
    in_parcels,
    is_ended_everywhere,
    is_ended_in_oms,
    is_vouched,
    last_answer,
    lines_left_out,
    may_have,
    mirakl_state,
    names_lines_as_sent,
    pieces_of,
)
from statemachine.questions.settled import is_settled_as_added, is_taken_out, settle_of_line, settled_pieces, taken_out
from statemachine.questions.stops import SHIPPED_LINE, TAKEN_BACK, TAKEN_BACK_OR_PART, stood_at_shipment
from statemachine.reads_kept import NotShown
from statemachine.reason_of_order import Attention
from statemachine.reasons import Reason

#: Before the canceled lines that are not to be sent, in the detail of the reason.
NOT_OWED: Final = " not owed: "


def reasons_of_cancellations(facts: Facts) -> Iterator[Attention]:
    """A reason for each cancellation.

    A person who settles it knows which of the canceled lines are still to be sent. The settle does not count any more
    if one that was not to be sent then, or at a later read, is to be sent now, and the OMS did not make it again.
    So it is if reads did not show the order then, and one shows it now. Nor does the settle count if it is about pieces
    of which Mirakl had taken back a part then, or at a later read, and does not any more.

    What Mirakl took back before makes no reason: to stop it in the OMS is what the reason of that asked for. Nor do
    pieces of which Mirakl took back as many, before or after: the reason of that asks, unless a person settled this one
    (`is_asked_as_canceled`).
    """
    for one in cancellations_counted(facts):
        if _was_taken_back_before(facts, one) or _is_left_to_added(facts, one):
            continue
        what = Attention(Reason.OMS_CANCELED, _named(one))
        owed, not_owed = _canceled_lines(facts, one)
        settles = list(_not_owed_at_settles(facts, what))
        again_at = _shown_again(facts, [settle for settle, _ in settles]) if owed else EPOCH
        ended = [_last_taken_back(facts, owed), _last_in_part(facts, _owed_in_part(facts, one))]
        after = Begun(max(filter(None, ended), key=age_of_kept, default=None), decided_at=again_at)
        if any(owed.isdisjoint(before) and after.is_known_to(settle) for settle, before in settles):
            continue
        names = ",".join(sorted(written(line) for line in not_owed))
        yield Attention(Reason.OMS_CANCELED, what.detail + (NOT_OWED + names if names else ""), after=after)


def canceled_and_to_be_sent(facts: Facts) -> list[str]:
    """The ids of the lines that the OMS canceled and does not make again, and that Mirakl still shows to be sent."""
    canceled = set[str]().union(*(_canceled_lines(facts, one)[0] for one in cancellations_counted(facts)))
    return [line.id for line in facts.owed_lines if line.id in canceled]


def is_canceled_as_taken_back(facts: Facts, line: Line) -> bool:
    """Whether the OMS canceled as much of the line as Mirakl took back, or more, and nothing of that left. Then nothing
    of it is to be taken out in the OMS."""
    if line.is_taken_back:
        return is_canceled_unsent(facts, line)
    return 0 < (pieces_taken_back(facts, line) or 0) <= _canceled_of(facts, line) and _is_rest(facts, line)


def is_asked_as_canceled(facts: Facts, line: Line) -> bool:
    """Whether `oms_canceled` asks or asked a person about what Mirakl took back of the line: the OMS canceled it too.
    It is one event, so lines_canceled_after_import does not ask once more.

    If it is not known how many pieces Mirakl took back, a settle counts only for what Mirakl had taken back then.
    """
    if not facts.cancellations:  # of most orders; this saves time
        return False
    mine = [one for one in cancellations_counted(facts) if line.id in _named_lines(facts, one)]
    if is_canceled_as_taken_back(facts, line):
        return any(_settles_of(facts, one) or not _was_taken_back_before(facts, one) for one in mine)
    is_unknown = pieces_taken_back(facts, line) is None and perhaps_taken_back(facts, line)
    if not (mine and is_unknown and _canceled_of(facts, line) and _is_rest(facts, line)):
        return False
    settles = [_settles_of(facts, one) for one in mine]
    known_at = min(max(map(_made_on, each), default=EPOCH) for each in settles)
    return not all(settles) or (bool(line.withdrawn_at) and max(line.withdrawn_at) <= known_at)


def are_all_taken_back_before(facts: Facts) -> bool:
    """Whether the OMS canceled something, and each time only what Mirakl had taken back, so that no `oms_canceled`
    asks."""
    each = cancellations_counted(facts) if facts.cancellations else []
    return bool(each) and all(_was_taken_back_before(facts, one) for one in each)


def is_asked_as_owed(facts: Facts, line: Line) -> bool:
    """Whether `oms_canceled` asks or asked a person what becomes of the line, which the OMS canceled."""
    mine = [one for one in cancellations_counted(facts) if line.id in _named_lines(facts, one)]
    return any(line.id in _canceled_lines(facts, one)[0] or _settles_of(facts, one) for one in mine)


def _is_rest(facts: Facts, line: Line) -> bool:
    """Whether the parcels hold no more of the line than what is left of the pieces that the OMS canceled."""
    return most_sent(facts, line.id) <= most_handed_over(facts, line.id) - _canceled_of(facts, line)


def _canceled_of(facts: Facts, line: Line) -> int:
    """How many pieces of the line the OMS canceled, and does not perhaps make again: all that it got if it ended the
    line. 0: none, or not known."""
    if is_canceled_unsent(facts, line):
        return most_handed_over(facts, line.id)
    return max(0, (pieces_canceled(facts, line.id) or 0) - pieces_made_again(facts, line.id)[0])


def is_canceled_unsent(facts: Facts, line: Line) -> bool:
    """Whether the OMS canceled the line in each of its orders that has or may have it, and nothing of it left."""
    facts = _without_those_of_others(facts, line.id)
    has_parcels = has_left(facts, line) or sent_quantity(facts, line.id) > 0
    return not has_parcels and is_ended_everywhere(facts, line.id)


def _without_those_of_others(facts: Facts, line_id: str) -> Facts:
    """The facts without orders of the OMS that had other lines than this one, as their parcels show. No answer to the
    import shows what these orders have."""
    shown = {part.oms_id for part in facts.parts if part.lines}
    others = {oms_id for oms_id in sent_by_status(facts) - shown if _sent_others_alone(facts, oms_id, line_id)}
    if not others:
        return facts
    return replace(
        facts,
        parts=tuple(one for one in facts.parts if one.oms_id not in others),
        dispatches=tuple(one for one in facts.dispatches if one.oms_id not in others),
    )


def _sent_others_alone(facts: Facts, oms_id: int, line_id: str) -> bool:
    """Whether the report that this order of the OMS was sent named lines in its parcels, all of them are ours and none
    is this one, and no report names a number that none of these parcels has: that may be another parcel."""
    mine = [one for one in facts.dispatches if one.oms_id == oms_id]
    held = {line for one in mine for line, _ in one.items}
    numbers = {"", *(one.tracking.bare_number for one in mine if one.items)}
    others = {line.id for line in (*facts.lines, *lines_left_out(facts))} - {line_id}
    is_named = names_lines_as_sent(facts, oms_id) and held <= others
    return is_named and all(one.tracking.bare_number in numbers for one in mine)


def lines_canceled_in(one: Attention, facts: Facts) -> list[Line]:
    """The lines that a reason `oms_canceled` is about. If its cancellation names none: those of the OMS's order or, if
    they are not known, every line."""
    ids = {read(text).rpartition("*")[0] for text in _pieces_named(one)}
    oms_id = "".join(entries(one.detail.partition(NOT_OWED)[0])[:1]).partition(" ")[0]
    ids = ids or (parts_in_oms(facts).get(int(oms_id), set()) if oms_id.isdecimal() else set())
    return [line for line in facts.lines if line.id in ids or not ids]


def lines_surely_in(one: Attention, facts: Facts) -> list[Line]:
    """The same without lines that perhaps another order of the OMS has, which goes on: it is not known which lines the
    canceled one has."""
    oms_id = "".join(entries(one.detail.partition(NOT_OWED)[0])[:1]).partition(" ")[0]
    shown = oms_id.isdecimal() and bool(parts_in_oms(facts).get(int(oms_id)))
    is_known = len(facts.lines) == 1 or names_pieces(one) or shown
    return [line for line in lines_canceled_in(one, facts) if is_known or _makes_none(facts, line.id)]


def lines_asked_about(one: Attention, facts: Facts) -> set[str]:
    """The ids of the lines about which a reason `oms_canceled` asks what becomes of them: without those of its lines
    that are not to be sent."""
    not_owed = {read(line) for line in entries(one.detail.partition(NOT_OWED)[2])}
    return {line.id for line in lines_canceled_in(one, facts)} - not_owed


def asked_as_owed_again(facts: Facts) -> set[str]:
    """The ids of lines about which `oms_canceled` asks, or which a person settled since the newest read in which Mirakl
    had taken them back, all or a part."""
    found = set[str]().union(*(lines_asked_about(one, facts) for one in reasons_of_cancellations(facts)))
    for one in cancellations_counted(facts):
        settles = _settles_of(facts, one)
        for line in _named_lines(facts, one) - found if settles else ():
            ended = _last_in_part(facts, {line})
            if ended and any(Begun(ended).is_known_to(settle) for settle in settles):
                found.add(line)
    return found


def left_all_the_same(one: Attention, facts: Facts) -> bool:
    """Whether a reason `oms_canceled` is about a whole order of the OMS that reported its first goods after that."""
    whole = [other for other in cancellations_counted(facts) if not other.items and other.told_at > EPOCH]
    mine = [other for other in whole if _named(other) == one.detail.partition(NOT_OWED)[0]]
    left = [min((d.told_at for d in facts.dispatches if d.oms_id == other.oms_id), default=EPOCH) for other in mine]
    return any(left_at > other.told_at for left_at, other in zip(left, mine, strict=True))


def missing_pieces(one: Attention, facts: Facts) -> dict[str, int | None]:
    """How many pieces of each line are not made because of a reason `oms_canceled`, though Mirakl shows them to be sent
    and no person said that they left. None: not known how many. A line of which none is missing is left out."""
    found: dict[str, int | None] = {}
    not_owed = {read(line) for line in entries(one.detail.partition(NOT_OWED)[2])}
    for line in lines_canceled_in(one, facts):
        if line.id in not_owed or line.is_taken_back or is_said_to_have_left(facts, line) or has_left(facts, line):
            continue
        taken = pieces_taken_back(facts, line)
        number = _missing_by(facts, one, line.id, taken or 0)
        if not names_pieces(one):
            if not _makes_none(facts, line.id):
                continue
            all_of_it = most_handed_over(facts, line.id) or pieces_of(facts, line) or 1
            number = max(0, all_of_it - (taken or 0)) if number is None else number
        if number is None or (taken is None and perhaps_taken_back(facts, line)):
            found[line.id] = None
        elif number:
            found[line.id] = number
    return found


def _missing_by(facts: Facts, one: Attention, line_id: str, taken: int) -> int | None:
    """How many pieces of the line are missing because of the cancellation of this reason, so that those of several
    reasons add up. None: not known, or the OMS canceled the same order as a whole more than once.

    What Mirakl took back is counted for the cancellations that a person settled, and then for the oldest.
    """
    each = sorted(cancellations_counted(facts), key=lambda other: (not _settles_of(facts, other), other.told_at))
    names, name = [_named(other) for other in each], one.detail.partition(NOT_OWED)[0]
    whole = [other.oms_id for other in each if not other.items]
    if name not in names or len(whole) > len({*whole}):
        return None
    own = names.index(name)
    before, with_it = (pieces_in(facts, line_id, each[:end]) for end in (own, own + 1))
    if before is None or with_it is None:
        return None
    return max(0, with_it - taken) - max(0, before - taken)


def is_said_to_have_left(facts: Facts, line: Line) -> bool:
    """Whether Mirakl shows the line shipped, or a person said that it left. Mirakl may debit one parcel, and show which
    lines are in it: then the others did not leave. Our OR24 marks every line, so it proves nothing of one."""
    if line.is_taken_back or is_vouched(facts, line):
        return not line.is_taken_back
    if is_confirmed_by_us(facts) and not has_left(facts, line) and not _is_of_others(facts, line):
        return False
    marked = [one for one in facts.lines if one.is_marked]
    of_order = is_shown_shipped(facts) and (mirakl_state(facts) in AFTER_SHIPPING or not marked)
    return of_order or line.is_marked


def names_pieces(one: Attention) -> bool:
    """Whether a reason `oms_canceled` is about pieces of lines, and not about a whole order of the OMS."""
    return bool(_pieces_named(one))


def _pieces_named(one: Attention) -> list[str]:
    return list(entries(one.detail.partition(NOT_OWED)[0]))[1:]


def _last_taken_back(facts: Facts, lines: set[str]) -> NotShown | None:
    """The newest read in which Mirakl had taken one of these lines back. None: no such read is known."""
    reads = [NotShown(what, at, -1, False, at) for what, at in facts.stops if what.removeprefix(TAKEN_BACK) in lines]
    return max((one for one in reads if one.what.startswith(TAKEN_BACK)), key=lambda one: one.read_at, default=None)


def _last_in_part(facts: Facts, lines: set[str]) -> NotShown | None:
    """What a settle has to know that counts for these lines, of which Mirakl has taken back no pieces now: a read after
    the newest one in which it had. None: no such read is known, or the newest has its date."""
    stops = [(what, at) for what, at in facts.stops if what.startswith(TAKEN_BACK_OR_PART)] if lines else []
    shown_at = age_of(facts.snapshot)[0] if facts.snapshot else EPOCH
    reads = [at for what, at in stops if what.partition(": ")[2] in lines and at < shown_at]
    return NotShown(TAKEN_BACK, max(reads) + datetime.resolution, -1, False, max(reads)) if reads else None


def _owed_in_part(facts: Facts, one: Cancellation) -> set[str]:
    """The lines of which the OMS canceled pieces here and makes others, while Mirakl shows more to be sent than that,
    and parcels do not hold all of it: a status that the line left is about the others.

    Without lines that Mirakl shows taken back in part, and those of which it is not known how many pieces are canceled.
    """
    named = _named_lines(facts, one)
    mine = [line for line in facts.lines if line.id in named and line.withdrawn is not Withdrawn.PART]
    made = [line for line in mine if _is_to_be_made(facts, line) and not _makes_none(facts, line.id)]
    there = [line for line in made if not (in_parcels(facts, line) or is_vouched(facts, line))]
    return {line.id for line in there if (pieces_canceled(facts, line.id) or 0) > (pieces_taken_back(facts, line) or 0)}


def _shown_again(facts: Facts, settles: list[Decision]) -> datetime:
    """From when on a settle counts, if a person made one of these while reads did not show the order, and a read shows
    it now. EPOCH: no one did. If gone_from_mirakl was settled then too, go_on_in_oms asks."""
    shown_at = facts.snapshot.read_at if facts.snapshot else EPOCH
    gone = set[datetime]()
    for one in facts.settles if facts.not_found else ():  # of most orders no read missed it; this saves time
        if one.names(Reason.GONE_FROM_MIRAKL):
            gone |= misses_known_to(facts, one)
    unseen = EPOCH
    for one in settles:
        missed = misses_known_to(facts, one)
        if missed and max(missed) < shown_at and not missed & gone:
            unseen = max(unseen, one.at + datetime.resolution)
    return unseen


def _named(one: Cancellation) -> str:
    lines = [f"{written(line)}*{quantity}" for line, quantity in one.items]
    # The time tells a second equal cancellation from the first, which a person may have settled.
    reported = f" {one.told_at:%Y-%m-%d %H:%M:%S.%f}" if one.told_at > EPOCH else ""
    return ",".join([str(one.oms_id), *lines]) + reported


def _was_taken_back_before(facts: Facts, one: Cancellation) -> bool:
    """Whether Mirakl had taken back all that the OMS canceled here.

    A line counts if a person settled before that none of it is sent, or if Mirakl took it back as a whole, and dates
    the first of its refunds and cancelations before: then lines_canceled_after_import asks about the rest of it. Of a
    line of which pieces are left, the OMS may cancel as many as Mirakl shows fewer. A line that left is canceled only
    if the OMS named pieces of it, or if the order that it canceled had pieces beside others.
    """
    if mirakl_state(facts) == "WAITING_ACCEPTANCE":  # a person looks at it before the order is accepted
        return False
    lines = {line.id: line for line in facts.lines}
    of_pieces = {line for line, _ in one.items}
    left = {line for line in lines.keys() - of_pieces if has_left(facts, lines[line])}
    ids = _named_lines(facts, one) - {line for line in left if not _is_one_of_several(facts, one, line)}
    owed = _canceled_lines(facts, one)[0]
    if not ids <= lines.keys() or not all(_are_pieces_taken_back(facts, lines[line], one.told_at) for line in owed):
        return False
    return bool(ids) and all(_is_taken_back_before(facts, one, lines[line]) for line in ids)


def _is_one_of_several(facts: Facts, one: Cancellation, line_id: str) -> bool:
    """Whether the OMS has the line in another order too, and it is known how many pieces it canceled: then the line may
    have left without these pieces."""
    return may_have(facts, line_id) != [one.oms_id] and pieces_canceled(facts, line_id) is not None


def _is_taken_back_before(facts: Facts, one: Cancellation, line: Line) -> bool:
    told_at = one.told_at
    settle = None if line.is_owed else taken_out(facts, line.id)  # else it is to be sent again
    if settle is not None and not Begun(told_at=told_at).is_known_to(settle):
        return True
    came_back = _came_back_later(facts, one, line)
    if came_back is not None:
        return came_back
    if line.is_taken_back:
        return bool(line.withdrawn_at) and min(line.withdrawn_at) < told_at
    return _are_pieces_taken_back(facts, line, told_at)


def _are_pieces_taken_back(facts: Facts, line: Line, told_at: datetime) -> bool:
    """Whether Mirakl took back as many pieces of the line as the OMS had canceled by then, or more."""
    return 0 < (pieces_canceled(facts, line.id, told_at) or 0) <= (pieces_taken_back(facts, line) or 0)


def _came_back_later(facts: Facts, one: Cancellation, line: Line) -> bool | None:
    """Whether goods that came back after our OR24 leave this cancellation settled. None: none came back after both.

    OR24 had waited for what a person said of the cancellation or of the line, so goods that come back later do not ask
    again. If the report came while OR24 was under way, or a person made it by hand, perhaps nobody has said anything.
    """
    answer = last_answer(facts, CommandKind.CONFIRM)
    if answer is None or one.told_at == EPOCH or not has_left(facts, line):
        return None
    if max(line.withdrawn_at, default=EPOCH) <= max(answer.at, one.told_at):
        return None
    is_asked = min(line.withdrawn_at) <= answer.at or settle_of_line(facts, EPOCH, line.id) is not None
    if not (is_asked or _settles_of(facts, one)):
        return False
    return one.told_at < answer.at or None


def _named_lines(facts: Facts, one: Cancellation) -> set[str]:
    """The ids of the lines that this cancellation is about."""
    of_items = {line for line, _ in one.items}
    return of_items or set(parts_in_oms(facts).get(one.oms_id) or {line.id for line in facts.lines})


def _canceled_lines(facts: Facts, one: Cancellation) -> tuple[set[str], set[str]]:
    """The lines of this cancellation that the OMS does not make: those to be sent, and the others, not to be sent or
    asked about by another reason."""
    named = _named_lines(facts, one)
    mine = [
        line for line in facts.lines if line.id in named and not has_left(facts, line) and _makes_none(facts, line.id)
    ]
    owed = {line.id for line in mine if _is_to_be_made(facts, line) and not _is_asked_as_added(facts, line, one)}
    return owed, {line.id for line in mine} - owed


def _is_to_be_made(facts: Facts, line: Line) -> bool:
    """Whether the line is to be sent, or only our OR24 marked it shipped."""
    return line.is_owed or (is_to_be_sent(facts, line) and not _is_of_others(facts, line))


def _is_asked_as_added(facts: Facts, line: Line, one: Cancellation) -> bool:
    """Whether lines_added_after_import asks, or asked and a person settled that, about what is canceled here of a line
    that only our OR24 marked shipped.

    It asks about what a person had settled as taken out. If that was a part, it is not known how many pieces. OR24
    waits for a person if the OMS cancels more than Mirakl took back, so what was canceled before OR24 was that part.
    """
    if line.is_owed or facts.snapshot is None:
        return False
    befores = pieces_in_oms(facts, facts.snapshot).get(line.id, ())
    settles = settled_pieces(facts, EPOCH).get(line.id, [])
    if added_beside_or24(facts, facts.snapshot, line, befores):
        is_of_all = is_taken_out(facts, line.id)
    elif _is_added_since(facts, line, one):
        is_of_all = len(settles) > 1 and settles[-2].number == 0
    else:
        return False
    return is_of_all or _is_before_or24(facts, one, line)


def _is_added_since(facts: Facts, line: Line, one: Cancellation) -> bool:
    """Whether the newest settle of the line says that the OMS makes what was added, by a person who knew of this
    cancellation, and of the newest read in which Mirakl had taken back the line or a part."""
    settle = settle_of_line(facts, EPOCH, line.id)
    if settle is None or not is_settled_as_added(facts, line.id, settle.at):
        return False
    return Begun(_last_in_part(facts, {line.id}), told_at=one.told_at).is_known_to(settle)


def _is_before_or24(facts: Facts, one: Cancellation, line: Line) -> bool:
    """Whether the OMS reported this cancellation before our OR24, and that waited for what a person said of it."""
    answers = [answer.at for answer in facts.answers if answer.kind == CommandKind.CONFIRM]
    return EPOCH < one.told_at < min(answers, default=EPOCH) and not is_vouched(facts, line)


def _is_left_to_added(facts: Facts, one: Cancellation) -> bool:
    """Whether lines_added_after_import asks or asked about each line of this cancellation: only our OR24 marked it
    shipped (`_is_asked_as_added`), or a report of somebody else did (`_is_added_beside_mark`)."""
    named, of_pieces = _named_lines(facts, one), {line for line, _ in one.items}
    mine = [line for line in facts.lines if line.id in named and (line.id in of_pieces or not has_left(facts, line))]
    if not mine or not of_pieces <= {line.id for line in facts.lines}:
        return False
    if all(_is_added_beside_mark(facts, line, one) for line in mine):
        return True
    return all(
        is_to_be_sent(facts, line) and not in_parcels(facts, line) and _is_asked_as_added(facts, line, one)
        for line in mine
    )


def _is_added_beside_mark(facts: Facts, line: Line, one: Cancellation) -> bool:
    """Whether somebody else reported the order shipped, which marked the line, and a person settled since this
    cancellation that the OMS makes it (lines_added_after_import)."""
    is_marked = line.is_marked and not line.is_taken_back and not is_confirmed_by_us(facts)
    return is_marked and is_shown_shipped(facts) and is_settled_as_added(facts, line.id, one.told_at)


def _is_of_others(facts: Facts, line: Line) -> bool:
    """Whether somebody else marked the line shipped before our OR24, which marks every line."""
    return stood_at_shipment(facts, line, SHIPPED_LINE)


def _settles_of(facts: Facts, one: Cancellation) -> list[Decision]:
    """The settles of the reason of this cancellation."""
    return [settle for settle, _ in _not_owed_at_settles(facts, Attention(Reason.OMS_CANCELED, _named(one)))]


def _made_on(settle: Decision) -> datetime:
    """When the read began on which a person decided. If a version before did not keep that: when the person decided."""
    return settle.seen.read_at if is_kept(settle.seen) else settle.at


def _not_owed_at_settles(facts: Facts, what: Attention) -> Iterator[tuple[Decision, set[str]]]:
    """Each settle of this cancellation, with the canceled lines that were not to be sent then."""
    for settle in facts.settles:
        for token in settle.subject:
            name, _, lines = token.partition(NOT_OWED)
            if name in (what.token, read(what.token)):  # a version before wrote ids as they are (ends.py)
                yield settle, {read(line) for line in entries(lines)}


def _makes_none(facts: Facts, line_id: str) -> bool:
    """Whether the OMS canceled the line in each of its orders that has or may have it, as far as is known."""
    return all(is_ended_in_oms(facts, one, line_id) for one in may_have(facts, line_id))
