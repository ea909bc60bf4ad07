"""Copying a SQLite store to a real PostgreSQL.

The first tests show which copies are refused, and that a refused copy changes nothing. The others show that the copy is
complete, and that the service goes on with it. A copy without some of the rows, records or calls would lose an order or
make a call twice.
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
from adapters.store import engine, order_lists
from adapters.store import journal as journal_rows
from adapters.store import leases as lease_rows
from adapters.store import schema as s
from adapters.store.copy import COPIED, NOT_COPIED, CopyRefused, copy_to_postgresql
from adapters.store.dead_letters import DeadLetter
from adapters.store.transaction import Store
from consumer.applying.apply import OrderWriter
from consumer.cli import app as cli
from consumer.operations.verify import differences
from consumer.stores import GROUP
from tests.consumer.rig import OMS_EVENTS, Rig
from tests.engines import store_lines
from tests.statemachine.lives import read, snapshot_event

Copy = Callable[[], dict[str, int]]


@pytest.fixture
def rig(tmp_path: Path) -> Rig:
    """A store with orders in several states, an import without an answer, a dead letter and a row of the audit."""
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
    rig.add("5-A")  # its acceptance is due when the store is copied
    rig.poll()
    return rig


@pytest.fixture
def target(postgres_url: str) -> Iterator[Store]:
    """An empty database, without a schema."""
    store = Store(postgres_url)
    yield store
    store.close()


@pytest.fixture
def copy(rig: Rig, target: Store) -> Copy:
    return lambda: copy_to_postgresql(f"sqlite:///{rig.path}", target, GROUP)


def rows(store: Store, table: sa.Table) -> list[Any]:
    with store.reading() as connection:
        return [tuple(row) for row in connection.execute(sa.select(table).order_by(*table.primary_key))]


def has_no_tables(store: Store) -> bool:
    return sa.inspect(store.engine).get_table_names() == []


# -- What is refused -----------------------------------------------------------------------------------------------


def test_a_store_on_which_a_service_runs_is_refused(rig: Rig, target: Store, copy: Copy) -> None:
    held = engine.hold_alone(f"sqlite:///{rig.path}")
    assert held is not None
    with pytest.raises(ConfigError, match=r"--from: another orderflow runs on .*orderflow\.db"):
        copy()
    assert has_no_tables(target)
    held.close()
    assert copy()["orders"] == 5


def test_a_second_copy_and_a_write_at_the_same_time_are_refused(rig: Rig, target: Store) -> None:
    """A row that a command of the CLI writes during the copy would be missing in the copy."""
    seen: list[str] = []
    impatient = Store(f"sqlite:///{rig.path}", busy_seconds=0.05)

    def while_it_runs(*_: object) -> None:
        if seen:
            return
        with pytest.raises(ConfigError, match="another orderflow runs on"):
            copy_to_postgresql(f"sqlite:///{rig.path}", target, GROUP)
        with pytest.raises(StoreUnavailable), impatient.transaction() as tx:
            audit_rows.add(tx, who="ops", act="pause", subject="alpha", why="too late", at=rig.clock.now())
        seen.append("both refused")

    copy_to_postgresql(f"sqlite:///{rig.path}", target, GROUP, while_it_runs)
    assert seen == ["both refused"]
    impatient.close()


def test_records_that_are_not_applied_are_refused(rig: Rig, target: Store, copy: Copy) -> None:
    for key in (b"1:a", b"1:b", b"1:a"):
        rig.log.publish([NewRecord(OMS_EVENTS, key, b"{}")])
    with pytest.raises(CopyRefused, match=r"3 records of its log have not been applied yet \(oms\.order-events/\d: \d"):
        copy()
    assert has_no_tables(target)
    rig.consume()
    assert copy()["orders"] == 5


def test_a_log_without_any_progress_is_refused(tmp_path: Path, target: Store) -> None:
    rig = Rig(tmp_path)
    rig.log.publish([NewRecord(OMS_EVENTS, b"1:a", b"{}")])
    with pytest.raises(CopyRefused, match="1 records"):
        copy_to_postgresql(f"sqlite:///{rig.path}", target, GROUP)


def test_progress_of_another_group_does_not_count(rig: Rig, target: Store) -> None:
    with pytest.raises(CopyRefused, match="have not been applied yet"):
        copy_to_postgresql(f"sqlite:///{rig.path}", target, "another")


def test_a_call_that_is_under_way_is_refused(rig: Rig, target: Store, copy: Copy) -> None:
    assert rig.worker.claim() is not None
    with pytest.raises(CopyRefused, match="1 calls are under way, or were when the old service was killed"):
        copy()
    assert has_no_tables(target)
    rig.work(120)  # the lease runs out, the command is claimed again
    assert copy()["orders"] == 5


def test_a_target_with_orders_is_refused(rig: Rig, target: Store, copy: Copy) -> None:
    copied = copy()
    before = {table.name: rows(target, table) for table in COPIED}
    with pytest.raises(CopyRefused, match=r"the PostgreSQL database is not empty \(\w+ has rows\)"):
        copy()
    assert {table.name: rows(target, table) for table in COPIED} == before
    assert copied["orders"] == len(before["orders"])


def test_a_target_on_which_a_process_ran_is_refused(rig: Rig, target: Store, copy: Copy) -> None:
    target.migrate()
    with target.transaction() as tx:
        assert lease_rows.take(tx, "relay", "somebody", rig.clock.now(), rig.clock.now()) is not None
    with pytest.raises(CopyRefused, match=r"not empty \(leases has rows\)"):
        copy()


def test_a_target_on_sqlite_is_refused(rig: Rig, tmp_path: Path) -> None:
    other = Store(f"sqlite:///{tmp_path}/other.db")
    with pytest.raises(ConfigError, match=r"store\.url: is SQLite"):
        copy_to_postgresql(f"sqlite:///{rig.path}", other, GROUP)
    other.close()


def test_a_schema_of_another_version_is_refused(rig: Rig, target: Store, copy: Copy) -> None:
    with rig.store.writing() as connection:
        connection.exec_driver_sql("UPDATE alembic_version SET version_num = '0001'")
    with pytest.raises(CopyRefused, match="its schema is missing or not this version's"):
        copy()
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
def test_a_source_that_is_no_sqlite_store_is_refused(
    url: str, words: str, target: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError, match=f"--from: {words}"):
        copy_to_postgresql(url, target, GROUP)
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_is_no_database_is_refused(tmp_path: Path, target: Store) -> None:
    (tmp_path / "notes.db").write_text("milk, eggs, " * 100)
    with pytest.raises(CopyRefused, match=r"--from: cannot be read or written as it is \(DatabaseError\)"):
        copy_to_postgresql(f"sqlite:///{tmp_path}/notes.db", target, GROUP)


def test_a_row_that_postgresql_refuses_leaves_the_target_empty(rig: Rig, target: Store, copy: Copy) -> None:
    """Our own code does not store such a text. The text of the error must not quote the row."""
    with rig.store.transaction() as tx:
        dead_letter_rows.add(
            tx, [DeadLetter("poll:alpha", "x", "bad_field", "Erika\x00", "d", None, b"")], rig.clock.now()
        )
    with pytest.raises(CopyRefused, match=r"cannot be read or written as it is \(DataError\)") as caught:
        copy()
    assert "Erika" not in str(caught.value)
    assert all(rows(target, table) == [] for table in COPIED)


# -- The copy ------------------------------------------------------------------------------------------------------


def test_every_row_is_copied_as_it_is(rig: Rig, target: Store) -> None:
    reported: list[tuple[str, int, int]] = []
    copied = copy_to_postgresql(f"sqlite:///{rig.path}", target, GROUP, lambda *one: reported.append(one))
    assert target.schema_fits()
    assert set(copied) == {table.name for table in s.metadata.sorted_tables} - NOT_COPIED
    for table in COPIED:
        assert rows(target, table) == rows(rig.store, table), table.name
        assert copied[table.name] == len(rows(rig.store, table))
        assert (table.name, copied[table.name], copied[table.name]) in reported
    assert all(copied[name] for name in ("orders", "snapshots", "journal", "commands", "shops", "audit", "cursors"))
    assert copied["dead_letters"] == 1
    for name in NOT_COPIED - {"schema_versions"}:  # the target's own migrations wrote it
        assert rows(target, s.metadata.tables[name]) == []
    for order in order_lists.latest(target):
        assert differences(order, journal_rows.of_order(target, order.key)) == []


def test_more_rows_than_one_batch_are_copied(rig: Rig, target: Store, copy: Copy) -> None:
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
    assert copy()["audit"] == 2_346
    assert rows(target, s.audit) == rows(rig.store, s.audit)


def test_the_service_goes_on_with_the_copy(rig: Rig, target: Store, copy: Copy) -> None:
    """Calls that were due are made, new rows get new ids, and the import without an answer is made once."""
    copy()
    copied = {table.name: rows(target, table) for table in COPIED}
    rig.store = target
    rig.orders = OrderWriter(target, {}, rig.clock)
    rig.worker = rig.new_worker()
    rig.work(3600)
    assert rig.effects("5-A") == ["accepted"]
    assert rig.effects("4-A") == ["imported"]
    rig.orders.apply([snapshot_event(read("WAITING_ACCEPTANCE"))])
    with target.transaction() as tx:
        audit_rows.add(tx, who="ops", act="pause", subject="alpha", why="after the copy", at=rig.clock.now())
        dead_letter_rows.add(tx, [DeadLetter("poll:alpha", "x", "bad_field", "", "digest", None, b"")], rig.clock.now())
    for table in COPIED:
        if table.autoincrement_column is not None:
            ids = [row[0] for row in rows(target, table)]
            assert ids[: len(copied[table.name])] == [row[0] for row in copied[table.name]], table.name
    for name in ("orders", "journal", "commands", "audit", "dead_letters"):
        assert len(rows(target, s.metadata.tables[name])) > len(copied[name]), name
    for order in order_lists.latest(target):
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


def test_the_command_line_copies_a_store_once(
    rig: Rig, postgres_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "production.toml").write_text(FILE.format(store=store_lines(tmp_path, postgres_url)))

    def run(*args: str) -> tuple[int, str]:
        result = CliRunner().invoke(cli.app, [*args, "--config", "production.toml"])
        return result.exit_code, result.output

    assert run("migrate", "--from", "sqlite:///orderflow.db", "--check")[0] == 2
    code, said = run("migrate", "--from", "sqlite:///missing.db")
    assert code == 2
    assert said == "orderflow: --from: there is no file missing.db\n"
    code, said = run("migrate", "--from", "sqlite:///orderflow.db")
    assert code == 0
    assert "Moved: " in said
    assert "orders 5" in said
    assert run("orders", "verify", "--all") == (0, "5 verified, 0 differ\n")
    code, said = run("migrate", "--from", "sqlite:///orderflow.db")
    assert code == 2
    assert "is not empty" in said
