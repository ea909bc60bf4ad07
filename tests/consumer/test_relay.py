"""What the world is told: once for each change, in order for each key, at least once, whatever fails on the way."""

import json
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import replace
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
from consumer.apply import OrderWriter
from consumer.leases import RELAY, Leases
from consumer.relay import BATCH, LEFT_OUT, Relay
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
    """Takes what it is given, whole or in part, or fails first, as it is told."""

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
    """A store, what writes into its outbox, and the relay of one process."""

    def __init__(self, store: Store) -> None:
        self.clock = StillClock()
        self.store = store
        self.orders = OrderWriter(store, {}, self.clock, outbox=OUTBOX)
        self.log = Log()
        self.leases = Leases(store, self.clock, "one", 30)
        self.leases.take(RELAY)
        self.relay = Relay(store, self.log, lambda: self.leases.kept(RELAY))

    def tell(self, *texts: str, key: bytes | None = b"k", topic: str = "t") -> None:
        with self.store.transaction() as tx:
            outbox_rows.add(
                tx, [OutboxRow("type", NewRecord(topic, key, text.encode())) for text in texts], self.clock.now()
            )

    def waiting(self) -> list[NewRecord]:
        return [row.record for row in outbox_rows.oldest(self.store, 1000)]


@pytest.fixture
def world(open_store: OpenStore) -> World:
    return World(open_store())


# -- What is written into it -------------------------------------------------------------------------------------


def test_nobody_is_told_without_an_outbox(world: World) -> None:
    orders = OrderWriter(world.store, {}, world.clock)
    orders.apply(LIFE, (), [LETTER])
    orders.store_dead_letters([LETTER])
    assert world.waiting() == []


def test_nothing_of_a_failing_batch_is_told(world: World) -> None:
    bad = replace(spoke(2), note={"bad": object()})  # type: ignore[dict-item]
    with pytest.raises(TypeError):
        world.orders.apply([LIFE[0], bad], (), [LETTER])
    assert world.waiting() == []


def test_each_change_of_state_is_told_once_and_nothing_else(world: World) -> None:
    """Together or one by one: a step that moves nothing, a repeat and a stale read are no news."""
    world.orders.apply(LIFE[:2])
    for later in (*LIFE[2:], *LIFE, sent("T2", when=9), answered("confirm_shipment")):
        world.orders.apply([later])
    order = order_rows.find(world.store, "O-1")[0]
    moves = [entry for entry in journal_rows.of_order(world.store, order.key) if entry.before != entry.after]
    events = [from_record(record.value, record.headers) for record in world.waiting()]
    told = [json.loads(event.data) for event in events if event]
    path = ["new", "waiting_acceptance", "shipping", "imported", "dispatched", "shipped"]
    assert [(one["from_state"], one["to_state"]) for one in told] == list(pairwise(path))
    assert [one["version"] for one in told] == [entry.version for entry in moves]
    for event, entry in zip([event for event in events if event], moves, strict=True):
        assert event.type == TRANSITION_TYPE
        assert event.subject == "O-1"
        assert event.extensions["partitionkey"] == event.extensions["correlationid"] == "alpha:O-1"
        assert event.extensions["causationid"] == f"{entry.event.source}#{entry.event.event_id}"
        assert event.extensions["sequence"] == f"{entry.version:010d}"
    assert {(record.topic, record.key) for record in world.waiting()} == {("orderflow.transitions", b"alpha:O-1")}


def test_its_id_is_the_journals(world: World) -> None:
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


def test_a_dead_letter_goes_out_byte_for_byte_with_its_place_and_reason(world: World) -> None:
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


# -- What fails --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("error", [LogUnavailable("away"), RuntimeError("broken")], ids=["away", "broken"])
def test_what_could_not_be_published_waits_and_goes_out_in_the_same_order(world: World, error: Exception) -> None:
    world.tell("1", "2", "3")

    def fails(_records: Sequence[NewRecord]) -> None:
        raise error

    world.log.ends = fails
    for _ in range(2):
        with pytest.raises(type(error)):
            world.relay.turn()
    world.tell("4")
    assert [record.value for record in world.waiting()] == [b"1", b"2", b"3", b"4"]
    world.log.ends = lambda _records: None
    assert world.relay.turn() == 4
    assert world.log.values == [b"1", b"2", b"3", b"4"]
    assert world.waiting() == []
    assert world.relay.turn() == 0


def refuses(*topics: str) -> Callable[[Sequence[NewRecord]], None]:
    """As a broker where the right to write to these topics was lost."""

    def ends(records: Sequence[NewRecord]) -> None:
        for topic in topics:
            if any(record.topic == topic for record in records):
                raise LogUnavailable(topic)

    return ends


def turned(world: World) -> int | str:
    """What came of a turn: how many, or what it raised."""
    try:
        return world.relay.turn()
    except LogUnavailable as error:
        return str(error)


def test_a_topic_that_takes_nothing_stops_no_other_and_is_told(world: World) -> None:
    world.tell("1", "2", topic="letters")
    world.tell("a", "b", topic="moves")
    world.tell("3", topic="letters")
    world.log.ends = refuses("letters")
    assert turned(world) == "letters"
    assert world.log.values == [b"a", b"b"]
    world.tell("c", topic="moves")
    assert turned(world) == "letters"
    assert world.log.values == [b"a", b"b", b"c"]
    assert [record.value for record in world.waiting()] == [b"1", b"2", b"3"]
    world.log.ends = lambda _records: None
    world.tell("d", topic="moves")
    assert [turned(world), turned(world)] == [4, 0]
    assert world.log.values == [b"a", b"b", b"c", b"d", b"1", b"2", b"3"]


def test_more_of_a_stuck_topic_than_one_read_takes_starves_no_other(world: World) -> None:
    stuck = [f"{n}" for n in range(BATCH + 1)]
    world.tell(*stuck, topic="letters")
    world.tell("a", topic="moves")
    world.log.ends = refuses("letters")
    assert [turned(world), turned(world)] == ["letters"] * 2
    assert world.log.values == [b"a"]
    world.log.ends = lambda _records: None
    assert [turned(world) for _ in range(3)] == [BATCH, 1, 0]
    assert world.log.values == [b"a", *(text.encode() for text in stuck)]


def test_a_stuck_topic_costs_the_others_no_try_while_they_have_whole_batches(world: World) -> None:
    """Each try of it may take as long as a publication may."""
    world.tell("1", topic="letters")
    world.log.ends = refuses("letters")
    assert turned(world) == "letters"
    world.tell(*("a" for _ in range(2 * BATCH + 1)), topic="moves")
    assert [turned(world) for _ in range(3)] == [BATCH, BATCH, "letters"]
    assert len(world.log.values) == 2 * BATCH + 1


def test_each_of_several_stuck_topics_is_tried_again(world: World) -> None:
    for topic in ("letters", "moves"):
        world.tell("1", "2", topic=topic)
    world.log.ends = refuses("letters", "moves")
    assert [turned(world), turned(world)] == ["letters"] * 2
    world.log.ends = refuses("letters")
    assert turned(world) == "letters"
    assert [record.topic for record in world.log.records] == ["moves"] * 2
    world.log.ends = lambda _records: None
    assert turned(world) == 2


def test_who_lost_the_lease_publishes_and_deletes_nothing(world: World) -> None:
    world.tell("1")
    other = Leases(world.store, world.clock, "two", 30)
    world.clock.advance(31)
    assert other.take(RELAY)
    with pytest.raises(Fenced):
        world.relay.turn()
    assert len(world.waiting()) == 1
    assert world.log.values == []
    assert Relay(world.store, world.log, lambda: other.kept(RELAY)).turn() == 1


def test_an_empty_outbox_asks_nobody(world: World) -> None:
    def asked() -> None:
        pytest.fail("the lease was asked for")

    assert Relay(world.store, world.log, asked).turn() == 0  # type: ignore[arg-type]


def test_a_crash_between_publication_and_deletion_publishes_twice_and_loses_nothing(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.tell("1", "2")
    with monkeypatch.context() as crash:
        crash.setattr("adapters.store.outbox.delete", _gone)
        with pytest.raises(StoreUnavailable):
            world.relay.turn()
    world.tell("3")
    assert world.relay.turn() == 3
    assert world.log.values == [b"1", b"2", b"1", b"2", b"3"]


def _gone(*_: object) -> None:
    raise StoreUnavailable("gone")


def test_what_is_told_during_a_publication_waits_for_the_next(world: World) -> None:
    world.tell("1")
    world.log.ends = lambda _records: world.tell("2")
    assert world.relay.turn() == 1
    assert [record.value for record in world.waiting()] == [b"2"]


def test_a_record_that_is_too_large_goes_out_without_its_value_and_the_rest_whole(world: World) -> None:
    with world.store.transaction() as tx:
        large = NewRecord("t", b"k", b"x" * 20_000, (("h", b"1"),))
        small = [NewRecord("t", b"k", b"%d" % n) for n in range(2)]
        outbox_rows.add(tx, [OutboxRow("type", one) for one in (large, small[0], large, small[1])], world.clock.now())
    assert world.relay.turn() == 4
    without = NewRecord("t", b"k", b"", (("h", b"1"), LEFT_OUT))
    assert world.log.records == [without, small[0], without, small[1]]
    assert world.waiting() == []


def test_a_record_whose_headers_alone_are_too_large_takes_no_other_with_it(world: World) -> None:
    """The batch was deleted unpublished: after so many tries its records counted as published."""
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


# -- Any interleaving --------------------------------------------------------------------------------------------

#: Tell of a key; or a turn that ends well, is cut off after so many records, or dies before it deletes.
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("tell"), st.integers(0, 2)),
        st.tuples(st.just("cut off"), st.integers(0, 4)),
        st.sampled_from([("turn", 0), ("dies", 0)]),
    ),
    max_size=25,
)


@settings(max_examples=50)
@given(STEPS)
def test_whatever_fails_each_key_is_first_heard_of_in_order_and_whole(steps: list[tuple[str, int]]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        world = World(new_store(Path(folder)))
        told: dict[bytes, list[bytes]] = {}
        try:
            for number, (step, n) in enumerate([*steps, ("turn", 0)]):
                _take(world, step, n, number, told)
            for key, wanted in told.items():
                heard = [record.value for record in world.log.records if record.key == key]
                assert list(dict.fromkeys(heard)) == wanted
            assert world.waiting() == []
        finally:
            world.store.close()


def _take(world: World, step: str, n: int, number: int, told: dict[bytes, list[bytes]]) -> None:
    if step == "tell":
        key, text = b"k%d" % n, f"{number}"
        world.tell(text, key=key)
        told.setdefault(key, []).append(text.encode())
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


def test_an_order_and_its_letters_are_told_in_the_transaction_that_made_them(world: World) -> None:
    world.orders.apply(LIFE[:1], (), [LETTER])
    assert [record.topic for record in world.waiting()] == ["orderflow.transitions", "orderflow.dead-letters"]
    assert world.relay.turn() == 2
