"""An order of Mirakl in KornitX's form: orders that lack a field, then each field of the payload."""

from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.errors import Unimportable, Unreadable
from adapters.messages.json_slices import slice_orders
from adapters.remotes.kornitx_order import message_attributes, pieces_in
from tests.adapters.remotes.kornitx_orders import built, missing, order, priced, with_address

SAMPLES = Path(__file__).resolve().parents[3].parent / "shared" / "mirakl" / "samples"


@pytest.mark.parametrize(
    ("value", "fields"),
    [
        (order(order_lines=None), ("order_lines",)),
        (order(order_lines=[{"order_line_id": "L", "order_line_state": "CANCELED"}]), ("order_lines",)),
        (order(order_lines=[{"order_line_id": "L", "quantity": 1}]), ("order_lines[0].offer_sku",)),
        (order(order_lines=[{"offer_sku": "S", "quantity": 1}]), ("order_lines[0].order_line_id",)),
        (
            order(order_lines=["x"]),
            tuple(f"order_lines[0].{name}" for name in ("price_unit", "order_line_id", "offer_sku", "quantity")),
        ),
        (
            order(order_lines=[{"order_line_id": "L", "offer_sku": "S", "quantity": "two"}]),
            ("order_lines[0].quantity",),
        ),
        (order(order_lines=[{"order_line_id": "L", "offer_sku": "S", "quantity": 1.5}]), ("order_lines[0].quantity",)),
        (order(order_id=None), ("order_id",)),
        (order(created_date="then"), ("created_date",)),
        (with_address(street_1=" "), ("customer.shipping_address.street_1",)),
        (with_address(city=None), ("customer.shipping_address.city",)),
        (with_address(country=None, country_iso_code=None), ("customer.shipping_address.country_iso_code",)),
        (with_address(country="Ruritania", country_iso_code="ZZZ"), ("customer.shipping_address.country_iso_code",)),
    ],
)
def test_an_order_that_cannot_be_imported_names_each_missing_field(value: Any, fields: tuple[str, ...]) -> None:
    assert missing(value) == fields


@pytest.mark.parametrize("code", [None, "", " ", "pounds", "£££", 826, []])
def test_an_order_without_the_code_of_a_currency_is_not_imported(code: Any) -> None:
    assert missing(order(currency_iso_code=code)) == ("currency_iso_code",)


def test_without_addresses_every_missing_field_is_named_at_once() -> None:
    assert len(missing(order(customer=None))) == 4


@pytest.mark.parametrize("raw", [b"", b"[]", b"{", b"\xff", b"[" * 100_000, b'{"shipping_price": NaN}'])
def test_bytes_that_are_not_an_order_are_unreadable(raw: bytes) -> None:
    with pytest.raises((Unreadable, Unimportable)):
        built(raw)


@given(
    st.dictionaries(
        st.sampled_from(sorted(order())),
        st.recursive(
            st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
            lambda inner: (
                st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["quantity", "offer_sku", "x"]), inner)
            ),
        ),
    )
)
def test_any_order_becomes_a_payload_or_names_what_is_missing(changes: dict[str, Any]) -> None:
    try:
        built(order() | changes)
    except Unimportable as error:
        assert error.missing


@pytest.mark.parametrize(
    "body", [b"", b"[]", b"{}", b'{"items": 1}', b'{"items": [1]}', b'{"items": [{"quantity": 1}]}']
)
def test_a_payload_that_cannot_be_read_names_no_pieces(body: bytes) -> None:
    assert pieces_in(body) == ()


def test_every_field_of_a_payload() -> None:
    assert built(order(), "Print: ANA", external_ref_prefix="PT-", shipping_methods={"STD": "Courier"}) == {
        "external_ref": "PT-00000012-A",
        "company_ref_id": 99999,
        "sale_datetime": "2025-03-04 09:15:00",
        "customer_name": "Ana Silva",
        "customer_telephone": "+351210000000",
        "shipping_company": "Casa, Lda",
        "shipping_address_1": "Rua das Flores 12",
        "shipping_address_3": "3 Esq",
        "shipping_address_4": "Lisboa",
        "shipping_postcode": "1200-195",
        "shipping_country": "Portugal",
        "shipping_country_code": "PT",
        "shipping_method": "Courier",
        "shipping_price_inc_tax": Decimal("3.9"),
        "billing_customer_name": "Ana Silva",
        "billing_customer_telephone": "+351210000000",
        "billing_company": "Casa, Lda",
        "billing_address_1": "Rua das Flores 12",
        "billing_address_3": "3 Esq",
        "billing_address_4": "Lisboa",
        "billing_postcode": "1200-195",
        "billing_country": "Portugal",
        "billing_country_code": "PT",
        "currency_code": "EUR",
        "attributes": [{"name": ":MiraklOrderMessage", "value": "Print: ANA"}],
        "items": [
            {
                "external_ref": "L1",
                "sku": "MUG",
                "description": "White mug",
                "quantity": 2,
                "type": 5,
                "unit_sale_price_inc_tax": Decimal("9.5"),
            }
        ],
    }


def test_a_street_in_street_2_alone_is_the_street() -> None:
    payload = built(with_address(street_1=None, street_2="Rua das Flores 12"))
    assert payload["shipping_address_1"] == "Rua das Flores 12"
    assert "shipping_address_2" not in payload


def test_a_company_alone_is_a_name() -> None:
    value = with_address(firstname=None, lastname=None)
    value["customer"] |= {"firstname": None, "lastname": None}
    payload = built(value)
    assert payload["customer_name"] == "Casa, Lda"


def test_a_date_of_the_year_1_is_written_in_full() -> None:
    assert built(order(created_date="0001-01-01T00:00:00Z"))["sale_datetime"] == "0001-01-01 00:00:00"


def test_the_shop_names_a_country_that_no_table_knows() -> None:
    value = with_address(country="Spain - Canary Islands", country_iso_code=None)
    assert missing(value) == ("customer.shipping_address.country_iso_code",)
    assert built(value, countries={"Spain - Canary Islands": "ES"})["shipping_country_code"] == "ES"


def test_names_phones_and_quantities() -> None:
    value = with_address(firstname=None, lastname=" ", phone="1", phone_secondary="2")
    lines = [
        {"order_line_id": "L1", "offer_sku": "S", "quantity": "3"},
        {"order_line_id": "L2", "offer_sku": "S", "description": "d", "quantity": 1},
        {"order_line_id": "L3", "offer_sku": "S", "quantity": 0},
    ]
    value["order_lines"] = priced(lines)
    payload = built(value)
    assert payload["customer_name"] == "Other Name"
    assert payload["customer_telephone"] == "1"
    assert payload["customer_telephone_mobile"] == "2"
    assert [item["external_ref"] for item in payload["items"]] == ["L1", "L2"], "a line of no pieces is left out"
    assert [item["quantity"] for item in payload["items"]] == [3, 1]
    assert [item["description"] for item in payload["items"]] == ["S", "d"]


# -- Lines, custom fields and messages ---------------------------------------------------------------------------


def test_a_line_without_a_quantity_is_not_counted_as_one() -> None:
    for line in ({}, {"quantity": None}, {"quantity": "two"}):
        lines = [{"order_line_id": "L1", "offer_sku": "MUG", **line}]
        assert missing(order(order_lines=lines)) == ("order_lines[0].quantity",)


@pytest.mark.parametrize("state", ["SHIPPED", "TO_COLLECT", "RECEIVED", "CLOSED", "INCIDENT_OPEN", "WAITING_REFUND"])
def test_on_the_day_of_change_over_only_lines_that_are_still_owed_go_out(state: str) -> None:
    done = {"order_line_id": "L1", "offer_sku": "MUG", "quantity": 1, "order_line_state": state}
    owed = {"order_line_id": "L2", "offer_sku": "TEE", "quantity": 3, "order_line_state": "SHIPPING"}
    items = built(order(order_lines=[done, owed]))["items"]
    assert [(item["external_ref"], item["quantity"]) for item in items] == [("L2", 3)]


def test_a_line_whose_price_was_asked_back_does_not_go_out() -> None:
    back = {"order_line_id": "L1", "offer_sku": "MUG", "quantity": 1, "price": 9.5, "refunds": [{"amount": 9.5}]}
    owed = {"order_line_id": "L2", "offer_sku": "TEE", "quantity": 1}
    assert [item["external_ref"] for item in built(order(order_lines=[back, owed]))["items"]] == ["L2"]
    assert missing(order(fully_refunded=True, order_lines=[back, owed])) == ("order_lines",)


def test_custom_fields_of_order_and_line_are_attributes() -> None:
    line = {
        "order_line_id": "L1",
        "offer_sku": "MUG",
        "quantity": 1,
        "order_line_additional_fields": [
            {"code": "engraving", "type": "STRING", "value": "For Ana"},
            {"code": "colours", "type": "MULTIPLE_VALUES_LIST", "value": ["red", "blue"]},
            {"code": "empty", "value": ""},
            {"code": "", "value": ""},
            None,
        ],
    }
    fields = [{"code": "gift", "type": "BOOLEAN", "value": True}, {"code": "floor", "type": "NUMERIC", "value": 3}]
    payload = built(order(order_lines=[line], order_additional_fields=fields), "Print: ANA")
    assert payload["attributes"] == [
        {"name": ":MiraklOrderMessage", "value": "Print: ANA"},
        {"name": ":Mirakl.gift", "value": "true"},
        {"name": ":Mirakl.floor", "value": "3"},
    ]
    assert payload["items"][0]["attributes"] == [
        {"name": ":Mirakl.engraving", "value": "For Ana"},
        {"name": ":Mirakl.colours", "value": "red, blue"},
    ]


@pytest.mark.parametrize(
    "fields",
    [[{"code": "", "value": "Happy"}], [{"value": "Happy"}], {"text": "Happy"}, ["Happy"], "Happy", [["Happy"]]],
)
@pytest.mark.parametrize("of_line", [True, False])
def test_a_custom_text_without_a_code_holds_the_import(fields: Any, of_line: bool) -> None:
    """The customer may want this text printed on the goods, so it must not be left out."""
    name = "order_line_additional_fields" if of_line else "order_additional_fields"
    line = {"order_line_id": "L1", "offer_sku": "MUG", "quantity": 1}
    one = order(order_lines=[line | {name: fields}]) if of_line else order(order_lines=[line], **{name: fields})
    at = "order_lines[0]." if of_line else ""
    assert missing(one) == (f"{at}{name} (not a list of codes and values)",)


@pytest.mark.parametrize("point", [{"id": "P1"}, ["P1"]])
def test_a_pick_up_point_that_is_no_text_holds_the_import(point: Any) -> None:
    assert missing(order(shipping_pudo_id=point)) == ("shipping_pudo_id (not a text)",)


def _with_fields(*lines: list[tuple[str, Any]], **fields: Any) -> dict[str, Any]:
    """An order with these custom fields, and a line for each list of the line's own custom fields."""
    return order(
        order_additional_fields=[{"code": code, "value": value} for code, value in fields.items()],
        order_lines=[
            {
                "order_line_id": f"L{index}",
                "offer_sku": "MUG",
                "quantity": 1,
                "order_line_additional_fields": [{"code": code, "value": value} for code, value in line],
            }
            for index, line in enumerate(lines)
        ],
    )


def test_a_required_custom_field_without_a_value_holds_the_import_and_is_named() -> None:
    needs: dict[str, Any] = {"required_order_fields": {"gift", "floor"}, "required_line_fields": {"text"}}
    value = _with_fields([("text", "ANA")], [("text", " ")], gift="yes")
    assert missing(value, **needs) == (
        "order_additional_fields.floor",
        "order_lines[1].order_line_additional_fields.text",
    )
    value = _with_fields([("text", "ANA")], [("text", "EVA")], gift="yes", floor="3")
    assert len(built(value, **needs)["items"]) == 2


def test_the_customer_s_text_goes_out_whole_and_with_its_line_breaks() -> None:
    text = "Happy\nBirthday\t" + "x" * 20_000
    payload = built(_with_fields([("text", text + "\x00\ud800")], card=text))
    assert payload["items"][0]["attributes"] == [{"name": ":Mirakl.text", "value": text}]
    assert {"name": ":Mirakl.card", "value": text} in payload["attributes"]


@pytest.mark.parametrize("value", [{"text": "ANA"}, ["ANA", {"text": "BOB"}]])
def test_a_custom_field_that_cannot_be_written_holds_the_import_and_is_named(value: Any) -> None:
    found = _with_fields([("text", value)], card=value)
    fields = ("order_additional_fields.card", "order_lines[0].order_line_additional_fields.text")
    assert missing(found) == fields
    assert built(found, custom_fields={"text": "", "card": ""}), "the shop leaves these fields out"


def test_a_line_that_is_not_imported_needs_no_custom_field() -> None:
    value = _with_fields([("text", "ANA")], [])
    value["order_lines"][1]["order_line_state"] = "REFUSED"
    assert len(built(value, required_line_fields={"text"})["items"]) == 1


def test_the_shop_names_or_leaves_out_custom_fields_of_order_and_line() -> None:
    names = {"gift": "Gift note", "text": "Engraving", "internal": ""}
    payload = built(_with_fields([("text", "ANA"), ("size", "L")], gift="For you", internal="x"), custom_fields=names)
    assert payload["attributes"] == [{"name": "Gift note", "value": "For you"}]
    assert payload["items"][0]["attributes"] == [
        {"name": "Engraving", "value": "ANA"},
        {"name": ":Mirakl.size", "value": "L"},
    ]


@pytest.mark.parametrize(
    ("pudo", "fields", "point"),
    [
        ("PUDO-7", {"relay": "R-1"}, "PUDO-7"),
        (" ", {"relay": "R-1", "shop": "S-1"}, "S-1"),
        (None, {"relay": "R-1"}, "R-1"),
        (None, {"other": "R-1"}, ""),
    ],
)
def test_the_pickup_point_is_an_attribute_and_where_the_shop_says_so_the_company(
    pudo: str | None, fields: dict[str, str], point: str
) -> None:
    value = _with_fields([], **fields) | {"shipping_pudo_id": pudo}
    names: dict[str, Any] = {"pickup_point_fields": ("shop", "relay"), "custom_fields": dict.fromkeys(fields, "")}
    payload = built(value, **names)
    assert payload.get("attributes", []) == ([{"name": ":MiraklPickupPoint", "value": point}] if point else [])
    assert payload["shipping_company"] == "Casa, Lda"
    payload = built(value, **names, pickup_point_as_company=True)
    assert payload["shipping_company"] == (f"{point}, Casa, Lda" if point else "Casa, Lda")
    value["customer"]["shipping_address"] |= {"company": None, "company_2": None}
    assert built(value, **names, pickup_point_as_company=True).get("shipping_company", "") == point


def test_messages_become_one_attribute_of_the_order() -> None:
    assert message_attributes(()) == message_attributes((" ", "")) == []
    assert message_attributes(("a\nb", " ", "c")) == [{"name": ":MiraklOrderMessage", "value": "a\nb\n\nc"}]
    assert "attributes" not in built(order())


# -- Real payloads -----------------------------------------------------------------------------------------------


def test_samples_of_real_orders_become_payloads() -> None:
    if not SAMPLES.is_dir():
        pytest.skip(f"no samples at {SAMPLES}")
    countries = []
    for path in SAMPLES.glob("*OR11*.json"):
        body = path.read_bytes()
        for raw in [one.raw for one in slice_orders(body).orders] if b'"orders"' in body else [body]:
            if b'"street_1"' in raw:
                countries.append(built(raw)["shipping_country_code"])
            else:
                assert "customer.shipping_address.street_1" in missing(raw)
    assert sorted(countries) == ["ES", "FR"]
