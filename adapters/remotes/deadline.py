"""A deadline over a whole HTTP exchange: writing, the head of the answer, its body.

httpx limits each wait for a piece. A remote that sends one byte of a header at a time could hold a call for as long as
it likes. So the streams below httpx wait no longer than until the deadline of the call that their thread makes. The
same holds for the look-up of the host's name, and for its addresses: Python tries one after the other, each with the
whole limit.
"""

import socket
import ssl
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpcore
import httpx

from adapters.remotes.lookup import addresses


class _OfThread(threading.local):
    ends_at = float("inf")  # by time.perf_counter


_DEADLINE = _OfThread()


@contextmanager
def deadline(ends_at: float) -> Iterator[None]:
    """End every wait of this thread's calls at this moment of time.perf_counter, with a time-out."""
    _DEADLINE.ends_at = ends_at
    try:
        yield
    finally:
        _DEADLINE.ends_at = float("inf")


def backend() -> httpcore.NetworkBackend:
    """Return what opens connections that keep the deadlines."""
    return _Backend(httpcore.SyncBackend())


def keep_deadlines(transport: httpx.HTTPTransport) -> None:
    """Let the connections of this transport keep the deadlines. Has to be called before its first request."""
    # httpcore takes a network backend, but httpx 0.28 has no option for it.
    pool: Any = transport._pool
    pool._network_backend = _Backend(pool._network_backend)


def _left(timeout: float | None, error: type[Exception]) -> float | None:
    left = _DEADLINE.ends_at - time.perf_counter()
    if left <= 0:
        raise error("the deadline of the call has passed")
    return left if timeout is None else min(timeout, left)


class _Backend(httpcore.NetworkBackend):
    """Opens connections that keep deadlines."""

    def __init__(self, backend: httpcore.NetworkBackend) -> None:
        self._backend = backend

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Any = None,
    ) -> httpcore.NetworkStream:
        failed: Exception = httpcore.ConnectError("the name has no address")
        for address in addresses(host, port, _left(timeout, httpcore.ConnectTimeout)):
            left = _left(timeout, httpcore.ConnectTimeout)
            try:
                return _OfSocket(self._backend.connect_tcp(address, port, left, local_address, socket_options))
            except (httpcore.ConnectError, httpcore.ConnectTimeout) as error:
                failed = error
        raise failed

    def sleep(self, seconds: float) -> None:
        self._backend.sleep(seconds)


class _Stream(httpcore.NetworkStream):
    """A connection that keeps deadlines."""

    def __init__(self, stream: httpcore.NetworkStream) -> None:
        self._stream = stream

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        return self._stream.read(max_bytes, _left(timeout, httpcore.ReadTimeout))

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        self._stream.write(buffer, _left(timeout, httpcore.WriteTimeout))

    def close(self) -> None:
        self._stream.close()

    def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore.NetworkStream:
        left = _left(timeout, httpcore.ConnectTimeout)
        return _Stream(self._stream.start_tls(ssl_context, server_hostname, left))

    def get_extra_info(self, info: str) -> Any:
        return self._stream.get_extra_info(info)


class _OfSocket(_Stream):
    """The same for the stream of a socket, plain or with TLS.

    httpcore's stream sets the limit of the socket before each piece. That is a call of the operating system, in which
    another thread takes the interpreter: with 128 threads each such call costs more than all that it does. So a limit
    that the socket has already is not set again.
    """

    def __init__(self, stream: httpcore.NetworkStream) -> None:
        super().__init__(stream)
        self._socket: socket.socket = stream.get_extra_info("socket")

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        try:
            self._wait_at_most(_left(timeout, httpcore.ReadTimeout))
            return self._socket.recv(max_bytes)
        except TimeoutError as error:
            raise httpcore.ReadTimeout(error) from error
        except OSError as error:
            raise httpcore.ReadError(error) from error

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        left = memoryview(buffer)
        try:
            while left:
                self._wait_at_most(_left(timeout, httpcore.WriteTimeout))
                left = left[self._socket.send(left) :]
        except TimeoutError as error:
            raise httpcore.WriteTimeout(error) from error
        except OSError as error:
            raise httpcore.WriteError(error) from error

    def _wait_at_most(self, seconds: float | None) -> None:
        if self._socket.gettimeout() != seconds:
            self._socket.settimeout(seconds)

    def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore.NetworkStream:
        secured = self._stream.start_tls(ssl_context, server_hostname, _left(timeout, httpcore.ConnectTimeout))
        # TLS within the TLS of a proxy is no socket.
        return _Stream(secured) if isinstance(self._socket, ssl.SSLSocket) else _OfSocket(secured)
