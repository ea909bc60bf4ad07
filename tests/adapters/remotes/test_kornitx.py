"""KornitX's import: how each failure is classified, then how its answers are read."""

import json
import tracemalloc
from base64 import b64decode
from collections.abc import Callable
from typing import Any

import httpx
import pytest
from structlog.testing import capture_logs

from adapters.errors import (
    AccountFault,
    Duplicate,
    OutcomeUnknown,
    Rejected,
    RemoteError,
    Retryable,
)
from adapters.ports import OmsOrder
from adapters.remotes.kornitx import KornitX
from adapters.remotes.kornitx_order import OrderRules, message_attributes
from statemachine.facts import Part

KEY = "canary-key"


class World:
    """A company whose OMS is the function `answer`. Keeps the requests, and the calls that `on_call` got."""

    def __init__(
        self, answer: Callable[[httpx.Request], httpx.Response], rules: OrderRules | None = None, **options: Any
    ) -> None:
        self.sent: list[httpx.Request] = []
        self.calls: list[tuple[str, str, str]] = []

        def handle(request: httpx.Request) -> httpx.Response:
            self.sent.append(request)
            return answer(request)

        settings: dict[str, Any] = {"duplicate_codes": (777001,), "rate_limit_codes": (777002,)}
        settings |= {"api_key": lambda: KEY} | options
        self.oms = KornitX(
            base_url="https://oms.example",
            rules=rules or OrderRules(99999),
            on_call=lambda system, operation, outcome, seconds, **_: self.calls.append((system, operation, outcome)),
            transport=httpx.MockTransport(handle),
            **settings,
        )


def answering(status: int, body: bytes | str, **options: Any) -> World:
    return World(lambda request: httpx.Response(status, content=body), **options)


def refused(status: int, code: object, message: str, **options: Any) -> RemoteError:
    return error_of(answering(status, json.dumps({"error": {"message": message, "code": code}}), **options))


def error_of(world: World) -> RemoteError:
    with pytest.raises(RemoteError) as caught:
        world.oms.import_order(b'{"external_ref":"A-1"}')
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
        (409, None, "Duplicate order: A-1", Duplicate),
        (400, 0, "Order with external ref already exists", Duplicate),
        (409, None, "Duplicate order", Retryable),
        (404, 404, "no Route matched", Retryable),
        (423, 0, "locked", Retryable),
        (425, "425", "", Retryable),
        (400, 0, "A customer with this email already exists", Rejected),
        (400, 0, "Item A-1-1 already exists", Rejected),
        (400, 0, "Order AA-1 already exists", Rejected),
        (400, 777002, "?", AccountFault),
        (400, 0, "Rate limit exceeded", AccountFault),
        (429, 0, "", AccountFault),
        (400, 777002, "duplicate A-1", AccountFault),
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
def test_an_error_is_classified_by_status_code_and_message(
    status: int, code: object, message: str, kind: type[RemoteError]
) -> None:
    error = refused(status, code, message)
    assert type(error) is kind
    assert error.status == status
    if message:
        assert error.words == message
        assert message not in str(error)


@pytest.mark.parametrize(
    ("status", "code", "message", "outcome"),
    [
        (400, 401, "", "401"),
        (400, 50000, "Either your RefID or your API key are incorrect", "401"),
        (400, 50001, "", "403"),
        (500, 50001, "", "403"),
        (200, 50000, "", "401"),
        (400, 0, "Authentication required", "401"),
        (400, None, "Permission denied (api-sl-2-3.order-cancellation.create)", "403"),
        (400, 777002, "?", "429"),
        (400, 0, "Rate limit exceeded", "429"),
        (401, 0, "", "401"),
        (302, 0, "", "4xx"),
    ],
)
def test_an_account_that_is_refused_with_400_counts_as_what_the_body_says(
    status: int, code: object, message: str, outcome: str
) -> None:
    """The alerts OrdersApiAuthFailing and OrdersApiThrottled read this outcome."""
    error = refused(status, code, message)
    assert isinstance(error, AccountFault)
    assert (error.status, error.outcome) == (status, outcome)
    assert (error.retry_after_seconds is None) == (outcome in ("401", "403"))


def test_words_of_a_refused_account_count_only_at_the_beginning_and_without_a_code_of_their_own() -> None:
    assert type(refused(400, 8014, "Permission denied")) is Rejected
    assert type(refused(400, 0, "Item says: permission denied")) is Rejected
    assert type(refused(500, 0, "Authentication required")) is OutcomeUnknown


def test_a_spent_budget_names_a_pause_and_a_wrong_key_names_none() -> None:
    assert refused(400, 777002, "").retry_after_seconds == 60.0
    assert refused(400, 0, "too many", rate_limit_pause_seconds=5.0).retry_after_seconds == 5.0
    assert refused(400, 50000, "").retry_after_seconds is None
    with_retry_after = World(lambda request: httpx.Response(429, headers={"Retry-After": "7"}))
    assert error_of(with_retry_after).retry_after_seconds == 7.0


def test_an_error_names_the_call_that_failed() -> None:
    with pytest.raises(AccountFault) as caught:
        answering(401, "").oms.ask_who_we_are()
    assert caught.value.operation == "ask"
    assert error_of(answering(401, "")).operation == "import_order"


def test_codes_and_patterns_are_configuration() -> None:
    assert type(refused(400, 5, "", duplicate_codes=(5,))) is Duplicate
    assert type(refused(400, 6, "", rate_limit_codes=(6,))) is AccountFault
    assert type(refused(400, 0, "A-1 bekannt", duplicate_message_regex="bekannt")) is Duplicate
    assert type(refused(400, 0, "duplicate A-1", duplicate_message_regex="bekannt")) is Rejected


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
def test_a_lost_call_is_retried_only_if_nothing_was_sent(error: Exception, kind: type[RemoteError], label: str) -> None:
    def fail(request: httpx.Request) -> httpx.Response:
        raise error

    caught = error_of(World(fail))
    assert type(caught) is kind
    assert caught.outcome == label


def test_an_answer_of_very_many_values_is_no_answer_and_takes_no_memory() -> None:
    """Parsing one took 130 MB, and no other thread ran meanwhile."""
    world = answering(200, b"[" + b"{}," * 1_300_000 + b"{}]")
    tracemalloc.start()
    try:
        error = error_of(world)
        assert tracemalloc.get_traced_memory()[1] < 30 * 1024 * 1024  # the answer itself has 4 MB
    finally:
        tracemalloc.stop()
    assert isinstance(error, OutcomeUnknown)
    assert error.outcome == "body_error"


@pytest.mark.parametrize(
    ("status", "body", "label"),
    [
        (201, b"", "body_error"),
        (200, b"<html>ok", "body_error"),
        (400, b"<html>already exists", "400"),
        (502, b"<html>", "5xx"),
    ],
)
def test_after_an_answer_without_json_the_order_may_be_stored(status: int, body: bytes, label: str) -> None:
    error = error_of(answering(status, body))
    assert type(error) is OutcomeUnknown
    assert error.outcome == label


def test_words_are_cut_and_no_text_holds_the_key() -> None:
    error = refused(400, 3, "w" * 900)
    assert len(error.words) == 500
    assert str(error) == "import_order: 400 3"
    bad = World(lambda request: httpx.Response(201), auth_encoding="raw", api_key=lambda: "schlüssel")
    error = error_of(bad)
    assert isinstance(error, AccountFault)
    assert "schl" not in f"{error}{error.words}"
    assert not bad.sent


# -- Answers -----------------------------------------------------------------------------------------------------


OURS = {"external_ref": "A-1"}


@pytest.mark.parametrize(
    "body",
    [
        [],
        {},
        False,
        "ok",
        {"success": False},
        {"errors": ["no"]},
        {"id": 1, "error": {"message": "held"}},
        {"id": 1, "errors": ["no"]},
        {"id": 1, "ref": "R", "success": False},
        {"id": 1, "status": "error", "message": "Invalid SKU"},
        {"id": None, "ref": "R"},
        {"id": 1, "external_ref": "A-2"},
        [{"id": None} | OURS],
        [{"id": 1, "external_ref": "A-2"}],
        [{"id": 1, "ref": "R"}],
        [None, 7],
    ],
)
def test_a_2xx_that_shows_no_order_of_ours_leaves_the_outcome_unknown(body: object) -> None:
    for status in (200, 201):
        error = error_of(answering(status, json.dumps(body)))
        assert type(error) is OutcomeUnknown
        assert error.outcome == "body_error"


def test_an_answer_about_another_order_is_not_quoted() -> None:
    error = error_of(answering(201, json.dumps([{"id": 1, "external_ref": "A-2", "customer_name": "Jane Doe"}])))
    assert error.words == "the answer shows no order with our external_ref"


@pytest.mark.parametrize(
    ("body", "made"),
    [
        ({"id": 12345, "ref": "abcdefgh"}, (OmsOrder(Part(12345, "abcdefgh")),)),
        (
            [
                OURS | {"id": 1, "ref": "R", "items": [{"external_ref": "b"}, {"external_ref": "a"}, None, {}]},
                OURS | {"id": "2", "has_error": True, "items": None, "status": "128"},
            ],
            (OmsOrder(Part(1, "R", ("a", "b"))), OmsOrder(Part(2, has_error=True), 128)),
        ),
        ([OURS | {"id": 1}, {"ref": "another"}], (OmsOrder(Part(1)),)),
        ([OURS | {"id": 1, "has_error": "true"}], (OmsOrder(Part(1, has_error=True)),)),
        ([OURS | {"id": 1, "has_error": 1}], (OmsOrder(Part(1, has_error=True)),)),
        ([OURS | {"id": 1, "has_error": "false"}], (OmsOrder(Part(1)),)),
        (
            [OURS | {"id": 1, "items": [{"external_ref": "a", "quantity": 2.0}]}],
            (OmsOrder(Part(1, "", ("a",), False, (("a", 2),))),),
        ),
        ([OURS | {"id": 1, "error": {"message": "held"}}], (OmsOrder(Part(1)),)),
        (
            OURS
            | {
                "id": 1,
                "status": 1,
                "items": [
                    {"external_ref": "a", "quantity": 1},
                    {"external_ref": "a", "quantity": "2"},
                    {"external_ref": "b", "quantity": "two"},
                    {"quantity": 9},
                ],
            },
            (OmsOrder(Part(1, lines=("a", "b"), quantities=(("a", 3),)), 1),),
        ),
    ],
)
def test_imported_is_what_shows_an_id_and_our_reference(body: object, made: tuple[OmsOrder, ...]) -> None:
    payload = b'{"external_ref":"A-1"}'
    for status in (200, 201):
        world = answering(status, json.dumps(body))
        assert world.oms.import_order(payload) == made
        assert world.calls == [("oms", "import_order", "2xx")]
        assert world.sent[0].method == "POST"
        assert world.sent[0].url.path == "/order"
        assert world.sent[0].content == payload
        assert world.sent[0].headers["Content-Type"] == "application/json"


def test_the_key_is_sent_in_base64_or_raw() -> None:
    encoded, raw = answering(201, '{"id":1}'), answering(201, '{"id":1}', auth_encoding="raw")
    encoded.oms.import_order(b"{}")
    raw.oms.import_order(b"{}")
    assert b64decode(encoded.sent[0].headers["Authorization"].removeprefix("Basic ")) == b"99999:canary-key"
    assert raw.sent[0].headers["Authorization"] == "Basic 99999:canary-key"


def test_the_payload_has_the_company_the_prefix_and_the_shipping_methods_of_the_shop() -> None:
    order = {
        "order_id": "A-1",
        "created_date": "2025-03-04T10:15:00Z",
        "shipping_type_code": "STD",
        "currency_iso_code": "EUR",
        "customer": {
            "shipping_address": {"lastname": "Silva", "street_1": "1", "city": "Lisboa", "country_iso_code": "PRT"}
        },
        "order_lines": [{"order_line_id": "L1", "offer_sku": "MUG", "price_unit": 9.5}],
    }
    world = answering(201, "{}", rules=OrderRules(99999, "PT-", shipping_methods={"STD": "Courier"}))
    payload = json.loads(world.oms.payload(json.dumps(order).encode(), ("Print: ANA",), {"L1": 1}))
    assert payload["company_ref_id"] == 99999
    assert payload["external_ref"] == "PT-A-1"
    assert payload["shipping_method"] == "Courier"
    assert payload["attributes"] == message_attributes(("Print: ANA",))
    assert not world.sent


def test_an_answer_in_another_tax_mode_than_asked_is_logged_once() -> None:
    order: dict[str, Any] = {
        "order_id": "1-A",
        "created_date": "2026-03-01T12:00:00Z",
        "order_tax_mode": "TAX_EXCLUDED",
        "currency_iso_code": "EUR",
    }
    address = {"lastname": "L", "street_1": "S", "city": "C", "country_iso_code": "PRT"}
    order |= {"customer": {"shipping_address": address}}
    order |= {"order_lines": [{"order_line_id": "L1", "offer_sku": "MUG", "quantity": 1, "price_unit": 9.5}]}
    for asked, told in (("TAX_INCLUDED", 1), ("TAX_EXCLUDED", 0)):
        world = answering(201, "{}", rules=OrderRules(99999, tax_mode=asked))
        with capture_logs() as logs:
            for _ in range(2):
                world.oms.payload(json.dumps(order).encode(), (), {"L1": 1})
        assert [(one["event"], one["answered"]) for one in logs] == [("tax_mode_differs", "TAX_EXCLUDED")] * told
