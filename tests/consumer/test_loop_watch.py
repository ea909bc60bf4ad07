"""A loop that fails is one line when it begins, one while it lasts, one when it is over, and a metric."""

import errno
from collections.abc import Mapping

import pytest
from structlog.testing import capture_logs
from structlog.typing import EventDict

from adapters.errors import Cause, ConfigError, Fenced, LogUnavailable, Retryable, StoreUnavailable, cause_of
from consumer.hooks import Hooks
from consumer.loop_watch import AGAIN_SECONDS, FAILING_SECONDS, QUIET_SECONDS, LoopWatch
from tests.support import StillClock


class Told(Hooks):
    def __init__(self) -> None:
        self.failing: list[tuple[str, Mapping[Cause, int]]] = []

    def loop_failing(self, loop: str, causes: Mapping[Cause, int]) -> None:
        self.failing.append((loop, dict(causes)))


FULL = StoreUnavailable("OperationalError", Cause.DISK_FULL)


def fail(watch: LoopWatch, clock: StillClock, seconds: int, error: Exception = FULL, instance: str = "0") -> None:
    """Fail once a second for so long."""
    for _ in range(seconds):
        watch.failed("worker", instance, error)
        clock.advance(1)


def events(lines: list[EventDict]) -> list[tuple[str, str]]:
    return [(line["log_level"], line["event"]) for line in lines]


def test_a_full_disk_is_three_lines_in_all() -> None:
    """Seen before: twelve warnings a second for as long as the disk was full."""
    clock, told = StillClock(), Told()
    watch = LoopWatch(clock, told)
    with capture_logs() as lines:
        fail(watch, clock, int(FAILING_SECONDS))
        assert events(lines) == [("warning", "loop_failed")]
        assert watch.what_fails({Cause.DISK_FULL}) == ""
        fail(watch, clock, int(AGAIN_SECONDS) + 1)
        clock.advance(QUIET_SECONDS)
        assert watch.what_fails({Cause.DISK_FULL}) == "failing for 60 s: worker (disk_full)"
        watch.succeeded("worker", "0")
        watch.succeeded("worker", "0")
    assert events(lines) == [
        ("warning", "loop_failed"),
        ("error", "loop_failing"),
        ("error", "loop_still_failing"),
        ("info", "loop_recovered"),
    ]
    assert [(line["loop"], line["cause"]) for line in lines[:3]] == [("worker:0", Cause.DISK_FULL)] * 3
    assert lines[-1]["times"] == FAILING_SECONDS + AGAIN_SECONDS + 1
    assert told.failing == [("worker", {Cause.DISK_FULL: 1}), ("worker", {Cause.DISK_FULL: 1}), ("worker", {})]
    assert watch.what_fails({Cause.DISK_FULL}) == ""


def test_a_failure_that_is_over_within_a_minute_is_one_warning() -> None:
    clock, told = StillClock(), Told()
    watch = LoopWatch(clock, told)
    with capture_logs() as lines:
        fail(watch, clock, 20)
        clock.advance(QUIET_SECONDS)
        watch.succeeded("worker", "0")
        fail(watch, clock, 20)
    assert events(lines) == [("warning", "loop_failed")] * 2
    assert told.failing == []


def test_turns_that_succeed_between_failures_do_not_hide_them() -> None:
    """A client of Kafka that fails joins its group again, in a turn that succeeds."""
    clock = StillClock()
    watch = LoopWatch(clock, Told())
    for _ in range(int(FAILING_SECONDS)):
        watch.failed("consumer", "", LogUnavailable("AssertionError"))
        clock.advance(1)
        watch.succeeded("consumer")
        clock.advance(1)
    assert watch.what_fails({Cause.OTHER}) == "failing for 60 s: consumer (other)"


def test_one_thread_of_several_that_fails_leaves_the_process_ready() -> None:
    clock = StillClock()
    watch = LoopWatch(clock, Told())
    watch.succeeded("worker", "1")
    fail(watch, clock, 62, ZeroDivisionError(), "0")
    assert watch.what_fails() == ""
    fail(watch, clock, 62, ZeroDivisionError(), "1")
    fail(watch, clock, 1, ZeroDivisionError(), "0")
    assert watch.what_fails() == "failing for 60 s: worker (unexpected)"


def test_a_remote_or_a_server_that_fails_is_no_fault_of_the_process() -> None:
    clock = StillClock()
    watch = LoopWatch(clock, Told())
    fail(watch, clock, 62, StoreUnavailable("OperationalError", Cause.CONNECTION))
    assert watch.what_fails() == ""


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
def test_a_full_disk_of_this_machine_is_named_and_makes_the_process_unready(number: int) -> None:
    clock, told = StillClock(), Told()
    watch = LoopWatch(clock, told)
    with capture_logs() as lines:
        fail(watch, clock, 62, OSError(number, "No space left on device", "/tmp"))
    assert [(line["event"], line["cause"]) for line in lines] == [
        ("loop_failed", Cause.DISK_FULL),
        ("loop_failing", Cause.DISK_FULL),
    ]
    assert "/tmp" in str(lines[0]["error"])
    assert told.failing == [("worker", {Cause.DISK_FULL: 1})]
    assert watch.what_fails() == "failing for 60 s: worker (disk_full)"


def test_each_kind_of_unexpected_error_has_one_line_with_its_place() -> None:
    clock = StillClock()
    watch = LoopWatch(clock, Told())
    with capture_logs() as lines:
        for _ in range(5):
            fail(watch, clock, 1, ZeroDivisionError())
            fail(watch, clock, 1, KeyError("a name of a person"))
    assert [(line["event"], line["error"]) for line in lines] == [
        ("loop_broken", "ZeroDivisionError"),
        ("loop_broken", "KeyError"),
    ]
    assert "a name of a person" not in repr(lines)


@pytest.mark.parametrize(
    ("error", "cause"),
    [
        (StoreUnavailable("x", Cause.TLS), Cause.TLS),
        (LogUnavailable("x", Cause.DNS), Cause.DNS),
        (Fenced(), Cause.FENCED),
        (ConfigError("x"), Cause.CONFIG),
        (Retryable("OR11", "timeout"), Cause.REMOTE),
        (KeyError("x"), Cause.UNEXPECTED),
        (OSError(errno.ENOSPC, "x"), Cause.DISK_FULL),
        (OSError(errno.EPERM, "x"), Cause.UNEXPECTED),
    ],
)
def test_every_error_has_a_cause_of_the_closed_set(error: Exception, cause: Cause) -> None:
    assert cause_of(error) == cause
