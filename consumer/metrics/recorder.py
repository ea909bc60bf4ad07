"""Every metric of the service, created here and nowhere else, once, at start-up.

Names are a contract (docs/metrics.md is made from this file). `shop` is a label on counters and gauges alone; label
values come from closed sets, and anything else becomes `other`.
"""

import platform
import threading
from collections import Counter as Tally
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Final, NamedTuple

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, disable_created_metrics
from prometheus_client.core import GaugeMetricFamily, InfoMetricFamily
from prometheus_client.metrics import MetricWrapperBase
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from adapters.clock import SystemClock
from adapters.errors import OrderflowError, UnreadableReason
from adapters.ports import Clock, Partition, Record
from adapters.store import views
from adapters.store.transaction import DeadLetter, Store
from consumer.accounts import Account
from consumer.apply import REPEATED
from consumer.hooks import Applied, Hooks, PollResult
from consumer.poller import TOO_LARGE
from consumer.retry import RESULTS
from statemachine.attention import REASONS
from statemachine.commands import IMPORT, KINDS
from statemachine.events import OMS_EVENT, SNAPSHOT, TRIGGERS
from statemachine.machine import MOVED, NO_EDGE, NOTED, STALE
from statemachine.states import STATES
from statemachine.table import TABLE

#: Handling, in seconds: the OpenTelemetry messaging boundaries.
HANDLING: Final = (0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10)
#: Waiting, in seconds: from 1 s to 14 days.
WAITING: Final = (1, 5, 15, 60, 300, 900, 3600, 14400, 43200, 86400, 172800, 259200, 432000, 604800, 1209600)
# The closed sets of label values (docs/rules.md 35). A value that is in none of them becomes OTHER.
OTHER: Final = "other"
OUTCOMES: Final = ("2xx", "400", "401", "403", "404", "409", "429", "4xx", "5xx", "timeout", "network", "body_error")
#: Those that alerts read, so that they exist from the start.
ALERTED_OUTCOMES: Final = ("401", "403", "429", "5xx", "timeout", "network")
#: As the adapters name their calls.
OPERATIONS: Final = {
    "mirakl": ("OR11", "OR21", "OR23", "OR24", "M11", "SH21", "SH12", "PC01", "A01"),
    "oms": ("import_order",),
}
POLL_RESULTS: Final = ("new", "changed", "same")
#: Why something was set aside, and where it came from beside the topics.
SET_ASIDE: Final = (*sorted(UnreadableReason), "not_applicable", TOO_LARGE)
POLL: Final = "poll"
#: Source of a callback of the OMS that could not be read.
CALLBACK: Final = "callback"
LOG_LEVELS: Final = ("debug", "info", "warning", "error", "critical")
TOPICS: Final = ("mirakl.order-snapshots", "oms.order-events")
#: The stored-order gauges are read at most this often.
STOCK_SECONDS: Final = 5.0

#: An account, and its (span, length, calls).
Budget = tuple[str, Sequence[tuple[str, timedelta, int]]]

disable_created_metrics()  # type: ignore[no-untyped-call]


class Metrics(Hooks):
    """The metrics of one process."""

    def __init__(self, shops: Mapping[str, float], version: str, clock: Clock, topics: Sequence[str] = TOPICS) -> None:
        """`shops`: each name with its poll interval in seconds. `topics`: of snapshots, and of the OMS's events."""
        self.registry = registry = CollectorRegistry()
        self._clock = clock
        self._topics = dict(zip((SNAPSHOT, OMS_EVENT), topics, strict=True))
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
        self.topic_stopped = Gauge(
            "orderflow_topic_stopped",
            "1 while a topic rests, because too many different keys of it were set aside.",
            ["topic"],
            registry=registry,
        )
        self.rebalances = Counter(
            "orderflow_consumer_rebalances", "Times that partitions were dealt anew.", registry=registry
        )
        self.assigned_partitions = Gauge(
            "orderflow_consumer_assigned_partitions", "Partitions that this process reads.", registry=registry
        )
        self.progress_stopped = Gauge(
            "orderflow_progress_stopped",
            "1 where the log's offsets do not fit what the store holds: `orderflow offsets list` says why.",
            ["topic", "partition"],
            registry=registry,
        )
        self.lag_records = Gauge(
            "orderflow_consumer_lag_records",
            "Records that wait, of each partition that this process reads.",
            ["topic", "partition"],
            registry=registry,
        )
        self.lag_seconds = Gauge(
            "orderflow_consumer_oldest_lag_seconds",
            "For how long at most the oldest of them has waited.",
            ["topic", "partition"],
            registry=registry,
        )
        self.leader = Gauge(
            "orderflow_leader", "1 where this process holds the lease.", ["role", "shop"], registry=registry
        )
        self.callbacks = Counter(
            "orderflow_callbacks", "Callbacks of the OMS by answer.", ["shop", "result"], registry=registry
        )
        self.beat = Gauge(
            "orderflow_loop_beat_timestamp_seconds", "Last turn of each loop.", ["loop"], registry=registry
        )
        self.log_messages = Counter("orderflow_log_messages", "Log lines.", ["level"], registry=registry)
        self._build = {"version": version, "python": platform.python_version()}
        self._prepare(shops, topics)

    def _prepare(self, shops: Mapping[str, float], topics: Collection[str]) -> None:
        """A counter that is born at 1 shows no increase: make what alerts read, now."""
        for shop, interval in shops.items():
            self._prepare_shop(shop, interval)
        for state in STATES:
            for trigger in TRIGGERS:
                self.rejected.labels(state, trigger, NO_EDGE)
        for source in (*topics, POLL, CALLBACK):
            for reason in SET_ASIDE:
                self.dead_letters.labels(source, reason)
        for kind, _, _ in KINDS:
            for result in RESULTS:
                self.commands.labels(kind, result)
        for level in LOG_LEVELS:
            self.log_messages.labels(level)
        self.topics_paused(())

    def _prepare_shop(self, shop: str, interval_seconds: float) -> None:
        self.poll_interval.labels(shop).set(interval_seconds)
        self.poll_success.labels(shop).set(0)
        for edge in TABLE:
            for trigger in edge.on:
                self.transitions.labels(shop, edge.source, edge.target, trigger)
        for result in POLL_RESULTS:
            self.poll_orders.labels(shop, result)
        for result in ("taken", "not_authentic", "unreadable"):
            self.callbacks.labels(shop, result)
        for system, operation in (("mirakl", "OR11"), *((_system(kind), name) for kind, name in CALL_OF.items())):
            for outcome in ALERTED_OUTCOMES:
                self.api_requests.labels(system, shop, operation, outcome)

    # -- Told by the loops ---------------------------------------------------------------------------------------

    def event_applied(self, applied: Applied) -> None:
        if applied.moved:
            order = applied.order
            self.transitions.labels(order.shop, applied.before, order.state, applied.event.trigger).inc()
            self.state_duration.labels(applied.before).observe(applied.seconds_in_before)
        elif applied.result == NO_EDGE:
            self.rejected.labels(applied.before, applied.event.trigger, NO_EDGE).inc()

    def batch_applied(
        self, records: Sequence[Record], applied: Sequence[Applied], dead_letters: Sequence[DeadLetter]
    ) -> None:
        now, topics = self._clock.now(), self._topics
        for one in applied:
            topic = topics[one.event.trigger]
            self.events.labels(topic, one.event.trigger, one.result).inc()
            if one.result != REPEATED:
                self.event_delay.labels(topic).observe(max(0.0, (now - one.event.at).total_seconds()))
        for letter in dead_letters:
            self.events.labels(letter.source, "unreadable", "set_aside").inc()
            self.dead_letters.labels(letter.source, _known(letter.reason, SET_ASIDE)).inc()
        left = Tally(record.partition.topic for record in records)
        left.subtract(Tally(topics[one.event.trigger] for one in applied))
        left.subtract(Tally(letter.source for letter in dead_letters))
        for topic, count in left.items():
            if count > 0:
                self.events.labels(topic, "tombstone", "skipped").inc(count)

    def command_tried(self, kind: str, result: str) -> None:
        self.commands.labels(kind, result).inc()

    def poll_ended(self, shop: str, result: PollResult, seconds: float) -> None:
        self.poll_seconds.observe(seconds)
        if result.complete:
            self.poll_success.labels(shop).set(self._clock.now().timestamp())
        for name, count in zip(POLL_RESULTS, (result.new, result.changed, result.same), strict=True):
            self.poll_orders.labels(shop, name).inc(count)
        for reason, count in result.set_aside.items():
            self.dead_letters.labels(POLL, _known(reason, SET_ASIDE)).inc(count)

    def poll_failed(self, shop: str, reason: str) -> None:
        self.poll_failures.labels(shop, reason).inc()

    def topics_paused(self, topics: Collection[str]) -> None:
        for topic in self._topics.values():
            self.topic_stopped.labels(topic).set(topic in topics)

    def partitions_assigned(self, held: Collection[Partition], mismatches: Mapping[Partition, str]) -> None:
        self.rebalances.inc()
        self.assigned_partitions.set(len(held))
        for gauge in (self.progress_stopped, self.lag_records, self.lag_seconds):
            gauge.clear()  # what is another's now is told by that one
        for partition in (*held, *mismatches):
            self.progress_stopped.labels(partition.topic, partition.number).set(partition in mismatches)

    def lag_measured(self, records: Mapping[Partition, int], seconds: Mapping[Partition, float]) -> None:
        for partition, count in records.items():
            self.lag_records.labels(partition.topic, partition.number).set(count)
            self.lag_seconds.labels(partition.topic, partition.number).set(seconds[partition])

    def leads(self, role: str, shop: str, holds: Callable[[], bool]) -> None:
        """Whether this process holds a lease, asked at each scrape: who cannot reach the store does not hear of it."""
        self.leader.labels(role, shop).set_function(holds)

    def remote_called(self, shop: str, system: str, operation: str, outcome: str, seconds: float) -> None:
        operation = _known(operation, OPERATIONS.get(system, ()))
        if operation == "PC01" and outcome == "403":
            outcome = "4xx"  # for shop admins only, and tolerated (docs/mirakl.md 5.1): no fault of the account
        self.api_requests.labels(system, shop, operation, _known(outcome, OUTCOMES)).inc()
        self.api_seconds.labels(system, operation).observe(seconds)

    def loop_turned(self, loop: str) -> None:
        self.beat.labels(loop).set(self._clock.now().timestamp())

    def watch(
        self, store: Store, accounts: Mapping[tuple[str, str], Account], budgets: Mapping[str, Budget] | None = None
    ) -> None:
        """Add the gauges that are read from the store when somebody asks. `budgets`: the OMS's, of each shop."""
        self.registry.register(_StockGauges(store, accounts, budgets or {}, self._clock, self._build))


#: The call of each kind of command, as the adapters name it.
CALL_OF: Final = {kind: "import_order" if kind == IMPORT else operation for kind, _, operation in KINDS}


def _system(kind: str) -> str:
    return "oms" if kind == IMPORT else "mirakl"


def _known(value: str, values: Collection[str]) -> str:
    return value if value in values else OTHER


#: States that an order waits in.
LIVE_STATES: Final = tuple(state for state in STATES if state not in ("refused", "canceled"))
#: Gauges that are read from the store: name, meaning, labels.
STORED: Final = {
    name: (text, labels)
    for name, text, labels in (
        ("orderflow_in_state", "Orders in each state, the dead ones left out.", ["shop", "state"]),
        (
            "orderflow_oldest_entered_timestamp_seconds",
            "When the oldest order of a state came into it; 0 where there is none.",
            ["shop", "state"],
        ),
        ("orderflow_attention", "Orders that need a person.", ["shop", "reason"]),
        (
            "orderflow_attention_oldest_timestamp_seconds",
            "Since when the longest of them does.",
            ["shop", "reason"],
        ),
        ("orderflow_commands_open", "Calls that are due or under way.", ["command"]),
        (
            "orderflow_commands_oldest_due_timestamp_seconds",
            "When the oldest of them was due; 0 where there is none.",
            ["command"],
        ),
        ("orderflow_budget_left", "Calls left of an account's published budget.", ["system", "shop", "window"]),
        ("orderflow_outbox_unpublished", "Records that the relay has not published yet.", ["topic"]),
        ("orderflow_outbox_oldest_timestamp_seconds", "Since when the oldest of them waits.", ["topic"]),
        ("orderflow_dead_letters_open", "What was set aside and nobody has handled.", ["source", "reason"]),
        (
            "orderflow_effects_enabled",
            "1 where calls of this kind are made, 0 while they are off or paused.",
            ["shop", "command"],
        ),
        (
            "orderflow_poll_watermark_timestamp_seconds",
            "How far the incremental read of a shop has come; 0 before the first.",
            ["shop"],
        ),
        (
            "orderflow_store_scrape_timestamp_seconds",
            "When the numbers about stored orders were read; 0 before the first time.",
            [],
        ),
        ("orderflow_account_paused", "1 while a remote account rests.", ["system", "shop"]),
        (
            "orderflow_circuit_open",
            "1 while several different orders in a row found no answer there.",
            ["system", "shop"],
        ),
    )
}
#: Every value that a label can have, per metric; shops, topics and what `orderflow_build_info` says are configuration.
VALUES: Final[Mapping[str, Mapping[str, Collection[str]]]] = {
    "orderflow_transitions_total": {"from_state": STATES, "to_state": STATES, "trigger": TRIGGERS},
    "orderflow_transitions_rejected_total": {"from_state": STATES, "trigger": TRIGGERS, "reason": (NO_EDGE,)},
    "orderflow_state_duration_seconds": {"state": STATES},
    "orderflow_events_total": {
        "type": (SNAPSHOT, OMS_EVENT, "unreadable", "tombstone"),
        "result": (MOVED, NOTED, STALE, NO_EDGE, REPEATED, "set_aside", "skipped"),
    },
    "orderflow_commands_total": {"command": tuple(CALL_OF), "result": RESULTS},
    "orderflow_commands_open": {"command": tuple(CALL_OF)},
    "orderflow_commands_oldest_due_timestamp_seconds": {"command": tuple(CALL_OF)},
    "orderflow_effects_enabled": {"command": tuple(CALL_OF)},
    "orderflow_api_requests_total": {
        "system": tuple(OPERATIONS),
        "operation": (*OPERATIONS["mirakl"], *OPERATIONS["oms"], OTHER),
        "outcome": (*OUTCOMES, OTHER),
    },
    "orderflow_api_request_seconds": {
        "system": tuple(OPERATIONS),
        "operation": (*OPERATIONS["mirakl"], *OPERATIONS["oms"], OTHER),
    },
    "orderflow_poll_orders_total": {"result": POLL_RESULTS},
    "orderflow_poll_failures_total": {
        "reason": (*OUTCOMES, "ConfigError", "LogUnavailable", "StoreUnavailable", "Unreadable")
    },
    "orderflow_dead_letters_total": {"source": ("a topic", POLL, CALLBACK), "reason": (*SET_ASIDE, OTHER)},
    "orderflow_dead_letters_open": {"source": ("a topic", POLL, CALLBACK), "reason": (*SET_ASIDE, OTHER)},
    "orderflow_callbacks_total": {
        "result": (
            "taken",
            "not_authentic",
            "unreadable",
            "too_large",
            "log_unavailable",
            "no_secret",
            "unknown_shop",
        )
    },
    "orderflow_in_state": {"state": LIVE_STATES},
    "orderflow_oldest_entered_timestamp_seconds": {"state": LIVE_STATES},
    "orderflow_attention": {"reason": tuple(REASONS)},
    "orderflow_attention_oldest_timestamp_seconds": {"reason": tuple(REASONS)},
    "orderflow_account_paused": {"system": tuple(OPERATIONS)},
    "orderflow_circuit_open": {"system": tuple(OPERATIONS)},
    "orderflow_loop_beat_timestamp_seconds": {"loop": ("consumer", "worker", "house", "poller")},
    "orderflow_leader": {"role": ("poller", "relay")},
    "orderflow_budget_left": {"system": ("oms",), "window": ("hour", "day")},
    "orderflow_log_messages_total": {"level": LOG_LEVELS},
}
BUILD: Final = ("orderflow_build", "What runs here.", ("version", "python"))


class _StockGauges(Collector):
    """What is stored now: read at collection, so that it survives restarts and cannot drift."""

    def __init__(
        self,
        store: Store,
        accounts: Mapping[tuple[str, str], Account],
        budgets: Mapping[str, Budget],
        clock: Clock,
        build: dict[str, str],
    ) -> None:
        self._store = store
        self._accounts = accounts
        self._budgets = budgets
        self._clock = clock
        self._build = build
        self._lock = threading.Lock()
        self._read_at = float("-inf")
        self._families: list[Metric] = []
        self._scraped_at = 0.0

    def describe(self) -> Iterable[Metric]:
        return []  # nothing is read while it is registered

    def collect(self) -> Iterator[Metric]:
        with self._lock:
            if self._clock.monotonic() - self._read_at >= STOCK_SECONDS:
                try:
                    self._families = list(self._read())
                    self._read_at = self._clock.monotonic()
                    self._scraped_at = self._clock.now().timestamp()
                except OrderflowError:
                    pass  # the families stay as they were, and the timestamp says how old they are
            families, scraped_at = self._families, self._scraped_at
        yield from families
        yield _gauge("orderflow_store_scrape_timestamp_seconds", {(): scraped_at})
        yield InfoMetricFamily(*BUILD[:2], value=self._build)
        yield from self._account_gauges()

    def _read(self) -> Iterator[Metric]:
        counts, shops = views.stored_counts(self._store), views.shops(self._store)
        every = [(shop.name, state) for shop in shops for state in LIVE_STATES]
        in_state = {key: counts.in_state.get(key) for key in every}
        letters: Tally[tuple[str, ...]] = Tally()
        for (source, reason), count in counts.dead_letters.items():
            letters[source.partition(":")[0], _known(reason, SET_ASIDE)] += count
        yield _gauge(
            "orderflow_in_state",
            {key: float(found[0]) if found else 0.0 for key, found in in_state.items()},
        )
        yield _gauge(
            "orderflow_oldest_entered_timestamp_seconds",
            {key: _seconds(found[1]) if found else 0.0 for key, found in in_state.items()},
        )
        yield _gauge(
            "orderflow_attention",
            {key: float(count) for key, (count, _) in counts.attention.items()},
        )
        yield _gauge(
            "orderflow_attention_oldest_timestamp_seconds",
            {key: _seconds(since) for key, (_, since) in counts.attention.items()},
        )
        kinds = [kind for kind, _, _ in KINDS]
        found_commands = {kind: counts.commands.get(kind) for kind in kinds}
        yield _gauge(
            "orderflow_commands_open",
            {(kind,): float(found[0]) if found else 0.0 for kind, found in found_commands.items()},
        )
        yield _gauge(
            "orderflow_commands_oldest_due_timestamp_seconds",
            {(kind,): _seconds(found[1]) if found else 0.0 for kind, found in found_commands.items()},
        )
        yield _gauge(
            "orderflow_dead_letters_open",
            {key: float(count) for key, count in letters.items()},
        )
        yield _gauge(
            "orderflow_effects_enabled",
            {
                (shop.name, kind): float(shop.effects and group not in shop.paused)
                for shop in shops
                for kind, group, _ in KINDS
            },
        )
        yield _gauge("orderflow_budget_left", dict(self._budget_left()))
        yield _gauge(
            "orderflow_outbox_unpublished", {(topic,): float(count) for topic, (count, _) in counts.outbox.items()}
        )
        yield _gauge(
            "orderflow_outbox_oldest_timestamp_seconds",
            {(topic,): _seconds(oldest) for topic, (_, oldest) in counts.outbox.items()},
        )
        yield _gauge(
            "orderflow_poll_watermark_timestamp_seconds",
            {(shop.name,): _seconds(shop.watermark) if shop.watermark else 0.0 for shop in shops},
        )

    def _budget_left(self) -> Iterator[tuple[tuple[str, ...], float]]:
        used = views.budgets(self._store, self._clock.now())
        for shop, (account, spans) in self._budgets.items():
            for span, _, calls in spans:
                yield ("oms", shop, span), float(calls - used.get((account, span), 0))

    def _account_gauges(self) -> Iterator[Metric]:
        now = self._clock.now()
        yield _gauge(
            "orderflow_account_paused",
            {(system, shop): float(a.is_resting(now)) for (shop, system), a in self._accounts.items()},
        )
        yield _gauge(
            "orderflow_circuit_open",
            {(system, shop): float(a.circuit_is_open()) for (shop, system), a in self._accounts.items()},
        )


def _gauge(name: str, values: Mapping[tuple[str, ...], float]) -> Metric:
    text, labels = STORED[name]
    family = GaugeMetricFamily(name, text, labels=labels)
    for key, value in values.items():
        family.add_metric(list(key), value)
    return family


def _seconds(at: datetime) -> float:
    return at.timestamp()


# -- For the documentation ---------------------------------------------------------------------------------------


class Described(NamedTuple):
    """One metric, as it is exported."""

    name: str
    kind: str
    labels: tuple[str, ...]
    meaning: str


def described() -> list[Described]:
    """Every metric."""
    suffix = {"counter": "_total"}
    found = [
        Described(family.name + suffix.get(family.type, ""), family.type, one._labelnames, family.documentation)
        for one in vars(Metrics({}, "", SystemClock())).values()
        if isinstance(one, MetricWrapperBase)
        for family in one.describe()
    ]
    found += [Described(name, "gauge", tuple(labels), text) for name, (text, labels) in STORED.items()]
    found.append(Described(f"{BUILD[0]}_info", "info", BUILD[2], BUILD[1]))
    return sorted(found)


def markdown() -> str:
    """docs/metrics.md."""
    lines = [
        "# Metrics",
        "",
        "Served at `/metrics`, as OpenMetrics where that is asked for. Names and labels are a contract.",
        "Made from [consumer/metrics/recorder.py](../consumer/metrics/recorder.py) by `make docs`; do not edit.",
        "",
        "| Metric | Type | Labels | Meaning |",
        "|---|---|---|---|",
    ]
    lines += [
        f"| `{name}` | {kind} | {', '.join(f'`{label}`' for label in labels)} | {text} |"
        for name, kind, labels, text in described()
    ]
    lines += ["", "## Values of labels", "", "| Metric | Label | Values |", "|---|---|---|"]
    lines += [
        f"| `{name}` | `{label}` | {', '.join(f'`{value}`' if value != 'a topic' else value for value in values)} |"
        for name, labels in sorted(VALUES.items())
        for label, values in labels.items()
    ]
    return "\n".join(lines) + "\n"
