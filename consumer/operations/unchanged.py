"""Whether an order is still as a person saw it before a decision."""

from dataclasses import replace
from typing import Any, Final

from adapters.store.orders import OrderRow
from statemachine.facts import EPOCH, Facts, Snapshot

#: What reads and the clock write though they show nothing new: when a read began, and what a call of ours met.
_NOT_SEEN: Final[dict[str, Any]] = {
    "shipped_update": EPOCH,
    "troubles": (),
    "recoveries": (),
    "receipts": (),
    "not_shown": (),
    "last_open": None,
    "first_shipped": None,
    "last_underway": None,
    "seen": (),
    "stops": (),
    "stops_read": (),
    "not_found": (),
    "clock": EPOCH,
}


def is_as_seen(before: OrderRow, after: OrderRow) -> bool:
    """Whether nothing changed that a person was shown, or that decides what a decision does.

    A read that shows what the one before showed, the passing of time, and another failure of a call change nothing of
    that: if they lead to another reason or state, that is compared.
    """
    return before.version == after.version or _seen(before) == _seen(after)


def _seen(row: OrderRow) -> tuple[Any, ...]:
    return row.state, row.quarantine, row.attention, row.deadline, _without_times(row.facts)


def _without_times(facts: Facts) -> Facts:
    return replace(facts, snapshot=_content(facts.snapshot), unknown=_content(facts.unknown), **_NOT_SEEN)


def _content(read: Snapshot | None) -> Snapshot | None:
    """The read without its dates and without the digest, which changes with them."""
    return read and replace(read, updated_at=EPOCH, read_at=EPOCH, digest="")
