"""Dead letters by hand: replayed byte for byte, once, with a reason; what was mended ends in the order."""

import json
from pathlib import Path

import pytest
import sqlalchemy as sa

from adapters.errors import LogUnavailable
from adapters.messages.oms_events import ShopIds
from adapters.ports import NewRecord
from adapters.simulators.orders import ALPHA, COMPANIES, Line, build_order
from adapters.store import dead_letters as dead_letter_rows
from adapters.store import orders as order_rows
from adapters.store import schema as s
from adapters.store import snapshots as snapshot_rows
from adapters.store.dead_letters import DeadLetter, StoredDeadLetter
from consumer.config import TopicsTable
from consumer.operations import dead_letters
from consumer.operations.orders import NotPossible
from tests.consumer.rig import OMS_EVENTS, SNAPSHOTS, Rig

SHOPS = (ShopIds("alpha", COMPANIES["alpha"]),)


class Written:
    """A log that keeps what is published, or is away."""

    def __init__(self, away: bool = False) -> None:
        self.records: list[NewRecord] = []
        self._away = away

    def publish(self, records: list[NewRecord]) -> None:
        if self._away:
            raise LogUnavailable("away")
        self.records += records


@pytest.fixture
def rig(tmp_path: Path) -> Rig:
    return Rig(tmp_path)


def letter(rig: Rig, source: str, value: bytes | None, key: bytes | None = None, *headers: tuple[str, bytes]) -> int:
    rig.orders.set_aside([DeadLetter(source, "place", "not_json", "", str(value), key, value, headers)])
    return dead_letter_rows.newest(rig.store)[0].id


def replay(rig: Rig, letter_id: int, *, why: str = "mended", log: object = None, shops: object = SHOPS) -> str:
    return dead_letters.replay(
        rig.store,
        log or rig.log,  # type: ignore[arg-type]
        rig.clock,
        letter_id,
        shops=shops,  # type: ignore[arg-type]
        topics=TopicsTable(),
        who="ana",
        why=why,
    )


def discard(rig: Rig, letter_id: int, why: str = "a test") -> None:
    dead_letters.discard(rig.store, rig.clock, letter_id, who="ana", why=why)


def stored(rig: Rig, letter_id: int) -> StoredDeadLetter:
    found = dead_letter_rows.find(rig.store, letter_id)
    assert found is not None
    return found


def state(rig: Rig, letter_id: int) -> str:
    return stored(rig, letter_id).state


def audited(rig: Rig) -> list[tuple[str, str, str, str]]:
    with rig.store.reading() as connection:
        rows = connection.execute(sa.select(s.audit).order_by(s.audit.c.id)).all()
    return [(row.who, row.act, row.subject, row.why) for row in rows]


def raw_order(rig: Rig, order_id: str = "1-A") -> bytes:
    """As Mirakl would show it."""
    rig.add(order_id, state="SHIPPING")
    rig.pollers["alpha"].run()
    rig.consume()
    row = rig.row(order_id)
    received = snapshot_rows.find(rig.store, row.key, row.digest)
    assert received is not None
    return received


def said(order_id: str = "1-A") -> bytes:
    return json.dumps({"id": 7, "ref": "R", "external_ref": order_id, "status": 2}).encode()


# -- Refused -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("do", [replay, discard])
def test_a_letter_that_is_not_there_is_told(rig: Rig, do: object) -> None:
    with pytest.raises(NotPossible, match="there is no dead letter 9"):
        do(rig, 9)  # type: ignore[operator]


@pytest.mark.parametrize("do", [replay, discard])
@pytest.mark.parametrize("why", ["", " \t"])
def test_without_a_reason_nothing_is_done(rig: Rig, do: object, why: str) -> None:
    one = letter(rig, OMS_EVENTS, b"x")
    with pytest.raises(NotPossible, match="--reason says nothing"):
        do(rig, one, why=why)  # type: ignore[operator]
    assert (state(rig, one), rig.records(OMS_EVENTS), audited(rig)) == ("open", [], [])


@pytest.mark.parametrize("second", [replay, discard])
@pytest.mark.parametrize(("first", "ends"), [(replay, "replayed"), (discard, "discarded")])
def test_what_was_seen_to_is_not_seen_to_again(rig: Rig, first: object, ends: str, second: object) -> None:
    one = letter(rig, OMS_EVENTS, b"x")
    first(rig, one)  # type: ignore[operator]
    published = len(rig.records(OMS_EVENTS))
    with pytest.raises(NotPossible, match=f"dead letter {one} is {ends} already"):
        second(rig, one)  # type: ignore[operator]
    assert (len(rig.records(OMS_EVENTS)), len(audited(rig))) == (published, 1)


@pytest.mark.parametrize(
    ("source", "value", "why"),
    [
        ("poll:alpha", b'{"order_id": 7', "can still not be read .*not_json"),
        ("poll:alpha", b'{"state": "SHIPPING"}', "can still not be read .*missing_field: order_id"),
        ("callback:alpha", b'{"external_ref": "1-A"}', "can still not be read .*missing_field"),
        ("callback:gone", said(), "its shop gone is not in the configuration"),
        ("poll:gone", b"{}", "its shop gone is not in the configuration"),
    ],
)
def test_what_still_has_no_envelope_stays_open(rig: Rig, source: str, value: bytes, why: str) -> None:
    one = letter(rig, source, value)
    with pytest.raises(NotPossible, match=why):
        replay(rig, one)
    assert (state(rig, one), rig.records(OMS_EVENTS), rig.records(), audited(rig)) == ("open", [], [], [])
    discard(rig, one)
    assert state(rig, one) == "discarded"


def test_a_log_that_is_away_leaves_the_letter_open(rig: Rig) -> None:
    one = letter(rig, OMS_EVENTS, b"x")
    with pytest.raises(LogUnavailable):
        replay(rig, one, log=Written(away=True))
    assert (state(rig, one), audited(rig)) == ("open", [])


# -- Replayed ----------------------------------------------------------------------------------------------------


def test_a_letter_of_a_topic_goes_out_byte_for_byte(rig: Rig) -> None:
    headers = (("content-type", b"application/cloudevents+json"), ("x", b"\xff\x00"), ("x", b"again"), ("empty", b""))
    log = Written()
    assert replay(rig, letter(rig, OMS_EVENTS, b"\xff{\x00", b"\x00key", *headers), log=log) == OMS_EVENTS
    replay(rig, letter(rig, SNAPSHOTS, b"{}", None), log=log)
    assert log.records == [NewRecord(OMS_EVENTS, b"\x00key", b"\xff{\x00", headers), NewRecord(SNAPSHOTS, None, b"{}")]
    assert audited(rig) == [("ana", "replayed", f"dead letter {n}", "mended") for n in (1, 2)]


def test_what_is_still_wrong_is_set_aside_again_under_its_number(rig: Rig) -> None:
    rig.log.publish([NewRecord(OMS_EVENTS, b"k", b"not json", (("h", b"\xff"),))])
    rig.consume()
    (first,) = dead_letter_rows.newest(rig.store)
    replay(rig, first.id)
    assert state(rig, first.id) == "replayed"
    rig.consume()
    (again,) = dead_letter_rows.newest(rig.store)
    assert (again.id, again.state, again.times) == (first.id, "open", 2)
    assert (again.key, again.value, again.headers) == (first.key, first.value, first.headers)


def test_what_comes_back_before_it_is_marked_stays_in_sight(rig: Rig) -> None:
    """The consumer is another process and can be faster."""
    rig.log.publish([NewRecord(OMS_EVENTS, b"k", b"not json")])
    rig.consume()

    class Fast:
        def publish(self, records: list[NewRecord]) -> None:
            rig.log.publish(records)
            rig.consume()

    replay(rig, 1, log=Fast())
    assert (state(rig, 1), stored(rig, 1).times) == ("open", 2)
    assert len(audited(rig)) == 1, "somebody did it all the same"


def test_a_record_that_can_be_used_now_ends_in_its_order(rig: Rig) -> None:
    """Its shop was missing in the configuration when it came."""
    body = raw_order(rig)
    (record,) = rig.records()
    rig.log.publish([NewRecord(SNAPSHOTS, b"beta:1-A", record.value.replace(b"alpha", b"beta"))])
    rig.consume()
    (missed,) = dead_letter_rows.newest(rig.store)
    assert missed.reason == "unknown_shop"
    rig.mirakl["beta"] = rig.mirakl["alpha"]  # as the configuration names it now
    rig.consumer = rig.new_consumer()
    replay(rig, missed.id)
    rig.consume()
    (row,) = order_rows.find(rig.store, "1-A", "beta")
    assert (row.state, snapshot_rows.find(rig.store, row.key, row.digest)) == ("shipping", body)
    assert state(rig, missed.id) == "replayed"


def test_an_order_set_aside_by_a_poll_gets_its_envelope_now(rig: Rig) -> None:
    order = build_order(ALPHA, "3-A", created=rig.clock.now(), lines=[Line("MUG-11OZ-WHT")], state="SHIPPING")
    body = json.dumps(order, default=str).encode() + b"  "
    one = letter(rig, "poll:alpha", body)
    rig.clock.advance(3600)
    assert replay(rig, one) == SNAPSHOTS
    rig.consume()
    row = rig.row("3-A")
    assert (row.state, snapshot_rows.find(rig.store, row.key, row.digest)) == ("shipping", body)
    assert row.facts.snapshot is not None
    assert row.facts.snapshot.read_at == stored(rig, one).first_at, "when it was read, not now"


def test_a_callback_gets_its_envelope_now(rig: Rig) -> None:
    raw_order(rig)
    one = letter(rig, "callback:alpha", said())
    assert replay(rig, one) == OMS_EVENTS
    rig.consume()
    assert rig.state() == "imported"


def test_a_letter_that_another_has_just_seen_to_is_told(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    """Between the look and the mark somebody discards it, or it comes once more."""
    one = letter(rig, OMS_EVENTS, b"x")
    look = dead_letters._open_letter

    def slow(store: object, letter_id: int) -> dead_letter_rows.StoredDeadLetter:
        found = look(rig.store, letter_id)
        letter(rig, OMS_EVENTS, b"x")
        return found

    monkeypatch.setattr(dead_letters, "_open_letter", slow)
    with pytest.raises(NotPossible, match="look again"):
        discard(rig, one)
    assert (state(rig, one), audited(rig)) == ("open", [])
