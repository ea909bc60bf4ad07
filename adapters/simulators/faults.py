"""Faults: what goes wrong with a request to a simulator, and which answer the caller gets then."""

import asyncio
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response


class FaultKind(StrEnum):
    TIMEOUT_BEFORE = "timeout_before"  # no effect; the connection is held, then dropped
    TIMEOUT_AFTER = "timeout_after"  # the effect happens; the connection is held, then dropped
    ERROR_500 = "500"  # no effect; a gateway's HTML page, as with 502 and 503
    ERROR_502 = "502"
    ERROR_503 = "503"
    ERROR_500_AFTER = "500_after"  # the effect happens, but the answer is a gateway's HTML page
    THROTTLED = "429"  # no effect; Retry-After
    TRUNCATED = "truncated"  # the effect happens; the JSON is cut in the middle
    NOT_APPLIED = "204_not_applied"  # no effect, although the answer is a success
    ANSWER = "answer"  # no effect; the answer has the fault's status and content
    ANSWER_AFTER = "answer_after"  # the effect happens; the answer has the fault's status and content
    BOM = "bom"  # the effect happens; the answer begins with a byte order mark
    SLOW = "slow"  # the effect happens at once; the answer waits for release(), or for hold_seconds


_NO_EFFECT: Final = frozenset(
    {
        FaultKind.TIMEOUT_BEFORE,
        FaultKind.ERROR_500,
        FaultKind.ERROR_502,
        FaultKind.ERROR_503,
        FaultKind.THROTTLED,
        FaultKind.NOT_APPLIED,
        FaultKind.ANSWER,
    }
)
_HELD: Final = frozenset({FaultKind.TIMEOUT_BEFORE, FaultKind.TIMEOUT_AFTER, FaultKind.SLOW})
_DROPPED: Final = frozenset({FaultKind.TIMEOUT_BEFORE, FaultKind.TIMEOUT_AFTER})
_PAGES: Final[Mapping[str, int]] = {
    FaultKind.ERROR_500: 500,
    FaultKind.ERROR_502: 502,
    FaultKind.ERROR_503: 503,
    FaultKind.ERROR_500_AFTER: 500,
}


@dataclass(eq=False)
class Fault:
    """Affects the next `count` requests of an operation ("*": of any operation).

    With `order_id`, only requests about this order are affected and counted.
    """

    operation: str
    kind: str  # a FaultKind, or its value
    count: int = 1
    order_id: str | None = None
    hold_seconds: float = 1.0
    retry_after_seconds: int = 1
    status: int = 200  # with `content` and `headers`, for the kinds answer and answer_after
    content: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)
    released: threading.Event = field(default_factory=threading.Event, repr=False)

    def __post_init__(self) -> None:
        if self.kind not in list(FaultKind):
            raise ValueError(f"no such fault: {self.kind}")

    def release(self) -> None:
        """Let the held answer go out now."""
        self.released.set()

    async def hold(self) -> None:
        # The event is polled, because another thread sets it, which cannot wake this event loop.
        clock = asyncio.get_running_loop().time
        until = clock() + self.hold_seconds
        while not self.released.is_set() and clock() < until:
            await asyncio.sleep(0.005)


def take_fault(faults: list[Fault], operation: str, order_id: str | None) -> Fault | None:
    """Take the first fault that matches this request. A fault whose count is used up leaves the list.

    The caller holds the simulator's lock.
    """
    for fault in faults:
        if fault.operation in (operation, "*") and fault.order_id in (None, order_id):
            fault.count -= 1
            if fault.count <= 0:
                faults.remove(fault)
            return fault
    return None


class AnswerLostError(ConnectionError):
    """Takes the place of a dropped connection in tests without a server, which have no connection."""


async def respond(request: Request, fault: Fault | None, handle: Callable[[], Response]) -> Response:
    """Answer a request with the answer of `handle`, changed as the fault says."""
    if fault is None:
        return handle()
    kind = fault.kind
    response = Response(status_code=204) if kind in _NO_EFFECT else handle()
    if kind in _HELD:
        await fault.hold()
    if kind in _DROPPED:
        response = await _drop(request)
    elif kind in _PAGES:
        response = _gateway_page(_PAGES[kind])
    elif kind == FaultKind.THROTTLED:
        response = JSONResponse({"message": "Too many requests", "status": 429}, 429)
        response.headers["Retry-After"] = str(fault.retry_after_seconds)
    elif kind in (FaultKind.ANSWER, FaultKind.ANSWER_AFTER):
        response = Response(fault.content, fault.status, dict(fault.headers), media_type="application/json")
    elif kind == FaultKind.BOM:
        response = Response(b"\xef\xbb\xbf" + bytes(response.body), response.status_code, media_type="application/json")
    elif kind == FaultKind.TRUNCATED:
        half = bytes(response.body)[: len(response.body) // 2]
        response = Response(half, response.status_code, media_type="application/json")
    return response


def _gateway_page(status: int) -> Response:
    return HTMLResponse(f"<html><body><h1>{status} from the gateway</h1></body></html>", status)


async def _drop(request: Request) -> Response:
    # ASGI cannot drop a connection, so serve.py puts the transport's abort() into the scope.
    drop = request.scope.get("state", {}).get("drop_connection")
    if drop is None:
        raise AnswerLostError("the connection was dropped before an answer")
    drop()
    while (await request.receive())["type"] != "http.disconnect":
        pass
    return Response(status_code=0)  # is not sent, because the connection is closed; 0: no answer, for the list of calls
