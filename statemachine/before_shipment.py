"""Which read is compared with what the OMS got: the newest one before the shipment, or the first one after it.

Mirakl removes the data of customers some time after the shipment. So what a later read shows of an address is no
change. But what changed before the shipment still needs a person after it: the parcel went to the old address. So the
facts keep the contents of the newest read before the shipment, once a later one shows the order shipped or at its end.

OR24 goes out without a read. So what Mirakl changed just before it is shown by the first read that shows the order
shipped. The facts keep where that read shows that the parcel goes, too.
"""

from dataclasses import replace
from datetime import timedelta
from typing import Final

from statemachine.asked_once import asked_once
from statemachine.commands import CommandKind
from statemachine.facts import (
    AFTER_SHIPPING,
    DEBIT,
    DEBITS_LATE,
    FINAL,
    Facts,
    Snapshot,
    age_of,
)
from statemachine.formulas import differ
from statemachine.readings import last_answer
from statemachine.reads_kept import LastOpen

_Contents = tuple[tuple[str, str], ...]
#: Among the contents of these reads, followed by the id of a line: the number of its pieces.
PIECES: Final = "pieces of "
_DESTINATION: Final = ("pick-up point", "shipping address")
#: A read that began later after the answer to OR24 may lack data of the customer, because Mirakl has removed them.
SOON: Final = timedelta(days=1)


def is_before_shipment(read: Snapshot) -> bool:
    """Whether this read shows the order before its shipment. A debit with a `shipped_date` follows the shipment, and so
    may any debit in two of the workflows."""
    if read.state in DEBIT:
        return read.workflow not in DEBITS_LATE and not any(line.shipped for line in read.lines)
    return read.state not in (*AFTER_SHIPPING, *FINAL)


def last_open(newest: Snapshot | None, one: Facts, other: Facts) -> LastOpen | None:
    """The newest read before the shipment. `one` and `other` are joined.

    None while the newest read is such a read, because it says all, and if an earlier version stored the newest read.
    """
    if newest is None or not newest.is_compared or is_before_shipment(newest):
        return None
    if one.snapshot is None or other.snapshot is None:  # of most joins; this saves time
        return one.last_open or other.last_open
    last = max((last for facts in (one, other) if (last := newest_open(facts))), default=None)
    return last and replace(last, contents=_apart(last.contents, contents_of(newest)))


def first_shipped(newest: Snapshot | None, one: Facts, other: Facts) -> LastOpen | None:
    """The oldest read that shows the order shipped, and where it shows that the parcel goes. `one` and `other` are
    joined.

    None while the newest read is this one, because it says all.
    """
    if newest is None or one.snapshot is None or other.snapshot is None:  # of most joins; this saves time
        return one.first_shipped or other.first_shipped
    first = min((first for facts in (one, other) if (first := oldest_shipped(facts))), default=None)
    if first is None or replace(first, contents=()) == LastOpen(*age_of(newest)):
        return None
    return replace(first, contents=_apart(first.contents, _goes_to(newest)))


@asked_once
def newest_open(facts: Facts) -> LastOpen | None:
    """The newest read before the shipment, with all its contents. None: it is not known, because an earlier version
    stored the order as shipped, or no read showed the order earlier."""
    if facts.snapshot is None:
        return None
    if is_before_shipment(facts.snapshot):
        return LastOpen(*age_of(facts.snapshot), contents_of(facts.snapshot))
    return facts.last_open and _whole(facts.last_open, contents_of(facts.snapshot))


@asked_once
def oldest_shipped(facts: Facts) -> LastOpen | None:
    """The oldest read that shows the order shipped, and where it shows that the parcel goes. None: no read does."""
    read = facts.snapshot
    if read is None:
        return None
    if facts.first_shipped is not None:
        return _whole(facts.first_shipped, _goes_to(read))
    debited = read.state in DEBIT and any(line.shipped for line in read.lines)
    is_shipped = read.is_remembered and (debited or read.state in AFTER_SHIPPING)
    return LastOpen(*age_of(read), _goes_to(read)) if is_shipped else None


@asked_once
def compared(facts: Facts) -> LastOpen | None:
    """The read that is compared with what the OMS got, with all its contents. None: it is not known.

    It is the newest read before the shipment. If the first read after it shows soon after OR24 that the parcel goes
    elsewhere, it is that one: but of its contents only this counts. Others may change because of the shipment.
    """
    last, first = newest_open(facts), oldest_shipped(facts)
    answer = last_answer(facts, CommandKind.CONFIRM)
    if last is None or first is None or answer is None or first < last or not first.has_address:
        return last
    known = dict(last.contents)
    moved = {name: digest for name, digest in first.contents if differ(known.get(name, digest), digest)}
    if not moved or first.read_at - answer.at > SOON:
        return last
    return replace(first, contents=tuple(sorted((known | moved).items())))


def contents_of(read: Snapshot) -> _Contents:
    """The contents of a read, with the pieces of its lines."""
    pieces = {PIECES + line.id: "?" if line.quantity is None else f"{line.quantity}" for line in read.lines}
    return tuple(sorted((dict(read.contents) | pieces).items()))


def _goes_to(read: Snapshot) -> _Contents:
    """Those of the contents that say where the parcel goes."""
    return tuple(one for one in read.contents if one[0] in _DESTINATION)


def _apart(contents: _Contents, shown: _Contents) -> _Contents:
    """Those of the contents that are shown otherwise. Data that Mirakl has not removed yet need no room."""
    mine, other = dict(contents), dict(shown)
    return tuple(sorted((name, mine.get(name, "")) for name in mine | other if mine.get(name) != other.get(name)))


def _whole(kept: LastOpen, shown: _Contents) -> LastOpen:
    both = dict(shown) | dict(kept.contents)
    return replace(kept, contents=tuple(sorted((name, digest) for name, digest in both.items() if digest)))
