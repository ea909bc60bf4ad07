"""OR11: its pages, its filters, and the fields of an order, as docs/mirakl.md 5.2 says."""

from datetime import timedelta

import httpx
import pytest

from adapters.simulators.faults import Fault
from adapters.simulators.mirakl.model import stamp
from tests.adapters.simulators.mirakl.shop import Shop


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


def test_a_max_over_100_may_mean_100_instead() -> None:
    assert Shop(max_over_100_is_error=False).ask("GET", "/api/orders?max=500").status_code == 200


def test_a_page_has_ten_orders_by_default_a_total_and_links() -> None:
    shop = Shop()
    for number in range(25):
        shop.add(f"{number:02d}-A")
    first = shop.ask("GET", "/api/orders")
    assert len(first.json()["orders"]) == 10
    assert first.json()["total_count"] == 25
    assert list(first.links) == ["next"]
    second = shop.ask("GET", first.links["next"]["url"])
    assert second.json()["orders"][0]["order_id"] == "10-A"
    assert set(second.links) == {"previous", "next"}
    last = shop.ask("GET", second.links["next"]["url"])
    assert len(last.json()["orders"]) == 5
    assert list(last.links) == ["previous"]


def test_links_keep_the_filters_and_a_single_page_has_none() -> None:
    shop = Shop()
    for number in range(3):
        shop.add(f"{number}-A")
    query = {"order_state_codes": "WAITING_ACCEPTANCE,SHIPPING", "max": "2"}
    url = httpx.URL(shop.ask("GET", "/api/orders", params=query).links["next"]["url"])
    assert dict(url.params) == query | {"offset": "2"}
    assert "link" not in shop.ask("GET", "/api/orders", params={"max": "3"}).headers


def test_orders_are_sorted_by_creation_then_id_in_both_directions() -> None:
    shop = Shop()
    shop.add("9-A")
    shop.add("1-A")
    shop.clock.pass_seconds(1)
    shop.add("5-A")
    assert shop.ids(sort="dateCreated") == ["1-A", "9-A", "5-A"]
    assert shop.ids(order="desc") == ["5-A", "9-A", "1-A"]


def test_start_instead_of_offset_returns_the_first_page_again() -> None:
    shop = Shop()
    shop.add("1-A")
    shop.add("2-A")
    assert shop.ids(max="1", start="1") == ["1-A"]


def test_a_page_of_a_hundred_out_of_five_hundred_orders() -> None:
    shop = Shop()
    for number in range(500):
        shop.add(f"{number:03d}-A", lines=2)
    assert len(shop.ids(max="100")) == 100
    assert len(shop.ids(max="100", order_state_codes="WAITING_ACCEPTANCE,SHIPPING")) == 100


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


def test_start_update_date_includes_the_lookback() -> None:
    shop = Shop(update_lookback_seconds=30)
    shop.add("1-A")
    shop.clock.pass_seconds(60)
    shop.add("2-A")
    assert shop.ids(start_update_date="2026-03-01T09:00:31Z") == ["2-A"]
    assert shop.ids(start_update_date="2026-03-01T09:00:29Z") == ["1-A", "2-A"]
    assert shop.ids(end_update_date="2026-03-01T09:00:59Z") == ["1-A"]
    assert shop.ids(start_update_date="2026-03-01T10:00:29+01:00") == ["1-A", "2-A"]


def test_amounts_without_tax_plus_taxes_are_those_with_tax() -> None:
    shop = Shop()
    shop.add("1-A", lines=2)
    gross, net = (
        shop.ask("GET", "/api/orders", params={"order_tax_mode": mode}).json()["orders"][0]
        for mode in ("TAX_INCLUDED", "TAX_EXCLUDED")
    )
    taxes = [tax["amount"] for line in net["order_lines"] for tax in (*line["taxes"], *line["shipping_taxes"])]
    assert net["order_tax_mode"] == "TAX_EXCLUDED"
    assert net["total_price"] + sum(taxes) == pytest.approx(gross["total_price"])


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


def test_knobs_show_addresses_before_acceptance_and_extra_fields() -> None:
    shop = Shop(address_before_acceptance=True, extra_fields={"brand_new_field": {"x": 1}})
    shop.add("1-A")
    assert shop.read()["customer"]["shipping_address"] is not None
    assert shop.read()["brand_new_field"] == {"x": 1}


def test_an_unknown_state_is_shown_unchanged() -> None:
    shop = Shop()
    shop.add("1-A", state="WAITING_FOR_GODOT")
    assert shop.read()["order_state"] == "WAITING_FOR_GODOT"


def test_every_change_sets_the_update_date_in_utc_without_zero_milliseconds() -> None:
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


def test_a_write_is_visible_only_after_the_lag() -> None:
    shop = Shop(visibility_lag_seconds=10)
    shop.add("1-A")
    shop.clock.pass_seconds(20)
    shop.accept()
    assert shop.read()["order_state"] == "WAITING_ACCEPTANCE"
    assert shop.accept().json()["code"] == "ORDER_INVALID_STATE"  # OR21 checks the present state, without the lag
    shop.clock.pass_seconds(5)
    shop.simulator.advance_debit("1-A")
    assert shop.ids(order_state_codes="WAITING_ACCEPTANCE") == ["1-A"]
    shop.clock.pass_seconds(5)
    assert shop.read()["order_state"] == "WAITING_DEBIT"
    shop.clock.pass_seconds(5)
    assert shop.read()["order_state"] == "WAITING_DEBIT_PAYMENT"


def test_a_shuffled_order_has_other_bytes_and_the_same_content_in_every_read() -> None:
    shop = Shop()
    shop.add("1-A")
    shop.simulator.knobs.shuffled.add("1-A")
    first, second = (shop.ask("GET", "/api/orders") for _ in range(2))
    assert first.content != second.content
    assert first.json() == second.json()


def test_a_marketplace_may_give_less_than_was_asked_for() -> None:
    shop = Shop(largest_page=10)
    for number in range(12):
        shop.add(f"{number}-A")
    page = shop.ask("GET", "/api/orders", params={"max": "100"}).json()
    assert (len(page["orders"]), page["total_count"]) == (10, 12)


def test_a_fault_may_answer_anything_and_a_byte_order_mark_may_come_first() -> None:
    shop = Shop()
    shop.add("1-A")
    shop.simulator.knobs.faults += [
        Fault("M11", "answer", order_id="1-A", status=403, content="{}", headers={"Retry-After": "7"}),
        Fault("OR11", "bom"),
    ]
    threads = "/api/inbox/threads?entity_type=MMP_ORDER&entity_id="
    assert shop.ask("GET", threads + "2-A").status_code == 200
    refused = shop.ask("GET", threads + "1-A")
    assert (refused.status_code, refused.headers["Retry-After"]) == (403, "7")
    assert shop.ask("GET", "/api/orders").content.startswith(b"\xef\xbb\xbf{")
