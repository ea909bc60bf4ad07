"""Snapshots that nothing rests on are removed, of orders that ended a while ago. What can be proved stays."""

import tempfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import psycopg
import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, given, settings

from adapters.simulators.mirakl import changes
from adapters.store import orders as order_rows
from adapters.store import retention as retention_rows
from adapters.store import schema as s
from consumer import bootstrap
from consumer.hooks import NO_HOOKS
from consumer.housekeeping import retention
from consumer.housekeeping.retention import Retention
from consumer.operations import orders as operations
from consumer.operations.changed import changed_values
from consumer.operations.orders import explanation
from consumer.operations.timeline import timeline
from consumer.operations.verify import verified
from statemachine.commands import Policy
from statemachine.events import Event
from statemachine.facts import DecisionKind
from tests.consumer.applying.test_apply import World
from tests.consumer.rig import Rig
from tests.consumer.situations.in_oms_hands import decide, tell
from tests.statemachine.lives import read, snapshot_event, spoke
from tests.statemachine.test_confluence import histories

DAY = timedelta(days=1).total_seconds()
DAYS = 30


@pytest.fixture(params=["sqlite", "postgresql"])
def rig(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Rig]:
    url = request.getfixturevalue("postgres_store_url") if request.param == "postgresql" else None
    rig = Rig(tmp_path, store_url=url)
    yield rig
    rig.store.close()


@pytest.fixture
def on_sqlite(tmp_path: Path) -> Rig:
    return Rig(tmp_path)


def stored(rig: Rig, order_id: str = "1-A") -> set[str]:
    """The digests of the snapshots of an order."""
    with rig.store.reading() as connection:
        mine = sa.select(s.snapshots.c.content).where(s.snapshots.c.order_key == rig.row(order_id).key)
        return set(connection.execute(mine).scalars())


def newest(rig: Rig, order_id: str = "1-A") -> str:
    return rig.row(order_id).digest


def shipped(rig: Rig, order_id: str = "1-A") -> dict[str, str]:
    """Carry an order through its life. It changes between what happens to it. Returns the digest of each read."""
    mirakl, digests = rig.mirakl["alpha"], {}

    def read(name: str) -> None:
        rig.poll(400)
        digests[name] = newest(rig, order_id)

    def change(name: str) -> None:
        changes.set_fields(mirakl, order_id, customer_notification_email=f"{name}@example.invalid")
        read(name)

    rig.add(order_id)
    read("before acceptance")
    change("at acceptance")
    rig.work()
    read("before payment")
    change("still before payment")
    mirakl.confirm_debit(order_id)
    read("ready")
    change("at import")
    rig.work()
    change("at production")
    rig.oms.dispatch(order_id, tracking="T-1", carrier="DPD UK")
    rig.consume()
    rig.work(200)
    read("shipped")
    change("after shipment")
    mirakl.mark_received(order_id)
    read("received")
    assert rig.state(order_id) == "shipped"
    act = operations.Act(DecisionKind.SETTLE, "ana", "seen", rig.clock.now())  # the address changed at production
    operations.decide(rig.store, rig.orders, rig.row(order_id), act, shops=("alpha",))
    assert rig.attention(order_id) == []
    return digests


#: Reads of `shipped` on which nothing rests: they were never the newest when something was done.
RESTS_ON_NOTHING = {"before acceptance", "before payment", "still before payment", "shipped", "after shipment"}


def days_pass(rig: Rig, days: float = DAYS + 0.01) -> None:
    """Let this time pass. Then a housekeeping that just started walks to the end."""
    rig.clock.advance(days * DAY)
    one_more(rig)
    walk(rig)


def one_more(rig: Rig) -> None:
    """One more order is read. The last row of the journal is left to the next time."""
    rig.add(f"LAST-{rig.clock.now():%j}")
    rig.poll()


def walk(rig: Rig, keeper: Retention | None = None) -> None:
    keeper = keeper or Retention(rig.store, rig.clock, rig.base.hooks, timedelta(days=DAYS))
    for _ in range(50):
        keeper.turn(lambda: None)
        rig.clock.advance(1)


def seen_by_people(rig: Rig, order_id: str = "1-A") -> tuple[Any, ...]:
    row = rig.row(order_id)
    explained = explanation(rig.store, row, Policy(), row.updated_at)
    return row, rig.journal(order_id), explained, timeline(rig.journal(order_id)), changed_values(rig.store, row)


def assert_verified(rig: Rig) -> None:
    assert [found for _, found in verified(rig.store, None, rig.policies) if found] == []


def test_reads_on_which_nothing_rests_are_removed_after_a_month_and_nothing_else_changes(rig: Rig) -> None:
    digests = shipped(rig)
    before = seen_by_people(rig)
    days_pass(rig)
    assert stored(rig) == {digest for name, digest in digests.items() if name not in RESTS_ON_NOTHING}
    assert seen_by_people(rig) == before
    assert_verified(rig)
    assert rig.metrics.registry.get_sample_value("orderflow_snapshots_removed_total") == len(RESTS_ON_NOTHING)


def test_the_housekeeping_does_it(on_sqlite: Rig) -> None:
    rig = on_sqlite
    shipped(rig)
    before = len(stored(rig))
    rig.clock.advance(DAYS * DAY + 900)
    one_more(rig)
    bootstrap.new_housekeeping(rig.base).turn()
    assert len(stored(rig)) == before - len(RESTS_ON_NOTHING)


def test_before_the_month_is_over_everything_stays(rig: Rig) -> None:
    digests = shipped(rig)
    days_pass(rig, DAYS - 0.5)
    assert stored(rig) == set(digests.values())


def test_the_month_begins_with_the_last_event(on_sqlite: Rig) -> None:
    rig = on_sqlite
    digests = shipped(rig)
    rig.clock.advance(20 * DAY)
    rig.mirakl["alpha"].close("1-A")
    rig.poll()
    days_pass(rig, 20)
    assert set(digests.values()) < stored(rig)
    days_pass(rig, 11)
    assert len(stored(rig)) < len(digests)


def test_of_an_open_order_and_of_one_that_needs_a_person_everything_stays(rig: Rig) -> None:
    rig.add("OPEN-A")
    rig.poll()
    rig.work()
    shipped(rig)
    rig.mirakl["alpha"].cancel("1-A", reason="FRAUD")
    rig.poll()
    rig.imported("2-A")
    changes.set_fields(rig.mirakl["alpha"], "2-A", customer_notification_email="two@example.invalid")
    rig.poll(400)
    rig.mirakl["alpha"].cancel("2-A")
    rig.poll(400)
    assert rig.attention("2-A")
    before = {order_id: stored(rig, order_id) for order_id in ("OPEN-A", "2-A")}
    days_pass(rig)
    assert {order_id: stored(rig, order_id) for order_id in before} == before


def test_an_order_that_a_person_settled_is_thinned_a_month_later(on_sqlite: Rig) -> None:
    rig = on_sqlite
    rig.imported()
    for street in ("95 Canary Row", "96 Canary Row"):
        changes.set_address(rig.mirakl["alpha"], "1-A", street_1=street)
        rig.poll(400)
    rig.mirakl["alpha"].cancel("1-A")
    rig.poll(400)
    days_pass(rig)
    assert len(stored(rig)) == 4
    while rig.attention():
        decide(rig, DecisionKind.SETTLE)
    days_pass(rig)
    assert len(stored(rig)) == 2, "that of the import, and the newest, on which the settle rests"
    assert_verified(rig)


def test_a_late_read_of_a_removed_version_joins_to_the_same_facts(rig: Rig) -> None:
    shipped(rig)
    records = rig.records()
    before = rig.row()
    days_pass(rig)
    assert len(stored(rig)) < len(records)
    for partition in {record.partition for record in records}:
        rig.reset_offsets(partition, "earliest")
    rig.consumer = rig.new_consumer()
    rig.consume()
    assert replace(rig.row(), updated_at=before.updated_at, read_after=before.read_after) == before
    assert_verified(rig)


def test_a_read_that_shows_a_removed_version_again_is_stored_again(on_sqlite: Rig) -> None:
    """Nothing but the content of a read tells whether its bytes are stored."""
    rig = on_sqlite
    rig.imported()
    mirakl = rig.mirakl["alpha"]
    for street in ("95 Canary Row", "96 Canary Row"):
        changes.set_address(mirakl, "1-A", street_1=street)
        rig.poll(400)
    decide(rig, DecisionKind.SETTLE)
    rig.oms.dispatch("1-A", tracking="T-1", carrier="DPD UK")
    rig.consume()
    rig.work(200)
    rig.poll(400)
    assert (rig.state(), rig.attention()) == ("shipped", [])
    days_pass(rig)
    changes.set_address(mirakl, "1-A", street_1="95 Canary Row")
    rig.poll(400)
    assert newest(rig) in stored(rig)
    assert_verified(rig)


def in_oms_from_us(rig: Rig) -> None:
    rig.imported()


def in_oms_from_a_person(rig: Rig) -> None:
    rig.fail("order", "answer", status=400, content='{"error": {"message": "no", "code": 0}}')
    rig.add("1-A", state="SHIPPING")
    rig.poll()
    rig.work()
    decide(rig, DecisionKind.HANDLED)


def settled_in_oms(rig: Rig) -> None:
    rig.imported()
    changes.set_address(rig.mirakl["alpha"], "1-A", street_1="94 Canary Row")
    rig.poll(400)
    decide(rig, DecisionKind.SETTLE)


@pytest.mark.parametrize("case", [in_oms_from_us, in_oms_from_a_person, settled_in_oms])
def test_a_change_after_the_removal_is_shown_beside_what_the_oms_has(
    tmp_path: Path, case: Callable[[Rig], None]
) -> None:
    shown = []
    for removed in (False, True):
        folder = tmp_path / str(removed)
        folder.mkdir()
        rig = Rig(folder)
        case(rig)
        for name in ("one", "two", "three"):
            changes.set_fields(rig.mirakl["alpha"], "1-A", customer_notification_email=f"{name}@example.invalid")
            rig.poll(400)
        while rig.attention():
            decide(rig, DecisionKind.SETTLE)
        tell(rig, 8)
        rig.work(200)
        rig.poll(400)
        for number in (95, 96):
            changes.set_address(rig.mirakl["alpha"], "1-A", street_1=f"{number} Canary Row")
            rig.poll(400)
        assert (rig.state(), rig.attention()) == ("shipped", [])
        before = len(stored(rig))
        if removed:
            days_pass(rig)
            assert len(stored(rig)) < before
        changes.put_in_state(rig.mirakl["alpha"], "1-A", "SHIPPING")
        rig.poll(400)
        shown.append([(one.changed, one.oms, one.mirakl) for one in changed_values(rig.store, rig.row())])
    assert shown[0] == shown[1] != []


def test_a_step_is_small_and_the_next_one_comes_a_second_later(on_sqlite: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    rig = on_sqlite
    monkeypatch.setattr(retention, "ORDERS", 1)
    ids = [f"{number}-A" for number in range(3)]
    for order_id in ids:
        shipped(rig, order_id)
    before = {order_id: len(stored(rig, order_id)) for order_id in ids}
    rig.clock.advance(DAYS * DAY + 900)
    one_more(rig)
    keeper = Retention(rig.store, rig.clock, NO_HOOKS, timedelta(days=DAYS))
    for done in range(1, 4):
        keeper.turn(lambda: None)
        keeper.turn(lambda: None)
        assert [len(stored(rig, one)) < before[one] for one in ids] == [number < done for number in range(3)]
        rig.clock.advance(1)


def test_another_process_goes_on_where_the_first_stopped(on_sqlite: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    rig = on_sqlite
    monkeypatch.setattr(retention, "ROWS", 5)
    shipped(rig)
    rig.clock.advance(DAYS * DAY + 900)
    one_more(rig)
    walked = list[int]()
    resting = retention_rows.resting

    def noted(store: Any, after: int, *more: Any, **named: Any) -> retention_rows.Walked:
        walked.append(after)
        return resting(store, after, *more, **named)

    monkeypatch.setattr(retention_rows, "resting", noted)
    for _ in range(40):
        walk_once = Retention(rig.store, rig.clock, NO_HOOKS, timedelta(days=DAYS))
        walk_once.turn(lambda: None)
    assert walked == sorted(set(walked))
    assert len(walked) > 3


def test_an_order_that_changed_since_it_was_looked_at_is_left(rig: Rig) -> None:
    digests = shipped(rig)
    row = rig.row()
    old = {digests["before acceptance"]}
    with rig.store.transaction() as tx:
        assert retention_rows.remove(tx, {retention_rows.Resting(1, row.key, row.version - 1, row.digest): old}) == 0
        assert retention_rows.remove(tx, {retention_rows.Resting(1, row.key, row.version, row.digest): old}) == 1


def test_an_order_that_somebody_holds_locked_is_passed_and_nobody_waits(
    tmp_path: Path, postgres_store_url: str
) -> None:
    rig = Rig(tmp_path, store_url=postgres_store_url)
    digests, others = shipped(rig), shipped(rig, "2-A")
    with psycopg.connect(postgres_store_url.replace("+psycopg", "")) as connection:
        connection.execute("SELECT id FROM orders WHERE order_id = '1-A' FOR UPDATE")
        days_pass(rig)
    assert stored(rig) == set(digests.values())
    assert len(stored(rig, "2-A")) < len(others)
    rig.store.close()


def test_an_order_that_a_newer_version_wrote_stays_as_it_is(on_sqlite: Rig) -> None:
    rig = on_sqlite
    digests, _ = shipped(rig), shipped(rig, "2-A")
    with rig.store.transaction() as tx:
        newer = sa.func.replace(s.journal.c.says, '"withdrawn":', '"withdrawn":"half","was":')
        mine = sa.update(s.journal).where(s.journal.c.order_key == rig.row().key)
        assert tx.execute(mine.values(says=newer)).rowcount
        tx.execute(mine.where(s.journal.c.version == 1).values(says='{"snapshot":{"state":1}}'))
    days_pass(rig)
    assert stored(rig) == set(digests.values())
    assert len(stored(rig, "2-A")) < len(digests)


def test_an_order_that_mirakl_changed_hundreds_of_times_keeps_one_read(tmp_path: Path) -> None:
    world = World(tmp_path)
    reads = [snapshot_event(read("CANCELED", updated=second)) for second in range(2 * retention_rows.PAGE)]
    world.apply(*(with_bytes(one, number) for number, one in enumerate(reads)))
    _thin(world)
    assert _digests(world) == {world.order().digest}
    assert [found for _, found in verified(world.store, None, None) if found] == []
    world.store.close()


# -- Any history -------------------------------------------------------------------------------------------------


def with_bytes(event: Event, number: int) -> Event:
    """The event with an id of its own; a read with its bytes."""
    shown = event.new_facts.newest
    named = replace(event, event_id=f"{number}:{event.event_id}")
    return named if shown is None else replace(named, raw=shown.digest.encode(), digest=shown.digest)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(histories())
def test_after_the_removal_every_later_or_repeated_event_does_what_it_would_have_done(
    history: tuple[list[Event], list[Event]],
) -> None:
    first = [with_bytes(event, number) for number, event in enumerate(history[0])]
    later = [with_bytes(event, 100 + number) for number, event in enumerate(history[1])]
    ends = []
    for thinned in (False, True):
        with tempfile.TemporaryDirectory() as folder:
            world = World(Path(folder))
            world.apply(*first)
            if thinned:
                row = world.order()
                _thin(world)
                assert world.order() == row
                needed = {one.digest for one in (row.facts.snapshot, row.facts.newest) if one is not None}
                assert needed <= _digests(world)
            world.apply(*later, *first)
            assert [found for _, found in verified(world.store, None, None) if found] == []
            row = world.order()
            ends.append((row.state, row.facts, [one.token for one in row.attention], world.open_commands()))
            world.store.close()
    assert ends[0] == ends[1]


def _thin(world: World) -> None:
    world.apply(with_bytes(replace(spoke(), order_id="LAST"), 0))
    world.clock.advance(DAYS * DAY + 900)
    keeper = Retention(world.store, world.clock, NO_HOOKS, timedelta(days=DAYS))
    keeper.turn(lambda: None)


def _digests(world: World) -> set[str]:
    key = order_rows.find(world.store, "O-1")[0].key
    with world.store.reading() as connection:
        return set(connection.execute(sa.select(s.snapshots.c.content).where(s.snapshots.c.order_key == key)).scalars())
