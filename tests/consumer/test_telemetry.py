"""The log: a line that cannot be written is lost and counted, and the caller goes on."""

import errno
import io
import json
from collections import Counter
from collections.abc import Iterator

import pytest
import structlog

from consumer.telemetry import configure_logging


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
