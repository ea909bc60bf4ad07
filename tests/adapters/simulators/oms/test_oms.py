"""The simulated OMS answers as docs/kornitx.md says, and its callbacks are those of KornitX."""

import asyncio
import base64
import hashlib
import hmac
import json
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest

from adapters.simulators.books import Books
from adapters.simulators.faults import AnswerLostError, Fault
from adapters.simulators.oms.api import oms_app
from adapters.simulators.oms.model import OmsCompany, OmsKnobs, Shipment
from adapters.simulators.oms.oms import OmsSimulator

Json = dict[str, Any]
RAW = "Basic 99999:key"


class Office:
    """The OMS, a client of it, and a receiver of callbacks. The receiver answers `callback_status`; 0: no answer."""

    def __init__(self, **knobs: Any) -> None:
        self.moment = datetime(2026, 3, 1, 9, 0, tzinfo=UTC)
        self.books = Books()
        self.received: list[tuple[str, dict[str, str], bytes]] = []
        self.callback_status = 200
        companies = [
            OmsCompany(99999, "key", "http://here/cb", "secret"),
            OmsCompany(11111, "other", None),
        ]
        self.oms = OmsSimulator(companies, self.books, lambda: self.moment, OmsKnobs(**knobs), self.receive)
        self.app = oms_app(self.oms)

    def receive(self, url: str, headers: dict[str, str], body: bytes) -> int:
        self.received.append((url, headers, body))
        if self.callback_status == 0:
            raise ConnectionError("no receiver")
        return self.callback_status

    def pass_seconds(self, seconds: float) -> None:
        self.moment += timedelta(seconds=seconds)
        self.oms.callbacks.deliver_due(self.moment)

    def post(
        self,
        body: Any = None,
        *,
        content: bytes | None = None,
        authorization: str = RAW,
        content_type: str = "application/json",
    ) -> httpx.Response:
        sent = {"Authorization": authorization, "Content-Type": content_type}
        raw = content if content is not None else json.dumps(order() if body is None else body).encode()

        async def one() -> httpx.Response:
            transport = httpx.ASGITransport(app=self.app)
            async with httpx.AsyncClient(transport=transport, base_url="http://oms.test") as client:
                return await client.post("/order", content=raw, headers=sent)

        return asyncio.run(one())

    def payloads(self) -> list[Json]:
        self.oms.callbacks.deliver_due(self.moment)
        return [json.loads(body) for _, _, body in self.received]

    def kinds(self) -> list[str]:
        return [effect.kind for effect in self.books.effects("oms")]


def order(external_ref: str = "1-A", skus: tuple[str, ...] = ("MUG",), **fields: Any) -> Json:
    return {
        "external_ref": external_ref,
        "company_ref_id": 99999,
        "sale_datetime": "2026-03-01 08:15:00",
        "customer_name": "Ana Canary",
        "shipping_address_1": "8 Canary Row",
        "shipping_address_4": "Canaryford",
        "shipping_postcode": "BS1 4QA",
        "shipping_country_code": "GB",
        "shipping_method": "STD",
        "items": [
            {"external_ref": f"{external_ref}-{i}", "sku": sku, "description": "x", "quantity": i, "type": 5}
            for i, sku in enumerate(skus, 1)
        ],
    } | fields


def code(answer: httpx.Response) -> int:
    assert answer.status_code == 400, answer.text
    return int(answer.json()["error"]["code"])


# -- POST /order: refusals --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "header",
    ["", "key", "Bearer key", "Basic", "Basic 99999:wrong", "Basic 12345:key", "Basic !!!", "Basic x:key"],
)
def test_bad_credentials_are_code_50000(header: str) -> None:
    office = Office()
    assert code(office.post(authorization=header)) == 50000
    assert office.kinds() == []


@pytest.mark.parametrize("header", [RAW, "Basic " + base64.b64encode(b"99999:key").decode()])
def test_plain_and_base64_credentials_are_accepted(header: str) -> None:
    assert Office().post(authorization=header).status_code == 201


def test_the_body_must_name_the_company_of_the_key() -> None:
    assert code(Office().post(order(company_ref_id=11111))) == 50000
    assert Office().post(order(company_ref_id="99999")).status_code == 201


@pytest.mark.parametrize("content", [b"{", b"[]", b"\xff\xfe", b"null"])
def test_a_body_that_is_not_a_json_object_is_code_100(content: bytes) -> None:
    assert code(Office().post(content=content)) == 100


def test_other_content_types_are_refused() -> None:
    assert code(Office().post(content_type="application/x-www-form-urlencoded")) == 0
    assert Office().post(content_type="application/json; charset=utf-8").status_code == 201


@pytest.mark.parametrize(
    "fields",
    [
        {"external_ref": ""},
        {"external_ref": 5},
        {"customer_name": None},
        {"shipping_address_4": ""},
        {"shipping_country_code": "GBR"},
        {"sale_datetime": "2026-03-01T08:15:00Z"},
        {"items": []},
        {"items": ["x"]},
        {"items": [{"external_ref": "1", "sku": "MUG", "description": "x", "quantity": 0, "type": 5}]},
        {"items": [{"external_ref": "1", "sku": "MUG", "description": "x", "quantity": 1, "type": 6}]},
        {"items": [{"external_ref": "1", "sku": "", "description": "x", "quantity": 1, "type": 5}]},
    ],
)
def test_missing_and_invalid_fields_are_code_0(fields: Json) -> None:
    office = Office()
    assert code(office.post(order() | fields)) == 0
    assert office.kinds() == []


def test_a_past_dispatch_date_is_code_8014_unless_suppressed_or_zero() -> None:
    late = order(required_dispatch_date="2026-02-28")
    assert code(Office().post(late)) == 8014
    assert Office(suppressed_error_codes=frozenset({8014})).post(late).status_code == 201
    assert Office().post(order(required_dispatch_date="0000-00-00")).status_code == 201


def test_a_duplicate_in_one_company_is_refused_without_an_effect() -> None:
    office = Office()
    assert office.post().status_code == 201
    assert code(office.post()) == 990001
    assert office.kinds() == ["imported", "part_created"]
    other = office.post(order(company_ref_id=11111), authorization="Basic 11111:other")
    assert other.status_code == 201
    assert office.oms.requests["order"] == 3
    renamed = Office(duplicate_code=4711)
    renamed.post()
    assert code(renamed.post()) == 4711


def test_a_company_above_its_hourly_or_daily_limit_gets_400() -> None:
    office = Office(requests_per_hour=2, requests_per_day=3)
    answers = [office.post(order(f"{number}-A")) for number in range(3)]
    assert [answer.status_code for answer in answers] == [201, 201, 400]
    assert code(answers[2]) == 990002
    office.pass_seconds(3600)
    assert office.post(order("3-A")).status_code == 201
    assert code(office.post(order("4-A"))) == 990002  # the limit of the day is reached
    office.pass_seconds(86400)
    assert office.post(order("4-A")).status_code == 201


# -- POST /order: success ---------------------------------------------------------------------------------


def test_the_answer_is_an_array_and_the_received_bytes_are_kept() -> None:
    office = Office()
    raw = json.dumps(order(), indent=1).encode()
    (stored,) = office.post(content=raw).json()
    assert stored["external_ref"] == "1-A"
    assert stored["status"] == 1
    assert stored["has_error"] is False
    assert len(stored["ref"]) == 16
    assert len(stored["items"][0]["ref"]) == 11
    assert office.oms.order("1-A").received == raw
    assert office.oms.holds("1-A", 99999)
    assert not office.oms.holds("1-A", 11111)
    with pytest.raises(KeyError):
        office.oms.order("9-A")


def test_the_lines_of_each_fulfiller_become_an_order() -> None:
    office = Office(routes={"FRAME-": "framer", "POSTER-": "printer"})
    skus = ("MUG", "FRAME-A4", "TEE", "FRAME-A3", "POSTER-A1")
    parts = office.post(order(skus=skus)).json()
    assert [len(part["items"]) for part in parts] == [2, 2, 1]
    assert len({part["id"] for part in parts}) == len({part["ref"] for part in parts}) == 3
    assert {part["external_ref"] for part in parts} == {"1-A"}
    assert office.kinds() == ["imported", "part_created", "part_created", "part_created"]


def test_the_books_show_the_item_types_that_were_sent() -> None:
    office = Office()
    body = order(skus=("MUG", "TEE"))
    body["items"][1]["type"] = "1"
    assert office.post(body).status_code == 201
    assert office.books.effects()[0].detail["types"] == "5,1"


def test_an_order_with_an_unmapped_sku_is_stored_with_has_error() -> None:
    office = Office(skus_with_error=frozenset({"ODD"}), success_status=200)
    answer = office.post(order(skus=("ODD",)))
    assert answer.status_code == 200
    assert answer.json()[0]["has_error"] is True
    assert office.books.effects()[0].detail["has_error"] == "true"


# -- Faults -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("kind", "stored"), [("timeout_before", False), ("timeout_after", True)])
def test_a_lost_answer_before_and_after_the_order_is_stored(kind: str, stored: bool) -> None:
    office = Office(faults=[Fault("order", kind, hold_seconds=0.0)])
    with pytest.raises(AnswerLostError):
        office.post()
    assert office.oms.holds("1-A", 99999) is stored
    assert office.post().status_code == (400 if stored else 201)


@pytest.mark.parametrize(("kind", "stored"), [("500", False), ("500_after", True)])
def test_a_500_may_have_stored_the_order(kind: str, stored: bool) -> None:
    office = Office(faults=[Fault("order", kind, order_id="1-A")])
    assert office.post(order("2-A")).status_code == 201
    assert office.post().status_code == 500
    assert office.oms.holds("1-A", 99999) is stored


def test_the_notification_may_arrive_before_the_answer() -> None:
    slow = Fault("order", "slow", hold_seconds=30.0)
    office = Office(faults=[slow])

    async def run() -> None:
        transport = httpx.ASGITransport(app=office.app)
        async with httpx.AsyncClient(transport=transport, base_url="http://oms.test") as client:
            posting = asyncio.create_task(client.post("/order", json=order(), headers={"Authorization": RAW}))
            while not office.oms.holds("1-A", 99999):
                await asyncio.sleep(0)
            office.oms.dispatch("1-A", tracking="T1")
            office.oms.callbacks.deliver_due(office.moment)
            assert office.oms.callbacks.delivered("1-A", 99999) == 1
            assert not posting.done()
            slow.release()
            assert (await posting).status_code == 201

    asyncio.run(run())


# -- Notifications ----------------------------------------------------------------------------------------


def imported(**knobs: Any) -> Office:
    office = Office(**knobs)
    assert office.post(order(skus=("MUG", "TEE"))).status_code == 201
    return office


def test_a_dispatch_is_sent_with_the_documented_payload_and_signature() -> None:
    office = imported()
    office.oms.dispatch("1-A", 99999, tracking="T1", carrier="Hermes")
    (payload,) = office.payloads()
    ((url, headers, body),) = office.received
    part = office.oms.order("1-A").parts[0]
    assert payload == {
        "id": part.oms_id,
        "ref": part.ref,
        "external_ref": "1-A",
        "shipping_tracking": "T1",
        "status": 8,
        "status_name": "Dispatched",
        "shipping_method": "STD",
        "shipping_carrier": "Hermes",
        "shipping_price": 0,
        "new_shipments": [
            {
                "dispatch_datetime": "2026-03-01 09:00:00",
                "tracking": "T1",
                "items": [
                    {"quantity": 1, "ref": part.items[0]["ref"], "external_ref": "1-A-1"},
                    {"quantity": 2, "ref": part.items[1]["ref"], "external_ref": "1-A-2"},
                ],
            }
        ],
        "new_cancellations": [],
        "required_dispatch_date": "0000-00-00",
    }
    assert url == "http://here/cb"
    assert b"\n" not in body
    expected = hmac.new(b"secret", body, hashlib.sha256).hexdigest()
    assert headers["X-CustomGateway-Hmac"] == expected


def test_an_orders_own_callback_url_is_used_first_and_without_any_nothing_is_sent() -> None:
    office = Office()
    office.post(order(status_callback_url="http://elsewhere/cb"))
    office.oms.progress("1-A", 4)
    office.oms.callbacks.deliver_due(office.moment)
    assert office.received[0][0] == "http://elsewhere/cb"
    office.post(order(company_ref_id=11111), authorization="Basic 11111:other")
    office.oms.progress("1-A", 4, 11111)
    assert office.oms.callbacks.pending() == 0


def test_a_dispatch_without_number_and_carrier_has_empty_strings() -> None:
    office = imported()
    office.oms.dispatch("1-A")
    (payload,) = office.payloads()
    assert payload["shipping_tracking"] == ""
    assert payload["shipping_carrier"] == ""
    assert payload["new_shipments"][0]["tracking"] == ""


def test_a_status_only_dispatch_has_no_shipments() -> None:
    office = imported()
    office.oms.dispatch("1-A", tracking="T1", shipments=[])
    (payload,) = office.payloads()
    assert payload["status"] == 8
    assert payload["shipping_tracking"] == "T1"
    assert payload["new_shipments"] == []


def test_a_dispatch_sends_what_is_left_and_a_parcel_can_be_repeated() -> None:
    office = imported()
    first = office.oms.shipment("1-A", "T1", lines=(("1-A-1", 1),))
    office.oms.dispatch("1-A", status=515, shipments=[first])
    (second,) = office.oms.dispatch("1-A", tracking="T2")
    assert second.lines == (("1-A-2", 2),)
    assert first.dispatched_at is not None
    assert second.dispatched_at == first.dispatched_at + timedelta(seconds=1)
    assert office.oms.dispatch("1-A", status=64, tracking="T2") == []
    office.oms.dispatch("1-A", status=516, shipments=[second])
    payloads = office.payloads()
    assert [payload["status"] for payload in payloads] == [515, 8, 64, 516]
    assert payloads[3]["new_shipments"] == payloads[1]["new_shipments"]
    assert office.kinds()[2:] == ["dispatched"] * 4


def test_a_parcel_may_have_a_zero_date_and_a_url() -> None:
    office = imported()
    office.oms.dispatch("1-A", shipments=[Shipment("T1", (("1-A-1", 1),), None, "https://track.example/T1")])
    (parcel,) = office.payloads()[0]["new_shipments"]
    assert parcel["dispatch_datetime"] == "0000-00-00 00:00:00"
    assert parcel["tracking_url"] == "https://track.example/T1"


def test_each_part_is_dispatched_separately_in_any_order() -> None:
    office = imported(routes={"TEE": "knitter"})
    office.oms.dispatch("1-A", tracking="T2", part=1)
    office.oms.dispatch("1-A", tracking="T1", part=0)
    payloads = office.payloads()
    ids = [part.oms_id for part in office.oms.order("1-A").parts]
    assert [payload["id"] for payload in payloads] == [ids[1], ids[0]]
    lines = [payload["new_shipments"][0]["items"][0]["external_ref"] for payload in payloads]
    assert lines == ["1-A-2", "1-A-1"]


def test_one_line_or_all_that_is_left_is_canceled() -> None:
    office = imported()
    office.oms.cancel_line("1-A", "1-A-1")
    office.oms.cancel("1-A")
    one, rest = office.payloads()
    assert one["status"] == 1
    assert one["new_cancellations"] == [{"items": [{"external_ref": "1-A-1", "quantity": 1}]}]
    assert rest["status"] == 128
    assert rest["new_cancellations"] == [{"items": [{"external_ref": "1-A-2", "quantity": 2}]}]
    assert office.kinds()[2:] == ["oms_line_canceled", "oms_canceled"]


@pytest.mark.parametrize("status", [0, 404, 500])
def test_a_failed_delivery_is_retried_five_times_and_then_lost(status: int) -> None:
    office = imported()
    office.callback_status = status
    office.oms.dispatch("1-A", tracking="T1")
    office.pass_seconds(0)
    office.pass_seconds(7199)
    assert len(office.received) == 1
    for _ in range(10):
        office.pass_seconds(7200)
    assert len(office.received) == 6
    assert len({body for _, _, body in office.received}) == 1
    assert office.oms.callbacks.pending() == 0
    assert office.oms.callbacks.notifications[0].lost is True


def test_after_a_callback_was_answered_it_is_not_sent_again() -> None:
    office = imported(retry_interval_seconds=10.0)
    office.callback_status = 503
    office.oms.dispatch("1-A", tracking="T1")
    office.pass_seconds(0)
    office.callback_status = 200
    for _ in range(3):
        office.pass_seconds(10)
    assert len(office.received) == 2
    assert office.oms.callbacks.delivered("1-A", 99999) == 1


def test_a_notification_can_be_repeated_and_delayed() -> None:
    office = imported()
    office.oms.dispatch("1-A", status=515, tracking="T1", shipments=[], delay_seconds=5)
    office.oms.dispatch("1-A", tracking="T2", times=2, repeat_after_seconds=10)
    office.pass_seconds(0)
    office.pass_seconds(5)
    office.pass_seconds(5)
    statuses = [payload["status"] for payload in office.payloads()]
    assert statuses == [8, 515, 8]
    assert office.received[0][2] == office.received[2][2]
    assert office.kinds().count("dispatched") == 2


def test_due_notifications_are_sent_in_the_order_of_their_due_times() -> None:
    office = imported()
    office.oms.dispatch("1-A", status=515, tracking="T1", shipments=[], delay_seconds=5)
    office.oms.dispatch("1-A", tracking="T2")
    office.pass_seconds(60)
    assert [payload["status"] for payload in office.payloads()] == [8, 515]


def test_the_summary_lists_the_parts() -> None:
    office = imported()
    office.oms.progress("1-A", 512)
    (listed,) = office.oms.summary()
    assert listed["external_ref"] == "1-A"
    assert listed["parts"][0]["status"] == 512
    assert office.payloads()[0]["status_name"] == "Sent to Supplier"


def test_an_order_that_was_canceled_is_made_again_under_a_new_id() -> None:
    office = Office()
    (part,) = office.post().json()
    office.oms.cancel(part["external_ref"])
    office.oms.remake(part["external_ref"])
    canceled, made = office.payloads()
    assert (canceled["id"], canceled["status"]) == (part["id"], 128)
    assert made["id"] != part["id"]
    assert made["status"] == 1


def test_pieces_can_be_added_to_a_line_that_was_imported_and_to_one_that_was_not() -> None:
    office = imported()
    office.oms.dispatch("1-A", tracking="T1")
    office.oms.add_pieces("1-A", "1-A-2", 3)
    office.oms.add_pieces("1-A", "1-A-3", 1)
    (second,) = office.oms.dispatch("1-A", tracking="T2")
    assert second.lines == (("1-A-2", 3), ("1-A-3", 1))
    shown = office.payloads()[1]["new_shipments"][0]["items"]
    assert [(one["external_ref"], one["quantity"]) for one in shown] == [("1-A-2", 3), ("1-A-3", 1)]
    added = [one.detail for one in office.books.effects("oms") if one.kind == "pieces_added"]
    assert [(one["line"], one["pieces"]) for one in added] == [("1-A-2", "3"), ("1-A-3", "1")]


def test_an_answer_may_show_no_order_although_it_was_stored() -> None:
    office = Office()
    office.oms.knobs.faults.append(Fault("order", "answer_after", content="[]"))
    assert office.post().json() == []
    assert office.oms.summary() != []


def test_a_report_may_be_changed_before_it_is_sent() -> None:
    office = Office()
    (part,) = office.post().json()
    office.oms.dispatch(part["external_ref"], edit=lambda payload: payload.update(status="8"))
    assert office.payloads()[-1]["status"] == "8"
