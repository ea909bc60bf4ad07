"""An order that another transaction holds locked, on PostgreSQL: it waits alone, and holds nobody up."""

import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import psycopg
import pytest
import sqlalchemy as sa

from adapters.engines.processes import free_port
from adapters.errors import Cause, OrdersWait, PartitionsWait, StoreUnavailable
from adapters.ports import Partition, Record
from adapters.simulators.mirakl.changes import put_in_state
from adapters.store import dead_letters as dead_letter_rows
from adapters.store.engine import LOCK_SECONDS, SHARED_LOCK_SECONDS
from consumer import config
from consumer import service as service_module
from consumer.applying.locked import LONGEST_REST_SECONDS, LockedPartitions
from consumer.applying.loop import Consumer
from consumer.bootstrap import build_parts, new_housekeeping
from consumer.demo.settings import write_settings
from consumer.polling.pollers import PollerPool
from consumer.service import Service
from tests.consumer.rig import Rig, with_orders_to_import
from tests.support import LONG, StillClock, wait

IDS = [f"{number}-A" for number in range(12)]


@pytest.fixture
def rig(tmp_path: Path, postgres_store_url: str) -> Iterator[Rig]:
    with with_orders_to_import(tmp_path, postgres_store_url, IDS) as rig:
        yield rig


def change_all(rig: Rig) -> None:
    for order_id in IDS:
        put_in_state(rig.mirakl["alpha"], order_id, "SHIPPED")
    rig.clock.advance(1)
    rig.pollers["alpha"].run()


def lock_limits(rig: Rig) -> list[float]:
    """How long each transaction waited in vain for a lock, from now on, in seconds: the limit that it had."""
    limits: list[float] = []
    limit: float = LOCK_SECONDS

    def began(_connection: Any) -> None:
        nonlocal limit
        limit = LOCK_SECONDS

    def executes(_c: Any, _cursor: Any, sql: str, *_: Any) -> None:
        nonlocal limit
        if found := re.fullmatch(r"SET LOCAL lock_timeout = (\d+)", sql):
            limit = int(found[1]) / 1000

    def failed(context: sa.engine.ExceptionContext) -> None:
        if isinstance(context.original_exception, psycopg.errors.LockNotAvailable):
            limits.append(limit)

    listeners: dict[str, Callable[..., None]] = {
        "begin": began,
        "before_cursor_execute": executes,
        "handle_error": failed,
    }
    for name, listener in listeners.items():
        sa.event.listen(rig.store.engine, name, listener)
    return limits


def test_a_locked_order_holds_its_consumer_up_for_a_fraction_of_a_second(rig: Rig, postgres_store_url: str) -> None:
    """Each try of the partition took 2 s, and the loop rested for 1 s after it."""
    change_all(rig)
    with psycopg.connect(postgres_store_url.replace("+psycopg", "")) as connection:
        connection.execute("SELECT id FROM orders WHERE order_id = '2-A' FOR UPDATE")
        limits = lock_limits(rig)
        for _ in range(4):
            with pytest.raises(PartitionsWait):
                rig.consumer.turn(0)
            rig.clock.advance(LONGEST_REST_SECONDS)
        assert set(limits) == {SHARED_LOCK_SECONDS}
        assert rig.state("2-A") == "shipping"
        assert [one for one in IDS if rig.state(one) != "shipped"] == ["2-A"], "also those of its partition went on"
        later = [f"{number}-L" for number in range(12)]
        for order_id in later:
            rig.add(order_id, state="SHIPPING")
        rig.clock.advance(60)
        rig.pollers["alpha"].run()
        with suppress(PartitionsWait):
            rig.consumer.turn(0)
        assert [rig.state(one) for one in later] == ["shipping"] * len(later), "records that come later go on, too"
    rig.clock.advance(LONGEST_REST_SECONDS)
    rig.consume()
    assert [rig.state(one) for one in IDS] == ["shipped"] * len(IDS)
    assert dead_letter_rows.newest(rig.store) == []


def test_while_all_orders_of_a_shop_are_locked_other_orders_go_on(rig: Rig, postgres_store_url: str) -> None:
    """They waited in every partition behind those of the shop, for as long as somebody held the lock."""
    change_all(rig)
    new = [f"{number}-N" for number in range(12)]
    with psycopg.connect(postgres_store_url.replace("+psycopg", "")) as connection:
        connection.execute("SELECT id FROM orders FOR UPDATE")
        for order_id in new:
            rig.add(order_id, state="SHIPPING")
        rig.clock.advance(60)
        rig.pollers["alpha"].run()
        with suppress(PartitionsWait):
            rig.consumer.turn(0)
        assert [rig.state(one) for one in new] == ["shipping"] * len(new)
        for _ in range(40):
            with suppress(PartitionsWait):
                rig.consumer.turn(0)
            rig.clock.advance(1)
        assert [rig.state(one) for one in IDS] == ["shipping"] * len(IDS)
    rig.clock.advance(LONGEST_REST_SECONDS)
    rig.consume()
    assert [rig.state(one) for one in IDS] == ["shipped"] * len(IDS)
    assert [rig.row(one).version for one in new] == [1] * len(new)
    assert dead_letter_rows.newest(rig.store) == []


def test_records_that_wait_for_a_lock_count_as_lag(rig: Rig, postgres_store_url: str) -> None:
    with psycopg.connect(postgres_store_url.replace("+psycopg", "")) as connection:
        connection.execute("SELECT id FROM orders FOR UPDATE")
        change_all(rig)
        for _ in range(20):
            with suppress(PartitionsWait):
                rig.consumer.turn(0)
            rig.clock.advance(1)
        lag, _ = rig.consumer.lag()
        assert sum(lag.values()) == len(IDS)
    rig.clock.advance(LONGEST_REST_SECONDS)
    rig.consume()
    assert sum(rig.consumer.lag()[0].values()) == 0
    assert [rig.state(one) for one in IDS] == ["shipped"] * len(IDS)


def test_of_a_partition_that_waits_a_batch_of_records_is_kept_at_most() -> None:
    def locked(_records: Sequence[Record]) -> None:
        raise StoreUnavailable("", Cause.LOCKED)

    clock, one, other = StillClock(), Partition("t", 0), Partition("t", 1)
    waits = LockedPartitions(
        clock, 3, lambda: True, position=lambda _: 0, apply=locked, apply_ahead=lambda _records, _if_locked: None
    )
    for offset in range(3):
        assert waits.full() == set()
        with suppress(PartitionsWait):
            waits.apply([Record(one, offset, None, b"", (), clock.now())])
    with suppress(PartitionsWait):
        waits.apply([Record(other, 0, None, b"", (), clock.now())])
    assert waits.full() == {one}
    assert [record.offset for record in waits.kept()] == [0, 1, 2, 0]


def test_a_wait_for_a_lock_can_be_shorter_in_one_transaction(rig: Rig) -> None:
    def waits(lock_seconds: float | None) -> str:
        with rig.store.transaction(lock_seconds) as tx:
            found: str = tx.execute(sa.text("SHOW lock_timeout")).scalar_one()
            return found

    assert waits(SHARED_LOCK_SECONDS) == "250ms"
    assert waits(None) == f"{LOCK_SECONDS}s"


def test_a_locked_order_stops_no_other_work_of_the_housekeeping(rig: Rig, postgres_store_url: str) -> None:
    keeper = new_housekeeping(rig.base)
    keeper.turn()
    wake_at = rig.row("1-A").wake_at
    assert wake_at
    rig.clock.advance((wake_at - rig.clock.now()).total_seconds() + 1)
    with psycopg.connect(postgres_store_url.replace("+psycopg", "")) as connection:
        connection.execute("SELECT id FROM orders WHERE order_id = '2-A' FOR UPDATE")
        with pytest.raises(OrdersWait):
            keeper.turn()
        keeper.turn()
        assert [rig.row(one).version for one in IDS] == [1 if one == "2-A" else 2 for one in IDS]
    rig.clock.advance(LONGEST_REST_SECONDS)
    keeper.turn()
    assert rig.row("2-A").version == 2


def test_a_locked_command_holds_up_no_claim(rig: Rig, postgres_store_url: str) -> None:
    with psycopg.connect(postgres_store_url.replace("+psycopg", "")) as connection:
        connection.execute("SELECT id FROM commands WHERE order_key = %s FOR UPDATE", (rig.row("2-A").key,))
        rig.work()
        assert [rig.effects(one) for one in IDS] == [[] if one == "2-A" else ["imported"] for one in IDS]
    rig.work()
    assert rig.effects("2-A") == ["imported"]


def test_a_store_of_which_a_table_is_locked_takes_no_write(rig: Rig, postgres_store_url: str) -> None:
    """So nothing is halved, and no record is taken for the cause."""
    with psycopg.connect(postgres_store_url.replace("+psycopg", "")) as connection:
        assert rig.store.takes_a_small_write()
        connection.execute("LOCK TABLE commands IN SHARE ROW EXCLUSIVE MODE")
        assert not rig.store.takes_a_small_write()
    assert rig.store.takes_a_small_write()


class Waits(Consumer):
    """A consumer of which some partition waits for a lock in every turn."""

    def __init__(self) -> None:
        self.turns = 0

    def turn(self, timeout_seconds: float = 1.0) -> int:
        self.turns += 1
        raise PartitionsWait

    def close(self) -> None:
        pass


def test_a_consumer_goes_on_at_once_while_a_partition_waits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(service_module, "FAILED_SECONDS", 10 * LONG)  # how long it would rest after an error
    nowhere = f"http://127.0.0.1:{free_port()}"
    settings = config.load(write_settings(tmp_path, {"alpha": nowhere}, nowhere, free_port()))
    consumer = Waits()
    service = Service(
        replace(
            build_parts(settings),
            consumer=consumer,
            worker=None,
            housekeeping=None,
            pollers=PollerPool({}, 1, StillClock()),
        )
    )
    service.start()
    wait(lambda: consumer.turns >= 30, "turns")
    service.stop()
