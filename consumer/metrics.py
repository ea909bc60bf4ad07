"""Every metric of the service, created here and nowhere else, once, at start-up.

Names are a contract (docs/metrics.md is made from this file). `shop` is a label on counters and gauges alone; label
values come from closed sets, and anything else becomes `other`.
"""

import platform
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, disable_created_metrics
from prometheus_client.core import GaugeMetricFamily, InfoMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from adapters import views
from adapters.ports import Clock, OrderflowError, Record
from adapters.store import DeadLetter, Store
from consumer.apply import REPEATED, Applied
from consumer.poller import Yield
from consumer.retry import RESULTS, Account
from statemachine.commands import KINDS
from statemachine.machine import NO_EDGE
from statemachine.states import STATES
from statemachine.table import TABLE

#: Handling, in seconds: the OpenTelemetry messaging boundaries.
HANDLING: Final = (0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10)
#: Waiting, in seconds: from 1 s to 14 days.
WAITING: Final = (1, 5, 15, 60, 300, 900, 3600, 14400, 43200, 86400, 172800, 259200, 432000, 604800, 1209600)
#: Outcomes that alerts read, so that they exist from the start.
ALERTED_OUTCOMES: Final = ("401", "403", "429", "5xx")
#: The stored-order gauges are read at most this often.
STOCK_SECONDS: Final = 5.0

disable_created_metrics()  # type: ignore[no-untyped-call]


class Metrics:
    """The metrics of one process."""

    def __init__(self, shops: Mapping[str, float], version: str, clock: Clock) -> None:
        """`shops`: each name with its poll interval in seconds."""
        self.registry = registry = CollectorRegistry()
        self._clock = clock
        self.transitions = Counter(
            "orderflow_transitions", "Edges taken.", ["shop", "from_state", "to_state", "trigger"], registry=registry
        )
        self.rejected = Counter(
            "orderflow_transitions_rejected",
            "Events whose facts want a state that no row of the table leads to. 0 in health.",
            ["from_state", "trigger", "reason"],
            registry=registry,
        )
        self.state_duration = Histogram(
            "orderflow_state_duration_seconds",
            "Time spent in a state, observed on leaving it.",
            ["state"],
            buckets=WAITING,
            registry=registry,
        )
        self.events = Counter(
            "orderflow_events", "Events from the log by what they did.", ["topic", "type", "result"], registry=registry
        )
        self.event_delay = Histogram(
            "orderflow_event_delay_seconds",
            "From the time of an event to the commit of what it did.",
            ["topic"],
            buckets=WAITING,
            registry=registry,
        )
        self.commands = Counter(
            "orderflow_commands", "Tries of outgoing calls by result.", ["command", "result"], registry=registry
        )
        self.api_requests = Counter(
            "orderflow_api_requests",
            "Calls to Mirakl and the OMS.",
            ["system", "shop", "operation", "outcome"],
            registry=registry,
        )
        self.api_seconds = Histogram(
            "orderflow_api_request_seconds",
            "Duration of calls to Mirakl and the OMS.",
            ["system", "operation"],
            buckets=HANDLING,
            registry=registry,
        )
        self.poll_success = Gauge(
            "orderflow_poll_last_success_timestamp_seconds", "End of the last whole poll.", ["shop"], registry=registry
        )
        self.poll_interval = Gauge(
            "orderflow_poll_interval_seconds", "How often the shop is to be polled.", ["shop"], registry=registry
        )
        self.poll_seconds = Histogram(
            "orderflow_poll_seconds", "Duration of a poll.", buckets=HANDLING, registry=registry
        )
        self.poll_orders = Counter(
            "orderflow_poll_orders",
            "Orders that polls read: new, changed (or a proof), same.",
            ["shop", "result"],
            registry=registry,
        )
        self.poll_failures = Counter(
            "orderflow_poll_failures", "Polls that did not end.", ["shop", "reason"], registry=registry
        )
        self.dead_letters = Counter(
            "orderflow_dead_letters", "What was set aside.", ["source", "reason"], registry=registry
        )
        self.callbacks = Counter(
            "orderflow_callbacks", "Callbacks of the OMS by answer.", ["shop", "result"], registry=registry
        )
        self.beat = Gauge(
            "orderflow_loop_beat_timestamp_seconds", "Last turn of each loop.", ["loop"], registry=registry
        )
        self.log_messages = Counter("orderflow_log_messages", "Log lines.", ["level"], registry=registry)
        self._build = {"version": version, "python": platform.python_version()}
        self._prepare(shops)

    def _prepare(self, shops: Mapping[str, float]) -> None:
        """A counter that is born at 1 shows no increase: make what alerts read, now."""
        for shop, interval in shops.items():
            self.poll_interval.labels(shop).set(interval)
            self.poll_success.labels(shop).set(0)
            for edge in TABLE:
                for trigger in edge.on:
                    self.transitions.labels(shop, edge.source, edge.target, trigger)
            for system, operation in (("mirakl", "OR11"), *((_system(op), op) for _, _, op in KINDS)):
                for outcome in ALERTED_OUTCOMES:
                    self.api_requests.labels(system, shop, operation, outcome)
        for kind, _, _ in KINDS:
            for result in RESULTS:
                self.commands.labels(kind, result)
        for level in ("info", "warning", "error"):
            self.log_messages.labels(level)

    # -- Told by the loops ---------------------------------------------------------------------------------------

    def applied(self, one: Applied) -> None:
        """Every event, after its commit."""
        if one.moved:
            self.transitions.labels(one.order.shop, one.before, one.order.state, one.event.trigger).inc()
            self.state_duration.labels(one.before).observe(one.seconds_in_before)
        elif one.result == NO_EDGE:
            self.rejected.labels(one.before, one.event.trigger, NO_EDGE).inc()

    def batch(
        self,
        topics: Mapping[str, str],
        records: Sequence[Record],
        applied: Sequence[Applied],
        letters: Sequence[DeadLetter],
    ) -> None:
        """A consumer's batch; `topics` names the topic of each kind of event."""
        now = self._clock.now()
        for one in applied:
            topic = topics[one.event.trigger]
            self.events.labels(topic, one.event.trigger, one.result).inc()
            if one.result != REPEATED:
                self.event_delay.labels(topic).observe(max(0.0, (now - one.event.at).total_seconds()))
        for letter in letters:
            self.events.labels(letter.source, "unreadable", "set_aside").inc()
            self.dead_letters.labels(letter.source, letter.reason).inc()
        skipped = len(records) - len(applied) - len(letters)
        if skipped > 0:
            self.events.labels(records[0].place.topic, "tombstone", "skipped").inc(skipped)

    def polled(self, shop: str, outcome: Yield, seconds: float) -> None:
        self.poll_seconds.observe(seconds)
        if outcome.complete:
            self.poll_success.labels(shop).set(self._clock.now().timestamp())
        for result, count in (("new", outcome.new), ("changed", outcome.changed), ("same", outcome.same)):
            self.poll_orders.labels(shop, result).inc(count)
        for reason, count in outcome.set_aside.items():
            self.dead_letters.labels(f"poll:{shop}", reason).inc(count)

    def called(self, shop: str, system: str, operation: str, outcome: str, seconds: float) -> None:
        self.api_requests.labels(system, shop, operation, outcome).inc()
        self.api_seconds.labels(system, operation).observe(seconds)

    def beats(self, loop: str) -> None:
        self.beat.labels(loop).set(self._clock.now().timestamp())

    def watch(self, store: Store, accounts: Mapping[tuple[str, str], Account]) -> None:
        """Add the gauges that are read from the store when somebody asks."""
        self.registry.register(_StockGauges(store, accounts, self._clock, self._build))


def _system(operation: str) -> str:
    return "oms" if operation.startswith("POST") else "mirakl"


class _StockGauges(Collector):
    """What is stored now: read at collection, so that it survives restarts and cannot drift."""

    def __init__(
        self,
        store: Store,
        accounts: Mapping[tuple[str, str], Account],
        clock: Clock,
        build: dict[str, str],
    ) -> None:
        self._store = store
        self._accounts = accounts
        self._clock = clock
        self._build = build
        self._lock = threading.Lock()
        self._read_at = float("-inf")
        self._families: list[Metric] = []

    def describe(self) -> Iterable[Metric]:
        return []  # nothing is read while it is registered

    def collect(self) -> Iterator[Metric]:
        with self._lock:
            if self._clock.monotonic() - self._read_at >= STOCK_SECONDS:
                try:
                    self._families = list(self._read())
                    self._read_at = self._clock.monotonic()
                except OrderflowError:
                    pass  # the families stay as they were; store_scrape_timestamp says how old they are
            yield from self._families
        yield InfoMetricFamily("orderflow_build", "What runs here.", value=self._build)
        yield from self._account_gauges()

    def _read(self) -> Iterator[Metric]:
        stock, shops = views.stock(self._store), views.shops(self._store)
        live = [state for state in STATES if state not in ("refused", "canceled")]
        every = [(shop.name, state) for shop in shops for state in live]
        in_state = {key: stock.in_state.get(key) for key in every}
        yield _gauge(
            "orderflow_in_state",
            "Orders in each state, the dead ones left out.",
            ["shop", "state"],
            {key: float(found[0]) if found else 0.0 for key, found in in_state.items()},
        )
        yield _gauge(
            "orderflow_oldest_entered_timestamp_seconds",
            "When the oldest order of a state came into it; 0 where there is none.",
            ["shop", "state"],
            {key: _seconds(found[1]) if found else 0.0 for key, found in in_state.items()},
        )
        yield _gauge(
            "orderflow_attention",
            "Orders that need a person.",
            ["shop", "reason"],
            {key: float(count) for key, (count, _) in stock.attention.items()},
        )
        yield _gauge(
            "orderflow_attention_oldest_timestamp_seconds",
            "Since when the longest of them does.",
            ["shop", "reason"],
            {key: _seconds(since) for key, (_, since) in stock.attention.items()},
        )
        kinds = [kind for kind, _, _ in KINDS]
        found_commands = {kind: stock.commands.get(kind) for kind in kinds}
        yield _gauge(
            "orderflow_commands_open",
            "Calls that are due or under way.",
            ["command"],
            {(kind,): float(found[0]) if found else 0.0 for kind, found in found_commands.items()},
        )
        yield _gauge(
            "orderflow_commands_oldest_due_timestamp_seconds",
            "When the oldest of them was due; 0 where there is none.",
            ["command"],
            {(kind,): _seconds(found[1]) if found else 0.0 for kind, found in found_commands.items()},
        )
        yield _gauge(
            "orderflow_dead_letters_open",
            "What was set aside and nobody has handled.",
            ["source", "reason"],
            {key: float(count) for key, count in stock.dead_letters.items()},
        )
        yield _gauge(
            "orderflow_effects_enabled",
            "1 where calls of this kind are made, 0 while they are off or paused.",
            ["shop", "command"],
            {
                (shop.name, kind): float(shop.effects and group not in shop.paused)
                for shop in shops
                for kind, group, _ in KINDS
            },
        )
        yield _gauge(
            "orderflow_poll_watermark_timestamp_seconds",
            "How far the incremental read of a shop has come; 0 before the first.",
            ["shop"],
            {(shop.name,): _seconds(shop.watermark) if shop.watermark else 0.0 for shop in shops},
        )
        yield _gauge(
            "orderflow_store_scrape_timestamp_seconds",
            "When these numbers were read.",
            [],
            {(): self._clock.now().timestamp()},
        )

    def _account_gauges(self) -> Iterator[Metric]:
        now = self._clock.now()
        yield _gauge(
            "orderflow_account_paused",
            "1 while a remote account rests.",
            ["system", "shop"],
            {(system, shop): float(a.is_resting(now)) for (shop, system), a in self._accounts.items()},
        )
        yield _gauge(
            "orderflow_circuit_open",
            "1 while several different orders in a row found no answer there.",
            ["system", "shop"],
            {(system, shop): float(a.circuit_is_open()) for (shop, system), a in self._accounts.items()},
        )


def _gauge(name: str, text: str, labels: list[str], values: Mapping[tuple[str, ...], float]) -> Metric:
    family = GaugeMetricFamily(name, text, labels=labels)
    for key, value in values.items():
        family.add_metric(list(key), value)
    return family


def _seconds(at: datetime) -> float:
    return at.timestamp()
