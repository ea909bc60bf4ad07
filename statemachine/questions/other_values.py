"""Values of contents and pieces of lines that reads before the shipment showed, and the newest of these does not show.

A value may change after the import and back again before a person settles the change. While it was another one, the
list asked a person to tell the OMS, who may have done so. So the OMS may have that value, and a person has to look.

Of each value the facts keep the newest read that showed it, and for each name the newest two values. Of a content that
is compared field by field (by_field.py), these are the newest two of each field: a field that a shop leaves out and
that changes often must not displace the value of another one. Of a content whose formula an upgrade changed
(formulas.py), these are the newest two of each formula: what the reads after the upgrade show must not displace a value
that is compared with what the OMS got before it. Those of the newest read before the shipment are left out, so an order
that never changed keeps nothing.
"""

from collections.abc import Collection, Iterable, Iterator
from typing import Final

from statemachine.asked_once import asked_once
from statemachine.facts import EPOCH, MESSAGES, WITHDRAWN_OF, Decision, Facts, Handover, Snapshot, age_of
from statemachine.occurrences import Begun, age_of_kept
from statemachine.questions.before_shipment import PIECES, is_before_shipment, newest_open
from statemachine.questions.by_field import fields_in, shows_change
from statemachine.questions.compared import compared
from statemachine.questions.formulas import differ, formula_of
from statemachine.questions.settled import settle_of_content
from statemachine.reads_kept import LastOpen, Shown

#: The pieces of a line that a read does not show.
LEFT_OUT: Final = "left out"


def other_values(one: Facts, other: Facts) -> tuple[Shown, ...]:
    """The other values of the two that are joined."""
    kept = {*one.other_values, *other.other_values}
    first, second = one.snapshot, other.snapshot
    if first is None or second is None or (not kept and _show_same(first, second)):  # of most joins; this saves time
        return tuple(sorted(kept))
    lasts = [last for facts in (one, other) if _is_by_this_version(facts) and (last := newest_open(facts))]
    if len(lasts) < 2:
        return tuple(sorted(kept))
    shown = [_values(last) for last in lasts]
    lines = {name for name in (*shown[0], *shown[1], *(one.name for one in kept)) if name.startswith(PIECES)}
    shown = [dict.fromkeys(lines, LEFT_OUT) | values for values in shown]
    for last, values in zip(lasts, shown, strict=True):
        kept |= {Shown(name, value, *age_of_kept(last)) for name, value in values.items()}
    newest = shown[lasts.index(max(lasts))]
    return tuple(sorted(one for one in _two_of_each(kept) if newest.get(one.name) != one.value))


def _show_same(one: Snapshot, other: Snapshot) -> bool:
    """Whether the older of two reads before the shipment shows no other value than the newer one."""
    if not (is_before_shipment(one) and is_before_shipment(other)):
        return False
    older, newer = sorted((one, other), key=age_of)
    same = not older.has_address or (newer.has_address and older.contents == newer.contents)
    return same and [(x.id, x.quantity) for x in older.lines] == [(x.id, x.quantity) for x in newer.lines]


def _is_by_this_version(facts: Facts) -> bool:
    """Whether the read before the shipment counts. The rows of an earlier version hold no other values, so its reads do
    not count until the shipment: then the row of an order is what its journal adds up to."""
    return facts.last_open is not None or (facts.snapshot is not None and facts.snapshot.is_compared)


def _values(last: LastOpen) -> dict[str, str]:
    """The values that count. A read without an address may lack other contents too (docs/mirakl.md 5.2). Messages and
    withdrawals have rules of their own."""
    return {
        name: value
        for name, value in last.contents
        if name.startswith(PIECES) or (last.has_address and name != MESSAGES and not name.startswith(WITHDRAWN_OF))
    }


def _two_of_each(shown: Iterable[Shown]) -> Iterator[Shown]:
    """Of each name the values to keep, each with the newest read that showed it."""
    newest = {(one.name, one.value): one for one in sorted(shown, key=age_of_kept)}
    values: dict[str, list[Shown]] = {}
    for one in sorted(newest.values(), key=lambda one: (age_of_kept(one), one.value)):
        values.setdefault(one.name, []).append(one)
    return (one for several in values.values() for one in _newest_two(several))


def _newest_two(values: list[Shown]) -> set[Shown]:
    """The newest two of these values of one name in each formula, and of each field that they have. The newest value
    comes last."""
    formulas: dict[int, list[Shown]] = {}
    for one in values:
        formulas.setdefault(formula_of(one.value), []).append(one)
    kept = {one for of_formula in formulas.values() for one in of_formula[-2:]}
    by_field = [(one, found) for one in values if (found := fields_in(one.value)) is not None]
    for code in {code for _, found in by_field for code in found}:
        newest: dict[str, Shown] = {}
        for one, found in by_field:
            newest.pop(found.get(code, ""), None)
            newest[found.get(code, "")] = one
        kept |= {*list(newest.values())[-2:]}
    return kept


def shown_since(facts: Facts, name: str, got: Handover, settle: Decision | None) -> list[str]:
    """The other values of this name that reads showed after the one that the payload was made of. `settle`: the newest
    settle of a change of it, which covers what was known then."""
    return [
        one.value
        for one in values_between(facts)
        if one.name == name and _is_since(one, got) and not (settle and Begun(one).is_known_to(settle))
    ]


def was_another(facts: Facts, name: str, has: str, now: str, got: Handover, *, left_out: Collection[str]) -> bool:
    """Whether reads since the one that the payload was made of showed another value of this content, which no
    settle covers. `has`: the digest of what the OMS has, `now`: that of the newest read. `left_out`: digests of codes
    of fields that do not count.

    If the two are made by different formulas, they cannot be compared. Then a value in the formula of `now` is what an
    unchanged order shows, or a change since. One in the formula of `has` is compared with that.
    """
    settle = settle_of_content(facts, got.at, name)
    several = formula_of(has) != formula_of(now)
    for one in values_between(facts):
        if one.name != name or (settle and Begun(one).is_known_to(settle)):
            continue
        if formula_of(one.value) != formula_of(now):
            if differ(one.value, has) and _is_since(one, got):
                return True
        elif not shows_change(one.value, now, left_out):
            continue  # in a field that the import left out, or not at all
        elif _is_since(one, got) or (several and one.updated_at >= got.shown_at):
            return True
    return False


@asked_once
def values_between(facts: Facts) -> tuple[Shown, ...]:
    """The other values, and those of the newest read before the shipment that the first read after it shows otherwise,
    if that one is compared with what the OMS got."""
    last, shown = newest_open(facts), compared(facts)
    if last is None or shown is None or last is shown:
        return facts.other_values
    now = dict(shown.contents)
    between = (
        Shown(name, one, *age_of_kept(last)) for name, one in _values(last).items() if differ(now.get(name, one), one)
    )
    return tuple(sorted({*facts.other_values, *between}))


def _is_since(one: Shown, got: Handover) -> bool:
    return one.updated_at > got.shown_at if got.shown_at > EPOCH else one.read_at > got.at
