"""The properties of every log (ports.LogWriter, ports.LogReader). Each test runs on the embedded log and on Kafka.

The tests inject failures (`LosesConnection`, `make_unavailable`), because the embedded log, a table of the store, never
fails in part by itself.
"""

import time
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from datetime import timedelta
from pathlib import Path

import pytest
import sqlalchemy as sa
from kafka import KafkaProducer

from adapters.engines.kafka import Kafka
from adapters.errors import LogUnavailable
from adapters.log.embedded import PARTITIONS
from adapters.ports import NewRecord, Partition, PartitionOffsets, Record
from adapters.store import progress as progress_rows
from adapters.store.progress import Advance
from tests.adapters.log.worlds import (
    ONE,
    TWO,
    Embedded,
    Group,
    LosesConnection,
    OnKafka,
    World,
    by_key,
    drain,
    joined,
    new,
    publish,
    seek_to_start,
)
from tests.support import LONG, Meanwhile


@pytest.fixture(params=["embedded", "kafka"])
def world(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[World]:
    world: World
    if request.param == "embedded":
        folder = tmp_path / "log"
        folder.mkdir()
        world = Embedded(folder)
    else:
        world = OnKafka(request.getfixturevalue("kafka_of_ours"))
    yield world
    world.close()


# -- Every log ---------------------------------------------------------------------------------------------------


def test_an_empty_log_brings_no_records(world: World) -> None:
    reader = world.reader("g", [ONE])
    assert reader.poll(10, 0) == []
    world.writer.publish([])
    assert reader.poll(10, 0) == []


def test_an_unavailable_log_raises_and_later_brings_every_record(world: World) -> None:
    reader = world.reader("g", [ONE])
    publish(world, ("k", "1"))
    world.make_unavailable()
    with pytest.raises(LogUnavailable):
        publish(world, ("k", "2"))
    records: list[Record] = []
    with suppress(LogUnavailable):  # the embedded log raises at once; Kafka's client only brings nothing
        records += reader.poll(10, 0)
    world.make_available()
    publish(world, ("k", "2"))
    ends_at = time.monotonic() + 20
    while "2" not in by_key(records).get("k", ()) and time.monotonic() < ends_at:
        with suppress(LogUnavailable):
            records += reader.poll(10, 0.1)
    values = by_key(records)["k"]
    # The publication that failed may have published "2". Then "2" comes twice, but "1" still comes before both.
    assert list(dict.fromkeys(values)) == ["1", "2"]


def test_records_of_a_key_keep_their_order_in_one_partition(world: World) -> None:
    keys = [f"alpha:{n}" for n in range(20)]
    for step in range(5):
        publish(world, *((key, str(step)) for key in keys))
    records = drain(world, world.reader("g", [ONE]), max_records=7)
    assert by_key(records) == {key: ["0", "1", "2", "3", "4"] for key in keys}
    assert all(len({record.partition for record in records if record.key == key.encode()}) == 1 for key in keys)
    assert len({record.partition for record in records}) > 1


def test_a_clock_that_is_set_back_reorders_and_loses_nothing(world: World) -> None:
    """If the log were read by time of publication, the second record would come first.

    After a poll for a single record, the position would then be after both, so the first record would never come.
    """
    publish(world, ("k", "1"))
    world.clock.advance(-3600)
    publish(world, ("k", "2"))
    reader = world.reader("g", [ONE])
    polls = [reader.poll(1, world.patience_seconds) for _ in range(3)]
    assert [[record.value for record in records] for records in polls] == [[b"1"], [b"2"], []]


def test_a_poll_that_waits_returns_when_a_record_comes(world: World) -> None:
    reader = world.reader("g", [ONE])
    publish(world, ("k", "1"))
    assert by_key(drain(world, reader)) == {"k": ["1"]}
    waiting = Meanwhile(lambda: reader.poll(10, 2 * LONG))
    assert waiting.waits()
    publish(world, ("k", "2"))
    assert by_key(waiting.result()) == {"k": ["2"]}


def test_offsets_of_a_partition_have_no_gaps(world: World) -> None:
    for batch in range(4):
        publish(world, *((f"{batch}{n}", "x") for n in range(10)))
    offsets: dict[Partition, list[int]] = {}
    for record in drain(world, world.reader("g", [ONE])):
        offsets.setdefault(record.partition, []).append(record.offset)
    assert sum(map(len, offsets.values())) == 40
    assert all(found == list(range(len(found))) for found in offsets.values())


def test_a_record_comes_back_as_it_was_published(world: World) -> None:
    value = b'\xef\xbb\xbf{"a":1.10 , "\xc3\xb6":null}\r\n\x00\xff'
    headers = (("ce_id", b"\xc3\xa9\xff\x00"), ("ce_id", b""), ("\u00e4", b"2"))
    world.writer.publish([NewRecord(world.topic(ONE), "alpha:Ö-1".encode(), value, headers)])
    (record,) = drain(world, world.reader("g", [ONE]))
    assert record.value == value
    assert record.headers == headers
    assert record.key == "alpha:Ö-1".encode()
    assert abs(record.published_at - world.now()) < timedelta(minutes=1)
    assert record.published_at.tzinfo is not None


def test_a_poll_brings_at_most_max_records_and_the_next_poll_continues(world: World) -> None:
    publish(world, *((str(n), "x") for n in range(10)))
    reader = world.reader("g", [ONE])
    lengths = [len(reader.poll(4, world.patience_seconds)) for _ in range(5)]
    assert max(lengths) <= 4
    assert sum(lengths) == 10


def test_seek_delivers_again_and_moves_no_other_partition(world: World) -> None:
    publish(world, *((str(n), str(n)) for n in range(20)))
    reader = world.reader("g", [ONE])
    first = drain(world, reader)
    partition = first[0].partition
    mine = [record for record in first if record.partition == partition]
    reader.seek(partition, mine[1].offset)
    assert drain(world, reader) == mine[1:]
    reader.seek(partition, mine[-1].offset + 1)
    assert drain(world, reader) == []


def test_groups_and_topics_are_independent(world: World) -> None:
    publish(world, ("k", "1"), ("k", "a", TWO))
    assert by_key(drain(world, world.reader("g", [ONE]))) == {"k": ["1"]}
    records = drain(world, world.reader("h", [ONE, TWO]))
    assert sorted(record.value or b"" for record in records) == [b"1", b"a"]


@pytest.mark.parametrize(("busy", "quiet"), [(ONE, TWO), (TWO, ONE)])
def test_no_partition_starves_another(world: World, busy: str, quiet: str) -> None:
    """One partition has many unread records. The next records of the other do not wait until all these are read."""
    publish(world, *(("k", "x" * 1000, busy) for _ in range(world.backlog)))
    publish(world, ("k", "1", quiet))
    reader = world.reader("g", [ONE, TWO])
    polls: list[list[Record]] = []
    ends_at = time.monotonic() + 20
    while len(polls) < 3 and time.monotonic() < ends_at:  # on a busy machine a poll may bring nothing
        if records := reader.poll(world.backlog // 5, world.patience_seconds):
            polls.append(records)
    assert any(record.partition.topic == world.topic(quiet) for records in polls for record in records)


def test_a_paused_partition_brings_nothing_until_it_is_resumed(world: World) -> None:
    publish(world, ("k", "1"), ("k", "2"), ("k", "a", TWO))
    reader = world.reader("g", [ONE, TWO])
    reader.pause([partition for partition in reader.assignment() if partition.topic == world.topic(ONE)])
    assert by_key(drain(world, reader)) == {"k": ["a"]}
    assert any(partition.topic == world.topic(ONE) for partition in reader.assignment())
    reader.pause([])
    joined(reader)  # resuming may bring a new assignment, and then every partition has to be sought
    for partition in reader.assignment():
        reader.seek(partition, 1 if partition.topic == world.topic(TWO) else 0)
    assert by_key(drain(world, reader)) == {"k": ["1", "2"]}


def test_each_topic_is_in_order_but_records_of_two_topics_are_not(world: World) -> None:
    """The consumer must not rely on an order of two topics. The test seeks one topic back to its start, so that its
    records come after those of the other topic."""
    for n in range(3):
        publish(world, ("k", f"{n}"), ("k", f"{n}", TWO))
    reader = world.reader("g", [ONE, TWO])
    first = drain(world, reader)
    for partition in {record.partition for record in first if record.partition.topic == world.topic(ONE)}:
        reader.seek(partition, 0)
    late = drain(world, reader)
    for topic, records in (
        (world.topic(ONE), late),
        (world.topic(TWO), [record for record in first if record.partition.topic == world.topic(TWO)]),
    ):
        assert [record.value for record in records] == [b"0", b"1", b"2"]
        assert {record.partition.topic for record in records} == {topic}


@pytest.mark.parametrize("survive", range(4))
def test_a_batch_that_failed_half_way_is_published_again_as_a_whole(world: World, survive: int) -> None:
    """Each record comes at least once, and the first deliveries of each key are in order."""
    batch = [new(world, "a", "1"), new(world, "b", "1"), new(world, "a", "2")]
    writer = LosesConnection(world.writer, survive)
    try:
        writer.publish(batch)
    except LogUnavailable:
        writer.publish(batch)
    values = by_key(drain(world, world.reader("g", [ONE])))
    first_deliveries = {key: list(dict.fromkeys(found)) for key, found in values.items()}
    assert first_deliveries == {"a": ["1", "2"], "b": ["1"]}
    assert sum(map(len, values.values())) == len(batch) + survive % len(batch)


def test_members_come_and_go_and_each_record_is_delivered_once(world: World) -> None:
    """No record that the group has passed is delivered again by another member, and none is left out."""
    keys = [f"alpha:{n}" for n in range(30)]
    group = Group(world)

    def publish_round(value: str) -> None:
        publish(world, *((key, value, topic) for key in keys for topic in (ONE, TWO)))

    publish_round("0")
    group.join()
    group.read_until(lambda: len(group.given) >= 20)
    group.join()
    group.read_until(group.is_assigned)
    assert len(group.members) == world.most_members
    publish_round("1")
    group.read_until(lambda: len(group.given) >= 2 * 60)
    group.leave()
    if not group.members:  # if the only member has left, another joins, as after a restart of the process
        group.join()
    publish_round("2")
    group.read_until(lambda: group.is_assigned() and len(group.given) >= 3 * 60)
    assert set(Counter((record.partition, record.offset) for record in group.given).values()) == {1}
    for topic in (ONE, TWO):
        of_topic = [record for record in group.given if record.partition.topic == world.topic(topic)]
        assert by_key(of_topic) == {key: ["0", "1", "2"] for key in keys}


#: Key, value and headers that a record should not have, but that any publisher can write.
ODD: list[tuple[bytes | None, bytes, tuple[tuple[str, bytes], ...]]] = [
    (None, b"no key", ()),
    (b"", b"an empty key", ()),
    (b"\x00\xff\xfe", b"bytes for a key", ()),
    (b"empty value", b"", ()),
    (b"bytes", bytes(range(256)), ()),
    (b"long", b"x" * 100_000, ()),
    (b"not json", b'{"id": ', (("content-type", b"application/cloudevents+json"),)),
    (b"headers", b"empty", (("", b""),)),
    (b"headers", b"bytes", (("\u00e4\n\U0001f600", bytes(range(256))), ("content-type", b"\xff"))),
    (b"headers", b"many", tuple(("same", b"%d" % n) for n in range(300))),
]


def test_unusual_records_come_unchanged_and_do_not_stop_the_log(world: World) -> None:
    """The log does not check records. Every byte comes, each time that a record is read, and so do later records."""
    topic = world.topic(ONE)
    odd = [NewRecord(topic, *one) for one in ODD]
    sound = [NewRecord(topic, record.key, b"behind") for record in odd]
    world.writer.publish([one for pair in zip(odd, sound, strict=True) for one in pair])
    reader = world.reader("g", [ONE])
    records = drain(world, reader, max_records=3)
    # The embedded log stores a record without a key with an empty key, in the same partition as the empty key.
    found = Counter((record.key or b"", record.value, record.headers) for record in records)
    assert found == Counter((record.key or b"", record.value, record.headers) for record in (*odd, *sound))
    seek_to_start(reader)
    assert sorted(drain(world, reader), key=spot) == sorted(records, key=spot)


def spot(record: Record) -> tuple[Partition, int]:
    return record.partition, record.offset


def test_the_offsets_of_a_partition(world: World) -> None:
    publish(world, ("k", "1"), ("k", "2"), ("k", "a", TWO))
    reader = world.reader("g", [ONE, TWO])
    offsets = reader.partition_offsets(reader.assignment())
    assert sorted((one.first, one.end) for one in offsets.values() if one.end) == [(0, 1), (0, 2)]
    assert offsets.keys() == reader.assignment()
    asked_again = reader.partition_offsets(reader.assignment())
    log_ids = {partition: one.log_id for partition, one in offsets.items()}
    assert log_ids == {partition: one.log_id for partition, one in asked_again.items()}


def test_lag_counts_the_records_that_wait(world: World) -> None:
    reader = world.reader("g", [ONE])
    publish(world, ("k", "1"), ("k", "2"), ("k", "3"))
    (first,) = reader.poll(1, world.patience_seconds)
    assert reader.lag()[first.partition] == 2
    drain(world, reader)
    assert set(reader.lag().values()) == {0}


def test_a_commit_moves_no_position_of_the_reader(world: World) -> None:
    publish(world, ("k", "1"))
    reader = world.reader("g", [ONE])
    (record,) = drain(world, reader)
    reader.commit({record.partition: record.offset + 1})
    reader.seek(record.partition, record.offset)
    assert drain(world, reader) == [record]
    reader.close()


# -- Kafka alone --------------------------------------------------------------------------------------------------


def test_a_record_without_a_value_does_not_stop_the_log(kafka_of_ours: Kafka) -> None:
    """Only other publishers write such a record (Kafka: a tombstone). The embedded log has no other publishers."""
    world = OnKafka(kafka_of_ours)
    foreign = KafkaProducer(bootstrap_servers=kafka_of_ours.bootstrap_servers)
    for value in (b"before", None, b"behind"):
        foreign.send(world.topic(ONE), key=b"k", value=value)
    foreign.close()
    records = drain(world, world.reader("g", [ONE]))
    world.close()
    assert [(record.key, record.value) for record in records] == [(b"k", b"before"), (b"k", None), (b"k", b"behind")]


# -- The embedded log alone --------------------------------------------------------------------------------------


@pytest.fixture
def embedded(tmp_path: Path) -> Iterator[Embedded]:
    world = Embedded(tmp_path)
    yield world
    world.close()


def advance_progress(
    world: Embedded, partition: Partition, held: int, position: int, group: str = "g", cluster: str = "embedded"
) -> None:
    with world.store.transaction() as tx:
        progress_rows.lock_or_insert(tx, cluster, group, {partition: PartitionOffsets(0, 0)})
        progress_rows.advance(tx, Advance(cluster, group, partition, held, position))


def test_a_publication_that_fails_publishes_nothing(embedded: Embedded) -> None:
    bad = NewRecord(None, b"k", b"2")  # type: ignore[arg-type]
    with pytest.raises(sa.exc.IntegrityError):
        embedded.writer.publish([new(embedded, "k", "1"), bad])
    assert drain(embedded, embedded.reader("g", [ONE])) == []


def test_a_waiting_poll_wakes_when_something_is_published(embedded: Embedded) -> None:
    """The test needs no second thread: it replaces the condition that the poll waits for by one that publishes."""
    reader, asked = embedded.reader("g", [ONE]), []
    notified = embedded.log.published

    class Waits:
        def __enter__(self) -> None: ...
        def __exit__(self, *_: object) -> None: ...

        def wait(self, seconds: float) -> None:
            asked.append(seconds)
            embedded.log.published = notified
            embedded.writer.publish([new(embedded, "k", "1")])

    embedded.log.published = Waits()  # type: ignore[assignment]
    assert len(reader.poll(10, 9.0)) == 1
    assert asked == [9.0]


def test_trim_keeps_young_records_and_those_that_a_group_has_not_passed(embedded: Embedded) -> None:
    embedded.writer.publish([new(embedded, "k", str(n)) for n in range(4)])
    start = embedded.clock.now()
    embedded.clock.advance(100)
    embedded.writer.publish([new(embedded, "k", str(n)) for n in range(4, 6)])
    (partition,) = {record.partition for record in drain(embedded, embedded.reader("g", [ONE]))}
    old = start + timedelta(seconds=1)
    assert embedded.log.trim(old) == 0  # no group has applied a record
    advance_progress(embedded, partition, 0, 5)
    advance_progress(embedded, partition, 0, 2, group="slow")
    advance_progress(embedded, partition, 0, 1, cluster="kafka")  # another log with a topic of this name
    assert embedded.log.trim(old) == 2
    advance_progress(embedded, partition, 2, 5, group="slow")
    assert embedded.log.trim(old) == 2
    assert [record.offset for record in drain(embedded, embedded.reader("g", [ONE]))] == [4, 5]


def test_offsets_go_on_after_every_passed_record_was_trimmed(embedded: Embedded) -> None:
    """An offset of 0 would be below every group's position, so the new record would never be read."""
    embedded.writer.publish([new(embedded, "k", str(n)) for n in range(3)])
    (partition,) = {record.partition for record in drain(embedded, embedded.reader("g", [ONE]))}
    advance_progress(embedded, partition, 0, 3)
    embedded.clock.advance(9999)
    embedded.log.trim(embedded.clock.now())
    embedded.writer.publish([new(embedded, "k", "new")])
    reader = embedded.reader("g", [ONE])
    reader.seek(partition, 3)
    assert [(record.offset, record.value) for record in drain(embedded, reader)] == [(3, b"new")]


def test_every_partition_is_assigned(embedded: Embedded) -> None:
    assert len(embedded.reader("g", [ONE, TWO]).assignment()) == 2 * PARTITIONS
