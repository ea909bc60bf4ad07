"""The store: what it keeps, what it refuses, and that a command is nobody's twice, on SQLite and PostgreSQL."""

import json
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any, Final

import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext

from adapters.errors import ConfigError, Fenced, StoreUnavailable
from adapters.ports import Partition, PartitionOffsets
from adapters.store import audit as audit_rows
from adapters.store import commands as command_rows
from adapters.store import cursors as cursor_rows
from adapters.store import dead_letters as dead_letter_rows
from adapters.store import engine as database
from adapters.store import journal as journal_rows
from adapters.store import leases as lease_rows
from adapters.store import orders as order_rows
from adapters.store import progress as progress_rows
from adapters.store import schema as s
from adapters.store import shops as shop_rows
from adapters.store import snapshots as snapshot_rows
from adapters.store import transaction as stores
from adapters.store.commands import LEASE
from adapters.store.counts import Waiting, stored_counts
from adapters.store.cursors import Cursor
from adapters.store.dead_letters import DeadLetter
from adapters.store.journal import JournalRow
from adapters.store.leases import Lease
from adapters.store.progress import Advance, Progress
from adapters.store.transaction import Store, Transaction
from statemachine.attention import Reason, StandingAttention
from statemachine.commands import Command, CommandKind, CommandState
from statemachine.events import Event
from statemachine.facts import Facts, Part
from statemachine.machine import EventResult
from statemachine.states import State
from tests.statemachine.lives import read, sent, snapshot_event, spoke
from tests.support import OpenStore, new_store

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
PLACE = Partition("mirakl.order-snapshots", 2)


def later(seconds: float) -> datetime:
    return NOW + timedelta(seconds=seconds)


@pytest.fixture
def store(open_store: OpenStore) -> Store:
    """On each engine: every test with it is part of the contract of both."""
    return open_store()


@pytest.fixture
def sqlite(tmp_path: Path) -> Iterator[Store]:
    store = new_store(tmp_path)
    yield store
    store.close()


def rows(store: Store, table: sa.Table) -> list[dict[str, Any]]:
    with store.reading() as connection:
        return [dict(row) for row in connection.execute(sa.select(table)).mappings()]


# -- Schema ------------------------------------------------------------------------------------------------------


def test_the_migrations_make_the_schema_and_may_run_twice(store: Store) -> None:
    stores.migrate(store)
    assert stores.schema_is_current(store)
    with store.engine.connect() as connection:
        context = MigrationContext.configure(connection)
        assert compare_metadata(context, s.metadata) == []


def parts_of(sql: str) -> tuple[str, ...]:
    """A CREATE statement; a table as its sorted definitions, because their order means nothing."""
    sql = " ".join(sql.replace('"', "").split())  # a recreated table has its name in quotes
    if not sql.startswith("CREATE TABLE"):
        return (sql,)
    head, _, body = sql.partition("(")
    parts, depth = [""], 0
    for letter in body.removesuffix(")"):
        depth += {"(": 1, ")": -1}.get(letter, 0)
        if letter == "," and not depth:
            parts.append("")
        else:
            parts[-1] += letter
    return head.strip(), *sorted(part.strip() for part in parts)


def made(url: str) -> set[tuple[str, ...]]:
    with sqlite3.connect(url) as connection:
        found = connection.execute("SELECT sql FROM sqlite_master WHERE sql IS NOT NULL").fetchall()
    connection.close()
    return {parts_of(sql) for (sql,) in found if "alembic_version" not in sql}


def test_checks_partial_indexes_and_defaults_are_the_same_too(tmp_path: Path) -> None:
    """compare_metadata looks at none of these on SQLite."""
    new_store(tmp_path).close()
    plain = Store(f"sqlite:///{tmp_path}/plain.db")
    with plain.writing() as connection:
        s.metadata.create_all(connection)
    plain.close()
    assert made(f"{tmp_path}/orderflow.db") == made(f"{tmp_path}/plain.db")


#: All that PostgreSQL knows of tables: columns, constraints and indexes, as it would write them itself.
_MADE: Final = """
    SELECT table_name || '.' || column_name || ' ' || data_type || ' ' || is_nullable || ' '
        || coalesce(column_default, '') FROM information_schema.columns WHERE table_schema = 'public'
    UNION SELECT conrelid::regclass::text || ' ' || conname || ' ' || pg_get_constraintdef(oid)
        FROM pg_constraint WHERE connamespace = 'public'::regnamespace
    UNION SELECT indexdef FROM pg_indexes WHERE schemaname = 'public'
"""


def test_on_postgresql_the_migrations_make_the_same(postgres_url: str) -> None:
    migrated = Store(postgres_url)

    def made_now() -> set[str]:
        with migrated.reading() as connection:
            found = set(connection.execute(sa.text(_MADE)).scalars())
        return {text for text in found if "alembic_version" not in text}

    stores.migrate(migrated)
    by_migrations = made_now()
    with migrated.writing() as connection:
        s.metadata.drop_all(connection)
        s.metadata.create_all(connection)
    assert made_now() == by_migrations
    assert len(by_migrations) > 100
    migrated.close()


def test_many_processes_may_migrate_at_once(postgres_url: str) -> None:
    each = [Store(postgres_url) for _ in range(4)]
    failed: list[BaseException] = []

    def migrate(store: Store) -> None:
        try:
            stores.migrate(store)
        except BaseException as error:
            failed.append(error)

    threads = [threading.Thread(target=migrate, args=(store,)) for store in each]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failed == []
    assert stores.schema_is_current(each[0])
    for store in each:
        store.close()


def test_an_unmigrated_store_says_so(tmp_path: Path) -> None:
    assert not stores.schema_is_current(Store(f"sqlite:///{tmp_path}/empty.db"))


@pytest.mark.parametrize("url", ["no url", "mysql://host/db"])
def test_another_database_is_a_configuration_error(url: str) -> None:
    with pytest.raises(ConfigError, match=r"store\.url"):
        Store(url)


@pytest.mark.parametrize(
    ("url", "bare", "password"),
    [
        ("postgresql://me@host/db", "postgresql://me@host/db", ""),
        ("postgresql://me:p%40ss@host:5/db", "postgresql://me@host:5/db", "p@ss"),
        ("postgresql://me@host/db?password=p%40ss&a=b", "postgresql://me@host/db?a=b", "p@ss"),
        ("postgresql://me:other@host/db?password=p", "postgresql://me@host/db", "p"),  # as the driver takes it
        ("postgresql://me@host/db?password=o&password=p", "postgresql://me@host/db", "p"),
    ],
)
def test_a_password_is_taken_out_of_a_url_wherever_it_stands(url: str, bare: str, password: str) -> None:
    assert database.without_password(url) == (bare, password)
    assert database.has_password(url) == bool(password)
    assert not database.has_password(bare)


def test_the_text_of_an_error_holds_no_data(store: Store) -> None:
    with pytest.raises(sa.exc.IntegrityError) as error, store.transaction() as tx:
        audit_rows.add(tx, who="Canary", act=None, subject="Canary", why="Canary", at=NOW)  # type: ignore[arg-type]
    assert "Canary" not in str(error.value).split("DETAIL")[0]


# -- Transactions ------------------------------------------------------------------------------------------------


def test_a_transaction_is_kept_whole_or_not_at_all(store: Store) -> None:
    with pytest.raises(ZeroDivisionError), store.transaction() as tx:
        order_rows.lock(tx, [("alpha", "O-1")], NOW)
        shop_rows.bind(tx, "alpha", "https://a", 1, effects=True, now=NOW)
        progress_rows.begin(tx, "c", "g", {PLACE: PartitionOffsets(0, 5)})
        _ = 1 / 0
    assert [rows(store, table) for table in (s.orders, s.shops, s.progress)] == [[], [], []]


def test_nobody_sees_half_a_transaction(store: Store) -> None:
    with store.transaction() as tx:
        order_rows.lock(tx, [("alpha", "O-1")], NOW)
        assert order_rows.latest(store) == []  # on a connection of its own
    assert [order.order_id for order in order_rows.latest(store)] == ["O-1"]


def test_a_read_is_of_one_moment(store: Store) -> None:
    count = sa.select(sa.func.count()).select_from(s.orders)
    with store.reading() as connection:
        assert connection.execute(count).scalar() == 0
        with store.transaction() as tx:
            order_rows.lock(tx, [("alpha", "O-1")], NOW)
        assert connection.execute(count).scalar() == 0


def test_a_transaction_inside_a_transaction_is_an_error_not_a_wait(store: Store) -> None:
    with store.transaction(), pytest.raises(RuntimeError, match="already"), store.transaction():
        pass
    with store.transaction() as tx:  # and nothing is left behind
        order_rows.lock(tx, [("alpha", "O-1")], NOW)


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
        assert order_rows.latest(store) == []  # readers are not held up
    with store.transaction() as tx:
        order_rows.lock(tx, [("alpha", "O-1")], NOW)
    assert len(order_rows.latest(store)) == 1
    store.close()


def test_a_store_whose_folder_is_away_is_unavailable(tmp_path: Path) -> None:
    store = Store(f"sqlite:///{tmp_path}/nowhere/orderflow.db")
    with pytest.raises(StoreUnavailable), store.transaction():
        pass
    with pytest.raises(StoreUnavailable):
        order_rows.latest(store)


def test_two_processes_worth_of_writers_lose_nothing(open_store: OpenStore) -> None:
    """Read, add one, write, from four threads over two stores: each sum needs a lock around both."""
    each = [open_store(), open_store()]
    failed: list[BaseException] = []

    def count(store: Store) -> None:
        try:
            for _ in range(25):
                with store.transaction() as tx:
                    row = order_rows.lock(tx, [("alpha", "O-1")], NOW)["alpha", "O-1"]
                    order_rows.save(tx, [(replace(row, version=row.version + 1), row.version)])
        except BaseException as error:
            failed.append(error)

    threads = [threading.Thread(target=count, args=(store,)) for store in (*each, *each)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failed == []
    assert [order.version for order in order_rows.latest(each[0])] == [100]


def leased(store: Store, name: str = "poll:alpha", holder: str = "one", now: datetime = NOW) -> Lease:
    lease = taken(store, name, holder, now)
    assert lease is not None
    return lease


def taken(store: Store, name: str, holder: str, now: datetime) -> Lease | None:
    with store.transaction() as tx:
        return lease_rows.take(tx, name, holder, now + timedelta(seconds=30), now)


def test_an_instant_comes_back_as_it_was(store: Store) -> None:
    east = datetime(2026, 3, 1, 14, 0, 0, 123456, tzinfo=timezone(timedelta(hours=2)))
    lease = leased(store)
    with store.transaction() as tx:
        cursor_rows.save(tx, "alpha", Cursor(east, NOW, NOW), lease)
        cursor_rows.save(tx, "alpha", Cursor(east, NOW, later(1)), lease)
    cursor = cursor_rows.find(store, "alpha")
    assert cursor == Cursor(east, NOW, later(1))
    assert cursor is not None
    assert cursor.watermark.tzinfo is UTC


def test_an_instant_without_zone_is_refused(store: Store) -> None:
    lease = leased(store)
    with pytest.raises(sa.exc.StatementError, match="zone"), store.transaction() as tx:
        cursor_rows.save(tx, "alpha", Cursor(NOW.replace(tzinfo=None), NOW, NOW), lease)


# -- Progress ----------------------------------------------------------------------------------------------------


def advance(store: Store, held: int, position: int, partition: Partition = PLACE, group: str = "g") -> None:
    with store.transaction() as tx:
        progress_rows.advance(tx, Advance("c", group, partition, held, position))


def begin(
    store: Store, extent: PartitionOffsets, partition: Partition = PLACE, group: str = "g", cluster: str = "c"
) -> Progress:
    with store.transaction() as tx:
        return progress_rows.begin(tx, cluster, group, {partition: extent})[partition]


def test_a_place_begins_where_the_log_does_and_goes_on_where_it_was(store: Store) -> None:
    assert begin(store, PartitionOffsets(40, 90, "topic-1", committed=7)) == Progress(40, "topic-1", 0)
    advance(store, 40, 43)
    assert begin(store, PartitionOffsets(0, 1, "topic-2")) == Progress(43, "topic-1", 0)


def test_progress_is_set_by_hand(store: Store) -> None:
    with store.transaction() as tx:
        progress_rows.reset(tx, "c", "g", PLACE, Progress(3, "a", 4))
        progress_rows.reset(tx, "c", "g", PLACE, Progress(5, "b", 9))
    assert begin(store, PartitionOffsets(0, 0)) == Progress(5, "b", 9)


def test_a_zombie_is_fenced_and_moves_nothing(store: Store) -> None:
    """docs/rules.md 7: the zombie read nothing in its transaction, it holds what it held."""
    begin(store, PartitionOffsets(0, 9))
    advance(store, 0, 1)
    with pytest.raises(Fenced):
        advance(store, 0, 2)
    advance(store, 1, 3)
    for held in (1, 2, 4):
        with pytest.raises(Fenced):
            advance(store, held, 9)
    assert begin(store, PartitionOffsets(0, 9)).position == 3


def test_a_position_that_is_not_stored_is_no_position(store: Store) -> None:
    for held in (0, 7):
        with pytest.raises(Fenced):
            advance(store, held, 8)
    assert rows(store, s.progress) == []


def test_progress_is_by_cluster_topic_partition_and_group(store: Store) -> None:
    begin(store, PartitionOffsets(0, 9))
    advance(store, 0, 5)
    others = [
        ("c", "h", PLACE),
        ("c", "g", Partition(PLACE.topic, 1)),
        ("c", "g", Partition("other", 2)),
        ("d", "g", PLACE),
    ]
    for cluster, group, partition in others:
        assert begin(store, PartitionOffsets(0, 9), partition, group, cluster).position == 0
    assert begin(store, PartitionOffsets(0, 9)).position == 5


# -- Orders ------------------------------------------------------------------------------------------------------


def test_lock_orders_makes_what_is_missing_and_answers_in_the_order_of_keys(store: Store) -> None:
    with store.transaction() as tx:
        order_rows.lock(tx, [("beta", "O-2")], NOW)
        assert order_rows.lock(tx, [], NOW) == {}
        found = order_rows.lock(tx, [("beta", "O-2"), ("beta", "O-1"), ("alpha", "O-2")], later(9))
    assert list(found) == [("beta", "O-2"), ("alpha", "O-2"), ("beta", "O-1")]
    assert [row.key for row in found.values()] == [1, 2, 3]
    assert {(row.state, row.version, row.facts) for row in found.values()} == {("new", 0, Facts())}
    assert found["beta", "O-2"].entered_at == NOW


def test_a_row_written_under_our_lock_is_an_error(store: Store) -> None:
    with store.transaction() as tx:
        row = order_rows.lock(tx, [("alpha", "O-1")], NOW)["alpha", "O-1"]
        other = order_rows.lock(tx, [("alpha", "O-2")], NOW)["alpha", "O-2"]
        order_rows.save(tx, [(replace(row, version=1), 0)])
    with pytest.raises(StoreUnavailable), store.transaction() as tx:
        order_rows.save(tx, [(replace(other, version=1), 0), (replace(row, version=2), 0)])
    assert {order.order_id: order.version for order in order_rows.latest(store)} == {"O-1": 1, "O-2": 0}


def test_an_order_comes_back_as_it_was_saved(store: Store) -> None:
    facts = replace(snapshot_event(read("SHIPPING")).new_facts, parts=(Part(7, "Ä", ("L1",)),))
    with store.transaction() as tx:
        row = order_rows.lock(tx, [("alpha", "O-1")], NOW)["alpha", "O-1"]
        row = replace(
            row,
            state=State.IMPORTED,
            facts=facts,
            version=1,
            attention=(StandingAttention(Reason.HELD, "x", since=later(1)),),
            read_after=later(2),
        )
        order_rows.save(tx, [(row, 0)])
    assert order_rows.latest(store) == [row]
    assert order_rows.find(store, "O-1", "alpha") == [row]
    assert order_rows.find(store, "O-1", "beta") == []


# -- Journal and snapshots ---------------------------------------------------------------------------------------


def journaled(tx: Transaction, event: Event, version: int) -> None:
    row = order_rows.lock(tx, [(event.shop, event.order_id)], NOW)[event.shop, event.order_id]
    journal_rows.add(tx, [JournalRow(row.key, version, event, EventResult.NOTED, State.NEW, State.NEW, 1, NOW)])


@pytest.mark.parametrize(("second", "version"), [(spoke(1), 2), (spoke(2), 1)], ids=["same event", "same version"])
def test_the_journal_holds_an_event_once_and_a_version_once(store: Store, second: Event, version: int) -> None:
    with pytest.raises(sa.exc.IntegrityError), store.transaction() as tx:
        journaled(tx, spoke(1), 1)
        journaled(tx, second, version)
    assert rows(store, s.journal) == []


def test_known_events_and_their_repeats(store: Store) -> None:
    elsewhere = replace(spoke(1), source="/elsewhere")
    with store.transaction() as tx:
        journaled(tx, spoke(1), 1)
        journaled(tx, spoke(2), 2)
        assert journal_rows.known(tx, [spoke(1), spoke(3), elsewhere]) == {(spoke(1).source, spoke(1).event_id)}
        assert journal_rows.known(tx, []) == set()
        journal_rows.count_repeats(tx, [])
        journal_rows.count_repeats(tx, [spoke(1), spoke(1), elsewhere])
    assert [entry.repeats for entry in journal_rows.of_order(store, 1)] == [2, 0]


def test_snapshots_are_kept_byte_for_byte_once_per_content(store: Store) -> None:
    body = ' \n{ "a" :1.10,\r\n\t"ö":"\\u00e9 日本 \\u0000"  , "a": 2 }\r\n '.encode()
    with store.transaction() as tx:
        key = order_rows.lock(tx, [("alpha", "O-1")], NOW)["alpha", "O-1"].key
        snapshot_rows.add(tx, {}, NOW)
        snapshot_rows.add(tx, {(key, "c1"): body, (key, "c2"): b""}, NOW)
        snapshot_rows.add(tx, {(key, "c1"): b"other bytes under this hash"}, NOW)
        assert snapshot_rows.load(tx, key, "c1") == body
        assert snapshot_rows.load(tx, key, "c2") == b""
        assert snapshot_rows.load(tx, key, "c3") is None
    assert snapshot_rows.find(store, key, "c1") == body
    assert snapshot_rows.find(store, key, "c3") is None


# -- Commands: what opens, ends, and opens again -----------------------------------------------------------------

IMPORT = Command(CommandKind.IMPORT, "", 0, "basis")
TRACK = Command(CommandKind.TRACK, "T1", 0, "")
CONFIRM = Command(CommandKind.CONFIRM, "", 0, "")


class Desk:
    """One store with bound shops, and short words for what the worker does."""

    def __init__(self, store: Store) -> None:
        self.store = store
        with store.transaction() as tx:
            shop_rows.bind(tx, "alpha", "https://a", 1, effects=True, now=NOW)
            shop_rows.bind(tx, "beta", "https://b", 1, effects=True, now=NOW)

    def open(self, *commands: Command, shop: str = "alpha", order_id: str = "O-1", at: datetime = NOW) -> list[int]:
        with self.store.transaction() as tx:
            key = order_rows.lock(tx, [(shop, order_id)], NOW)[shop, order_id].key
            command_rows.open_due(tx, [(key, command, later(9999)) for command in commands], at)
            ids = {row.key: row.id for row in command_rows.live(tx, [key])}
        return [ids[command.key] for command in commands if command.key in ids]

    def claimable(
        self, now: datetime = NOW, resting: tuple[tuple[str, str], ...] = (), shops: tuple[str, ...] = ("alpha", "beta")
    ) -> int | None:
        with self.store.transaction() as tx:
            return command_rows.claimable(tx, now, resting, shops)

    def lease(self, command_id: int, token: str = "t", now: datetime = NOW) -> bool:
        with self.store.transaction() as tx:
            return command_rows.lease(tx, command_id, basis="basis", token=token, until=now + LEASE, now=now)

    def requeue(self, command_id: int, token: str = "t", **changes: Any) -> bool:
        how: dict[str, Any] = {"next_at": NOW, "maybe_sent": False, "attempt_counts": True} | changes
        with self.store.transaction() as tx:
            return command_rows.requeue(tx, command_id, token, "retry", how.pop("next_at"), **how)

    def settle(self, command_id: int, token: str = "t", state: CommandState = CommandState.DONE) -> bool:
        with self.store.transaction() as tx:
            return command_rows.settle(tx, command_id, token, state, "result")

    def sending(self, command_id: int, token: str = "t", now: datetime = NOW, payload: bytes | None = None) -> bool:
        with self.store.transaction() as tx:
            return command_rows.mark_sending(tx, command_id, token, now, payload=payload)

    def drop(self, *ids: int) -> None:
        with self.store.transaction() as tx:
            command_rows.mark_obsolete(tx, ids)

    def row(self, command_id: int) -> dict[str, Any]:
        return next(row for row in rows(self.store, s.commands) if row["id"] == command_id)


@pytest.fixture
def desk(store: Store) -> Desk:
    return Desk(store)


def test_a_need_is_one_row_for_ever(desk: Desk) -> None:
    (first,) = desk.open(IMPORT)
    desk.open(IMPORT)
    assert [row["id"] for row in rows(desk.store, s.commands)] == [first]
    desk.drop(first)
    desk.drop()
    assert desk.row(first)["state"] == "obsolete"
    again = desk.open(replace(IMPORT, basis="new"), at=later(5))
    assert again == [first]
    row = desk.row(first)
    assert (row["state"], row["next_at"], row["basis"], row["opened_at"]) == ("open", later(5), "new", NOW)


@pytest.mark.parametrize("end", [CommandState.DONE, CommandState.REJECTED, CommandState.GAVE_UP])
def test_what_has_ended_never_opens_again(desk: Desk, end: CommandState) -> None:
    (command,) = desk.open(IMPORT)
    assert desk.lease(command)
    assert desk.settle(command, state=end)
    assert desk.open(IMPORT) == []
    assert desk.row(command)["state"] == end
    assert desk.claimable(later(9999)) is None


def test_a_leased_command_that_is_dropped_stays_its_holders(desk: Desk) -> None:
    """docs/rules.md 12: an order whose call may be under way is not free."""
    first, second = desk.open(TRACK, replace(TRACK, carries="T2"))
    desk.lease(first)
    desk.drop(first, second)
    row = desk.row(first)
    assert (row["state"], row["unwanted"], row["lease_token"]) == ("leased", True, "t")
    assert desk.row(second)["state"] == "obsolete"
    desk.open(replace(TRACK, carries="T2"))
    assert desk.claimable() is None
    assert not desk.sending(first)
    assert desk.requeue(first)
    assert desk.row(first)["state"] == "obsolete"
    assert desk.claimable() == second


def test_wanted_again_while_leased(desk: Desk) -> None:
    (command,) = desk.open(TRACK)
    desk.lease(command)
    desk.drop(command)
    with desk.store.transaction() as tx:
        command_rows.revive(tx, [])
        command_rows.revive(tx, [command])
    assert desk.sending(command)


@pytest.mark.parametrize("release", ["settle", "put_back"])
def test_a_command_that_ended_unwanted_opens_again_wanted(desk: Desk, release: str) -> None:
    """Else it would be claimed and dropped without a call, for ever."""
    (command,) = desk.open(TRACK)
    desk.lease(command)
    desk.drop(command)
    assert desk.settle(command, state=CommandState.OBSOLETE) if release == "settle" else desk.requeue(command)
    assert desk.open(TRACK) == [command]
    assert desk.lease(command)
    assert desk.sending(command)


def test_the_index_lets_one_command_of_an_order_be_leased(desk: Desk) -> None:
    first, second = desk.open(TRACK, CONFIRM)
    desk.lease(first)
    with pytest.raises(sa.exc.IntegrityError), desk.store.writing() as connection:
        connection.execute(
            sa.update(s.commands).where(s.commands.c.id == second).values(state="leased", lease_token="x")
        )


@pytest.mark.parametrize(
    "values",
    [{"state": "lost"}, {"state": "leased", "lease_token": None}, {"state": "open", "lease_token": "t"}],
    ids=["unknown state", "leased by nobody", "open with a holder"],
)
def test_a_command_row_is_one_of_the_known_kinds(desk: Desk, values: dict[str, Any]) -> None:
    (command,) = desk.open(TRACK)
    with pytest.raises(sa.exc.IntegrityError), desk.store.writing() as connection:
        connection.execute(sa.update(s.commands).where(s.commands.c.id == command).values(**values))


def test_a_command_needs_its_order(desk: Desk) -> None:
    with pytest.raises(sa.exc.IntegrityError), desk.store.transaction() as tx:
        command_rows.open_due(tx, [(99, TRACK, NOW)], NOW)


# -- Commands: whose turn it is ----------------------------------------------------------------------------------


def test_nothing_is_claimable_before_its_time(desk: Desk) -> None:
    (command,) = desk.open(IMPORT, at=later(10))
    assert desk.claimable(later(9)) is None
    assert desk.claimable(later(10)) == command


def test_the_longest_due_goes_first_and_the_oldest_of_each_order(desk: Desk) -> None:
    track, confirm = desk.open(TRACK, CONFIRM)
    (other,) = desk.open(IMPORT, order_id="O-2", at=later(-5))
    assert desk.claimable() == other
    desk.lease(other)
    assert desk.claimable() == track
    desk.lease(track)
    assert desk.claimable() is None  # its order has one leased
    desk.settle(track)
    assert desk.claimable() == confirm


def test_a_back_off_keeps_the_younger_ones_of_its_order_waiting(desk: Desk) -> None:
    track, confirm = desk.open(TRACK, CONFIRM)
    desk.lease(track)
    desk.requeue(track, next_at=later(60))
    assert desk.claimable(later(59)) is None
    assert not desk.lease(confirm, now=later(59))
    assert desk.claimable(later(60)) == track


def test_a_person_ends_a_back_off(desk: Desk) -> None:
    (track,) = desk.open(TRACK, at=later(60))
    (other,) = desk.open(TRACK, order_id="O-2", at=later(60))
    with desk.store.transaction() as tx:
        command_rows.retry_now(tx, desk.row(track)["order_key"], NOW)
    assert desk.claimable() == track
    assert desk.row(other)["next_at"] == later(60)


def test_an_expired_lease_is_claimable_and_its_holder_is_out(desk: Desk) -> None:
    (command,) = desk.open(IMPORT)
    desk.lease(command, "old")
    after = NOW + LEASE + timedelta(seconds=1)
    assert desk.claimable(NOW + LEASE) is None
    assert desk.claimable(after) == command
    assert desk.lease(command, "new", after)
    assert not desk.sending(command, "old", after)
    assert not desk.settle(command, "old")
    assert not desk.requeue(command, "old")
    row = desk.row(command)
    assert (row["state"], row["lease_token"], row["attempts"]) == ("leased", "new", 2)
    assert desk.sending(command, "new", after)
    assert desk.settle(command, "new")


def test_an_older_command_that_opens_again_waits_for_the_younger_one_that_is_leased(desk: Desk) -> None:
    """accept, then refuse (leased), then accept again: the first row is the oldest, and its order is not free.

    It was claimable: its lease broke the index, in every claim of every shop until the other had ended.
    """
    accept, refuse = Command(CommandKind.ACCEPT, "accept", 0, ""), Command(CommandKind.ACCEPT, "refuse", 0, "")
    (first,) = desk.open(accept)
    desk.drop(first)
    (second,) = desk.open(refuse)
    desk.lease(second, "old")
    desk.drop(second)
    desk.open(accept)
    (other,) = desk.open(IMPORT, order_id="O-2", at=later(1))
    assert desk.claimable(later(1)) == other
    assert not desk.lease(first)
    # Its holder died: then the leased one goes first, so that both come to an end.
    after = NOW + LEASE + timedelta(seconds=1)
    assert not desk.lease(first, "new", after)
    assert desk.claimable(after) == second
    assert desk.lease(second, "new", after)
    desk.settle(second, "new", CommandState.OBSOLETE)
    assert desk.claimable(after) == first
    assert desk.lease(first, "new", after)


def test_two_claimers_and_one_wins(desk: Desk) -> None:
    (command,) = desk.open(IMPORT)
    assert desk.claimable() == desk.claimable() == command
    assert [desk.lease(command, "one"), desk.lease(command, "two")] == [True, False]
    assert desk.row(command)["lease_token"] == "one"


def test_a_command_that_ended_between_look_and_lease_is_not_taken(desk: Desk) -> None:
    """docs/rules.md 13: selected, canceled, then claimed."""
    (command,) = desk.open(IMPORT)
    assert desk.claimable() == command
    desk.drop(command)
    assert not desk.lease(command)


def test_many_claimers_share_out_every_command_once(open_store: OpenStore) -> None:
    each = [Desk(open_store()), Desk(open_store())]
    wanted = {each[0].open(IMPORT, order_id=f"O-{n}")[0] for n in range(20)}
    taken: list[int] = []

    def claim(desk: Desk, token: str) -> None:
        while True:
            with desk.store.transaction() as tx:
                command = command_rows.claimable(tx, NOW, (), ("alpha",))
                if command is None:
                    return
                # False: another has committed between the look's snapshot and its lock; so look again.
                won = command_rows.lease(tx, command, basis="", token=token, until=NOW + LEASE, now=NOW)
            taken.extend([command] if won else [])

    threads = [threading.Thread(target=claim, args=(desk, f"{n}")) for n, desk in enumerate((*each, *each))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(taken) == sorted(wanted)


def test_switches_gate_the_claim(desk: Desk) -> None:
    (alpha,) = desk.open(IMPORT)
    (beta,) = desk.open(TRACK, shop="beta", at=later(1))

    def switch(shop: str, *paused: str, effects: bool = True) -> None:
        with desk.store.transaction() as tx:
            shop_rows.set_switches(tx, shop, paused=paused, effects=effects)

    assert desk.claimable(later(1)) == alpha
    switch("alpha", effects=False)
    assert desk.claimable(later(1)) == beta
    switch("alpha", "accept", "ship")
    assert desk.claimable(later(1)) == alpha
    switch("alpha", "import")
    assert desk.claimable(later(1)) == beta
    switch("beta", "ship")
    assert desk.claimable(later(1)) is None
    switch("alpha")
    assert desk.claimable(later(1), resting=(("alpha", "import_order"),)) is None
    assert desk.claimable(later(1), resting=(("beta", "import_order"), ("alpha", "send_tracking"))) == alpha
    assert desk.claimable(later(1), shops=("beta",)) is None
    assert desk.claimable(later(1), shops=()) is None


def test_a_claim_does_not_walk_through_the_history(sqlite: Store) -> None:
    """It has to begin at the index of live commands: at a million finished ones it ran for a third of a second."""
    desk = Desk(sqlite)
    statements: list[tuple[str, Any]] = []

    def note(_connection: Any, _cursor: Any, statement: str, parameters: Any, *_: Any) -> None:
        statements.append((statement, parameters))

    sa.event.listen(desk.store.engine, "before_cursor_execute", note)
    desk.claimable()
    statement, parameters = next(pair for pair in statements if pair[0].startswith("SELECT"))
    with desk.store.engine.connect() as connection:
        plan = [row[3] for row in connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", parameters)]
    assert any("commands USING INDEX ix_commands_claim" in step for step in plan), plan
    assert not any("SCAN" in step or "TEMP B-TREE" in step for step in plan), plan


# -- Commands: the last look, and the end ------------------------------------------------------------------------


def test_sending_stores_the_payload_and_that_it_may_arrive(desk: Desk) -> None:
    (command,) = desk.open(IMPORT)
    assert not desk.sending(command)  # nobody's
    desk.lease(command)
    assert not desk.sending(command, "another")
    assert not desk.sending(command, now=NOW + LEASE)
    assert desk.row(command)["maybe_sent"] is False
    assert desk.sending(command, payload=b"\x00 bytes")
    assert (desk.row(command)["payload"], desk.row(command)["maybe_sent"]) == (b"\x00 bytes", True)
    assert desk.sending(command)
    assert desk.row(command)["payload"] == b"\x00 bytes"


def test_put_back_keeps_count_and_what_may_have_arrived(desk: Desk) -> None:
    (command,) = desk.open(IMPORT)
    desk.lease(command)
    assert desk.requeue(command, next_at=later(7), maybe_sent=True)
    row = desk.row(command)
    assert (row["state"], row["attempts"], row["maybe_sent"], row["next_at"]) == ("open", 1, True, later(7))
    assert (row["lease_token"], row["lease_until"], row["last_outcome"]) == (None, None, "retry")
    desk.lease(command)
    assert desk.requeue(command, attempt_counts=False)
    assert desk.row(command)["attempts"] == 1
    assert not desk.requeue(command)  # once


def test_settle_ends_it_once(desk: Desk) -> None:
    (command,) = desk.open(IMPORT)
    assert not desk.settle(command)
    desk.lease(command)
    assert not desk.settle(command, "another")
    assert desk.settle(command)
    assert not desk.settle(command)
    assert [(c.kind, c.state, c.last_outcome) for c in command_rows.of_order(desk.store, 1)] == [
        ("import_order", "done", "result")
    ]


# -- Shops -------------------------------------------------------------------------------------------------------


def bind(store: Store, name: str, endpoint: str = "https://a", shop_id: int = 1, effects: bool | None = None) -> None:
    with store.transaction() as tx:
        shop_rows.bind(tx, name, endpoint, shop_id, effects=effects, now=NOW)


@pytest.mark.parametrize(
    ("name", "endpoint", "shop_id"),
    [("alpha", "https://b", 1), ("alpha", "https://a", 2), ("beta", "https://a", 1)],
    ids=["another host", "another shop", "the same account by another name"],
)
def test_a_binding_is_for_ever(store: Store, name: str, endpoint: str, shop_id: int) -> None:
    bind(store, "alpha", effects=True)
    with store.transaction() as tx:
        order_rows.lock(tx, [("alpha", "O-1")], NOW)
    with pytest.raises(ConfigError, match=rf"shops\.{name}"):
        bind(store, name, endpoint, shop_id, True)
    assert [(shop.name, shop.endpoint, shop.shop_id) for shop in shop_rows.list_all(store)] == [
        ("alpha", "https://a", 1)
    ]


def test_a_typo_in_the_account_is_corrected_as_long_as_no_order_was_read(store: Store) -> None:
    bind(store, "alpha", "https://typo")
    lease = leased(store)
    with store.transaction() as tx:
        cursor_rows.save(tx, "alpha", Cursor(NOW, NOW, NOW), lease)
    bind(store, "alpha", "https://a", effects=True)
    assert [(shop.endpoint, shop.effects) for shop in shop_rows.list_all(store)] == [("https://a", True)]
    assert cursor_rows.find(store, "alpha") is None, "the new account is read from its beginning"


def test_effects_begin_off_and_stay_as_stored_unless_the_file_speaks(store: Store) -> None:
    seen = []
    for effects in (None, True, None, False, None):
        bind(store, "alpha", effects=effects)
        seen.append(shop_rows.list_all(store)[0].effects)
    assert seen == [False, True, True, False, False]


def test_a_switch_leaves_effects_alone_unless_told(store: Store) -> None:
    bind(store, "alpha", effects=True)
    with store.transaction() as tx:
        shop_rows.set_switches(tx, "alpha", paused=["ship", "import"])
        audit_rows.add(tx, who="ana", act="pause", subject="alpha", why="stock", at=NOW)
    assert [(shop.effects, shop.paused) for shop in shop_rows.list_all(store)] == [(True, ("import", "ship"))]
    assert [(row["who"], row["why"], row["at"]) for row in rows(store, s.audit)] == [("ana", "stock", NOW)]


# -- Dead letters ------------------------------------------------------------------------------------------------


def test_the_same_bytes_for_the_same_reason_are_counted(store: Store) -> None:
    letter = DeadLetter("topic", "topic/0/1", "not_json", "x", "digest", b"k", b"\xff\x00", (("h", b"\xfe"),))
    with store.transaction() as tx:
        dead_letter_rows.add(tx, [], NOW)
        dead_letter_rows.add(tx, [letter, replace(letter, place="topic/0/2")], NOW)
        dead_letter_rows.add(tx, [replace(letter, place="topic/0/3"), replace(letter, reason="bad_id")], later(5))
    first, second = sorted(dead_letter_rows.newest(store), key=lambda each: each.id)
    assert (first.times, first.place, first.first_at, first.last_at) == (3, "topic/0/3", NOW, later(5))
    assert (first.key, first.value, first.state) == (b"k", b"\xff\x00", "open")
    assert (second.reason, second.times) == ("bad_id", 1)
    assert dead_letter_rows.find(store, second.id) == second
    assert dead_letter_rows.find(store, 99) is None
    assert json.loads(rows(store, s.dead_letters)[0]["headers"]) == [["h", "fe"]]


# -- What people and gauges read ---------------------------------------------------------------------------------


def test_stock_counts_what_waits(desk: Desk) -> None:
    desk.open(IMPORT)
    desk.open(TRACK, order_id="O-2", at=later(5))
    desk.open(IMPORT, order_id="O-3", shop="beta")
    with desk.store.transaction() as tx:
        held = order_rows.lock(tx, [("alpha", "O-1"), ("alpha", "O-2")], NOW)
        order_rows.save(
            tx,
            [
                (replace(row, version=1, attention=(StandingAttention(Reason.HELD, since=later(n)),)), 0)
                for n, row in enumerate(held.values(), 1)
            ],
        )
        dead = order_rows.lock(tx, [("alpha", "O-4")], NOW)["alpha", "O-4"]
        order_rows.save(tx, [(replace(dead, version=1, state=State.CANCELED), 0)])
        dead_letter_rows.add(tx, [DeadLetter("topic", "p", "not_json", "", "d", None, None)], NOW)
    counts = stored_counts(desk.store)
    assert counts.in_state == {("alpha", "new"): Waiting(2, NOW), ("beta", "new"): Waiting(1, NOW)}
    assert counts.attention == {("alpha", "held"): Waiting(2, later(1))}
    assert counts.commands == {"import_order": Waiting(2, NOW), "send_tracking": Waiting(1, later(5))}
    assert counts.dead_letters == {("topic", "not_json"): 1}
    assert [order.order_id for order in order_rows.latest(desk.store, attention=True)] == ["O-1", "O-2"]
    assert [order.order_id for order in order_rows.latest(desk.store, shop="alpha", states=["canceled"])] == ["O-4"]


def test_what_a_poll_asks_for(store: Store) -> None:
    with store.transaction() as tx:
        found = order_rows.lock(tx, [("alpha", f"O-{n}") for n in range(4)] + [("beta", "O-1")], NOW)
        waits = {"O-1": later(5), "O-2": later(3), "O-3": later(9)}
        order_rows.save(
            tx,
            [(replace(row, version=1, digest="c", read_after=waits.get(row.order_id)), 0) for row in found.values()],
        )
    assert order_rows.waiting_for_a_read(store, "alpha", later(9), 10) == ["O-2", "O-1"]
    assert order_rows.waiting_for_a_read(store, "alpha", later(9), 1) == ["O-2"]
    assert order_rows.seen(store, "alpha", ["O-0", "O-9"]) == {"O-0": order_rows.Seen("c", None)}
    assert len(order_rows.open_keys(store, "alpha")) == 4


def test_a_batch_as_large_as_the_consumers_fits_into_one_statement(store: Store) -> None:
    events = [replace(sent(), event_id=f"e{n}", order_id=f"O-{n}") for n in range(500)]
    with store.transaction() as tx:
        assert len(order_rows.lock(tx, {(e.shop, e.order_id) for e in events}, NOW)) == 500
        assert journal_rows.known(tx, events) == set()
