"""The orders in the OMS that an order of Mirakl became: which lines and pieces they have, and which of them left
(docs/kornitx.md 3)."""

from dataclasses import replace

from statemachine.asked_once import asked_once
from statemachine.facts import Facts


@asked_once
def shown_pieces(facts: Facts) -> dict[str, int]:
    """The pieces of each line that the OMS's answer to the import shows, in all parts together."""
    shown: dict[str, int] = {}
    for part in {replace(part, ref="", has_error=False) for part in facts.parts}:
        for line_id, pieces in part.quantities:
            shown[line_id] = shown.get(line_id, 0) + pieces
    return shown


def parts_in_oms(facts: Facts) -> dict[int, set[str]]:
    """The lines of each part, by its id in the OMS. Empty: not known."""
    lines_of: dict[int, set[str]] = {}
    for part in facts.parts:
        lines_of.setdefault(part.oms_id, set()).update(part.lines)
    return lines_of


def parts_with(facts: Facts, line_id: str) -> set[int]:
    """The ids of the OMS's orders that are known to have this line."""
    return {part.oms_id for part in facts.parts if line_id in part.lines}


def pieces_held(facts: Facts, oms_id: int, line_id: str) -> list[int]:
    """How many pieces of the line this order of the OMS has, by each answer to an import that shows it."""
    return [n for part in facts.parts if part.oms_id == oms_id for line, n in part.quantities if line == line_id]


def pieces_canceled_in(facts: Facts, oms_id: int, line_id: str) -> int:
    """How many pieces of the line the OMS canceled in this order. Equal cancellations count once: the second may be a
    repeat of the report."""
    equal = {one.items for one in facts.cancellations if one.oms_id == oms_id}
    return sum(pieces for items in equal for line, pieces in items if line == line_id)


def sent_by_status(facts: Facts) -> set[int]:
    """The ids of the OMS's orders of which a dispatched status said that they left, and VOUCHED if a person vouches."""
    return {one.oms_id for one in facts.dispatches if one.covers}
