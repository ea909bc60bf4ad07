"""Counts what happens: the hooks that make the metrics of one process.

definitions.py lists every metric. This module changes their values.
"""

import platform
from collections import Counter as Tally
from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import datetime
from functools import partial
from importlib.metadata import version
from typing import Final

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    GCCollector,
    Histogram,
    Info,
    PlatformCollector,
    ProcessCollector,
    disable_created_metrics,
)

from adapters.errors import Cause, OrderflowError, RemoteError
from adapters.ports import Clock, Partition, Record
from adapters.store.dead_letters import CALLBACK, POLL, DeadLetter
from consumer.build import UNKNOWN, revision
from consumer.calling.accounts import Account, AccountKey
from consumer.config import MaxAgeTable, Settings
from consumer.hooks import LOOPS_OF, Applied, CallbackResult, Hooks, PollResult
from consumer.metrics.definitions import METRICS, Type
from consumer.metrics.labels import DEAD_LETTER_REASONS, OPERATIONS, OTHER, OUTCOMES, POLL_RESULTS, ROLES, known
from consumer.metrics.presets import Configured
from consumer.offsets import OffsetMismatch
from statemachine.events import Trigger
from statemachine.machine import EventResult
from statemachine.states import State

#: The default topic of each kind of event that comes from the log.
TOPICS: Final = {Trigger.SNAPSHOT: "mirakl.order-snapshots", Trigger.OMS_EVENT: "oms.order-events"}

MAX_AGE_SECONDS: Final = MaxAgeTable().seconds()
APPLIED_UNTIL: Final = "orderflow_consumer_applied_until_timestamp_seconds"
#: Prometheus takes exemplars of 128 characters at most: names and values of their labels together.
LONGEST_EVENT_ID: Final = 110

disable_created_metrics()  # type: ignore[no-untyped-call]  # they would double the number of series, and are not used


def exemplar(applied: Applied) -> dict[str, str]:
    """The exemplar of an observation: the beginning of the event's id, as the journal and the log have it."""
    return {"event_id": applied.event.event_id[:LONGEST_EVENT_ID]}


class Recorder(Hooks):
    """The metrics of one process. Any thread may call."""

    def __init__(
        self,
        poll_interval_seconds: Mapping[str, float],
        version: str,
        clock: Clock,
        topics: Mapping[Trigger, str] = TOPICS,
        *,
        roles: Collection[str] = ROLES,
        needed_roles: Collection[str] = ROLES,
        build: str = UNKNOWN,
        max_age_seconds: Mapping[State, float] = MAX_AGE_SECONDS,
    ) -> None:
        """`poll_interval_seconds`: the interval of each configured shop. `topics`: the topic of each kind of event.

        `roles`: those of this process. `needed_roles`: those that some process has to have, so that the service works.
        `build`: the commit of the image. `max_age_seconds`: after this time in a state an order is stuck.
        """
        self.registry = CollectorRegistry()
        for collector in (ProcessCollector, PlatformCollector, GCCollector):
            collector(registry=self.registry)
        self._clock = clock
        self._topics = topics
        self._roles = roles
        of_type = {kind: [one for one in METRICS.values() if one.type is kind and not one.at_scrape] for kind in Type}
        self._counters = {
            one.name: Counter(one.name, one.meaning, tuple(one.labels), registry=self.registry)
            for one in of_type[Type.COUNTER]
        }
        self._gauges = {
            one.name: Gauge(one.name, one.meaning, tuple(one.labels), registry=self.registry)
            for one in of_type[Type.GAUGE]
        }
        self._histograms = {
            one.name: Histogram(one.name, one.meaning, tuple(one.labels), registry=self.registry, buckets=one.buckets)
            for one in of_type[Type.HISTOGRAM]
        }
        for one in of_type[Type.INFO]:
            made = Info(one.name.removesuffix("_info"), one.meaning, registry=self.registry)
            made.info({"version": version, "revision": build, "python": platform.python_version()})

        configured = Configured(poll_interval_seconds.keys(), topics.values(), roles, needed_roles)
        for name, metric in (self._counters | self._gauges).items():
            for values in METRICS[name].presets(configured):
                metric.labels(*values)
        for role in roles:
            self._gauge("orderflow_role_running", role).set(1)
        for shop, seconds in poll_interval_seconds.items():
            self._gauge("orderflow_poll_interval_seconds", shop).set(seconds)
        for state, seconds in max_age_seconds.items():
            self._gauge("orderflow_state_max_age_seconds", state).set(seconds)

    # -- The consumer --------------------------------------------------------------------------------------------

    def event_applied(self, applied: Applied) -> None:
        trigger, order = applied.event.trigger, applied.order
        for decision in applied.event.new_facts.decisions:
            self._count("orderflow_decisions_total", order.shop, decision.kind)
        for invariant in applied.broken:
            self._count("orderflow_invariant_violations_total", invariant)
        if applied.moved:
            of = exemplar(applied)
            self._count("orderflow_transitions_total", order.shop, applied.before, order.state, trigger)
            self._observe("orderflow_state_duration_seconds", applied.before, seconds=applied.seconds_in_before, of=of)
            if applied.seconds is not None:
                self._observe("orderflow_transition_seconds", trigger, seconds=applied.seconds, of=of)
        elif applied.result == EventResult.NO_EDGE:
            self._count("orderflow_transitions_rejected_total", applied.before, trigger, EventResult.NO_EDGE)

    def orders_forgotten(self, shop: str, count: int) -> None:
        self._count("orderflow_orders_forgotten_total", shop, by=count)

    def snapshots_removed(self, count: int) -> None:
        self._count("orderflow_snapshots_removed_total", by=count)

    def batch_applied(
        self, records: Sequence[Record], applied: Sequence[Applied], dead_letters: Sequence[DeadLetter]
    ) -> None:
        now = self._clock.now()
        without_value = Tally(record.partition.topic for record in records if record.value is None)
        for one in applied:
            topic = self._topics[one.event.trigger]
            self._count("orderflow_events_total", topic, one.event.trigger, one.result)
            if one.seconds is not None:
                self._observe("orderflow_event_seconds", topic, seconds=one.seconds, of=exemplar(one))
            if one.result != EventResult.REPEATED:
                delay = max(0.0, (now - one.event.at).total_seconds())
                self._observe("orderflow_event_delay_seconds", topic, seconds=delay, of=exemplar(one))
        for dead_letter in dead_letters:
            self._count("orderflow_events_total", dead_letter.source, "unreadable", "set_aside")
            self._count_dead_letters(dead_letter.source, dead_letter.reason)
        for topic, count in without_value.items():
            self._count("orderflow_events_total", topic, "tombstone", "skipped", by=count)

    def repeats_dropped(self, trigger: Trigger, count: int) -> None:
        self._count("orderflow_events_total", self._topics[trigger], trigger, EventResult.REPEATED, by=count)

    def topics_paused(self, topics: Collection[str]) -> None:
        for topic in self._topics.values():
            self._gauge("orderflow_topic_stopped", topic).set(topic in topics)

    def partitions_assigned(self, held: Collection[Partition], mismatches: Mapping[Partition, OffsetMismatch]) -> None:
        self._count("orderflow_consumer_rebalances_total")
        self._gauge("orderflow_consumer_assigned_partitions").set(len(held))
        for name in (
            "orderflow_progress_stopped",
            "orderflow_consumer_lag_records",
            APPLIED_UNTIL,
        ):
            self._gauges[name].clear()  # another process may read a partition by now, and then reports it
        for partition in (*held, *mismatches):
            stopped = self._gauge("orderflow_progress_stopped", partition.topic, str(partition.number))
            stopped.set(partition in mismatches)

    def lag_measured(self, records: Mapping[Partition, int], applied_until: Mapping[Partition, datetime]) -> None:
        for partition, count in records.items():
            labels = partition.topic, str(partition.number)
            self._gauge("orderflow_consumer_lag_records", *labels).set(count)
            self._gauge(APPLIED_UNTIL, *labels).set(applied_until[partition].timestamp())

    # -- The worker ----------------------------------------------------------------------------------------------

    def command_tried(self, kind: str, result: str) -> None:
        self._count("orderflow_commands_total", kind, result)

    def remote_called(
        self, shop: str, system: str, operation: str, outcome: str, seconds: float, *, retry_after_seconds: float = 0
    ) -> None:
        operation = known(operation, OPERATIONS.get(system, ()))
        if operation == "PC01" and outcome == "403":
            outcome = "4xx"  # only shop administrators may call PC01 (docs/mirakl.md 5.1): no fault of the account
        self._count("orderflow_api_requests_total", system, shop, operation, known(outcome, OUTCOMES))
        self._observe("orderflow_api_request_seconds", system, operation, seconds=seconds)
        if retry_after_seconds:
            self._count("orderflow_api_retry_after_seconds_total", system, shop, by=retry_after_seconds)

    # -- The poller ----------------------------------------------------------------------------------------------

    def poll_ended(self, shop: str, result: PollResult, seconds: float) -> None:
        self._observe("orderflow_poll_seconds", seconds=seconds)
        if result.complete:
            now = self._clock.now().timestamp()
            self._gauge("orderflow_poll_last_success_timestamp_seconds", shop).set(now)
        for name, count in zip(POLL_RESULTS, (result.new, result.changed, result.same), strict=True):
            self._count("orderflow_poll_orders_total", shop, name, by=count)
        for reason, count in result.dead_letters.items():
            self._count_dead_letters(POLL, reason, count)

    def shop_taken_over(self, shop: str, last_success: datetime | None) -> None:
        """Without this, the shop would look as if it was never polled until this process has polled it."""
        if last_success is not None:
            self._gauge("orderflow_poll_last_success_timestamp_seconds", shop).set(last_success.timestamp())

    def poll_failed(self, shop: str, error: OrderflowError) -> None:
        reason = error.outcome if isinstance(error, RemoteError) else type(error).__name__
        self._count("orderflow_poll_failures_total", shop, reason)

    # -- The web and every loop ----------------------------------------------------------------------------------

    def callback_answered(self, shop: str, result: CallbackResult) -> None:
        if result == CallbackResult.UNKNOWN_SHOP:
            shop = OTHER  # the sender chose this text, and only configured shops may be values of the label
        self._count("orderflow_callbacks_total", shop, result)
        self._gauge("orderflow_callback_last_timestamp_seconds", shop, result).set(self._clock.now().timestamp())

    def callback_dead_lettered(self, reason: str) -> None:
        self._count_dead_letters(CALLBACK, reason)

    def loop_failing(self, loop: str, causes: Mapping[Cause, int]) -> None:
        for cause in Cause:
            self._gauge("orderflow_loop_failing", loop, cause).set(causes.get(cause, 0))

    def line_logged(self, level: str) -> None:
        """A line was logged at this level."""
        self._count("orderflow_log_messages_total", level)

    def line_lost(self) -> None:
        """A line of the log could not be written."""
        self._count("orderflow_log_lines_lost_total")

    # -- Gauges whose values are read at each scrape -------------------------------------------------------------

    def watch_loops(self, turned_at: Callable[[str], float]) -> None:
        """Export when each loop of this process's roles last began a turn.

        Each scrape calls `turned_at`: which thread of a loop turned longest ago changes with every turn.
        """
        for loop in (loop for role in self._roles for loop in LOOPS_OF[role]):
            self._gauge("orderflow_loop_beat_timestamp_seconds", loop).set_function(partial(turned_at, loop))

    def watch_lease(self, role: str, shop: str, holds: Callable[[], bool]) -> None:
        """Export whether this process holds a lease.

        Each scrape calls `holds`, because a process that cannot reach the store gets no event when its lease ends.
        """
        self._gauge("orderflow_leader", role, shop).set_function(holds)

    def watch_clock(self, skew_seconds: Callable[[], float]) -> None:
        """Export how far the machine's clock is ahead of the database's."""
        self._gauge("orderflow_clock_skew_seconds").set_function(skew_seconds)

    def watch_pollers(self, seconds_late: Callable[[], float]) -> None:
        """Export how long a shop has waited for one of the threads that poll."""
        self._gauge("orderflow_poller_late_seconds").set_function(seconds_late)

    def watch_catalogs(self, unread: Mapping[str, Callable[[], int]]) -> None:
        """Export how many parts of each marketplace's settings could not be read. Each scrape calls the functions."""
        for shop, how_many in unread.items():
            self._gauge("orderflow_catalog_unread", shop).set_function(how_many)

    def watch_accounts(self, accounts: Mapping[AccountKey, Account]) -> None:
        """Export whether each account, or one of its operations, is paused, and whether its circuit is open."""
        for key, account in accounts.items():
            paused = self._gauge("orderflow_account_paused", key.remote, key.shop)
            paused.set_function(partial(self._is_paused, account))
            self._gauge("orderflow_circuit_open", key.remote, key.shop).set_function(account.circuit_is_open)

    def _is_paused(self, account: Account) -> bool:
        return account.pauses_any(self._clock.now())

    # -- The series ----------------------------------------------------------------------------------------------

    def _count_dead_letters(self, source: str, reason: str, by: int = 1) -> None:
        self._count("orderflow_dead_letters_total", source, known(reason, DEAD_LETTER_REASONS), by=by)

    def _count(self, name: str, *labels: str, by: float = 1) -> None:
        counter = self._counters[name]
        (counter.labels(*labels) if labels else counter).inc(by)

    def _observe(self, name: str, *labels: str, seconds: float, of: dict[str, str] | None = None) -> None:
        """`of`: the exemplar, which OpenMetrics shows beside the bucket."""
        histogram = self._histograms[name]
        (histogram.labels(*labels) if labels else histogram).observe(seconds, of)

    def _gauge(self, name: str, *labels: str) -> Gauge:
        gauge = self._gauges[name]
        return gauge.labels(*labels) if labels else gauge


def new_recorder(settings: Settings, clock: Clock, roles: Collection[str] = ROLES) -> Recorder:
    """Make the metrics of a process with these roles, with the series of the configured shops and topics."""
    calls_back = any(shop.oms.callback_secret_file is not None for shop in settings.shops.values())
    return Recorder(
        {name: shop.poll_interval_seconds for name, shop in settings.shops.items()},
        version("orderflow"),
        clock,
        {Trigger.SNAPSHOT: settings.topics.snapshots, Trigger.OMS_EVENT: settings.topics.oms_events},
        roles=roles,
        needed_roles=[role for role in ROLES if calls_back or role != "web"],
        build=revision(),
        max_age_seconds=settings.max_age_hours.seconds(),
    )
