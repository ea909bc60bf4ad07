"""A simulated marketplace for tests, and a client with the key of its shop."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx

from adapters.simulators.books import Books
from adapters.simulators.mirakl.api import mirakl_app
from adapters.simulators.mirakl.marketplace import MiraklSimulator
from adapters.simulators.mirakl.model import Carrier, Knobs, Marketplace, ShippingType
from adapters.simulators.orders import Line, build_order

Json = dict[str, Any]

PLACE = Marketplace(
    name="place",
    shop_id=7,
    api_key="place-key",
    carriers=(
        Carrier("DPD", "DPD", "https://track.example/{trackingId}"),
        Carrier("ABC", "Alphabet Post"),
    ),
    shipping_types=(
        ShippingType("STD", "Standard"),
        ShippingType("SAFE", "Tracked", mandatory_tracking=True),
        ShippingType("OPS", "By the operator", delivery_by_operator=True),
    ),
)


class Clock:
    def __init__(self) -> None:
        self.moment = datetime(2026, 3, 1, 9, 0, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.moment

    def pass_seconds(self, seconds: float) -> datetime:
        self.moment += timedelta(seconds=seconds)
        return self.moment


class Shop:
    """A simulated marketplace, and a client that has the shop's key."""

    def __init__(self, marketplace: Marketplace = PLACE, **knobs: Any) -> None:
        self.clock, self.books = Clock(), Books()
        self.simulator = MiraklSimulator(marketplace, self.books, self.clock, Knobs(**knobs))
        self.app = mirakl_app(self.simulator)

    def ask(self, method: str, path: str, **request: Any) -> httpx.Response:
        request.setdefault("headers", {"Authorization": PLACE.api_key})

        async def one() -> httpx.Response:
            transport = httpx.ASGITransport(app=self.app)
            async with httpx.AsyncClient(transport=transport, base_url="http://mirakl.test") as client:
                return await client.request(method, path, **request)

        return asyncio.run(one())

    def add(self, order_id: str = "1-A", *, lines: int = 1, history: Any = (), **fields: Any) -> Json:
        top = {name: fields.pop(name) for name in ("channel", "references", "has_incident") if name in fields}
        items = [Line("MUG", 1 + index) for index in range(lines)]
        order = build_order(PLACE, order_id, created=self.clock(), lines=items, **fields) | top
        self.simulator.add_order(order, history)
        return order

    def ids(self, **params: str) -> list[str]:
        answer = self.ask("GET", "/api/orders", params=params)
        assert answer.status_code == 200, answer.text
        return [order["order_id"] for order in answer.json()["orders"]]

    def read(self, order_id: str = "1-A") -> Json:
        order: Json = self.ask("GET", "/api/orders", params={"order_ids": order_id}).json()["orders"][0]
        return order

    def accept(self, order_id: str = "1-A", *decisions: bool) -> httpx.Response:
        lines = [
            {"id": f"{order_id}-{index}", "accepted": accepted}
            for index, accepted in enumerate(decisions or (True,), 1)
        ]
        return self.ask("PUT", f"/api/orders/{order_id}/accept", json={"order_lines": lines})

    def track(self, order_id: str = "1-A", **body: Any) -> httpx.Response:
        return self.ask("PUT", f"/api/orders/{order_id}/tracking", json=body)

    def ship(self, order_id: str = "1-A") -> httpx.Response:
        return self.ask("PUT", f"/api/orders/{order_id}/ship")

    def kinds(self, order_id: str = "1-A") -> list[tuple[str, str]]:
        effects = self.books.effects("place", order_id)
        return [(one.kind, one.by) for one in effects if one.kind != "created"]
