"""Claims, last looks and results of several threads share transactions."""

import sys
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from adapters.errors import StoreUnavailable
from adapters.store import schema as s
from consumer.calling.together import Together
from consumer.calling.worker import Worker
from tests.consumer.rig import Rig
from tests.consumer.test_not_now import DatabaseSays
from tests.support import LONG, wait

ORDERS = [f"{number}-A" for number in range(4)]


def imports(folder: Path) -> Rig:
    """Orders that can be imported. Two of them have messages."""
    rig = Rig(folder)
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
    with rig.store.writing() as connection:
        if not rig.store.is_sqlite:
            connection.exec_driver_sql("LOCK TABLE commands IN EXCLUSIVE MODE")
        for thread in threads:
            thread.start()
        # The first waits for the store, and the others for the first, unless an error ended all of them before.
        wait(lambda: _queued(threads) == count - 1 or not any(one.is_alive() for one in threads), "they all wait")
    for thread in threads:
        thread.join(LONG)
        assert not thread.is_alive()
    return raised


def _queued(threads: Sequence[threading.Thread]) -> int:
    """How many of these threads wait for one that works for them."""
    frames = sys._current_frames()
    places = [frames[one.ident].f_code for one in threads if one.ident in frames]
    return places.count(Together.do.__code__)


def test_calls_of_several_threads_share_transactions(tmp_path: Path) -> None:
    rig = imports(tmp_path)
    writes: list[str] = []

    def note(_connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
        writes.extend([statement] if statement == "BEGIN IMMEDIATE" else [])

    sa.event.listen(rig.store.engine, "before_cursor_execute", note)
    assert in_threads(rig, rig.new_worker()) == []
    assert [rig.state(order_id) for order_id in ORDERS] == ["imported"] * 4
    assert len(writes) - 1 < 3 * len(ORDERS), "alone each call takes a claim, a last look and a result"


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
