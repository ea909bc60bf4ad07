"""A client of Mirakl whose answers a test gives."""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import httpx
import pytest

from adapters.errors import RemoteError
from adapters.ports import Carrier, Catalog
from adapters.remotes.mirakl import MiraklShop

NOW = datetime(2026, 3, 6, 12, 0, tzinfo=UTC)
KEY = "11111111-canary"
CARRIERS = (Carrier("DPDUK", "DPD UK", True), Carrier("PICKUP", "Own van", False), Carrier("ROYAL", "Royal Mail", True))
CATALOG = Catalog(carriers=CARRIERS)


class Clock:
    def __init__(self) -> None:
        self.seconds = 0.0

    def now(self) -> datetime:
        return NOW

    def monotonic(self) -> float:
        return self.seconds


class World:
    """A shop whose marketplace is the function `answer`. Keeps the requests, and the calls that `on_call` got."""

    def __init__(self, answer: Callable[[httpx.Request], httpx.Response], **options: Any) -> None:
        self.sent: list[httpx.Request] = []
        self.calls: list[tuple[str, str, str]] = []
        self.clock = Clock()

        def handle(request: httpx.Request) -> httpx.Response:
            self.sent.append(request)
            return answer(request)

        settings: dict[str, Any] = {"shop_id": 2104, "api_key": lambda: KEY + "\n"} | options
        self.shop = MiraklShop(
            base_url="https://alpha.mirakl.net",
            on_call=lambda system, operation, outcome, seconds, **_: self.calls.append((system, operation, outcome)),
            clock=self.clock,
            transport=httpx.MockTransport(handle),
            **settings,
        )


def answering(status: int, body: bytes | str = b"", **headers: str) -> World:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return World(lambda request: httpx.Response(status, content=body, headers=named))


def failing(error: Exception) -> World:
    def fail(request: httpx.Request) -> httpx.Response:
        raise error

    return World(fail)


def error_of(call: Callable[[], object]) -> RemoteError:
    with pytest.raises(RemoteError) as caught:
        call()
    return caught.value
