"""Writes log lines to a stream without waiting for its reader.

A pipe whose reader lives and does not read is full after 64 KiB. An ordinary write would then wait for the reader, and
each loop of the process would stand still at its next line. So a line is written only if the stream has room for it.
"""

import io
import os
import select
import stat
import sys
import threading
from typing import Any, Final

#: How long a line waits for room. After a line has waited in vain, the next lines do not wait, until one is written.
WAIT_SECONDS: Final = 0.5
#: A pipe that has room takes so many bytes without waiting (POSIX).
PIECE: Final = select.PIPE_BUF


class NobodyReads(OSError):
    """The stream has no room, so the line was not written, or not to its end."""


class LineWriter:
    """A logger of structlog: `msg` writes a line. Any thread may call."""

    def __init__(self, stream: Any = None) -> None:
        self._stream = stream or sys.stdout
        self._lock = threading.Lock()
        self._waits_seconds = WAIT_SECONDS
        self._is_torn = False  # the last line was not written to its end
        self._descriptor = _that_may_be_full(self._stream)

    def msg(self, message: str) -> None:
        """Write a line. Raises NobodyReads, another OSError, or ValueError if the stream is closed."""
        with self._lock:
            if self._descriptor is None:
                self._stream.write(f"{message}\n")
                self._stream.flush()
            else:
                self._write(f"{message}\n".encode(errors="replace"))

    log = debug = info = warn = warning = msg
    fatal = failure = err = error = critical = exception = msg

    def _write(self, line: bytes) -> None:
        self._stream.flush()
        line = b"\n" + line if self._is_torn else line
        for begin in range(0, len(line), PIECE):
            if not self._has_room():
                self._waits_seconds = 0.0
                raise NobodyReads
            os.write(self._descriptor or 0, line[begin : begin + PIECE])
            self._is_torn = True
        self._is_torn = False
        self._waits_seconds = WAIT_SECONDS

    def _has_room(self) -> bool:
        poll = select.poll()
        poll.register(self._descriptor or 0, select.POLLOUT)
        return bool(poll.poll(self._waits_seconds * 1000))


def _that_may_be_full(stream: Any) -> int | None:
    """Return the descriptor of a pipe, a socket or a terminal, whose reader may not read. None for any other stream."""
    try:
        descriptor: int = stream.fileno()
        mode = os.fstat(descriptor).st_mode
    except (OSError, ValueError, AttributeError, io.UnsupportedOperation):
        return None
    return descriptor if stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode) or stat.S_ISCHR(mode) else None
