"""Claims, last looks and results of several threads share transactions. A kill between any two steps loses nothing."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
import sqlalchemy as sa

from adapters.errors import StoreUnavailable
from adapters.store import schema as s
from consumer.worker import Worker
from statemachine.commands import CommandState
from tests.consumer.rig import Rig
from tests.consumer.test_not_now import DatabaseSays
from tests.support import LONG

ORDERS = [f"{number}-A" for number in range(4)]


class KilledError(BaseException):
    """The process is killed."""


def imports(folder: Path, store_url: str | None = None) -> Rig:
    """Orders that can be imported. Two of them have messages. `store_url` None: on SQLite."""
    rig = Rig(folder, store_url=store_url)
    for number, order_id in enumerate(ORDERS):
        rig.add(order_id, state="SHIPPING")
        if number % 2:
            rig.mirakl["alpha"].post_message(order_id, "<p>Hello</p>")
    rig.poll()
    return rig


def in_threads(rig: Rig, worker: Worker, count: int = 4) -> list[BaseException]:
    """Let threads make every call that is due. They begin together, behind a transaction that holds the store."""
    raised: list[BaseException] = []

    def run() -> None:
        try:
            while worker.turn():
                pass
        except BaseException as error:
            raised.append(error)

    threads = [threading.Thread(target=run) for _ in range(count)]
    with rig.store.writing():
        for thread in threads:
            thread.start()
        threading.Event().wait(0.02)  # the first of them waits for the store, and the others for the first
    for thread in threads:
        thread.join(LONG)
        assert not thread.is_alive()
    return raised


@contextmanager
def killed_at(rig: Rig, step: int) -> Iterator[None]:
    """Kill the process just before its `step`-th statement, commit or request: from then on nothing happens."""
    left = [step]

    def count(*_: Any) -> None:
        if threading.current_thread() is threading.main_thread():
            return  # it only holds the store
        left[0] -= 1
        if left[0] <= 0:
            raise KilledError

    def asked(_request: httpx.Request) -> None:
        count()

    events = ("before_cursor_execute", "commit")
    for name in events:
        sa.event.listen(rig.store.engine, name, count)
    rig.nets["alpha"].hook = rig.oms_net.hook = asked
    yield
    for name in events:
        sa.event.remove(rig.store.engine, name, count)
    rig.nets["alpha"].hook = rig.oms_net.hook = lambda _request: None


def test_calls_of_several_threads_share_transactions(tmp_path: Path) -> None:
    rig = imports(tmp_path)
    writes: list[str] = []

    def note(_connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
        writes.extend([statement] if statement == "BEGIN IMMEDIATE" else [])

    sa.event.listen(rig.store.engine, "before_cursor_execute", note)
    assert in_threads(rig, rig.new_worker()) == []
    assert [rig.state(order_id) for order_id in ORDERS] == ["imported"] * 4
    assert len(writes) - 1 < 3 * len(ORDERS), "alone each call takes a claim, a last look and a result"


@pytest.mark.parametrize("step", range(2, 110, 9))
def test_a_kill_between_any_two_steps_of_a_batch_loses_and_doubles_nothing(tmp_path: Path, step: int) -> None:
    kill_at(imports(tmp_path), step)


@pytest.mark.parametrize("step", range(2, 110, 9))
def test_a_kill_between_any_two_steps_of_a_batch_on_postgresql(
    tmp_path: Path, postgres_store_url: str, step: int
) -> None:
    rig = imports(tmp_path, postgres_store_url)
    kill_at(rig, step)
    rig.store.close()


def kill_at(rig: Rig, step: int) -> None:
    with killed_at(rig, step):
        raised = in_threads(rig, rig.new_worker())
    assert {type(error) for error in raised} <= {KilledError}
    rig.worker = rig.new_worker()
    for _ in range(3):
        rig.work(rig.settings.worker.lease_seconds + 1)
    assert [rig.state(order_id) for order_id in ORDERS] == ["imported"] * 4
    assert [rig.effects(order_id) for order_id in ORDERS] == [["imported"]] * 4
    with rig.store.reading() as connection:
        states = connection.execute(sa.select(s.commands.c.state)).scalars().all()
    assert set(states) == {CommandState.DONE}


def test_a_broken_order_is_taken_out_of_its_batch(tmp_path: Path) -> None:
    """One order cannot be read; the claims of the others are not held."""
    rig = imports(tmp_path)
    with rig.store.transaction() as tx:
        tx.execute(sa.update(s.orders).where(s.orders.c.order_id == ORDERS[1]).values(facts="no JSON"))
    assert in_threads(rig, rig.new_worker()) == []
    with rig.store.reading() as connection:
        rows = connection.execute(sa.select(s.orders.c.order_id, s.orders.c.state, s.orders.c.quarantine)).all()
    found = {row.order_id: (row.state, row.quarantine) for row in rows}
    assert found[ORDERS[1]][1] == "ValidationError"
    assert [found[order_id] for order_id in (ORDERS[0], *ORDERS[2:])] == [("imported", None)] * 3


def test_a_result_that_the_store_refuses_costs_its_order_alone(tmp_path: Path) -> None:
    """The journal refuses the result of one order. The batch is halved until it is alone."""
    rig = imports(tmp_path)
    refused = rig.row(ORDERS[2]).key

    def refuse(_connection: Any, _cursor: Any, statement: str, parameters: Any, *_: Any) -> None:
        rows = parameters if isinstance(parameters, list) else [parameters]
        if statement.startswith("INSERT INTO journal") and any(refused in row and _is_result(row) for row in rows):
            raise sa.exc.IntegrityError(statement, None, Exception("refused"))

    sa.event.listen(rig.store.engine, "before_cursor_execute", refuse)
    assert in_threads(rig, rig.new_worker()) == []
    with rig.store.reading() as connection:
        rows = connection.execute(sa.select(s.orders.c.order_id, s.orders.c.state, s.orders.c.quarantine)).all()
    found = {row.order_id: (row.state, row.quarantine) for row in rows}
    assert found.pop(ORDERS[2]) == ("shipping", "IntegrityError")
    assert set(found.values()) == {("imported", None)}


@pytest.mark.parametrize("step", ["result", "handover"])
def test_a_locked_order_holds_up_no_call_of_another_order(tmp_path: Path, step: str) -> None:
    """All results, or last looks, of its batch failed with it, again and again."""
    rig = imports(tmp_path)
    locked = rig.row(ORDERS[2]).key
    worker = rig.new_worker()

    def refuse(_cursor: Any, statement: str, parameters: Any, _context: Any) -> None:
        rows = parameters if isinstance(parameters, list) else [parameters]
        if statement.startswith("INSERT INTO journal") and any(
            repr(row).startswith(f"({locked}, ") and f":{step}" in repr(row) for row in rows
        ):
            raise DatabaseSays("55P03")

    events = ("do_execute", "do_executemany")
    for name in events:
        sa.event.listen(rig.store.engine, name, refuse)
    raised = in_threads(rig, worker)
    assert all(isinstance(error, StoreUnavailable) for error in raised)
    assert len(raised) == 1, "the thread of the locked order"
    others = [order_id for order_id in ORDERS if order_id != ORDERS[2]]
    assert [rig.state(order_id) for order_id in others] == ["imported"] * 3
    for name in events:
        sa.event.remove(rig.store.engine, name, refuse)
    rig.worker = worker
    rig.work(rig.settings.worker.lease_seconds + 1)
    assert [rig.effects(order_id) for order_id in ORDERS] == [["imported"]] * 4


def _is_result(row: Any) -> bool:
    return any(isinstance(value, str) and value.endswith(":result") for value in row)
