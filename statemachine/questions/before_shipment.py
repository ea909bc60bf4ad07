"""The newest read before the shipment, the newest one that shows the order under way, and the first one after it.

Mirakl removes the data of customers some time after the shipment. So what a later read shows of an address is no
change. But what changed before the shipment still needs a person after it: the parcel went to the old address. So the
facts keep the contents of the newest read before the shipment, once a later one shows the order shipped or at its end.

Somebody else may report the order shipped while the OMS still makes it. So the facts keep the newest read that shows it
under way, too. And OR24 goes out without a read: what Mirakl changed just before it is shown by the first read that
shows the order shipped. The facts keep where that read shows that the parcel goes. compared.py says which read counts
when.
"""

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import Final

from statemachine.asked_once import asked_once
from statemachine.facts import (
    AFTER_SHIPPING,
    DEBIT,
    DEBITS_LATE,
    FINAL,
    Facts,
    Snapshot,
    age_of,
)
from statemachine.occurrences import SHIPPED, age_of_kept, last_without
from statemachine.questions.readings import debit_comes_first
from statemachine.reads_kept import LastOpen, NotShown

_Contents = tuple[tuple[str, str], ...]
_Find = Callable[[Facts], LastOpen | None]
#: Among the contents of these reads, followed by the id of a line: the number of its pieces.
PIECES: Final = "pieces of "
_DESTINATION: Final = ("pick-up point", "shipping address")
#: A read that began longer after Mirakl's deadline of the shipment may show data that Mirakl removed or replaced.
_FOLLOWED: Final = timedelta(days=14)


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
    return _newest_of_both(newest, one, other, lambda facts: facts.last_open, newest_open)


def is_underway(read: Snapshot) -> bool:
    """Whether this read shows the order shipped and not arrived, with the data of the customer. A debit does not tell
    whether the parcel arrived, so it does not count. Without a deadline of the shipment, the date of the order counts.
    """
    late = read.read_at - max(read.ship_by, read.created_at)  # a sum could leave the years that a date may have
    return read.state == "SHIPPED" and read.has_address and late <= _FOLLOWED


def last_underway(newest: Snapshot | None, one: Facts, other: Facts) -> LastOpen | None:
    """The newest read that shows the order under way. `one` and `other` are joined.

    None while the newest read is such a read, because it says all, and if an earlier version stored the newest read.
    """
    if newest is None or not newest.is_followed or is_underway(newest):
        return None
    return _newest_of_both(newest, one, other, lambda facts: facts.last_underway, newest_underway)


def _newest_of_both(newest: Snapshot, one: Facts, other: Facts, stored: _Find, known: _Find) -> LastOpen | None:
    """The newer of two reads, as it is stored beside the newest read. `stored`: the field that holds such a read;
    `known`: the same with all its contents, also if it is the newest read."""
    if one.snapshot is None or other.snapshot is None:  # of most joins; this saves time
        return stored(one) or stored(other)
    last = max((last for facts in (one, other) if (last := known(facts))), default=None)
    return last and replace(last, contents=_apart(last.contents, contents_of(newest)))


def newest_underway(facts: Facts) -> LastOpen | None:
    """The newest read that shows the order under way, with all its contents. None: no such read is known."""
    read = facts.snapshot
    if read is None:
        return None
    if is_underway(read):
        return LastOpen(*age_of(read), contents_of(read)) if read.is_followed else None
    return facts.last_underway and _whole(facts.last_underway, contents_of(read))


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
def newest_to_send(facts: Facts) -> LastOpen | NotShown | None:
    """The newest read before the shipment, and before the debit that follows it. None: it is not known.

    A debit without a `shipped_date` may come right after the acceptance, in each workflow. So `newest_open` may be a
    debit in PAY_ON_SHIPMENT, though it follows our OR24.
    """
    last, without = newest_open(facts), last_without(facts, SHIPPED)  # a debit shows the order perhaps shipped
    if last is None or without is None or debit_comes_first(facts):
        return last
    return without if age_of_kept(without) < age_of_kept(last) else last


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
