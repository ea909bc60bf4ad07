"""A statement that the driver executes by its text does the same as one that SQLAlchemy executes."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta, timezone
from typing import Any

import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from adapters.errors import StoreUnavailable
from adapters.store import bulk, commands, journal, lanes, orders, shops, texts
from adapters.store import schema as s
from adapters.store.commands import NewCommand, Sending
from adapters.store.journal import JournalRow
from adapters.store.lanes import Lane, NewLease
from adapters.store.transaction import Store, Transaction
from statemachine.commands import Command, CommandKind, CommandState
from statemachine.deadlines import DeadlineKind
from statemachine.events import Event, Trigger
from statemachine.facts import Facts
from statemachine.machine import EventResult
from statemachine.states import State
from tests.adapters.store.support import NOW, later, on_postgresql

TEXT = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=9)
INSTANT = st.integers(-(10**9), 10**9).map(lambda seconds: NOW + timedelta(seconds=seconds, microseconds=seconds % 7))
#: What is written of an order.
ORDER = st.fixed_dictionaries(
    {
        "state": st.sampled_from(State) | TEXT,  # a word of a newer version too
        "facts": TEXT,
        "attention": TEXT,
        "urgency": st.none() | st.integers(0, 3),
        "needs_since": st.none() | INSTANT,
        "content": TEXT,
        "wake_at": st.none() | INSTANT,
        "quarantine": st.none() | TEXT,
        "entered_at": INSTANT,
        "deadline_kind": st.none() | st.sampled_from(DeadlineKind),
        "deadline": st.none() | INSTANT,
    }
)
SWITCHED_ON = sa.select(s.shops.c.name, s.shops.c.paused).where(s.shops.c.effects)


@contextmanager
def taken_back(store: Store, *, by_text: bool = True) -> Iterator[Transaction]:
    """A transaction that leaves nothing behind."""
    with store.engine.connect() as connection:
        tx = Transaction(connection, store.is_sqlite)
        tx.by_text = by_text
        yield tx


def with_types(rows: Sequence[Any]) -> list[Any]:
    """The values of these rows, and their types: a text is equal to a member of an enum."""
    return [(tuple(row), [*map(type, row)]) for row in rows]


@on_postgresql
@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(values=st.lists(ORDER, min_size=1, max_size=4))
def test_both_ways_write_and_read_the_same_rows(store: Store, values: list[dict[str, Any]]) -> None:
    found = []
    names = [("alpha", str(number)) for number in range(len(values))]
    for by_text in (True, False):
        with taken_back(store, by_text=by_text) as tx:
            keys = sorted(row.key for row in orders.lock(tx, names, NOW).values())
            rows = [one | {"id": key} for key, one in zip(keys, values, strict=True)]
            changed = bulk.update_rows(tx, SAVE, rows)
            ours = texts.read(tx, ALL)
            theirs = tx.execute(ALL).all()
            assert with_types(ours) == with_types(theirs)
            assert [one._fields for one in ours] == [one._fields for one in theirs]
            found.append((changed, [row[1:] for row in with_types([row[1:] for row in theirs])]))
    assert found[0] == found[1]


def _save(value: Any) -> sa.Update:
    return sa.update(s.orders).where(s.orders.c.id == value["id"]).values({name: value[name] for name in WRITTEN})


WRITTEN = (
    *("state", "facts", "attention", "urgency", "needs_since", "content", "wake_at", "quarantine", "entered_at"),
    *("deadline_kind", "deadline"),
)
SAVE = bulk.Update({name: s.orders.c[name] for name in ("id", *WRITTEN)}, _save)
ALL = sa.select(s.orders).order_by(s.orders.c.id)


def a_life(tx: Transaction) -> list[Any]:
    """Two calls from their opening to their end. Returns all that the statements say, without the ids."""
    shops.bind(tx, "alpha", "https://a", 1, effects=True, now=NOW)
    keys = [row.key for row in orders.lock(tx, [("alpha", "O-1"), ("alpha", "O-2")], NOW).values()]
    command, until = Command(CommandKind.IMPORT, "", 0, "basis"), later(90)
    commands.open_due(tx, [NewCommand(key, "alpha", command, until) for key in keys], NOW)
    lane = Lane("alpha", CommandKind.IMPORT)
    took = lanes.take(tx, {lane: 5}, (), NOW)
    free = lanes.lease(tx, [NewLease(one.id, "alpha", "b", f"t{one.id}", until, until) for one in took], (), NOW)
    sending = [Sending(one.id, f"t{one.id}", b"\0payload") for one in took]
    held = commands.held(tx, sending[:1], NOW)
    marked = commands.mark_sending(tx, sending[:1], NOW)
    live = commands.lock_live(tx, keys)
    ended = commands.release(tx, [commands.settled(one.id, f"t{one.id}", CommandState.DONE, "done") for one in took])
    events = [Event("test", f"{number}", "alpha", f"O-{number}", Trigger.CALL, NOW, Facts()) for number in (1, 2)]
    rows = [
        JournalRow(key, 1, event, EventResult.NOTED, State.NEW, State.NEW, 1, NOW)
        for key, event in zip(keys, events, strict=True)
    ]
    journal.add(tx, rows)
    again = lanes.take(tx, {lane: 5}, (), NOW)
    first = keys[0]
    return [
        [replace(one, id=one.id - took[0].id, order_key=one.order_key - first) for one in (*took, *live)],
        [len(some) for some in (free, held, marked, ended, again, journal.ids(tx, rows))],
        {key: order - first for key, order in journal.known(tx, events).items()},
        [(row.order_id, row.state, row.facts) for row in orders.lock_by_keys(tx, keys).values()],
        [*orders.lock_only(tx, keys).values()],
    ]


@on_postgresql
def test_both_ways_tell_the_same_of_a_life(store: Store) -> None:
    found = []
    for by_text in (True, False):
        with taken_back(store, by_text=by_text) as tx:
            found.append(a_life(tx))
    assert found[0] == found[1]
    assert found[0][1] == [2, 1, 1, 2, 0, 2]


@on_postgresql
def test_an_instant_of_another_zone_is_the_same_instant(store: Store) -> None:
    there = NOW.astimezone(timezone(timedelta(hours=5)))
    with taken_back(store) as tx:
        orders.lock(tx, [("alpha", "O-1")], there)
        (row,) = orders.lock(tx, [("alpha", "O-1")], there).values()
        assert row.entered_at == NOW


@on_postgresql
def test_an_error_is_the_one_of_sqlalchemy(store: Store) -> None:
    """The loops know the cause of an error by it (not_now.py), and it holds no data."""
    rows = [dict(name="Canary", holder="", token=0, until=NOW)] * 2
    naive = [rows[0] | {"until": NOW.replace(tzinfo=None)}]
    kinds = []
    for by_text in (True, False):
        for bad in (rows, naive):
            with pytest.raises(sa.exc.SQLAlchemyError) as error, taken_back(store, by_text=by_text) as tx:
                bulk.insert_rows(tx, s.leases, bad)
            assert "Canary" not in str(error.value).split("DETAIL")[0]
            kinds.append(type(error.value))
    assert kinds == [sa.exc.IntegrityError, sa.exc.StatementError] * 2


@on_postgresql
def test_a_connection_that_is_lost_is_replaced(store: Store) -> None:
    kill = sa.text("SELECT pg_terminate_backend(:process)")
    with pytest.raises(StoreUnavailable), store.transaction() as tx:
        process = tx.execute(sa.text("SELECT pg_backend_pid()")).scalar_one()
        with store.engine.connect() as other:
            other.execute(kill, {"process": process})
        try:
            texts.read(tx, SWITCHED_ON)
        finally:
            assert tx.connection.invalidated
    with store.transaction() as tx:
        assert texts.read(tx, SWITCHED_ON) == []


@on_postgresql
def test_a_listener_sees_the_statement(store: Store) -> None:
    """Tests count statements, and kill a process before each of them."""
    seen: list[str] = []
    sa.event.listen(store.engine, "before_cursor_execute", lambda *call: seen.append(call[2]))
    with taken_back(store) as tx:
        texts.read(tx, SWITCHED_ON)
    assert [one.split()[0] for one in seen] == ["SELECT"]


@on_postgresql
def test_a_statement_whose_text_depends_on_its_values_is_refused(store: Store) -> None:
    some = sa.select(s.leases).where(s.leases.c.name.in_(sa.bindparam("names", expanding=True)))
    with pytest.raises(ValueError, match="at each execution"), taken_back(store) as tx:
        texts.read(tx, some, {"names": ["a"]})
