"""The digests of one written-out order. Stores hold such digests, so a change of a formula has to be noticed."""

import json
from datetime import UTC, datetime
from typing import Any

import pytest

from adapters.messages.contents import FORMULAS, contents_of, formula_for
from adapters.messages.snapshots import snapshot_of
from statemachine.facts import MESSAGES, WITHDRAWN_OF

SHIPPING = {
    "firstname": "Ana",
    "lastname": "Canary",
    "company": "Casa",
    "street_1": " Rua das Flores 12",
    "street_2": None,
    "additional_info": "3º",
    "city": "Lisboa",
    "zip_code": "1200-195",
    "country": "Portugal",
    "country_iso_code": "PRT",
    "phone_secondary": 351210000000,
}
LINES = [
    {
        "order_line_id": "L2",
        "offer_sku": "TEE",
        "quantity": 1,
        "price_unit": "9.50",
        "order_line_additional_fields": [{"code": "text", "value": " ANA\nBOB "}, {"code": "size", "value": 2.0}],
        "refunds": [{"id": "R1", "amount": 4.0}],
    },
    {"order_line_id": "L1", "offer_sku": "MUG", "quantity": 2, "price_unit": 7, "cancelations": [{"id": 3}]},
]
ORDER = {
    "order_id": "1-A",
    "order_state": "SHIPPING",
    "shipping_type_code": "STD",
    "shipping_pudo_id": "P-1",
    "has_customer_message": True,
    "customer_notification_email": "alias@canary.example",
    "order_additional_fields": [{"code": "gift", "value": True}, {"code": "colours", "value": ["red", 1.5]}],
    "customer": {
        "shipping_address": SHIPPING,
        "billing_address": SHIPPING | {"country": "Ruritania", "country_iso_code": ""},
    },
    "order_lines": LINES,
}
DIGESTS = {
    "articles": "02a8e511",
    "billing address": "ff0b091d",
    "custom fields": "2_:93fc7a8c70b7c3ef-ad1bb270651ba675",
    "custom fields of lines": "2_:1e1d0f25a897c528-eb1e91e4a571adb0",
    "email": "626c8d5c",
    "messages": "d9810ed4",
    "pick-up point": "2c6cd579",
    "prices": "6f4411b1",
    "shipping address": "0e06ce44",
    "shipping method": "80788d53",
    "withdrawn of L1": "f41f3ae9",
    "withdrawn of L2": "38dc452f",
}
WITHOUT_A_NAME = ORDER | {
    "customer": {"lastname": "Canary", "shipping_address": SHIPPING | {"firstname": "", "lastname": ""}}
}


@pytest.mark.parametrize("name", [*DIGESTS, "customer"])
def test_a_changed_formula_of_a_content_has_the_next_number(name: str) -> None:
    """If this fails: give the content the next number in FORMULAS, and write the new digest here. Without a new number
    every open order would come to the list (`changed_after_import`) after the upgrade."""
    order: dict[str, Any] = WITHOUT_A_NAME if name == "customer" else ORDER
    expected = DIGESTS.get(name, "4a57cd4b")
    assert dict(contents_of("1-A", order))[name] == expected


def test_every_content_is_among_them() -> None:
    assert {name for name, _ in contents_of("1-A", ORDER)} == {*DIGESTS}


def test_the_contents_of_which_no_other_values_are_kept_have_the_first_formula() -> None:
    """A new formula of one would hide a change of it: see FORMULAS."""
    assert MESSAGES not in FORMULAS
    assert formula_for(f"{WITHDRAWN_OF}L1") == formula_for(WITHDRAWN_OF)


def test_a_changed_formula_of_what_an_import_is_made_of_is_noticed() -> None:
    """If this fails: every import that the OMS rejected goes out once more after the upgrade (identity.py).
    CHANGELOG.md has to say so. Write the new digest here."""
    read = snapshot_of(json.dumps(ORDER).encode(), datetime(2026, 3, 1, tzinfo=UTC))[1]
    assert read.import_digest == "2ba23b69d93334618b19025d8d6bace1"
