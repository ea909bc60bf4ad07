"""The ports: which callbacks are refused, which are taken, and the metrics and probes."""

import hashlib
import hmac
import json
import sqlite3
from base64 import b64encode, urlsafe_b64encode
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import httpx
import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as openmetrics_families
from prometheus_client.parser import text_string_to_metric_families as text_families
from structlog.testing import capture_logs

from adapters.errors import ConfigError, TooLarge
from adapters.messages.cloudevents import from_record
from adapters.messages.text import digest_of, iso
from adapters.store import dead_letters as dead_letter_rows
from consumer.config import shop_ids
from consumer.metrics.stored import StoredGauges
from consumer.web.app import application, callback_routes, watch_routes
from consumer.web.callbacks import MAX_CALLBACK_BYTES, CallbackEndpoint, Intake
from statemachine.questions.receipts import dispatches_once, repeats, unread_once
from statemachine.questions.trackings import best_tracking
from tests.consumer.rig import OMS_EVENTS, InProcess, Rig
from tests.support import LONG

SECRET = "canary-secret-of-alpha"
OLD_SECRET = "canary-secret-of-before"
PAYLOAD = {"id": 46140204, "external_ref": "1-A", "status": 8, "shipping_tracking": "T1", "customer": "Canary"}
BEARER = {"Authorization": f"Bearer {SECRET}"}
BODY = json.dumps(PAYLOAD, indent=1).encode()


class Web:
    """The application over the rig's log and store. Tests set `wrong` and `secrets`."""

    def __init__(self, rig: Rig) -> None:
        self.rig = rig
        self.wrong = ""
        self.secrets: Callable[[], tuple[str, ...]] = lambda: (SECRET,)

        def secrets() -> tuple[str, ...]:
            return self.secrets()

        intake = Intake(
            {
                "alpha": CallbackEndpoint(
                    "alpha",
                    99001,
                    secrets,
                    writer=rig.log,
                    topic=OMS_EVENTS,
                    shops=shop_ids(rig.settings),
                    keep=rig.orders.keep,
                    hooks=rig.metrics,
                    clock=rig.clock,
                )
            },
            rig.metrics,
        )
        watch = watch_routes(
            registry=rig.metrics.registry, what_is_stuck=lambda: self.wrong, what_is_not_ready=lambda: self.wrong
        )
        app = application([*watch, *callback_routes(intake)])
        self.client = httpx.Client(transport=InProcess(app), base_url="http://orderflow")

    def put(self, headers: Mapping[str, str], body: bytes = BODY, shop: str = "alpha") -> httpx.Response:
        return self.client.put(f"/oms/callbacks/{shop}", content=body, headers=dict(headers))

    def count(self, result: str, shop: str = "alpha") -> float:
        labels = {"shop": shop, "result": result}
        return self.rig.metrics.registry.get_sample_value("orderflow_callbacks_total", labels) or 0.0

    def events(self) -> list[Any]:
        return self.rig.records(OMS_EVENTS)


@pytest.fixture
def web(tmp_path: Path) -> Iterator[Web]:
    with capture_logs() as lines:
        yield Web(Rig(tmp_path, busy_seconds=0.05))
    assert "canary" not in json.dumps(lines, default=str).lower()


def digest(body: bytes = BODY, secret: str = SECRET) -> bytes:
    return hmac.new(secret.encode(), body, hashlib.sha256).digest()


# -- Callbacks ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["/live/", "/oms/callbacks/alpha/"])
def test_a_slash_too_much_is_not_redirected_to_where_the_client_says(web: Web, path: str) -> None:
    """A client that follows would send its secret along, to the host that it named, without TLS."""
    answer = web.client.put(path, content=BODY, headers={"Host": "other.example", "Authorization": f"Bearer {SECRET}"})
    assert answer.status_code == 404
    assert "location" not in answer.headers


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"X-CustomGateway-Hmac": ""},
        {"X-CustomGateway-Hmac": digest(secret="another").hex()},
        {"X-CustomGateway-Hmac": digest(b"another body").hex()},
        {"X-CustomGateway-Hmac": SECRET},
        {"X-CustomGateway-Hmac": digest().hex()[:-1]},
        {"X-CustomGateway-Hmac": digest(secret="another").hex(), "Authorization": f"Bearer {SECRET}"},
        {"Authorization": "Bearer another"},
        {"Authorization": "Bearer "},
        {"Authorization": SECRET},
        {"Authorization": f"Basic {SECRET}"},
        {"Authorization": f"Bearer {SECRET} {SECRET}"},
        {"X-CustomGateway-Hmac": f"sha1={digest().hex()}"},
        {"X-CustomGateway-Hmac": f"sha256=sha256={digest().hex()}"},
    ],
)
def test_without_the_secret_nothing_is_taken(web: Web, headers: dict[str, str]) -> None:
    answer = web.put(headers)
    assert answer.status_code == 401
    assert web.events() == []
    assert web.count("not_authentic") == 1
    assert SECRET not in answer.text


@pytest.mark.parametrize("shop", ["gamma", "beta", "%00", "alpha.."])
def test_an_unknown_shop_is_answered_as_a_wrong_secret_is(web: Web, shop: str) -> None:
    """Another answer would tell a stranger which shops there are."""
    for proof in (BEARER, {"X-CustomGateway-Hmac": digest().hex()}, {}):
        answer, known = web.put(proof, shop=shop), web.put({"Authorization": "Bearer another"})
        assert (answer.status_code, answer.content, answer.headers) == (401, known.content, known.headers)
    assert web.events() == []
    assert "gamma" not in web.client.get("/metrics").text, "no label repeats what a sender wrote"


def test_a_callback_of_an_unknown_shop_is_counted_for_the_shop_other(web: Web) -> None:
    web.put(BEARER, shop="gamma")
    assert web.count("unknown_shop", "other") == 1


def test_a_body_that_is_too_large_is_413(web: Web) -> None:
    body = b"x" * (MAX_CALLBACK_BYTES + 1)
    answer = web.put({"X-CustomGateway-Hmac": digest(body).hex()}, body)
    assert answer.status_code == 413
    assert web.events() == []
    assert web.count("too_large") == 1
    assert web.put({"X-CustomGateway-Hmac": digest().hex()}, b"x" * MAX_CALLBACK_BYTES).status_code == 401


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"", "missing_field: data"),
        (b"{", "not_json"),
        (b"[]", "not_json: not an object"),
        (b'{"id":1,"status":8}', "missing_field: external_ref"),
        (b'{"id":"Canary","status":8,"external_ref":"1-A"}', "bad_field: id"),
        (b'{"id":1,"status":8,"external_ref":"\\u0000"}', "bad_id: external_ref"),
        (b'{"id":1,"status":NaN,"external_ref":"1-A"}', "not_json"),
    ],
)
def test_an_unreadable_callback_is_400_and_names_the_field(web: Web, body: bytes, reason: str) -> None:
    answer = web.put({"X-CustomGateway-Hmac": digest(body).hex()}, body)
    assert answer.status_code == 400
    assert answer.json() == {"error": reason}
    assert web.events() == []
    assert web.count("unreadable") == 1
    web.put({"X-CustomGateway-Hmac": digest(body).hex()}, body)
    (letter,) = dead_letter_rows.newest(web.rig.store)
    assert letter.value == body
    assert letter.source == "callback:alpha"
    assert letter.times == 2


def test_an_unreadable_callback_that_cannot_be_stored_is_503(web: Web) -> None:
    web.rig.store.close()
    other = sqlite3.connect(web.rig.path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    body = b"no json"
    assert web.put({"X-CustomGateway-Hmac": digest(body).hex()}, body).status_code == 503
    other.execute("ROLLBACK")
    other.close()


def test_it_is_200_only_once_the_event_is_durable(web: Web) -> None:
    other = sqlite3.connect(web.rig.path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    answer = web.put(BEARER)
    assert answer.status_code == 503
    assert web.count("log_unavailable") == 1
    other.execute("ROLLBACK")
    other.close()
    assert web.events() == []
    assert web.put(BEARER).status_code == 200
    assert len(web.events()) == 1


def test_without_a_readable_secret_it_is_503_so_that_the_oms_sends_it_again(web: Web) -> None:
    def emptied() -> tuple[str, ...]:
        raise ConfigError("shops.alpha.oms.callback_secret_file: alpha.key is empty")

    web.secrets = emptied
    answer = web.put({"X-CustomGateway-Hmac": digest(secret="").hex()})
    assert answer.status_code == 503
    assert web.events() == []
    assert web.count("no_secret") == 1
    assert "alpha.key" not in answer.text


@pytest.mark.parametrize(
    "headers",
    [
        {"X-CustomGateway-Hmac": digest().hex()},
        {"X-CustomGateway-Hmac": digest().hex().upper()},
        {"X-CustomGateway-Hmac": b64encode(digest()).decode()},
        {"X-CustomGateway-Hmac": b64encode(digest()).decode().rstrip("=")},
        {"X-CustomGateway-Hmac": urlsafe_b64encode(digest()).decode()},
        {"X-CustomGateway-Hmac": f"sha256={digest().hex()}"},
        {"X-CustomGateway-Hmac": f"SHA256={b64encode(digest()).decode()}"},
        {"X-CustomGateway-Hmac": digest(secret=OLD_SECRET).hex()},
        {"Authorization": f"Bearer {SECRET}"},
        {"Authorization": f"bearer  {SECRET} "},
        {"Authorization": f"BEARER {OLD_SECRET}"},
    ],
)
def test_a_callback_with_any_proof_of_the_secret_is_in_the_log_as_an_event(web: Web, headers: dict[str, str]) -> None:
    web.secrets = lambda: (OLD_SECRET, SECRET)  # while one is replaced
    answer = web.put(headers)
    (record,) = web.events()
    event = from_record(record.value, ())
    assert event is not None
    assert answer.status_code == 200
    assert answer.json() == {"id": event.id}
    assert event.data == BODY
    assert event.id == f"{digest_of(BODY)}:{iso(event.time)}"
    assert event.subject == "1-A"
    assert event.source == "/kornitx/company/99001"
    assert event.extensions["companyrefid"] == "99001"
    assert record.record_key == b"99001:1-A"
    assert web.count("taken") == 1
    web.rig.consume()
    assert web.rig.row().facts.dispatches[0].tracking.number == "T1"


def test_the_same_content_again_is_a_repeat(web: Web) -> None:
    """KornitX repeats a callback for ten hours (docs/kornitx.md 8.2)."""
    first = web.rig.clock.now()
    web.put(BEARER)
    web.rig.clock.advance(7200)
    assert web.put({"X-CustomGateway-Hmac": digest().hex()}).status_code == 200
    web.rig.consume()
    facts = web.rig.row().facts
    assert repeats(facts) == {web.rig.clock.now()}
    assert [one.told_at for one in dispatches_once(facts)] == [first]


@pytest.mark.parametrize(
    "body",
    [
        b'\xef\xbb\xbf{"id": 1, "external_ref": "1-A", "status": 8, "shipping_tracking": "T1"}',
        b'{"id": "1", "external_ref": "1-A", "status": "8", "shipping_tracking": "T1"}',
        b'{"id": 1, "external_ref": "1-A", "status": 512, "new_shipments": [{"tracking": "T1",'
        b' "items": [{"external_ref": "1-A-1", "quantity": "2"}]}]}',
    ],
    ids=["a byte order mark", "digits as texts", "pieces as a text"],
)
def test_a_callback_that_is_written_loosely_is_applied(web: Web, body: bytes) -> None:
    assert web.put({"X-CustomGateway-Hmac": digest(body).hex()}, body).status_code == 200
    web.rig.consume()
    (dispatch,) = web.rig.row().facts.dispatches
    assert dispatch.tracking.number == "T1"
    assert not web.rig.row().facts.unread


def tracking_of(number: str) -> bytes:
    return json.dumps({"id": 1, "status": 8, "external_ref": "1-A", "shipping_tracking": number}).encode()


def test_content_that_comes_again_after_another_is_another_event(web: Web) -> None:
    """Tracking A, then B, then A again, without dates: the last one wins, and a repeat of the last changes nothing."""
    bodies = [tracking_of(number) for number in ("A", "B", "A", "A")]
    for body in bodies:
        web.rig.clock.advance(60)
        web.put({"X-CustomGateway-Hmac": digest(body).hex()}, body)
    web.rig.consume()
    facts = web.rig.row().facts
    assert best_tracking(facts).number == "A"
    assert len(dispatches_once(facts)) == 3


@pytest.mark.parametrize("body", [b'{"external_ref":"1-A","status":8}', b'{"external_ref":"1-A","id":1,"status":"x"}'])
def test_a_callback_that_cannot_be_read_is_told_on_the_order_that_it_names(web: Web, body: bytes) -> None:
    for _ in range(2):
        assert web.put({"X-CustomGateway-Hmac": digest(body).hex()}, body).status_code == 400
    (told,) = web.rig.row().facts.unread
    assert told.reason in ("missing_field", "bad_field")
    assert told.at == web.rig.clock.now()
    web.rig.clock.advance(3 * 24 * 3600)
    web.put({"X-CustomGateway-Hmac": digest(body).hex()}, body)
    assert len(unread_once(web.rig.row().facts)) == 2


def test_other_methods_are_405(web: Web) -> None:
    assert web.client.post("/oms/callbacks/alpha", content=BODY).status_code == 405
    assert web.client.get("/oms/callbacks/alpha").status_code == 405


# -- Metrics and probes ------------------------------------------------------------------------------------------


def test_metrics_in_text_and_openmetrics(web: Web) -> None:
    web.rig.metrics.registry.register(StoredGauges(web.rig.store, web.rig.clock, ["alpha"], wait_seconds=LONG))
    plain = web.client.get("/metrics", headers={"Accept": "*/*"})
    assert plain.headers["content-type"].startswith("text/plain")
    asked = "application/openmetrics-text; version=1.0.0; charset=utf-8"
    opened = web.client.get("/metrics", headers={"Accept": asked})
    assert opened.headers["content-type"].startswith("application/openmetrics-text; version=1.0.0")
    assert opened.text.endswith("# EOF\n")
    names = {family.name for family in openmetrics_families(opened.text)}  # type: ignore[no-untyped-call]
    assert names
    assert {family.name for family in text_families(plain.text)} >= names - {"orderflow_build"}


@pytest.mark.parametrize("path", ["/live", "/ready"])
def test_probes_say_what_is_wrong(web: Web, path: str) -> None:
    fine = web.client.get(path)
    assert fine.status_code == 200
    assert fine.json() == {"ok": True, "wrong": ""}
    web.wrong = "the store does not answer"
    wrong = web.client.get(path)
    assert wrong.status_code == 503
    assert wrong.json() == {"ok": False, "wrong": "the store does not answer"}


def test_a_callback_that_is_too_large_for_the_log_is_dead_lettered(web: Web, monkeypatch: pytest.MonkeyPatch) -> None:
    """Kafka refuses a record above max.message.bytes, however often it is sent. The embedded log has no limit."""

    def refuse(_records: object) -> None:
        raise TooLarge(0)

    monkeypatch.setattr(web.rig.log, "publish", refuse)
    answer = web.put(BEARER)
    assert answer.status_code == 400
    assert answer.json()["error"] == "too_large: a record is larger than the log takes"
    (letter,) = dead_letter_rows.newest(web.rig.store)
    assert letter.source == "callback:alpha"
    assert letter.reason == "too_large"
    assert letter.value == BODY
