"""What both simulators share: the books of every effect, and the faults that strike requests."""

import asyncio
import threading
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response


@dataclass(frozen=True, slots=True)
class Effect:
    """One thing that really happened to an order. A request that changed nothing is none."""

    at: datetime
    place: str  # the marketplace's name, or "oms"
    order_id: str  # Mirakl's order id; at the OMS the external_ref
    kind: str  # created accepted refused debited tracking shipped ... imported part_created dispatched ...
    by: str  # api (the shop's key), person (portal), marketplace (operator, deadline), customer, oms
    detail: dict[str, str]

    def as_json(self) -> dict[str, Any]:
        return {
            "at": self.at.isoformat(),
            "place": self.place,
            "order_id": self.order_id,
            "kind": self.kind,
            "by": self.by,
            "detail": self.detail,
        }


class Books:
    """Append-only list of effects, for an audit to compare with what orderflow believes it did."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._effects: list[Effect] = []
        self._by_order: defaultdict[str, list[Effect]] = defaultdict(list)

    def record(self, at: datetime, place: str, order_id: str, kind: str, by: str, **detail: str) -> None:
        effect = Effect(at, place, order_id, kind, by, detail)
        with self._lock:
            self._effects.append(effect)
            self._by_order[order_id].append(effect)

    def effects(self, place: str | None = None, order_id: str | None = None) -> tuple[Effect, ...]:
        with self._lock:
            found = list(self._effects if order_id is None else self._by_order.get(order_id, ()))
        return tuple(effect for effect in found if place in (None, effect.place))

    def as_json(self) -> list[dict[str, Any]]:
        return [effect.as_json() for effect in self.effects()]


KINDS_OF_FAULT = {
    "timeout_before",  # nothing happens, the connection is held and dropped
    "timeout_after",  # the effect happens, the answer is lost
    "500",
    "502",
    "503",  # nothing happens, a gateway's HTML page
    "500_after",  # the effect happens, a gateway's HTML page all the same
    "429",  # nothing happens, Retry-After
    "truncated",  # the effect happens, the JSON is cut in the middle
    "204_not_applied",  # success is answered, nothing happens
    "slow",  # the effect happens at once, the answer waits for release()
}


@dataclass(eq=False)
class Fault:
    """Strikes the next `count` requests of an operation ("*": of any), or only those about one order."""

    operation: str
    kind: str
    count: int = 1
    order_id: str | None = None
    hold_seconds: float = 1.0
    retry_after_seconds: int = 1
    released: threading.Event = field(default_factory=threading.Event, repr=False)

    def __post_init__(self) -> None:
        if self.kind not in KINDS_OF_FAULT:
            raise ValueError(f"no such fault: {self.kind}")

    def release(self) -> None:
        """Stop holding the answer."""
        self.released.set()

    async def hold(self) -> None:
        # Polled, because the one who releases lives in another thread and another loop.
        clock = asyncio.get_running_loop().time
        until = clock() + self.hold_seconds
        while not self.released.is_set() and clock() < until:
            await asyncio.sleep(0.005)


def take_fault(faults: list[Fault], operation: str, order_id: str | None) -> Fault | None:
    """The first fault that means this request; used up faults leave the list. Call it under the lock."""
    for fault in faults:
        if fault.operation in (operation, "*") and fault.order_id in (None, order_id):
            fault.count -= 1
            if fault.count <= 0:
                faults.remove(fault)
            return fault
    return None


class AnswerLostError(ConnectionError):
    """The answer of a lost connection where no real connection exists (tests without a server)."""


async def answer(request: Request, fault: Fault | None, act: Callable[[], Response]) -> Response:
    """What the caller gets: the act's answer, or what the fault makes of it."""
    kind = "none" if fault is None else fault.kind
    # "none", "slow", "truncated" and everything "after" act; the others strike before anything happened.
    acts = kind in ("none", "slow", "truncated") or kind.endswith("_after")
    response = act() if acts else Response(status_code=204)
    if fault is not None and (kind == "slow" or kind.startswith("timeout")):
        await fault.hold()
    if fault is not None and kind == "429":
        response = JSONResponse({"message": "Too many requests", "status": 429}, 429)
        response.headers["Retry-After"] = str(fault.retry_after_seconds)
    elif kind.startswith("timeout"):
        response = await _lose(request)
    elif kind.startswith("50"):
        response = _gateway_page(int(kind[:3]))
    elif kind == "truncated":
        half = bytes(response.body)[: len(response.body) // 2]
        response = Response(half, response.status_code, media_type="application/json")
    return response


def _gateway_page(status: int) -> Response:
    return HTMLResponse(f"<html><body><h1>{status} from the gateway</h1></body></html>", status)


async def _lose(request: Request) -> Response:
    # serve.py's protocol class lays the transport's abort here: ASGI itself cannot drop a connection.
    drop = request.scope.get("state", {}).get("drop_connection")
    if drop is None:
        raise AnswerLostError("the connection was dropped before an answer")
    drop()
    while (await request.receive())["type"] != "http.disconnect":
        pass
    return Response()  # nobody hears it
