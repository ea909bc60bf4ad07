"""The gauges that are read from the store when Prometheus asks.

They survive a restart and cannot drift from what is stored.
"""

import threading
from collections import Counter as Tally
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Final

from prometheus_client.core import GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from adapters.errors import OrderflowError
from adapters.ports import Clock
from adapters.store import views
from adapters.store.transaction import Store
from consumer.metrics.definitions import COMMANDS, DEAD_LETTER_REASONS, LIVE_STATES, METRICS, Series, known
from statemachine.commands import CommandKind

#: The store is read at most this often, however many ask.
READ_EVERY_SECONDS: Final = 5.0


#: An account at the OMS, and its (window, length, calls).
Budget = tuple[str, Sequence[tuple[str, timedelta, int]]]


class StoredGauges(Collector):
    """Register it in a Recorder's registry."""

    def __init__(self, store: Store, clock: Clock, budgets: Mapping[str, Budget] | None = None) -> None:
        """`budgets`: of each shop, at the OMS."""
        self._store = store
        self._clock = clock
        self._budgets = budgets or {}
        self._lock = threading.Lock()
        self._read_at = float("-inf")  # on the monotonic clock
        self._families: list[Metric] = []
        self._scraped_at = 0.0

    def describe(self) -> Iterable[Metric]:
        return []  # so that registering reads nothing

    def collect(self) -> Iterator[Metric]:
        with self._lock:
            if self._clock.monotonic() - self._read_at >= READ_EVERY_SECONDS:
                try:
                    self._families = [_family(name, values) for name, values in self._read().items()]
                    self._read_at = self._clock.monotonic()
                    self._scraped_at = self._clock.now().timestamp()
                except OrderflowError:
                    pass  # the old numbers stay, and orderflow_store_scrape_timestamp_seconds shows how old they are
            families, scraped_at = self._families, self._scraped_at
        yield from families
        yield _family("orderflow_store_scrape_timestamp_seconds", {(): scraped_at})

    def _read(self) -> dict[str, Mapping[Series, float]]:
        """Name and series of every gauge. Raises StoreUnavailable."""
        counts, shops = views.stored_counts(self._store), views.shops(self._store)
        return (
            _of_orders(counts, shops)
            | _of_commands(counts, shops)
            | _of_records(counts)
            | {
                "orderflow_budget_left": self._budget_left(),
                "orderflow_poll_watermark_timestamp_seconds": {
                    (shop.name,): _seconds(shop.watermark) for shop in shops
                },
            }
        )

    def _budget_left(self) -> Mapping[Series, float]:
        used = views.budgets(self._store, self._clock.now())
        return {
            ("oms", shop, window): float(calls - used.get((account, window), 0))
            for shop, (account, windows) in self._budgets.items()
            for window, _, calls in windows
        }


def _of_orders(counts: views.StoredCounts, shops: list[views.ShopView]) -> dict[str, Mapping[Series, float]]:
    none = (0, None)
    found = {
        (shop.name, state): counts.in_state.get((shop.name, state), none) for shop in shops for state in LIVE_STATES
    }
    return {
        "orderflow_in_state": {key: float(count) for key, (count, _) in found.items()},
        "orderflow_oldest_entered_timestamp_seconds": {key: _seconds(oldest) for key, (_, oldest) in found.items()},
        "orderflow_attention": {key: float(count) for key, (count, _) in counts.attention.items()},
        "orderflow_attention_oldest_timestamp_seconds": {
            key: _seconds(since) for key, (_, since) in counts.attention.items()
        },
    }


def _of_commands(counts: views.StoredCounts, shops: list[views.ShopView]) -> dict[str, Mapping[Series, float]]:
    found = {kind: counts.commands.get(kind, (0, None)) for kind in COMMANDS}
    return {
        "orderflow_commands_open": {(kind,): float(count) for kind, (count, _) in found.items()},
        "orderflow_commands_oldest_due_timestamp_seconds": {
            (kind,): _seconds(oldest) for kind, (_, oldest) in found.items()
        },
        "orderflow_effects_enabled": {
            (shop.name, kind): float(shop.effects and kind.group not in shop.paused)
            for shop in shops
            for kind in CommandKind
        },
    }


def _of_records(counts: views.StoredCounts) -> dict[str, Mapping[Series, float]]:
    dead_letters: Tally[Series] = Tally()
    for (source, reason), count in counts.dead_letters.items():
        dead_letters[source.partition(":")[0], known(reason, DEAD_LETTER_REASONS)] += count
    return {
        "orderflow_dead_letters_open": {key: float(count) for key, count in dead_letters.items()},
        "orderflow_outbox_unpublished": {(topic,): float(count) for topic, (count, _) in counts.outbox.items()},
        "orderflow_outbox_oldest_timestamp_seconds": {
            (topic,): _seconds(oldest) for topic, (_, oldest) in counts.outbox.items()
        },
    }


def _family(name: str, values: Mapping[Series, float]) -> Metric:
    definition = METRICS[name]
    family = GaugeMetricFamily(name, definition.meaning, labels=list(definition.labels))
    for labels, value in values.items():
        family.add_metric(list(labels), value)
    return family


def _seconds(at: datetime | None) -> float:
    return at.timestamp() if at else 0.0
