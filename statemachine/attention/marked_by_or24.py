"""Which lines `lines_added_after_import` names of those that only our OR24 marked shipped, and that are to be sent.

This needs nothing of what the OMS canceled, so `oms_canceled` can ask the same rule (canceled_by_oms.py): what is named
here is asked about once.
"""

from collections.abc import Sequence
from dataclasses import replace

from statemachine.facts import AFTER_SHIPPING, EPOCH, WITHDRAWN_OF, Facts, Handover, Line, Snapshot
from statemachine.questions.in_oms import has_left, is_to_be_sent
from statemachine.questions.payloads import what_oms_got
from statemachine.questions.readings import in_parcels, is_ended_everywhere, pieces_of
from statemachine.questions.settled import Pieces, is_settled_as_shown, is_taken_out, pieces_now, settled_pieces
from statemachine.questions.stops import is_marked_in_incident, line_stopped_at


def pieces_in_oms(facts: Facts, snapshot: Snapshot) -> dict[str, list[Pieces]]:
    """The pieces of each line of which it is known whether the OMS has the line: for each payload that it may have."""
    found: dict[str, list[Pieces]] = {}
    payloads = what_oms_got(facts)
    if not (payloads or facts.parts or facts.decisions):  # of orders that are not imported yet; this saves time
        return found
    for got in payloads or (Handover(EPOCH),):
        pieces = {line: Pieces(None) for part in facts.parts for line in part.lines}
        if got.items:
            withdrawn = dict(got.contents)
            pieces = {line.id: Pieces(0) for line in snapshot.lines} | pieces
            pieces |= {line: Pieces(number, withdrawn.get(WITHDRAWN_OF + line, "")) for line, number in got.items}
        pieces |= {line: settled[-1] for line, settled in settled_pieces(facts, got.at).items()}
        for line, one in pieces.items():
            found.setdefault(line, []).append(one)
    return found


def added_beside_or24(
    facts: Facts, snapshot: Snapshot, line: Line, befores: Sequence[Pieces]
) -> tuple[Pieces, Pieces] | None:
    """How many pieces of a line are to be sent, and how many the OMS makes, if it makes fewer: because a person settled
    that all or a part was taken out, or because OR24 did not wait for it. None: as many, as far as is known.

    `befores`: what the OMS has of the line (`pieces_in_oms`). None of it: the line is not in the OMS.
    """
    if not befores:
        return None
    if is_taken_out(facts, line.id) and is_to_be_sent(facts, line) and not has_left(facts, line):
        return Pieces(line.quantity), befores[0]
    if _is_owed_again(facts, line):
        return Pieces(pieces_of(facts, line)), Pieces(0)
    if is_to_be_sent(facts, line) and not in_parcels(facts, line):
        now = pieces_now(snapshot, unmarked(line))
        grown = (one for one in befores if one.is_settled and one.number and now.is_more_than(one))
        return next(((now, one) for one in grown), None)
    return None


def _is_owed_again(facts: Facts, line: Line) -> bool:
    """Whether OR24 did not wait for the line, because it was taken back or in an incident, and it is to be sent now.

    OR24 marks every line shipped, also one that the OMS never sent. A settle since then shows that a person was asked.
    As long as no person has stopped a line with an incident, line_incident asks.
    """
    if line.is_owed or not is_to_be_sent(facts, line) or is_marked_in_incident(facts, line):
        return False
    stopped_at = line_stopped_at(facts, line)
    if stopped_at is None or is_settled_as_shown(facts, line.id, stopped_at):
        return False
    return not has_left(facts, line) and not is_ended_everywhere(facts, line.id)


def unmarked(line: Line) -> Line:
    """The line as if a report of the whole order, which marks every line shipped, had not marked it."""
    return replace(line, state="" if line.state in AFTER_SHIPPING else line.state, shipped=False)
