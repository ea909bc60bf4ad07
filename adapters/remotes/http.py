"""One HTTP call to a remote. It is timed and counted, and each way in which it can end has a name.

docs/limits.md lists what a remote that lies cannot do.
"""

import re
import socket
import ssl
import zlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from enum import StrEnum
from functools import partial
from pathlib import Path
from time import perf_counter
from typing import Any, Final, NoReturn, TypeVar, cast

import httpx

from adapters.errors import AccountFault, Cause, OutcomeUnknown, Rejected, RemoteError, Retryable
from adapters.ports import OnCall
from adapters.remotes.connections import REST_SECONDS, Connections, OneConnection, close_whole
from adapters.remotes.deadline import deadline, keep_deadlines

T = TypeVar("T")
#: Carries the requests of a client. A client without one uses the network.
Transport = httpx.BaseTransport

MAX_BODY_BYTES: Final = 4 * 1024 * 1024  # a page of 100 orders has about 1 MB
#: A compressed answer is decompressed in pieces of this size, so that the limit above holds for what comes out.
_PIECE_BYTES: Final = 64 * 1024
_DAY_SECONDS: Final = 86_400.0


#: An answer with one of these statuses comes from a gateway, unless it has a code of the remote's own. The code 0, and
#: a code that repeats the status, do not count as one. A gateway's answer says nothing about the order, and a later
#: call can succeed.
GATEWAY_STATUSES: Final = frozenset({404, 409, 423, 425})


class CallOutcome(StrEnum):
    """How a call ended: by its HTTP status, except where the body says more (docs/kornitx.md 6).

    The set is closed, because it is a label of `orderflow_api_requests_total` (docs/rules.md 35).
    """

    SUCCESS = "2xx"
    BAD_REQUEST = "400"
    UNAUTHORIZED = "401"
    FORBIDDEN = "403"
    NOT_FOUND = "404"
    CONFLICT = "409"
    TOO_MANY_REQUESTS = "429"
    OTHER_4XX = "4xx"  # also a redirect
    SERVER_ERROR = "5xx"
    TIMEOUT = "timeout"
    NETWORK = "network"
    BODY_ERROR = "body_error"  # status 2xx, but the body reports an error or is not the expected JSON


_NAMED: Final = {outcome.value: outcome for outcome in CallOutcome if outcome.isdecimal()}


def outcome_of(status: int) -> CallOutcome:
    """The outcome of a call that was answered with this HTTP status."""
    if 200 <= status < 300:
        return CallOutcome.SUCCESS
    other = CallOutcome.SERVER_ERROR if status >= 500 else CallOutcome.OTHER_4XX
    return _NAMED.get(str(status), other)


@dataclass(frozen=True, slots=True)
class Reply:
    """A remote's answer, with its whole body."""

    status: int
    headers: httpx.Headers
    body: bytes

    @property
    def outcome(self) -> CallOutcome:
        return outcome_of(self.status)


class BodyTooLong(httpx.ReadError):
    """The answer is longer than we read. The words of the RemoteError are the name of this class."""


@dataclass(frozen=True, slots=True)
class Network:
    """How remotes are reached.

    `tls` holds the certificates that are trusted; None: those of the package certifi. `proxy` is the URL of a proxy for
    https. With `from_environment`, SSL_CERT_FILE, HTTPS_PROXY and NO_PROXY count where the others are None.
    `connections`: the most of each client; a call that finds none waits for one.
    """

    tls: ssl.SSLContext | None = None
    proxy: str | None = None
    from_environment: bool = False
    connections: int = 16


def network(ca_file: Path | None, proxy: str | None, *, from_environment: bool) -> Network:
    """Make the one Network that all clients of a process share, because each TLS context takes time and memory.

    `ca_file`: the certificates that are trusted, in PEM. Raises OSError if the file cannot be used.
    """
    tls = None
    if ca_file is not None:
        tls = ssl.create_default_context(cafile=ca_file)
    elif not from_environment:
        tls = httpx.create_ssl_context(trust_env=False)
    return Network(tls, proxy, from_environment)


#: The network without a proxy, with the certificates of certifi.
DIRECT: Final = Network()


@dataclass(frozen=True, slots=True)
class Sink:
    """Takes the body of a 2xx answer piece by piece, so that a large body is never in memory as a whole."""

    write: Callable[[bytes], object]
    max_bytes: int
    max_seconds: float  # from the start of the call to the last piece


def ambiguous_failure(*, writes: bool) -> type[RemoteError]:
    """The class of the error for a call that may have reached the remote.

    A read can be repeated, so it is Retryable. A write may have been carried out, so it is OutcomeUnknown.
    """
    return OutcomeUnknown if writes else Retryable


def http_date(text: str | None) -> datetime | None:
    """Read the date in a header, and convert it to UTC. None if the header is absent or not a date."""
    try:
        read = parsedate_to_datetime(text or "")
        return read.replace(tzinfo=UTC) if read.tzinfo is None else read.astimezone(UTC)
    except (ValueError, TypeError, OverflowError):
        return None


def retry_after_seconds(headers: httpx.Headers) -> float | None:
    """The header Retry-After in seconds, at most a day. None if it is absent or cannot be read.

    If it is a date, the seconds count from the header Date of the same answer, because our clock may differ.
    """
    text = headers.get("Retry-After", "").strip()
    if text.isascii() and text.isdigit():
        return min(float(text[:9]), _DAY_SECONDS)
    until, now = http_date(text), http_date(headers.get("Date"))
    if until is None or now is None:
        return None
    return min(max((until - now).total_seconds(), 0.0), _DAY_SECONDS)


def safe_code(code: object) -> str:
    """`code` if it looks like an error code, else "".

    Codes are written into the texts of errors. A remote's words must not be: they may contain personal data.
    """
    text = str(code) if isinstance(code, str | int) and not isinstance(code, bool) else ""
    return text if re.fullmatch(r"[A-Za-z0-9_.-]{1,64}", text) else ""


def _connect_by(network: Network) -> Callable[[], OneConnection]:
    return partial(OneConnection, network.tls or httpx.create_ssl_context(trust_env=False))


class Remote:
    """One account at a remote, with a pool of connections. Any thread may use it."""

    def __init__(
        self,
        system: str,
        base_url: str,
        on_call: OnCall,
        timeout_seconds: float,
        transport: Transport | None,
        *,
        network: Network = DIRECT,
    ) -> None:
        """`system` is the metric's label: "mirakl" or "oms". `transport` None: the calls go to the network.

        `timeout_seconds` limits each wait for a piece of the answer. A call without a sink also fails if it takes twice
        this time: a slow remote must not hold the call longer than the lease of its command. A sink has its own limit.
        """
        self._system = system
        self._on_call = on_call
        self._timeout_seconds = timeout_seconds
        short = min(5.0, timeout_seconds)
        proxy = network.proxy if base_url.startswith("https:") else None
        if transport is None and proxy is None and not network.from_environment:
            transport = Connections(_connect_by(network), network.connections)
        self._client = httpx.Client(
            base_url=base_url,
            timeout=httpx.Timeout(timeout_seconds, connect=short, pool=short),
            limits=httpx.Limits(
                max_connections=network.connections,
                max_keepalive_connections=network.connections,
                keepalive_expiry=REST_SECONDS,
            ),
            headers={"Accept": "application/json", "User-Agent": "orderflow", "Accept-Encoding": "gzip"},
            follow_redirects=False,
            trust_env=network.from_environment,
            verify=network.tls or True,
            proxy=proxy,
            transport=transport,
        )
        for one in (self._client._transport, *self._client._mounts.values()):
            if isinstance(one, httpx.HTTPTransport):
                keep_deadlines(one)
        self._address = str(self._client.base_url).rstrip("/")
        self._headers = {name.title(): value for name, value in self._client.headers.items()}
        self._extensions = {"timeout": self._client.timeout.as_dict()}

    def call(
        self,
        operation: str,
        method: str,
        path: str,
        read: Callable[[Reply], T],
        *,
        authorization: str,
        params: Mapping[str, str] | None = None,
        content: bytes | None = None,
        sink: Sink | None = None,
    ) -> T:
        """Send one request, and return the result of `read` for the answer. Calls `on_call` once, with the outcome.

        With a `sink` the body of a 2xx answer goes to it, and `read` gets an answer without a body. Raises RemoteError,
        from the call itself or from `read`, and what the sink raises.
        """
        outcome: str = CallOutcome.NETWORK
        retry_after = 0.0
        started = perf_counter()
        try:
            headers = self._headers | _headers(operation, authorization, content)
            if sink is not None:
                headers |= {"Accept": "*/*", "Accept-Encoding": "identity"}  # nothing is decompressed into a huge piece
            request = self._request(operation, method, path, params=params, headers=headers, content=content)
            reply = self._exchange(operation, request, started, sink)
            outcome = reply.outcome
            return read(reply)
        except RemoteError as error:
            outcome, retry_after = error.outcome, error.retry_after_seconds or 0.0
            raise
        finally:
            self._on_call(self._system, operation, outcome, perf_counter() - started, retry_after_seconds=retry_after)

    def _request(self, operation: str, method: str, path: str, **options: Any) -> httpx.Request:
        """Build a request. Raises Rejected if its URL cannot be built, because the same request would fail again.

        httpx.Client.build_request makes the same one, and parses the URL three times for it.
        """
        try:
            return httpx.Request(method, self._address + path, **options, extensions=self._extensions)
        except (httpx.InvalidURL, UnicodeError) as error:
            raise Rejected(operation, CallOutcome.OTHER_4XX, words=type(error).__name__) from None

    def _send(self, request: httpx.Request) -> httpx.Response:
        """Send a request. httpx.Client.send would look after redirects, cookies, hooks and authentication, which no
        call here has. Without it and `build_request` a call takes 0.5 ms of CPU in place of 0.7."""
        return self._client._transport_for_url(request.url).handle_request(request)

    def _exchange(self, operation: str, request: httpx.Request, started: float, sink: Sink | None) -> Reply:
        # Errors are raised `from None`, because the texts of httpx's errors contain addresses and headers.
        seconds = sink.max_seconds if sink is not None else 2 * self._timeout_seconds
        try:
            with deadline(started + seconds):
                response = self._send(request)
                try:
                    return Reply(response.status_code, response.headers, self._body(response, started, sink))
                finally:
                    close_whole(response)
        except (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout) as error:
            _fail(Retryable, operation, error)  # nothing was sent
        except (httpx.HTTPError, httpx.InvalidURL, httpx.StreamError, httpx.CookieConflict) as error:
            _fail(ambiguous_failure(writes=request.method != "GET"), operation, error)

    def _body(self, response: httpx.Response, started: float, sink: Sink | None) -> bytes:
        """Read the whole body, within a limit for all pieces together. What goes to the sink is not returned.

        httpx limits only the wait for each piece. A remote that sends one byte at a time could hold the call longer
        than the lease of its command.
        """
        body = bytearray()
        into = Sink(body.extend, MAX_BODY_BYTES, 2 * self._timeout_seconds)
        if sink is not None and response.is_success:
            into = sink
        size = 0
        for chunk in _decoded(response):
            size += len(chunk)
            if size > into.max_bytes:
                raise BodyTooLong("too long")
            if perf_counter() - started > into.max_seconds:
                raise httpx.ReadTimeout("too slow")
            into.write(chunk)
        return bytes(body)

    def close(self) -> None:
        self._client.close()


def _decoded(response: httpx.Response) -> Iterator[bytes]:
    """The body in pieces, after at most one layer of gzip. Raises httpx.DecodingError for any other encoding.

    httpx would undo any number of layers, and pieces of any size: with two layers, 4 kB can become 4 GB.
    """
    encodings = [one.strip().lower() for one in response.headers.get("Content-Encoding", "").split(",")]
    layers = [one for one in encodings if one not in ("", "identity")]
    if layers not in ([], ["gzip"], ["x-gzip"]):
        raise httpx.DecodingError("an encoding that was not asked for")
    raw = cast(Iterator[bytes], response.stream)
    yield from _unzipped(raw) if layers else raw


def _unzipped(raw: Iterator[bytes]) -> Iterator[bytes]:
    decoder, is_empty = zlib.decompressobj(zlib.MAX_WBITS | 16), True
    for received in raw:
        left = received
        while left:
            if decoder.eof:
                raise httpx.DecodingError("more after the end")
            is_empty = False
            try:
                yield decoder.decompress(left, _PIECE_BYTES)
            except zlib.error:
                raise httpx.DecodingError("not gzip") from None
            left = decoder.unconsumed_tail or decoder.unused_data
    if not is_empty and not decoder.eof:
        raise httpx.DecodingError("cut off")


def _headers(operation: str, authorization: str, content: bytes | None) -> dict[str, str]:
    if not (authorization.isascii() and authorization.isprintable()):
        # httpx would refuse the key too, but the text of its error contains the key, which is a secret.
        words = "the key holds characters that no header can carry"
        raise AccountFault(operation, CallOutcome.UNAUTHORIZED, words=words)
    json_type = {} if content is None else {"Content-Type": "application/json"}
    return {"Authorization": authorization, **json_type}


def _fail(kind: type[RemoteError], operation: str, error: Exception) -> NoReturn:
    outcome = CallOutcome.TIMEOUT if isinstance(error, httpx.TimeoutException) else CallOutcome.NETWORK
    raise kind(operation, outcome, words=type(error).__name__, cause=_cause(error)) from None


def _cause(error: BaseException) -> Cause:
    """Return why there was no answer. httpx wraps the error of the socket, so its causes are looked at too."""
    chain: list[BaseException] = []
    one: BaseException | None = error
    while one is not None and one not in chain:
        chain.append(one)
        one = one.__cause__ or one.__context__
    for kinds, cause in _CAUSES:
        if any(isinstance(one, kinds) for one in chain):
            return cause
    return Cause.CONNECTION


#: The first that fits counts: an error of TLS is an OSError too.
_CAUSES: Final[tuple[tuple[tuple[type[BaseException], ...], Cause], ...]] = (
    ((BodyTooLong,), Cause.TOO_LONG),
    ((httpx.TimeoutException,), Cause.TIMEOUT),
    ((ssl.SSLError,), Cause.TLS),
    ((socket.gaierror,), Cause.DNS),
    ((ConnectionRefusedError,), Cause.REFUSED),
)
