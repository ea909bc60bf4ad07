"""What the poller of a shop remembers from one run to the next. A restart loses it, which only costs repeated work."""

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from hashlib import blake2b
from typing import Final, Generic, TypeVar

#: An order that was published is not published again within this time, unless it has changed.
PUBLISHED_FOR: Final = timedelta(minutes=10)
#: An id that Mirakl did not show is asked for again after this time. Each further wait is twice as long.
FIRST_WAIT: Final = timedelta(minutes=10)
#: The longest of these waits.
LONGEST_WAIT: Final = timedelta(days=1)
#: The largest number of entries in each memory. Most shops have fewer open orders. More orders cost repeated work, and
#: no memory: a listing of Mirakl may hold millions of small orders.
MOST: Final = 20_000

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

    An entry counts for PUBLISHED_FOR.
    """

    def __init__(self) -> None:
        self._recent: _Recent[_Published] = _Recent()

    def add(self, key: str, form: str, now: datetime, *, proof: datetime | None = None) -> None:
        """Remember that `key` was published in this `form`, for example a digest.

        `proof`: if the read is a proof, the instant after which the order waited for it.
        """
        self._recent.put(key, _Published(form, proof, now))

    def has(self, key: str, form: str, now: datetime, *, proof: datetime | None = None) -> bool:
        """Whether the last publication of `key` is no older than PUBLISHED_FOR, and had this form and this proof."""
        last = self._recent.entries.get(key)
        return last is not None and (last.form, last.proof) == (form, proof) and now - last.at < PUBLISHED_FOR

    def clear(self) -> None:
        self._recent.entries.clear()


@dataclass(slots=True)
class ReadBefore:
    """Id and digest of the orders that this run and the run before read, by a hash of their bytes.

    Most orders of a listing are as they were a minute ago, and reading one costs ten times as much as its hash.
    """

    _before: dict[bytes, tuple[str, str]] = field(default_factory=dict)
    _now: dict[bytes, tuple[str, str]] = field(default_factory=dict)

    def begin_run(self) -> None:
        """Forget the orders that the run before did not read."""
        self._before, self._now = self._now, {}

    def find(self, raw: bytes, parse: Callable[[bytes], tuple[str, str]]) -> tuple[str, str]:
        """The id and the digest of this order, from the run before or from `parse`."""
        key = blake2b(raw, digest_size=16).digest()
        found = self._now.get(key) or self._before.get(key) or parse(raw)
        if len(self._now) < MOST:
            self._now[key] = found
        return found


@dataclass(frozen=True, slots=True)
class _Asked:
    at: datetime
    wait: timedelta


class AskedInVain:
    """Order ids that Mirakl did not show when a run asked for them, each with the wait until it is asked for again.

    The OMS may report on orders that are not of this shop. If each run asked for all of them, it would not get to those
    of this shop.
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
