"""The connections of one client, each used by one call at a time, the last used first.

httpcore's own pool looks at every connection for every call, and asks the operating system whether those at rest are
still open. With 64 of them a call took twice the CPU time.
"""

import ssl
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from typing import Any

import httpcore
import httpx

from adapters.remotes.deadline import backend

#: A connection that rests this long is closed.
REST_SECONDS = 30.0


class Connections(httpx.BaseTransport):
    """Carries requests over at most so many connections. Any thread may use it."""

    def __init__(
        self, connect: Callable[[], httpx.BaseTransport], most: int, monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        """`connect` makes a transport of one connection, which connects at its first request."""
        self._connect = connect
        self._monotonic = monotonic
        self._room = threading.BoundedSemaphore(most)
        self._lock = threading.Lock()
        self._resting: deque[tuple[float, httpx.BaseTransport]] = deque()  # since when; the last used at the right

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """Send a request. Its connection is free again when the response is closed. Raises httpx.PoolTimeout if none
        becomes free in time."""
        if not self._room.acquire(timeout=request.extensions["timeout"]["pool"]):
            raise httpx.PoolTimeout("every connection is in use", request=request)
        with self._lock:
            connection = self._resting.pop()[1] if self._resting else None
        held = _Held(connection or self._connect(), self._rest)
        try:
            response = held.connection.handle_request(request)
        except BaseException:
            held.free()
            raise
        assert isinstance(response.stream, httpx.SyncByteStream)  # noqa: S101 - that of a transport always is
        held.body = response.stream
        response.stream = held
        return response

    def _rest(self, connection: httpx.BaseTransport) -> None:
        now, closing = self._monotonic(), []
        with self._lock:
            self._resting.append((now, connection))
            while self._resting[0][0] < now - REST_SECONDS:
                closing.append(self._resting.popleft()[1])
        self._room.release()
        for one in closing:
            one.close()

    def close(self) -> None:
        """Close the connections that rest."""
        with self._lock:
            closing, self._resting = self._resting, deque()
        for _, one in closing:
            one.close()


class OneConnection(httpx.BaseTransport):
    """One connection to the host of its requests, opened again when it is closed. One call at a time may use it.

    httpx.HTTPTransport has a pool, also for a single connection, and asks the operating system twice for each call
    whether the remote has closed it.
    """

    def __init__(self, tls: ssl.SSLContext) -> None:
        self._tls = tls
        self._connection: httpcore.HTTPConnection | None = None

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """Send a request. Raises httpx.TransportError."""
        scheme, host, port = request.url.raw_scheme, request.url.raw_host, request.url.port
        url = httpcore.URL(scheme=scheme, host=host, port=port, target=request.url.raw_path)
        connection = self._open(url.origin)
        content: Any = request.stream
        try:
            found = connection.handle_request(
                httpcore.Request(
                    request.method, url, headers=request.headers.raw, content=content, extensions=request.extensions
                )
            )
        except Exception as error:
            raise _as_httpx(error) from error
        return httpx.Response(
            found.status, headers=found.headers, stream=_Body(found.stream), extensions=found.extensions
        )

    def _open(self, origin: httpcore.Origin) -> httpcore.HTTPConnection:
        known = self._connection
        if known is not None and known.is_available() and not known.has_expired():
            return known
        self.close()
        self._connection = httpcore.HTTPConnection(
            origin, ssl_context=self._tls, keepalive_expiry=REST_SECONDS, network_backend=backend()
        )
        return self._connection

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()


class _Body(httpx.SyncByteStream):
    """The body of an answer, as httpcore reads it."""

    def __init__(self, stream: Any) -> None:
        self._httpcore_stream = stream

    def __iter__(self) -> Iterator[bytes]:
        try:
            yield from self._httpcore_stream
        except Exception as error:
            raise _as_httpx(error) from error

    def close(self) -> None:
        self._httpcore_stream.close()


def _as_httpx(error: Exception) -> Exception:
    """The error of httpx that has the same name as this one of httpcore. Any other error is returned as it is."""
    is_of_httpcore = type(error).__module__.partition(".")[0] == "httpcore"
    kind = getattr(httpx, type(error).__name__, None) if is_of_httpcore else None
    return kind(str(error)) if kind else error


class _Held(httpx.SyncByteStream):
    """A connection in use, and the body of the response that it carries."""

    def __init__(self, connection: httpx.BaseTransport, rest: Callable[[httpx.BaseTransport], None]) -> None:
        self.connection = connection
        self.body: httpx.SyncByteStream | None = None
        self._rest = rest
        self._is_held = True

    def __iter__(self) -> Iterator[bytes]:
        yield from self.body or ()

    def close(self) -> None:
        if self.body is not None:
            self.body.close()
        self.free()

    def free(self) -> None:
        if self._is_held:
            self._is_held = False
            self._rest(self.connection)


def close_whole(response: httpx.Response) -> None:
    """Close a response, and its connection too if the remote has sent more than this answer.

    Otherwise what came too much would be read as the answer to the next request: the answer about one order would
    count for another one.
    """
    if _has_more(response):
        response.extensions["network_stream"].close()
    response.close()


def _has_more(response: httpx.Response) -> bool:
    # Only the parser of httpcore knows what it has read behind the answer, and httpcore has no name for it.
    carrier: Any = response.stream
    for name in ("body", "_httpcore_stream", "_stream", "_connection"):
        carrier = getattr(carrier, name, carrier)
    parser = getattr(carrier, "_h11_state", None)
    return parser is not None and bool(parser.trailing_data[0])
