"""Mirakl's calls: how each failure is classified, then what is sent, against the published schemas."""

import json
import threading
from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.errors import AccountFault, OutcomeUnknown, Rejected, RemoteError, Retryable
from adapters.ports import Carrier, Catalog, CustomerMessages, OrdersPage, OrdersQuery
from adapters.remotes.beside import Beside
from adapters.remotes.http import retry_after_seconds
from adapters.remotes.mirakl import MiraklShop, acceptance_body, error_words
from adapters.remotes.mirakl_carriers import CarrierNames, registered, tracking_body
from statemachine.facts import Tracking
from tests.support import LONG, wait

MIRAKL = Path(__file__).resolve().parents[3].parent / "shared" / "mirakl"
NOW = datetime(2026, 3, 6, 12, 0, tzinfo=UTC)
KEY = "11111111-canary"
CARRIERS = (Carrier("DPDUK", "DPD UK", True), Carrier("PICKUP", "Own van", False), Carrier("ROYAL", "Royal Mail", True))
CATALOG = Catalog(carriers=CARRIERS)
BY_HAND = (Carrier("HAND", "By hand", False),)


class Clock:
    def __init__(self) -> None:
        self.seconds = 0.0

    def now(self) -> datetime:
        return NOW

    def monotonic(self) -> float:
        return self.seconds


class World:
    """A shop whose marketplace is the function `answer`. Keeps the requests, and the calls that `on_call` got."""

    def __init__(self, answer: Callable[[httpx.Request], httpx.Response], **options: Any) -> None:
        self.sent: list[httpx.Request] = []
        self.calls: list[tuple[str, str, str]] = []
        self.clock = Clock()

        def handle(request: httpx.Request) -> httpx.Response:
            self.sent.append(request)
            return answer(request)

        settings: dict[str, Any] = {"shop_id": 2104, "api_key": lambda: KEY + "\n"} | options
        self.shop = MiraklShop(
            base_url="https://alpha.mirakl.net",
            on_call=lambda system, operation, outcome, seconds, **_: self.calls.append((system, operation, outcome)),
            clock=self.clock,
            transport=httpx.MockTransport(handle),
            **settings,
        )


def answering(status: int, body: bytes | str = b"", **headers: str) -> World:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return World(lambda request: httpx.Response(status, content=body, headers=named))


def failing(error: Exception) -> World:
    def fail(request: httpx.Request) -> httpx.Response:
        raise error

    return World(fail)


def error_of(call: Callable[[], object]) -> RemoteError:
    with pytest.raises(RemoteError) as caught:
        call()
    return caught.value


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


# -- Messages ----------------------------------------------------------------------------------------------------


def threads(*messages: dict[str, Any], token: object = None) -> httpx.Response:
    return httpx.Response(200, json={"data": [{"messages": list(messages)}], "next_page_token": token})


def message(number: int, body: object, by: str = "CUSTOMER_USER") -> dict[str, Any]:
    return {"id": str(number), "body": body, "date_created": f"2026-03-0{number}T10:00:00Z", "from": {"type": by}}


def test_all_pages_of_the_customer_s_messages_are_read_oldest_first() -> None:
    pages = [
        threads(message(3, "third"), message(9, "ours", "SHOP_USER"), token="t2"),
        threads(message(3, "third"), message(1, "first<br />line"), message(2, "  "), {"from": None, "body": 5}),
    ]
    world = World(lambda request: pages["page_token" in request.url.params])
    assert world.shop.customer_messages("A/B").texts == ("first\nline", "third")
    assert [request.url.params.get("page_token") for request in world.sent] == [None, "t2"]
    assert world.sent[0].url.params["entity_id"] == "A/B"
    assert world.sent[0].url.params["with_messages"] == "true"


def test_reading_messages_ends_after_twenty_pages() -> None:
    world = World(lambda request: threads(message(1, "x"), token="again"))
    assert world.shop.customer_messages("A").texts == ("x",)
    assert len(world.sent) == 20


def test_the_topic_of_a_free_text_thread_comes_once_before_its_first_message() -> None:
    free = {"type": "FREE_TEXT", "value": "Print <ANA>"}
    coded = {"type": "REASON_CODE", "value": "31"}
    data = [
        {"id": "T2", "topic": free, "messages": [message(3, "in red"), message(2, "hello")]},
        {"id": "T1", "topic": coded, "messages": [message(1, "where is it?")]},
        {"id": "T3", "topic": free, "messages": [message(4, "ours", "SHOP_USER")]},
        {"id": "T4", "topic": {"type": "FREE_TEXT", "value": None}, "messages": [message(5, "bye")]},
        {"id": "T5", "topic": "?", "messages": [message(6, "again")]},
    ]
    pages = [{"data": data, "next_page_token": "t2"}, {"data": data[:1]}]
    world = World(lambda request: httpx.Response(200, json=pages["page_token" in request.url.params]))
    expected = ("where is it?", "Print <ANA>", "hello", "in red", "bye", "again")
    assert world.shop.customer_messages("A").texts == expected


@pytest.mark.parametrize(
    ("attachments", "by", "expected"),
    [
        ([{"id": "1", "name": "logo.png", "size": 9}], "CUSTOMER_USER", True),
        ([{"id": "1", "name": "logo.png", "size": 9}], "SHOP_USER", False),
        (["?"], "CUSTOMER_USER", True),
        ([], "CUSTOMER_USER", False),
        (None, "CUSTOMER_USER", False),
    ],
)
def test_a_file_of_the_customer_is_noticed(attachments: object, by: str, expected: bool) -> None:
    world = World(lambda _: threads(message(1, "", by) | {"attachments": attachments}))
    assert world.shop.customer_messages("A") == CustomerMessages((), expected)


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=20),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["id", "body", "from", "type", "topic", "value", "messages"]), inner)
    ),
    max_leaves=20,
)


@given(
    st.lists(
        st.fixed_dictionaries(
            {"messages": st.lists(st.fixed_dictionaries({"body": _JSON, "from": st.just({"type": "CUSTOMER_USER"})}))},
            optional={"topic": st.fixed_dictionaries({"type": st.just("FREE_TEXT"), "value": _JSON}) | _JSON},
        )
        | _JSON,
        max_size=4,
    )
)
def test_threads_of_any_shape_are_read_as_far_as_they_are_texts(data: Any) -> None:
    world = World(lambda _: httpx.Response(200, json={"data": data}))
    texts = world.shop.customer_messages("A").texts
    assert all(text and text == text.strip() for text in texts)
    written = [message["body"] for one in data if isinstance(one, dict) for message in _listed(one.get("messages"))]
    assert len(texts) <= sum(isinstance(body, str | int | float) for body in written) + len(data)


def _listed(messages: Any) -> list[dict[str, Any]]:
    found = messages if isinstance(messages, list) else []
    return [one for one in found if isinstance(one, dict) and "body" in one]


def test_the_sample_of_m11_is_read() -> None:
    samples = list((MIRAKL / "samples").glob("*M11*.json"))
    if not samples:
        pytest.skip(f"no samples at {MIRAKL}")
    last = httpx.Response(200, json={"data": [], "previous_page_token": None})
    world = World(
        lambda r: last if "page_token" in r.url.params else httpx.Response(200, content=samples[0].read_bytes())
    )
    assert world.shop.customer_messages("Order_00010-A") == CustomerMessages()
    assert len(world.sent) == 2


# -- Catalog and account -----------------------------------------------------------------------------------------

CATALOG_BODIES: dict[str, Any] = {
    "/api/shipping/carriers": {
        "carriers": [{"code": "DPD", "label": "DPD UK", "tracking_url": "https://t/{trackingId}"}, {"code": "V"}, {}]
    },
    "/api/shipping/types": {"shipping_types": [{"code": "EXP", "mandatory_tracking": True}, {"code": "STD"}]},
    "/api/platform/configuration": {"features": {"disable_seller_alternative_carrier": True}},
}


def test_the_catalog_is_read_once_a_day() -> None:
    world = World(lambda request: httpx.Response(200, json=CATALOG_BODIES[request.url.path]))
    expected = Catalog((Carrier("DPD", "DPD UK", True), Carrier("V", "", False)), frozenset({"EXP"}), False)
    assert world.shop.catalog() == expected
    world.clock.seconds = 24 * 3600 - 1
    assert world.shop.catalog() == expected
    assert len(world.sent) == 3
    world.clock.seconds += 1
    world.shop.catalog()
    assert len(world.sent) == 6


@pytest.mark.parametrize("status", [403, 404])
def test_without_pc01_any_carrier_may_be_named(status: int) -> None:
    def answer(request: httpx.Request) -> httpx.Response:
        forbidden = request.url.path == "/api/platform/configuration"
        return httpx.Response(status) if forbidden else httpx.Response(200, json=CATALOG_BODIES[request.url.path])

    assert World(answer).shop.catalog().alternative_carriers


# A read of the catalog makes three requests: SH21, SH12, PC01. Only what could not be read is read again.
@pytest.mark.parametrize(("status", "requests"), [(500, 4), (404, 4), (403, 3)])
def test_a_catalog_without_pc01_is_read_again_after_ten_minutes_unless_the_key_lacks_the_role(
    status: int, requests: int
) -> None:
    failing = {"/api/platform/configuration"}

    def answer(request: httpx.Request) -> httpx.Response:
        path = request.url.path
        return httpx.Response(status) if path in failing else httpx.Response(200, json=CATALOG_BODIES[path])

    world = World(answer)
    assert world.shop.catalog().alternative_carriers
    failing.clear()
    world.clock.seconds += 600
    assert world.shop.catalog().alternative_carriers is (status == 403)
    assert len(world.sent) == requests


@pytest.mark.parametrize("status", [404, 409, 423, 425])
def test_without_a_code_of_mirakls_own_a_gateway_answered_and_the_call_is_tried_again(status: int) -> None:
    for body in ("", "<html>no backend</html>", '{"message": "no"}', f'{{"code": {status}}}', '{"code": 0}'):
        assert isinstance(error_of(partial(answering(status, body).shop.confirm_shipment, "A")), Retryable)
    coded = answering(status, '{"errors": [{"code": "ORDER_NOT_FOUND", "message": "no"}]}')
    assert isinstance(error_of(partial(coded.shop.confirm_shipment, "A")), Rejected)


@pytest.mark.parametrize("status", [403, 404, 500])
def test_a_catalog_that_cannot_be_read_costs_the_carriers_code_and_is_asked_for_again(status: int) -> None:
    world = answering(status)
    unread = {"SH21", "SH12"} if status == 403 else {"SH21", "SH12", "PC01"}
    assert world.shop.catalog() == Catalog(unread=frozenset(unread))
    assert len(world.sent) == 3
    world.shop.catalog()
    assert len(world.sent) == 3
    world.clock.seconds += 600
    world.shop.catalog()
    assert len(world.sent) == 3 + len(unread)


def test_while_one_thread_reads_a_catalog_that_hangs_the_others_do_without(monkeypatch: pytest.MonkeyPatch) -> None:
    """All workers waited one after the other, 20 s each, and then /live failed."""
    monkeypatch.setattr("adapters.remotes.mirakl.CATALOG_WAIT_SECONDS", 0.01)
    begun, ends = threading.Event(), threading.Event()

    def answer(request: httpx.Request) -> httpx.Response:
        begun.set()
        ends.wait(LONG)
        raise httpx.ReadTimeout("")

    world = World(answer)
    reads = threading.Thread(target=world.shop.catalog)
    reads.start()
    assert begun.wait(LONG)
    assert world.shop.catalog() == Catalog(unread=frozenset({"SH21", "SH12", "PC01"}))
    ends.set()
    reads.join(LONG)
    assert [request.url.path for request in world.sent] == ["/api/shipping/carriers"], "one time-out, not three"
    world.shop.catalog()
    assert len(world.sent) == 1, "a failure is remembered"
    world.clock.seconds += 600
    world.shop.catalog()
    assert len(world.sent) == 2


def test_no_caller_waits_for_a_read_of_the_catalog_but_the_first_a_moment(monkeypatch: pytest.MonkeyPatch) -> None:
    """The threads that read it hold the leases of commands."""
    monkeypatch.setattr("adapters.remotes.mirakl.CATALOG_WAIT_SECONDS", LONG)
    ends, hangs = threading.Event(), threading.Event()

    def answer(request: httpx.Request) -> httpx.Response:
        if hangs.is_set():
            ends.wait(LONG)
            raise httpx.ReadTimeout("")
        return httpx.Response(200, json=CATALOG_BODIES[request.url.path])

    world = World(answer, beside=Beside("catalog"))
    expected = world.shop.catalog()
    assert expected.carriers
    hangs.set()
    world.clock.seconds += 24 * 3600
    assert [world.shop.catalog() for _ in range(3)] == [expected] * 3, "old values, while a thread hangs in the read"
    ends.set()
    wait(lambda: len(world.calls) == 4, "the read ends")
    assert world.shop.catalog() == expected


def test_reads_of_many_catalogs_take_two_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("adapters.remotes.mirakl.CATALOG_WAIT_SECONDS", 0.01)
    begun, ends = threading.Semaphore(0), threading.Event()

    def answer(request: httpx.Request) -> httpx.Response:
        begun.release()
        ends.wait(LONG)
        raise httpx.ReadTimeout("")

    beside = Beside("catalog-of-many")
    worlds = [World(answer, beside=beside) for _ in range(5)]
    for world in worlds:
        assert world.shop.catalog().unread
    assert all(begun.acquire(timeout=LONG) for _ in range(2))
    assert sum(one.name.startswith("catalog-of-many") for one in threading.enumerate()) == 2
    assert sum(len(world.sent) for world in worlds) == 2
    ends.set()
    wait(lambda: all(len(world.sent) == 1 for world in worlds), "each is read")


def test_a_task_that_fails_ends_no_thread() -> None:
    done = threading.Event()

    def fails() -> None:
        raise ZeroDivisionError

    beside = Beside("failing", threads=1)
    beside(fails)
    beside(done.set)
    assert done.wait(LONG)


def test_a_part_of_the_catalog_that_cannot_be_read_again_is_used_as_it_was_read() -> None:
    failing: set[str] = set()

    def answer(request: httpx.Request) -> httpx.Response:
        path = request.url.path
        return httpx.Response(500) if path in failing else httpx.Response(200, json=CATALOG_BODIES[path])

    world = World(answer)
    expected = world.shop.catalog()
    failing |= CATALOG_BODIES.keys()
    world.clock.seconds += 24 * 3600
    assert world.shop.catalog() == expected
    assert len(world.sent) == 6


def test_carriers_that_could_not_be_read_refuse_no_tracking() -> None:
    """Without free text the carrier needs its code, and nobody knows the code."""
    world = answering(204)
    unknown = Catalog(alternative_carriers=False, unread=frozenset({"SH21"}))
    error = error_of(lambda: world.shop.send_tracking("A", Tracking("Yodel", "1"), unknown))
    assert isinstance(error, Retryable)
    assert (error.operation, error.outcome, error.code) == ("SH21", "not_sent", "NOT_READ")
    assert not world.sent


@pytest.mark.parametrize(("unread", "kind"), [({"SH21"}, Retryable), ({"SH12"}, Rejected), (set(), Rejected)])
def test_a_tracking_refused_while_the_carriers_are_not_known_is_tried_again(
    unread: set[str], kind: type[RemoteError]
) -> None:
    refusing = answering(400, '{"errors": [{"code": "CARRIER_CODE_REQUIRED", "message": "no"}]}')
    catalog = Catalog(unread=frozenset(unread))
    error = error_of(lambda: refusing.shop.send_tracking("A", Tracking("Yodel", "1"), catalog))
    assert type(error) is kind
    assert (error.status, error.code) == (400, "CARRIER_CODE_REQUIRED")


def test_a_401_for_the_catalog_concerns_the_whole_account() -> None:
    assert isinstance(error_of(answering(401).shop.catalog), AccountFault)
