"""What an import or a shipment carries: tested from the poll to the simulators' books, with the attention reasons."""

import json
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from adapters.simulators.mirakl.changes import refund, set_address, set_centre, set_fields, set_line
from consumer import bootstrap
from consumer.operations import orders as operations
from consumer.operations.orders import Act
from statemachine.commands import Policy
from statemachine.facts import DecisionKind
from tests.consumer.rig import Rig

TEXT = {"code": "text", "type": "STRING", "value": "For Canary"}


def payload_of(rig: Rig) -> dict[str, Any]:
    """The body of the last POST /order."""
    payload = json.loads(rig.oms_net.bodies[-1])
    assert isinstance(payload, dict)
    return payload


def line_of(rig: Rig, order_id: str = "1-A") -> str:
    return str(rig.mirakl["alpha"].order(order_id)["order_lines"][0]["order_line_id"])


def words_of(rig: Rig) -> str:
    return rig.row().facts.rejections[-1].words


def decide(rig: Rig, kind: DecisionKind, only: str) -> None:
    act = Act(kind, who="ana", why="seen", at=rig.clock.now(), only=(only,))
    operations.decide(rig.store, rig.orders, rig.row(), act, shops=rig.mirakl)


# -- What the shop decides ---------------------------------------------------------------------------------------


def test_an_order_without_a_required_text_waits_for_it_and_a_person_sees_its_name(tmp_path: Path) -> None:
    rig = Rig(tmp_path, oms_table={"required_line_fields": {"text"}})
    rig.add("1-A", state="SHIPPING")
    set_line(rig.mirakl["alpha"], "1-A", line_of(rig), order_line_additional_fields=[])
    rig.poll()
    rig.work()
    assert (rig.state(), rig.effects()) == ("shipping", [])
    assert "import_rejected" in rig.attention()
    assert words_of(rig) == "missing: order_lines[0].order_line_additional_fields.text"

    set_line(rig.mirakl["alpha"], "1-A", line_of(rig), order_line_additional_fields=[TEXT])
    rig.poll(60)
    rig.work()
    assert rig.state() == "imported"
    assert payload_of(rig)["items"][0]["attributes"] == [{"name": ":Mirakl.text", "value": "For Canary"}]


def test_a_custom_field_goes_out_under_the_name_that_the_shop_gives_it(tmp_path: Path) -> None:
    rig = Rig(tmp_path, oms_table={"custom_fields": {"text": "Engraving", "internal": ""}})
    rig.add("1-A", state="SHIPPING")
    internal = {"code": "internal", "type": "STRING", "value": "x"}
    set_fields(rig.mirakl["alpha"], "1-A", order_additional_fields=[TEXT, internal])
    rig.poll()
    rig.work()
    assert payload_of(rig)["attributes"] == [{"name": "Engraving", "value": "For Canary"}]


def test_the_amounts_are_net_and_gross_whichever_the_shop_asks_for(tmp_path: Path) -> None:
    found = []
    for mode in ("TAX_INCLUDED", "TAX_EXCLUDED"):
        (tmp_path / mode).mkdir()
        rig = Rig(tmp_path / mode, shop_table={"order_tax_mode": mode})
        rig.add("1-A", state="SHIPPING")
        rig.poll()
        rig.work()
        item = payload_of(rig)["items"][0]
        assert item["unit_sale_price"] < item["unit_sale_price_inc_tax"]
        assert payload_of(rig)["shipping_price"] < payload_of(rig)["shipping_price_inc_tax"]
        found.append({name: value for name, value in item.items() if "sale" in name})
    assert found[0] == found[1]


def test_the_pickup_point_reaches_the_oms_as_attribute_and_company(tmp_path: Path) -> None:
    rig = Rig(tmp_path, oms_table={"pickup_point_as_company": True})
    rig.add("1-A", state="SHIPPING")
    set_fields(rig.mirakl["alpha"], "1-A", shipping_pudo_id="PUDO-7")
    rig.poll()
    rig.work()
    assert {"name": ":MiraklPickupPoint", "value": "PUDO-7"} in payload_of(rig)["attributes"]
    assert payload_of(rig)["shipping_company"].startswith("PUDO-7")


def test_the_shop_ships_from_the_centres_that_it_names_and_from_no_other(tmp_path: Path) -> None:
    rig = Rig(tmp_path, shop_table={"fulfilment_centres": {"PORTO"}})
    rig.mirakl["alpha"].own_centers.add("PORTO")
    for order_id, centre in (("1-A", "PORTO"), ("2-A", "DEFAULT"), ("3-A", "")):
        rig.add(order_id, state="SHIPPING")
        set_centre(rig.mirakl["alpha"], order_id, centre)
    rig.poll()
    rig.work()
    assert [rig.state(order_id) for order_id in ("1-A", "2-A", "3-A")] == ["imported", "shipping", "imported"]
    assert rig.attention("2-A") == ["not_ours_to_ship"]


def test_the_shop_names_the_carrier_of_the_oms_as_mirakl_does(tmp_path: Path) -> None:
    rig = Rig(tmp_path, shop_table={"carriers": {"DPD Local": "DPD UK"}})
    rig.imported()
    rig.oms.dispatch("1-A", carrier="DPD local", tracking="T1")
    rig.consume()
    rig.work()
    order = rig.mirakl["alpha"].order("1-A")
    assert (order["shipping_carrier_code"], order["shipping_tracking"]) == ("DPDUK", "T1")
    rig.poll(600)
    assert rig.effects() == ["imported", "tracking", "shipped"], "the name that became a code is not sent again"
    assert rig.work() == 0


# -- Amounts, addresses, dates at the edges ----------------------------------------------------------------------


def test_a_price_that_is_no_number_holds_the_import_and_is_named(tmp_path: Path) -> None:
    rig = Rig(tmp_path)
    rig.add("1-A", state="SHIPPING")
    set_line(rig.mirakl["alpha"], "1-A", line_of(rig), price_unit="7,82")
    rig.poll()
    rig.work()
    assert (rig.state(), rig.effects()) == ("shipping", [])
    assert words_of(rig) == "missing: order_lines[0].price_unit (not a number)"
    set_line(rig.mirakl["alpha"], "1-A", line_of(rig), price_unit=7.82)
    rig.poll(60)
    rig.work()
    assert rig.state() == "imported"


def test_the_shipping_price_of_a_line_that_was_refunded_is_not_sent(tmp_path: Path) -> None:
    rig = Rig(tmp_path)
    rig.add("1-A", state="SHIPPING", lines=2)
    first, second = rig.mirakl["alpha"].order("1-A")["order_lines"]
    refund(rig.mirakl["alpha"], "1-A", first["order_line_id"])
    set_line(rig.mirakl["alpha"], "1-A", second["order_line_id"], shipping_price=1.5, shipping_taxes=[])
    rig.poll()
    rig.work()
    payload = payload_of(rig)
    assert [item["external_ref"] for item in payload["items"]] == [second["order_line_id"]]
    assert payload["shipping_price_inc_tax"] == 1.5


@pytest.mark.parametrize(
    ("label", "code"),
    [
        ("Kosovo", "XK"),
        ("Côte d\u2019Ivoire", "CI"),
        ("Spain - Canary Islands", "ES"),
        ("France (métropolitaine)", "FR"),
        ("UK", "GB"),
    ],
)
def test_a_country_by_its_label_alone(tmp_path: Path, label: str, code: str) -> None:
    names = {"Spain - Canary Islands": "ES", "France (métropolitaine)": "FR"}
    rig = Rig(tmp_path, oms_table={"countries": names})
    rig.add("1-A", state="SHIPPING")
    set_address(rig.mirakl["alpha"], "1-A", country=label, country_iso_code=None)
    rig.poll()
    rig.work()
    assert payload_of(rig)["shipping_country_code"] == code


def test_a_street_in_street_2_and_a_company_without_a_person(tmp_path: Path) -> None:
    rig = Rig(tmp_path)
    rig.add("1-A", state="SHIPPING")
    address: dict[str, Any] = {"street_1": None, "street_2": "5 Canary Row", "firstname": None, "lastname": None}
    set_address(rig.mirakl["alpha"], "1-A", **address, company="Canary Ltd")
    customer = rig.mirakl["alpha"].order("1-A")["customer"] | {"firstname": None, "lastname": None}
    set_fields(rig.mirakl["alpha"], "1-A", customer=customer)
    rig.poll()
    rig.work()
    payload = payload_of(rig)
    assert (payload["shipping_address_1"], payload["customer_name"]) == ("5 Canary Row", "Canary Ltd")


def test_dates_at_the_edges_stop_nothing(tmp_path: Path) -> None:
    rig = Rig(tmp_path)
    rig.add("1-A", state="SHIPPING")
    edges = {"created_date": "0001-01-01T00:00:00Z", "shipping_deadline": "9999-12-31T23:59:59.999Z"}
    set_fields(rig.mirakl["alpha"], "1-A", **edges)
    rig.poll()
    rig.work()
    assert (rig.state(), rig.attention()) == ("imported", [])


# -- What the customer wrote -------------------------------------------------------------------------------------


def test_the_topic_of_a_thread_reaches_the_oms_before_its_messages(tmp_path: Path) -> None:
    rig = Rig(tmp_path)
    rig.add("1-A", state="SHIPPING")
    rig.mirakl["alpha"].post_message("1-A", "in red", topic="Print: Canary")
    rig.poll()
    rig.work()
    assert {"name": ":MiraklOrderMessage", "value": "Print: Canary\n\nin red"} in payload_of(rig)["attributes"]
    assert rig.attention() == []


def test_a_file_of_the_customer_is_told_until_a_person_has_seen_it(tmp_path: Path) -> None:
    rig = Rig(tmp_path)
    rig.add("1-A", state="SHIPPING")
    rig.mirakl["alpha"].post_message("1-A", "the logo is in the file", attachments=["logo.png"])
    rig.poll()
    rig.work()
    assert (rig.state(), rig.attention()) == ("imported", ["attachment"])
    decide(rig, DecisionKind.SETTLE, "attachment")
    assert rig.attention() == []


def test_a_file_is_told_although_the_answer_to_the_first_try_was_lost(tmp_path: Path) -> None:
    rig = Rig(tmp_path)
    rig.add("1-A", state="SHIPPING")
    rig.mirakl["alpha"].post_message("1-A", "the logo is in the file", attachments=["logo.png"])
    rig.poll()
    rig.fail("order", "timeout_after")
    rig.work()
    rig.work(900)
    assert (rig.state(), rig.attention()) == ("imported", ["attachment"])


def test_a_message_that_mirakl_announces_and_does_not_show_is_told(tmp_path: Path) -> None:
    rig = Rig(tmp_path, policies={"alpha": Policy(without_messages="import", messages_wait=timedelta(0))})
    rig.add("1-A", state="SHIPPING")
    set_fields(rig.mirakl["alpha"], "1-A", has_customer_message=True)
    rig.poll()
    rig.work()
    assert (rig.state(), rig.attention()) == ("shipping", ["retrying"])
    rig.clock.advance(60)
    bootstrap.new_housekeeping(rig.base).turn()
    rig.work()
    assert rig.attention() == ["messages_not_found"]
