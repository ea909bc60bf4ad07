"""The one port: who is refused first, then what is taken, then what whoever runs it reads."""

import hashlib
import hmac
import json
import sqlite3
from base64 import b64encode
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
from adapters.messages.text import content_of
from adapters.store import views
from adapters.store.transaction import DeadLetter
from consumer.web.app import MAX_CALLBACK_BYTES, CallbackEndpoint, application
from tests.consumer.rig import OMS_EVENTS, InProcess, Rig

SECRET = "canary-secret"
PAYLOAD = {"id": 46140204, "external_ref": "1-A", "status": 8, "shipping_tracking": "T1", "customer": "Canary"}
BEARER = {"Authorization": f"Bearer {SECRET}"}
BODY = json.dumps(PAYLOAD, indent=1).encode()


class Web:
    """The application, its log, and whatever a probe is to answer."""

    def __init__(self, rig: Rig) -> None:
        self.rig = rig
        self.wrong = ""
        self.secret: Callable[[], str] = lambda: SECRET

        def secret() -> str:
            return self.secret()

        app = application(
            callback_endpoints={"alpha": CallbackEndpoint(99001, secret), "beta": CallbackEndpoint(99002, None)},
            writer=rig.log,
            topic=OMS_EVENTS,
            set_aside=self.set_aside,
            metrics=rig.metrics,
            clock=rig.clock,
            is_live=lambda: self.wrong,
            is_ready=lambda: self.wrong,
        )
        self.client = httpx.Client(transport=InProcess(app), base_url="http://orderflow")

    def set_aside(self, letter: DeadLetter) -> None:
        with self.rig.store.transaction() as tx:
            tx.set_aside([letter], self.rig.clock.now())

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
        {"Authorization": f"bearer {SECRET} "},
    ],
)
def test_without_the_secret_nothing_is_taken(web: Web, headers: dict[str, str]) -> None:
    answer = web.put(headers)
    assert (answer.status_code, web.events(), web.count("not_authentic")) == (401, [], 1)
    assert SECRET not in answer.text


@pytest.mark.parametrize("shop", ["gamma", "beta", "%00", "alpha%2F.."])
def test_an_unknown_shop_or_one_without_a_secret_is_404(web: Web, shop: str) -> None:
    answer = web.put(BEARER, shop=shop)
    assert (answer.status_code, web.events()) == (404, [])
    assert "gamma" not in web.client.get("/metrics").text, "a label is never what somebody sent"


def test_too_large_is_413_before_it_is_looked_at(web: Web) -> None:
    answer = web.put({}, b"x" * (MAX_CALLBACK_BYTES + 1))
    assert (answer.status_code, web.events(), web.count("too_large")) == (413, [], 1)
    assert web.put({}, b"x" * MAX_CALLBACK_BYTES).status_code == 401


@pytest.mark.parametrize(
    ("body", "why"),
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
def test_what_cannot_be_read_is_400_and_says_which_field(web: Web, body: bytes, why: str) -> None:
    answer = web.put({"X-CustomGateway-Hmac": digest(body).hex()}, body)
    assert (answer.status_code, answer.json(), web.events()) == (400, {"error": why}, [])
    assert web.count("unreadable") == 1
    web.put({"X-CustomGateway-Hmac": digest(body).hex()}, body)
    letters = views.dead_letters(web.rig.store)
    assert [(letter.value, letter.source, letter.times) for letter in letters] == [(body, "callback:alpha", 2)]


def test_a_callback_that_can_neither_be_read_nor_kept_is_asked_for_again(web: Web) -> None:
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
    assert (answer.status_code, web.count("log_unavailable")) == (503, 1)
    other.execute("ROLLBACK")
    other.close()
    assert web.events() == []
    assert web.put(BEARER).status_code == 200
    assert len(web.events()) == 1


def test_a_secret_that_cannot_be_read_is_ours_to_mend_so_the_oms_sends_it_again(web: Web) -> None:
    def emptied() -> str:
        raise ConfigError("shops.alpha.oms.callback_secret_file: alpha.key is empty")

    web.secret = emptied
    answer = web.put({"X-CustomGateway-Hmac": digest(secret="").hex()})
    assert (answer.status_code, web.events(), web.count("no_secret")) == (503, [], 1)
    assert "alpha.key" not in answer.text


@pytest.mark.parametrize(
    "headers",
    [
        {"X-CustomGateway-Hmac": digest().hex()},
        {"X-CustomGateway-Hmac": digest().hex().upper()},
        {"X-CustomGateway-Hmac": b64encode(digest()).decode()},
        {"Authorization": f"Bearer {SECRET}"},
    ],
)
def test_a_callback_with_any_proof_of_the_secret_is_in_the_log_as_an_event(web: Web, headers: dict[str, str]) -> None:
    answer = web.put(headers)
    (record,) = web.events()
    event = from_record(record.value, ())
    assert event is not None
    assert (answer.status_code, answer.json()) == (200, {"id": event.id})
    assert (event.data, event.id, event.subject) == (BODY, content_of(BODY), "1-A")
    assert (event.source, event.extensions["companyrefid"]) == ("/kornitx/company/99001", "99001")
    assert (record.record_key, web.count("taken")) == (b"99001:1-A", 1)
    web.rig.consume()
    assert web.rig.row().facts.dispatches[0].tracking.number == "T1"


def test_the_same_content_is_the_same_event(web: Web) -> None:
    """KornitX repeats a callback for ten hours (docs/kornitx.md 8.2)."""
    one = web.put(BEARER).json()
    web.rig.clock.advance(7200)
    assert web.put({"X-CustomGateway-Hmac": digest().hex()}).json() == one
    web.rig.consume()
    assert [(entry.trigger, entry.repeats) for entry in web.rig.journal()] == [("oms_event", 1)]


def test_other_methods_are_405(web: Web) -> None:
    assert web.client.post("/oms/callbacks/alpha", content=BODY).status_code == 405
    assert web.client.get("/oms/callbacks/alpha").status_code == 405


# -- Metrics and probes ------------------------------------------------------------------------------------------


def test_metrics_in_text_and_openmetrics(web: Web) -> None:
    web.rig.metrics.watch(web.rig.store, web.rig.worker.accounts)
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
    assert (fine.status_code, fine.json()) == (200, {"ok": True, "wrong": ""})
    web.wrong = "the store does not answer"
    wrong = web.client.get(path)
    assert (wrong.status_code, wrong.json()) == (503, {"ok": False, "wrong": "the store does not answer"})


def test_a_callback_that_the_log_will_never_take_is_kept_and_told(web: Web, monkeypatch: pytest.MonkeyPatch) -> None:
    """Kafka refuses a record above its limit, whatever the OMS does; the embedded log has none."""

    def refuse(_records: object) -> None:
        raise TooLarge(0)

    monkeypatch.setattr(web.rig.log, "publish", refuse)
    answer = web.put(BEARER)
    assert (answer.status_code, answer.json()["error"]) == (400, "too_large: a record is larger than the log takes")
    (letter,) = views.dead_letters(web.rig.store)
    assert (letter.source, letter.reason, letter.value) == ("callback:alpha", "too_large", BODY)
