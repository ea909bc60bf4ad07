"""What the poller of a shop remembers from one run to the next. Lost with the process, and nothing depends on it."""

from collections import OrderedDict
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final, Generic, TypeVar

#: What was published is not published again, unchanged, for this long.
PUBLISHED_FOR: Final = timedelta(minutes=10)
#: An id that Mirakl did not show is asked for again after this time, then after twice as long each time ...
FIRST_WAIT: Final = timedelta(minutes=10)
#: ... up to this.
LONGEST_WAIT: Final = timedelta(days=1)
#: Entries of each memory: far more than one shop has open orders, so that entries end by their age.
MOST: Final = 1_000_000

V = TypeVar("V")


class _Recent(Generic[V]):
    """The entries that were written last, at most MOST of them."""

    def __init__(self) -> None:
        self.entries: OrderedDict[str, V] = OrderedDict()

    def put(self, key: str, value: V) -> None:
        self.entries[key] = value
        self.entries.move_to_end(key)
        while len(self.entries) > MOST:
            self.entries.popitem(last=False)


@dataclass(frozen=True, slots=True)
class _Published:
    form: str
    proof: datetime | None
    at: datetime


class PublishedMemory:
    """What was published in the last minutes, so that a run publishes nothing twice while the consumer is stopped.

    An entry ends by its age: what the consumer dead-lettered is published again from time to time.
    """

    def __init__(self) -> None:
        self._recent: _Recent[_Published] = _Recent()

    def add(self, key: str, form: str, now: datetime, *, proof: datetime | None = None) -> None:
        """`key` was published in this `form` (a digest, say), and as the proof that was due after `proof`."""
        self._recent.put(key, _Published(form, proof, now))

    def has(self, key: str, form: str, now: datetime, *, proof: datetime | None = None) -> bool:
        """Whether `key` was published lately, last in this very form and as this very proof."""
        last = self._recent.entries.get(key)
        return last is not None and (last.form, last.proof) == (form, proof) and now - last.at < PUBLISHED_FOR

    def clear(self) -> None:
        self._recent.entries.clear()


@dataclass(frozen=True, slots=True)
class _Asked:
    at: datetime
    wait: timedelta


class AskedInVain:
    """Order ids that Mirakl did not show when a run asked for them, each with the wait until it is asked for again.

    The OMS may report on orders that are not of this shop. They must not crowd out those that are.
    """

    def __init__(self) -> None:
        self._recent: _Recent[_Asked] = _Recent()

    def is_due(self, order_id: str, now: datetime) -> bool:
        asked = self._recent.entries.get(order_id)
        return asked is None or now - asked.at >= asked.wait

    def shown(self, order_id: str) -> None:
        """Mirakl shows this order."""
        self._recent.entries.pop(order_id, None)

    def not_shown(self, order_id: str, now: datetime) -> None:
        """Mirakl was asked for this order, and does not show it."""
        asked = self._recent.entries.get(order_id)
        wait = min(2 * asked.wait, LONGEST_WAIT) if asked else FIRST_WAIT
        self._recent.put(order_id, _Asked(now, wait))
