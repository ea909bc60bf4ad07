"""The table of all metrics of the service, `METRICS`.

recorder.py makes the series and counts; stored.py reads the rows marked `at_scrape` from the store; `markdown` makes
docs/metrics.md. Names, types and labels are a contract (docs/rules.md 34). Values of labels come from closed sets
(docs/rules.md 35). Only counters and gauges have the label `shop`.

To add a metric, add a row here, and the line that counts it in recorder.py or reads it in stored.py (CONTRIBUTING.md).
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from enum import StrEnum
from itertools import product
from typing import Final

from adapters.errors import Cause
from adapters.store.counts import LIVE_STATES
from consumer.hooks import CallbackResult
from consumer.metrics.labels import (
    ALERTED_CALLBACK_RESULTS,
    COMMANDS,
    COUNTED,
    DEAD_LETTER_REASONS,
    DEAD_LETTER_SOURCES,
    DEADLINES,
    EVERY_OPERATION,
    LOG_LEVELS,
    LOOPS,
    OTHER,
    OUTCOMES,
    POLL_RESULTS,
    ROLES,
    SYSTEMS,
)
from consumer.metrics.presets import (
    Presets,
    each_alerted_outcome,
    each_dead_letter,
    each_edge,
    each_event,
    each_failing_loop,
    each_needed_role,
    each_pause,
    each_rejection,
    each_shop,
    each_topic,
    in_each_shop,
    no_presets,
    of,
)
from consumer.retry import TryResult
from statemachine.commands import Remote
from statemachine.events import Trigger
from statemachine.facts import DecisionKind
from statemachine.invariants import Invariant
from statemachine.machine import EventResult
from statemachine.objectives import Objective
from statemachine.reasons import REASONS
from statemachine.states import State

#: Histogram buckets for handling times, in seconds: those that OpenTelemetry gives for messaging.
HANDLING: Final = (0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10)
#: Histogram buckets for waiting times, in seconds: from 1 s to 14 days.
WAITING: Final = (1, 5, 15, 60, 300, 900, 3600, 14400, 43200, 86400, 172800, 259200, 432000, 604800, 1209600)


class Type(StrEnum):
    """Prometheus' types of metrics."""

    COUNTER = "counter"
    GAUGE = "gauge"
    HISTOGRAM = "histogram"
    INFO = "info"


#: The values of a label: a closed set, or None if they come from the configuration.
Values = Collection[str] | None


@dataclass(frozen=True, slots=True)
class Metric:
    """One metric as it is exported. `presets`: the series that exist with the value 0 from the start (presets.py)."""

    name: str
    type: Type
    meaning: str
    labels: Mapping[str, Values]
    presets: Presets = no_presets
    buckets: tuple[float, ...] = ()  # of a histogram, in seconds
    at_scrape: bool = False  # read from the store when Prometheus asks (stored.py)


def _counter(
    name: str,
    meaning: str,
    labels: Mapping[str, Values],
    presets: Presets = no_presets,
) -> Metric:
    return Metric(name, Type.COUNTER, meaning, labels, presets)


def _gauge(
    name: str,
    meaning: str,
    labels: Mapping[str, Values],
    presets: Presets = no_presets,
) -> Metric:
    return Metric(name, Type.GAUGE, meaning, labels, presets)


def _histogram(name: str, meaning: str, labels: Mapping[str, Values], buckets: tuple[float, ...]) -> Metric:
    return Metric(name, Type.HISTOGRAM, meaning, labels, buckets=buckets)


def _stored(name: str, meaning: str, labels: Mapping[str, Values]) -> Metric:
    return Metric(name, Type.GAUGE, meaning, labels, at_scrape=True)


_ROWS: Final = (
    # -- Orders --
    _counter(
        "orderflow_transitions_total",
        "Changes of state of orders.",
        {"shop": None, "from_state": tuple(State), "to_state": tuple(State), "trigger": tuple(Trigger)},
        presets=each_edge,
    ),
    _counter(
        "orderflow_transitions_rejected_total",
        "Events whose facts give a state to which no edge leads. Normally 0.",
        {"from_state": tuple(State), "trigger": tuple(Trigger), "reason": (EventResult.NO_EDGE,)},
        presets=each_rejection,
    ),
    _counter(
        "orderflow_decisions_total",
        "Decisions of people about orders, of every process. Counted from the journal some minutes later.",
        {"shop": None, "decision": tuple(DecisionKind)},
    ),
    _counter(
        "orderflow_orders_forgotten_total",
        "Orders that only the OMS knew, and that were deleted.",
        {"shop": None},
    ),
    _counter(
        "orderflow_snapshots_removed_total",
        "Snapshots that nothing rests on, and that were removed of orders at their end.",
        {},
    ),
    _counter(
        "orderflow_invariant_violations_total",
        "Broken invariants: things that must never happen to an order. Always 0; anything else is a bug.",
        {"invariant": tuple(Invariant)},
        presets=lambda _: ((one,) for one in Invariant),
    ),
    _histogram(
        "orderflow_transition_seconds",
        "Duration of the transaction that changed an order's state: load, decide, commit.",
        {"trigger": tuple(Trigger)},
        HANDLING,
    ),
    _gauge(
        "orderflow_state_max_age_seconds",
        "How long an order may be in a state: [max_age_hours] in the configuration.",
        {"state": LIVE_STATES},
    ),
    _histogram(
        "orderflow_state_duration_seconds",
        "Time spent in a state, observed on leaving it.",
        {"state": tuple(State)},
        WAITING,
    ),
    _stored(
        "orderflow_in_state",
        "Orders in each state in which they wait for something.",
        {"shop": None, "state": LIVE_STATES},
    ),
    _stored(
        "orderflow_oldest_entered_timestamp_seconds",
        "When the order that has been longest in a state entered it; 0 if there is none.",
        {"shop": None, "state": LIVE_STATES},
    ),
    _stored(
        "orderflow_next_deadline_timestamp_seconds",
        "Until when Mirakl waits for the seller: the nearest of these deadlines, past or not; 0 if no order has one.",
        {"shop": None, "deadline": DEADLINES},
    ),
    _stored("orderflow_overdue", "Orders that are past this deadline.", {"shop": None, "deadline": DEADLINES}),
    Metric(
        "orderflow_slo_total",
        Type.COUNTER,
        "Orders that kept an objective or missed it. Every process exports the total of the store: take the maximum.",
        {"shop": None, "slo": tuple(Objective), "result": COUNTED},
        at_scrape=True,
    ),
    _stored(
        "orderflow_unconfigured_orders",
        "Open orders of shops that the configuration does not have any more. No other series has them.",
        {},
    ),
    _stored("orderflow_attention", "Orders that need a person.", {"shop": None, "reason": tuple(REASONS)}),
    _stored(
        "orderflow_attention_oldest_timestamp_seconds",
        "Since when an order needs a person, for the order that has waited longest.",
        {"shop": None, "reason": tuple(REASONS)},
    ),
    # -- The consumer --
    _counter(
        "orderflow_events_total",
        "Events from the log, by result.",
        {
            "topic": None,
            "type": (Trigger.SNAPSHOT, Trigger.OMS_EVENT, "unreadable", "tombstone"),
            "result": (*EventResult, "set_aside", "skipped"),
        },
        presets=of("consumer", each_event),
    ),
    _histogram(
        "orderflow_event_seconds",
        "Duration of the transaction that applied the event, with the others of its batch.",
        {"topic": None},
        HANDLING,
    ),
    _histogram(
        "orderflow_event_delay_seconds",
        "Time from the event's own instant until it was applied.",
        {"topic": None},
        WAITING,
    ),
    _counter(
        "orderflow_dead_letters_total",
        "Records, orders of polls, and callbacks that were dead-lettered.",
        {"source": DEAD_LETTER_SOURCES, "reason": (*DEAD_LETTER_REASONS, OTHER)},
        presets=each_dead_letter,
    ),
    _stored(
        "orderflow_dead_letters_open",
        "Dead letters that are neither replayed nor discarded.",
        {"source": DEAD_LETTER_SOURCES, "reason": (*DEAD_LETTER_REASONS, OTHER)},
    ),
    _gauge(
        "orderflow_topic_stopped",
        "1 while a topic is paused, because too many distinct records of it were dead-lettered.",
        {"topic": None},
        presets=of("consumer", each_topic),
    ),
    _counter("orderflow_consumer_rebalances_total", "Rebalances, and other changes of which partitions are read.", {}),
    _gauge("orderflow_consumer_assigned_partitions", "Partitions that this process reads.", {}),
    _gauge(
        "orderflow_progress_stopped",
        "1 if a partition is not read: its offsets do not fit the store, or its next record cannot be read.",
        {"topic": None, "partition": None},
    ),
    _gauge(
        "orderflow_consumer_lag_records",
        "Records that wait in each partition that this process reads.",
        {"topic": None, "partition": None},
    ),
    _gauge(
        "orderflow_consumer_applied_until_timestamp_seconds",
        "All records that were published before this instant are applied. Its age is an upper limit of the lag.",
        {"topic": None, "partition": None},
    ),
    # -- Calls to Mirakl and the OMS --
    _counter(
        "orderflow_commands_total",
        "Tries of outgoing calls, by result.",
        {"command": COMMANDS, "result": tuple(TryResult)},
        presets=of("worker", lambda _: product(COMMANDS, TryResult)),
    ),
    _stored("orderflow_commands_open", "Calls that are due or under way.", {"command": COMMANDS}),
    _stored(
        "orderflow_commands_oldest_due_timestamp_seconds",
        "When the oldest call was opened that is due or under way and not switched off; 0 if there is none.",
        {"command": COMMANDS},
    ),
    _stored(
        "orderflow_effects_enabled",
        "1 while calls of this kind are made, 0 while they are off or paused.",
        {"shop": None, "command": COMMANDS},
    ),
    _counter(
        "orderflow_api_requests_total",
        "Calls to Mirakl and the OMS. If the OMS refuses an account with 400, it counts as 401, 403 or 429.",
        {"system": SYSTEMS, "shop": None, "operation": EVERY_OPERATION, "outcome": (*OUTCOMES, OTHER)},
        presets=each_alerted_outcome,
    ),
    _histogram(
        "orderflow_api_request_seconds",
        "Duration of calls to Mirakl and the OMS.",
        {"system": SYSTEMS, "operation": EVERY_OPERATION},
        HANDLING,
    ),
    _counter(
        "orderflow_api_retry_after_seconds_total",
        "How long Mirakl and the OMS asked to wait (Retry-After), summed over their answers.",
        {"system": SYSTEMS, "shop": None},
        presets=each_pause,
    ),
    _gauge(
        "orderflow_catalog_unread",
        "How many parts of the marketplace's settings (SH21, SH12, PC01) could not be read and are not known.",
        {"shop": None},
    ),
    _gauge(
        "orderflow_account_paused",
        "1 while an account's calls, or its calls of one operation, are paused.",
        {"system": SYSTEMS, "shop": None},
    ),
    _gauge(
        "orderflow_circuit_open",
        "1 while an operation's circuit is open: several orders in a row got no usable answer, or the same refusal.",
        {"system": SYSTEMS, "shop": None},
    ),
    _stored(
        "orderflow_budget_left",
        "Calls left of an account's published budget.",
        {"system": (Remote.OMS,), "shop": None, "window": ("hour", "day")},
    ),
    # -- Polls --
    _gauge(
        "orderflow_poll_last_success_timestamp_seconds",
        "When the last complete poll ended, as far as this process knows: take the maximum. 0 if it knows of none.",
        {"shop": None},
        presets=each_shop,
    ),
    _gauge("orderflow_poll_interval_seconds", "How often the shop is to be polled.", {"shop": None}),
    _histogram("orderflow_poll_seconds", "Duration of a poll.", {}, HANDLING),
    _counter(
        "orderflow_poll_orders_total",
        "Orders that polls read: new, changed (also unchanged ones whose read is a proof), same.",
        {"shop": None, "result": POLL_RESULTS},
        presets=of("poller", in_each_shop(POLL_RESULTS)),
    ),
    _counter(
        "orderflow_poll_failures_total",
        "Polls that ended with an error.",
        {"shop": None, "reason": (*OUTCOMES, "ConfigError", "LogUnavailable", "StoreUnavailable", "Unreadable")},
    ),
    _stored(
        "orderflow_poll_watermark_timestamp_seconds",
        "Where the next update window of a shop begins; 0 before the first poll.",
        {"shop": None},
    ),
    # -- The process --
    _counter(
        "orderflow_callbacks_total",
        "Callbacks of the OMS, by answer.",
        {"shop": None, "result": tuple(CallbackResult)},
        presets=of("web", in_each_shop(ALERTED_CALLBACK_RESULTS)),
    ),
    _gauge(
        "orderflow_callback_last_timestamp_seconds",
        "When the last callback of the OMS with this answer came to this process. No series: none came.",
        {"shop": None, "result": tuple(CallbackResult)},
    ),
    _gauge("orderflow_leader", "1 while this process holds the lease.", {"role": ("poller", "relay"), "shop": None}),
    _stored("orderflow_outbox_unpublished", "Records that the relay has not published yet.", {"topic": None}),
    _stored(
        "orderflow_outbox_oldest_timestamp_seconds", "Since when the oldest unpublished record waits.", {"topic": None}
    ),
    _gauge(
        "orderflow_role_running",
        "1 for each role that this process has, 0 for the others. If no shop has a callback_secret_file, nothing needs "
        "`web`, and only a process that has it exports its series.",
        {"role": ROLES},
        presets=each_needed_role,
    ),
    _gauge(
        "orderflow_loop_beat_timestamp_seconds",
        "When each loop last began a turn: of its threads the one that did so longest ago. The present instant if all "
        "of them rest; 0 before the first turn.",
        {"loop": LOOPS},
    ),
    _gauge(
        "orderflow_loop_failing",
        "Threads of a loop whose turns have failed for a minute, by cause.",
        {"loop": LOOPS, "cause": tuple(Cause)},
        presets=each_failing_loop,
    ),
    _counter(
        "orderflow_log_messages_total",
        "Log lines.",
        {"level": LOG_LEVELS},
        presets=lambda _: ((level,) for level in LOG_LEVELS),
    ),
    _counter(
        "orderflow_log_lines_lost_total",
        "Log lines that could not be written: the disk is full, or nobody reads standard output. Normally 0.",
        {},
    ),
    _stored(
        "orderflow_store_scrape_timestamp_seconds",
        "When the metrics that come from the store were last read; 0 before the first time.",
        {},
    ),
    _gauge(
        "orderflow_clock_skew_seconds",
        "How far the clock of the machine is ahead of the database's clock, which all processes go by; 0 with SQLite.",
        {},
    ),
    _gauge(
        "orderflow_poller_late_seconds",
        "How long the shop that waits longest has waited for one of the threads that poll.",
        {},
    ),
    Metric(
        "orderflow_build_info",
        Type.INFO,
        "The version of orderflow, the commit of the image, and the version of Python.",
        {"version": None, "revision": None, "python": None},
    ),
)
#: Every metric by its exported name.
METRICS: Final[Mapping[str, Metric]] = {row.name: row for row in sorted(_ROWS, key=lambda row: row.name)}


def markdown() -> str:
    """Return the text of docs/metrics.md."""
    lines = [
        "# Metrics",
        "",
        "Served at `/metrics`, as OpenMetrics if the client asks for it. Names and labels are a contract.",
        "Made from [consumer/metrics/definitions.py](../consumer/metrics/definitions.py) by `make docs`; do not edit.",
        "",
        "| Metric | Type | Labels | Meaning |",
        "|---|---|---|---|",
    ]
    lines += [
        f"| `{one.name}` | {one.type} | {', '.join(f'`{label}`' for label in one.labels)} | {one.meaning} |"
        for one in METRICS.values()
    ]
    lines += ["", "## Values of labels", "", "| Metric | Label | Values |", "|---|---|---|"]
    lines += [
        f"| `{one.name}` | `{label}` | {', '.join(f'`{value}`' if value != 'a topic' else value for value in values)} |"
        for one in METRICS.values()
        for label, values in one.labels.items()
        if values is not None
    ]
    return "\n".join(lines) + "\n"
