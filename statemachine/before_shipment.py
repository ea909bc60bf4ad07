"""Which read is compared with what the OMS got: the newest one before the shipment.

Mirakl removes the data of customers some time after the shipment. So what a read after it shows of an address is no
change. But what changed before the shipment still needs a person after it: the parcel went to the old address. So the
facts keep the contents of the newest read before the shipment, once a later one shows the order shipped or at its end.
"""

from collections.abc import Iterable
from dataclasses import replace
from typing import Final

from statemachine.asked_once import asked_once
from statemachine.facts import (
    AFTER_SHIPPING,
    DEBIT,
    FINAL,
    PAY_ON_DELIVERY,
    PAY_ON_DUE_DATE,
    Facts,
    Snapshot,
    age_of,
)
from statemachine.reads_kept import LastOpen

_Contents = tuple[tuple[str, str], ...]
#: Among the contents of these reads, followed by the id of a line: the number of its pieces.
PIECES: Final = "pieces of "


def is_before_shipment(read: Snapshot) -> bool:
    """Whether this read shows the order before its shipment. A debit with a `shipped_date` follows the shipment, and so
    may any debit in two of the workflows."""
    if read.state in DEBIT:
        return read.workflow not in (PAY_ON_DELIVERY, PAY_ON_DUE_DATE) and not any(line.shipped for line in read.lines)
    return read.state not in (*AFTER_SHIPPING, *FINAL)


def last_open(newest: Snapshot | None, *known: Facts) -> LastOpen | None:
    """The newest read before the shipment. `known`: the facts that are joined.

    None while the newest read is such a read, because it says all, and if an earlier version stored the newest read.
    """
    if newest is None or not newest.is_compared or is_before_shipment(newest):
        return None
    last = max(_last_of(known), default=None)
    return last and replace(last, contents=_apart(last.contents, contents_of(newest)))


def _last_of(known: Iterable[Facts]) -> list[LastOpen]:
    """Of each of these the newest read before the shipment, if it is known, with all its contents."""
    return [last for facts in known if (last := compared(facts))]


@asked_once
def compared(facts: Facts) -> LastOpen | None:
    """The newest read before the shipment, with all its contents. None: it is not known, because an earlier version
    stored the order as shipped, or no read showed the order earlier."""
    if facts.snapshot is None:
        return None
    if is_before_shipment(facts.snapshot):
        return LastOpen(*age_of(facts.snapshot), contents_of(facts.snapshot))
    return facts.last_open and _whole(facts.last_open, contents_of(facts.snapshot))


def contents_of(read: Snapshot) -> _Contents:
    """The contents of a read, with the pieces of its lines."""
    pieces = {PIECES + line.id: "?" if line.quantity is None else f"{line.quantity}" for line in read.lines}
    return tuple(sorted((dict(read.contents) | pieces).items()))


def _apart(contents: _Contents, shown: _Contents) -> _Contents:
    """Those of the contents that are shown otherwise. Data that Mirakl has not removed yet need no room."""
    mine, other = dict(contents), dict(shown)
    return tuple(sorted((name, mine.get(name, "")) for name in mine | other if mine.get(name) != other.get(name)))


def _whole(last: LastOpen, shown: _Contents) -> LastOpen:
    both = dict(shown) | dict(last.contents)
    return replace(last, contents=tuple(sorted((name, digest) for name, digest in both.items() if digest)))
