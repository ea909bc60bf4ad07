"""Transactions: committed whole or not at all. StoreUnavailable if the database cannot be used."""

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import sqlalchemy as sa

from adapters.errors import Cause, StoreUnavailable
from adapters.ports import Partition, PartitionOffsets
from adapters.store import engine, order_lists
from adapters.store import orders as order_rows
from adapters.store import progress as progress_rows
from adapters.store import schema as s
from adapters.store import shops as shop_rows
from adapters.store.engine import CONNECT_SECONDS, IDLE_SECONDS, LOCK_SECONDS, SILENT_SECONDS, STATEMENT_SECONDS
from adapters.store.transaction import Store
from tests.adapters.store.support import NOW, rows
from tests.support import new_store


def test_a_transaction_is_committed_whole_or_not_at_all(store: Store) -> None:
    with pytest.raises(ZeroDivisionError), store.transaction() as tx:
        order_rows.lock(tx, [("alpha", "O-1")], NOW)
        shop_rows.bind(tx, "alpha", "https://a", 1, effects=True, now=NOW)
        progress_rows.lock_or_insert(tx, "c", "g", {Partition("topic", 0): PartitionOffsets(0, 5)})
        _ = 1 / 0
    assert {table.name: rows(store, table) for table in (s.orders, s.shops, s.progress)} == {
        "orders": [],
        "shops": [],
        "progress": [],
    }


def test_other_connections_see_nothing_before_the_commit(store: Store) -> None:
    with store.transaction() as tx:
        order_rows.lock(tx, [("alpha", "O-1")], NOW)
        assert order_lists.latest(store) == []  # reads on a connection of its own
    assert [order.order_id for order in order_lists.latest(store)] == ["O-1"]


def test_all_statements_of_a_read_see_the_same_moment(store: Store) -> None:
    count = sa.select(sa.func.count()).select_from(s.orders)
    with store.reading() as connection:
        assert connection.execute(count).scalar() == 0
        with store.transaction() as tx:
            order_rows.lock(tx, [("alpha", "O-1")], NOW)
        assert connection.execute(count).scalar() == 0


def test_a_transaction_inside_a_transaction_is_an_error_not_a_wait(store: Store) -> None:
    with store.transaction(), pytest.raises(RuntimeError, match="already"), store.transaction():
        pass
    with store.transaction() as tx:  # the error left no open transaction behind
        order_rows.lock(tx, [("alpha", "O-1")], NOW)


def test_a_session_has_limits(postgres_store_url: str) -> None:
    store = Store(postgres_store_url)
    limits = {
        "statement_timeout": f"{STATEMENT_SECONDS}000ms",
        "lock_timeout": f"{LOCK_SECONDS}000ms",
        "idle_in_transaction_session_timeout": f"{IDLE_SECONDS}000ms",
    }
    with store.reading() as connection:
        for name, limit in limits.items():
            as_given = sa.text("SELECT setting || unit FROM pg_settings WHERE name = :name").bindparams(name=name)
            assert connection.execute(as_given).scalar() == limit
        found = connection.connection.driver_connection.info.get_parameters()  # type: ignore[union-attr]
    store.close()
    assert (found["connect_timeout"], found["tcp_user_timeout"]) == (str(CONNECT_SECONDS), f"{SILENT_SECONDS}000")


def test_a_thread_that_finds_no_free_connection_waits_for_one_and_then_the_store_is_busy(
    postgres_store_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = Store(postgres_store_url, connections=1)
    assert isinstance(store.engine.pool, sa.QueuePool)
    assert store.engine.pool.timeout() == engine.POOL_SECONDS
    store.close()
    monkeypatch.setattr(engine, "POOL_SECONDS", 0.1)
    store = Store(postgres_store_url, connections=1)
    try:
        with store.reading(), pytest.raises(StoreUnavailable) as raised:
            store.ping()
        assert raised.value.cause == Cause.BUSY
    finally:
        store.close()


@contextmanager
def locked_by_another(path: Path) -> Iterator[None]:
    other = sqlite3.connect(path / "orderflow.db", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    yield
    other.rollback()
    other.close()


def test_a_locked_store_is_unavailable_and_then_works_again(tmp_path: Path) -> None:
    new_store(tmp_path).close()
    store = Store(f"sqlite:///{tmp_path}/orderflow.db", busy_seconds=0.01)
    with locked_by_another(tmp_path):
        with pytest.raises(StoreUnavailable), store.transaction() as tx:
            order_rows.lock(tx, [("alpha", "O-1")], NOW)
        assert order_lists.latest(store) == []  # a lock of a writer does not stop readers
    with store.transaction() as tx:
        order_rows.lock(tx, [("alpha", "O-1")], NOW)
    assert len(order_lists.latest(store)) == 1
    store.close()


def test_a_store_whose_folder_is_missing_is_unavailable(tmp_path: Path) -> None:
    store = Store(f"sqlite:///{tmp_path}/nowhere/orderflow.db")
    with pytest.raises(StoreUnavailable), store.transaction():
        pass
    with pytest.raises(StoreUnavailable):
        order_lists.latest(store)
