"""Which series of counters and gauges exist with the value 0 from the start, for definitions.py.

`increase()` misses the first event of a series that starts at 1, so every series that an alert or the dashboard reads
is a preset. It is one in the processes of the roles that count it, and not in the others: with 50 shops each process
would otherwise export thousands of series that stay 0. For the same reason a metric that neither reads has none.
"""

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from itertools import product
from typing import Final

from adapters.errors import Cause
from adapters.remotes.http import CallOutcome
from adapters.store.dead_letters import CALLBACK, POLL
from consumer.hooks import LOOPS_OF
from consumer.metrics.labels import ALERTED_OUTCOMES, DEAD_LETTER_REASONS, SEPARATE_RIGHTS, SYSTEMS
from statemachine.commands import CommandKind, Remote
from statemachine.events import Trigger
from statemachine.machine import EventResult
from statemachine.states import State
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
#: The kinds of event that a process of each role applies to orders.
_APPLIES: Final[Mapping[str, tuple[Trigger, ...]]] = {
    "poller": (Trigger.SNAPSHOT,),  # a read that did not show an order, which moves none
    "consumer": (Trigger.SNAPSHOT, Trigger.OMS_EVENT),
    "worker": (Trigger.CALL, Trigger.DECISION, Trigger.CLOCK),  # it counts the decisions of the command line
    "web": (Trigger.OMS_EVENT,),  # a callback that cannot be read, which moves no order
}
#: The roles whose events change states of orders.
_MOVE: Final = ("consumer", "worker")


def no_presets(_configured: Configured) -> Iterable[Series]:
    return ()


def of(role: str, presets: Presets) -> Presets:
    """Return the presets of a metric that only processes of this role count."""
    return lambda configured: presets(configured) if role in configured.roles else ()


def in_each_shop(values: Collection[str]) -> Presets:
    """Return the presets of a metric with the labels `shop` and one that has these values."""
    return lambda configured: product(configured.shops, values)


def each_shop(configured: Configured) -> Iterable[Series]:
    return ((shop,) for shop in configured.shops)


def each_topic(configured: Configured) -> Iterable[Series]:
    return ((topic,) for topic in configured.topics)


def each_needed_role(configured: Configured) -> Iterable[Series]:
    return ((role,) for role in configured.needed_roles)


def each_edge(configured: Configured) -> Iterable[Series]:
    kinds = {kind for role in configured.roles if role in _MOVE for kind in _APPLIES[role]}
    return (
        (shop, edge.source, edge.target, kind)
        for shop in configured.shops
        for edge in TABLE
        for kind in edge.on
        if kind in kinds
    )


def each_rejection(configured: Configured) -> Iterable[Series]:
    kinds = {kind for role in configured.roles for kind in _APPLIES[role]}
    return ((state, kind, EventResult.NO_EDGE) for state in State for kind in kinds)


def each_alerted_outcome(configured: Configured) -> Iterable[Series]:
    calls: list[tuple[str, str]] = []
    series: list[Series] = []
    if "poller" in configured.roles:
        calls += [(Remote.MIRAKL, "OR11")]
    if "worker" in configured.roles:
        calls += [(kind.remote, kind.call) for kind in CommandKind]
        series += [(Remote.MIRAKL, operation, CallOutcome.FORBIDDEN) for operation in SEPARATE_RIGHTS]
    series += [(system, operation, outcome) for system, operation in calls for outcome in ALERTED_OUTCOMES]
    return ((system, shop, operation, outcome) for shop in configured.shops for system, operation, outcome in series)


def each_pause(configured: Configured) -> Iterable[Series]:
    """A poller calls Mirakl alone."""
    systems = SYSTEMS if "worker" in configured.roles else (Remote.MIRAKL,) if "poller" in configured.roles else ()
    return product(systems, configured.shops)


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
    by_role = {"consumer": configured.topics, "poller": (POLL,), "web": (CALLBACK,)}
    sources = [source for role, found in by_role.items() if role in configured.roles for source in found]
    return product(sources, DEAD_LETTER_REASONS)


def each_failing_loop(configured: Configured) -> Iterable[Series]:
    return product((loop for role in configured.roles for loop in LOOPS_OF[role]), Cause)
