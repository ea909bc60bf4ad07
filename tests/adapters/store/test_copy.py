"""A store moves to a real PostgreSQL: what it refuses, leaving both sides as they were; then that life goes on.

A move that half happened, or forgot a record or a call, would lose an order or double it.
"""

from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from typer.testing import CliRunner

from adapters.errors import ConfigError, StoreUnavailable
from adapters.ports import NewRecord
from adapters.store import audit as audit_rows
from adapters.store import dead_letters as dead_letter_rows
from adapters.store import engine as database
from adapters.store import journal as journal_rows
from adapters.store import leases as lease_rows
from adapters.store import orders as order_rows
from adapters.store import schema as s
from adapters.store.copy import LEFT, MOVED, NotMovable, move
from adapters.store.dead_letters import DeadLetter
from adapters.store.transaction import Store, schema_is_current
from consumer.apply import OrderWriter
from consumer.bootstrap import GROUP
from consumer.cli import app as cli
from consumer.operations.verify import differences
from tests.consumer.rig import OMS_EVENTS, Rig
from tests.engines import store_lines
from tests.statemachine.lives import read, snapshot_event

Move = Callable[[], dict[str, int]]


@pytest.fixture
def rig(tmp_path: Path) -> Rig:
    """A store full of life: orders of every age, an import without an answer, a dead letter, an audit."""
    rig = Rig(tmp_path, shops=("alpha", "beta"))
    rig.imported("1-A")
    rig.imported("2-A", "beta")
    rig.add("3-A")
    rig.poll()
    rig.fail("order", "timeout_after")
    rig.add("4-A", state="SHIPPING")
    rig.poll()
    rig.work()
    rig.log.publish([NewRecord(OMS_EVENTS, b"9:x", b"no event \x00 at all")])
    rig.consume()
    with rig.store.transaction() as tx:
        audit_rows.add(tx, who="ops", act="pause", subject="alpha", why="a look", at=rig.clock.now())
    rig.add("5-A")  # its acceptance is due when the move comes
    rig.poll()
    return rig


@pytest.fixture
def target(postgres_url: str) -> Iterator[Store]:
    """An empty database, without a schema."""
    store = Store(postgres_url)
    yield store
    store.close()


@pytest.fixture
def move_it(rig: Rig, target: Store) -> Move:
    return lambda: move(f"sqlite:///{rig.path}", target, GROUP)


def rows(store: Store, table: sa.Table) -> list[Any]:
    with store.reading() as connection:
        return [tuple(row) for row in connection.execute(sa.select(table).order_by(*table.primary_key))]


def has_no_tables(store: Store) -> bool:
    return sa.inspect(store.engine).get_table_names() == []


# -- What it refuses ---------------------------------------------------------------------------------------------


def test_a_store_on_which_the_service_runs(rig: Rig, target: Store, move_it: Move) -> None:
    held = database.hold_alone(f"sqlite:///{rig.path}")
    assert held is not None
    with pytest.raises(ConfigError, match=r"--from: another orderflow runs on .*orderflow\.db"):
        move_it()
    assert has_no_tables(target)
    held.close()
    assert move_it()["orders"] == 5


def test_a_second_move_at_the_same_time(rig: Rig, target: Store) -> None:
    """And no command of the CLI writes meanwhile what would be left behind."""
    seen: list[str] = []
    impatient = Store(f"sqlite:///{rig.path}", busy_seconds=0.05)

    def meddle(*_: object) -> None:
        if seen:
            return
        with pytest.raises(ConfigError, match="another orderflow runs on"):
            move(f"sqlite:///{rig.path}", target, GROUP)
        with pytest.raises(StoreUnavailable), impatient.transaction() as tx:
            audit_rows.add(tx, who="ops", act="pause", subject="alpha", why="too late", at=rig.clock.now())
        seen.append("both refused")

    move(f"sqlite:///{rig.path}", target, GROUP, meddle)
    assert seen == ["both refused"]
    impatient.close()


def test_records_that_are_not_applied(rig: Rig, target: Store, move_it: Move) -> None:
    for key in (b"1:a", b"1:b", b"1:a"):
        rig.log.publish([NewRecord(OMS_EVENTS, key, b"{}")])
    with pytest.raises(NotMovable, match=r"3 records of its log have not been applied yet \(oms\.order-events/\d: \d"):
        move_it()
    assert has_no_tables(target)
    rig.consume()
    assert move_it()["orders"] == 5


def test_a_log_that_nobody_has_read_yet(tmp_path: Path, target: Store) -> None:
    rig = Rig(tmp_path)
    rig.log.publish([NewRecord(OMS_EVENTS, b"1:a", b"{}")])
    with pytest.raises(NotMovable, match="1 records"):
        move(f"sqlite:///{rig.path}", target, GROUP)


def test_progress_of_another_group_does_not_count(rig: Rig, target: Store) -> None:
    with pytest.raises(NotMovable, match="have not been applied yet"):
        move(f"sqlite:///{rig.path}", target, "another")


def test_a_call_that_is_under_way(rig: Rig, target: Store, move_it: Move) -> None:
    assert rig.worker.claim() is not None
    with pytest.raises(NotMovable, match="1 calls are under way, or were when the old service was killed"):
        move_it()
    assert has_no_tables(target)
    rig.work(120)  # the lease is over, so it is claimed again
    assert move_it()["orders"] == 5


def test_a_target_that_is_not_empty(rig: Rig, target: Store, move_it: Move) -> None:
    moved = move_it()
    before = {table.name: rows(target, table) for table in MOVED}
    with pytest.raises(NotMovable, match=r"the PostgreSQL database is not empty \(\w+ has rows\)"):
        move_it()
    assert {table.name: rows(target, table) for table in MOVED} == before
    assert moved["orders"] == len(before["orders"])


def test_a_target_on_which_something_ran_already(rig: Rig, target: Store, move_it: Move) -> None:
    with target.writing() as connection:
        database.upgrade(connection)
    with target.transaction() as tx:
        assert lease_rows.take(tx, "relay", "somebody", rig.clock.now(), rig.clock.now()) is not None
    with pytest.raises(NotMovable, match=r"not empty \(leases has rows\)"):
        move_it()


def test_a_target_that_is_sqlite(rig: Rig, tmp_path: Path) -> None:
    other = Store(f"sqlite:///{tmp_path}/other.db")
    with pytest.raises(ConfigError, match=r"store\.url: is SQLite"):
        move(f"sqlite:///{rig.path}", other, GROUP)
    other.close()


def test_a_schema_of_another_version(rig: Rig, target: Store, move_it: Move) -> None:
    with rig.store.writing() as connection:
        connection.exec_driver_sql("UPDATE alembic_version SET version_num = '0001'")
    with pytest.raises(NotMovable, match="its schema is missing or not this version's"):
        move_it()
    assert has_no_tables(target)


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("orderflow.db", "is not a database URL"),
        ("postgresql://db.example/orderflow", "has to be the file of a SQLite store"),
        ("sqlite://", "has to be the file of a SQLite store"),
        ("sqlite:///:memory:", "has to be the file of a SQLite store"),
        ("sqlite:///missing.db", r"there is no file missing\.db"),
    ],
)
def test_what_is_no_store(url: str, words: str, target: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError, match=f"--from: {words}"):
        move(url, target, GROUP)
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_is_no_database(tmp_path: Path, target: Store) -> None:
    (tmp_path / "notes.db").write_text("milk, eggs, " * 100)
    with pytest.raises(NotMovable, match=r"--from: cannot be read or written as it is \(DatabaseError\)"):
        move(f"sqlite:///{tmp_path}/notes.db", target, GROUP)


def test_a_row_that_postgresql_does_not_take(rig: Rig, target: Store, move_it: Move) -> None:
    """By hand: our own code lets no such text into the store. The error must not quote it."""
    with rig.store.transaction() as tx:
        dead_letter_rows.add(
            tx, [DeadLetter("poll:alpha", "x", "bad_field", "Erika\x00", "d", None, b"")], rig.clock.now()
        )
    with pytest.raises(NotMovable, match=r"cannot be read or written as it is \(DataError\)") as caught:
        move_it()
    assert "Erika" not in str(caught.value)
    assert has_no_tables(target)


# -- What comes of it --------------------------------------------------------------------------------------------


def test_every_row_is_the_same(rig: Rig, target: Store) -> None:
    told: list[tuple[str, int, int]] = []
    moved = move(f"sqlite:///{rig.path}", target, GROUP, lambda *one: told.append(one))
    assert schema_is_current(target)
    assert set(moved) == {table.name for table in s.metadata.sorted_tables} - LEFT
    for table in MOVED:
        assert rows(target, table) == rows(rig.store, table), table.name
        assert moved[table.name] == len(rows(rig.store, table))
        assert (table.name, moved[table.name], moved[table.name]) in told
    assert all(moved[name] for name in ("orders", "snapshots", "journal", "commands", "shops", "audit", "cursors"))
    assert moved["dead_letters"] == 1
    for name in LEFT:
        assert rows(target, s.metadata.tables[name]) == []
    for order in order_rows.latest(target):
        assert differences(order, journal_rows.of_order(target, order.key)) == []


def test_more_rows_than_one_batch_holds(rig: Rig, target: Store, move_it: Move) -> None:
    with rig.store.transaction() as tx:
        for number in range(2_345):
            audit_rows.add(
                tx,
                who="ops",
                act="pause",
                subject="alpha",
                why=f"{number}",
                at=rig.clock.now() + timedelta(seconds=number),
            )
    assert move_it()["audit"] == 2_346
    assert rows(target, s.audit) == rows(rig.store, s.audit)


def test_life_goes_on(rig: Rig, target: Store, move_it: Move) -> None:
    """Calls that were due are made, new rows get ids of their own, and what was unanswered is imported once."""
    move_it()
    moved = {table.name: rows(target, table) for table in MOVED}
    rig.store = target
    rig.orders = OrderWriter(target, {}, rig.clock)
    rig.worker = rig.new_worker()
    rig.work(3600)
    assert rig.effects("5-A") == ["accepted"]
    assert rig.effects("4-A") == ["imported"]
    rig.orders.apply([snapshot_event(read("WAITING_ACCEPTANCE"))])
    with target.transaction() as tx:
        audit_rows.add(tx, who="ops", act="pause", subject="alpha", why="after the move", at=rig.clock.now())
        dead_letter_rows.add(tx, [DeadLetter("poll:alpha", "x", "bad_field", "", "digest", None, b"")], rig.clock.now())
    for table in MOVED:
        if table.autoincrement_column is not None:
            ids = [row[0] for row in rows(target, table)]
            assert ids[: len(moved[table.name])] == [row[0] for row in moved[table.name]], table.name
    for name in ("orders", "journal", "commands", "audit", "dead_letters"):
        assert len(rows(target, s.metadata.tables[name])) > len(moved[name]), name
    for order in order_rows.latest(target):
        assert differences(order, journal_rows.of_order(target, order.key)) == []


FILE = """\
[store]
{store}[log]
kind = "kafka"
[shops.alpha]
hostname = "alpha.mirakl.net"
shop_id = 2104
api_key_file = "alpha.key"
[shops.alpha.oms]
company_ref_id = 1
api_key_file = "alpha.key"
"""


def test_by_the_command_line(rig: Rig, postgres_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "production.toml").write_text(FILE.format(store=store_lines(tmp_path, postgres_url)))

    def run(*args: str) -> tuple[int, str]:
        result = CliRunner().invoke(cli.app, [*args, "--config", "production.toml"])
        return result.exit_code, result.output

    assert run("migrate", "--from", "sqlite:///orderflow.db", "--check")[0] == 2
    code, said = run("migrate", "--from", "sqlite:///missing.db")
    assert (code, said) == (2, "orderflow: --from: there is no file missing.db\n")
    code, said = run("migrate", "--from", "sqlite:///orderflow.db")
    assert code == 0
    assert "Moved: " in said and "orders 5" in said
    assert run("orders", "verify", "--all") == (0, "5 verified, 0 differ\n")
    code, said = run("migrate", "--from", "sqlite:///orderflow.db")
    assert code == 2
    assert "is not empty" in said
