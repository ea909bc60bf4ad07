"""A setting of a marketplace that is read at most once a day, beside the callers that need it."""

from collections.abc import Callable
from threading import Event, Lock
from typing import Final, Generic, TypeVar

import structlog

from adapters.errors import RemoteError
from adapters.ports import Clock
from adapters.remotes.beside import Run

log = structlog.get_logger("orderflow.mirakl")

_DAY_SECONDS: Final = 24 * 3600.0  # Mirakl allows one call of SH21 and SH12 per day
_AGAIN_SECONDS: Final = 600.0  # after this time a setting that could not be read is read again
#: How long a caller waits for the first read of a setting.
WAIT_SECONDS: Final = 2.0

T = TypeVar("T")


class Daily(Generic[T]):
    """What one operation reads. Any thread may ask for its value.

    The read is a task that `beside` runs, one at a time. Meanwhile callers get what was read before. Only the first
    read is waited for, once, for WAIT_SECONDS at most. If a read fails, what was read last stays.
    """

    def __init__(
        self, operation: str, read: Callable[[], T], clock: Clock, beside: Run, *, if_forbidden: T | None = None
    ) -> None:
        """`if_forbidden`: the value if the key lacks the role (403), and nothing was read before."""
        self._operation = operation
        self._read = read
        self._clock = clock
        self._beside = beside
        self._if_forbidden = if_forbidden
        self._value: T | None = None
        self._has_failed = False
        self._due_at = float("-inf")  # on the monotonic clock; infinite while a task reads, or will
        self._taking = Lock()  # held to take the read that is due
        self._is_over = Event()  # the first read ended, or was waited for in vain

    def value(self) -> T | None:
        """What was read last. None if nothing could be read so far, or if the first read takes longer.

        Raises AccountFault for a 401, because then no call of the account works, if `beside` runs the task at once.
        """
        with self._taking:
            is_due = self._clock.monotonic() >= self._due_at
            if is_due:
                self._due_at = float("inf")
        if is_due:
            self._beside(self._task)
        self._is_over.wait(WAIT_SECONDS)
        self._is_over.set()  # later calls do not wait
        return self._value

    def is_unread(self) -> bool:
        """Whether a read failed, and none has succeeded."""
        return self._has_failed and self._value is None

    def _task(self) -> None:
        seconds = 0.0  # after an error that is raised, the next caller's read is due
        try:
            self._value, seconds = self._read(), _DAY_SECONDS
        except RemoteError as error:
            if error.status == 401:
                raise
            log.warning("catalog_not_read", operation=self._operation, outcome=error.outcome, code=error.code)
            self._has_failed, seconds = True, _AGAIN_SECONDS
            if error.status == 403 and self._if_forbidden is not None:
                seconds = _DAY_SECONDS
                self._value = self._if_forbidden if self._value is None else self._value
        finally:
            self._due_at = self._clock.monotonic() + seconds
            self._is_over.set()
