"""Results of calls whose orders another transaction holds locked, on PostgreSQL: they wait alone, and wait for no lock.

A person in psql may hold a lock for minutes, the housekeeping or a consumer for the time of a batch.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg
import pytest
import sqlalchemy as sa

from adapters.errors import Rejected
from adapters.store import schema as s
from adapters.store.commands import LEASE
from consumer.calling.last_looks import LeaseLost
from consumer.calling.results import HELD_LOGGED_SECONDS, HELD_RESTS_SECONDS
from consumer.calling.tries import Claim
from tests.consumer.calling.test_batches import in_threads
from tests.consumer.rig import Rig, with_orders_to_import
from tests.support import LONG

IDS = [f"{number}-A" for number in range(4)]
LOCKED, OTHERS = IDS[1], [IDS[0], *IDS[2:]]
LATER = 2 * HELD_RESTS_SECONDS


@pytest.fixture
def rig(tmp_path: Path, postgres_store_url: str) -> Iterator[Rig]:
    """A worker of the rig may have all orders under way at a time. There are four orders to import."""
    with with_orders_to_import(tmp_path, postgres_store_url, IDS) as rig:
        yield rig


@contextmanager
def holding(rig: Rig, *order_ids: str, table: str = "orders") -> Iterator[None]:
    """Another connection holds the rows of these orders locked, or those of their commands."""
    url = rig.store.engine.url.render_as_string(hide_password=False).replace("+psycopg", "")
    keys = [rig.row(order_id).key for order_id in order_ids]
    column = "id" if table == "orders" else "order_key"
    with psycopg.connect(url) as connection:
        connection.execute(f"SELECT id FROM {table} WHERE {column} = ANY(%s) FOR UPDATE", (keys,))
        yield


@contextmanager
def transactions(rig: Rig) -> Iterator[list[str]]:
    """The write transactions of the worker that may wait for locks of many orders, each by its first statement."""
    found: list[str] = []

    def note(_connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
        found.extend([statement] if statement.startswith("SET LOCAL lock_timeout") else [])

    sa.event.listen(rig.store.engine, "before_cursor_execute", note)
    yield found
    sa.event.remove(rig.store.engine, "before_cursor_execute", note)


def called(rig: Rig) -> dict[str, Claim]:
    """Claim every import and make its call, whose result is not stored yet."""
    claims = rig.worker.claims.claim(len(IDS))
    for claim in claims:
        rig.worker.call(claim)
    assert {claim.order.order_id for claim in claims} == {*IDS}
    return {claim.order.order_id: claim for claim in claims}


def lease(rig: Rig, order_id: str) -> tuple[Any, ...]:
    command = rig.command(order_id)
    return command.state, command.lease_token, command.lease_until


def test_a_locked_order_costs_its_own_result_alone_and_the_batch_waits_for_nothing(rig: Rig) -> None:
    """It kept the results of its batch back for 3 s, and its own for 5 s after the lock was gone."""
    claims = called(rig)
    before = lease(rig, LOCKED)
    with holding(rig, *IDS):
        for claim in claims.values():
            rig.worker.succeeded(claim, ())
        assert [rig.state(order_id) for order_id in IDS] == ["shipping"] * 4
    rig.clock.advance(LATER)
    with holding(rig, LOCKED), transactions(rig) as begun:
        assert not rig.worker.turn()
        assert [rig.state(order_id) for order_id in OTHERS] == ["imported"] * 3
        assert rig.state(LOCKED) == "shipping"
        assert len(begun) == 1, "all four results in one transaction, which was not halved"
        assert lease(rig, LOCKED) == before, "the lease is that of the last look, and is not given back before"
    rig.clock.advance(LATER)
    assert not rig.worker.turn()
    assert rig.state(LOCKED) == "imported"
    assert lease(rig, LOCKED) == ("done", None, None)
    assert rig.results == [("import_order", "done")] * 4


def test_a_result_that_waits_joins_the_batch_of_the_next_result(rig: Rig) -> None:
    claims = called(rig)
    with holding(rig, LOCKED):
        rig.worker.succeeded(claims.pop(LOCKED), ())
    rig.clock.advance(LATER)
    _, claim = claims.popitem()
    rig.worker.succeeded(claim, ())
    assert rig.state(LOCKED) == "imported"


def test_threads_whose_orders_are_free_go_on_while_one_order_is_locked(rig: Rig) -> None:
    """The order is locked during its call, after the last look, and until all threads have ended."""
    with psycopg.connect(
        rig.store.engine.url.render_as_string(hide_password=False).replace("+psycopg", "")
    ) as connection:

        def lock(request: Any) -> None:
            if f'"{LOCKED}"'.encode() in request.content:
                connection.execute("SELECT id FROM orders WHERE order_id = %s FOR UPDATE", (LOCKED,))

        rig.oms_net.hook = lock
        assert in_threads(rig, rig.worker) == [], "no turn failed, so that no thread rests"
        assert [rig.state(order_id) for order_id in OTHERS] == ["imported"] * 3
        assert rig.state(LOCKED) == "shipping"
    rig.clock.advance(LATER)
    rig.work()
    assert [rig.effects(order_id) for order_id in IDS] == [["imported"]] * 4
    assert rig.state(LOCKED) == "imported"


def test_a_result_that_waits_longer_than_its_lease_is_a_fact_and_leaves_the_row_to_the_next_holder(rig: Rig) -> None:
    """docs/rules.md 15. While the order is locked, no other worker can claim its command either."""
    claims = called(rig)
    other = rig.new_worker()
    with holding(rig, LOCKED):
        for claim in claims.values():
            rig.worker.succeeded(claim, ())
        rig.clock.advance(LEASE.total_seconds() + 1)
        assert other.claim() is None
        assert not rig.worker.turn()
    quick = other.claim()
    assert quick is not None
    assert quick.command.id == claims[LOCKED].command.id
    rig.clock.advance(LATER)
    rig.worker.turn()
    assert rig.state(LOCKED) == "imported"
    assert rig.command(LOCKED).lease_token == quick.token
    with pytest.raises(LeaseLost):
        other.call(quick)
    assert rig.effects(LOCKED) == ["imported"]


def test_a_try_that_made_no_call_gives_its_command_back_though_its_order_is_locked(rig: Rig) -> None:
    """It changes no order, and a leased command counts as a call under way at its account."""
    claims = called(rig)
    with holding(rig, LOCKED):
        rig.worker.not_called(claims[LOCKED])
        assert rig.command(LOCKED).state == "open"


def test_a_command_that_is_locked_holds_up_no_other_that_is_given_back(rig: Rig) -> None:
    claims = called(rig)
    with holding(rig, *IDS, table="commands"):
        for claim in claims.values():
            rig.worker.not_called(claim)
    rig.clock.advance(LATER)
    with holding(rig, LOCKED, table="commands"), transactions(rig) as begun:
        rig.switch(effects=False)  # so that nothing is claimed again
        assert not rig.worker.turn()
        assert [rig.command(order_id).state for order_id in OTHERS] == ["open"] * 3
        assert rig.command(LOCKED).state == "leased"
        assert len(begun) == 1
    rig.clock.advance(LATER)
    assert not rig.worker.turn()
    assert rig.command(LOCKED).state == "open"


def test_a_command_that_was_deleted_is_not_taken_for_a_locked_one(rig: Rig) -> None:
    claims = called(rig)
    with rig.store.transaction() as tx:
        tx.execute(sa.delete(s.commands).where(s.commands.c.id == claims[LOCKED].command.id))
    rig.worker.not_called(claims[LOCKED])
    assert rig.worker.rests(LONG) == LONG, "nothing is kept"


def test_a_result_that_changes_a_locked_order_too_waits_as_a_whole(rig: Rig) -> None:
    """The fifth order that gets the same refusal doubts those of the four before (failures.Doubt)."""
    rig.add("4-A", state="SHIPPING")
    rig.poll()
    refusal = Rejected("POST /order", "400", status=400, code="C", words="no")
    for claim in called(rig).values():
        rig.worker.failed(claim, refusal)
    (last,) = rig.worker.claims.claim(1)
    with holding(rig, LOCKED):
        rig.worker.failed(last, refusal)
        assert rig.command("4-A").state == "leased"
        assert rig.row(OTHERS[0]).facts.doubts == ()
    rig.clock.advance(LATER)
    rig.worker.turn()
    assert rig.command("4-A").state == "open"
    assert [len(rig.row(order_id).facts.doubts) for order_id in IDS] == [1] * 4


def test_one_idle_thread_comes_back_for_the_results_that_wait_and_the_others_rest(rig: Rig) -> None:
    claims = called(rig)
    with holding(rig, LOCKED):
        rig.worker.succeeded(claims[LOCKED], ())
        assert [rig.worker.rests(1.0) for _ in range(3)] == [HELD_RESTS_SECONDS, 1.0, 1.0]
        rig.clock.advance(LATER)
        rig.worker.turn()
        assert [rig.worker.rests(1.0) for _ in range(3)] == [HELD_RESTS_SECONDS, 1.0, 1.0]
    rig.clock.advance(LATER)
    rig.worker.turn()
    assert rig.worker.rests(1.0) == 1.0


def test_a_result_that_waits_for_seconds_is_one_line_of_the_log(rig: Rig, lines: list[dict[str, object]]) -> None:
    claims = called(rig)
    with holding(rig, LOCKED):
        rig.worker.succeeded(claims[LOCKED], ())
        for _ in range(4):
            rig.clock.advance(HELD_LOGGED_SECONDS / 2)
            rig.worker.turn()
    (line,) = [line for line in lines if line["event"] == "result_waits_for_lock"]
    assert line["order_id"] == LOCKED
    assert line["seconds"] == HELD_LOGGED_SECONDS
