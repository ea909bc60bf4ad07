"""Migrations: how each one changes rows that an earlier version wrote."""

import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from alembic.script import ScriptDirectory

from adapters.errors import ConfigError
from adapters.ports import Partition
from adapters.store import leases as lease_rows
from adapters.store import migrating, order_lists, urgencies
from adapters.store import progress as progress_rows
from adapters.store import schema as s
from adapters.store.progress import Progress
from adapters.store.transaction import Store
from statemachine.urgency import Urgency
from tests.support import Meanwhile

NOW = datetime(2026, 3, 1, tzinfo=UTC)
TOPIC = "mirakl.order-snapshots"

#: How the version of revision 0002 writes and reads a row. It does not know the column `was_shorter`.
INSERT_OF_BEFORE = """
    INSERT INTO progress (cluster, topic, partition, group_name, position, log_id, excused_commit)
    VALUES ('c', 'mirakl.order-snapshots', :partition, 'g', :position, :log_id, :excused_commit)
"""
SELECT_OF_BEFORE = "SELECT partition, position, log_id, excused_commit FROM progress ORDER BY partition"


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Any) -> str:
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/orderflow.db"
    found: str = request.getfixturevalue("postgres_url")
    return found


def at_revision(url: str, revision: str) -> Store:
    """A store with the schema of this revision."""
    store = Store(url)
    store.migrate(revision)
    return store


@pytest.fixture
def of_0002(url: str) -> Any:
    store = at_revision(url, "0002")
    yield store
    store.close()


def insert(store: Store, partition: int, position: int, log_id: str, excused_commit: int = 0) -> None:
    with store.writing() as connection:
        connection.execute(
            sa.text(INSERT_OF_BEFORE),
            dict(partition=partition, position=position, log_id=log_id, excused_commit=excused_commit),
        )


def progress_of(store: Store) -> dict[int, Progress]:
    return {partition.number: row for partition, row in progress_rows.of_group(store, "c", "g").items()}


def test_0003_moves_the_mark_of_a_shorter_log_from_the_id_to_its_column(of_0002: Store) -> None:
    insert(of_0002, 0, 7, "topic-1")
    insert(of_0002, 1, 8, "topic-1 was shorter", excused_commit=3)
    insert(of_0002, 2, 9, "")
    insert(of_0002, 3, 10, " was shorter")  # the embedded log has no id
    insert(of_0002, 4, 11, "topic-1 was shorter than 2")
    of_0002.migrate()
    assert progress_of(of_0002) == {
        0: Progress(7, "topic-1"),
        1: Progress(8, "topic-1", excused_commit=3, was_shorter=True),
        2: Progress(9, ""),
        3: Progress(10, "", was_shorter=True),
        4: Progress(11, "topic-1 was shorter than 2"),
    }


def test_after_0003_the_version_before_still_writes_and_reads_its_rows(of_0002: Store) -> None:
    insert(of_0002, 0, 7, "topic-1 was shorter")
    of_0002.migrate()
    insert(of_0002, 1, 8, "topic-1", excused_commit=2)
    insert(of_0002, 2, 9, "topic-1 was shorter")
    with of_0002.reading() as connection:
        found = [tuple(row) for row in connection.execute(sa.text(SELECT_OF_BEFORE))]
    assert found == [(0, 7, "topic-1", 0), (1, 8, "topic-1", 2), (2, 9, "topic-1 was shorter", 0)]
    assert progress_of(of_0002)[1] == Progress(8, "topic-1", excused_commit=2)
    assert not progress_of(of_0002)[2].counts_in("topic-1"), "so this version does not read the partition either"


def test_a_row_that_was_marked_as_shorter_can_be_reset(of_0002: Store) -> None:
    insert(of_0002, 0, 7, "topic-1 was shorter")
    of_0002.migrate()
    with of_0002.transaction() as tx:
        progress_rows.reset(tx, "c", "g", Partition(TOPIC, 0), Progress(5, "topic-1"))
    assert progress_of(of_0002) == {0: Progress(5, "topic-1")}


# -- Storage -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("begun_by", ["0001", "0018", migrating.NEEDED])
def test_the_tables_that_change_all_day_keep_room_and_are_cleaned_early(postgres_url: str, begun_by: str) -> None:
    """In a new database, and in one that an earlier version began."""
    store = Store(postgres_url)
    store.migrate(begun_by)
    store.migrate()
    with store.reading() as connection:
        found = connection.execute(sa.text("SELECT relname, reloptions FROM pg_class WHERE reloptions IS NOT NULL"))
        options = {row.relname: set(row.reloptions) for row in found}
    store.close()
    assert {"fillfactor=85", "autovacuum_vacuum_scale_factor=0.02"} < options["orders"]
    assert {"fillfactor=85", "autovacuum_analyze_scale_factor=0.02"} < options["commands"]
    assert {"autovacuum_vacuum_scale_factor=0", "autovacuum_vacuum_threshold=500"} < options["outbox"]
    for table, wanted in revisions()["0019"].STORAGE.items():
        assert options[table] == {one.replace(" ", "") for one in wanted.split(",")}, table


def test_storage_is_set_while_others_write(postgres_url: str) -> None:
    store = Store(postgres_url)
    store.migrate("0018")
    with store.transaction() as tx:
        tx.execute(sa.text("INSERT INTO leases VALUES ('a', 'b', 1, now())"))
        assert Meanwhile(lambda: store.migrate("0019")).result() is None
    with store.reading() as connection:
        assert migrating.revision_of(connection) == "0019"
    store.close()


# -- Which code may run ------------------------------------------------------------------------------------------


def revisions() -> dict[str, Any]:
    """The modules of all revisions, by number."""
    scripts = ScriptDirectory(str(Path(migrating.__file__).parent / "migrations"))
    return {script.revision: script.module for script in scripts.walk_revisions()}


def test_each_revision_names_the_oldest_code_that_may_run_on_it() -> None:
    named = {number: module.oldest for number, module in sorted(revisions().items()) if number >= "0008"}
    assert list(named.values()) == sorted(named.values()), "no later revision lets older code in again"
    assert all(oldest <= number for number, oldest in named.items())


def test_the_code_needs_the_newest_revision() -> None:
    assert max(revisions()) == migrating.NEEDED


def test_a_store_without_a_schema_or_of_an_earlier_version_does_not_fit(url: str) -> None:
    store = Store(url)
    assert not store.schema_fits()
    store.migrate("0006")
    assert not store.schema_fits()
    store.migrate()
    assert store.schema_fits()
    store.close()


def of_a_later_version(store: Store, oldest: str) -> None:
    store.migrate()
    with store.writing() as connection:
        connection.execute(sa.insert(s.schema_versions).values(revision="9998", oldest=oldest))
        connection.execute(sa.text("UPDATE alembic_version SET version_num = '9998'"))


def test_a_store_of_a_later_version_fits_and_is_not_migrated(url: str) -> None:
    store = Store(url)
    of_a_later_version(store, oldest=migrating.NEEDED)
    assert store.schema_fits()
    store.migrate()
    with store.reading() as connection:
        assert migrating.revision_of(connection) == "9998"
    store.close()


def test_a_store_of_a_later_version_may_forbid_this_code(url: str) -> None:
    store = Store(url)
    of_a_later_version(store, oldest="9998")
    with pytest.raises(ConfigError, match="Versions before its schema 9998 must not run on it"):
        store.schema_fits()
    store.close()


# -- On PostgreSQL, while others use the tables ------------------------------------------------------------------


def test_a_revision_that_finds_a_table_locked_is_tried_again(
    postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """0007 adds a column to `orders`, which another transaction reads. Nobody waits behind the migration for long."""
    monkeypatch.setattr(migrating, "LOCK_SECONDS", 0.1)
    monkeypatch.setattr(migrating, "PAUSE_SECONDS", 0.1)
    store = at_revision(postgres_url, "0006")
    with store.reading() as reader:
        reader.execute(sa.text("SELECT id FROM orders")).all()
        meanwhile = Meanwhile(store.migrate)
        time.sleep(0.5)
        with store.writing() as connection:  # another process
            connection.execute(sa.text("DELETE FROM orders"))
        assert not store.schema_fits()
    assert meanwhile.result() is None
    assert store.schema_fits()
    store.close()


def test_the_connections_of_a_migration_do_not_go_back_to_the_pool(postgres_url: str) -> None:
    """They have no limit of the time that a statement takes."""
    store = at_revision(postgres_url, "0006")
    store.migrate()
    with store.reading() as connection:
        assert connection.execute(sa.text("SHOW statement_timeout")).scalar() == "1min"
        waiting = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
        assert connection.execute(sa.text(waiting)).scalar() == 0
    store.close()


# -- 0004: names of leases ---------------------------------------------------------------------------------------


def leased(store: Store, name: str, token: int, until: datetime) -> None:
    """Write a lease as an earlier version does."""
    with store.writing() as connection:
        connection.execute(sa.insert(s.leases).values(name=name, holder="before", token=token, until=until))


def test_0004_renames_the_leases_of_pollers_and_keeps_token_and_end(url: str) -> None:
    store = at_revision(url, "0003")
    for number, name in enumerate(("poll:alpha", "poll:poll:x", "poller:host:1", "relay"), 1):
        leased(store, name, number, NOW + timedelta(seconds=30))
    store.migrate()
    with store.reading() as connection:
        tokens = {row.name: row.token for row in connection.execute(sa.select(s.leases))}
    assert tokens == {"poll/alpha": 1, "poll/poll:x": 2, "member/poller/host:1": 3, "relay": 4}
    with store.transaction() as tx:
        assert lease_rows.take(tx, "poll/alpha", "new", NOW, NOW) is None, "the poller of before has it until its end"
    with store.transaction() as tx:
        later = NOW + timedelta(seconds=31)
        assert lease_rows.take(tx, "poll/alpha", "new", later, later) == lease_rows.Lease("poll/alpha", "new", 2)
    store.close()


@pytest.mark.parametrize("name", ["poll:alpha", "poller:host:1"])
def test_after_0004_a_poller_of_the_version_before_gets_no_lease(url: str, name: str) -> None:
    store = at_revision(url, "0003")
    leased(store, name, 1, NOW)
    store.migrate()
    with pytest.raises(sa.exc.IntegrityError):
        leased(store, name, 2, NOW)
    store.close()


def test_0023_lists_the_orders_that_older_code_writes_before_and_after_it(url: str) -> None:
    store = at_revision(url, "0021")
    insertion = (
        "INSERT INTO orders (shop, order_id, state, facts, version, attention, content, first_seen_at, entered_at, "
        "updated_at) VALUES ('alpha', '{}', 'new', '{{}}', 1, '[[\"held\", \"\", \"2026-03-01T12:00:00+00:00\"]]', "
        "'', '2026-03-01 12:00:00', '2026-03-01 12:00:00', '2026-03-01 12:00:00')"
    )
    for order_id in ("O-1", "O-2"):
        with store.writing() as connection:
            connection.exec_driver_sql(insertion.format(order_id))
        store.migrate()
    assert [row.order_id for row in order_lists.latest(store, urgency=False)] == ["O-2", "O-1"]
    found = urgencies.read(store, urgencies.keys(store, also_stored=False))
    with store.transaction() as tx:
        assert urgencies.store_urgency(tx, [(one, Urgency.NOW) for one in found]) == 2
    assert order_lists.latest(store, urgency=False) == []
    assert [row.order_id for row in order_lists.latest(store, urgency=True)] == ["O-1", "O-2"]
    store.close()
