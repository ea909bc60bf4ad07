"""What both remotes have in common: one call, timed, counted, and every way in which the network can fail."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from time import perf_counter
from typing import Final, NoReturn, TypeVar

import httpx

from adapters.errors import AccountFault, OutcomeUnknown, RemoteError, Retryable
from adapters.ports import OnCall

T = TypeVar("T")

_NAMED: Final = (400, 401, 403, 404, 409, 429)
_MAX_BODY_BYTES: Final = 64 * 1024 * 1024  # a page of 100 orders has about one
_DAY_SECONDS: Final = 86_400.0


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer, read to its end."""

    status: int
    headers: httpx.Headers
    body: bytes


def outcome_of(status: int) -> str:
    """The metric's label of a status, of a closed set (docs/rules.md 35). A redirect counts as 4xx."""
    if 200 <= status < 300:
        return "2xx"
    if status in _NAMED:
        return str(status)
    return "5xx" if status >= 500 else "4xx"


def ambiguous_failure(writes: bool) -> type[RemoteError]:
    """The failure of a call that may have arrived: a read may be repeated, a write may have been carried out."""
    return OutcomeUnknown if writes else Retryable


def http_date(text: str | None) -> datetime | None:
    """The date in a header, aware; None if there is none."""
    try:
        read = parsedate_to_datetime(text or "")
        return read.replace(tzinfo=UTC) if read.tzinfo is None else read.astimezone(UTC)
    except (ValueError, TypeError, OverflowError):
        return None


def retry_after_seconds(headers: httpx.Headers) -> float | None:
    """Retry-After in seconds, at most a day; a date counts from the answer's own Date. None if absent or unreadable."""
    text = headers.get("Retry-After", "").strip()
    if text.isascii() and text.isdigit():
        return min(float(text[:9]), _DAY_SECONDS)
    until, now = http_date(text), http_date(headers.get("Date"))
    if until is None or now is None:
        return None
    return min(max((until - now).total_seconds(), 0.0), _DAY_SECONDS)


def safe_code(code: object) -> str:
    """A remote's error code if it looks like one, else "": it goes into exception texts, where its words may not."""
    text = str(code) if isinstance(code, str | int) and not isinstance(code, bool) else ""
    return text if re.fullmatch(r"[A-Za-z0-9_.-]{1,64}", text) else ""


class Remote:
    """One remote account over one connection pool. `call` is all that it does."""

    def __init__(
        self,
        system: str,
        base_url: str,
        on_call: OnCall,
        timeout_seconds: float,
        transport: httpx.BaseTransport | None,
    ) -> None:
        self._system = system
        self._on_call = on_call
        self._timeout_seconds = timeout_seconds
        short = min(5.0, timeout_seconds)
        self._client = httpx.Client(
            base_url=base_url,
            timeout=httpx.Timeout(timeout_seconds, connect=short, pool=short),
            limits=httpx.Limits(max_connections=16, max_keepalive_connections=16, keepalive_expiry=30.0),
            headers={"Accept": "application/json", "User-Agent": "orderflow"},
            follow_redirects=False,
            trust_env=False,
            transport=transport,
        )

    def call(
        self,
        operation: str,
        method: str,
        path: str,
        read: Callable[[Reply], T],
        *,
        authorization: str,
        params: dict[str, str] | None = None,
        content: bytes | None = None,
    ) -> T:
        """Send one request and hand the answer to `read`, which returns what it means or raises RemoteError.

        `on_call` hears of it once, with the label of what came out. Raises RemoteError.
        """
        outcome = "network"
        started = perf_counter()
        try:
            headers = _headers(operation, authorization, content)
            request = self._client.build_request(method, path, params=params, headers=headers, content=content)
            reply = self._exchange(operation, request, started)
            outcome = outcome_of(reply.status)
            return read(reply)
        except RemoteError as error:
            outcome = error.outcome
            raise
        finally:
            self._on_call(self._system, operation, outcome, perf_counter() - started)

    def _exchange(self, operation: str, request: httpx.Request, started: float) -> Reply:
        # `from None` throughout: the library's errors quote addresses and headers.
        writes = request.method != "GET"
        try:
            response = self._client.send(request, stream=True)
            try:
                return Reply(response.status_code, response.headers, self._body(response, started))
            finally:
                response.close()
        except (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout) as error:
            _fail(Retryable, operation, error)  # nothing was sent
        except httpx.RequestError as error:
            _fail(ambiguous_failure(writes), operation, error)

    def _body(self, response: httpx.Response, started: float) -> bytes:
        """All of it. httpx's timeouts are per chunk: a remote that drips must not outlast the lease of its command."""
        body = bytearray()
        for chunk in response.iter_bytes():
            body += chunk
            if len(body) > _MAX_BODY_BYTES:
                raise httpx.ReadError("too long")
            if perf_counter() - started > 2 * self._timeout_seconds:
                raise httpx.ReadTimeout("too slow")
        return bytes(body)

    def close(self) -> None:
        self._client.close()


def _headers(operation: str, authorization: str, content: bytes | None) -> dict[str, str]:
    if not (authorization.isascii() and authorization.isprintable()):
        # Not a key. httpx would refuse it with an error that quotes it.
        raise AccountFault(operation, "401", words="the key holds characters that no header can carry")
    json_type = {} if content is None else {"Content-Type": "application/json"}
    return {"Authorization": authorization, **json_type}


def _fail(kind: type[RemoteError], operation: str, error: httpx.RequestError) -> NoReturn:
    label = "timeout" if isinstance(error, httpx.TimeoutException) else "network"
    raise kind(operation, label, words=type(error).__name__) from None
