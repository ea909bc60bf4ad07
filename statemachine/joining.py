"""How two sets of facts of one order are joined, and which facts a read adds.

`join` is commutative, associative and idempotent. So the same facts end in the same `Facts`, in any order and any
number of times (docs/rules.md 1). Every field joins by maximum, minimum or union. Of two reads the newer one stays;
facts.py (`newer`) says which one it is (docs/rules.md 2).
"""

from dataclasses import fields, replace
from typing import Any, Final

from statemachine.facts import (
    AFTER_SHIPPING,
    DEBIT,
    DEBITS_LATE,
    EPOCH,
    KNOWN_STATES,
    PAY_ON_SHIPMENT,
    UNCLEAR,
    WITHDRAWN_OF,
    Facts,
    Handover,
    Snapshot,
    Withdrawn,
    newer,
)
from statemachine.occurrences import not_shown, shown_by
from statemachine.questions.before_shipment import first_shipped, last_open, last_underway
from statemachine.questions.other_values import other_values
from statemachine.questions.stops import KEPT_FIRST, stops_of, stops_read

#: The states in which the seller has to act; from when on is `Facts.seen`. A debit is there too if Mirakl's date of the
#: order cannot be: then the deadline of the payment counts from the first read (deadlines.py).
SELLER_ACTS: Final = ("WAITING_ACCEPTANCE", "SHIPPING")
_NOTHING: Final = Facts()
#: These do not join by union.
_OTHERS: Final = ("pieces", "to_send", "not_shown", "other_values", "seen", "stops", "stops_read")
_SETS: Final = tuple(field.name for field in fields(Facts) if field.default == () and field.name not in _OTHERS)


def join(one: Facts, other: Facts) -> Facts:
    """Everything that either of the two holds; of two reads only the newer one."""
    if other == _NOTHING:
        return one
    sets = {}
    for name in _SETS:
        mine, theirs = getattr(one, name), getattr(other, name)
        sets[name] = tuple(sorted({*mine, *theirs})) if mine and theirs and mine != theirs else mine or theirs
    pieces = _largest(one.pieces, other.pieces)
    newest = newer(one.snapshot, other.snapshot)
    return Facts(
        snapshot=_with_partly_withdrawn(newest, pieces),
        unknown=newer(one.unknown, other.unknown),
        shipped_seen=one.shipped_seen or other.shipped_seen,
        shipped_shown=one.shipped_shown or other.shipped_shown,
        shipped_update=max(one.shipped_update, other.shipped_update),
        clock=max(one.clock, other.clock),
        pieces=pieces,
        to_send=_least(one.to_send, other.to_send),
        baseline=min((known.baseline for known in (one, other) if known.baseline is not None), default=None),
        not_shown=not_shown(newest, one, other),
        last_open=last_open(newest, one, other),
        first_shipped=first_shipped(newest, one, other),
        last_underway=last_underway(newest, one, other),
        other_values=other_values(one, other),
        seen=_least(one.seen, other.seen),
        stops=_largest(one.stops, other.stops),
        stops_read=stops_read(newest, one, other),
        **sets,
    )


def _largest(one: tuple[tuple[str, Any], ...], other: tuple[tuple[str, Any], ...]) -> tuple[tuple[str, Any], ...]:
    if one == other or not one or not other:
        return one or other
    return tuple(sorted(dict(sorted((*one, *other))).items()))  # of two equal keys, dict keeps the later value


def _least(one: tuple[tuple[str, Any], ...], other: tuple[tuple[str, Any], ...]) -> tuple[tuple[str, Any], ...]:
    if one == other or not one or not other:
        return one or other
    return tuple(sorted(dict(sorted((*one, *other), reverse=True)).items()))


def _with_partly_withdrawn(snapshot: Snapshot | None, pieces: tuple[tuple[str, int], ...]) -> Snapshot | None:
    """The snapshot, in which refunds of the price took only a part of a line if an earlier read showed more pieces.

    Mirakl may lower quantity and price by what was refunded. Then the refunds cover the price of the pieces that are
    left, though these are still to be sent, or not: a person decides (docs/mirakl.md 4.4).
    """
    if snapshot is None or all(line.withdrawn is not Withdrawn.PRICE for line in snapshot.lines):
        return snapshot
    largest = dict(pieces)
    lines = tuple(
        replace(line, withdrawn=Withdrawn.PART)
        if line.withdrawn is Withdrawn.PRICE and (line.quantity or 0) < largest.get(line.id, 0)
        else line
        for line in snapshot.lines
    )
    return replace(snapshot, lines=lines)


def _ready_for_import(snapshot: Snapshot) -> Handover | None:
    """What an import that the store does not know may carry: somebody else's, or one from before a restore.

    None if the read does not show the order ready for an import. A line of which a part was withdrawn counts with the
    pieces that this read shows. Its entry WITHDRAWN_OF is left out, because the import may have been made before the
    withdrawal. A line that is canceled, refunded or in an incident gets an entry UNCLEAR: the import may hold it, or
    not. Lines that were refused or shipped are left out, and so are owed lines without a number of pieces.
    """
    if snapshot.state != "SHIPPING" or not snapshot.has_address or not snapshot.import_digest:
        return None
    unclear = [line for line in snapshot.lines if not line.is_owed and line.state not in ("REFUSED", *AFTER_SHIPPING)]
    items = [(line.id, line.quantity) for line in snapshot.owed_lines if line.quantity]
    items += [(line.id, line.quantity or 1) for line in unclear]
    contents = [one for one in snapshot.contents if not one[0].startswith(WITHDRAWN_OF)]
    contents += [(UNCLEAR + line.id, "") for line in unclear]
    return Handover(snapshot.read_at, tuple(sorted(items)), tuple(sorted(contents)))


def snapshot_facts(snapshot: Snapshot) -> Facts:
    """The facts that one read adds."""
    numbers = {line.id: line.quantity or 0 for line in snapshot.lines}
    pieces = tuple(sorted((line_id, number) for line_id, number in numbers.items() if number > 1))
    if snapshot.state not in KNOWN_STATES:
        return Facts(unknown=snapshot, pieces=pieces)
    dated = EPOCH < snapshot.created_at <= snapshot.read_at
    counts = snapshot.state in SELLER_ACTS or (snapshot.state in DEBIT and not dated)
    stops = stops_of(snapshot)
    first = tuple(one for one in stops if one[0].startswith(KEPT_FIRST))
    seen = ((snapshot.state, snapshot.read_at),) if counts else ()
    owed = () if snapshot.state in AFTER_SHIPPING else snapshot.owed_lines
    after = snapshot.state in DEBIT and snapshot.workflow in DEBITS_LATE
    debit_after_shipping = after and snapshot.is_marked_shipped
    shipped = snapshot.state in AFTER_SHIPPING or debit_after_shipping
    paid_on_shipment = snapshot.state in DEBIT and snapshot.workflow == PAY_ON_SHIPMENT
    update = snapshot.updated_at if shipped or paid_on_shipment else EPOCH
    snapshot = replace(snapshot, shows=shown_by(snapshot), is_compared=True, is_remembered=True, is_followed=True)
    return Facts(
        snapshot=snapshot,
        shipped_seen=shipped,
        shipped_shown=shipped,
        shipped_update=update,
        pieces=pieces,
        to_send=tuple(sorted((line.id, line.quantity) for line in owed if line.quantity is not None)),
        baseline=_ready_for_import(snapshot),
        seen=tuple(sorted((*seen, *first))),
        stops=stops,
    )
