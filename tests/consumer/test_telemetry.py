"""The log: a line that cannot be written is lost and counted, and the caller goes on."""

import errno
import io
import json
import os
import select
from collections import Counter
from collections.abc import Iterator

import pytest
import structlog

from adapters.errors import BrokenOrders, Cause, Retryable, StoreUnavailable
from consumer.log_lines import WAIT_SECONDS, LineWriter
from consumer.telemetry import LONGEST_VALUE, MOST_ENTRIES, LogHooks, configure_logging


@pytest.fixture(autouse=True)
def _as_before() -> Iterator[None]:
    yield
    structlog.reset_defaults()


class Refuses(io.StringIO):
    """A stream that takes no line: the disk is full, or nobody reads the pipe any more."""

    def __init__(self, error: int) -> None:
        super().__init__()
        self._error = error

    def write(self, _text: str) -> int:
        raise OSError(self._error, "")


@pytest.mark.parametrize("error", [errno.ENOSPC, errno.EPIPE, errno.EIO, None])
def test_a_line_that_cannot_be_written_is_lost_and_counted(error: int | None) -> None:
    counted: Counter[str] = Counter()
    stream = io.StringIO() if error is None else Refuses(error)
    configure_logging(lambda level: counted.update([level]), lambda: counted.update(["lost"]), stream)
    if error is None:
        stream.close()
    structlog.get_logger("orderflow").error("dead_lettered", place="t/0/1")
    structlog.get_logger("orderflow").warning("fenced")
    assert counted == {"error": 1, "warning": 1, "lost": 2}


def test_a_value_that_cannot_be_rendered_loses_its_line_only() -> None:
    class Bad:
        def __repr__(self) -> str:
            raise ZeroDivisionError

    lost: list[str] = []
    stream = io.StringIO()
    configure_logging(lambda _level: None, lambda: lost.append("lost"), stream)
    structlog.get_logger("orderflow").info("first", value=Bad())
    structlog.get_logger("orderflow").info("second")
    assert lost == ["lost"]
    assert [json.loads(line)["event"] for line in stream.getvalue().splitlines()] == ["second"]


def test_a_pipe_that_nobody_reads_holds_up_no_caller(monkeypatch: pytest.MonkeyPatch) -> None:
    """After the first line that waited in vain, no line waits. When the reader reads again, lines are written again."""
    waits, polls = [], select.poll

    class Noted:
        """select.poll. It notes how long each call may wait."""

        def __init__(self) -> None:
            self._poll = polls()
            self.register = self._poll.register

        def poll(self, milliseconds: float) -> list[tuple[int, int]]:
            waits.append(milliseconds)
            return self._poll.poll(milliseconds)

    monkeypatch.setattr(select, "poll", Noted)
    reader, writer = os.pipe()
    lost: list[str] = []
    with os.fdopen(reader, "rb") as out, os.fdopen(writer, "w") as stream:
        configure_logging(lambda _level: None, lambda: lost.append("lost"), stream)
        log = structlog.get_logger("orderflow")
        while len(lost) < 100:
            log.info("filling", text="x" * 3000)
        assert waits[-100:] == [WAIT_SECONDS * 1000] + [0.0] * 99
        os.set_blocking(reader, False)
        while out.read(1 << 20):
            pass
        log.info("again")
        assert b'"again"' in (out.read() or b"")
        assert len(lost) == 100


@pytest.mark.parametrize("length", [1, select.PIPE_BUF - 1, 3 * select.PIPE_BUF])
def test_a_line_of_any_length_reaches_a_pipe_whole(length: int) -> None:
    reader, writer = os.pipe()
    with os.fdopen(reader, "rb") as out, os.fdopen(writer, "w") as stream:
        LineWriter(stream).msg("x" * length)
        assert os.read(out.fileno(), 1 << 20) == b"x" * length + b"\n"


def test_a_failed_poll_says_why_there_was_no_answer() -> None:
    stream = io.StringIO()
    configure_logging(lambda _level: None, lambda: None, stream)
    LogHooks().poll_failed("alpha", Retryable("OR11", "network", cause=Cause.TLS))
    line = json.loads(stream.getvalue())
    assert line["event"] == "poll_failed"
    assert line["cause"] == "tls"


def test_a_poll_that_the_store_makes_fail_has_the_cause() -> None:
    stream = io.StringIO()
    configure_logging(lambda _level: None, lambda: None, stream)
    LogHooks().poll_failed("alpha", StoreUnavailable("LockNotAvailable", Cause.LOCKED))
    line = json.loads(stream.getvalue())
    assert (line["error"], line["cause"]) == ("LockNotAvailable", "locked")


def test_a_line_has_a_bound_whatever_is_in_it() -> None:
    stream = io.StringIO()
    configure_logging(lambda _level: None, lambda: None, stream)
    orders = {("alpha", f"{number}-A"): "ValueError" for number in range(500)}
    structlog.get_logger("orderflow").warning("loop_failed", error=str(BrokenOrders(orders)), partitions=["t/1"] * 500)
    structlog.get_logger("orderflow").warning("loop_failed", error="x" * 1_000_000)
    first, second = (json.loads(line) for line in stream.getvalue().splitlines())
    assert "and 495 more" in first["error"]
    assert len(first["partitions"]) == MOST_ENTRIES + 1
    assert second["error"] == "x" * LONGEST_VALUE + "... (1000000 characters)"
