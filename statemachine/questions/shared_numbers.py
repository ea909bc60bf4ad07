"""Orders of the OMS that report one number: they sent one parcel, so what each of them names in it may be the same."""

from collections.abc import Collection, Mapping

from statemachine.facts import VOUCHED, Facts


def by_number(facts: Facts, oms_ids: Collection[int]) -> list[set[int]]:
    """These orders of the OMS, those together that report one number."""
    found: list[tuple[set[int], set[str]]] = []
    for oms_id in oms_ids:
        numbers = _numbers(facts, oms_id)
        same = [one for one in found if one[1] & numbers]
        together = {oms_id}.union(*(ids for ids, _ in same)), numbers.union(*(each for _, each in same))
        found = [*(one for one in found if one not in same), together]
    return [ids for ids, _ in found]


def left_at_most(facts: Facts, line_id: str, left: Mapping[int, int], most: int) -> int:
    """How many pieces of the line left at most. `left`: the pieces that each order of the OMS sent, by what it reports.

    If orders share a number, their parcel holds no more than these orders have together, as the answer to the import
    shows; if it does not show that, no more than one of them names. `most`: how many count of an order that has the
    line in a number that is not known.
    """
    found = 0
    for group in by_number(facts, left):
        pieces = [left[oms_id] for oms_id in group]
        held = [_held(facts, oms_id, line_id, most) for oms_id in group]
        known = [number for number in held if number is not None]
        found += min(sum(pieces), max(*pieces, sum(known) if len(known) == len(held) else 0))
    return found


def _held(facts: Facts, oms_id: int, line_id: str, most: int) -> int | None:
    """How many pieces of the line this order has, as the answer to the import shows. None: it shows no lines of it."""
    parts = [part for part in facts.parts if part.oms_id == oms_id and part.lines]
    if not parts or all(line_id not in part.lines for part in parts):
        return 0 if parts else None
    return max((pieces for part in parts for line, pieces in part.quantities if line == line_id), default=most)


def _numbers(facts: Facts, oms_id: int) -> set[str]:
    """The numbers of the order's parcels, and that of its newest status, without words such as "n/a"."""
    own = [one for one in facts.dispatches if one.oms_id == oms_id != VOUCHED and one.tracking.number]
    statuses = [one for one in own if one.covers]
    newest = [max(statuses, key=lambda one: (one.told_at, one))] if statuses else []
    numbers = {one.tracking.bare_number for one in (*newest, *(one for one in own if one.items))}
    return {number for number in numbers if any(sign in "123456789" for sign in number)}
