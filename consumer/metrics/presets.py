"""Which series of counters and gauges exist with the value 0 from the start, for definitions.py.

`increase()` misses the first event of a series that starts at 1, so every series that an alert or the dashboard reads
is a preset.
"""

from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass

from adapters.remotes.http import CallOutcome
from adapters.store.dead_letters import CALLBACK, POLL
from consumer.metrics.labels import ALERTED_OUTCOMES, DEAD_LETTER_REASONS, SEPARATE_RIGHTS
from statemachine.commands import CommandKind, Remote
from statemachine.events import Trigger
from statemachine.machine import EventResult
from statemachine.table import TABLE


@dataclass(frozen=True, slots=True)
class Configured:
    """The values of labels that the configuration gives, and what the process is."""

    shops: Collection[str]
    topics: Collection[str]  # those that the consumer reads
    roles: Collection[str]  # those that this process has
    needed_roles: Collection[str]  # those that some process has to have


#: The label values of one series, in the order of the metric's labels.
Series = tuple[str, ...]
#: Returns the series of a metric that exist from the start.
Presets = Callable[[Configured], Iterable[Series]]


def no_presets(_configured: Configured) -> Iterable[Series]:
    return ()


def each_shop(configured: Configured) -> Iterable[Series]:
    return ((shop,) for shop in configured.shops)


def each_topic(configured: Configured) -> Iterable[Series]:
    return ((topic,) for topic in configured.topics)


def each_edge(configured: Configured) -> Iterable[Series]:
    return (
        (shop, edge.source, edge.target, trigger) for shop in configured.shops for edge in TABLE for trigger in edge.on
    )


def each_alerted_outcome(configured: Configured) -> Iterable[Series]:
    calls = [(Remote.MIRAKL, "OR11"), *((kind.remote, kind.call) for kind in CommandKind)]
    series = [(system, operation, outcome) for system, operation in calls for outcome in ALERTED_OUTCOMES]
    series += [(Remote.MIRAKL, operation, CallOutcome.FORBIDDEN) for operation in SEPARATE_RIGHTS]
    return ((system, shop, operation, outcome) for shop in configured.shops for system, operation, outcome in series)


def each_event(configured: Configured) -> Iterable[Series]:
    by_topic = zip(configured.topics, (Trigger.SNAPSHOT, Trigger.OMS_EVENT), strict=True)
    return (
        series
        for topic, kind in by_topic
        for series in (
            *((topic, kind, result) for result in EventResult),
            (topic, "unreadable", "set_aside"),
            (topic, "tombstone", "skipped"),
        )
    )


def each_dead_letter(configured: Configured) -> Iterable[Series]:
    return ((source, reason) for source in (*configured.topics, POLL, CALLBACK) for reason in DEAD_LETTER_REASONS)
