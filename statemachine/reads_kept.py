"""What an order keeps of reads that are not its newest one."""

from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True, slots=True, order=True)
class NotShown:
    """A read that did not show what the newest read shows (occurrences.py). The other fields tell its age."""

    what: str
    updated_at: datetime
    rank: int
    has_address: bool
    read_at: datetime
