"""How many pieces of a line the parcels hold that the OMS reported."""

from dataclasses import replace
from datetime import datetime

from statemachine.facts import EPOCH, Facts
from statemachine.questions.receipts import dispatches


def sent_quantity(facts: Facts, line_id: str) -> int:
    """How many pieces of the line the parcels hold. A parcel reported twice counts once (docs/kornitx.md 9.4).

    Reports with one number are about one parcel: the later one may correct the earlier one, or name all that is in it.
    So of the line the largest number of pieces counts, not their sum.
    """
    counted = sum(quantity for items in _parcels(facts) for line, quantity in items if line == line_id)
    of_numbers: dict[tuple[int, str], int] = {}
    for one in facts.dispatches:
        if pieces := sum(quantity for line, quantity in one.items if line == line_id):
            number = one.oms_id, one.tracking.bare_number
            of_numbers[number] = max(pieces, of_numbers.get(number, 0))
    is_numbered = all(number for _, number in of_numbers)
    return min(counted, sum(of_numbers.values())) if is_numbered else counted


def sent_more_at(facts: Facts, line_id: str) -> datetime:
    """When the OMS reported the newest pieces of the line. A parcel reported again is not newer. EPOCH: none."""
    now = sent_quantity(facts, line_id)
    for told_at in sorted({one.told_at for one in facts.dispatches}, reverse=True):
        before = tuple(one for one in facts.dispatches if one.told_at < told_at)
        if sent_quantity(replace(facts, dispatches=before), line_id) < now:
            return told_at
    return EPOCH


def _parcels(facts: Facts) -> list[tuple[tuple[str, int], ...]]:
    """The items of each parcel.

    Two reports with the same time and items are about one parcel: another number in the later report replaces the
    earlier number. Two reports without a time, with the same items, are about one parcel too: two parcels could make
    the order count as sent too early. For the same reason a report without a time is about a parcel that another report
    names with a time, if it has the same items, whatever the number. If one report names several numbers for the same
    time and items, these are several parcels.
    """
    dated: dict[_Content, dict[datetime, _Numbers]] = {}
    undated: dict[_Content, _Numbers] = {}
    for one in (dispatch for dispatch in dispatches(facts) if dispatch.items):
        content = one.oms_id, one.items
        reports = dated.setdefault(content, {}).setdefault(one.at, {}) if one.dated else undated.setdefault(content, {})
        reports.setdefault(one.told_at, set()).add(one.tracking.number)
    parcels = []
    for content in dated.keys() | undated.keys():
        known = sum(_most_together(reports) for reports in dated.get(content, {}).values())
        parcels += [content[1]] * max(known, _most_together(undated.get(content, {})))
    return parcels


#: The OMS's order and the items of a parcel.
_Content = tuple[int, tuple[tuple[str, int], ...]]
#: For the time of each report the numbers that it names.
_Numbers = dict[datetime, set[str]]


def _most_together(reports: _Numbers) -> int:
    """How many numbers one report names, at most."""
    return max((len(numbers) for numbers in reports.values()), default=0)
