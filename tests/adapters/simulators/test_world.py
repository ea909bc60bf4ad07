"""The lives depend on the seed alone, contain every story, and reach their ends if the seller does its work."""

import asyncio
import json
from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest

from adapters.simulators.books import Books
from adapters.simulators.mirakl.api import mirakl_app
from adapters.simulators.mirakl.marketplace import MiraklSimulator
from adapters.simulators.mirakl.model import SENT
from adapters.simulators.oms.api import oms_app
from adapters.simulators.oms.model import OmsCompany, OmsKnobs
from adapters.simulators.oms.oms import OmsSimulator
from adapters.simulators.orders import ALPHA, BETA, COMPANIES, KNOWN_SKUS, MARKETPLACES, ROUTES, Line, build_order
from adapters.simulators.stage import Life, Script, Stage
from adapters.simulators.stories import STORIES
from adapters.simulators.stories_ordinary import ORDINARY
from adapters.simulators.story import Story
from adapters.simulators.world import World, life_of, make_lives

Json = dict[str, Any]


class Clock:
    def __init__(self) -> None:
        self.start = self.moment = datetime(2026, 3, 1, 9, 0, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.moment

    def elapsed_seconds(self) -> float:
        return (self.moment - self.start).total_seconds()


class Remotes:
    """Both marketplaces and the OMS on one clock; callbacks are appended to `events`."""

    def __init__(self) -> None:
        self.clock, self.books = Clock(), Books()
        self.mirakl = {name: MiraklSimulator(one, self.books, self.clock) for name, one in MARKETPLACES.items()}
        self.events: list[tuple[str, Json]] = []
        companies = [OmsCompany(COMPANIES[shop], f"key-{shop}", f"http://{shop}") for shop in MARKETPLACES]
        knobs = OmsKnobs(routes=dict(ROUTES))
        self.oms = OmsSimulator(companies, self.books, self.clock, knobs, self.receive)

    def receive(self, url: str, headers: dict[str, str], body: bytes) -> int:
        self.events.append((url.removeprefix("http://"), json.loads(body)))
        return 200


class PerfectSeller:
    """The simplest seller with which every story reaches its end: facts in memory, no fault handling."""

    def __init__(self, remotes: Remotes) -> None:
        self.remotes = remotes
        self.clients = {
            shop: httpx.AsyncClient(
                transport=httpx.ASGITransport(app=mirakl_app(simulator)),
                base_url="http://mirakl.test",
                headers={"Authorization": simulator.marketplace.api_key},
            )
            for shop, simulator in remotes.mirakl.items()
        }
        self.oms = httpx.AsyncClient(
            transport=httpx.ASGITransport(app=oms_app(remotes.oms)), base_url="http://oms.test"
        )
        self.imports: dict[str, asyncio.Task[httpx.Response]] = {}
        self.parcels: dict[str, list[tuple[str, str, str]]] = {}  # (dispatch time, tracking, carrier)
        self.lines_sent: dict[str, set[str]] = {}
        self.parts: dict[str, set[int]] = {}
        self.parts_done: dict[str, set[int]] = {}
        self.ours: dict[str, set[str | None]] = {}

    async def step(self) -> None:
        for shop, client in self.clients.items():
            for order in await self.listing(client):
                await self.act(shop, client, order)
        events, self.remotes.events = self.remotes.events, []
        for _, event in events:
            self.note(event)

    async def listing(self, client: httpx.AsyncClient) -> list[Json]:
        orders: list[Json] = []
        while True:
            query = {"max": "100", "offset": str(len(orders))}
            page = (await client.get("/api/orders", params=query)).json()
            orders += page["orders"]
            if not page["orders"] or len(orders) >= page["total_count"]:
                return orders

    async def act(self, shop: str, client: httpx.AsyncClient, order: Json) -> None:
        order_id, state = order["order_id"], order["order_state"]
        if state == "WAITING_ACCEPTANCE":
            if all(line["offer_sku"] in KNOWN_SKUS[shop] for line in order["order_lines"]):
                lines = [{"id": line["order_line_id"], "accepted": True} for line in order["order_lines"]]
                await client.put(f"/api/orders/{order_id}/accept", json={"order_lines": lines})
        elif state == "SHIPPING":
            if order_id not in self.imports:
                self.imports[order_id] = asyncio.create_task(self.post(shop, order))
                await asyncio.sleep(0)
            if self.all_sent(order):
                await self.track(client, order)
                await client.put(f"/api/orders/{order_id}/ship")
        elif state in SENT and order["shipping_tracking"] in self.ours.get(order_id, {None}):
            await self.track(client, order)

    async def post(self, shop: str, order: Json) -> httpx.Response:
        """The import, with the fewest fields that the simulated OMS accepts."""
        address = order["customer"]["shipping_address"]
        body = {
            "external_ref": order["order_id"],
            "company_ref_id": COMPANIES[shop],
            "sale_datetime": "2026-03-01 09:00:00",
            "customer_name": address["lastname"],
            "shipping_address_1": address["street_1"],
            "shipping_address_4": address["city"],
            "shipping_postcode": address["zip_code"],
            "shipping_country_code": {"alpha": "GB", "beta": "FR"}[shop],
            "items": [
                {
                    "external_ref": line["order_line_id"],
                    "sku": line["offer_sku"],
                    "description": line["product_title"],
                    "quantity": line["quantity"],
                    "type": 5,  # a textual item (docs/kornitx.md 3.3)
                }
                for line in order["order_lines"]
                if line["order_line_state"] not in ("REFUSED", "CANCELED")
            ],
        }
        headers = {"Authorization": f"Basic {COMPANIES[shop]}:key-{shop}"}
        return await self.oms.post("/order", json=body, headers=headers)

    def note(self, event: Json) -> None:
        order_id, carrier = event["external_ref"], event["shipping_carrier"]
        parcels = self.parcels.setdefault(order_id, [])
        for parcel in event["new_shipments"]:
            parcels.append((parcel["dispatch_datetime"], parcel["tracking"], carrier))
            sent = self.lines_sent.setdefault(order_id, set())
            sent.update(item["external_ref"] for item in parcel["items"])
        if event["shipping_tracking"] and not event["new_shipments"]:
            parcels.append(("0000", event["shipping_tracking"], carrier))
        if event["status"] in (8, 64, 516):
            self.parts_done.setdefault(order_id, set()).add(event["id"])

    def all_sent(self, order: Json) -> bool:
        order_id = order["order_id"]
        answer = self.imports[order_id]
        if not answer.done():
            return False
        parts = {part["id"] for part in answer.result().json()}
        return parts <= self.parts_done.get(order_id, set())

    async def track(self, client: httpx.AsyncClient, order: Json) -> None:
        order_id = order["order_id"]
        numbered = [parcel for parcel in self.parcels.get(order_id, []) if parcel[1]]
        if not numbered:
            return
        _, number, carrier = max(numbered)
        if order["shipping_tracking"] == number:
            return
        self.ours.setdefault(order_id, {None}).add(number)
        body = {"carrier_name": carrier, "tracking_number": number}
        await client.put(f"/api/orders/{order_id}/tracking", json=body)


async def run(lives: list[Life], *, limit_seconds: float = 300.0) -> tuple[World, Remotes]:
    remotes = Remotes()
    seller = PerfectSeller(remotes)
    world = World(lives, remotes.mirakl, remotes.oms)
    while not world.settled() and remotes.clock.elapsed_seconds() < limit_seconds:
        remotes.clock.moment += timedelta(seconds=0.5)
        world.tick(remotes.clock.elapsed_seconds())
        remotes.oms.callbacks.deliver_due(remotes.clock())
        await seller.step()
        await asyncio.sleep(0.006)  # a held answer looks every 5 ms whether it is released
    for client in (*seller.clients.values(), seller.oms):
        await client.aclose()
    return world, remotes


@pytest.fixture(scope="module")
def ran() -> tuple[World, Remotes]:
    return asyncio.run(run(make_lives(120, seed=3, stories=ORDINARY)))


def test_with_an_idle_seller_the_world_does_not_settle() -> None:
    remotes = Remotes()
    world = World(make_lives(20, seed=1), remotes.mirakl, remotes.oms)
    for second in range(120):
        remotes.clock.moment += timedelta(seconds=1)
        world.tick(float(second))
    assert not world.settled()
    assert world.progress()["waiting_acceptance"] > 0


def test_lives_depend_on_the_seed_alone() -> None:
    assert make_lives(150, seed=5) == make_lives(150, seed=5)
    assert make_lives(150, seed=5) != make_lives(150, seed=6)


def test_stories_of_ones_own_occur_and_are_played() -> None:
    def script(stage: Stage) -> Script:
        yield 0.0
        lines = stage.life.lines
        stage.mirakl.add_order(build_order(ALPHA, stage.life.order_id, created=stage.mirakl.now(), lines=lines))

    own = {"own": Story(script, ends="waiting_acceptance", trackings=3)}
    lives = make_lives(4, 1, (ALPHA,), own)
    assert {life.story for life in lives} == {"own", "plain"}
    assert {len(life.trackings) for life in lives if life.story == "own"} == {3}
    mirakl = MiraklSimulator(ALPHA, Books(), lambda: datetime(2026, 3, 1, tzinfo=UTC))
    oms = OmsSimulator([OmsCompany(COMPANIES["alpha"], "key")], mirakl.books, mirakl.now)
    World(lives, {"alpha": mirakl}, oms, stories=own).tick(0.0)
    shown = {order["order_id"] for order in mirakl.summary()}
    assert shown >= {life.order_id for life in lives if life.story == "own"}


def test_an_exception_of_one_story_ends_that_story_alone_and_is_in_the_log_and_the_books(
    caplog: pytest.LogCaptureFixture,
) -> None:
    def fails(_: Stage) -> Script:
        yield 0.0
        raise IndexError("no such part")

    def fails_to_wait(stage: Stage) -> Script:
        yield lambda: stage.oms.order("unknown").parts == []

    own = {"fails": Story(fails), "fails_to_wait": Story(fails_to_wait)}
    lives = make_lives(12, 1, (ALPHA,), own)
    assert {life.story for life in lives} == {"fails", "fails_to_wait", "plain"}
    mirakl = MiraklSimulator(ALPHA, Books(), lambda: datetime(2026, 3, 1, tzinfo=UTC))
    oms = OmsSimulator([OmsCompany(COMPANIES["alpha"], "key")], mirakl.books, mirakl.now)
    world = World(lives, {"alpha": mirakl}, oms, stories=own)
    for second in range(60):
        world.tick(float(second))
    shown = {order["order_id"] for order in mirakl.summary()}
    assert shown == {life.order_id for life in lives if life.story == "plain"}
    failed = {life.order_id for life in lives if life.story != "plain"}
    assert {one.order_id for one in mirakl.books.effects() if one.kind == "story_failed"} == failed
    assert {text.split(" ")[0] for text in world.findings()} == failed
    assert "(fails): its story failed: IndexError: no such part" in str(world.findings())
    assert "the story fails of " in caplog.text
    assert "no such part" in caplog.text


def test_a_split_of_which_a_line_was_refused_sends_the_part_that_is_left() -> None:
    life = life_of("split")
    left = replace(life, lines=life.lines[:1])
    world, remotes = asyncio.run(run([left]))
    effects = remotes.books.effects("oms", life.order_id)
    assert [one.detail["tracking"] for one in effects if one.kind == "dispatched"] == [life.trackings[-1]]
    assert world.settled()
    assert world.findings() == []


@pytest.mark.parametrize("orders", [150, 177, 200])
def test_every_story_occurs_and_a_fifth_to_a_half_are_plain(orders: int) -> None:
    stories = Counter(life.story for life in make_lives(orders, seed=orders))
    assert set(stories) == set(STORIES)
    assert 0.2 <= stories["plain"] / orders <= 0.5


def test_order_ids_are_unique_and_arrivals_spread_over_35_seconds_per_200() -> None:
    lives = make_lives(200, seed=2)
    assert len({life.order_id for life in lives}) == 200
    assert 30 < max(life.arrives_at_seconds for life in lives) <= 35
    faster = make_lives(200, seed=2, orders_per_second=20)
    assert 8 < max(life.arrives_at_seconds for life in faster) <= 10


def test_every_life_reaches_its_end_within_two_minutes(ran: tuple[World, Remotes]) -> None:
    world, remotes = ran
    assert [(life.story, life.order_id) for life in world.unsettled()] == []
    assert world.settled()
    assert remotes.clock.elapsed_seconds() < 120


def test_the_books_contain_what_each_life_expects(ran: tuple[World, Remotes]) -> None:
    world, remotes = ran
    for life in world.lives:
        effects = remotes.books.effects(order_id=life.order_id)
        at_mirakl = [one for one in effects if one.place == life.marketplace]

        def by(kind: str, found: list[Any] = at_mirakl) -> str | None:
            return next((one.by for one in found if one.kind == kind), None)

        assert by("accepted") == life.accepted_by, life
        assert by("shipped") == life.shipped_by, life
        assert sum(one.kind == "imported" for one in effects) == int(life.imported), life
        numbers = [one.detail["tracking"] for one in at_mirakl if one.kind == "tracking"]
        if numbers:
            assert numbers[-1] == life.last_tracking, life
        assert all(sum(one.kind == kind for one in at_mirakl) <= 1 for kind in ("accepted", "shipped"))


def test_the_oms_splits_by_sku_and_gets_no_refused_line(ran: tuple[World, Remotes]) -> None:
    world, remotes = ran
    for life in world.lives:
        if life.story == "split":
            assert len(remotes.oms.order(life.order_id).parts) == 2
        if life.story in ("line_refused", "line_canceled"):
            (part,) = remotes.oms.order(life.order_id).parts
            assert len(part.items) == len(life.lines) - 1


def test_a_late_debit_comes_after_shipping(ran: tuple[World, Remotes]) -> None:
    world, remotes = ran
    for life in world.lives:
        if life.story in ("pay_on_shipment", "pay_on_delivery", "pay_on_due_date"):
            kinds = [one.kind for one in remotes.books.effects(life.marketplace, life.order_id)]
            assert kinds.index("shipped") < kinds.index("debited")


def test_zero_dates_empty_strings_and_missing_urls_occur(ran: tuple[World, Remotes]) -> None:
    _, remotes = ran
    payloads = [json.loads(one.body) for one in remotes.oms.callbacks.notifications]
    parcels = [parcel for payload in payloads for parcel in payload["new_shipments"]]
    assert any(parcel["dispatch_datetime"] == "0000-00-00 00:00:00" for parcel in parcels)
    assert any(parcel["tracking"] == "" for parcel in parcels)
    assert {"tracking_url" in parcel for parcel in parcels} == {True, False}
    assert any(payload["shipping_carrier"] == "" and payload["status"] == 8 for payload in payloads)


def test_speed_divides_every_delay() -> None:
    def arrived(speed: float) -> int:
        remotes = Remotes()
        world = World(make_lives(100, seed=4), remotes.mirakl, remotes.oms, speed)
        world.tick(2.0)
        return world.progress()["lives"] - world.progress().get("to come", 0)

    assert arrived(1.0) < 20
    assert arrived(10.0) == 100


@pytest.mark.parametrize("marketplace", [ALPHA, BETA])
@pytest.mark.parametrize("person", range(0, 40, 3))
def test_all_personal_data_contains_canary(marketplace: Any, person: int) -> None:
    moment = datetime(2026, 3, 1, tzinfo=UTC)
    order = build_order(marketplace, "X-1", created=moment, lines=[Line("MUG")], person=person)
    customer = order["customer"]
    address = customer["shipping_address"]
    named = [customer[name] for name in ("firstname", "lastname", "customer_id")]
    named += [address[name] for name in ("firstname", "lastname", "street_1", "street_2", "city", "company")]
    named += [address["phone"], address["additional_info"], order["customer_notification_email"]]
    assert all("canary" in text.lower() for text in named if text)
