"""The simulators as servers: behaviour that only a real socket shows."""

import socket
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, HTTPServer
from threading import Thread
from typing import Any

import httpx
import pytest

from adapters.simulators.books import Books
from adapters.simulators.faults import Fault
from adapters.simulators.mirakl.api import mirakl_app
from adapters.simulators.mirakl.marketplace import MiraklSimulator
from adapters.simulators.oms.model import OmsCompany
from adapters.simulators.oms.oms import OmsSimulator
from adapters.simulators.orders import ALPHA, BETA, Line, build_order
from adapters.simulators.serve import Server, SimulatedWorld, serve, utc_now, with_controls
from tests.support import http, wait

KEY = {"Authorization": ALPHA.api_key}


@pytest.fixture
def alpha() -> MiraklSimulator:
    simulator = MiraklSimulator(ALPHA, Books(), utc_now)
    order = build_order(ALPHA, "1-A", created=utc_now(), lines=[Line("MUG")], state="SHIPPING")
    simulator.add_order(order)
    return simulator


@pytest.fixture
def server(alpha: MiraklSimulator) -> Iterator[Server]:
    running = serve(with_controls(alpha))
    yield running
    running.stop()


def raw_put(url: str, *headers: str) -> str:
    """Send a PUT with exactly these headers, and return the status line of the answer."""
    address = httpx.URL(url)
    assert address.port is not None
    with socket.create_connection((address.host, address.port), timeout=5) as connection:
        head = [f"PUT {address.path} HTTP/1.1", f"Host: {address.host}", *headers, "Connection: close", "", ""]
        connection.sendall("\r\n".join(head).encode())
        return connection.recv(4096).decode().splitlines()[0]


def test_or24_without_content_length_is_411_over_a_socket(server: Server, alpha: MiraklSimulator) -> None:
    url, key = f"{server.url}/api/orders/1-A/ship", f"Authorization: {ALPHA.api_key}"
    assert " 411 " in raw_put(url, key)
    assert alpha.state("1-A") == "SHIPPING"
    assert " 204 " in raw_put(url, key, "Content-Length: 0")
    assert alpha.state("1-A") == "SHIPPED"


def test_the_shops_of_a_simulated_world_have_documents() -> None:
    """A person who tries `orderflow shops documents` with the simulators finds some."""
    world = SimulatedWorld.start(0)
    try:
        for marketplace in (ALPHA, BETA):
            url, key = world.mirakl_urls[marketplace.name], {"Authorization": marketplace.api_key}
            listed = httpx.get(
                f"{url}/api/shops/documents", headers=key, params={"shop_id": marketplace.shop_id}
            ).json()
            assert len({one["type"] for one in listed["shop_documents"]}) == 3
    finally:
        world.stop()


def test_httpx_sends_the_content_length_of_an_empty_body(server: Server) -> None:
    with httpx.Client(base_url=server.url, headers=KEY) as client:
        assert client.put("/api/orders/1-A/ship").status_code == 204


@pytest.mark.parametrize("address", ["127.0.0.1", "[::1]"])
def test_a_server_on_every_address_answers_by_ipv6_and_ipv4(alpha: MiraklSimulator, address: str) -> None:
    running = serve(with_controls(alpha), host="::")
    try:
        port = running.url.rpartition(":")[2]
        assert http().get(f"http://{address}:{port}/_sim/orders").status_code == 200
    finally:
        running.stop()


def test_a_dropped_connection_has_no_answer_and_the_server_goes_on(
    server: Server, alpha: MiraklSimulator, capfd: pytest.CaptureFixture[str]
) -> None:
    alpha.knobs.faults.append(Fault("OR24", "timeout_after", hold_seconds=0.0))
    with httpx.Client(base_url=server.url, headers=KEY) as client:
        with pytest.raises(httpx.RemoteProtocolError):
            client.put("/api/orders/1-A/ship")
        assert client.get("/api/orders").json()["orders"][0]["order_state"] == "SHIPPED"
    assert capfd.readouterr().err == ""
    wait(lambda: len(alpha.calls) == 2, "both calls are listed")
    assert {call.operation: call.status for call in alpha.calls} == {"OR24": 0, "OR11": 200}, "0: it had no answer"


def test_a_held_answer_blocks_no_other_request(server: Server, alpha: MiraklSimulator) -> None:
    fault = Fault("OR24", "slow", hold_seconds=20.0)
    alpha.knobs.faults.append(fault)
    answers: list[int] = []

    def ship() -> None:
        answers.append(http().put(f"{server.url}/api/orders/1-A/ship", headers=KEY, timeout=30).status_code)

    thread = Thread(target=ship)
    thread.start()
    with httpx.Client(base_url=server.url, headers=KEY) as client:
        while alpha.state("1-A") != "SHIPPED":
            assert client.get("/api/version").status_code == 200
    assert answers == []
    fault.release()
    thread.join()
    assert answers == [204]


def test_an_answer_has_one_date_header_from_the_simulators_clock() -> None:
    simulator = MiraklSimulator(ALPHA, Books(), lambda: datetime(2026, 3, 1, tzinfo=UTC))
    running = serve(mirakl_app(simulator))
    try:
        answer = http().get(f"{running.url}/api/orders", headers=KEY)
    finally:
        running.stop()
    assert answer.headers.get_list("date") == ["Sun, 01 Mar 2026 00:00:00 GMT"]


def test_the_controls_list_orders_and_books_act_and_inject_faults(server: Server, alpha: MiraklSimulator) -> None:
    with httpx.Client(base_url=f"{server.url}/_sim") as client:
        assert client.post("/orders/1-A/explode").status_code == 404
        assert client.post("/orders/9-A/cancel").status_code == 404
        assert client.post("/orders/1-A/cancel", json={"bye": 1}).status_code == 400
        assert client.post("/orders/1-A/cancel", json=[1]).status_code == 400
        assert client.post("/faults", json={"operation": "OR11", "kind": "flood"}).status_code == 400
        assert client.post("/orders/1-A/ship_in_portal", json={"tracking": "T1"}).json() == {"done": True}
        assert client.post("/orders/1-A/ship_in_portal").json() == {"done": False}
        assert client.get("/orders").json()[0]["order_state"] == "SHIPPED"
        assert [one["kind"] for one in client.get("/books").json()] == ["created", "tracking", "shipped"]
        assert client.post("/faults", json={"operation": "OR11", "kind": "503"}).status_code == 201
    assert http().get(f"{server.url}/api/orders", headers=KEY).status_code == 503
    assert http().get(f"{server.url}/api/orders", headers=KEY).status_code == 200


def test_the_oms_calls_back_over_http() -> None:
    received: list[tuple[str, bytes, str | None]] = []

    class Receiver(BaseHTTPRequestHandler):
        def do_PUT(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            received.append((self.path, body, self.headers["X-CustomGateway-Hmac"]))
            self.send_response(200)
            self.end_headers()

        def log_message(self, format: str, *args: Any) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Receiver) as receiver:
        thread = Thread(target=receiver.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        url = f"http://127.0.0.1:{receiver.server_port}/oms/callbacks/alpha"
        oms = OmsSimulator([OmsCompany(1, "key", url, "secret")], Books(), utc_now)
        running = serve(with_controls(oms))
        body = {
            "external_ref": "1-A",
            "company_ref_id": 1,
            "sale_datetime": "2026-03-01 09:00:00",
            "customer_name": "Canary",
            "shipping_address_1": "8 Canary Row",
            "shipping_address_4": "Canaryford",
            "shipping_postcode": "BS1",
            "shipping_country_code": "GB",
            "items": [{"external_ref": "1-A-1", "sku": "M", "description": "M", "quantity": 1, "type": 5}],
        }
        try:
            posted = http().post(f"{running.url}/order", json=body, headers={"Authorization": "Basic 1:key"})
            done = http().post(f"{running.url}/_sim/orders/1-A/dispatch", json={"tracking": "T1"})
            assert posted.status_code == 201
            assert done.status_code == 200
            assert oms.callbacks.deliver_due(utc_now()) == 1
        finally:
            running.stop()
            receiver.shutdown()
            thread.join()
    assert received[0][0] == "/oms/callbacks/alpha"
    # The receiver has stopped: the notification is kept for a retry, and no error is raised.
    oms.progress("1-A", 4)
    assert oms.callbacks.deliver_due(utc_now()) == 0
    assert oms.callbacks.pending() == 1


def test_a_simulated_world_runs_by_itself() -> None:
    world = SimulatedWorld.start(30, seed=2, speed=50.0, callback_url="http://127.0.0.1:9/oms/callbacks/{shop}")
    try:
        until = time.monotonic() + 10
        while world.world.progress().get("to come", 0) and time.monotonic() < until:
            http().get(f"{world.oms_url}/_sim/orders")
        # Asked through the controls, because a story may make OR11 answer wrongly.
        listed = [http().get(f"{url}/_sim/orders").json() for url in world.mirakl_urls.values()]
    finally:
        world.stop()
    assert sum(len(orders) for orders in listed) == 30
    assert not world.settled()
