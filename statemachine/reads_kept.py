"""What an order keeps of reads that are not its newest one."""

from dataclasses import dataclass
from datetime import datetime
from typing import Final

#: The name of that the order is shipped, in `Facts.stops` and `Facts.stops_read` (stops.py).
SHIPPED: Final = "shipped"


@dataclass(frozen=True, slots=True, order=True)
class NotShown:
    """A read that did not show what the newest read shows (occurrences.py). The other fields tell its age."""

    what: str
    updated_at: datetime
    rank: int
    has_address: bool
    read_at: datetime


@dataclass(frozen=True, slots=True, order=True)
class LastOpen:
    """The newest read before the shipment, or the oldest one after it (before_shipment.py). The first five fields are
    its age (`age_of`)."""

    updated_at: datetime
    rank: int
    has_address: bool
    read_at: datetime
    digest: str
    #: In the facts: only those (name, digest) of its contents that the newest read shows otherwise, "" for a name that
    #: this read did not show.
    contents: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True, order=True)
class Shown:
    """The newest read before the shipment that showed this value (other_values.py). The last four fields tell its
    age."""

    name: str
    value: str
    updated_at: datetime
    rank: int
    has_address: bool
    read_at: datetime
