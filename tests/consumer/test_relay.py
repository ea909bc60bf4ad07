"""The outbox and the relay: what is published, at least once and in order for each key, also after failures."""

import json
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from adapters.errors import Fenced, LogUnavailable, StoreUnavailable, TooLarge
from adapters.messages.cloudevents import from_record
from adapters.messages.transitions import TRANSITION_TYPE, OutboxTopics
from adapters.ports import NewRecord
from adapters.store import journal as journal_rows
from adapters.store import orders as order_rows
from adapters.store import outbox as outbox_rows
from adapters.store.dead_letters import DeadLetter
from adapters.store.outbox import OutboxRow
from adapters.store.transaction import Store
from consumer.applying.apply import OrderWriter
from consumer.leases import RELAY, Leases
from consumer.relay import BATCH, IDLE_SECONDS, LEFT_OUT, Relay, RelayLoop
from tests.statemachine.lives import answered, read, sent, snapshot_event, spoke
from tests.support import OpenStore, StillClock, new_store

OUTBOX = OutboxTopics("orderflow.transitions", "orderflow.dead-letters")
LIFE = (
    snapshot_event(read("WAITING_ACCEPTANCE")),
    snapshot_event(read("SHIPPING", updated=1, began=1)),
    spoke(),
    sent(),
    snapshot_event(read("SHIPPED", updated=2, began=2)),
)


class Log:
    """A log that takes records up to a size. `ends` may raise instead."""

    def __init__(self) -> None:
        self.records: list[NewRecord] = []
        self.most_bytes = 10_000
        self.ends: Callable[[Sequence[NewRecord]], None] = lambda _records: None

    def publish(self, records: Sequence[NewRecord]) -> None:
        for number, record in enumerate(records):
            size = len(record.value) + len(record.key or b"") + sum(len(value) for _, value in record.headers)
            if size > self.most_bytes:
                raise TooLarge(number)
        self.ends(records)
        self.records += records

    @property
    def values(self) -> list[bytes]:
        return [record.value for record in self.records]


class World:
    """A store, the writer of its outbox, and the relay of one process, which has taken the relay's lease."""

    def __init__(self, store: Store) -> None:
        self.clock = StillClock()
        self.store = store
        self.orders = OrderWriter(store, {}, self.clock, outbox=OUTBOX)
        self.log = Log()
        self.leases = Leases(store, self.clock, "one", 30)
        self.leases.take(RELAY)
        self.relay = Relay(store, self.log, lambda: self.leases.kept(RELAY))

    def add(self, *texts: str, key: bytes | None = b"k", topic: str = "t") -> None:
        with self.store.transaction() as tx:
            outbox_rows.add(
                tx, [OutboxRow("type", NewRecord(topic, key, text.encode())) for text in texts], self.clock.now()
            )

    def waiting(self) -> list[NewRecord]:
        return [row.record for row in outbox_rows.oldest(self.store, 1000)]


@pytest.fixture
def world(open_store: OpenStore) -> World:
    return World(open_store())


# -- What goes into the outbox ------------------------------------------------------------------------------------


def test_without_an_outbox_nothing_is_published(world: World) -> None:
    orders = OrderWriter(world.store, {}, world.clock)
    orders.apply(LIFE, (), [LETTER])
    orders.store_dead_letters([LETTER])
    assert world.waiting() == []


def test_a_failing_batch_leaves_nothing_in_the_outbox(world: World) -> None:
    bad = replace(spoke(2), note={"bad": object()})  # type: ignore[dict-item]
    with pytest.raises(TypeError):
        world.orders.apply([LIFE[0], bad], (), [LETTER])
    assert world.waiting() == []


def test_each_change_of_state_is_published_once_and_nothing_else(world: World) -> None:
    """Events come together or one by one. Events without a change of state, repeats and stale reads publish nothing."""
    world.orders.apply(LIFE[:2])
    for later in (*LIFE[2:], *LIFE, sent("T2", when=9), answered("confirm_shipment")):
        world.orders.apply([later])
    order = order_rows.find(world.store, "O-1")[0]
    moves = [entry for entry in journal_rows.of_order(world.store, order.key) if entry.before != entry.after]
    events = [from_record(record.value, record.headers) for record in world.waiting()]
    published = [json.loads(event.data) for event in events if event]
    path = ["new", "waiting_acceptance", "shipping", "imported", "dispatched", "shipped"]
    assert [(one["from_state"], one["to_state"]) for one in published] == list(pairwise(path))
    assert [one["version"] for one in published] == [entry.version for entry in moves]
    for event, entry in zip([event for event in events if event], moves, strict=True):
        assert event.type == TRANSITION_TYPE
        assert event.subject == "O-1"
        assert event.extensions["partitionkey"] == event.extensions["correlationid"] == "alpha:O-1"
        assert event.extensions["causationid"] == f"{entry.event.source}#{entry.event.event_id}"
        assert event.extensions["sequence"] == f"{entry.version:010d}"
    assert {(record.topic, record.key) for record in world.waiting()} == {("orderflow.transitions", b"alpha:O-1")}


def test_the_id_of_a_transition_is_the_id_of_its_journal_row(world: World) -> None:
    world.orders.apply([spoke(), *LIFE[:2], replace(LIFE[0], order_id="O-2", event_id="other")])
    with world.store.reading() as connection:
        found = connection.exec_driver_sql("SELECT id, event_id, before, after FROM journal ORDER BY id").all()
    wanted = [(str(row.id), row.event_id) for row in found if row.before != row.after]
    events = [from_record(record.value, record.headers) for record in world.waiting()]
    assert [(e.id, e.extensions["causationid"].partition("#")[2]) for e in events if e] == wanted


LETTER = DeadLetter(
    "oms.order-events",
    "oms.order-events/2/17",
    "not_json",
    "data",
    "digest",
    b"\xfe",
    b'\xff{"a',
    (("ce_id", b"1"), ("x", b"\x80")),
)


def test_a_dead_letter_is_published_byte_for_byte_with_its_place_and_reason(world: World) -> None:
    world.orders.apply((), (), [LETTER])
    world.orders.store_dead_letters([replace(LETTER, key=None, value=None, headers=())])
    first, second = world.waiting()
    assert first.topic == "orderflow.dead-letters"
    assert first.key == b"\xfe"
    assert first.value == b'\xff{"a'
    assert first.headers[:2] == LETTER.headers
    assert dict(first.headers[2:]) == {
        "orderflow-source": b"oms.order-events",
        "orderflow-place": b"oms.order-events/2/17",
        "orderflow-reason": b"not_json",
        "orderflow-detail": b"data",
    }
    assert second.key is None
    assert second.value == b""


# -- What fails ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "error", [LogUnavailable("no answer"), RuntimeError("a bug")], ids=["log unavailable", "unexpected error"]
)
def test_records_that_could_not_be_published_are_published_later_in_the_same_order(
    world: World, error: Exception
) -> None:
    world.add("1", "2", "3")

    def fails(_records: Sequence[NewRecord]) -> None:
        raise error

    world.log.ends = fails
    for _ in range(2):
        with pytest.raises(type(error)):
            world.relay.turn()
    world.add("4")
    assert [record.value for record in world.waiting()] == [b"1", b"2", b"3", b"4"]
    world.log.ends = lambda _records: None
    assert world.relay.turn() == 4
    assert world.log.values == [b"1", b"2", b"3", b"4"]
    assert world.waiting() == []
    assert world.relay.turn() == 0


def refuses(*topics: str) -> Callable[[Sequence[NewRecord]], None]:
    """Answer as a broker at which this user may not write to these topics."""

    def ends(records: Sequence[NewRecord]) -> None:
        for topic in topics:
            if any(record.topic == topic for record in records):
                raise LogUnavailable(topic)

    return ends


def turned(world: World) -> int | str:
    """How many records a turn published, or the text of its error."""
    try:
        return world.relay.turn()
    except LogUnavailable as error:
        return str(error)


def test_a_failing_topic_does_not_stop_the_others_and_is_reported(world: World) -> None:
    world.add("1", "2", topic="dead-letters")
    world.add("a", "b", topic="transitions")
    world.add("3", topic="dead-letters")
    world.log.ends = refuses("dead-letters")
    assert turned(world) == "dead-letters"
    assert world.log.values == [b"a", b"b"]
    world.add("c", topic="transitions")
    assert turned(world) == "dead-letters"
    assert world.log.values == [b"a", b"b", b"c"]
    assert [record.value for record in world.waiting()] == [b"1", b"2", b"3"]
    world.log.ends = lambda _records: None
    world.add("d", topic="transitions")
    assert [turned(world), turned(world)] == [4, 0]
    assert world.log.values == [b"a", b"b", b"c", b"d", b"1", b"2", b"3"]


def test_a_failing_topic_with_more_than_a_batch_does_not_starve_the_others(world: World) -> None:
    failing = [f"{n}" for n in range(BATCH + 1)]
    world.add(*failing, topic="dead-letters")
    world.add("a", topic="transitions")
    world.log.ends = refuses("dead-letters")
    assert [turned(world), turned(world)] == ["dead-letters"] * 2
    assert world.log.values == [b"a"]
    world.log.ends = lambda _records: None
    assert [turned(world) for _ in range(3)] == [BATCH, 1, 0]
    assert world.log.values == [b"a", *(text.encode() for text in failing)]


def test_a_failing_topic_is_not_tried_while_the_others_have_whole_batches(world: World) -> None:
    """Each try may take as long as a publication may take."""
    world.add("1", topic="dead-letters")
    world.log.ends = refuses("dead-letters")
    assert turned(world) == "dead-letters"
    world.add(*("a" for _ in range(2 * BATCH + 1)), topic="transitions")
    assert [turned(world) for _ in range(3)] == [BATCH, BATCH, "dead-letters"]
    assert len(world.log.values) == 2 * BATCH + 1


def test_each_of_several_failing_topics_is_tried_again(world: World) -> None:
    for topic in ("dead-letters", "transitions"):
        world.add("1", "2", topic=topic)
    world.log.ends = refuses("dead-letters", "transitions")
    assert [turned(world), turned(world)] == ["dead-letters"] * 2
    world.log.ends = refuses("dead-letters")
    assert turned(world) == "dead-letters"
    assert [record.topic for record in world.log.records] == ["transitions"] * 2
    world.log.ends = lambda _records: None
    assert turned(world) == 2


def test_a_relay_that_lost_its_lease_publishes_and_deletes_nothing(world: World) -> None:
    world.add("1")
    other = Leases(world.store, world.clock, "two", 30)
    world.clock.advance(31)
    assert other.take(RELAY)
    with pytest.raises(Fenced):
        world.relay.turn()
    assert len(world.waiting()) == 1
    assert world.log.values == []
    assert Relay(world.store, world.log, lambda: other.kept(RELAY)).turn() == 1


def test_with_an_empty_outbox_the_lease_is_not_renewed(world: World) -> None:
    def lease() -> None:
        pytest.fail("the lease was renewed")

    assert Relay(world.store, world.log, lease).turn() == 0  # type: ignore[arg-type]


def test_a_crash_between_publication_and_deletion_publishes_twice_and_loses_nothing(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.add("1", "2")
    with monkeypatch.context() as crash:
        crash.setattr("adapters.store.outbox.delete", _gone)
        with pytest.raises(StoreUnavailable):
            world.relay.turn()
    world.add("3")
    assert world.relay.turn() == 3
    assert world.log.values == [b"1", b"2", b"1", b"2", b"3"]


def _gone(*_: object) -> None:
    raise StoreUnavailable("gone")


def test_a_record_that_is_added_during_a_publication_waits_for_the_next(world: World) -> None:
    world.add("1")
    world.log.ends = lambda _records: world.add("2")
    assert world.relay.turn() == 1
    assert [record.value for record in world.waiting()] == [b"2"]


def test_a_record_that_is_too_large_is_published_without_its_value_and_the_others_whole(world: World) -> None:
    with world.store.transaction() as tx:
        large = NewRecord("t", b"k", b"x" * 20_000, (("h", b"1"),))
        small = [NewRecord("t", b"k", b"%d" % n) for n in range(2)]
        outbox_rows.add(tx, [OutboxRow("type", one) for one in (large, small[0], large, small[1])], world.clock.now())
    assert world.relay.turn() == 4
    without = NewRecord("t", b"k", b"", (("h", b"1"), LEFT_OUT))
    assert world.log.records == [without, small[0], without, small[1]]
    assert world.waiting() == []


def test_a_record_whose_headers_are_too_large_is_left_out_and_the_others_are_published(world: World) -> None:
    """The others of its batch must not be deleted without being published."""
    with world.store.transaction() as tx:
        large = NewRecord("t", b"k", b"", (("h", b"x" * 20_000),))
        small = [NewRecord("t", b"k", b"%d" % n) for n in range(2)]
        outbox_rows.add(tx, [OutboxRow("type", one) for one in (small[0], large, small[1])], world.clock.now())
    world.relay.turn()
    assert world.log.records == small
    assert world.waiting() == []
    with world.store.transaction() as tx:
        outbox_rows.add(tx, [OutboxRow("type", large)], world.clock.now())
    world.relay.turn()
    assert world.log.records == small
    assert world.waiting() == []


# -- Any interleaving ---------------------------------------------------------------------------------------------

#: Add a record of a key; or a turn that succeeds, fails after some records, or fails before it deletes any.
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("add"), st.integers(0, 2)),
        st.tuples(st.just("cut off"), st.integers(0, 4)),
        st.sampled_from([("turn", 0), ("dies", 0)]),
    ),
    max_size=25,
)


@settings(max_examples=50)
@given(STEPS)
def test_whatever_fails_every_record_of_a_key_is_published_in_order(steps: list[tuple[str, int]]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        world = World(new_store(Path(folder)))
        added: dict[bytes, list[bytes]] = {}
        try:
            for number, (step, n) in enumerate([*steps, ("turn", 0)]):
                _take(world, step, n, number, added)
            for key, wanted in added.items():
                published = [record.value for record in world.log.records if record.key == key]
                assert list(dict.fromkeys(published)) == wanted
            assert world.waiting() == []
        finally:
            world.store.close()


def _take(world: World, step: str, n: int, number: int, added: dict[bytes, list[bytes]]) -> None:
    if step == "add":
        key, text = b"k%d" % n, f"{number}"
        world.add(text, key=key)
        added.setdefault(key, []).append(text.encode())
        return
    if step == "turn":
        world.log.ends = lambda _records: None
        world.relay.turn()
        return

    def ends(records: Sequence[NewRecord]) -> None:
        world.log.records += records[:n] if step == "cut off" else records
        raise LogUnavailable(step)

    world.log.ends = ends
    if world.waiting():
        with pytest.raises(LogUnavailable):
            world.relay.turn()


def test_transitions_and_dead_letters_are_added_in_the_transaction_that_caused_them(world: World) -> None:
    world.orders.apply(LIFE[:1], (), [LETTER])
    assert [record.topic for record in world.waiting()] == ["orderflow.transitions", "orderflow.dead-letters"]
    assert world.relay.turn() == 2


# -- The loop ------------------------------------------------------------------------------------------------------


def test_only_the_process_that_holds_the_lease_publishes(open_store: OpenStore) -> None:
    world = World(open_store())
    world.add("1")
    other = RelayLoop(world.relay, partial(Leases(world.store, world.clock, "two", 30).take, RELAY), 10.0)
    assert other.turn() == 10.0
    assert world.log.values == []
    mine = RelayLoop(world.relay, partial(world.leases.take, RELAY), 10.0)
    assert mine.turn() == IDLE_SECONDS
    assert world.log.values == [b"1"]


def test_the_relay_rests_unless_more_than_a_batch_may_wait(open_store: OpenStore) -> None:
    world = World(open_store())
    for number in range(BATCH + 1):
        world.add(str(number))
    loop = RelayLoop(world.relay, partial(world.leases.take, RELAY), 10.0)
    assert [loop.turn() for _ in range(2)] == [0.0, IDLE_SECONDS]
    assert len(world.log.values) == BATCH + 1
