"""The metrics that are read from the store when Prometheus asks: gauges, and the totals of objectives.

Because they come from the store, a restart does not reset them, and all processes show the same. They are some seconds
old, and older while the store does not answer: orderflow_store_scrape_timestamp_seconds says when they were read.
"""

import threading
from collections import Counter as Tally
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import product
from typing import Final

import structlog
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from adapters.errors import OrderflowError
from adapters.ports import Clock
from adapters.store import budgets as budget_rows
from adapters.store import objectives as objective_rows
from adapters.store import shops as shop_rows
from adapters.store.budgets import BudgetWindow
from adapters.store.counts import LIVE_STATES, StoredCounts, Waiting, stored_counts, unconfigured
from adapters.store.dead_letters import split_source
from adapters.store.objectives import ObjectiveResult
from adapters.store.shops import ShopRow
from adapters.store.transaction import Store
from consumer.metrics.definitions import METRICS, Type
from consumer.metrics.labels import COMMANDS, COUNTED, DEAD_LETTER_REASONS, known
from consumer.metrics.presets import Series
from statemachine.commands import CommandKind
from statemachine.objectives import Objective

log = structlog.get_logger("orderflow")

#: The store is read no more than once in this time, even if several Prometheus servers ask.
READ_EVERY_SECONDS: Final = 5.0
#: How long a scrape waits for the store. Then it shows the numbers of the read before, and the read goes on.
WAIT_SECONDS: Final = 0.08
#: How long a scrape waits until, for the first time, the store is slow: before the first read there are no numbers.
FIRST_WAIT_SECONDS: Final = 1.0
#: A store that takes longer for a read is slow.
SLOW_SECONDS: Final = 0.25


@dataclass(frozen=True, slots=True)
class AccountBudget:
    """How many calls an account may make."""

    account: str  # as the store names it
    windows: Sequence[BudgetWindow]


class StoredGauges(Collector):
    """Collects the gauges that are read from the store. To be registered in a Recorder's registry."""

    def __init__(
        self,
        store: Store,
        clock: Clock,
        shops: Collection[str],
        budgets: Mapping[str, AccountBudget] | None = None,
        *,
        wait_seconds: float = FIRST_WAIT_SECONDS,
    ) -> None:
        """`shops`: the configured ones. A shop that left the configuration stays in the store, and would otherwise
        have its series, and the alerts on them, for ever. `budgets`: the budget at the OMS of each shop.

        `wait_seconds`: how long a scrape waits for the store. After the first read that was slow, or was not over in
        that time, it is WAIT_SECONDS.
        """
        self._wait_seconds = wait_seconds
        self._store = store
        self._clock = clock
        self._shops = frozenset(shops)
        self._budgets = budgets or {}
        self._lock = threading.Lock()  # never held while the store is read
        self._is_idle = threading.Event()  # no read is under way
        self._is_idle.set()
        self._read_at = float("-inf")  # on the monotonic clock
        self._latest: tuple[list[Metric], float] = ([], 0.0)  # the gauges, and when they were read

    def describe(self) -> Iterable[Metric]:
        return []  # so that registering reads nothing

    def collect(self) -> Iterator[Metric]:
        with self._lock:
            if self._is_idle.is_set() and self._clock.monotonic() - self._read_at >= READ_EVERY_SECONDS:
                self._is_idle.clear()
                threading.Thread(target=self._read_again, name="stored gauges", daemon=True).start()
        if not self._is_idle.wait(self._wait_seconds):
            self._wait_seconds = min(self._wait_seconds, WAIT_SECONDS)
        families, scraped_at = self._latest
        yield from families
        yield _family("orderflow_store_scrape_timestamp_seconds", {(): scraped_at})

    def _read_again(self) -> None:
        """Read the gauges. After an error the old numbers stay, and orderflow_store_scrape_timestamp_seconds shows how
        old they are."""
        began = self._clock.monotonic()
        try:
            families = [_family(name, values) for name, values in self._read().items()]
            self._latest = families, self._clock.now().timestamp()
            self._read_at = self._clock.monotonic()
            if self._read_at - began > SLOW_SECONDS:
                self._wait_seconds = min(self._wait_seconds, WAIT_SECONDS)
        except OrderflowError:
            pass
        except Exception as error:
            log.error("store_not_counted", error=type(error).__name__)
        finally:
            self._is_idle.set()

    def _read(self) -> dict[str, Mapping[Series, float]]:
        """Return the series of every gauge, by the gauge's name. Raises StoreUnavailable."""
        counts = stored_counts(self._store)
        shops = [row for row in shop_rows.list_all(self._store) if row.name in self._shops]
        return (
            _of_orders(counts, shops)
            | _of_commands(counts, shops)
            | _of_records(counts)
            | self._deadlines()
            | {
                "orderflow_budget_left": self._budget_left(),
                "orderflow_slo_total": self._objectives(shops),
                "orderflow_unconfigured_orders": {(): float(self._unconfigured(counts))},
                "orderflow_poll_watermark_timestamp_seconds": {
                    (shop.name,): _seconds(shop.watermark) for shop in shops
                },
            }
        )

    def _objectives(self, shops: list[ShopRow]) -> Mapping[Series, float]:
        totals = objective_rows.totals(self._store)
        series = [ObjectiveResult(shop.name, *pair) for shop in shops for pair in product(Objective, COUNTED)]
        return {(one.shop, one.objective, one.result): float(totals.get(one, 0)) for one in series}

    def _deadlines(self) -> dict[str, Mapping[Series, float]]:
        stored = objective_rows.deadlines(self._store, self._clock.now())
        found = {key: one for key, one in stored.items() if key[0] in self._shops}
        return {
            "orderflow_next_deadline_timestamp_seconds": {key: _seconds(one.nearest) for key, one in found.items()},
            "orderflow_overdue": {key: float(one.overdue) for key, one in found.items()},
        }

    def _unconfigured(self, counts: StoredCounts) -> int:
        """How many orders are open of shops that are not configured: no other series has them."""
        return sum(waiting.count for waiting in unconfigured(counts, self._shops).values())

    def _budget_left(self) -> Mapping[Series, float]:
        windows = [(budget.account, window) for budget in self._budgets.values() for window in budget.windows]
        used = budget_rows.used(self._store, windows, self._clock.now())
        return {
            ("oms", shop, window.name): float(window.calls - used.get((budget.account, window.name), 0))
            for shop, budget in self._budgets.items()
            for window in budget.windows
        }


def _of_orders(counts: StoredCounts, shops: list[ShopRow]) -> dict[str, Mapping[Series, float]]:
    names = {shop.name for shop in shops}
    found = {
        (shop.name, state): counts.in_state.get((shop.name, state), Waiting())
        for shop in shops
        for state in LIVE_STATES
    }
    attention = {key: waiting for key, waiting in counts.attention.items() if key[0] in names}
    return {
        "orderflow_in_state": {key: float(waiting.count) for key, waiting in found.items()},
        "orderflow_oldest_entered_timestamp_seconds": {key: _seconds(waiting.oldest) for key, waiting in found.items()},
        "orderflow_attention": {key: float(waiting.count) for key, waiting in attention.items()},
        "orderflow_attention_oldest_timestamp_seconds": {
            key: _seconds(waiting.oldest) for key, waiting in attention.items()
        },
    }


def _of_commands(counts: StoredCounts, shops: list[ShopRow]) -> dict[str, Mapping[Series, float]]:
    is_on = {
        (shop.name, str(kind)): shop.effects and kind.group not in shop.paused for shop in shops for kind in CommandKind
    }
    names = {"", *(shop.name for shop in shops)}  # "": older code opened the command, and named no shop
    open_commands: dict[Series, float] = {(kind,): 0.0 for kind in COMMANDS}
    oldest: dict[Series, float] = {(kind,): 0.0 for kind in COMMANDS}
    for (shop, kind), waiting in counts.commands.items():
        if shop not in names:
            continue
        open_commands[(kind,)] += waiting.count
        if is_on.get((shop, kind), True):
            opened_at = _seconds(waiting.oldest)
            oldest[(kind,)] = min(oldest[(kind,)] or opened_at, opened_at)
    return {
        "orderflow_commands_open": open_commands,
        "orderflow_commands_oldest_due_timestamp_seconds": oldest,
        "orderflow_effects_enabled": {series: float(on) for series, on in is_on.items()},
    }


def _of_records(counts: StoredCounts) -> dict[str, Mapping[Series, float]]:
    dead_letters: Tally[Series] = Tally()
    for (source, reason), count in counts.dead_letters.items():
        came_by, _ = split_source(source)
        dead_letters[came_by, known(reason, DEAD_LETTER_REASONS)] += count
    return {
        "orderflow_dead_letters_open": {key: float(count) for key, count in dead_letters.items()},
        "orderflow_outbox_unpublished": {(topic,): float(waiting.count) for topic, waiting in counts.outbox.items()},
        "orderflow_outbox_oldest_timestamp_seconds": {
            (topic,): _seconds(waiting.oldest) for topic, waiting in counts.outbox.items()
        },
    }


def _family(name: str, values: Mapping[Series, float]) -> Metric:
    definition = METRICS[name]
    made = CounterMetricFamily if definition.type is Type.COUNTER else GaugeMetricFamily
    family = made(name, definition.meaning, labels=list(definition.labels))
    for labels, value in values.items():
        family.add_metric(list(labels), value)
    return family


def _seconds(at: datetime | None) -> float:
    return at.timestamp() if at else 0.0
