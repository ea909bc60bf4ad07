"""Every error of the database through the loops: it costs the batch that carries it, or nothing but time."""

import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import timedelta
from pathlib import Path
from typing import Any, Protocol

import httpx
import pytest
import sqlalchemy as sa
from psycopg import errors as pg

from adapters.errors import Cause, LogUnavailable, OrderflowError, OrdersWait, StoreUnavailable
from adapters.ports import NewRecord
from adapters.store import dead_letters as dead_letter_rows
from adapters.store import orders as order_rows
from adapters.store import schema as s
from adapters.store.transaction import Store
from consumer.applying.halving import MOST_WAITS, halved
from consumer.applying.locked import LONGEST_REST_SECONDS, TOO_LONG_SECONDS
from consumer.applying.patience import APART_SECONDS, FAILURES
from consumer.bootstrap import new_housekeeping
from consumer.housekeeping import housekeeping
from consumer.housekeeping.housekeeping import BEHIND_EVERY_SECONDS, Housekeeping
from tests.consumer.rig import SNAPSHOTS, Rig

STATES = sorted({state for each in vars(pg).values() if isinstance(state := getattr(each, "sqlstate", None), str)})
#: One SQLSTATE of each class, and those that the closed list names by themselves.
OF_EACH_CLASS = sorted({*{state[:2]: state for state in STATES}.values(), "55P03", "25006", "53100", "57014", "54000"})
LATER = ("08", "40", "53", "57")


def is_later(sqlstate: str) -> bool:
    return sqlstate[:2] in LATER or sqlstate in ("55P03", "25006")


class HasStore(Protocol):
    @property
    def store(self) -> Store: ...


class DatabaseSays(sqlite3.OperationalError):
    """An error as PostgreSQL's driver raises it. SQLAlchemy wraps it, because it is one of SQLite's driver."""

    def __init__(self, sqlstate: str) -> None:
        super().__init__(sqlstate)
        self.sqlstate = sqlstate


@contextmanager
def refusing(rig: HasStore, sqlstate: str, holds: Callable[[str, Any], bool]) -> Iterator[None]:
    """Every statement for which the condition holds, of its text and parameters, fails with this SQLSTATE."""

    def execute(_cursor: Any, statement: str, parameters: Any, _context: Any) -> None:
        if holds(statement, parameters):
            raise DatabaseSays(sqlstate)

    def execute_many(cursor: Any, statement: str, parameters: Any, context: Any) -> None:
        execute(cursor, statement, parameters, context)

    sa.event.listen(rig.store.engine, "do_execute", execute)
    sa.event.listen(rig.store.engine, "do_executemany", execute_many)
    try:
        yield
    finally:
        sa.event.remove(rig.store.engine, "do_execute", execute)
        sa.event.remove(rig.store.engine, "do_executemany", execute_many)


def stores_an_event_of(order_id: str) -> Callable[[str, Any], bool]:
    """Whether a statement writes an event of this order to the journal."""
    return lambda statement, parameters: statement.startswith("INSERT INTO journal") and order_id in repr(parameters)


@pytest.fixture
def rig(tmp_path: Path) -> Rig:
    rig = Rig(tmp_path)
    for order_id in ("1-A", "2-A", "3-A"):
        rig.add(order_id, state="SHIPPING")
    rig.clock.advance(1)
    for poller in rig.pollers.values():
        poller.run()
    return rig


@pytest.mark.parametrize("sqlstate", OF_EACH_CLASS)
def test_every_error_of_the_database_costs_the_batch_or_nothing(rig: Rig, sqlstate: str) -> None:
    with refusing(rig, sqlstate, stores_an_event_of("2-A")):
        if is_later(sqlstate):
            with pytest.raises(StoreUnavailable):
                rig.consumer.turn(0)
        else:
            rig.consume()
    letters = [(one.reason, one.times) for one in dead_letter_rows.newest(rig.store)]
    if is_later(sqlstate):
        assert letters == []
        rig.consume()
        assert [rig.row(order_id).version for order_id in ("1-A", "2-A", "3-A")] == [1, 1, 1]
    else:
        assert letters == [("not_applicable", 1)]
        assert [rig.row(order_id).version for order_id in ("1-A", "3-A")] == [1, 1]


@pytest.mark.parametrize("sqlstate", OF_EACH_CLASS)
def test_every_error_of_the_database_in_the_housekeeping(rig: Rig, sqlstate: str) -> None:
    rig.consume()
    keeper = new_housekeeping(rig.base)
    keeper.turn()
    with rig.store.transaction() as tx:
        tx.execute(sa.update(s.orders).values(wake_at=rig.clock.now()))
    with refusing(rig, sqlstate, stores_an_event_of("2-A")):
        if is_later(sqlstate):
            with pytest.raises(StoreUnavailable):
                keeper.turn()
        else:
            keeper.turn()
    assert rig.attention("2-A") == ([] if is_later(sqlstate) else ["quarantined"])
    keeper.turn()
    assert [rig.row(order_id).version for order_id in ("1-A", "3-A")] == [2, 2]


def woken_now(rig: Rig) -> Housekeeping:
    """A housekeeping that leads, and three orders whose deadline has come: that of 2-A first."""
    rig.consume()
    keeper = new_housekeeping(rig.base)
    keeper.turn()
    wake_at = rig.row("1-A").wake_at
    assert wake_at
    rig.clock.advance((wake_at - rig.clock.now()).total_seconds() + 1)
    with rig.store.transaction() as tx:
        mine = s.orders.c.order_id == "2-A"
        tx.execute(sa.update(s.orders).where(mine).values(wake_at=wake_at - timedelta(seconds=1)))
    return keeper


def test_a_locked_order_costs_the_housekeeping_itself_alone(rig: Rig) -> None:
    """It made every wake, and every plan after a change of policy, wait with it."""
    keeper = woken_now(rig)
    with refusing(rig, "55P03", stores_an_event_of("2-A")):
        with pytest.raises(OrdersWait) as caught:
            keeper.turn()
        assert caught.value.orders == {("alpha", "2-A")}
        assert [rig.row(order_id).version for order_id in ("1-A", "2-A", "3-A")] == [2, 1, 2]
        keeper.turn()  # it rests between two tries, because each try holds up the others
    assert rig.attention("2-A") == []
    keeper.turn()
    assert rig.row("2-A").version == 1
    rig.clock.advance(LONGEST_REST_SECONDS)
    keeper.turn()
    assert rig.row("2-A").version == 2


def test_locked_orders_do_not_crowd_out_the_others(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(housekeeping, "WAKE_BATCH", 1)
    monkeypatch.setattr(housekeeping, "REPLAN_EVERY", timedelta(days=999))  # it would write the true deadline of 2-A
    keeper = woken_now(rig)
    with refusing(rig, "55P03", stores_an_event_of("2-A")):
        with pytest.raises(OrdersWait):
            keeper.turn()
        keeper.turn()
        keeper.turn()
    assert [rig.row(order_id).version for order_id in ("1-A", "2-A", "3-A")] == [2, 1, 2]


@pytest.mark.parametrize("turns", ["at the start", "after a change of policy"])
def test_an_order_that_was_locked_when_all_were_planned_is_planned_later(rig: Rig, turns: str) -> None:
    rig.consume()
    keeper = new_housekeeping(rig.base)
    if turns == "after a change of policy":
        keeper.turn()
    planned = rig.row("1-A").planned_by
    with rig.store.transaction() as tx:
        tx.execute(sa.update(s.orders).values(planned_by=-1))

    def plans(statement: str, parameters: Any) -> bool:
        return statement.startswith("UPDATE orders") and f" {rig_key}," in repr(parameters)

    rig_key = rig.row("2-A").key
    rig.clock.advance(BEHIND_EVERY_SECONDS)
    with refusing(rig, "55P03", plans), pytest.raises(OrdersWait):
        keeper.turn()
    assert [rig.row(order_id).planned_by for order_id in ("1-A", "2-A", "3-A")] == [planned, -1, planned]
    rig.clock.advance(LONGEST_REST_SECONDS)
    with refusing(rig, "57P01", plans), pytest.raises(StoreUnavailable):
        keeper.turn()
    keeper.turn()
    assert rig.row("2-A").planned_by == planned


def test_a_batch_of_which_all_is_locked_is_not_tried_one_by_one(rig: Rig) -> None:
    """Each try waits for a lock, and holds up all others."""
    tries = 0

    def act(_items: Sequence[int]) -> list[None]:
        nonlocal tries
        tries += 1
        raise StoreUnavailable("locked", Cause.LOCKED)

    outcomes = halved(range(256), act, rig.store)
    assert {type(one) for one in outcomes} == {StoreUnavailable}
    assert len(outcomes) == 256
    assert tries < 2 * MOST_WAITS


def test_the_embedded_log_says_why_its_table_could_not_be_written(rig: Rig) -> None:
    no_records = refusing(rig, "53100", lambda statement, _: "INTO log_records" in statement)
    with no_records, pytest.raises(LogUnavailable) as caught:
        rig.log.publish([NewRecord(SNAPSHOTS, b"k", b"{}")])
    no_journal = refusing(rig, "53100", lambda statement, _: "INTO journal" in statement)
    with no_journal, pytest.raises(StoreUnavailable) as of_the_store:
        rig.consumer.turn(0)
    assert caught.value.cause == of_the_store.value.cause != Cause.OTHER


def test_a_batch_that_fails_while_a_small_write_succeeds_costs_its_poison_record_alone(rig: Rig) -> None:
    """Whatever the error says: here, that a statement took too long."""
    failures = 0
    with refusing(rig, "57014", stores_an_event_of("2-A")):
        for _ in range(40):
            try:
                rig.consumer.turn(0)
            except StoreUnavailable as error:
                assert error.cause == Cause.TIMEOUT
                failures += 1
    assert failures < 20
    assert [(one.reason, one.detail) for one in dead_letter_rows.newest(rig.store)] == [
        ("not_applicable", "store: timeout")
    ]
    assert [rig.row(order_id).version for order_id in ("1-A", "3-A")] == [1, 1]


def test_a_lock_on_one_order_holds_up_its_partition_alone_and_costs_no_dead_letter(tmp_path: Path) -> None:
    rig = Rig(tmp_path)
    ids = [f"{number}-A" for number in range(12)]
    for order_id in ids:
        rig.add(order_id, state="SHIPPING")
    rig.clock.advance(1)
    rig.pollers["alpha"].run()
    with refusing(rig, "55P03", stores_an_event_of("2-A")):
        for _ in range(4 * FAILURES):
            with pytest.raises(StoreUnavailable):
                rig.consumer.turn(0)
            rig.clock.advance(LONGEST_REST_SECONDS)
    stored = {order_id for order_id in ids if order_rows.find(rig.store, order_id)}
    assert "2-A" not in stored
    assert len(stored) >= 6, "the other partitions went on"
    assert dead_letter_rows.newest(rig.store) == []
    rig.consume()
    assert [rig.row(order_id).version for order_id in ids] == [1] * len(ids)


def test_a_partition_that_waits_for_a_lock_rests_between_two_tries(rig: Rig) -> None:
    with refusing(rig, "55P03", stores_an_event_of("2-A")):
        for _ in range(2):
            with pytest.raises(StoreUnavailable):
                rig.consumer.turn(0)
        rig.consumer.turn(0)
        rig.clock.advance(1)
        with pytest.raises(StoreUnavailable):
            rig.consumer.turn(0)
    rig.clock.advance(LONGEST_REST_SECONDS)
    rig.consume()
    assert rig.row("2-A").version == 1


def test_a_lock_that_is_held_for_five_minutes_costs_the_record_that_waits_for_it(rig: Rig) -> None:
    with refusing(rig, "55P03", stores_an_event_of("2-A")):
        for _ in range(40):
            with suppress(StoreUnavailable):
                rig.consumer.turn(0)
            rig.clock.advance(TOO_LONG_SECONDS / 4)
    letters = [(one.reason, one.detail) for one in dead_letter_rows.newest(rig.store)]
    assert letters == [("not_applicable", "store: locked")]
    assert [rig.row(order_id).version for order_id in ("1-A", "3-A")] == [1, 1]


def test_a_lock_that_is_held_for_long_makes_the_batches_of_its_own_partition_smaller_alone(tmp_path: Path) -> None:
    """It made those of all partitions smaller, down to one record."""
    rig = Rig(tmp_path)
    ids = [f"{number}-A" for number in range(40)]
    for order_id in ids:
        rig.add(order_id, state="SHIPPING")
    rig.clock.advance(1)
    rig.pollers["alpha"].run()
    records = {one.record_key.decode().removeprefix("alpha:"): one for one in rig.records()}
    mine = [one for one in ids if records[one].partition == records["20-A"].partition]
    mine.sort(key=lambda order_id: records[order_id].offset)
    before = mine[: mine.index("20-A")]
    assert before, "records of its partition wait before it"
    with refusing(rig, "55P03", stores_an_event_of("20-A")):
        began = rig.clock.monotonic()
        while rig.clock.monotonic() - began < TOO_LONG_SECONDS - LONGEST_REST_SECONDS:
            with suppress(StoreUnavailable):
                rig.consumer.turn(0)
            rig.clock.advance(LONGEST_REST_SECONDS)
        stored = {one for one in ids if order_rows.find(rig.store, one)}
        assert stored == {*ids} - {*mine} | {*before}, "all but the locked one and what follows it"
        for order_id in ids:
            rig.mirakl["alpha"].change(order_id, "edited", "customer", lambda order: order.update(price=1))
        rig.clock.advance(TOO_LONG_SECONDS)
        rig.pollers["alpha"].run()
        with suppress(StoreUnavailable):
            rig.consumer.turn(0)
        assert [rig.row(one).version for one in ids if one not in mine] == [2] * (len(ids) - len(mine)), "in one turn"
    rig.clock.advance(LONGEST_REST_SECONDS)
    rig.consume()
    (letter,) = dead_letter_rows.newest(rig.store)
    assert (letter.key, letter.detail) == (b"alpha:20-A", "store: locked")
    assert [rig.row(one).version for one in ids if one != "20-A"] == [2] * (len(ids) - 1)


def turn_often(rig: Rig, seconds: float) -> None:
    """Let the consumer try every second."""
    for _ in range(round(seconds)):
        with suppress(StoreUnavailable):
            rig.consumer.turn(0)
        rig.clock.advance(1)


def writes_the_journal(statement: str, _parameters: Any) -> bool:
    return statement.startswith("INSERT INTO journal")


def test_a_full_disk_of_one_table_costs_no_record_though_a_small_write_succeeds(rig: Rig) -> None:
    """The journal was on a disk of its own, and every record became a dead letter, one after the other."""
    with refusing(rig, "53100", writes_the_journal):
        turn_often(rig, 3 * APART_SECONDS)
    assert dead_letter_rows.newest(rig.store) == []
    rig.consume()
    assert [rig.row(order_id).version for order_id in ("1-A", "2-A", "3-A")] == [1, 1, 1]


def test_a_table_that_takes_no_rows_costs_one_record_in_five_minutes(rig: Rig) -> None:
    with refusing(rig, "57014", writes_the_journal):
        turn_often(rig, APART_SECONDS - 10)
        assert [one.detail for one in dead_letter_rows.newest(rig.store)] == ["store: timeout"]
    rig.consume()
    assert len(dead_letter_rows.newest(rig.store)) == 1
    assert sum(bool(order_rows.find(rig.store, order_id)) for order_id in ("1-A", "2-A", "3-A")) == 2


def test_two_poison_records_behind_each_other_are_both_passed(rig: Rig) -> None:
    both = [stores_an_event_of(order_id) for order_id in ("2-A", "3-A")]
    with refusing(rig, "57014", lambda statement, parameters: any(holds(statement, parameters) for holds in both)):
        turn_often(rig, 2 * APART_SECONDS)
    assert len(dead_letter_rows.newest(rig.store)) == 2
    assert rig.row("1-A").version == 1


def test_while_no_write_succeeds_nothing_is_dead_lettered(rig: Rig) -> None:
    writes = ("INSERT", "UPDATE", "DELETE")
    with refusing(rig, "57014", lambda statement, _: statement.startswith(writes)):
        for _ in range(4 * FAILURES):
            with pytest.raises(StoreUnavailable):
                rig.consumer.turn(0)
    rig.consume()
    assert dead_letter_rows.newest(rig.store) == []
    assert [rig.row(order_id).version for order_id in ("1-A", "2-A", "3-A")] == [1, 1, 1]


@pytest.mark.parametrize("sqlstate", OF_EACH_CLASS)
@pytest.mark.parametrize("step", ["claimed", "result"])
def test_every_error_of_the_database_in_the_worker(rig: Rig, sqlstate: str, step: str) -> None:
    """It costs the order whose claim or result the store refuses, or nothing."""
    rig.consume()

    def holds(statement: str, parameters: Any) -> bool:
        return statement.startswith("INSERT INTO journal") and step in repr(parameters) and rig_key in repr(parameters)

    rig_key = f"({rig.row('2-A').key}, "
    with refusing(rig, sqlstate, holds):
        if is_later(sqlstate):
            with pytest.raises(StoreUnavailable):
                rig.work()
        else:
            rig.work()
            assert rig.attention("2-A") == ["quarantined"]
    if is_later(sqlstate):
        rig.work(1)
        assert rig.attention("2-A") == []
    assert [rig.state(order_id) for order_id in ("1-A", "3-A")] == ["imported", "imported"]
    assert len([effect for effect in rig.effects("2-A") if effect == "imported"]) <= 1


def test_a_small_write_that_is_refused_loses_no_record(rig: Rig) -> None:
    """Two consumers may write the row of the probe at the same time."""
    with (
        refusing(rig, "57014", stores_an_event_of("2-A")),
        refusing(rig, "23505", lambda statement, _: statement.startswith("INSERT INTO leases")),
    ):
        for _ in range(2 * FAILURES):
            with pytest.raises(StoreUnavailable):
                rig.consumer.turn(0)
    rig.consume()
    assert dead_letter_rows.newest(rig.store) == []
    assert [rig.row(order_id).version for order_id in ("1-A", "2-A", "3-A")] == [1, 1, 1]


# -- Errors of the HTTP client -------------------------------------------------------------------------------------


def made(error: type[Exception]) -> Exception:
    """One of this class, as httpx raises it."""
    request = httpx.Request("GET", "https://alpha.example")
    if error is httpx.HTTPStatusError:
        return httpx.HTTPStatusError("", request=request, response=httpx.Response(500, request=request))
    if error in (httpx.StreamConsumed, httpx.StreamClosed, httpx.ResponseNotRead, httpx.RequestNotRead):
        return error()
    return error("an error")


OF_HTTPX = sorted(
    (each for each in vars(httpx).values() if isinstance(each, type) and issubclass(each, Exception)),
    key=lambda each: each.__name__,
)


@pytest.mark.parametrize("error", [*OF_HTTPX, OSError, ValueError, MemoryError, RecursionError])
def test_every_error_of_the_http_client_costs_one_call(tmp_path: Path, error: type[Exception]) -> None:
    rig = Rig(tmp_path)
    for order_id in ("1-A", "2-A", "3-A"):
        rig.add(order_id)
    rig.poll()

    def hook(request: httpx.Request) -> None:
        if "2-A" in request.url.path:
            raise made(error)

    rig.nets["alpha"].hook = hook
    rig.work()
    assert [rig.effects(order_id) for order_id in ("1-A", "2-A", "3-A")] == [["accepted"], [], ["accepted"]]
    assert rig.command("2-A").state == "open"
    assert rig.command("2-A").last_outcome != ""


@pytest.mark.parametrize("error", OF_HTTPX)
def test_every_error_of_the_http_client_ends_a_poll_as_an_error_of_ours(tmp_path: Path, error: type[Exception]) -> None:
    rig = Rig(tmp_path)
    rig.add("1-A")

    def hook(_request: httpx.Request) -> None:
        raise made(error)

    rig.nets["alpha"].hook = hook
    with pytest.raises(OrderflowError):
        rig.poll()
    rig.nets["alpha"].hook = lambda _request: None
    rig.poll()
    assert rig.state("1-A") == "waiting_acceptance"
