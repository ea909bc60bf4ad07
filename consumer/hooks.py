"""Everything that can happen in the service, one method each.

Loops call these methods. Metrics (metrics/recorder.py) and logs (telemetry.py) override the methods that they need. A
hook runs in the thread of the loop that calls it, after the commit of the transaction that it reports. It must be
quick. A hook that raises is a bug of the hook: `Several` logs it, and the loop does not notice.
"""

from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any, Final

import structlog

from adapters.errors import Cause, OrderflowError
from adapters.ports import Partition, Record
from adapters.store.dead_letters import DeadLetter
from adapters.store.orders import OrderRow
from consumer.offsets import OffsetMismatch
from consumer.retry import TryResult
from statemachine.commands import CommandKind
from statemachine.events import Event, Trigger
from statemachine.invariants import Invariant
from statemachine.machine import EventResult
from statemachine.states import State

log = structlog.get_logger("orderflow")

#: The roles that a process can have, each with its loops. The web has no loop, but servers.
LOOPS_OF: Final[Mapping[str, tuple[str, ...]]] = {
    "poller": ("poller",),
    "consumer": ("consumer",),
    "worker": ("worker", "housekeeping", "relay"),
    "web": (),
}
#: /live fails when a loop has not turned for this time, which is longer than the longest single call.
BEAT_SECONDS: Final = 120


@dataclass(frozen=True, slots=True)
class Applied:
    """What one event did to its order."""

    event: Event
    order: OrderRow  # as this event left it
    result: EventResult
    before: State  # the state before the event
    seconds_in_before: float
    opens: bool = False  # a command was opened for the order
    broken: tuple[Invariant, ...] = ()  # the invariants that this event broke
    #: How long the transaction took that loaded, decided and committed. None: not measured.
    seconds: float | None = None

    @property
    def moved(self) -> bool:
        return self.before != self.order.state


@dataclass(slots=True)
class PollResult:
    """What one poll of a shop found. `new`, `changed` and `same` are numbers of orders. An unchanged order counts as
    changed if this read is the proof that the order waits for."""

    new: int = 0
    changed: int = 0
    same: int = 0
    dead_letters: Counter[str] = field(default_factory=Counter)  # by reason
    complete: bool = True  # every page of every listing was read
    seen: set[str] = field(default_factory=set)  # ids of the orders that were read and can be used
    #: Ids of every order on a page, also of one that cannot be used: as json_slices finds them.
    listed: set[str] = field(default_factory=set)


class CallbackResult(StrEnum):
    """How a callback of the OMS was answered."""

    TAKEN = "taken"
    NOT_AUTHENTIC = "not_authentic"
    UNREADABLE = "unreadable"  # or too large for the log: stored as a dead letter, or 503 if the store is unavailable
    TOO_LARGE = "too_large"
    LOG_UNAVAILABLE = "log_unavailable"
    TOO_SLOW = "too_slow"  # the body did not arrive in time
    BUSY = "busy"  # too many callbacks are under way
    UNVERIFIABLE = "no_secret"  # the file of the secret cannot be read
    UNKNOWN_SHOP = "unknown_shop"  # not in the configuration, or without callback_secret_file


class Hooks:
    """No-ops. Override the method of each event that you need."""

    # -- The consumer --------------------------------------------------------------------------------------------

    def event_applied(self, applied: Applied) -> None:
        """An event was applied to its order. It came from the log, the poller, the worker, the clock or a person."""

    def batch_applied(
        self, records: Sequence[Record], applied: Sequence[Applied], dead_letters: Sequence[DeadLetter]
    ) -> None:
        """The consumer has finished these records. Each was applied or dead-lettered, or skipped as it has no value."""

    def repeats_dropped(self, trigger: Trigger, count: int) -> None:
        """So many records were dropped unread, because the journal holds their events already."""

    def partitions_assigned(self, held: Collection[Partition], mismatches: Mapping[Partition, OffsetMismatch]) -> None:
        """The assignment or the mismatches changed. `held`: the partitions that this process reads now."""

    def topics_paused(self, topics: Collection[str]) -> None:
        """These topics, and no others, are paused now: too many of their records were dead-lettered."""

    def lag_measured(self, records: Mapping[Partition, int], applied_until: Mapping[Partition, datetime]) -> None:
        """`records`: how many wait in each partition. `applied_until`: the instant before which every published record
        is applied."""

    def orders_forgotten(self, shop: str, count: int) -> None:
        """Orders that only the OMS knew for long were deleted."""

    def snapshots_removed(self, count: int) -> None:
        """Snapshots that nothing rests on were removed, of orders at their end."""

    # -- The worker ----------------------------------------------------------------------------------------------

    def command_tried(self, kind: CommandKind, result: TryResult) -> None:
        """A try of a command ended with this result."""

    def remote_called(
        self, shop: str, system: str, operation: str, outcome: str, seconds: float, *, retry_after_seconds: float = 0
    ) -> None:
        """A call to Mirakl or the OMS ended after `seconds`. `retry_after_seconds`: the pause that it asks for."""

    # -- The poller ----------------------------------------------------------------------------------------------

    def poll_ended(self, shop: str, result: PollResult, seconds: float) -> None:
        """A poll of a shop ended without an error."""

    def shop_taken_over(self, shop: str, last_success: datetime | None) -> None:
        """This process polls the shop from now on. `last_success`: when the last complete poll ended, of any process;
        None if there was none."""

    def poll_failed(self, shop: str, error: OrderflowError) -> None:
        """A poll of a shop ended with an error."""

    def page_read(self, shop: str) -> None:
        """A poll read one more page, so the shop's loop is alive."""

    def page_published(self, shop: str) -> None:
        """A poll published one more page, so the shop's loop is alive."""

    # -- The web -------------------------------------------------------------------------------------------------

    def callback_answered(self, shop: str, result: CallbackResult) -> None:
        """A callback of the OMS was answered. `shop` is the text in the URL, which the sender chose."""

    def callback_dead_lettered(self, reason: str) -> None:
        """A callback of the OMS could not be read and was dead-lettered."""

    # -- Every loop ----------------------------------------------------------------------------------------------

    def loop_turned(self, loop: str, instance: str = "") -> None:
        """A loop begins its next turn, or shows in a long turn that it is alive.

        `loop`: consumer, worker, housekeeping, relay or poller. `instance`: the worker's number or the poller's shop.
        """

    def loop_rests(self, loop: str, instance: str) -> None:
        """A turn of this instance of a loop ended, and its thread serves others meanwhile."""

    def loop_failing(self, loop: str, causes: Mapping[Cause, int]) -> None:
        """A thread of a loop began to fail, fails still, or fails no longer (loop_watch.py).

        `causes`: how many of its threads have failed for a minute, by cause. Empty: none.
        """


NO_HOOKS: Final = Hooks()
#: The name of every hook.
HOOKS: Final = tuple(name for name in vars(Hooks) if not name.startswith("_"))


class Several(Hooks):
    """Passes each call on to several hooks, in their order. If a hook raises, the others are called all the same."""

    def __init__(self, *hooks: Hooks) -> None:
        for name in HOOKS:
            setattr(self, name, _each(name, [getattr(one, name) for one in hooks]))


def _each(name: str, methods: Sequence[Callable[..., None]]) -> Callable[..., None]:
    logged: set[type[Exception]] = set()  # one line for each kind of error, because a hook may raise at every event

    def call(*args: Any, **kwargs: Any) -> None:
        for method in methods:
            try:
                method(*args, **kwargs)
            except Exception as error:
                if type(error) not in logged:
                    logged.add(type(error))
                    log.error("hook_failed", hook=name, error=type(error).__name__)

    return call
