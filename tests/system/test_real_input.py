"""Orders as real Mirakl instances send them, and a shop that hangs: the whole service, one turn after the other."""

import json
import socket
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from adapters.simulators.books import Books
from adapters.simulators.oms.api import oms_app
from adapters.simulators.oms.model import OmsCompany
from adapters.simulators.oms.oms import OmsSimulator
from adapters.simulators.serve import Server, serve, utc_now
from adapters.store import commands as command_rows
from adapters.store import cursors as cursor_rows
from adapters.store import dead_letters as dead_letter_rows
from adapters.store import order_lists
from adapters.store import snapshots as snapshot_rows
from consumer import config
from consumer.bootstrap import build
from consumer.hooks import NO_HOOKS, Hooks, PollResult
from tests.support import LONG

SAMPLES = Path(__file__).resolve().parents[2].parent / "shared" / "mirakl" / "samples"
COMPANY = 99001

SETTINGS = """
[oms]
base_url = "{oms}"
[web]
port = 0
[worker]
threads = 1
retry_first_seconds = 0.01
"""
SHOP = """
[shops.{name}]
base_url = "{url}"
shop_id = 1
api_key_file = "key"
effects = "{effects}"
poll_interval_seconds = 0.05
timeout_seconds = {timeout}
[shops.{name}.oms]
company_ref_id = {company}
api_key_file = "key"
"""


class Mirakl:
    """A plain HTTP server that lists what it was given, byte for byte, and says yes to everything."""

    def __init__(self, page: bytes) -> None:
        self.page = page
        self.writes: list[str] = []
        self.app = Starlette(
            routes=[
                Route("/api/orders", self.orders),
                Route("/api/orders/{rest:path}", self.write, methods=["PUT"]),
            ]
        )

    def orders(self, request: Request) -> Response:
        everything = "order_state_codes" in request.query_params
        return Response(self.page if everything else b'{"orders": [], "total_count": 0}', media_type="application/json")

    def write(self, request: Request) -> Response:
        self.writes.append(request.path_params["rest"])
        return Response(status_code=204)


class Place:
    """A service that is turned by hand, with an OMS and the servers of its shops."""

    def __init__(
        self, folder: Path, shops: dict[str, str], oms: str, effects: str, timeout: float, hooks: Hooks = NO_HOOKS
    ) -> None:
        (folder / "key").write_text("a-key")
        text = SETTINGS.format(oms=oms)
        for number, (name, url) in enumerate(shops.items()):
            text += SHOP.format(name=name, url=url, effects=effects, timeout=timeout, company=COMPANY + number)
        (folder / "orderflow.toml").write_text(text)
        self.service = build(config.load(folder / "orderflow.toml"), hooks=hooks)
        self.store = self.service.base.store
        assert self.service.parts.consumer is not None
        assert self.service.parts.worker is not None
        self.consumer, self.worker = self.service.parts.consumer, self.service.parts.worker

    def turn(self, shop: str = "alpha") -> None:
        """Poll, consume, and make every call that is due."""
        self.service.base.leases.take_share(shop, 1)
        self.service.parts.pollers.pollers[shop].poller.run()
        while self.consumer.turn(0):
            pass
        while self.worker.turn():
            pass

    def orders(self) -> dict[str, Any]:
        return {order.order_id: order for order in order_lists.latest(self.store, limit=1000)}


@contextmanager
def place(folder: Path, page: bytes, *, effects: str = "on") -> Iterator[tuple[Place, Mirakl, OmsSimulator]]:
    with ExitStack() as stack:
        mirakl = Mirakl(page)
        books = Books()
        oms = OmsSimulator([OmsCompany(COMPANY, "a-key", None, "")], books, utc_now)
        servers: list[Server] = [serve(mirakl.app), serve(oms_app(oms))]
        for server in servers:
            stack.callback(server.stop)
        one = Place(folder, {"alpha": servers[0].url}, servers[1].url, effects, timeout=5)
        stack.callback(one.service.stop)
        yield one, mirakl, oms


def sample_orders() -> list[bytes]:
    """The orders of every OR11 sample."""
    if not SAMPLES.is_dir():
        pytest.skip("../shared/mirakl/samples is not here")
    orders: list[dict[str, Any]] = []
    for path in sorted(SAMPLES.glob("*OR11*.json")):
        data = json.loads(path.read_bytes())
        orders += data.get("orders", [data])
    return [json.dumps(order, ensure_ascii=False, indent=1).encode() for order in orders]


def page_of(orders: list[bytes]) -> bytes:
    return b'{ "orders" :  [' + b" ,\n".join(orders) + b'], "total_count": %d }' % len(orders)


def test_real_orders_get_through(tmp_path: Path) -> None:
    """Orders are polled, published, decided and stored. Those in SHIPPING are imported, or have a reason."""
    orders = sample_orders()
    with place(tmp_path, page_of(orders)) as (one, mirakl, oms):
        one.turn()
        stored = one.orders()
        assert len(stored) == len({json.loads(raw)["order_id"] for raw in orders})
        assert dead_letter_rows.newest(one.store) == []
        states = {order_id: order.state for order_id, order in stored.items()}
        # Sparse orders of every state, as a payment connector keeps them for its tests.
        for word in ("waiting_debit", "waiting_debit_payment"):
            assert states[f"order_status_{word}"] == "awaiting_payment"
        assert states["order_status_waiting_acceptance"] == "accepted"
        assert states["order_status_staging"] == "new"
        assert states["order_status_shipping"] == "shipping"
        # The sparse sample names no quantity either, and a missing quantity is never counted as 1.
        reasons = [one.reason for one in stored["order_status_shipping"].attention]
        assert reasons == ["address_missing", "quantity_missing"]
        for word in ("shipped", "to_collect", "received", "closed"):
            assert states.get(f"order_status_{word}", "shipped") == "shipped"
        for word in ("refused", "canceled"):
            assert states.get(f"order_status_{word}", word) == word
        # Full orders of two instances, one of them with its country as free text.
        assert states["000000086-A"] == states["23304514031010-QQQW4458124286-A"] == "imported"
        spanish = json.loads(oms.order("23304514031010-QQQW4458124286-A").received)
        assert spanish["shipping_country_code"] == "ES"
        assert [item["type"] for item in spanish["items"]] == [5]
        assert mirakl.writes == ["order_status_waiting_acceptance/accept"]


def test_an_order_that_cannot_be_used_is_dead_lettered_and_the_rest_goes_on(tmp_path: Path) -> None:
    page = page_of([b'{"order_state": "SHIPPING"}', b'{"order_id": "O-2",  "order_state":"WAITING_DEBIT"}', b'"text"'])
    with place(tmp_path, page) as (one, _, _):
        one.turn()
        one.turn()
        assert {order_id: order.state for order_id, order in one.orders().items()} == {"O-2": "awaiting_payment"}
        letters = dead_letter_rows.newest(one.store)
        assert {(letter.value, letter.source, letter.times) for letter in letters} == {
            (b'{"order_state": "SHIPPING"}', "poll:alpha", 1),
            (b'"text"', "poll:alpha", 1),
        }
        assert {letter.reason for letter in letters} <= {"missing_field", "not_json", "bad_field", "bad_id"}


def test_what_was_received_is_kept_byte_for_byte(tmp_path: Path) -> None:
    text = '{"order_id" :\t"Ö-1",\n\n   "order_state":"WAITING_DEBIT" , "odd": 1.5000000000000001e0, "x": "\\u00e9é"}'
    raw = text.encode()
    with place(tmp_path, page_of([raw])) as (one, _, _):
        one.turn()
        order = one.orders()["Ö-1"]
        assert snapshot_rows.find(one.store, order.key, order.digest) == raw


def test_with_effects_off_commands_are_opened_and_no_call_is_made(tmp_path: Path) -> None:
    raw = b'{"order_id": "O-1", "order_state": "WAITING_ACCEPTANCE", "order_lines": [{"order_line_id": "1"}]}'
    with place(tmp_path, page_of([raw]), effects="off") as (one, mirakl, _):
        one.turn()
        order = one.orders()["O-1"]
        assert order.state == "waiting_acceptance"
        assert mirakl.writes == []
        assert [(c.kind, c.state) for c in command_rows.of_order(one.store, order.key)] == [("accept_order", "open")]


def test_an_unknown_state_is_kept_and_flagged(tmp_path: Path) -> None:
    raw = b'{"order_id": "O-1", "order_state": "PONDERING", "order_lines": null, "customer": null}'
    with place(tmp_path, page_of([raw])) as (one, _, _):
        one.turn()
        order = one.orders()["O-1"]
        assert order.state == "new"
        assert [one.reason for one in order.attention] == ["unknown_state"]


@pytest.mark.minutes
def test_a_hanging_shop_leaves_the_others_poll_age_flat(tmp_path: Path) -> None:
    """Real threads: alpha's Mirakl accepts the connection and never answers. The polls of beta go on."""
    with socket.create_server(("127.0.0.1", 0)) as silent, ExitStack() as stack:
        good, oms = serve(Mirakl(page_of([])).app), serve(Starlette(routes=[Route("/", lambda _: JSONResponse({}))]))
        for server in (good, oms):
            stack.callback(server.stop)
        shops = {"alpha": f"http://127.0.0.1:{silent.getsockname()[1]}", "beta": good.url}
        polled = threading.Semaphore(0)

        class Polled(Hooks):
            def poll_ended(self, shop: str, result: PollResult, seconds: float) -> None:
                if shop == "beta":
                    polled.release()

        service = Place(tmp_path, shops, oms.url, "on", timeout=LONG, hooks=Polled()).service
        service.start()
        stack.callback(service.stop)
        stack.callback(silent.close)  # alpha's call fails then, so that the stop does not wait for it
        for _ in range(10):  # an interval of 0.05 s: ten runs while alpha's first one still hangs
            assert polled.acquire(timeout=LONG / 2)
        assert cursor_rows.find(service.base.store, "alpha") is None
        assert service.parts.beats.what_is_stuck() == ""
