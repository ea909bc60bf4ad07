"""The digests of what an import carries: which changes of the order change them."""

import json
from datetime import UTC, datetime
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from adapters.messages.contents import contents_of
from adapters.simulators.orders import ALPHA, Line, build_order


def an_order(**fields: Any) -> dict[str, Any]:
    order = build_order(
        ALPHA, "1-A", created=datetime(2026, 3, 1, tzinfo=UTC), lines=[Line("MUG-11OZ-WHT")], state="SHIPPING"
    )
    copy: dict[str, Any] = json.loads(json.dumps(order | fields, default=str))
    return copy


def changed(order: dict[str, Any]) -> set[str]:
    """The names whose digests differ from those of an unchanged order."""
    before, after = dict(contents_of("1-A", an_order())), dict(contents_of("1-A", order))
    return {name for name in before | after if before.get(name) != after.get(name)}


def test_each_thing_that_reaches_the_oms_has_a_name() -> None:
    order = an_order(shipping_type_code="OTHER", shipping_pudo_id="P-1", has_customer_message=True)
    order["customer"]["lastname"] = "Other-Canary"
    order["customer"]["shipping_address"]["city"] = "Elsewhere"
    order["customer"]["billing_address"]["phone"] = "1"
    order["order_additional_fields"] = [{"code": "gift", "value": "x"}]
    (line,) = order["order_lines"]
    line |= {"price_unit": "1.00", "offer_sku": "OTHER", "order_line_additional_fields": [{"code": "t", "value": "x"}]}
    line["refunds"] = [{"id": "1", "amount": 1}]
    names = {"shipping address", "billing address", "customer", "shipping method", "pick-up point", "custom fields"}
    assert changed(order) == names | {"custom fields of lines", "articles", "prices", "messages", "withdrawn of 1-A-1"}


def test_a_second_refund_of_a_line_is_another_digest() -> None:
    one, two = an_order(), an_order()
    one["order_lines"][0]["refunds"] = [{"id": "1", "amount": 1}]
    two["order_lines"][0]["refunds"] = [{"id": "2", "amount": 1}, {"id": "1", "amount": "1.00"}]
    assert dict(contents_of("1-A", one))["withdrawn of 1-A-1"] != dict(contents_of("1-A", two))["withdrawn of 1-A-1"]


def test_new_fields_other_types_of_numbers_and_the_order_of_members_change_nothing() -> None:
    order = an_order()
    order["customer"]["shipping_address"] |= {"of_tomorrow": "x"}
    order["order_lines"][0]["price_unit"] = f"{order['order_lines'][0]['price_unit']}0"
    order["order_lines"][0]["order_line_state"] = "RECEIVED"
    assert changed(dict(reversed(order.items()))) == set()


def test_the_same_address_of_another_order_has_another_digest() -> None:
    assert not set(contents_of("1-A", an_order())) & set(contents_of("1-B", an_order()))


def test_what_python_cannot_write_is_not_known() -> None:
    deep: Any = "x"
    for _ in range(5000):
        deep = [deep]
    for value in (deep, 10**5000):
        assert contents_of("1-A", an_order(shipping_pudo_id="") | {"shipping_pudo_id": value}) == ()


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
FIELDS = ("customer", "order_lines", "order_additional_fields", "shipping_pudo_id", "has_customer_message")


@settings(max_examples=100, deadline=None)
@given(st.dictionaries(st.sampled_from(FIELDS), json_values), json_values)
def test_no_value_raises(order: dict[str, Any], inner: object) -> None:
    keys = ("order_line_id", "price_unit", "refunds", "order_line_additional_fields")
    order = {"order_lines": [dict.fromkeys(keys, inner), {"refunds": [{"id": inner, "amount": inner}] * 2}], **order}
    assert len(dict(contents_of("1", order))) == len(contents_of("1", order)) >= 10
