"""The digests of what an import carries: which changes of the order change them."""

import json
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from adapters.messages.contents import contents_of, written
from adapters.messages.snapshots import snapshot_of
from adapters.simulators.orders import ALPHA, Line, build_order
from adapters.store.facts_json import facts_from_json, facts_to_json
from statemachine.facts import WITHDRAWN_OF, Facts
from tests.adapters.messages.helpers import JSON_VALUES, NOW


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
    order["customer_notification_email"] = "other-canary@example.com"
    order["customer"]["shipping_address"]["city"] = "Elsewhere"
    order["customer"]["billing_address"]["phone"] = "1"
    order["order_additional_fields"] = [{"code": "gift", "value": "x"}]
    (line,) = order["order_lines"]
    line |= {"price_unit": "1.00", "offer_sku": "OTHER", "order_line_additional_fields": [{"code": "t", "value": "x"}]}
    line["refunds"] = [{"id": "1", "amount": 1}]
    names = {"shipping address", "billing address", "email", "shipping method", "pick-up point", "custom fields"}
    assert changed(order) == names | {"custom fields of lines", "articles", "prices", "messages", "withdrawn of 1-A-1"}


def test_the_name_of_the_customer_counts_only_where_the_address_has_none() -> None:
    one, other = an_order(), an_order()
    other["customer"] |= {"firstname": "Other", "lastname": "Canary"}
    assert changed(other) == set()
    for order in (one, other):
        order["customer"]["shipping_address"] |= {"firstname": "", "lastname": None}
    assert changed(one) == {"shipping address", "customer", "email"}  # the import has another name for the customer
    assert dict(contents_of("1-A", one))["customer"] != dict(contents_of("1-A", other))["customer"]


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


GIFT = {"code": "gift", "type": "BOOLEAN", "value": "true"}


@pytest.mark.parametrize(
    "fields",
    [
        [GIFT, {"code": "new", "value": None}, {"code": "list", "value": []}, {"code": "blank", "value": " "}],
        [GIFT | {"value": True}],
    ],
)
def test_a_field_without_a_value_and_a_boolean_of_another_type_change_nothing(fields: list[dict[str, Any]]) -> None:
    before, after = (an_order(order_additional_fields=found) for found in ([GIFT], fields))
    assert contents_of("1-A", before) == contents_of("1-A", after)
    for order in (before, after):
        order["order_lines"][0]["order_line_additional_fields"] = order["order_additional_fields"]
    assert contents_of("1-A", before) == contents_of("1-A", after)


def test_a_whole_number_in_a_custom_field_has_one_form_and_a_text_keeps_its_own() -> None:
    values: tuple[object, ...] = (1, 1.0, "1", 1.5, "1.0")
    found = [contents_of("1-A", an_order(order_additional_fields=[GIFT | {"value": value}])) for value in values]
    assert found[0] == found[1] == found[2]
    assert len(set(found)) == 3


def test_a_country_that_the_label_gave_is_the_same_by_its_code() -> None:
    found = []
    for iso, label in ((None, "United Kingdom"), ("GBR", "United Kingdom"), ("GB", ""), ("GBR", "Royaume-Uni")):
        order = an_order()
        order["customer"]["shipping_address"] |= {"country_iso_code": iso, "country": label}
        found.append(contents_of("1-A", order))
    assert len(set(found)) == 1
    order["customer"]["shipping_address"] |= {"country_iso_code": "IRL"}
    assert contents_of("1-A", order) != found[0]


def test_the_order_of_the_lines_changes_neither_the_contents_nor_what_the_import_is_made_of() -> None:
    order = an_order()
    order["order_lines"] += [order["order_lines"][0] | {"order_line_id": "1-A-2", "price_unit": 3}]
    other = order | {"order_lines": order["order_lines"][::-1]}
    one, two = (snapshot_of(json.dumps(each).encode(), NOW)[1] for each in (order, other))
    assert (one.contents, one.import_digest) == (two.contents, two.import_digest)


@pytest.mark.parametrize("id_", ["a\ud800", "a\x00", "..", "x" * 300, True, None, [1]])
def test_the_id_of_a_line_that_cannot_be_stored_is_in_no_name(id_: object) -> None:
    order = an_order()
    order["order_lines"][0] |= {"order_line_id": id_, "refunds": [{"id": "1", "amount": 1}]}
    snapshot = snapshot_of(json.dumps(order).encode(), NOW)[1]
    assert WITHDRAWN_OF in dict(snapshot.contents)
    assert facts_from_json(facts_to_json(Facts(snapshot=snapshot))).snapshot == snapshot


def test_the_same_address_of_another_order_has_another_digest() -> None:
    orders = {id_: an_order() for id_ in ("1-A", "1-B")}
    for order in orders.values():
        order["order_lines"][0]["order_line_additional_fields"] = order["order_additional_fields"]
    first, second = (set(contents_of(id_, order)) for id_, order in orders.items())
    assert not first & second


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


@given(JSON_VALUES | st.lists(st.tuples(st.text(), st.lists(st.text()))))
def test_values_are_written_as_json_writes_them(value: object) -> None:
    """The digests are stored, so another text would make every open order a changed one."""
    assert written(value) == json.dumps(value)
