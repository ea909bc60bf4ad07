"""The simulated marketplace answers as docs/mirakl.md says, and its books hold effects, not requests."""

import asyncio
import json
import time
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest

from adapters.simulators.books import Books
from adapters.simulators.faults import AnswerLostError, Fault
from adapters.simulators.mirakl.api import mirakl_app
from adapters.simulators.mirakl.marketplace import MiraklSimulator
from adapters.simulators.mirakl.model import Carrier, Knobs, Marketplace, ShippingType, stamp
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
    """A simulator, and a client with the shop's key."""

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


# ---- refused requests -----------------------------------------------------------------------------------


@pytest.mark.parametrize("header", [None, "", "Bearer place-key", "wrong"])
def test_only_the_bare_key_opens(header: str | None) -> None:
    headers = {} if header is None else {"Authorization": header}
    answer = Shop().ask("GET", "/api/account", headers=headers)
    assert (answer.status_code, answer.json()) == (401, {"message": "Unauthorized", "status": 401})


def test_version_needs_no_key() -> None:
    assert Shop().ask("GET", "/api/version", headers={}).status_code == 200


def test_a_foreign_shop_is_forbidden_and_our_own_is_not() -> None:
    shop = Shop()
    assert shop.ask("GET", "/api/orders", params={"shop_id": "8"}).status_code == 403
    assert shop.ask("GET", "/api/orders", params={"shop_id": "x"}).status_code == 400
    assert shop.ask("GET", "/api/orders", params={"shop_id": "7"}).status_code == 200


def test_an_unknown_path_and_a_wrong_method_are_refused_in_json() -> None:
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
def test_multi_shipment_is_off(method: str, path: str) -> None:
    shop = Shop()
    assert shop.ask(method, path).status_code == 404
    assert sum(shop.simulator.requests.values()) == 1


# ---- OR11: paging -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "query",
    [
        {"max": "101"},
        {"max": "0"},
        {"max": "x"},
        {"offset": "-1"},
        {"sort": "dateUpdated"},
        {"order": "up"},
        {"order_tax_mode": "BOTH"},
        {"start_date": "yesterday"},
        {"start_update_date": "2026-03-01T09:00:00 00:00"},  # a + that was not encoded
        {"end_date": "2026-03-01T09:00:00"},  # no offset
        {"customer_debited": "True"},
        {"order_ids": ",".join(str(number) for number in range(101))},
    ],
)
def test_a_bad_parameter_of_or11_is_400(query: dict[str, str]) -> None:
    assert Shop().ask("GET", "/api/orders", params=query).status_code == 400


def test_max_over_100_can_be_cut_instead() -> None:
    assert Shop(max_over_100_is_error=False).ask("GET", "/api/orders?max=500").status_code == 200


def test_pages_hold_ten_by_default_with_a_total_and_links() -> None:
    shop = Shop()
    for number in range(25):
        shop.add(f"{number:02d}-A")
    first = shop.ask("GET", "/api/orders")
    assert (len(first.json()["orders"]), first.json()["total_count"]) == (10, 25)
    assert list(first.links) == ["next"]
    second = shop.ask("GET", first.links["next"]["url"])
    assert second.json()["orders"][0]["order_id"] == "10-A"
    assert set(second.links) == {"previous", "next"}
    last = shop.ask("GET", second.links["next"]["url"])
    assert (len(last.json()["orders"]), list(last.links)) == (5, ["previous"])


def test_links_keep_the_filters_and_one_page_has_none() -> None:
    shop = Shop()
    for number in range(3):
        shop.add(f"{number}-A")
    query = {"order_state_codes": "WAITING_ACCEPTANCE,SHIPPING", "max": "2"}
    url = httpx.URL(shop.ask("GET", "/api/orders", params=query).links["next"]["url"])
    assert dict(url.params) == query | {"offset": "2"}
    assert "link" not in shop.ask("GET", "/api/orders", params={"max": "3"}).headers


def test_sorted_by_creation_then_id_in_both_directions() -> None:
    shop = Shop()
    shop.add("9-A")
    shop.add("1-A")
    shop.clock.pass_seconds(1)
    shop.add("5-A")
    assert shop.ids(sort="dateCreated") == ["1-A", "9-A", "5-A"]
    assert shop.ids(order="desc") == ["5-A", "9-A", "1-A"]


def test_start_instead_of_offset_gives_page_one_again() -> None:
    shop = Shop()
    shop.add("1-A")
    shop.add("2-A")
    assert shop.ids(max="1", start="1") == ["1-A"]


def test_the_date_header_is_the_simulators_clock() -> None:
    assert Shop().ask("GET", "/api/orders").headers["date"] == "Sun, 01 Mar 2026 09:00:00 GMT"


def test_a_page_of_a_hundred_is_quick() -> None:
    shop = Shop()
    for number in range(500):
        shop.add(f"{number:03d}-A", lines=2)
    shop.ids(max="100")
    started = time.perf_counter()
    shop.ids(max="100", order_state_codes="WAITING_ACCEPTANCE,SHIPPING")
    assert time.perf_counter() - started < 0.05


# ---- OR11: filters ----------------------------------------------------------------------------------------


def test_filters_by_id_state_and_workflow_combine_with_and() -> None:
    shop = Shop()
    shop.add("1-A")
    shop.add("2-A", state="SHIPPING")
    shop.add("3-A", state="SHIPPING", workflow="PAY_ON_SHIPMENT")
    assert shop.ids(order_ids="3-A,1-A,unknown") == ["1-A", "3-A"]
    assert shop.ids(order_state_codes="WAITING_ACCEPTANCE,STAGING") == ["1-A"]
    assert shop.ids(payment_workflow="PAY_ON_SHIPMENT") == ["3-A"]
    assert shop.ids(order_state_codes="SHIPPING", order_ids="1-A,2-A") == ["2-A"]
    assert shop.ids(order_state_codes="NO_SUCH_STATE") == []


def test_filters_by_channel() -> None:
    shop = Shop()
    shop.add("1-A", channel={"code": "UK_WEB", "label": "UK"})
    shop.add("2-A", channel=None)
    assert shop.ids(channel_codes="UK_WEB,FR_WEB") == ["1-A"]
    assert shop.ids(channel_codes="UK_WEB", only_null_channel="true") == ["2-A"]


def test_filters_by_debit_incident_reference_and_centre() -> None:
    shop = Shop()
    shop.add("1-A", references={"order_reference_for_customer": "PO-9"})
    shop.add("2-A", state="SHIPPING", has_incident=True, references=None)
    assert shop.ids(customer_debited="true") == ["2-A"]
    assert shop.ids(customer_debited="false") == ["1-A"]
    assert shop.ids(has_incident="true") == ["2-A"]
    assert shop.ids(has_incident="false") == ["1-A"]
    assert shop.ids(order_references_for_customer="PO-9") == ["1-A"]
    assert shop.ids(order_references_for_seller="S-1") == []
    answer = shop.ask("GET", "/api/orders?fulfillment_center_code=DEFAULT&fulfillment_center_code=B")
    assert answer.json()["total_count"] == 2


def test_filters_by_creation() -> None:
    shop = Shop()
    shop.add("1-A")
    later = shop.clock.pass_seconds(60)
    shop.add("2-A")
    assert shop.ids(start_date=stamp(later)) == ["2-A"]
    assert shop.ids(end_date=stamp(later - timedelta(seconds=1))) == ["1-A"]


def test_the_update_window_looks_back_further_than_asked() -> None:
    shop = Shop(update_lookback_seconds=30)
    shop.add("1-A")
    shop.clock.pass_seconds(60)
    shop.add("2-A")
    assert shop.ids(start_update_date="2026-03-01T09:00:31Z") == ["2-A"]
    assert shop.ids(start_update_date="2026-03-01T09:00:29Z") == ["1-A", "2-A"]
    assert shop.ids(end_update_date="2026-03-01T09:00:59Z") == ["1-A"]
    assert shop.ids(start_update_date="2026-03-01T10:00:29+01:00") == ["1-A", "2-A"]


def test_tax_excluded_amounts_plus_taxes_are_the_gross() -> None:
    shop = Shop()
    shop.add("1-A", lines=2)
    gross, net = (
        shop.ask("GET", "/api/orders", params={"order_tax_mode": mode}).json()["orders"][0]
        for mode in ("TAX_INCLUDED", "TAX_EXCLUDED")
    )
    taxes = [tax["amount"] for line in net["order_lines"] for tax in (*line["taxes"], *line["shipping_taxes"])]
    assert net["order_tax_mode"] == "TAX_EXCLUDED"
    assert net["total_price"] + sum(taxes) == pytest.approx(gross["total_price"])


# ---- what an order shows ----------------------------------------------------------------------------------


def test_addresses_are_null_until_shipping() -> None:
    shop = Shop()
    shop.add("1-A")
    assert shop.read()["customer"]["shipping_address"] is None
    assert shop.read()["customer"]["billing_address"] is None
    shop.accept()
    shop.simulator.advance_debit("1-A")
    assert shop.read()["customer"]["shipping_address"] is None
    shop.simulator.confirm_debit("1-A")
    assert "Canary" in shop.read()["customer"]["shipping_address"]["street_1"]


def test_addresses_can_be_shown_before_acceptance_and_extra_fields_everywhere() -> None:
    shop = Shop(address_before_acceptance=True, extra_fields={"brand_new_field": {"x": 1}})
    shop.add("1-A")
    assert shop.read()["customer"]["shipping_address"] is not None
    assert shop.read()["brand_new_field"] == {"x": 1}


def test_a_state_that_nobody_knows_is_shown_as_it_is() -> None:
    shop = Shop()
    shop.add("1-A", state="WAITING_FOR_GODOT")
    assert shop.read()["order_state"] == "WAITING_FOR_GODOT"


def test_every_change_bumps_the_update_date_in_utc_without_zero_milliseconds() -> None:
    shop = Shop()
    shop.add("1-A")
    assert shop.read()["last_updated_date"] == "2026-03-01T09:00:00Z"
    shop.clock.pass_seconds(1.25)
    shop.accept()
    assert shop.read()["last_updated_date"] == "2026-03-01T09:00:01.250Z"
    whole = Shop(update_date_in_whole_seconds=True)
    whole.clock.pass_seconds(0.5)
    whole.add("1-A")
    assert whole.read()["last_updated_date"] == "2026-03-01T09:00:00Z"


def test_a_write_is_seen_only_after_the_lag() -> None:
    shop = Shop(visibility_lag_seconds=10)
    shop.add("1-A")
    shop.clock.pass_seconds(20)
    shop.accept()
    assert shop.read()["order_state"] == "WAITING_ACCEPTANCE"
    assert shop.accept().json()["code"] == "ORDER_INVALID_STATE"  # the guard sees the truth
    shop.clock.pass_seconds(5)
    shop.simulator.advance_debit("1-A")
    assert shop.ids(order_state_codes="WAITING_ACCEPTANCE") == ["1-A"]
    shop.clock.pass_seconds(5)
    assert shop.read()["order_state"] == "WAITING_DEBIT"
    shop.clock.pass_seconds(5)
    assert shop.read()["order_state"] == "WAITING_DEBIT_PAYMENT"


@pytest.mark.parametrize(
    ("state", "workflow", "can_cancel", "can_ship"),
    [
        ("WAITING_ACCEPTANCE", "PAY_ON_ACCEPTANCE", True, False),
        ("SHIPPING", "PAY_ON_ACCEPTANCE", False, True),
        ("SHIPPING", "PAY_ON_SHIPMENT", True, True),
        ("SHIPPED", "PAY_ON_DELIVERY", True, False),
        ("SHIPPED", "NO_CUSTOMER_PAYMENT_CONFIRMATION", False, False),
        ("CANCELED", "PAY_ON_ACCEPTANCE", False, False),
    ],
)
def test_rights_follow_state_and_debit(state: str, workflow: str, can_cancel: bool, can_ship: bool) -> None:
    shop = Shop()
    shop.add("1-A", state=state, workflow=workflow)
    order = shop.read()
    assert (order["can_cancel"], order["can_shop_ship"]) == (can_cancel, can_ship)


# ---- OR21 ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("lines", "code"),
    [
        ("no list", "VALIDATION_ERROR"),
        ([{"id": "1-A-1"}], "VALIDATION_ERROR"),
        ([{"id": "1-A-1", "accepted": "yes"}], "VALIDATION_ERROR"),
        ([None], "ORDER_LINE_NULL_ELEMENT"),
        ([{"id": "1-A-1", "accepted": True}] * 2, "ORDER_LINE_DUPLICATE_ID"),
        ([{"id": "1-A-1", "accepted": True}], "ORDER_LINE_ACCEPTANCE_DECISION_MISSING"),
        ([], "ORDER_LINE_ACCEPTANCE_DECISION_MISSING"),
        (
            [{"id": name, "accepted": True} for name in ("1-A-1", "1-A-2", "2-A-1")],
            "ORDER_LINE_NOT_FOUND",
        ),
    ],
)
def test_or21_needs_a_decision_for_every_line(lines: Any, code: str) -> None:
    shop = Shop()
    shop.add("1-A", lines=2)
    answer = shop.ask("PUT", "/api/orders/1-A/accept", json={"order_lines": lines})
    assert (answer.status_code, answer.json()["code"]) == (400, code)
    assert shop.kinds() == []


def test_or21_of_an_unknown_order_is_404_or_as_set() -> None:
    answer = Shop().accept("9-A")
    assert answer.json() == {
        "message": "Order with id '9-A' not found",
        "status": 404,
        "code": "ORDER_NOT_FOUND",
    }
    assert Shop(order_not_found_status=400).accept("9-A").status_code == 400


def test_or21_repeated_is_an_error_and_no_second_effect() -> None:
    shop = Shop()
    shop.add("1-A")
    assert (shop.accept().status_code, shop.accept().status_code) == (204, 400)
    assert shop.kinds() == [("accepted", "api")]
    assert shop.simulator.requests["OR21"] == 2


def test_or21_mixed_refuses_lines_and_the_order_follows_the_accepted() -> None:
    shop = Shop()
    shop.add("1-A", lines=2)
    assert shop.accept("1-A", True, False).status_code == 204
    order = shop.read()
    assert order["order_state"] == "WAITING_DEBIT"
    assert [line["order_line_state"] for line in order["order_lines"]] == ["WAITING_DEBIT", "REFUSED"]
    effect = shop.books.effects()[-1]
    assert effect.detail == {"lines_accepted": "1", "lines_refused": "1"}


def test_or21_mixed_can_be_disabled() -> None:
    shop = Shop(
        Marketplace("place", 7, "place-key", PLACE.carriers, PLACE.shipping_types, has_partial_acceptance=False)
    )
    shop.add("1-A", lines=2)
    assert shop.accept("1-A", True, False).json()["code"] == "ORDER_PARTIAL_ACCEPTANCE_DISABLED"
    assert shop.accept("1-A", False, False).status_code == 204
    assert shop.kinds() == [("refused", "api")]
    assert shop.read()["order_state"] == "REFUSED"


def test_or21_of_somebody_elses_order_is_refused() -> None:
    shop = Shop()
    order = build_order(PLACE, "1-A", created=shop.clock(), lines=[Line("MUG")])
    shop.simulator.add_order(order | {"fulfillment": {"center": {"code": "OPERATOR"}}})
    assert shop.accept().json()["code"] == "ORDER_FULFILLED_UNAUTHORIZED"


def test_shape_b_is_a_list_of_errors() -> None:
    (error,) = Shop(error_shape="B").accept("9-A").json()["errors"]
    assert error["code"] == "ORDER_NOT_FOUND"


@pytest.mark.parametrize(
    ("workflow", "state"), [("PAY_ON_ACCEPTANCE", "WAITING_DEBIT"), ("PAY_ON_DELIVERY", "SHIPPING")]
)
def test_after_acceptance_only_one_workflow_waits_for_the_debit(workflow: str, state: str) -> None:
    shop = Shop()
    shop.add("1-A", workflow=workflow)
    shop.accept()
    assert shop.read()["order_state"] == state
    assert shop.read()["acceptance_decision_date"] is not None


# ---- OR23 ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"carrier_code": "", "carrier_name": ""},
        {"tracking_number": "T1"},
        {"carrier_code": "NOPE", "tracking_number": "T1"},
        {"carrier_code": "DPD"},  # its URL needs a number
        {"carrier_name": 5},
    ],
)
def test_or23_refuses_what_names_no_usable_carrier(body: Json) -> None:
    shop = Shop()
    shop.add("1-A", state="SHIPPING")
    assert shop.track(**body).status_code == 400
    assert shop.kinds() == []


@pytest.mark.parametrize("state", ["WAITING_ACCEPTANCE", "WAITING_DEBIT", "CANCELED", "REFUSED"])
def test_or23_needs_a_shippable_order(state: str) -> None:
    shop = Shop()
    shop.add("1-A", state=state)
    assert shop.track(carrier_code="ABC").status_code == 400
    assert shop.track("9-A", carrier_code="ABC").status_code == 404


def test_or23_of_a_registered_carrier_fills_label_and_url() -> None:
    shop = Shop()
    shop.add("1-A", state="SHIPPING")
    answer = shop.track(carrier_code="DPD", carrier_name="x", carrier_url="x", tracking_number="T1")
    assert (answer.status_code, answer.content) == (204, b"")
    order = shop.read()
    shown = [order[name] for name in ("shipping_carrier_code", "shipping_company", "shipping_tracking")]
    assert shown == ["DPD", "DPD", "T1"]
    assert order["shipping_tracking_url"] == "https://track.example/T1"
    assert order["order_state"] == "SHIPPING"


def test_or23_of_an_unregistered_carrier_keeps_what_is_sent() -> None:
    shop = Shop()
    shop.add("1-A", state="SHIPPING")
    assert shop.track(carrier_name="Yodel", carrier_url="https://y.example/T1").status_code == 204
    order = shop.read()
    assert (order["shipping_carrier_code"], order["shipping_company"]) == (None, "Yodel")
    assert (order["shipping_tracking"], order["shipping_tracking_url"]) == (None, "https://y.example/T1")


def test_or23_without_alternative_carriers_takes_only_codes() -> None:
    place = Marketplace("place", 7, "place-key", PLACE.carriers, PLACE.shipping_types, alternative_carriers=False)
    shop = Shop(place)
    shop.add("1-A", state="SHIPPING")
    assert shop.track(carrier_name="Yodel").status_code == 400
    assert shop.track(carrier_code="ABC").status_code == 204
    features = shop.ask("GET", "/api/platform/configuration").json()["features"]
    assert features["disable_seller_alternative_carrier"] is True


def test_or23_an_unknown_code_may_pass_with_a_name() -> None:
    shop = Shop(unknown_carrier_is_error=False)
    shop.add("1-A", state="SHIPPING")
    assert shop.track(carrier_code="NOPE", carrier_name="Nope & Co").status_code == 204
    assert shop.read()["shipping_company"] == "Nope & Co"


def test_or23_overwrites_also_after_shipping_unless_that_is_off() -> None:
    shop = Shop()
    shop.add("1-A", state="SHIPPING")
    shop.track(carrier_code="DPD", tracking_number="T1")
    shop.ship()
    assert shop.track(carrier_code="DPD", tracking_number="T2").status_code == 204
    assert shop.read()["shipping_tracking"] == "T2"
    assert shop.kinds() == [("tracking", "api"), ("shipped", "api"), ("tracking", "api")]
    strict = Shop(tracking_after_shipped=False)
    strict.add("1-A", state="SHIPPED")
    assert strict.track(carrier_code="ABC").status_code == 400


# ---- OR24 ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("state", ["WAITING_ACCEPTANCE", "WAITING_DEBIT_PAYMENT", "SHIPPED", "CANCELED"])
def test_or24_needs_shipping(state: str) -> None:
    shop = Shop()
    shop.add("1-A", state=state)
    answer = shop.ship()
    assert answer.status_code == 400
    assert "The order does not have the expected status 'SHIPPING'" in answer.json()["message"]
    assert shop.ship("9-A").status_code == 404
    assert shop.kinds() == []


def test_or24_needs_tracking_where_it_is_mandatory() -> None:
    shop = Shop()
    shop.add("1-A", state="SHIPPING", shipping_type="SAFE")
    assert shop.ship().json() == {
        "message": "Tracking details are mandatory for this shipping method.",
        "status": 400,
    }
    shop.track(carrier_code="DPD", tracking_number="T1")
    assert shop.ship().status_code == 204


def test_or24_of_what_the_operator_delivers_is_refused() -> None:
    shop = Shop()
    shop.add("1-A", state="SHIPPING", shipping_type="OPS")
    assert shop.read()["can_shop_ship"] is False
    assert shop.ship().status_code == 400


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


def test_or24_ships_without_tracking_and_pay_on_shipment_waits_for_the_debit() -> None:
    shop = Shop()
    shop.add("1-A", state="SHIPPING")
    shop.add("2-A", state="SHIPPING", workflow="PAY_ON_SHIPMENT")
    assert (shop.ship("1-A").status_code, shop.ship("2-A").status_code) == (204, 204)
    assert shop.read("1-A")["order_state"] == "SHIPPED"
    assert shop.read("1-A")["order_lines"][0]["shipped_date"] is not None
    assert shop.read("2-A")["order_state"] == "WAITING_DEBIT_PAYMENT"
    assert shop.read("2-A")["customer"]["shipping_address"] is not None
    shop.simulator.confirm_debit("2-A")
    assert shop.read("2-A")["order_state"] == "SHIPPED"
    assert shop.kinds("2-A") == [("shipped", "api"), ("debited", "marketplace")]


def test_an_order_id_may_hold_a_slash_when_encoded() -> None:
    shop = Shop()
    shop.add("a/b c", state="SHIPPING")
    assert shop.ask("PUT", "/api/orders/a%2Fb%20c/ship").status_code == 204


# ---- faults ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("kind", "happened"), [("timeout_before", False), ("timeout_after", True)])
def test_a_lost_answer_with_and_without_the_effect(kind: str, happened: bool) -> None:
    shop = Shop(faults=[Fault("OR21", kind, hold_seconds=0.0)])
    shop.add("1-A")
    with pytest.raises(AnswerLostError):
        shop.accept()
    assert (shop.kinds() == [("accepted", "api")]) is happened
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
def test_faults_that_answer(kind: str, status: int, happened: bool) -> None:
    shop = Shop(faults=[Fault("OR24", kind, retry_after_seconds=3)])
    shop.add("1-A", state="SHIPPING")
    answer = shop.ship()
    assert answer.status_code == status
    assert (shop.kinds() == [("shipped", "api")]) is happened
    assert answer.headers.get("retry-after") == ("3" if kind == "429" else None)
    if kind.startswith("50"):
        assert answer.headers["content-type"].startswith("text/html")


def test_a_truncated_answer_is_no_json() -> None:
    shop = Shop(faults=[Fault("OR11", "truncated")])
    shop.add("1-A")
    with pytest.raises(json.JSONDecodeError):
        shop.ask("GET", "/api/orders").json()
    assert shop.ids() == ["1-A"]


def test_a_slow_answer_waits_for_its_release_and_delays_nobody_else() -> None:
    fault = Fault("OR24", "slow", hold_seconds=30.0)
    shop = Shop(faults=[fault])
    shop.add("1-A", state="SHIPPING")

    async def both() -> tuple[bool, int]:
        transport = httpx.ASGITransport(app=shop.app)
        headers = {"Authorization": PLACE.api_key}
        async with httpx.AsyncClient(transport=transport, base_url="http://m", headers=headers) as client:
            slow = asyncio.create_task(client.put("/api/orders/1-A/ship"))
            while not shop.kinds():
                await asyncio.sleep(0)
            listed = (await client.get("/api/orders")).json()["orders"][0]["order_state"]
            waited = not slow.done() and listed == "SHIPPED"
            fault.release()
            return waited, (await slow).status_code

    assert asyncio.run(both()) == (True, 204)


def test_a_fault_strikes_its_operation_its_order_and_its_count() -> None:
    shop = Shop(faults=[Fault("OR24", "503", count=2, order_id="1-A")])
    shop.add("1-A", state="SHIPPING")
    shop.add("2-A", state="SHIPPING")
    assert shop.ship("2-A").status_code == 204
    assert [shop.ship("1-A").status_code for _ in range(3)] == [503, 503, 204]
    assert shop.simulator.knobs.faults == []


def test_a_star_strikes_any_operation_and_an_unknown_kind_is_no_fault() -> None:
    assert Shop(faults=[Fault("*", "502")]).ask("GET", "/api/account").status_code == 502
    with pytest.raises(ValueError, match="no such fault"):
        Fault("OR11", "earthquake")


def test_throttling_tells_how_long_to_wait() -> None:
    shop = Shop(throttle={"OR11": (2, 60.0)})
    assert [shop.ask("GET", "/api/orders").status_code for _ in range(2)] == [200, 200]
    shop.clock.pass_seconds(20)
    answer = shop.ask("GET", "/api/orders")
    assert (answer.status_code, answer.headers["retry-after"]) == (429, "40")
    shop.clock.pass_seconds(40)
    assert shop.ask("GET", "/api/orders").status_code == 200
    assert [call.status for call in shop.simulator.calls] == [200, 200, 429, 200]


# ---- operator, customer, portal ---------------------------------------------------------------------------------


def test_what_does_not_fit_the_state_changes_nothing() -> None:
    shop = Shop()
    shop.add("1-A", state="CLOSED")
    simulator = shop.simulator
    before = simulator.order("1-A")
    done = [
        simulator.release_staging("1-A"),
        simulator.advance_debit("1-A"),
        simulator.confirm_debit("1-A"),
        simulator.refuse_debit("1-A"),
        simulator.cancel("1-A"),
        simulator.cancel_line("1-A", "1-A-1"),
        simulator.refuse_by_deadline("1-A"),
        simulator.accept_in_portal("1-A"),
        simulator.ship_in_portal("1-A", "T1"),
        simulator.mark_to_collect("1-A"),
        simulator.mark_received("1-A"),
        simulator.close("1-A"),
    ]
    assert not any(done)
    assert (shop.kinds(), simulator.order("1-A")) == ([], before)
    with pytest.raises(KeyError):
        simulator.cancel("9-A")
    with pytest.raises(ValueError, match="exists"):
        shop.add("1-A")


def test_a_failed_debit_cancels() -> None:
    shop = Shop()
    shop.add("1-A")
    shop.accept()
    assert shop.simulator.advance_debit("1-A")
    assert shop.simulator.refuse_debit("1-A")
    order = shop.read()
    assert (order["order_state"], order["order_state_reason_code"]) == ("CANCELED", "PAYMENT_REFUSED")
    assert order["order_lines"][0]["order_line_state"] == "CANCELED"
    assert shop.kinds() == [("accepted", "api"), ("canceled", "marketplace")]


def test_the_deadline_refuses_without_a_decision_date() -> None:
    shop = Shop()
    shop.add("1-A", lines=2)
    assert shop.simulator.refuse_by_deadline("1-A")
    assert (shop.read()["order_state"], shop.read()["acceptance_decision_date"]) == ("REFUSED", None)
    assert shop.kinds() == [("refused", "marketplace")]


def test_automatic_acceptance_is_never_seen_waiting() -> None:
    shop = Shop(automatic_acceptance=True)
    shop.add("1-A")
    shop.add("2-A", state="STAGING")
    shop.simulator.release_staging("2-A")
    assert shop.ids(order_state_codes="WAITING_DEBIT") == ["1-A", "2-A"]
    assert shop.kinds("2-A") == [("accepted", "marketplace")]


def test_a_person_accepts_and_ships_in_the_portal() -> None:
    shop = Shop()
    shop.add("1-A", lines=2, workflow="NO_CUSTOMER_PAYMENT_CONFIRMATION")
    assert shop.simulator.accept_in_portal("1-A", refused_lines=["1-A-2"])
    assert shop.simulator.ship_in_portal("1-A", "T9", "DPD")
    assert shop.simulator.set_tracking_in_portal("1-A", "T10")
    assert shop.simulator.mark_received("1-A")
    assert shop.simulator.close("1-A")
    by_person = [kind for kind, by in shop.kinds() if by == "person"]
    assert by_person == ["accepted", "tracking", "shipped", "tracking"]
    assert (shop.read()["order_state"], shop.read()["shipping_tracking"]) == ("CLOSED", "T10")


@pytest.mark.parametrize(
    ("workflow", "after_ship", "end"),
    [("PAY_ON_DELIVERY", [], "RECEIVED"), ("PAY_ON_DUE_DATE", ["mark_received"], "CLOSED")],
)
def test_late_debits_come_after_shipping(workflow: str, after_ship: list[str], end: str) -> None:
    shop = Shop()
    shop.add("1-A", state="SHIPPING", workflow=workflow)
    shop.ship()
    for act in after_ship:
        getattr(shop.simulator, act)("1-A")
    states = []
    for _ in range(2):
        assert shop.simulator.advance_debit("1-A")
        states.append(shop.read()["order_state"])
    assert states == ["WAITING_DEBIT", "WAITING_DEBIT_PAYMENT"]
    assert shop.track(carrier_code="ABC").status_code == 204
    shop.simulator.confirm_debit("1-A")
    assert shop.read()["order_state"] == end


def test_the_last_line_canceled_takes_the_order_with_it() -> None:
    shop = Shop()
    shop.add("1-A", lines=2, state="SHIPPING")
    assert shop.simulator.cancel_line("1-A", "1-A-1")
    assert shop.read()["order_state"] == "SHIPPING"
    assert shop.read()["order_lines"][0]["cancelations"][0]["quantity"] == 1
    assert shop.simulator.cancel_line("1-A", "1-A-2")
    assert shop.kinds() == [("line_canceled", "customer"), ("canceled", "customer")]


def test_history_of_an_order_first_seen_late_is_in_the_books() -> None:
    shop = Shop()
    shop.add("1-A", state="SHIPPING", history=[("accepted", "marketplace")])
    assert shop.kinds() == [("accepted", "marketplace")]


def test_the_books_are_json_and_filter_by_place_and_order() -> None:
    shop = Shop()
    shop.add("1-A")
    shop.accept()
    shop.books.record(shop.clock(), "oms", "1-A", "imported", "api")
    assert len(shop.books.effects()) == len(json.loads(json.dumps(shop.books.as_json()))) == 3
    assert [one.kind for one in shop.books.effects("oms")] == ["imported"]
    assert shop.books.effects("oms", "2-A") == ()


# ---- settings ---------------------------------------------------------------------------------------------------


def test_settings_carriers_and_shipping_types() -> None:
    shop = Shop()
    account = shop.ask("GET", "/api/account").json()
    assert (account["shop_id"], account["shop_state"], account["currency_iso_code"]) == (7, "OPEN", "GBP")
    carriers = shop.ask("GET", "/api/shipping/carriers").json()["carriers"]
    assert [carrier["label"] for carrier in carriers] == ["Alphabet Post", "DPD"]
    kinds = shop.ask("GET", "/api/shipping/types").json()["shipping_types"]
    assert [(kind["code"], kind["mandatory_tracking"]) for kind in kinds][1] == ("SAFE", True)


# ---- messages ---------------------------------------------------------------------------------------------------


def threads(shop: Shop, **params: str) -> httpx.Response:
    return shop.ask("GET", "/api/inbox/threads", params=params)


@pytest.mark.parametrize(
    "params", [{"entity_id": "1-A"}, {"limit": "101"}, {"page_token": "forged.token"}, {"updated_since": "x"}]
)
def test_m11_refuses_in_the_messaging_shape(params: dict[str, str]) -> None:
    answer = threads(Shop(), **params)
    assert answer.status_code == 400
    assert "message" in answer.json()["errors"][0]


def test_m11_gives_messages_only_when_asked() -> None:
    shop = Shop()
    shop.add("1-A")
    thread_id = shop.simulator.post_message("1-A", "Hello<br />there")
    shop.simulator.post_message("1-A", "Certainly", "SHOP_USER")
    query = {"entity_type": "MMP_ORDER", "entity_id": "1-A"}
    assert "messages" not in threads(shop, **query).json()["data"][0]
    (thread,) = threads(shop, **query, with_messages="true").json()["data"]
    assert [message["from"]["type"] for message in thread["messages"]] == ["CUSTOMER_USER", "SHOP_USER"]
    assert thread["metadata"]["shop_reply_needed_since"] is None
    whole = shop.ask("GET", f"/api/inbox/threads/{thread_id}").json()
    assert whole["messages"][0]["body"] == "Hello<br />there"
    assert shop.ask("GET", "/api/inbox/threads/none").status_code == 404


def test_only_a_customers_message_sets_the_flag_and_by_default_no_date() -> None:
    shop = Shop()
    shop.add("1-A")
    shop.clock.pass_seconds(5)
    shop.simulator.post_message("1-A", "Reminder", "OPERATOR_USER")
    assert shop.read()["has_customer_message"] is False
    shop.simulator.post_message("1-A", "Hello")
    assert shop.read()["has_customer_message"] is True
    assert shop.read()["last_updated_date"] == "2026-03-01T09:00:00Z"
    bumping = Shop(message_bumps_update_date=True)
    bumping.add("1-A")
    bumping.clock.pass_seconds(5)
    bumping.simulator.post_message("1-A", "Hello")
    assert bumping.read()["last_updated_date"] == "2026-03-01T09:00:05Z"


def test_m11_pages_by_token_newest_first_and_ignores_the_rest() -> None:
    shop = Shop()
    shop.add("1-A")
    shop.add("2-A")
    for number in range(5):
        shop.clock.pass_seconds(1)
        shop.simulator.post_message("1-A", "Hello", topic=f"topic {number}")
    shop.simulator.post_message("2-A", "Hello")
    page = threads(shop, entity_type="MMP_ORDER", entity_id="1-A", limit="2").json()
    assert page["previous_page_token"] is None
    topics = [thread["topic"]["value"] for thread in page["data"]]
    pages = [page]
    while page["next_page_token"] is not None:
        page = threads(shop, page_token=page["next_page_token"], entity_id="2-A", limit="50").json()
        pages.append(page)
        topics += [thread["topic"]["value"] for thread in page["data"]]
    assert topics == [f"topic {number}" for number in (4, 3, 2, 1, 0)]
    back = threads(shop, page_token=pages[2]["previous_page_token"]).json()
    assert back["data"] == pages[1]["data"]
    assert threads(shop, page_token=pages[1]["previous_page_token"]).json() == pages[0]


def test_m11_filters_and_keeps_to_a_hundred_messages() -> None:
    shop = Shop()
    shop.add("1-A")
    for number in range(105):
        thread_id = shop.simulator.post_message("1-A", f"message {number}")
    shop.clock.pass_seconds(60)
    (thread,) = threads(shop, with_messages="true").json()["data"]
    assert thread["messages"][0]["body"] == "message 5"
    assert len(shop.ask("GET", f"/api/inbox/threads/{thread_id}").json()["messages"]) == 105
    assert threads(shop, updated_since=stamp(shop.clock())).json()["data"] == []
    assert threads(shop, entity_type="MMP_OFFER", entity_id="1-A").json()["data"] == []
    assert threads(shop, channel_codes="FR_WEB").json()["data"] == []
