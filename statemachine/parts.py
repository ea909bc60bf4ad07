"""The orders in the OMS that an order of Mirakl became: which lines and pieces they have (docs/kornitx.md 3)."""

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
