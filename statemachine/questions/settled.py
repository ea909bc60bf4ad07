"""What a settle of a change by Mirakl to an order in the OMS names. How any settle ends its reason: ends.py.

A settle stores the text of the reason (reason_of_order.py, Attention.token). So the texts that name lines and contents
are written and read here. A person who settles such a reason has had the OMS make the change too. From then on a read
is compared with what the settle names, no longer with what the import sent.
"""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from statemachine.facts import EPOCH, WITHDRAWN_OF, Decision, Facts, Line, Snapshot, Withdrawn
from statemachine.occurrences import Begun, knew, reported_by
from statemachine.questions.by_field import settled_on
from statemachine.questions.ids_in_text import entries, named_in, read, written
from statemachine.questions.parcels import sent_more_at
from statemachine.questions.parts import parts_in_oms, parts_with
from statemachine.reasons import Reason


@dataclass(frozen=True, slots=True)
class Pieces:
    """How many pieces of a line are to be sent."""

    number: int | None  # None: not known
    withdrawn: str = ""  # a digest of what was withdrawn, if that is a part of the line
    is_settled: bool = False  # a person settled a change to this number

    def is_less_than(self, before: "Pieces") -> bool:
        """Whether something was withdrawn since, or may have been (`is_unclear_against`)."""
        if before.number == 0:  # nothing was to be sent
            return False
        fewer = self.number is not None and before.number is not None and self.number < before.number
        return fewer or self.withdrawn not in ("", before.withdrawn) or (self.number == 0 and before.number != 0)

    def is_more_than(self, before: "Pieces") -> bool:
        """Whether there are more pieces since, or a part that a person took out of the OMS has to be sent again."""
        if before.number == 0 and self.number != 0 and self.withdrawn:
            return True
        more = self.number is not None and before.number is not None and self.number > before.number
        return more or (before.is_settled and bool(before.withdrawn) and not self.withdrawn)

    def is_unclear_against(self, before: "Pieces") -> bool:
        """Whether it is not known if more or fewer pieces are to be sent since: a part is withdrawn, and another part
        was withdrawn before, or a person settled that the OMS makes a part only."""
        part_made = before.is_settled and before.number is not None and before.number != self.number
        other = self.withdrawn not in ("", before.withdrawn)
        return other and before.number != 0 and (bool(before.withdrawn) or part_made)


#: What is to be sent of a line of which a person settled that all of it was taken back.
_NONE_LEFT: Final = Pieces(0, is_settled=True)


def named(line_id: str, now: Pieces, before: Pieces) -> str:
    """Name the change of a line, for the detail of a reason."""
    line = written(line_id)
    if now.withdrawn:
        other = f", before {before.withdrawn or before.number}" if now.is_unclear_against(before) else ""
        return f"{line} (part of {now.number}, {now.withdrawn}{other})"
    if now.number == 0:
        return line
    if before.number is not None and now.number is not None and now.number < before.number:
        return f"{line} ({now.number} of {before.number})"
    return f"{line} ({'part of ' if before.withdrawn else ''}{before.number}, now {now.number})"


_PART: Final = re.compile(r"(.*) \(part of (\w+), (\w+)(, before \w+)?\)")
_FEWER: Final = re.compile(r"(.*) \((\d+) of \d+\)")
_MORE: Final = re.compile(r"(.*) \((?:part of )?\w+, now (\d+)\)")


def _line_of(change: str) -> tuple[str, Pieces]:
    """The line and the pieces that the text of `named` names."""
    if found := _PART.fullmatch(change):
        number = int(found[2]) if found[2].isdecimal() else None
        return read(found[1]), Pieces(number, found[3], is_settled=True)
    if found := _FEWER.fullmatch(change) or _MORE.fullmatch(change):
        return read(found[1]), Pieces(int(found[2]), is_settled=True)
    return read(change), _NONE_LEFT


#: If one settle names a line by both reasons, the second of these counts, because it is read last.
_OF_LINES: Final = (Reason.LINES_ADDED_AFTER_IMPORT, Reason.LINES_CANCELED_AFTER_IMPORT)


def says_unclear(detail: str) -> bool:
    """Whether the detail of a reason names a change of which it is not known if more or fewer pieces are to be sent."""
    return any((found := _PART.fullmatch(change)) and found[4] for change in entries(detail))


def pieces_now(snapshot: Snapshot, line: Line) -> Pieces:
    """How many pieces of the line Mirakl shows to send."""
    if not line.is_owed:
        return Pieces(0)
    if line.withdrawn is not Withdrawn.PART:
        return Pieces(line.quantity)
    return Pieces(line.quantity, dict(snapshot.contents).get(WITHDRAWN_OF + line.id, snapshot.digest[:8]))


def settled_pieces(facts: Facts, since: datetime) -> dict[str, list[Pieces]]:
    """The pieces of each line that settles since this instant name, from the oldest settle to the newest.

    A person who settles an incident of a line, or that all of the order was taken back, has stopped in the OMS what had
    not left before.
    """
    found: dict[str, list[Pieces]] = {}
    for decision in _settles(facts, since):
        for line_id, pieces in _settled_by(facts, decision):
            found.setdefault(line_id, []).append(pieces)
    return found


def is_settled_as_shown(facts: Facts, line_id: str, shown_at: datetime) -> bool:
    """Whether a person settled how much of the line is to be sent, and knew a read of this date of Mirakl or a newer
    one."""
    settles = (one for one in _settles(facts, EPOCH) if knew(one, shown_at))
    return any(line == line_id for one in settles for line, _ in _settled_by(facts, one))


def at_most_by_settles(facts: Facts, since: datetime, line: Line) -> Iterator[int]:
    """How many pieces of the line the OMS makes at most, by each settle since this instant. 0 as long as nobody has
    compared another part that is withdrawn with what the OMS makes."""
    settles = settled_pieces(facts, since).get(line.id, ())
    for one in settles:
        is_back = bool(one.withdrawn) and line.withdrawn is not Withdrawn.PART
        if one.number is not None:
            yield one.number - is_back
    if settles and facts.snapshot and pieces_now(facts.snapshot, line).is_unclear_against(settles[-1]):
        yield 0


def stopped_for_incident(decision: Decision) -> set[str]:
    """The ids of the lines that a person stopped in the OMS because of an incident, as this settle says."""
    return {read(detail.rpartition(" ")[0]) for detail in _details(decision, Reason.LINE_INCIDENT)}


def _settled_by(facts: Facts, decision: Decision) -> Iterator[tuple[str, Pieces]]:
    """The lines that this settle names, each with the pieces that are still to be sent."""
    stopped = stopped_for_incident(decision)
    if decision.names(Reason.WITHDRAWN_AFTER_IMPORT) and facts.snapshot is not None:
        stopped |= {line.id for line in facts.snapshot.lines}
    for line_id in stopped:
        left = _pieces_left(facts, decision, line_id)
        if left is not None:
            yield line_id, Pieces(left, is_settled=True)
    yield from (_line_of(change) for detail in _details(decision, *_OF_LINES) for change in entries(detail))


def is_taken_out(facts: Facts, line_id: str) -> bool:
    """Whether the newest settle about the line says that none of it is sent, and none had left by then."""
    for decision in reversed(_settles(facts, EPOCH)):
        if pieces := [one for line, one in _settled_by(facts, decision) if line == line_id]:
            return pieces[-1].number == 0 and _pieces_left(facts, decision, line_id) == 0
    return False


def _pieces_left(facts: Facts, decision: Decision, line_id: str) -> int | None:
    """How many pieces of the line had left when the decision was made, at least. None: statuses said that all had."""
    known = [one for one in facts.dispatches if reported_by(one).is_known_to(decision)]
    sent = {one.oms_id for one in known if one.covers}
    holders = parts_with(facts, line_id)
    others = {part.oms_id for part in facts.parts if part.lines} - holders
    if holders <= sent and (sent - others or any(one.covers == "order" for one in known)):
        return None
    held = {(part.oms_id, number) for part in facts.parts for line, number in part.quantities if line == line_id}
    of_parts = sum(number for oms_id, number in held if oms_id in sent)
    parcels = {(one.oms_id, one.items, one.at if one.dated else None) for one in known if one.oms_id not in sent}
    return of_parts + sum(dict(items).get(line_id, 0) for _, items, _ in parcels)


def settled_contents(facts: Facts, since: datetime) -> dict[str, str]:
    """The digest of each content (`Handover.contents`), from the newest settle since this instant that names it. If the
    settles name fields of it (by_field.py): from the newest one that names the field."""
    found: dict[str, str] = {}
    for decision in _settles(facts, since):
        for name, digest in _settled_contents(decision).items():
            found[name] = settled_on(found.get(name, ""), digest)
    return found


def _settled_contents(decision: Decision) -> dict[str, str]:
    details = _details(decision, Reason.CHANGED_AFTER_IMPORT)
    changes = (change.rpartition(" ") for detail in details for change in detail.split(", "))
    return {name: digest for name, _, digest in changes}


def settle_of_content(facts: Facts, since: datetime, name: str) -> Decision | None:
    """The newest settle since this instant that names this content. None: no settle does."""
    return _newest_settle(facts, since, lambda one: name in _settled_contents(one))


def settle_of_line(facts: Facts, since: datetime, line_id: str) -> Decision | None:
    """The newest settle since this instant that names how much of the line is to be sent. None: no settle does."""
    return _newest_settle(facts, since, lambda one: any(line == line_id for line, _ in _settled_by(facts, one)))


def settles_part(settle: Decision, line_id: str) -> bool:
    """Whether this settle says that a part of the line was withdrawn, so that the OMS does not send every piece."""
    details = _details(settle, Reason.LINES_CANCELED_AFTER_IMPORT)
    named_lines = dict(_line_of(change) for detail in details for change in entries(detail))
    return line_id in named_lines and bool(named_lines[line_id].withdrawn)


def change_settled_at(facts: Facts, since: datetime) -> datetime | None:
    """The time of the newest settle of any reason, if a settle since this instant names a change of lines or contents.

    None: no settle since this instant does.
    """
    if not (settled_pieces(facts, since) or settled_contents(facts, since)):
        return None
    return max(one.at for one in facts.settles)


def taken_out(facts: Facts, line_id: str) -> Decision | None:
    """The newest settle that says that nothing of this line is made any more: all of it was taken back, or it was
    stopped for an incident. None: no settle does, or a newer one says that it is made."""

    def takes_out(one: Decision) -> bool:
        if one.names(Reason.WITHDRAWN_AFTER_IMPORT) or line_id in stopped_for_incident(one):
            return True
        details = _details(one, Reason.LINES_CANCELED_AFTER_IMPORT)
        return any((line_id, _NONE_LEFT) == _line_of(change) for detail in details for change in entries(detail))

    settle = _newest_settle(facts, EPOCH, takes_out)
    return None if settle is None or is_settled_as_added(facts, line_id, settle.at) else settle


def left_to_others(facts: Facts, line_id: str) -> Decision | None:
    """The newest settle that says that the OMS does not send this line, because somebody else shipped it, while the OMS
    sends others. None: no settle does, or a newer one says that the OMS makes it."""

    def leaves_it(one: Decision) -> bool:
        return any(named_in(detail, [line_id]) for detail in _details(one, Reason.SHIPPED_ELSEWHERE))

    settle = _newest_settle(facts, EPOCH, leaves_it)
    return None if settle is None or is_settled_as_added(facts, line_id, settle.at) else settle


def is_settled_as_added(facts: Facts, line_id: str, since: datetime) -> bool:
    """Whether a person settled since this instant that the OMS makes the line, or more pieces of it."""
    return any(_adds(one, line_id) for one in _settles(facts, since))


def is_added_as_shown(facts: Facts, line_id: str, shown_at: datetime) -> bool:
    """The same by a person who knew a read of this date of Mirakl or a newer one."""
    return any(_adds(one, line_id) and knew(one, shown_at) for one in _settles(facts, EPOCH))


def _adds(settle: Decision, line_id: str) -> bool:
    details = _details(settle, Reason.LINES_ADDED_AFTER_IMPORT)
    return any(_line_of(change)[0] == line_id for detail in details for change in entries(detail))


def has_left_since(facts: Facts, line_id: str, settle: Decision) -> bool:
    """Whether the OMS reported that goods of this line left, and the person who settled did not know of it."""
    return not Begun(told_at=left_though_stopped_at(facts, line_id)).is_known_to(settle)


def left_though_stopped_at(facts: Facts, line_id: str) -> datetime:
    """When the OMS last reported that more of a line left which a person had it stop. EPOCH: never.

    A parcel shows it. A dispatched status shows it if its order has only lines that a person had the OMS stop: that of
    an order with others may be about those.
    """
    lines_of = parts_in_oms(facts)
    first = dict[int, datetime]()  # a status that is reported again is not newer
    for one in facts.dispatches:
        if one.covers and line_id in lines_of.get(one.oms_id, ()):
            first[one.oms_id] = min(one.told_at, first.get(one.oms_id, one.told_at))
    stopped = [at for oms_id, at in first.items() if all(_is_stopped(facts, line) for line in lines_of[oms_id])]
    return max([sent_more_at(facts, line_id), *stopped])


def _is_stopped(facts: Facts, line_id: str) -> bool:
    """Whether a person settled that the OMS does not send this line."""
    return taken_out(facts, line_id) is not None or left_to_others(facts, line_id) is not None


def sent_again_at(facts: Facts) -> datetime:
    """When a person last settled that the OMS makes lines or pieces too that were added. EPOCH: never."""
    added = Reason.LINES_ADDED_AFTER_IMPORT
    return max((one.at for one in _settles(facts, EPOCH) if any(True for _ in _details(one, added))), default=EPOCH)


def _settles(facts: Facts, since: datetime) -> list[Decision]:
    """The settles since this instant, from the oldest to the newest."""
    return sorted(one for one in facts.settles if one.at >= since)


def _newest_settle(facts: Facts, since: datetime, covers: Callable[[Decision], bool]) -> Decision | None:
    return next((one for one in reversed(_settles(facts, since)) if covers(one)), None)


def _details(decision: Decision, *reasons: Reason) -> Iterator[str]:
    """The details of these reasons in the decision."""
    for reason in reasons:
        yield from decision.details_of(reason)
