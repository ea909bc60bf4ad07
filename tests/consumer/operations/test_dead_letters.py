"""Replay and discard of dead letters: byte for byte, with a reason, audited; a replayed record ends in its order."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from adapters.errors import LogUnavailable, TooLarge
from adapters.messages.oms_events import ShopIds
from adapters.ports import LogWriter, NewRecord
from adapters.simulators.orders import ALPHA, COMPANIES, Line, build_order
from adapters.store import dead_letters as dead_letter_rows
from adapters.store import orders as order_rows
from adapters.store import snapshots as snapshot_rows
from adapters.store.dead_letters import DeadLetter, StoredDeadLetter
from consumer.config import TopicsTable
from consumer.operations import dead_letters
from consumer.operations.errors import NotPossible
from tests.consumer.operations.audited import Audited, audited
from tests.consumer.rig import OMS_EVENTS, SNAPSHOTS, Rig

SHOPS = (ShopIds("alpha", COMPANIES["alpha"]),)


class KeepingLog:
    """A log that keeps what is published."""

    def __init__(self) -> None:
        self.records: list[NewRecord] = []

    def publish(self, records: Sequence[NewRecord]) -> None:
        self.records += records


class UnavailableLog:
    def publish(self, records: Sequence[NewRecord]) -> None:
        raise LogUnavailable("unavailable")


class RefusingLog:
    def publish(self, records: Sequence[NewRecord]) -> None:
        raise TooLarge(0)


def add(rig: Rig, source: str, value: bytes | None, key: bytes | None = None, *headers: tuple[str, bytes]) -> int:
    """Returns the id of the new dead letter."""
    rig.orders.store_dead_letters([DeadLetter(source, "place", "not_json", "", str(value), key, value, headers)])
    return dead_letter_rows.newest(rig.store)[0].id


def replay(rig: Rig, dead_letter_id: int, why: str = "the cause is fixed", log: LogWriter | None = None) -> str:
    return dead_letters.replay(
        rig.store,
        log or rig.log,
        rig.clock,
        dead_letters.find(rig.store, dead_letter_id),
        shops=SHOPS,
        topics=TopicsTable(),
        who="ana",
        why=why,
    )


def discard(rig: Rig, dead_letter_id: int, why: str = "a test") -> None:
    found = dead_letters.find(rig.store, dead_letter_id)
    dead_letters.discard(rig.store, rig.clock, found, who="ana", why=why)


Operation = Callable[..., object]
both = pytest.mark.parametrize("operation", [replay, discard])


def stored(rig: Rig, dead_letter_id: int) -> StoredDeadLetter:
    return dead_letters.find(rig.store, dead_letter_id)


def assert_untouched(rig: Rig, dead_letter_id: int) -> None:
    """The dead letter is open, and nothing was published or audited."""
    assert stored(rig, dead_letter_id).state == "open"
    assert rig.records(OMS_EVENTS) == []
    assert rig.records(SNAPSHOTS) == []
    assert audited(rig.store) == []


def received_order(rig: Rig, order_id: str = "1-A") -> bytes:
    """Polls an order in SHIPPING, applies it, and returns its bytes as Mirakl sent them."""
    rig.add(order_id, state="SHIPPING")
    rig.pollers["alpha"].run()
    rig.consume()
    row = rig.row(order_id)
    received = snapshot_rows.find(rig.store, row.key, row.digest)
    assert received is not None
    return received


def callback_body(order_id: str = "1-A") -> bytes:
    return json.dumps({"id": 7, "ref": "R", "external_ref": order_id, "status": 2}).encode()


# -- Not possible ------------------------------------------------------------------------------------------------


@both
def test_an_unknown_id_is_not_possible(rig: Rig, operation: Operation) -> None:
    with pytest.raises(NotPossible, match="there is no dead letter 9"):
        operation(rig, 9)


@both
@pytest.mark.parametrize("why", ["", " \t"])
def test_a_blank_reason_is_not_possible(rig: Rig, operation: Operation, why: str) -> None:
    dead_letter = add(rig, OMS_EVENTS, b"x")
    with pytest.raises(NotPossible, match="--reason is blank"):
        operation(rig, dead_letter, why)
    assert_untouched(rig, dead_letter)


@pytest.mark.parametrize("second", [replay, discard])
@pytest.mark.parametrize(("first", "state"), [(replay, "replayed"), (discard, "discarded")])
def test_a_closed_dead_letter_is_neither_replayed_nor_discarded(
    rig: Rig, first: Operation, state: str, second: Operation
) -> None:
    dead_letter = add(rig, OMS_EVENTS, b"x")
    first(rig, dead_letter)
    published = len(rig.records(OMS_EVENTS))
    with pytest.raises(NotPossible, match=f"dead letter {dead_letter} is {state} already"):
        second(rig, dead_letter)
    assert len(rig.records(OMS_EVENTS)) == published
    assert len(audited(rig.store)) == 1


@pytest.mark.parametrize(
    ("source", "value", "why"),
    [
        ("poll:alpha", b'{"order_id": 7', "can still not be read .*not_json"),
        ("poll:alpha", b'{"state": "SHIPPING"}', "can still not be read .*missing_field: order_id"),
        ("callback:alpha", b'{"external_ref": "1-A"}', "can still not be read .*missing_field"),
        ("callback:gone", callback_body(), "its shop gone is not in the configuration"),
        ("poll:gone", b"{}", "its shop gone is not in the configuration"),
    ],
)
def test_an_order_or_a_callback_that_still_cannot_be_read_stays_open(
    rig: Rig, source: str, value: bytes, why: str
) -> None:
    dead_letter = add(rig, source, value)
    with pytest.raises(NotPossible, match=why):
        replay(rig, dead_letter)
    assert_untouched(rig, dead_letter)
    discard(rig, dead_letter)
    assert stored(rig, dead_letter).state == "discarded"


def test_a_record_that_kafka_did_not_give_is_not_published_as_an_empty_one(rig: Rig) -> None:
    dead_letter = add(rig, SNAPSHOTS, None)
    with pytest.raises(NotPossible, match="has no content to publish"):
        replay(rig, dead_letter)
    assert_untouched(rig, dead_letter)
    discard(rig, dead_letter)


def test_a_dead_letter_that_the_log_never_takes_stays_open(rig: Rig) -> None:
    """One of many that are replayed does not end the replay of the others."""
    dead_letter = add(rig, OMS_EVENTS, b"x")
    with pytest.raises(NotPossible, match=r"oms.order-events does not take it: a record is larger than the log takes"):
        replay(rig, dead_letter, log=RefusingLog())
    assert_untouched(rig, dead_letter)


def test_a_dead_letter_stays_open_while_the_log_is_unavailable(rig: Rig) -> None:
    dead_letter = add(rig, OMS_EVENTS, b"x")
    with pytest.raises(LogUnavailable):
        replay(rig, dead_letter, log=UnavailableLog())
    assert_untouched(rig, dead_letter)


def test_a_dead_letter_that_came_again_since_it_was_looked_at_is_not_discarded(rig: Rig) -> None:
    as_looked_at = stored(rig, add(rig, OMS_EVENTS, b"x"))
    add(rig, OMS_EVENTS, b"x")
    with pytest.raises(NotPossible, match="look at it again"):
        dead_letters.discard(rig.store, rig.clock, as_looked_at, who="ana", why="a test")
    assert_untouched(rig, as_looked_at.id)


# -- Replayed ----------------------------------------------------------------------------------------------------


def test_a_record_of_a_topic_is_published_byte_for_byte(rig: Rig) -> None:
    headers = (("content-type", b"application/cloudevents+json"), ("x", b"\xff\x00"), ("x", b"again"), ("empty", b""))
    log = KeepingLog()
    assert replay(rig, add(rig, OMS_EVENTS, b"\xff{\x00", b"\x00key", *headers), log=log) == OMS_EVENTS
    assert replay(rig, add(rig, SNAPSHOTS, b"{}", None), log=log) == SNAPSHOTS
    assert log.records == [NewRecord(OMS_EVENTS, b"\x00key", b"\xff{\x00", headers), NewRecord(SNAPSHOTS, None, b"{}")]
    assert audited(rig.store) == [
        Audited("ana", "replayed", "dead letter 1", "the cause is fixed"),
        Audited("ana", "replayed", "dead letter 2", "the cause is fixed"),
    ]


def test_a_record_that_still_cannot_be_used_becomes_the_same_dead_letter_again(rig: Rig) -> None:
    rig.log.publish([NewRecord(OMS_EVENTS, b"k", b"not json", (("h", b"\xff"),))])
    rig.consume()
    (first,) = dead_letter_rows.newest(rig.store)
    replay(rig, first.id)
    assert stored(rig, first.id).state == "replayed"
    rig.consume()
    (again,) = dead_letter_rows.newest(rig.store)
    assert again.id == first.id
    assert again.state == "open"
    assert again.times == 2
    assert again.key == first.key
    assert again.value == first.value
    assert again.headers == first.headers


def test_a_record_that_comes_back_before_the_replay_is_marked_stays_open(rig: Rig) -> None:
    """The consumer runs in another process, and can be faster than the command that replays."""
    rig.log.publish([NewRecord(OMS_EVENTS, b"k", b"not json")])
    rig.consume()

    class ConsumedAtOnce:
        def publish(self, records: Sequence[NewRecord]) -> None:
            rig.log.publish(records)
            rig.consume()

    replay(rig, 1, log=ConsumedAtOnce())
    assert stored(rig, 1).state == "open"
    assert stored(rig, 1).times == 2
    assert len(audited(rig.store)) == 1, "the replay is audited all the same"


def test_a_record_that_can_be_used_now_ends_in_its_order(rig: Rig, tmp_path: Path) -> None:
    """The shop beta was not in the configuration when the record came."""
    body = received_order(rig)
    (record,) = rig.records(SNAPSHOTS)
    rig.log.publish([NewRecord(SNAPSHOTS, b"beta:1-A", record.value.replace(b"alpha", b"beta"))])
    rig.consume()
    (dead_letter,) = dead_letter_rows.newest(rig.store)
    assert dead_letter.reason == "unknown_shop"
    with_beta = Rig(tmp_path, shops=("alpha", "beta"))
    replay(with_beta, dead_letter.id)
    with_beta.consume()
    (row,) = order_rows.find(with_beta.store, "1-A", "beta")
    assert row.state == "shipping"
    assert snapshot_rows.find(with_beta.store, row.key, row.digest) == body
    assert stored(with_beta, dead_letter.id).state == "replayed"


def test_an_order_of_a_poll_gets_its_envelope_when_it_is_replayed(rig: Rig) -> None:
    order = build_order(ALPHA, "3-A", created=rig.clock.now(), lines=[Line("MUG-11OZ-WHT")], state="SHIPPING")
    body = json.dumps(order, default=str).encode() + b"  "
    dead_letter = add(rig, "poll:alpha", body)
    rig.clock.advance(3600)
    assert replay(rig, dead_letter) == SNAPSHOTS
    rig.consume()
    row = rig.row("3-A")
    assert row.state == "shipping"
    assert snapshot_rows.find(rig.store, row.key, row.digest) == body
    assert row.facts.snapshot is not None
    assert row.facts.snapshot.read_at == stored(rig, dead_letter).first_at, "when it was read, not when it is replayed"


def test_a_callback_gets_its_envelope_when_it_is_replayed(rig: Rig) -> None:
    received_order(rig)
    dead_letter = add(rig, "callback:alpha", callback_body())
    assert replay(rig, dead_letter) == OMS_EVENTS
    rig.consume()
    assert rig.state() == "imported"
