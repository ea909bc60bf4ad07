"""OR21, OR23 and OR24, and the changes by the operator, the customer and a person in the portal. The books contain
effects, not requests."""

import json
from typing import Any

import pytest

from adapters.simulators.mirakl.model import Marketplace
from adapters.simulators.orders import Line, build_order
from tests.adapters.simulators.mirakl.shop import PLACE, Json, Shop


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
def test_can_cancel_and_can_shop_ship_depend_on_state_and_debit(
    state: str, workflow: str, can_cancel: bool, can_ship: bool
) -> None:
    shop = Shop()
    shop.add("1-A", state=state, workflow=workflow)
    order = shop.read()
    assert order["can_cancel"] == can_cancel
    assert order["can_shop_ship"] == can_ship


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
    assert answer.status_code == 400
    assert answer.json()["code"] == code
    assert shop.kinds() == []


def test_or21_of_an_unknown_order_is_404_or_another_status_by_a_knob() -> None:
    answer = Shop().accept("9-A")
    assert answer.json() == {
        "message": "Order with id '9-A' not found",
        "status": 404,
        "code": "ORDER_NOT_FOUND",
    }
    assert Shop(order_not_found_status=400).accept("9-A").status_code == 400


def test_or21_repeated_is_an_error_without_a_second_effect() -> None:
    shop = Shop()
    shop.add("1-A")
    assert shop.accept().status_code == 204
    assert shop.accept().status_code == 400
    assert shop.kinds() == [("accepted", "api")]
    assert shop.simulator.requests["OR21"] == 2


def test_or21_may_refuse_some_lines_and_the_order_follows_the_accepted_ones() -> None:
    shop = Shop()
    shop.add("1-A", lines=2)
    assert shop.accept("1-A", True, False).status_code == 204
    order = shop.read()
    assert order["order_state"] == "WAITING_DEBIT"
    assert [line["order_line_state"] for line in order["order_lines"]] == ["WAITING_DEBIT", "REFUSED"]
    effect = shop.books.effects()[-1]
    assert effect.detail == {"lines_accepted": "1", "lines_refused": "1"}


def test_or21_of_some_lines_may_be_disabled() -> None:
    shop = Shop(
        Marketplace("place", 7, "place-key", PLACE.carriers, PLACE.shipping_types, has_partial_acceptance=False)
    )
    shop.add("1-A", lines=2)
    assert shop.accept("1-A", True, False).json()["code"] == "ORDER_PARTIAL_ACCEPTANCE_DISABLED"
    assert shop.accept("1-A", False, False).status_code == 204
    assert shop.kinds() == [("refused", "api")]
    assert shop.read()["order_state"] == "REFUSED"


def test_or21_of_another_fulfilment_centres_order_is_refused() -> None:
    shop = Shop()
    order = build_order(PLACE, "1-A", created=shop.clock(), lines=[Line("MUG")])
    shop.simulator.add_order(order | {"fulfillment": {"center": {"code": "OPERATOR"}}})
    assert shop.accept().json()["code"] == "ORDER_FULFILLED_UNAUTHORIZED"


@pytest.mark.parametrize(
    ("workflow", "state"), [("PAY_ON_ACCEPTANCE", "WAITING_DEBIT"), ("PAY_ON_DELIVERY", "SHIPPING")]
)
def test_after_acceptance_only_pay_on_acceptance_waits_for_the_debit(workflow: str, state: str) -> None:
    shop = Shop()
    shop.add("1-A", workflow=workflow)
    shop.accept()
    assert shop.read()["order_state"] == state
    assert shop.read()["acceptance_decision_date"] is not None


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
def test_or23_without_a_usable_carrier_is_refused(body: Json) -> None:
    shop = Shop()
    shop.add("1-A", state="SHIPPING")
    assert shop.track(**body).status_code == 400
    assert shop.kinds() == []


@pytest.mark.parametrize("state", ["WAITING_ACCEPTANCE", "WAITING_DEBIT", "CANCELED", "REFUSED"])
def test_or23_of_an_order_that_cannot_be_shipped_is_refused(state: str) -> None:
    shop = Shop()
    shop.add("1-A", state=state)
    assert shop.track(carrier_code="ABC").status_code == 400
    assert shop.track("9-A", carrier_code="ABC").status_code == 404


def test_or23_of_a_registered_carrier_sets_its_label_and_url() -> None:
    shop = Shop()
    shop.add("1-A", state="SHIPPING")
    answer = shop.track(carrier_code="DPD", carrier_name="x", carrier_url="x", tracking_number="T1")
    assert answer.status_code == 204
    assert answer.content == b""
    order = shop.read()
    shown = [order[name] for name in ("shipping_carrier_code", "shipping_company", "shipping_tracking")]
    assert shown == ["DPD", "DPD", "T1"]
    assert order["shipping_tracking_url"] == "https://track.example/T1"
    assert order["order_state"] == "SHIPPING"


def test_or23_of_an_unregistered_carrier_keeps_the_sent_values() -> None:
    shop = Shop()
    shop.add("1-A", state="SHIPPING")
    assert shop.track(carrier_name="Yodel", carrier_url="https://y.example/T1").status_code == 204
    order = shop.read()
    assert order["shipping_carrier_code"] is None
    assert order["shipping_company"] == "Yodel"
    assert order["shipping_tracking"] is None
    assert order["shipping_tracking_url"] == "https://y.example/T1"


def test_or23_without_alternative_carriers_accepts_only_codes() -> None:
    place = Marketplace("place", 7, "place-key", PLACE.carriers, PLACE.shipping_types, alternative_carriers=False)
    shop = Shop(place)
    shop.add("1-A", state="SHIPPING")
    assert shop.track(carrier_name="Yodel").status_code == 400
    assert shop.track(carrier_code="ABC").status_code == 204
    features = shop.ask("GET", "/api/platform/configuration").json()["features"]
    assert features["disable_seller_alternative_carrier"] is True


def test_or23_of_an_unknown_code_with_a_name_may_be_accepted() -> None:
    shop = Shop(unknown_carrier_is_error=False)
    shop.add("1-A", state="SHIPPING")
    assert shop.track(carrier_code="NOPE", carrier_name="Nope & Co").status_code == 204
    assert shop.read()["shipping_company"] == "Nope & Co"


def test_or23_overwrites_after_shipping_too_unless_a_knob_forbids_it() -> None:
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


@pytest.mark.parametrize("state", ["WAITING_ACCEPTANCE", "WAITING_DEBIT_PAYMENT", "SHIPPED", "CANCELED"])
def test_or24_of_an_order_that_is_not_in_shipping_is_refused(state: str) -> None:
    shop = Shop()
    shop.add("1-A", state=state)
    answer = shop.ship()
    assert answer.status_code == 400
    assert "The order does not have the expected status 'SHIPPING'" in answer.json()["message"]
    assert shop.ship("9-A").status_code == 404
    assert shop.kinds() == []


def test_or24_needs_tracking_if_it_is_mandatory() -> None:
    shop = Shop()
    shop.add("1-A", state="SHIPPING", shipping_type="SAFE")
    assert shop.ship().json() == {
        "message": "Tracking details are mandatory for this shipping method.",
        "status": 400,
    }
    shop.track(carrier_code="DPD", tracking_number="T1")
    assert shop.ship().status_code == 204


def test_or24_is_refused_if_the_operator_delivers() -> None:
    shop = Shop()
    shop.add("1-A", state="SHIPPING", shipping_type="OPS")
    assert shop.read()["can_shop_ship"] is False
    assert shop.ship().status_code == 400


def test_or24_ships_without_tracking_and_pay_on_shipment_waits_for_the_debit() -> None:
    shop = Shop()
    shop.add("1-A", state="SHIPPING")
    shop.add("2-A", state="SHIPPING", workflow="PAY_ON_SHIPMENT")
    assert shop.ship("1-A").status_code == 204
    assert shop.ship("2-A").status_code == 204
    assert shop.read("1-A")["order_state"] == "SHIPPED"
    assert shop.read("1-A")["order_lines"][0]["shipped_date"] is not None
    assert shop.read("2-A")["order_state"] == "WAITING_DEBIT_PAYMENT"
    assert shop.read("2-A")["customer"]["shipping_address"] is not None
    shop.simulator.confirm_debit("2-A")
    assert shop.read("2-A")["order_state"] == "SHIPPED"
    assert shop.kinds("2-A") == [("shipped", "api"), ("debited", "marketplace")]


def test_a_change_that_the_state_does_not_allow_does_nothing() -> None:
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
    assert shop.kinds() == []
    assert simulator.order("1-A") == before
    with pytest.raises(KeyError):
        simulator.cancel("9-A")
    with pytest.raises(ValueError, match="exists"):
        shop.add("1-A")


def test_a_failed_debit_cancels_the_order() -> None:
    shop = Shop()
    shop.add("1-A")
    shop.accept()
    assert shop.simulator.advance_debit("1-A")
    assert shop.simulator.refuse_debit("1-A")
    order = shop.read()
    assert order["order_state"] == "CANCELED"
    assert order["order_state_reason_code"] == "PAYMENT_REFUSED"
    assert order["order_lines"][0]["order_line_state"] == "CANCELED"
    assert shop.kinds() == [("accepted", "api"), ("canceled", "marketplace")]


def test_the_deadline_refuses_without_a_decision_date() -> None:
    shop = Shop()
    shop.add("1-A", lines=2)
    assert shop.simulator.refuse_by_deadline("1-A")
    assert shop.read()["order_state"] == "REFUSED"
    assert shop.read()["acceptance_decision_date"] is None
    assert shop.kinds() == [("refused", "marketplace")]


def test_automatic_acceptance_leaves_no_order_waiting() -> None:
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
    assert shop.read()["order_state"] == "CLOSED"
    assert shop.read()["shipping_tracking"] == "T10"


@pytest.mark.parametrize(
    ("workflow", "after_ship", "end"),
    [("PAY_ON_DELIVERY", [], "RECEIVED"), ("PAY_ON_DUE_DATE", ["mark_received"], "CLOSED")],
)
def test_late_debits_come_after_shipping(workflow: str, after_ship: list[str], end: str) -> None:
    shop = Shop()
    shop.add("1-A", state="SHIPPING", workflow=workflow)
    shop.ship()
    for name in after_ship:
        getattr(shop.simulator, name)("1-A")
    states = []
    for _ in range(2):
        assert shop.simulator.advance_debit("1-A")
        states.append(shop.read()["order_state"])
    assert states == ["WAITING_DEBIT", "WAITING_DEBIT_PAYMENT"]
    assert shop.track(carrier_code="ABC").status_code == 204
    shop.simulator.confirm_debit("1-A")
    assert shop.read()["order_state"] == end


def test_canceling_the_last_open_line_cancels_the_order() -> None:
    shop = Shop()
    shop.add("1-A", lines=2, state="SHIPPING")
    assert shop.simulator.cancel_line("1-A", "1-A-1")
    assert shop.read()["order_state"] == "SHIPPING"
    assert shop.read()["order_lines"][0]["cancelations"][0]["quantity"] == 1
    assert shop.simulator.cancel_line("1-A", "1-A-2")
    assert shop.kinds() == [("line_canceled", "customer"), ("canceled", "customer")]


def test_the_history_of_a_new_order_is_in_the_books() -> None:
    shop = Shop()
    shop.add("1-A", state="SHIPPING", history=[("accepted", "marketplace")])
    assert shop.kinds() == [("accepted", "marketplace")]


def test_the_books_are_json_and_can_be_filtered_by_place_and_order() -> None:
    shop = Shop()
    shop.add("1-A")
    shop.accept()
    shop.books.record(shop.clock(), "oms", "1-A", "imported", "api")
    assert len(shop.books.effects()) == 3
    assert len(json.loads(json.dumps(shop.books.as_json()))) == 3
    assert [one.kind for one in shop.books.effects("oms")] == ["imported"]
    assert shop.books.effects("oms", "2-A") == ()
