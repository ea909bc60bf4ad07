"""Notices loops that fail: log lines when it begins, while it lasts and when it is over, and a metric.

A loop whose turns fail goes on trying. So from outside it looks well: its thread lives, and its last beat is recent.
Each kind of error has one line. A loop that has failed for FAILING_SECONDS is an error, with a cause from a closed set
(`adapters.errors.Cause`).
"""

import threading
from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Final

import structlog

from adapters.errors import Cause, OrderflowError, cause_of
from adapters.ports import Clock
from consumer.hooks import Hooks
from consumer.telemetry import place_of

log = structlog.get_logger("orderflow")

#: A loop that fails for this time is reported as an error.
FAILING_SECONDS: Final = 60.0
#: A loop fails no longer after this time without a failed turn. It is longer than the turn in which a client of Kafka
#: joins its group again, because such a turn succeeds between two that fail.
QUIET_SECONDS: Final = 30.0
#: How often a loop that goes on failing is reported again.
AGAIN_SECONDS: Final = 600.0
#: Causes that lie in this process or in what it was given, so that another process may do better.
OWN_CAUSES: Final = frozenset({Cause.UNEXPECTED, Cause.CONFIG, Cause.LOGIN})


@dataclass(slots=True)
class _Failing:
    """A time in which the turns of one thread fail. Instants are on the monotonic clock."""

    began: float
    last: float
    cause: Cause
    is_own: bool = False  # whether the process itself raised the last error: it is none of ours
    times: int = 0
    reported_at: float | None = None  # when it was last reported as an error; None: it is younger than FAILING_SECONDS
    seen: set[tuple[Cause, str]] = field(default_factory=set)  # causes and kinds of errors that have a line


class LoopWatch:
    """Notices which loops fail. Any thread may call."""

    def __init__(self, clock: Clock, hooks: Hooks) -> None:
        self._clock = clock
        self._hooks = hooks
        self._lock = threading.Lock()
        self._threads: set[tuple[str, str]] = set()  # loop and instance of each thread that had a turn
        self._failing: dict[tuple[str, str], _Failing] = {}

    def succeeded(self, loop: str, instance: str = "") -> None:
        """A turn ended without an error."""
        now = self._clock.monotonic()
        with self._lock:
            self._threads.add((loop, instance))
            found = self._failing.get((loop, instance))
            if found is None or now - found.last < QUIET_SECONDS:
                return
            del self._failing[loop, instance]
        if found.reported_at is not None:
            log.info("loop_recovered", loop=thread_name(loop, instance), times=found.times, seconds=_since(found, now))
            self._report(loop)

    def failed(self, loop: str, instance: str, error: Exception) -> None:
        """A turn raised this error. Logs it, if it is the first of its kind since the loop began to fail."""
        now, cause = self._clock.monotonic(), cause_of(error)
        kind = (cause, type(error).__name__)
        with self._lock:
            self._threads.add((loop, instance))
            found = self._failing.setdefault((loop, instance), _Failing(now, now, cause))
            found.last, found.times, found.cause = now, found.times + 1, cause
            found.is_own = not isinstance(error, OrderflowError)
            is_new = kind not in found.seen
            found.seen.add(kind)
            begins = found.reported_at is None and now - found.began >= FAILING_SECONDS
            goes_on = found.reported_at is not None and now - found.reported_at >= AGAIN_SECONDS
            if begins or goes_on:
                found.reported_at = now
        name = thread_name(loop, instance)
        if is_new and (isinstance(error, OrderflowError) or cause != Cause.UNEXPECTED):
            log.warning("loop_failed", loop=name, cause=cause, error=str(error))
        elif is_new:
            log.error("loop_broken", loop=name, error=type(error).__name__, where=place_of(error))
        if begins or goes_on:
            event = "loop_failing" if begins else "loop_still_failing"
            log.error(event, loop=name, cause=cause, times=found.times, seconds=_since(found, now))
            self._report(loop)

    def what_fails(self, own: Collection[Cause] = OWN_CAUSES) -> str:
        """Return the loops of which every thread fails for a cause in `own`, in words; an empty text if none does.

        The cause of an error that is none of ours is always the process's own: no store, log or remote reported it. If
        one thread of several fails, the others do its work, and the process stays useful.
        """
        with self._lock:
            fail = {
                at: one.cause
                for at, one in self._failing.items()
                if one.reported_at is not None and (one.is_own or one.cause in own)
            }
            found = [
                (loop, fail[loop, instance])
                for loop, instance in sorted(self._threads)
                if all(at in fail for at in self._threads if at[0] == loop)
            ]
        words = ", ".join(f"{loop} ({cause})" for loop, cause in dict.fromkeys(found))
        return f"failing for {FAILING_SECONDS:.0f} s: {words}" if words else ""

    def _report(self, loop: str) -> None:
        with self._lock:
            causes = Counter(
                one.cause for (of, _), one in self._failing.items() if of == loop and one.reported_at is not None
            )
        self._hooks.loop_failing(loop, causes)


def thread_name(loop: str, instance: str) -> str:
    """Return the name under which logs and probes show a loop. Its thread has this name, unless it is a poller."""
    return f"{loop}:{instance}" if instance else loop


def _since(found: _Failing, now: float) -> int:
    return round(now - found.began)
