"""The amounts of KornitX's payload: net and gross of the lines and of the shipping, digit by digit."""

import json
import re
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.remotes.kornitx_order import OrderRules, build_payload
from tests.adapters.remotes.kornitx_orders import built, missing, order, quantities


@pytest.mark.parametrize("amount", ["12345678901234567.89", "0.1000", "1.10", "7", "9007199254740993.1", "0"])
@pytest.mark.parametrize(("mode", "suffix"), [("TAX_INCLUDED", "_inc_tax"), ("TAX_EXCLUDED", "")])
def test_the_amount_that_mirakl_gives_keeps_every_digit(amount: str, mode: str, suffix: str) -> None:
    raw = json.dumps(order(order_tax_mode=mode)).encode()
    for written in (amount.encode(), b'"' + amount.encode() + b'"'):
        priced = re.sub(b'"(price_unit|shipping_price)": [0-9.]+', b'"\\1": ' + written, raw)
        body = build_payload(priced, (), quantities(priced), OrderRules(1)).decode()
        assert f'"shipping_price{suffix}": {amount},' in body
        assert re.search(rf'"unit_sale_price{suffix}": {amount}[,}}]', body)


def _taxed(mode: str, line: dict[str, Any], **changes: Any) -> dict[str, Any]:
    """The amounts of the payload for an order of one line."""
    fields = {"order_line_id": "L1", "offer_sku": "MUG", "quantity": 2, "price_unit": "7.82"} | line
    payload = built(order(order_tax_mode=mode, order_lines=[fields], **changes))
    found = {**payload, **payload["items"][0]}
    return {name: str(value) for name, value in found.items() if "price" in name or "rate" in name}


VAT = [{"code": "VAT", "amount": "3.14", "rate": 25}]
TWO = [{"amount": 1.03, "rate": 5.5}, {"amount": 3.13, "rate": 20.0}]


@pytest.mark.parametrize(
    ("mode", "line", "expected"),
    [
        ("TAX_INCLUDED", {}, {"unit_sale_price_inc_tax": "7.82"}),
        ("TAX_EXCLUDED", {}, {"unit_sale_price": "7.82"}),
        # Taxes are those of the whole line: here of two pieces.
        (
            "TAX_INCLUDED",
            {"price": 15.64, "taxes": VAT},
            {"unit_sale_price": "6.25", "unit_sale_price_inc_tax": "7.82", "sale_vat_rate": "0.25"},
        ),
        (
            "TAX_EXCLUDED",
            {"taxes": VAT},
            {"unit_sale_price": "7.82", "unit_sale_price_inc_tax": "9.39", "sale_vat_rate": "0.25"},
        ),
        # Several taxes may build on each other, so they have no common rate.
        ("TAX_EXCLUDED", {"taxes": TWO}, {"unit_sale_price": "7.82", "unit_sale_price_inc_tax": "9.90"}),
        # An amount that is not known, or cannot be written exactly, is left out.
        (
            "TAX_EXCLUDED",
            {"quantity": 3, "taxes": [{"amount": 5, "rate": 25}]},
            {"unit_sale_price": "7.82", "sale_vat_rate": "0.25"},
        ),
        ("TAX_EXCLUDED", {"price": 10, "taxes": [{"amount": 5}]}, {"unit_sale_price": "7.82"}),
        ("TAX_EXCLUDED", {"taxes": [{"amount": "7,82", "rate": None}]}, {"unit_sale_price": "7.82"}),
        ("TAX_EXCLUDED", {"taxes": ["x"]}, {"unit_sale_price": "7.82"}),
        ("TAX_EXCLUDED", {"taxes": []}, {"unit_sale_price": "7.82"}),
        ("TAX_EXCLUDED", {"taxes": [{"amount": "1" + "0" * 70}]}, {"unit_sale_price": "7.82"}),
        ("TAX_INCLUDED", {"price_unit": 0}, {"unit_sale_price": "0", "unit_sale_price_inc_tax": "0"}),
    ],
)
def test_net_and_gross_of_a_line(mode: str, line: dict[str, Any], expected: dict[str, str]) -> None:
    assert _taxed(mode, line, shipping_price=None) == expected


@pytest.mark.parametrize(
    ("mode", "line", "expected"),
    [
        ("TAX_INCLUDED", {"shipping_price": 7.90}, {"shipping_price_inc_tax": "7.9"}),
        (
            "TAX_INCLUDED",
            {"shipping_price": "7.90", "shipping_taxes": [{"amount": 0.52}, {"amount": 1.58}]},
            {"shipping_price": "5.80", "shipping_price_inc_tax": "7.90"},
        ),
        (
            "TAX_EXCLUDED",
            {"shipping_price": "7.90", "shipping_taxes": [{"amount": 0.52}, {"amount": 1.58}]},
            {"shipping_price": "7.90", "shipping_price_inc_tax": "10.00"},
        ),
        # A line has no shipping price of its own: the order's price counts, because all its lines are imported.
        ("TAX_EXCLUDED", {}, {"shipping_price": "3.9"}),
    ],
)
def test_net_and_gross_of_the_shipping(mode: str, line: dict[str, Any], expected: dict[str, str]) -> None:
    of_order = line.get("shipping_price", 3.9)
    assert _of_shipping(mode, line, shipping_price=of_order) == expected


def _of_shipping(mode: str, line: dict[str, Any], **changes: Any) -> dict[str, Any]:
    return {name: value for name, value in _taxed(mode, line, **changes).items() if name.startswith("shipping")}


def test_the_shipping_price_of_a_whole_order_is_the_one_that_mirakl_gives() -> None:
    line = {"shipping_price": 0, "shipping_taxes": [{"amount": 1}]}
    assert _of_shipping("TAX_EXCLUDED", line, shipping_price=3.9) == {"shipping_price": "3.9"}
    line |= {"shipping_price": 3.9}
    assert _of_shipping("TAX_EXCLUDED", line, shipping_price=None) == {
        "shipping_price": "3.9",
        "shipping_price_inc_tax": "4.9",
    }


def test_the_shipping_price_covers_what_is_imported_only() -> None:
    def line(line_id: str, shipping_price: object, state: str = "SHIPPING") -> dict[str, Any]:
        taxes = [{"amount": 1}] if shipping_price else []
        fields = {"order_line_id": line_id, "offer_sku": "S", "quantity": 1, "price_unit": 1, "order_line_state": state}
        return fields | {"shipping_price": shipping_price, "shipping_taxes": taxes}

    lines = [line("L1", 2.5), line("L2", 0), line("L3", 7, "REFUSED")]
    payload = built(order(order_lines=lines, shipping_price=9.5))
    assert payload["shipping_price_inc_tax"] == Decimal("2.5")
    assert payload["shipping_price"] == Decimal("1.5")
    lines[0]["shipping_price"] = None
    payload = built(order(order_lines=lines, shipping_price=9.5))
    assert not {"shipping_price", "shipping_price_inc_tax"} & payload.keys(), "it is not known what the rest costs"


def test_the_mode_of_the_order_counts_before_the_one_that_the_shop_asks_for() -> None:
    assert "unit_sale_price" in built(order(), tax_mode="TAX_EXCLUDED")["items"][0]
    assert "unit_sale_price_inc_tax" in built(order(order_tax_mode="TAX_INCLUDED"), tax_mode="TAX_EXCLUDED")["items"][0]
    assert missing(order(order_tax_mode="TAX_NOBODY_KNOWS")) == ("order_tax_mode (not known)",)


@given(
    pieces=st.integers(1, 1000),
    unit=st.decimals(0, 10_000, places=2),
    taxes=st.lists(st.decimals(0, 100, places=2), min_size=1, max_size=3),
    mode=st.sampled_from(["TAX_INCLUDED", "TAX_EXCLUDED"]),
)
def test_net_and_gross_differ_by_exactly_the_taxes(pieces: int, unit: Decimal, taxes: list[Decimal], mode: str) -> None:
    fields = {"quantity": pieces, "price_unit": str(unit), "taxes": [{"amount": str(tax)} for tax in taxes]}
    found = _taxed(mode, fields)
    if len([name for name in found if name.startswith("unit_sale_price")]) == 2:
        net, gross = Decimal(found["unit_sale_price"]), Decimal(found["unit_sale_price_inc_tax"])
        assert (gross - net) * pieces == sum(taxes)
        assert unit in (net, gross)
    else:
        assert Decimal(sum(taxes) * 100) % pieces != 0, "the tax of a piece is a whole number of cents"


@pytest.mark.parametrize("amount", ["7,82", "1_000", "free", True, "NaN", "Infinity", [], "\u0663"])
def test_an_order_with_a_value_that_is_no_amount_is_not_imported(amount: object) -> None:
    assert missing(order(shipping_price=amount)) == ("shipping_price (not a number)",)
    line = {"order_line_id": "L1", "offer_sku": "MUG", "quantity": 1, "price_unit": amount}
    assert missing(order(order_lines=[line])) == ("order_lines[0].price_unit (not a number)",)
    line |= {"price_unit": 1, "shipping_price": amount}
    assert missing(order(order_lines=[line])) == ("order_lines[0].shipping_price (not a number)",)


@pytest.mark.parametrize("price", [None, "", "absent"])
def test_a_line_without_a_unit_price_is_not_imported(price: object) -> None:
    """With no price, the OMS would take its own, or none."""
    value = order()
    value["order_lines"][0] |= {"price": 19.0, "price_unit": price}
    if price == "absent":
        del value["order_lines"][0]["price_unit"]
    assert missing(value) == ("order_lines[0].price_unit",)


def test_goods_that_cost_nothing_are_imported() -> None:
    free = {"order_line_id": "L1", "offer_sku": "MUG", "quantity": 1, "price_unit": 0, "shipping_price": 0}
    assert built(order(order_lines=[free], shipping_price=0))["items"][0]["unit_sale_price_inc_tax"] == 0


def test_a_line_that_is_not_imported_needs_no_price() -> None:
    lines = [*order()["order_lines"], {"order_line_id": "L9", "order_line_state": "CANCELED", "price_unit": None}]
    assert len(built(order(order_lines=lines))["items"]) == 1


@pytest.mark.parametrize("amount", [-5, "-0.01"])
def test_an_order_with_a_negative_price_is_not_imported(amount: object) -> None:
    assert missing(order(shipping_price=amount)) == ("shipping_price (negative)",)
    line = {"order_line_id": "L1", "offer_sku": "MUG", "quantity": 1, "price_unit": amount}
    assert missing(order(order_lines=[line])) == ("order_lines[0].price_unit (negative)",)


def test_with_a_negative_tax_the_other_price_is_left_out() -> None:
    """Net would be more than gross."""
    taxes = [{"amount": -2}]
    assert "unit_sale_price" not in _taxed("TAX_INCLUDED", {"taxes": taxes})
    shipping = {"shipping_price": 3.9, "shipping_taxes": taxes}
    assert _of_shipping("TAX_INCLUDED", shipping, shipping_price=3.9) == {"shipping_price_inc_tax": "3.9"}
