"""What can go wrong at KornitX first; then what an order looks like there."""

import json
import re
from base64 import b64decode
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import httpx
import pytest
import simplejson
from hypothesis import given
from hypothesis import strategies as st

from adapters.errors import (
    AccountFault,
    Duplicate,
    OutcomeUnknown,
    Rejected,
    RemoteError,
    Retryable,
    Unimportable,
    Unreadable,
)
from adapters.messages.json_slices import slice_orders
from adapters.remotes.countries import country_code
from adapters.remotes.kornitx import KornitX
from adapters.remotes.kornitx_order import build_payload, message_attributes
from statemachine.facts import Part

SAMPLES = Path(__file__).resolve().parents[3].parent / "shared" / "mirakl" / "samples"
KEY = "canary-key"


class World:
    def __init__(self, answer: Callable[[httpx.Request], httpx.Response], **options: Any) -> None:
        self.sent: list[httpx.Request] = []
        self.calls: list[tuple[str, str, str]] = []

        def handle(request: httpx.Request) -> httpx.Response:
            self.sent.append(request)
            return answer(request)

        settings: dict[str, Any] = {"duplicate_codes": (777001,), "rate_limit_codes": (777002,)} | options
        self.oms = KornitX(
            base_url="https://oms.example",
            company_ref_id=99999,
            api_key=lambda: KEY,
            on_call=lambda system, operation, outcome, seconds: self.calls.append((system, operation, outcome)),
            transport=httpx.MockTransport(handle),
            **settings,
        )


def answering(status: int, body: bytes | str, **options: Any) -> World:
    return World(lambda request: httpx.Response(status, content=body), **options)


def refused(status: int, code: object, message: str, **options: Any) -> RemoteError:
    return error_of(answering(status, json.dumps({"error": {"message": message, "code": code}}), **options))


def error_of(world: World) -> RemoteError:
    with pytest.raises(RemoteError) as caught:
        world.oms.import_order(b"{}")
    assert world.calls == [("oms", "import_order", caught.value.outcome)]
    return caught.value


# -- Failures ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "code", "message", "kind"),
    [
        (400, 777001, "?", Duplicate),
        (400, "777001", "?", Duplicate),
        (500, 777001, "?", Duplicate),
        (400, 0, "This external_ref ALREADY EXISTS", Duplicate),
        (409, None, "Duplicate order", Duplicate),
        (400, 777002, "?", AccountFault),
        (400, 0, "Rate limit exceeded", AccountFault),
        (429, 0, "", AccountFault),
        (400, 777002, "duplicate", AccountFault),
        (400, 401, "", AccountFault),
        (400, 50000, "Either your RefID or your API key are incorrect", AccountFault),
        (500, 50001, "", AccountFault),
        (401, 0, "", AccountFault),
        (403, 0, "", AccountFault),
        (302, 0, "", AccountFault),
        (400, 8014, "past", Rejected),
        (400, 0, "Invalid order status", Rejected),
        (404, 100, "", Rejected),
        (500, 0, "Duplicate key in a table of ours", OutcomeUnknown),
        (503, 0, "", OutcomeUnknown),
        (408, 0, "", OutcomeUnknown),
        (200, 0, "Something else", OutcomeUnknown),
        (200, 50000, "", AccountFault),
    ],
)
def test_errors(status: int, code: object, message: str, kind: type[RemoteError]) -> None:
    error = refused(status, code, message)
    assert type(error) is kind
    assert error.status == status
    if message:
        assert error.words == message
        assert message not in str(error)


def test_a_spent_budget_pauses_and_a_bad_key_does_not_say_when() -> None:
    assert refused(400, 777002, "").retry_after_seconds == 60.0
    assert refused(400, 0, "too many", rate_limit_pause_seconds=5.0).retry_after_seconds == 5.0
    assert refused(400, 50000, "").retry_after_seconds is None
    told = World(lambda request: httpx.Response(429, headers={"Retry-After": "7"}))
    assert error_of(told).retry_after_seconds == 7.0


def test_other_codes_and_words_are_configuration() -> None:
    assert type(refused(400, 5, "", duplicate_codes=(5,))) is Duplicate
    assert type(refused(400, 6, "", rate_limit_codes=(6,))) is AccountFault
    assert type(refused(400, 0, "bekannt", duplicate_message_regex="bekannt")) is Duplicate
    assert type(refused(400, 0, "duplicate", duplicate_message_regex="bekannt")) is Rejected


@pytest.mark.parametrize(
    ("error", "kind", "label"),
    [
        (httpx.ConnectError("x"), Retryable, "network"),
        (httpx.ConnectTimeout("x"), Retryable, "timeout"),
        (httpx.ReadTimeout("x"), OutcomeUnknown, "timeout"),
        (httpx.ReadError("x"), OutcomeUnknown, "network"),
        (httpx.RemoteProtocolError("x"), OutcomeUnknown, "network"),
    ],
)
def test_lost_calls(error: Exception, kind: type[RemoteError], label: str) -> None:
    def fail(request: httpx.Request) -> httpx.Response:
        raise error

    caught = error_of(World(fail))
    assert (type(caught), caught.outcome) == (kind, label)


@pytest.mark.parametrize(
    ("status", "body", "label"),
    [
        (201, b"", "body_error"),
        (200, b"<html>ok", "body_error"),
        (400, b"<html>already exists", "400"),
        (502, b"<html>", "5xx"),
    ],
)
def test_what_is_no_json_may_hide_a_stored_order(status: int, body: bytes, label: str) -> None:
    error = error_of(answering(status, body))
    assert (type(error), error.outcome) == (OutcomeUnknown, label)


def test_words_are_cut_and_the_key_is_in_no_text() -> None:
    error = refused(400, 3, "w" * 900)
    assert (len(error.words), str(error)) == (500, "import_order: 400 3")
    bad = World(lambda request: httpx.Response(201), auth_encoding="raw")
    bad.oms._api_key = lambda: "schlüssel"
    error = error_of(bad)
    assert isinstance(error, AccountFault) and "schl" not in f"{error}{error.words}" and not bad.sent


# -- Answers -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("body", "parts"),
    [
        ({"id": 12345, "ref": "abcdefgh"}, (Part(12345, "abcdefgh"),)),
        (
            [
                {"id": 1, "ref": "R", "items": [{"external_ref": "b"}, {"external_ref": "a"}, None, {}]},
                {"id": "2", "has_error": True, "items": None},
            ],
            (Part(1, "R", ("a", "b")), Part(2, has_error=True)),
        ),
        ([{"id": 1}, {"ref": "without an id"}], ()),
        ([], ()),
        ({}, ()),
        ("ok", ()),
        ({"id": 1, "error": {"message": "held"}}, (Part(1),)),
    ],
)
def test_a_2xx_was_imported_whatever_it_tells(body: object, parts: tuple[Part, ...]) -> None:
    for status in (200, 201):
        world = answering(status, json.dumps(body))
        assert world.oms.import_order(b'{"a":1}') == parts
        assert world.calls == [("oms", "import_order", "2xx")]
        assert (world.sent[0].method, world.sent[0].url.path, world.sent[0].content) == ("POST", "/order", b'{"a":1}')
        assert world.sent[0].headers["Content-Type"] == "application/json"


def test_both_ways_to_write_the_key() -> None:
    encoded, raw = answering(201, "{}"), answering(201, "{}", auth_encoding="raw")
    encoded.oms.import_order(b"{}")
    raw.oms.import_order(b"{}")
    assert b64decode(encoded.sent[0].headers["Authorization"].removeprefix("Basic ")) == b"99999:canary-key"
    assert raw.sent[0].headers["Authorization"] == "Basic 99999:canary-key"


# -- Payload -----------------------------------------------------------------------------------------------------


def order(**changes: Any) -> dict[str, Any]:
    address = {
        "firstname": "Ana",
        "lastname": "Silva",
        "company": "Casa",
        "company_2": "Lda",
        "street_1": "Rua das Flores 12",
        "street_2": "  ",
        "additional_info": "3 Esq",
        "city": "Lisboa",
        "state": None,
        "zip_code": "1200-195",
        "country": "Portugal",
        "country_iso_code": "PRT",
        "phone": "",
        "phone_secondary": "+351210000000",
    }
    return {
        "order_id": "00000012-A",
        "created_date": "2025-03-04T10:15:00+01:00",
        "currency_iso_code": "EUR",
        "shipping_price": 3.9,
        "shipping_type_code": "STD",
        "customer": {"firstname": "Other", "lastname": "Name", "shipping_address": address, "billing_address": address},
        "order_lines": [
            {"order_line_id": "L1", "offer_sku": "MUG", "product_title": "White mug", "quantity": 2, "price_unit": 9.5},
            {"order_line_id": "L2", "offer_sku": "TEE", "order_line_state": "REFUSED"},
            {"order_line_id": "L3", "offer_sku": "TEE", "order_line_state": "CANCELED"},
            {"order_line_id": "L4", "offer_sku": "TEE", "order_line_state": "REFUNDED"},
        ],
    } | changes


def with_address(**changes: Any) -> dict[str, Any]:
    value = order()
    value["customer"]["shipping_address"] |= changes
    return value


def built(value: Any, *messages: str, **options: Any) -> dict[str, Any]:
    raw = value if isinstance(value, bytes) else json.dumps(value).encode()
    body = build_payload(raw, messages, company_ref_id=99999, **options)
    assert b"\n" not in body
    assert body == build_payload(raw, messages, company_ref_id=99999, **options)
    result = simplejson.loads(body, use_decimal=True)
    assert isinstance(result, dict)
    return result


def missing(value: Any) -> tuple[str, ...]:
    with pytest.raises(Unimportable) as caught:
        built(value)
    assert "Silva" not in str(caught.value)
    return caught.value.missing


@pytest.mark.parametrize(
    ("value", "fields"),
    [
        (order(order_lines=None), ("order_lines",)),
        (order(order_lines=[{"order_line_id": "L", "order_line_state": "CANCELED"}]), ("order_lines",)),
        (order(order_lines=[{"order_line_id": "L"}]), ("order_lines[0].offer_sku",)),
        (order(order_lines=[{"offer_sku": "S"}]), ("order_lines[0].order_line_id",)),
        (order(order_lines=["x"]), ("order_lines[0].order_line_id", "order_lines[0].offer_sku")),
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
def test_what_cannot_be_imported_says_what_is_missing(value: Any, fields: tuple[str, ...]) -> None:
    assert missing(value) == fields


def test_without_addresses_everything_is_named_at_once() -> None:
    assert len(missing(order(customer=None))) == 4


@pytest.mark.parametrize("raw", [b"", b"[]", b"{", b"\xff", b"[" * 100_000, b'{"shipping_price": NaN}'])
def test_what_is_no_order_is_unreadable(raw: bytes) -> None:
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
def test_any_order_is_built_or_refused(changes: dict[str, Any]) -> None:
    try:
        built(order() | changes)
    except Unimportable as error:
        assert error.missing


def test_the_mapping() -> None:
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
        "shipping_price": Decimal("3.9"),
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
                "unit_sale_price": Decimal("9.5"),
            }
        ],
    }


def test_names_phones_and_quantities() -> None:
    value = with_address(firstname=None, lastname=" ", phone="1", phone_secondary="2")
    value["order_lines"] = [
        {"order_line_id": "L1", "offer_sku": "S", "quantity": "3"},
        {"order_line_id": "L2", "offer_sku": "S", "description": "d"},
        {"order_line_id": "L3", "offer_sku": "S", "quantity": 0},
    ]
    payload = built(value)
    assert payload["customer_name"] == "Other Name"
    assert (payload["customer_telephone"], payload["customer_telephone_mobile"]) == ("1", "2")
    assert [(i["external_ref"], i["quantity"], i["description"]) for i in payload["items"]] == [
        ("L1", 3, "S"),
        ("L2", 1, "d"),
    ]


@pytest.mark.parametrize("amount", ["12345678901234567.89", "0.1000", "1.10", "7", "9007199254740993.1", "0"])
def test_money_keeps_every_digit(amount: str) -> None:
    raw = re.sub(b'"(price_unit|shipping_price)": [0-9.]+', b'"\\1": ' + amount.encode(), json.dumps(order()).encode())
    body = build_payload(raw, (), company_ref_id=1).decode()
    assert f'"shipping_price": {amount},' in body
    assert f'"unit_sale_price": {amount}}}' in body
    quoted = order(shipping_price=amount)
    assert f'"shipping_price": {amount},' in build_payload(json.dumps(quoted).encode(), (), company_ref_id=1).decode()


@pytest.mark.parametrize("amount", [None, "", "free", True, "NaN", "Infinity", []])
def test_what_is_no_amount_is_left_out(amount: object) -> None:
    assert "shipping_price" not in built(order(shipping_price=amount))


def test_messages_become_one_attribute() -> None:
    assert message_attributes(()) == message_attributes((" ", "")) == []
    assert message_attributes(("a\nb", " ", "c")) == [{"name": ":MiraklOrderMessage", "value": "a\nb\n\nc"}]
    assert "attributes" not in built(order())


# -- Countries ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("iso", "label", "code"),
    [
        ("PRT", None, "PT"),
        ("prt ", "Spain", "PT"),
        ("PT", None, "PT"),
        (None, "ESPAñA", "ES"),
        ("", "United Kingdom", "GB"),
        ("ZZZ", "Deutschland", "DE"),
        (None, "SUISSE", "CH"),
        (None, "Česko", "CZ"),
        (None, "日本", "JP"),
        (None, "UK", "GB"),
        (None, "ITA", "IT"),
        (None, "Mexico", "MX"),
        (None, "Guinea", "GN"),
        ("AUT", None, "AT"),
        (None, "Portugalx", None),
        ("ESX", None, None),
        ("PORTUGAL", None, None),
        (None, "011", None),
        (None, "Korea", None),
        (None, None, None),
        ("", " ", None),
    ],
)
def test_countries(iso: str | None, label: str | None, code: str | None) -> None:
    assert country_code(iso, label) == code


# -- Real payloads -----------------------------------------------------------------------------------------------


def test_importable_samples_become_payloads() -> None:
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
