"""What every log keeps (ports.LogWriter, ports.LogReader). A second adapter joins by one more entry in `LOGS`.

Partial failures are injected (`Halving`, a locked store): the embedded log shares the store's database and would hide
them.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Protocol

import pytest

from adapters.log import PARTITIONS, EmbeddedLog
from adapters.ports import Extent, LogReader, LogUnavailable, LogWriter, NewRecord, Place, Record
from adapters.store import Move, Store
from tests.support import StillClock, new_store

ONE, TWO = "topic.one", "topic.two"


class World(Protocol):
    """One log under test, and what its contract needs of it."""

    clock: StillClock
    writer: LogWriter

    def reader(self, group: str, topics: Sequence[str]) -> LogReader: ...

    def take_away(self) -> None:
        """From now on the log does not answer."""
        ...

    def bring_back(self) -> None: ...

    def close(self) -> None: ...


class Embedded:
    """The embedded log over a file."""

    def __init__(self, folder: Path) -> None:
        self.clock = StillClock()
        new_store(folder).close()
        self.store = Store(f"sqlite:///{folder}/orderflow.db", busy_seconds=0.01)
        self.log = EmbeddedLog(self.store, self.clock)
        self.writer: LogWriter = self.log
        self._folder = folder

    def reader(self, group: str, topics: Sequence[str]) -> LogReader:
        return self.log.reader(group, topics)

    def take_away(self) -> None:
        self.store.close()
        self._folder.rename(self._folder.with_name("away"))

    def bring_back(self) -> None:
        self._folder.with_name("away").rename(self._folder)

    def close(self) -> None:
        self.store.close()


LOGS: dict[str, Callable[[Path], World]] = {"embedded": Embedded}


@pytest.fixture(params=LOGS)
def world(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[World]:
    folder = tmp_path / "log"
    folder.mkdir()
    world = LOGS[request.param](folder)
    yield world
    world.close()


@dataclass
class Halving:
    """A writer that loses its connection after so many records (rule: publishing all again is right)."""

    writer: LogWriter
    survive: int

    def publish(self, records: Sequence[NewRecord]) -> None:
        kept = records[: self.survive]
        self.survive = len(records)
        self.writer.publish(kept)
        if len(kept) < len(records):
            raise LogUnavailable("lost after some")


def new(key: str, value: str, topic: str = ONE) -> NewRecord:
    return NewRecord(topic, key.encode(), value.encode())


def drain(reader: LogReader, max_records: int = 100) -> list[Record]:
    found: list[Record] = []
    while records := reader.poll(max_records, 0):
        found += records
    return found


def by_key(records: Sequence[Record]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for record in records:
        found.setdefault((record.key or b"").decode(), []).append((record.value or b"").decode())
    return found


# -- Every log ---------------------------------------------------------------------------------------------------


def test_an_empty_log_gives_nothing(world: World) -> None:
    assert world.reader("g", [ONE]).poll(10, 0) == []
    world.writer.publish([])
    assert world.reader("g", [ONE]).poll(10, 0) == []


def test_a_log_that_is_away_says_so_and_comes_back(world: World) -> None:
    reader = world.reader("g", [ONE])
    world.writer.publish([new("k", "1")])
    world.take_away()
    with pytest.raises(LogUnavailable):
        world.writer.publish([new("k", "2")])
    with pytest.raises(LogUnavailable):
        reader.poll(10, 0)
    world.bring_back()
    world.writer.publish([new("k", "2")])
    assert by_key(drain(reader)) == {"k": ["1", "2"]}


def test_records_of_a_key_keep_their_order_in_one_partition(world: World) -> None:
    keys = [f"alpha:{n}" for n in range(20)]
    for step in range(5):
        world.writer.publish([new(key, str(step)) for key in keys])
    records = drain(world.reader("g", [ONE]), max_records=7)
    assert by_key(records) == {key: ["0", "1", "2", "3", "4"] for key in keys}
    assert all(len({record.place for record in records if record.key == key.encode()}) == 1 for key in keys)
    assert len({record.place for record in records}) > 1


def test_a_clock_that_is_set_back_reorders_and_loses_nothing(world: World) -> None:
    """By time of publication the second would have come first, and behind a short poll the first never."""
    world.writer.publish([new("k", "1")])
    world.clock.advance(-3600)
    world.writer.publish([new("k", "2")])
    reader = world.reader("g", [ONE])
    assert [[record.value for record in reader.poll(1, 0)] for _ in range(3)] == [[b"1"], [b"2"], []]


def test_offsets_of_a_partition_have_no_gaps(world: World) -> None:
    for batch in range(4):
        world.writer.publish([new(f"{batch}{n}", "x") for n in range(10)])
    offsets: dict[Place, list[int]] = {}
    for record in drain(world.reader("g", [ONE])):
        offsets.setdefault(record.place, []).append(record.offset)
    assert sum(map(len, offsets.values())) == 40
    assert all(found == list(range(len(found))) for found in offsets.values())


def test_a_record_comes_back_as_it_was_published(world: World) -> None:
    value = b'\xef\xbb\xbf{"a":1.10 , "\xc3\xb6":null}\r\n\x00\xff'
    headers = (("ce_id", b"\xc3\xa9\xff\x00"), ("ce_id", b""), ("\u00e4", b"2"))
    world.writer.publish([NewRecord(ONE, "alpha:Ö-1".encode(), value, headers)])
    (record,) = drain(world.reader("g", [ONE]))
    assert (record.value, record.headers, record.key) == (value, headers, "alpha:Ö-1".encode())
    assert record.published_at == world.clock.now()
    assert record.published_at.tzinfo is not None


def test_a_poll_is_no_longer_than_asked_and_goes_on_from_there(world: World) -> None:
    world.writer.publish([new(str(n), "x") for n in range(10)])
    reader = world.reader("g", [ONE])
    assert [len(reader.poll(4, 0)) for _ in range(4)] == [4, 4, 2, 0]


def test_seek_delivers_again_and_nothing_else_moves(world: World) -> None:
    world.writer.publish([new(str(n), str(n)) for n in range(20)])
    reader = world.reader("g", [ONE])
    first = drain(reader)
    place = first[0].place
    mine = [record for record in first if record.place == place]
    reader.seek(place, mine[1].offset)
    assert drain(reader) == mine[1:]
    reader.seek(place, mine[-1].offset + 1)
    assert drain(reader) == []


def test_groups_and_topics_are_independent(world: World) -> None:
    world.writer.publish([new("k", "1"), new("k", "a", TWO)])
    assert by_key(drain(world.reader("g", [ONE]))) == {"k": ["1"]}
    assert by_key(drain(world.reader("h", [ONE, TWO]))).keys() == {"k"}
    assert len(drain(world.reader("h", [ONE, TWO]))) == 2


@pytest.mark.parametrize(("busy", "quiet"), [(ONE, TWO), (TWO, ONE)])
def test_no_partition_starves_another(world: World, busy: str, quiet: str) -> None:
    """A backlog in one of them and short polls: what comes in elsewhere does not wait for its end."""
    world.writer.publish([new("k", str(n), busy) for n in range(50)])
    world.writer.publish([new("k", "1", quiet)])
    reader = world.reader("g", [ONE, TWO])
    polls = [reader.poll(10, 0) for _ in range(3)]
    assert any(record.place.topic == quiet for records in polls for record in records)


def test_a_paused_partition_rests_and_then_goes_on(world: World) -> None:
    world.writer.publish([new("k", "1"), new("k", "2"), new("k", "a", TWO)])
    reader = world.reader("g", [ONE, TWO])
    reader.pause([place for place in reader.assignment() if place.topic == ONE])
    assert by_key(drain(reader)) == {"k": ["a"]}
    assert any(place.topic == ONE for place in reader.assignment())
    reader.pause([])
    assert by_key(drain(reader)) == {"k": ["1", "2"]}


def test_two_topics_may_come_in_any_order(world: World) -> None:
    """Nothing may rely on more: each by itself is in order, whatever is read first (injected by seeking)."""
    for n in range(3):
        world.writer.publish([new("k", f"{n}"), new("k", f"{n}", TWO)])
    reader = world.reader("g", [ONE, TWO])
    first = drain(reader)
    for place in {record.place for record in first if record.place.topic == ONE}:
        reader.seek(place, 0)
    late = drain(reader)
    for topic, records in ((ONE, late), (TWO, [record for record in first if record.place.topic == TWO])):
        assert [record.value for record in records] == [b"0", b"1", b"2"]
        assert {record.place.topic for record in records} == {topic}


@pytest.mark.parametrize("survive", range(4))
def test_a_batch_that_was_half_published_is_published_again_whole(world: World, survive: int) -> None:
    """At least once, and each key's first sightings in order: event ids absorb the rest."""
    batch = [new("a", "1"), new("b", "1"), new("a", "2")]
    writer = Halving(world.writer, survive)
    try:
        writer.publish(batch)
    except LogUnavailable:
        writer.publish(batch)
    values = by_key(drain(world.reader("g", [ONE])))
    firsts = {key: list(dict.fromkeys(found)) for key, found in values.items()}
    assert firsts == {"a": ["1", "2"], "b": ["1"]}
    assert sum(map(len, values.values())) == len(batch) + survive % len(batch)


def test_commit_and_close_are_only_hints(world: World) -> None:
    world.writer.publish([new("k", "1")])
    reader = world.reader("g", [ONE])
    (record,) = drain(reader)
    reader.commit({record.place: record.offset + 1})
    reader.seek(record.place, record.offset)
    assert drain(reader) == [record]
    reader.close()


# -- The embedded log alone --------------------------------------------------------------------------------------


@pytest.fixture
def embedded(tmp_path: Path) -> Iterator[Embedded]:
    world = Embedded(tmp_path)
    yield world
    world.close()


def passes(
    world: Embedded, place: Place, held: int, position: int, group: str = "g", cluster: str = "embedded"
) -> None:
    with world.store.transaction() as tx:
        tx.begin_progress(cluster, group, {place: Extent(0, 0)})
        tx.advance(Move(cluster, group, place, held, position))


def test_a_failed_publish_published_nothing(embedded: Embedded) -> None:
    with pytest.raises(UnicodeEncodeError):
        embedded.writer.publish([new("k", "1"), new("\ud800", "2")])
    assert drain(embedded.reader("g", [ONE])) == []


def test_a_waiting_poll_wakes_when_something_is_published(embedded: Embedded) -> None:
    """No sleep: the wait itself publishes, as another thread would."""
    reader, asked = embedded.reader("g", [ONE]), []
    notified = embedded.log.published

    class Waits:
        def __enter__(self) -> None: ...
        def __exit__(self, *_: object) -> None: ...

        def wait(self, seconds: float) -> None:
            asked.append(seconds)
            embedded.log.published = notified
            embedded.writer.publish([new("k", "1")])

    embedded.log.published = Waits()  # type: ignore[assignment]
    assert len(reader.poll(10, 9.0)) == 1
    assert asked == [9.0]


def test_trim_keeps_what_a_group_has_not_passed_and_what_is_young(embedded: Embedded) -> None:
    embedded.writer.publish([new("k", str(n)) for n in range(4)])
    start = embedded.clock.now()
    embedded.clock.advance(100)
    embedded.writer.publish([new("k", str(n)) for n in range(4, 6)])
    (place,) = {record.place for record in drain(embedded.reader("g", [ONE]))}
    old = start + timedelta(seconds=1)
    assert embedded.log.trim(old) == 0  # nobody has passed anything
    passes(embedded, place, 0, 5)
    passes(embedded, place, 0, 2, group="slow")
    passes(embedded, place, 0, 1, cluster="kafka")  # another log with a topic of this name
    assert embedded.log.trim(old) == 2
    passes(embedded, place, 2, 5, group="slow")
    assert embedded.log.trim(old) == 2
    assert [record.offset for record in drain(embedded.reader("g", [ONE]))] == [4, 5]


def test_offsets_go_on_after_everything_was_trimmed(embedded: Embedded) -> None:
    """They began at 0 again, below every group's position: all that came later was never read."""
    embedded.writer.publish([new("k", str(n)) for n in range(3)])
    (place,) = {record.place for record in drain(embedded.reader("g", [ONE]))}
    passes(embedded, place, 0, 3)
    embedded.clock.advance(9999)
    embedded.log.trim(embedded.clock.now())
    embedded.writer.publish([new("k", "new")])
    reader = embedded.reader("g", [ONE])
    reader.seek(place, 3)
    assert [(record.offset, record.value) for record in drain(reader)] == [(3, b"new")]


def test_every_partition_is_assigned(embedded: Embedded) -> None:
    assert len(embedded.reader("g", [ONE, TWO]).assignment()) == 2 * PARTITIONS
