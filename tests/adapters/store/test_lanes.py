"""Lanes: a claim reads no call of another lane, and finds the commands that older code opened.

Which command a worker claims, and that `lease` takes each once: test_commands.py.
"""

from dataclasses import replace
from functools import partial
from typing import Any

import pytest
import sqlalchemy as sa

from adapters.store import commands as command_rows
from adapters.store import lanes as lane_rows
from adapters.store import schema as s
from adapters.store.commands import Sending
from adapters.store.lanes import Lane, NewLease
from adapters.store.transaction import Store
from statemachine.commands import CommandKind, CommandState
from tests.adapters.store.support import IMPORT, NOW, TRACK, Desk, claimable, later
from tests.support import Meanwhile, OpenStore

ALL = [Lane(shop, kind) for shop in ("alpha", "beta") for kind in CommandKind]
#: Calls of alpha that rest.
RESTING = 100_000


def look(desk: Desk, *, paused: tuple[Lane, ...] = ()) -> lane_rows.Look:
    return lane_rows.look(desk.store, [lane for lane in ALL if lane not in paused], paused, later(1))


def test_a_look_names_the_lanes_with_a_call_that_is_due_the_longest_due_first(desk: Desk) -> None:
    desk.open(IMPORT, at=later(1))
    desk.open(IMPORT, order_id="O-2")
    desk.open(TRACK, shop="beta", order_id="O-3", at=later(-5))
    desk.open(TRACK, order_id="O-4", at=later(9))
    track, imports = Lane("beta", CommandKind.TRACK), Lane("alpha", CommandKind.IMPORT)
    assert look(desk).due == [track, imports]
    assert look(desk, paused=(track,)).due == [imports]


def test_a_look_counts_the_calls_under_way_of_all_workers(desk: Desk) -> None:
    (one,), (other,) = desk.open(IMPORT), desk.open(IMPORT, order_id="O-2")
    (died,) = desk.open(TRACK, order_id="O-3")
    desk.open(IMPORT, order_id="O-4")
    for command in (one, other):
        assert desk.lease(command)
    assert desk.lease(died, now=later(-1000))
    assert look(desk).under_way == {Lane("alpha", CommandKind.IMPORT): 2}


def test_one_claim_takes_commands_of_many_lanes_and_leases_each_once(desk: Desk) -> None:
    wanted = [desk.open(IMPORT, order_id=f"O-{n}")[0] for n in range(3)]
    wanted += desk.open(TRACK, shop="beta", order_id="O-9")
    with desk.store.transaction() as tx:
        most = {Lane("alpha", CommandKind.IMPORT): 2, Lane("beta", CommandKind.TRACK): 5}
        found = [row.id for row in lane_rows.take(tx, most, (), NOW)]
        assert found == [wanted[0], wanted[1], wanted[3]]
        leases = [NewLease(one, "alpha", "", f"t{one}", later(90), later(900)) for one in found]
        assert lane_rows.lease(tx, leases, (), NOW) == set(found)
        assert lane_rows.lease(tx, leases, (), NOW) == set()
    assert [desk.row(one)["lease_token"] for one in found] == [f"t{one}" for one in found]
    assert desk.claimable() == wanted[2]


def test_workers_that_claim_batches_claim_each_command_once(open_store: OpenStore) -> None:
    each = [Desk(open_store()), Desk(open_store())]
    wanted = {each[0].open(IMPORT, order_id=f"O-{n}")[0] for n in range(30)}
    taken: list[int] = []
    lane = Lane("alpha", CommandKind.IMPORT)

    def claim(desk: Desk, token: str) -> None:
        while lane_rows.look(desk.store, [lane], (), NOW).due:
            with desk.store.transaction() as tx:
                found = lane_rows.take(tx, {lane: 4}, (), NOW)
                leases = [NewLease(one.id, "alpha", "", f"{token}{one.id}", later(90), later(900)) for one in found]
                won = lane_rows.lease(tx, leases, (), NOW)
            taken.extend(won)

    threads = [Meanwhile(partial(claim, desk, f"{n}-")) for n, desk in enumerate((*each, *each))]
    assert [one.result() for one in threads] == [None] * 4
    assert sorted(taken) == sorted(wanted)


def test_commands_that_older_code_opened_are_adopted(desk: Desk) -> None:
    (old,) = desk.open(IMPORT)
    (ended,) = desk.open(IMPORT, shop="beta", order_id="O-2")
    with desk.store.transaction() as tx:
        tx.execute(sa.update(s.commands).values(shop=""))
        tx.execute(sa.update(s.commands).where(s.commands.c.id == ended).values(state="done"))
    assert desk.claimable() is None
    assert look(desk).orphans
    assert lane_rows.adopt(desk.store) == 1
    assert not look(desk).orphans
    assert desk.claimable() == old
    assert [desk.row(one)["shop"] for one in (old, ended)] == ["alpha", ""]


@pytest.mark.parametrize("open_store", ["postgresql"], indirect=True)
def test_a_locked_command_of_older_code_is_left_for_later(open_store: OpenStore) -> None:
    desk, other = Desk(open_store()), open_store()
    (old,) = desk.open(IMPORT)
    with other.transaction() as tx:
        tx.execute(sa.update(s.commands).where(s.commands.c.id == old).values(shop=""))
    with other.transaction() as tx:
        tx.execute(sa.select(s.commands.c.id).with_for_update())
        assert Meanwhile(lambda: lane_rows.adopt(desk.store)).result() == 0
    assert lane_rows.adopt(desk.store) == 1


# -- What rests costs nothing ----------------------------------------------------------------------------------------


def rest(store: Store, count: int) -> None:
    """Give alpha so many commands that are due, each of an order of its own."""
    numbers: Any = (
        sa.text(f"WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {count}) SELECT i FROM n")
        if store.is_sqlite
        else sa.text(f"SELECT i FROM generate_series(1, {count}) AS n(i)")
    )
    at = ("2026-01-01 00:00:00.000000",) * 3
    orders = (
        "INSERT INTO orders (shop, order_id, state, facts, version, attention, content, first_seen_at, entered_at,"
        " updated_at) SELECT 'alpha', 'R-' || i, 'shipping', '{}', 0, '[]', '', '%s', '%s', '%s' FROM (%s) AS m"
    )
    commands = (
        "INSERT INTO commands (order_key, shop, kind, carries, round, state, basis, opened_at, next_at, give_up_at)"
        " SELECT id, shop, 'import_order', '', 0, 'open', '', '%s', '%s', '%s' FROM orders WHERE order_id LIKE 'R-%%'"
    )
    with store.writing() as connection:
        connection.execute(sa.text((orders % (*at, numbers.text)).replace(":", r"\:")))
        connection.execute(sa.text((commands % at).replace(":", r"\:")))


class Statements:
    """The statements that a store executes, with their parameters."""

    def __init__(self, store: Store) -> None:
        self.seen: list[tuple[str, Any]] = []
        sa.event.listen(store.engine, "before_cursor_execute", self._note)

    def _note(self, _connection: Any, _cursor: Any, statement: str, parameters: Any, *_: Any) -> None:
        self.seen.append((statement, parameters))

    def of_commands(self) -> list[tuple[str, Any]]:
        return [(statement, parameters) for statement, parameters in self.seen if "commands" in statement]


@pytest.mark.parametrize("open_store", ["postgresql"], indirect=True)
@pytest.mark.parametrize("statistics", ["none", "of_an_empty_table", "now"])
def test_a_claim_reads_no_resting_call_on_postgresql(open_store: OpenStore, statistics: str) -> None:
    """Without lanes each look read all 100,000 calls, 300 to 600 ms; with old statistics also each claim."""
    desk = Desk(open_store())
    desk.open(TRACK, shop="beta", order_id="O-1")
    with desk.store.writing() as connection:
        for table in ("orders", "commands"):
            connection.exec_driver_sql(f"ALTER TABLE {table} SET (autovacuum_enabled = false)")
        if statistics == "of_an_empty_table":
            connection.exec_driver_sql("ANALYZE orders, commands")
    rest(desk.store, RESTING)
    if statistics == "now":
        with desk.store.writing() as connection:
            connection.exec_driver_sql("ANALYZE orders, commands")
    paused = tuple(lane for lane in ALL if lane.shop == "alpha")
    statements = Statements(desk.store)
    seen = look(desk, paused=paused)
    assert seen.due == [Lane("beta", CommandKind.TRACK)]
    with desk.store.transaction() as tx:
        (row,) = lane_rows.take(tx, dict.fromkeys(seen.due, 64), paused, later(1))
        found = row.id
        assert lane_rows.lease(tx, [NewLease(found, "beta", "", "t", later(90), later(900))], paused, later(1))
        leased = replace(row, state=CommandState.LEASED, attempts=1, basis="", give_up_at=later(900))
        assert command_rows.lock_live(tx, [row.order_key]) == [leased]
        assert command_rows.held(tx, [Sending(found, "t")], later(1))
        assert command_rows.mark_sending(tx, [Sending(found, "t")], later(1))
        assert command_rows.release(tx, [command_rows.settled(found, "t", CommandState.DONE, "done")])
    asked = list(statements.of_commands())
    assert len(asked) >= 9
    for statement, parameters in asked:
        with desk.store.writing() as connection:
            explain = f"EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) {statement}"
            (plan,) = connection.exec_driver_sql(explain, parameters).scalar_one()
        read = plan["Plan"]["Shared Hit Blocks"] + plan["Plan"]["Shared Read Blocks"]
        assert read < 60, f"{read} blocks: {statement}\n{plan}"


def test_a_claim_reads_no_resting_call_on_sqlite(sqlite: Store) -> None:
    """On SQLite a plan says what is read: a search in an index by the lane, and never a scan."""
    desk = Desk(sqlite)
    desk.open(TRACK, shop="beta", order_id="O-1")
    statements = Statements(sqlite)
    seen = look(desk)
    with sqlite.transaction() as tx:
        (found,) = lane_rows.take(tx, dict.fromkeys(seen.due, 64), (), later(1))
        lane_rows.lease(tx, [NewLease(found.id, "beta", "", "t", later(90), later(900))], (), later(1))
    for statement, parameters in statements.of_commands():
        with sqlite.engine.connect() as connection:
            steps = [row[3] for row in connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", parameters)]
        counts_leased = "count(*)" in statement
        scans = [step for step in steps if step.startswith("SCAN") and not (counts_leased and "one_leased" in step)]
        assert not scans, (statement, steps)
        if "ORDER BY" in statement:
            assert any("USING INDEX ix_commands_lane (shop=? AND kind=?" in step for step in steps), steps


def test_a_claim_beside_100_000_resting_calls_finds_its_own(sqlite: Store) -> None:
    desk = Desk(sqlite)
    (mine,) = desk.open(TRACK, shop="beta", order_id="O-1", at=later(1))
    rest(sqlite, 1_000)
    paused = tuple(lane for lane in ALL if lane.shop == "alpha")
    with sqlite.transaction() as tx:
        assert claimable(tx, later(1), paused) == mine
        assert claimable(tx, later(1)) != mine, "alpha's are due since long before"
