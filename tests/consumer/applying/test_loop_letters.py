"""What the consumer makes a dead letter, and what stops too many of them (docs/rules.md 33)."""

import json
from collections import Counter
from collections.abc import Collection, Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
import sqlalchemy as sa
from structlog.testing import capture_logs

from adapters.errors import RecordUnreadable
from adapters.ports import NewRecord, Partition, Record
from adapters.store import dead_letters as dead_letter_rows
from adapters.store import schema as s
from adapters.store.dead_letters import SET_ASIDE
from consumer.applying.loop import COMPARE_AGAIN_SECONDS
from consumer.applying.records import dead_letter
from consumer.offsets import OffsetMismatch
from consumer.operations.doctor.cluster import cure_of_stop
from consumer.operations.errors import NothingToReset
from consumer.operations.offsets import partition_statuses, skip
from tests.consumer.applying.looping import BREAKS, OMS, SNAPSHOTS, UNEXPECTED, UNREADABLE, World, said


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    world = World(tmp_path)
    yield world
    world.store.close()


# -- Dead letters -------------------------------------------------------------------------------------------------


def test_an_unreadable_record_is_kept_as_received_and_the_rest_goes_on(world: World) -> None:
    world.publish(said(1))
    world.publish_raw(UNREADABLE + b"\x00\xff")
    world.publish(said(2))
    with capture_logs() as logged:
        assert world.drain() == 3
    (one,) = dead_letter_rows.newest(world.store)
    assert one.source == SNAPSHOTS
    assert one.reason == "not_json"
    assert one.detail == "at 0"
    assert one.times == 1
    assert one.key == b"alpha:O-1"
    assert one.value == UNREADABLE + b"\x00\xff"
    assert one.place.startswith(f"{SNAPSHOTS}/")
    assert one.place.endswith("/1")
    with world.store.reading() as connection:
        assert json.loads(connection.execute(sa.select(s.dead_letters.c.headers)).scalar_one()) == [["h", "ff"]]
    assert world.journal() == [("O-1/1", 0), ("O-1/2", 0)]
    assert world.batches == [(3, ["noted", "noted"], ["not_json"])]
    assert [line["event"] for line in logged] == ["dead_lettered"]


@pytest.mark.parametrize("poison", [BREAKS, UNEXPECTED], ids=["apply fails", "decode fails"])
@pytest.mark.parametrize("at", [0, 3, 6])
def test_a_poison_record_is_dead_lettered_alone_and_the_rest_is_applied_in_order(
    world: World, poison: bytes, at: int
) -> None:
    """Decoding or applying may raise any exception."""
    for n in range(7):
        if n == at:
            world.publish_raw(poison)
        world.publish(said(n))
    world.publish(said(0, "O-2"))
    with capture_logs() as logged:
        assert world.drain() == 9
    assert world.journal() == [*((f"O-1/{n}", 0) for n in range(7)), ("O-2/0", 0)]
    assert [order.version for order in world.orders_now()] == [7, 1]
    (one,) = dead_letter_rows.newest(world.store)
    assert one.reason == "not_applicable"
    assert one.value == poison
    assert one.detail in ("TypeError", "RecursionError")
    assert sum(count for count, _, _ in world.batches) == 9
    assert [line["event"] for line in logged] == ["dead_lettered"]
    assert world.passed() == 9


def test_a_batch_of_poison_records_alone_is_dead_lettered(world: World) -> None:
    for n in range(4):
        world.publish_raw(BREAKS + b"%d" % n)
    assert world.drain() == 4
    assert [one.times for one in dead_letter_rows.newest(world.store)] == [1] * 4
    assert world.orders_now() == []


def test_a_record_without_a_value_is_skipped(world: World) -> None:
    world.publish_raw(b"")
    world.publish(said(1))
    assert world.drain() == 2
    assert world.journal() == [("O-1/1", 0)]
    assert dead_letter_rows.newest(world.store) == []


def test_the_same_record_is_one_dead_letter_and_other_headers_make_another(world: World) -> None:
    """In the binary mode of CloudEvents only the headers name the order: one dead letter for two would lose one."""
    record = Record(Partition(OMS, 0), 1, b"k", b"v", (("ce_subject", b"O-1"),), world.clock.now())
    same = dead_letter(replace(record, offset=2), "not_json", "")
    assert same.digest == dead_letter(record, "not_json", "").digest
    for other in ({"headers": (("ce_subject", b"O-2"),)}, {"key": b"kv", "value": b""}, {"key": None}, {"value": None}):
        assert dead_letter(replace(record, **other), "not_json", "").digest != same.digest


# -- DeadLetterLimit (docs/rules.md 33) ---------------------------------------------------------------------------


def bad(world: World, *numbers: int, topic: str = SNAPSHOTS) -> None:
    for n in numbers:
        world.publish_raw(UNREADABLE + b"%d" % n, key=f"alpha:O-{n}", topic=topic)


@pytest.mark.parametrize("poison", [UNREADABLE, BREAKS], ids=["unreadable", "not applicable"])
def test_a_topic_is_paused_before_all_its_keys_are_dead_lettered(world: World, poison: bytes) -> None:
    world.consumer = world.new_consumer(most=3)
    for n in range(10):
        world.publish_raw(poison + b"%d" % n, key=f"alpha:O-{n}")
    world.publish(said(1, "O-99"), OMS)
    with capture_logs() as logged:
        for _ in range(5):
            world.consumer.turn(0)
    assert len(dead_letter_rows.newest(world.store)) == 3
    assert world.passed() == 4  # those three, and the other topic's
    assert world.journal() == [("O-99/1", 0)]
    assert [line["topic"] for line in logged if line["event"] == "topic_paused"] == [SNAPSHOTS]
    assert world.paused == [[SNAPSHOTS]]
    assert world.reader.poll(10, 0) == []  # meanwhile the topic is not read again and again


SHOPS = frozenset({"alpha", "beta"})


@pytest.mark.parametrize("poison", [UNREADABLE, BREAKS], ids=["unreadable", "not applicable"])
def test_too_much_dead_lettered_of_one_shop_stops_its_records_and_no_other_shop(world: World, poison: bytes) -> None:
    """The records beyond the limit are set aside in the transaction that moves the offset."""
    world.consumer = world.new_consumer(most=3, owners=SHOPS)
    for n in range(10):
        world.publish_raw(poison + b"%d" % n, key=f"alpha:O-{n}")
    world.publish_raw(UNREADABLE, key="beta:O-1")
    world.publish(said(1, "O-99"))
    with capture_logs() as logged:
        assert world.drain() == 12
    kept = dead_letter_rows.newest(world.store)
    assert Counter(one.reason == SET_ASIDE for one in kept) == {True: 7, False: 4}
    assert {one.detail.partition(":")[0] for one in kept if one.reason == SET_ASIDE} <= {"not_json", "not_applicable"}
    assert world.journal() == [("O-99/1", 0)]
    assert world.paused == []
    assert {line["log_level"] for line in logged if line.get("reason") == SET_ASIDE} == {"error"}
    assert len(dead_letter_rows.set_aside(world.store, "alpha")) == 7
    assert dead_letter_rows.set_aside(world.store, "beta") == dead_letter_rows.set_aside(world.store, "alph") == []


def test_a_topic_is_paused_when_every_shop_is_beyond_its_limit(world: World) -> None:
    world.consumer = world.new_consumer(most=2, owners=SHOPS)
    for n in range(5):
        for shop in sorted(SHOPS):
            world.publish_raw(UNREADABLE + b"%d" % n, key=f"{shop}:O-{n}")
    for _ in range(5):
        world.consumer.turn(0)
    assert world.paused == [[SNAPSHOTS]]
    world.clock.advance(601)
    world.drain()
    assert world.paused[1] == []


def test_a_topic_is_paused_when_too_many_records_name_no_shop(world: World) -> None:
    """Otherwise keys that nobody knows would have no limit."""
    world.consumer = world.new_consumer(most=2, owners=SHOPS)
    for n, key in enumerate(("gamma:1", "2", "delta:3", ":4")):
        world.publish_raw(UNREADABLE + b"%d" % n, key=key)
    for _ in range(5):
        world.consumer.turn(0)
    assert world.paused == [[SNAPSHOTS]]


def test_one_shop_alone_pauses_its_topic_which_resumes_by_itself(world: World) -> None:
    world.consumer = world.new_consumer(most=2, owners=frozenset({"alpha"}))
    bad(world, 1, 2, 3, 4)
    for _ in range(5):
        world.consumer.turn(0)
    assert world.paused == [[SNAPSHOTS]]
    assert dead_letter_rows.set_aside(world.store, "alpha") == []


def test_a_shop_beyond_its_limit_has_dead_letters_again_when_the_window_has_passed(world: World) -> None:
    world.consumer = world.new_consumer(most=2, owners=SHOPS)
    bad(world, 1, 2, 3)
    world.drain()
    world.clock.advance(601)
    bad(world, 4)
    world.drain()
    assert Counter(one.reason for one in dead_letter_rows.newest(world.store)) == {"not_json": 3, SET_ASIDE: 1}


def test_a_paused_topic_resumes_when_the_window_has_passed(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("adapters.log.embedded.PARTITIONS", 1)
    world.consumer = world.new_consumer(most=2)
    bad(world, 1, 2, 3)
    world.publish(said(1, "O-3"))
    for seconds in (0, 0, 599):
        world.clock.advance(seconds)
        world.consumer.turn(0)
    assert len(dead_letter_rows.newest(world.store)) == 2
    assert world.journal() == []
    world.clock.advance(1)
    world.drain()
    assert len(dead_letter_rows.newest(world.store)) == 3
    assert world.journal() == [("O-3/1", 0)]
    assert world.paused == [[SNAPSHOTS], []]


def test_a_restart_resumes_a_paused_topic(world: World) -> None:
    world.consumer = world.new_consumer(most=2)
    bad(world, 1, 2, 3)
    world.drain()
    world.drain()
    assert world.passed() == 2
    world.consumer = world.new_consumer(most=2)
    assert world.drain() == 1


@pytest.mark.parametrize("key", [None, b"", b"k", b"alpha:O-1"])
def test_too_many_records_stop_their_topic_also_if_all_have_the_same_key(world: World, key: bytes | None) -> None:
    """A publisher that gives no key, or one key to all records, had no limit: 5,000 of 5,000 were dead-lettered."""
    world.consumer = world.new_consumer(most=3)
    for n in range(20):
        world.log.publish([NewRecord(OMS, key, UNREADABLE + b"%d" % n)])
    for _ in range(10):
        world.consumer.turn(0)
    assert len(dead_letter_rows.newest(world.store)) == 3
    assert world.paused == [[OMS]]


def test_a_consumer_that_starts_again_knows_what_was_dead_lettered(world: World) -> None:
    world.consumer = world.new_consumer(most=3)
    bad(world, 1, 2)
    world.drain()
    world.consumer = world.new_consumer(most=3)
    window = timedelta(minutes=10)
    world.limit.remember(dead_letter_rows.received_since(world.store, world.clock.now() - window))
    bad(world, 3, 4, 5)
    for _ in range(10):
        world.consumer.turn(0)
    assert len(dead_letter_rows.newest(world.store)) == 3
    world.clock.advance(601)
    assert dead_letter_rows.received_since(world.store, world.clock.now() - window) == []


def test_the_same_record_again_and_again_and_slow_drops_stop_nothing(world: World) -> None:
    world.consumer = world.new_consumer(most=2)
    for _ in range(20):
        world.publish_raw(UNREADABLE, key="alpha:O-1")
    assert world.drain() == 20
    for n in range(2, 6):
        world.clock.advance(601)
        bad(world, n)
        assert world.drain() == 1
    bad(world, 6, 7, topic=OMS)  # each topic by itself
    assert world.drain() == 2
    assert world.paused == []


# -- Records that cannot be read ----------------------------------------------------------------------------------


def unreadable_at(world: World, partition: Partition, offset: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """From now on the client raises when it comes to this record, unless its partition is paused."""
    plain = world.reader.poll
    at: dict[str, int] = {"position": 0, "paused": False}
    pause, seek = world.reader.pause, world.reader.seek

    def poll(max_records: int, timeout_seconds: float) -> list[Record]:
        if not at["paused"] and at["position"] == offset:
            raise RecordUnreadable(partition.topic, partition.number, offset, offset + 1, "UnsupportedCodecError")
        found = plain(max_records, timeout_seconds)
        kept = [one for one in found if one.partition != partition or one.offset < offset or at["position"] > offset]
        if any(one.partition == partition for one in found):
            at["position"] = max([at["position"], *(one.offset + 1 for one in kept if one.partition == partition)])
        return kept

    def paused(partitions: Collection[Partition]) -> None:
        at["paused"] = partition in partitions
        pause(partitions)

    def sought(one: Partition, to: int) -> None:
        if one == partition:
            at["position"] = to
        seek(one, to)

    for name, method in (("poll", poll), ("pause", paused), ("seek", sought)):
        monkeypatch.setattr(world.reader, name, method)


def test_a_record_that_cannot_be_read_stops_its_partition_alone_until_a_person_passes_it(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    for n in range(3):
        world.publish(said(n))
    (stopped,) = {record.partition for record in world.log.reader("other", [SNAPSHOTS]).poll(10, 0)}
    unreadable_at(world, stopped, 1, monkeypatch)
    with capture_logs() as logged:
        world.drain()
        world.publish(said(9, "O-9"), topic=OMS)
        world.consumer.turn(0)
        world.drain()
    assert world.journal() == [("O-1/0", 0), ("O-9/9", 0)], "the other partitions go on"
    (line,) = [line for line in logged if line["event"] == "partition_stopped"]
    assert (line["log_level"], line["reason"], line["offset"]) == ("error", "record_unreadable", 1)
    (status,) = [
        one for one in partition_statuses(world.store, world.log, "g", [SNAPSHOTS]) if one.partition == stopped.number
    ]
    assert status.mismatch == OffsetMismatch.RECORD_UNREADABLE
    named = f"{SNAPSHOTS} --partition {stopped.number} --reason WHY"
    assert cure_of_stop(status) == f"orderflow offsets list, then offsets skip {named}"
    shorter = replace(status, mismatch=OffsetMismatch.LOG_SHORTER)
    assert cure_of_stop(shorter) == f"orderflow offsets list, then offsets reset {named}"
    assert cure_of_stop(replace(status, mismatch=OffsetMismatch.NO_TOPIC)).startswith("create partition")

    arguments = dict(who="ana", why="broken header", at=world.clock.now())
    passed = skip(world.store, world.orders, world.log, "g", stopped, **arguments)  # type: ignore[arg-type]
    assert (passed.before, passed.after) == (1, 2)
    with pytest.raises(NothingToReset):
        skip(world.store, world.orders, world.log, "g", stopped, **arguments)  # type: ignore[arg-type]
    world.clock.advance(COMPARE_AGAIN_SECONDS)
    world.consumer.turn(0)
    world.drain()
    assert world.journal() == [("O-1/0", 0), ("O-1/2", 0), ("O-9/9", 0)]
    (letter,) = dead_letter_rows.newest(world.store)
    assert (letter.reason, letter.place) == ("record_unreadable", f"{SNAPSHOTS}/{stopped.number}/1")
    with world.store.reading() as connection:
        assert connection.execute(sa.select(s.audit.c.act, s.audit.c.why)).all() == [("offsets skip", "broken header")]


def test_an_id_that_is_used_again_for_another_order_is_a_dead_letter(world: World) -> None:
    """As a repeat it was dropped in silence."""
    world.publish(said(1, "O-1"))
    world.publish(replace(said(2, "O-2"), event_id="O-1/1"))  # in one batch
    world.drain()
    world.publish(replace(said(3, "O-3"), event_id="O-1/1"))  # and later
    world.publish(said(1, "O-1"))  # a true repeat
    world.publish(said(4, "O-4"))
    world.drain()
    assert world.journal() == [("O-1/1", 1), ("O-4/4", 0)]
    assert [(one.reason, one.detail) for one in dead_letter_rows.newest(world.store)] == [
        ("not_applicable", "EventIdReused")
    ] * 2
