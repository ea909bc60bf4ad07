"""The HTTP API as a whole: authentication, the parts that all answers share, and faults."""

import asyncio
import json
from typing import Any

import httpx
import pytest

from adapters.simulators.faults import AnswerLostError, Fault
from tests.adapters.simulators.mirakl.shop import PLACE, Json, Shop


@pytest.mark.parametrize("header", [None, "", "Bearer place-key", "wrong"])
def test_only_the_bare_key_is_accepted(header: str | None) -> None:
    headers = {} if header is None else {"Authorization": header}
    answer = Shop().ask("GET", "/api/account", headers=headers)
    assert answer.status_code == 401
    assert answer.json() == {"message": "Unauthorized", "status": 401}


def test_version_needs_no_key() -> None:
    assert Shop().ask("GET", "/api/version", headers={}).status_code == 200


def test_only_the_sellers_own_shop_id_is_accepted() -> None:
    shop = Shop()
    assert shop.ask("GET", "/api/orders", params={"shop_id": "8"}).status_code == 403
    assert shop.ask("GET", "/api/orders", params={"shop_id": "x"}).status_code == 400
    assert shop.ask("GET", "/api/orders", params={"shop_id": "7"}).status_code == 200


def test_an_unknown_path_and_a_wrong_method_are_answered_in_json() -> None:
    shop = Shop()
    assert shop.ask("GET", "/api/nothing").json() == {"message": "Not Found", "status": 404}
    assert shop.ask("DELETE", "/api/orders").status_code == 405


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/api/shipments"),
        ("GET", "/api/shipments"),
        ("POST", "/api/shipments/tracking"),
        ("PUT", "/api/shipments/ship"),
    ],
)
def test_the_operations_of_multi_shipment_answer_404(method: str, path: str) -> None:
    shop = Shop()
    assert shop.ask(method, path).status_code == 404
    assert sum(shop.simulator.requests.values()) == 1


def test_the_date_header_shows_the_simulators_clock() -> None:
    assert Shop().ask("GET", "/api/orders").headers["date"] == "Sun, 01 Mar 2026 09:00:00 GMT"


def test_error_shape_b_is_a_list_of_errors() -> None:
    (error,) = Shop(error_shape="B").accept("9-A").json()["errors"]
    assert error["code"] == "ORDER_NOT_FOUND"


@pytest.mark.parametrize("path", ["/api/inbox/threads", "/api/inbox/threads/1"])
def test_every_refusal_of_the_messages_has_error_shape_b(path: str) -> None:
    """Also that of a wrong key, which has shape A at the other operations."""
    answer = Shop(error_shape="A").ask("GET", path, headers={"Authorization": "wrong"})
    assert (answer.status_code, answer.json()["errors"][0]["message"]) == (401, "Unauthorized")


def test_or24_without_content_length_is_411() -> None:
    shop = Shop()
    shop.add("1-A", state="SHIPPING")
    app = shop.app
    answers: list[Any] = []

    async def receive() -> Json:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: Any) -> None:
        answers.append(message)

    scope = {
        "type": "http",
        "method": "PUT",
        "path": "/api/orders/1-A/ship",
        "query_string": b"",
        "headers": [(b"authorization", b"place-key"), (b"host", b"mirakl.test")],
    }
    asyncio.run(app(scope, receive, send))
    assert answers[0]["status"] == 411
    assert shop.kinds() == []


def test_an_order_id_may_contain_an_encoded_slash() -> None:
    shop = Shop()
    shop.add("a/b c", state="SHIPPING")
    assert shop.ask("PUT", "/api/orders/a%2Fb%20c/ship").status_code == 204


@pytest.mark.parametrize(("kind", "happened"), [("timeout_before", False), ("timeout_after", True)])
def test_a_lost_answer_before_and_after_the_effect(kind: str, happened: bool) -> None:
    shop = Shop(faults=[Fault("OR21", kind, hold_seconds=0.0)])
    shop.add("1-A")
    with pytest.raises(AnswerLostError):
        shop.accept()
    assert shop.kinds() == ([("accepted", "api")] if happened else [])
    assert shop.simulator.calls[-1].status == 0
    assert shop.accept().status_code == (400 if happened else 204)


@pytest.mark.parametrize(
    ("kind", "status", "happened"),
    [
        ("500", 500, False),
        ("502", 502, False),
        ("503", 503, False),
        ("500_after", 500, True),
        ("204_not_applied", 204, False),
        ("429", 429, False),
    ],
)
def test_a_fault_answers_with_and_without_the_effect(kind: str, status: int, happened: bool) -> None:
    shop = Shop(faults=[Fault("OR24", kind, retry_after_seconds=3)])
    shop.add("1-A", state="SHIPPING")
    answer = shop.ship()
    assert answer.status_code == status
    assert shop.kinds() == ([("shipped", "api")] if happened else [])
    assert answer.headers.get("retry-after") == ("3" if kind == "429" else None)
    if kind.startswith("50"):
        assert answer.headers["content-type"].startswith("text/html")


def test_a_truncated_answer_is_not_json() -> None:
    shop = Shop(faults=[Fault("OR11", "truncated")])
    shop.add("1-A")
    with pytest.raises(json.JSONDecodeError):
        shop.ask("GET", "/api/orders").json()
    assert shop.ids() == ["1-A"]


def test_a_slow_answer_waits_for_its_release_and_delays_no_other() -> None:
    fault = Fault("OR24", "slow", hold_seconds=30.0)
    shop = Shop(faults=[fault])
    shop.add("1-A", state="SHIPPING")

    async def both() -> None:
        transport = httpx.ASGITransport(app=shop.app)
        headers = {"Authorization": PLACE.api_key}
        async with httpx.AsyncClient(transport=transport, base_url="http://m", headers=headers) as client:
            slow = asyncio.create_task(client.put("/api/orders/1-A/ship"))
            while not shop.kinds():
                await asyncio.sleep(0)
            listed = (await client.get("/api/orders")).json()["orders"][0]["order_state"]
            assert listed == "SHIPPED"
            assert not slow.done()
            fault.release()
            assert (await slow).status_code == 204

    asyncio.run(both())


def test_a_fault_matches_operation_and_order_as_often_as_its_count() -> None:
    shop = Shop(faults=[Fault("OR24", "503", count=2, order_id="1-A")])
    shop.add("1-A", state="SHIPPING")
    shop.add("2-A", state="SHIPPING")
    assert shop.ship("2-A").status_code == 204
    assert [shop.ship("1-A").status_code for _ in range(3)] == [503, 503, 204]
    assert shop.simulator.knobs.faults == []


def test_a_star_matches_any_operation_and_an_unknown_kind_is_an_error() -> None:
    assert Shop(faults=[Fault("*", "502")]).ask("GET", "/api/account").status_code == 502
    with pytest.raises(ValueError, match="no such fault"):
        Fault("OR11", "earthquake")


def test_a_throttled_request_says_how_long_to_wait() -> None:
    shop = Shop(throttle={"OR11": (2, 60.0)})
    assert [shop.ask("GET", "/api/orders").status_code for _ in range(2)] == [200, 200]
    shop.clock.pass_seconds(20)
    answer = shop.ask("GET", "/api/orders")
    assert answer.status_code == 429
    assert answer.headers["retry-after"] == "40"
    shop.clock.pass_seconds(40)
    assert shop.ask("GET", "/api/orders").status_code == 200
    assert [call.status for call in shop.simulator.calls] == [200, 200, 429, 200]
