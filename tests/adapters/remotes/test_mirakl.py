"""Mirakl's calls: how each failure is classified, then what is sent, against the published schemas."""

import json
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import jsonschema
import pytest

from adapters.errors import AccountFault, OutcomeUnknown, Rejected, Retryable
from adapters.ports import Carrier, Catalog, OrdersPage, OrdersQuery
from adapters.remotes.http import retry_after_seconds
from adapters.remotes.mirakl import acceptance_body, error_words
from adapters.remotes.mirakl_carriers import CarrierNames, registered, tracking_body
from statemachine.facts import Tracking
from tests.adapters.remotes.mirakl_world import CARRIERS, CATALOG, KEY, NOW, World, answering, error_of, failing

MIRAKL = Path(__file__).resolve().parents[3].parent / "shared" / "mirakl"
BY_HAND = (Carrier("HAND", "By hand", False),)


def test_a_url_that_the_client_cannot_make_is_a_refused_call() -> None:
    """No request is sent. A poll that gets this error halves its batch of ids."""
    world = answering(200, b"{}")
    error = error_of(lambda: world.shop.orders(OrdersQuery(order_ids=("x" * 70_000,)), 0))
    assert isinstance(error, Rejected)
    assert world.sent == []
    assert world.calls == [("mirakl", "OR11", "4xx")]


@pytest.mark.parametrize("error", [httpx.StreamConsumed(), httpx.CookieConflict("x"), httpx.InvalidURL("redirect")])
def test_any_error_of_the_http_client_is_a_remote_error(error: Exception) -> None:
    assert isinstance(error_of(lambda: failing(error).shop.orders(OrdersQuery(), 0)), Retryable)
    assert isinstance(error_of(lambda: failing(error).shop.confirm_shipment("1-A")), OutcomeUnknown)


# -- Failures ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "of_read", "of_write", "label"),
    [
        (302, AccountFault, AccountFault, "4xx"),
        (400, Rejected, Rejected, "400"),
        (401, AccountFault, AccountFault, "401"),
        (403, AccountFault, AccountFault, "403"),
        (404, Retryable, Retryable, "404"),
        (408, Retryable, OutcomeUnknown, "4xx"),
        (409, Retryable, Retryable, "409"),
        (411, Rejected, Rejected, "4xx"),
        (429, Retryable, Retryable, "429"),
        (500, Retryable, OutcomeUnknown, "5xx"),
        (503, Retryable, OutcomeUnknown, "5xx"),
    ],
)
def test_a_status_is_classified_for_a_read_and_for_a_write(
    status: int, of_read: type, of_write: type, label: str
) -> None:
    world = answering(status, '{"message": "no", "status": 1}')
    read = error_of(lambda: world.shop.orders(OrdersQuery(), 0))
    write = error_of(lambda: world.shop.confirm_shipment("A"))
    assert type(read) is of_read
    assert read.outcome == label
    assert read.status == status
    assert read.words == "no"
    assert type(write) is of_write
    assert write.outcome == label
    assert world.calls == [("mirakl", "OR11", label), ("mirakl", "OR24", label)]


@pytest.mark.parametrize(
    ("error", "of_read", "of_write", "label"),
    [
        (httpx.ConnectError("x"), Retryable, Retryable, "network"),
        (httpx.ConnectTimeout("x"), Retryable, Retryable, "timeout"),
        (httpx.PoolTimeout("x"), Retryable, Retryable, "timeout"),
        (httpx.ReadTimeout("x"), Retryable, OutcomeUnknown, "timeout"),
        (httpx.WriteTimeout("x"), Retryable, OutcomeUnknown, "timeout"),
        (httpx.ReadError("x"), Retryable, OutcomeUnknown, "network"),
        (httpx.RemoteProtocolError("x"), Retryable, OutcomeUnknown, "network"),
    ],
)
def test_a_lost_call_is_classified_for_a_read_and_for_a_write(
    error: Exception, of_read: type, of_write: type, label: str
) -> None:
    world = failing(error)
    read = error_of(lambda: world.shop.customer_messages("A"))
    write = error_of(lambda: world.shop.accept("A", {}))
    assert type(read) is of_read
    assert type(write) is of_write
    assert read.outcome == label
    assert write.outcome == label
    assert read.__cause__ is None, "httpx's error quotes the request"
    assert read.__suppress_context__
    assert world.calls == [("mirakl", "M11", label), ("mirakl", "OR21", label)]


def test_after_an_unreadable_answer_to_a_write_the_outcome_is_unknown() -> None:
    error = error_of(lambda: answering(200, b"not gzip", content_encoding="gzip").shop.confirm_shipment("A"))
    assert isinstance(error, OutcomeUnknown)


def test_no_error_text_holds_the_key_or_the_remote_s_words() -> None:
    error = error_of(
        lambda: answering(400, json.dumps({"message": f"Jane {KEY}", "code": "Jane Doe"})).shop.accept("A", {})
    )
    assert str(error) == "OR21: 400"
    assert error.code == ""
    bad = World(lambda request: httpx.Response(204), api_key=lambda: "schlüssel")
    error = error_of(lambda: bad.shop.confirm_shipment("A"))
    assert isinstance(error, AccountFault)
    assert "schl" not in f"{error}{error.words}"
    assert not bad.sent
    assert bad.calls == [("mirakl", "OR24", "401")]


@pytest.mark.parametrize(
    ("body", "code", "words"),
    [
        (b'{"message": "bad", "status": 400, "code": "ORDER_INVALID_STATE"}', "ORDER_INVALID_STATE", "bad"),
        (b'{"errors": [{"code": "VALIDATION_ERROR", "field": "f", "message": "blank"}]}', "VALIDATION_ERROR", "blank"),
        (b'{"message": "", "errors": [{"message": "m"}]}', "", "m"),
        (b'{"errors": [null]}', "", ""),
        (b"<html>" + b"x" * 5000, "", "<html>" + "x" * 294),
        (b'{"message": "' + b"y" * 900 + b'\\u0000"}', "", "y" * 500),
        (b"\xff\x00", "", "\ufffd"),
        (b"", "", ""),
    ],
)
def test_code_and_words_of_an_error_s_body(body: bytes, code: str, words: str) -> None:
    assert error_words(body) == (code, words)


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({}, None),
        ({"Retry-After": "60"}, 60.0),
        ({"Retry-After": "9" * 400}, 86_400.0),
        ({"Retry-After": "-5"}, None),
        ({"Retry-After": "soon"}, None),
        ({"Retry-After": "Fri, 06 Mar 2026 12:02:00 GMT", "Date": "Fri, 06 Mar 2026 12:00:00 GMT"}, 120.0),
        ({"Retry-After": "Fri, 06 Mar 2026 11:00:00 GMT", "Date": "Fri, 06 Mar 2026 12:00:00 GMT"}, 0.0),
        ({"Retry-After": "Fri, 06 Mar 2026 12:02:00 GMT"}, None),
    ],
)
def test_retry_after(headers: dict[str, str], seconds: float | None) -> None:
    assert retry_after_seconds(httpx.Headers(headers)) == seconds
    world = World(lambda request: httpx.Response(429, headers=headers))
    assert error_of(lambda: world.shop.accept("A", {})).retry_after_seconds == seconds


@pytest.mark.parametrize("body", [b"", b"<html>", b"[]", b'{"data": 5}', b"{}"])
def test_a_read_whose_answer_is_not_mirakl_s_is_retried(body: bytes) -> None:
    world = answering(200, body)
    error = error_of(lambda: world.shop.customer_messages("A"))
    assert type(error) is Retryable
    assert error.outcome == "body_error"
    assert world.calls == [("mirakl", "M11", "body_error")]


def test_an_answer_that_comes_in_small_pieces_ends_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    ticks = iter(range(0, 1000, 15))
    monkeypatch.setattr("adapters.remotes.http.perf_counter", lambda: next(ticks))
    world = World(lambda request: httpx.Response(200, content=iter([b"{"] * 50)))
    assert error_of(lambda: world.shop.orders(OrdersQuery(), 0)).outcome == "timeout"


@pytest.mark.parametrize("status", [404, 409, 423, 425])
def test_without_a_code_of_mirakls_own_a_gateway_answered_and_the_call_is_tried_again(status: int) -> None:
    for body in ("", "<html>no backend</html>", '{"message": "no"}', f'{{"code": {status}}}', '{"code": 0}'):
        assert isinstance(error_of(partial(answering(status, body).shop.confirm_shipment, "A")), Retryable)
    coded = answering(status, '{"errors": [{"code": "ORDER_NOT_FOUND", "message": "no"}]}')
    assert isinstance(error_of(partial(coded.shop.confirm_shipment, "A")), Rejected)


# -- Requests ----------------------------------------------------------------------------------------------------


def test_the_request_of_or11() -> None:
    world = answering(200, b'{"orders": []}', date="Fri, 06 Mar 2026 12:00:07 GMT")
    query = OrdersQuery(("SHIPPING", "WAITING_ACCEPTANCE"), ("A", "B"), NOW, NOW)
    page = world.shop.orders(query, 200)
    request = world.sent[0]
    assert dict(request.url.params) == {
        "max": "100", "offset": "200", "sort": "dateCreated", "order": "asc", "order_tax_mode": "TAX_INCLUDED",
        "order_state_codes": "SHIPPING,WAITING_ACCEPTANCE", "order_ids": "A,B", "shop_id": "2104",
        "start_update_date": "2026-03-06T12:00:00.000Z", "end_update_date": "2026-03-06T12:00:00.000Z",
    }  # fmt: skip
    assert request.headers["Authorization"] == KEY
    assert request.headers["Accept"] == "application/json"
    assert b"+" not in request.url.query
    assert page == OrdersPage(body=b'{"orders": []}', read_at=NOW, server_time=NOW.replace(second=7))
    assert answering(200, b"", date="never").shop.orders(OrdersQuery(), 0).server_time is None
    assert world.calls == [("mirakl", "OR11", "2xx")]


def test_or24_has_a_content_length_and_no_body() -> None:
    world = answering(204)
    world.shop.confirm_shipment("70014377-A")
    request = world.sent[0]
    assert request.method == "PUT"
    assert request.url.raw_path == b"/api/orders/70014377-A/ship?shop_id=2104"
    assert request.headers["Content-Length"] == "0"
    assert request.content == b""
    assert "Content-Type" not in request.headers


@pytest.mark.parametrize(
    ("order_id", "path"),
    [("a/../b", b"a%2F..%2Fb"), ("a?b#c", b"a%3Fb%23c"), ("a%2Fb", b"a%252Fb"), ("é +", b"%C3%A9%20%2B")],
)
def test_an_order_id_is_one_step_of_the_path(order_id: str, path: bytes) -> None:
    world = World(lambda request: httpx.Response(204), shop_id=None)
    world.shop.accept(order_id, {"l": True})
    assert world.sent[0].url.raw_path == b"/api/orders/" + path + b"/accept"


@pytest.mark.parametrize(
    ("tracking", "catalog", "body"),
    [
        (Tracking("dpd-uk", "1"), CATALOG, {"carrier_code": "DPDUK", "tracking_number": "1"}),
        (Tracking("DPDUK", "1", "https://t/1"), CATALOG, {"carrier_code": "DPDUK", "tracking_number": "1"}),
        (Tracking("Royal Mail"), CATALOG, {"carrier_name": "Royal Mail"}),
        (Tracking("Own van"), CATALOG, {"carrier_name": "Own van"}),
        (Tracking("Own van"), Catalog(CARRIERS, alternative_carriers=False), {"carrier_code": "PICKUP"}),
        (
            Tracking("Yodel", "J1", "https://t/J1"),
            CATALOG,
            {"carrier_name": "Yodel", "carrier_url": "https://t/J1", "tracking_number": "J1"},
        ),
        (Tracking("", "J1", "ftp://t"), CATALOG, {"carrier_name": "Other", "tracking_number": "J1"}),
        (Tracking("--", "J1"), CATALOG, {"carrier_name": "--", "tracking_number": "J1"}),
    ],
)
def test_the_body_of_or23(tracking: Tracking, catalog: Catalog, body: dict[str, str]) -> None:
    world = answering(204)
    world.shop.send_tracking("A", tracking, catalog)
    assert json.loads(world.sent[0].content) == body
    assert world.sent[0].url.path == "/api/orders/A/tracking"
    assert world.sent[0].headers["Content-Type"] == "application/json"


@pytest.mark.parametrize(
    ("tracking", "catalog", "body"),
    [
        (Tracking("dpd", "1", "https://t/1"), CATALOG, {"carrier_code": "DPDUK", "tracking_number": "1"}),
        (Tracking("Mail", "1", "https://t/1"), CATALOG, {"carrier_code": "ROYAL", "tracking_number": "1"}),
        (Tracking("Van", "1"), CATALOG, {"carrier_name": "By hand", "tracking_number": "1"}),
        (Tracking("DPD"), CATALOG, {"carrier_name": "DPD"}),
        (Tracking("Van"), Catalog(BY_HAND, alternative_carriers=False), {"carrier_code": "HAND"}),
    ],
)
def test_the_shop_s_name_of_a_carrier_goes_out(tracking: Tracking, catalog: Catalog, body: dict[str, str]) -> None:
    """The map names a code, a label or free text. Without a number the OMS's name goes out where free text is allowed,
    because a later read can show only this name."""
    names = CarrierNames({"DPD": "DPDUK", "mail": "Royal Mail", "van": "By hand"})
    assert json.loads(tracking_body(tracking, catalog, names)) == body


def test_the_registered_carrier_for_all_others_keeps_the_url() -> None:
    tracking = Tracking("Yodel", "J1", "https://t/J1")
    body = {"carrier_code": "O", "carrier_url": "https://t/J1", "tracking_number": "J1"}
    for label, other in (("Other", "x"), ("Andere", "andere")):
        catalog = Catalog((Carrier("O", label, False),))
        assert json.loads(tracking_body(tracking, catalog, CarrierNames({"Yodel": "O"}, other))) == body


def test_a_carrier_is_known_by_its_code_then_its_label_then_its_standard_code() -> None:
    one, two, three = (Carrier("A", "X", False), Carrier("B", "A", False, "X"), Carrier("C", "C", False, "DPD-UK"))
    catalog = Catalog((three, two, one))
    assert registered("a", catalog) == one
    assert registered("X", catalog) == one
    assert registered("dpd uk", catalog) == three
    assert registered("--", catalog) is None
    assert registered("Y", catalog) is None


@pytest.mark.parametrize(
    ("tracking", "catalog", "code"),
    [
        (Tracking("Yodel", "1"), Catalog(CARRIERS, alternative_carriers=False), "CARRIER_UNKNOWN"),
        (Tracking("", "1"), Catalog(CARRIERS, alternative_carriers=False), "CARRIER_UNKNOWN"),
        (Tracking("DPD UK"), Catalog(CARRIERS, alternative_carriers=False), "TRACKING_NUMBER_MISSING"),
        (Tracking(), CATALOG, "TRACKING_EMPTY"),
    ],
)
def test_a_tracking_that_mirakl_would_refuse_is_not_sent(tracking: Tracking, catalog: Catalog, code: str) -> None:
    world = answering(204)
    error = error_of(lambda: world.shop.send_tracking("A", tracking, catalog))
    assert type(error) is Rejected
    assert error.code == code
    assert world.sent == []
    assert world.calls == []


def test_bodies_have_no_field_that_the_schemas_do_not_name() -> None:
    path = MIRAKL / "mmp-seller-openapi.json"
    if not path.is_file():
        pytest.skip(f"no description at {path}")
    schemas = json.loads(path.read_text())["components"]["schemas"]

    def check(body: bytes, name: str) -> None:
        strict = {"$ref": f"#/components/schemas/{name}", "components": {"schemas": _closed(schemas)}}
        jsonschema.Draft202012Validator(strict).validate(json.loads(body))

    check(acceptance_body({"A-1": True, "A-2": False}), "OR21_Request")
    for tracking in (
        Tracking("DPD UK", "1"),
        Tracking("Yodel", "J", "https://t/J"),
        Tracking("", "J"),
        Tracking("Yodel"),
    ):
        check(tracking_body(tracking, CATALOG), "OR23_Request")
    with pytest.raises(jsonschema.ValidationError):
        check(b'{"tracking_url": "https://t"}', "OR23_Request")


def _closed(value: Any) -> Any:
    """Return a copy of these schemas in which an object whose fields are named may have no other field."""
    if isinstance(value, list):
        return [_closed(one) for one in value]
    if not isinstance(value, dict):
        return value
    inner = {name: _closed(one) for name, one in value.items()}
    return inner | {"additionalProperties": False} if isinstance(value.get("properties"), dict) else inner
