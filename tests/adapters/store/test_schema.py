"""The schema: migrations and tables agree on both engines, and an instant keeps its zone."""

import random
import sqlite3
import threading
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Final

import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext

from adapters.store import cursors as cursor_rows
from adapters.store import indexes
from adapters.store import schema as s
from adapters.store.bounds import LONGEST
from adapters.store.cursors import Cursor
from adapters.store.transaction import Store
from tests.adapters.store.support import NOW, later, leased
from tests.support import new_store

#: Indexes of an expression, which alembic cannot compare. The tests below do.
OF_AN_EXPRESSION = ("ix_names_words", "ix_orders_urgency")


@pytest.mark.filterwarnings(
    f"ignore:autogenerate skipping metadata-specified expression-based index '({'|'.join(OF_AN_EXPRESSION)})'"
)
@pytest.mark.filterwarnings("ignore:Skipped unsupported reflection of expression-based index")
def test_the_migrations_make_the_schema_and_may_run_twice(store: Store) -> None:
    store.migrate()
    assert store.schema_fits()
    with store.engine.connect() as connection:
        opts = {"include_object": lambda _, name, *__: name not in OF_AN_EXPRESSION}
        context = MigrationContext.configure(connection, opts=opts)
        assert compare_metadata(context, s.metadata) == []


def parts_of(sql: str) -> tuple[str, ...]:
    """Split a CREATE TABLE into its sorted definitions, because their order has no meaning. Keep other statements."""
    sql = " ".join(sql.replace('"', "").split())  # a recreated table has its name in quotes
    if not sql.startswith("CREATE TABLE"):
        return (sql,)
    head, _, body = sql.partition("(")
    parts, depth = [""], 0
    for character in body.removesuffix(")"):
        depth += {"(": 1, ")": -1}.get(character, 0)
        if character == "," and not depth:
            parts.append("")
        else:
            parts[-1] += character
    return head.strip(), *sorted(part.strip() for part in parts)


def made(file: str) -> set[tuple[str, ...]]:
    """Every table and index of a SQLite file."""
    with sqlite3.connect(file) as connection:
        found = connection.execute("SELECT sql FROM sqlite_master WHERE sql IS NOT NULL").fetchall()
    connection.close()
    return {parts_of(sql) for (sql,) in found if "alembic_version" not in sql}


def test_on_sqlite_the_migrations_make_the_same_checks_indexes_and_defaults(tmp_path: Path) -> None:
    """compare_metadata compares none of these on SQLite."""
    new_store(tmp_path).close()
    plain = Store(f"sqlite:///{tmp_path}/plain.db")
    with plain.writing() as connection:
        s.metadata.create_all(connection)
    plain.close()
    assert made(f"{tmp_path}/orderflow.db") == made(f"{tmp_path}/plain.db")


#: Columns, constraints and indexes, as PostgreSQL prints them.
_MADE: Final = """
    SELECT table_name || '.' || column_name || ' ' || data_type || ' ' || is_nullable || ' '
        || coalesce(column_default, '') FROM information_schema.columns WHERE table_schema = 'public'
    UNION SELECT conrelid::regclass::text || ' ' || conname || ' ' || pg_get_constraintdef(oid)
        FROM pg_constraint WHERE connamespace = 'public'::regnamespace
    UNION SELECT indexdef FROM pg_indexes WHERE schemaname = 'public'
"""


def test_on_postgresql_the_migrations_make_the_same_columns_constraints_and_indexes(postgres_url: str) -> None:
    migrated = Store(postgres_url)

    def made_now() -> set[str]:
        with migrated.reading() as connection:
            found = set(connection.execute(sa.text(_MADE)).scalars())
        return {text for text in found if "alembic_version" not in text}

    migrated.migrate()
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
            store.migrate()
        except BaseException as error:
            failed.append(error)

    threads = [threading.Thread(target=migrate, args=(store,)) for store in each]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failed == []
    assert each[0].schema_fits()
    for store in each:
        store.close()


def test_a_store_without_a_schema_is_not_current(tmp_path: Path) -> None:
    assert not Store(f"sqlite:///{tmp_path}/empty.db").schema_fits()


def test_an_instant_is_read_as_it_was_written(store: Store) -> None:
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


# -- Bounds of what is indexed -------------------------------------------------------------------------------------

#: The most bytes of an entry of a B-tree, a third of a page, by PostgreSQL's documentation.
LONGEST_ENTRY = 2_704


def indexed() -> dict[str, list[sa.Column[object]]]:
    """The columns of every primary key, unique constraint and index, without the index of words (names.LONGEST)."""
    found: dict[str, list[sa.Column[object]]] = {}
    for table in s.metadata.sorted_tables:
        unique = [one for one in table.constraints if isinstance(one, sa.UniqueConstraint | sa.PrimaryKeyConstraint)]
        for number, one in enumerate([*unique, *table.indexes - {indexes.WORDS}]):
            found[f"{table.name} {one.name or number}"] = [each for each in one.columns if isinstance(each, sa.Column)]
    return found


def is_text(column: sa.Column[object]) -> bool:
    return isinstance(column.type, sa.Text | s.OneOf)


def test_every_indexed_text_has_a_bound_and_every_entry_fits() -> None:
    """A value that an index refuses undoes the whole transaction: no order of any shop was applied."""
    texts = {
        f"{column.table.name}.{column.name}" for columns in indexed().values() for column in columns if is_text(column)
    }
    assert texts == set(LONGEST)
    for name, columns in indexed().items():
        sizes = [LONGEST[f"{one.table.name}.{one.name}"] if is_text(one) else 8 for one in columns]
        assert sum(sizes) + 16 * len(sizes) <= LONGEST_ENTRY, name


def incompressible(size: int) -> str:
    return random.Random(size).randbytes(size)[: size // 2].hex()[:size]


def test_the_longest_texts_of_the_outside_world_can_be_stored(store: Store) -> None:
    def text(column: str) -> str:
        return incompressible(LONGEST[column])

    order = dict(state="new", facts="{}", version=0, attention="[]", content="")
    order |= dict(first_seen_at=NOW, entered_at=NOW, updated_at=NOW)
    event = dict(trigger="snapshot", at=NOW, recorded_at=NOW, says="{}", note="{}", result="moved", before="new")
    event |= dict(after="new", machine_version=1, version=1)
    command = dict(kind="send_tracking", round=0, state="open", basis="", opened_at=NOW, next_at=NOW, give_up_at=NOW)
    with store.transaction() as tx:
        order |= dict(shop=text("orders.shop"), order_id=text("orders.order_id"))
        key = tx.execute(sa.insert(s.orders).values(**order).returning(s.orders.c.id)).scalar()
        event |= dict(order_key=key, event_id=text("journal.event_id"), source=text("journal.source"))
        tx.execute(sa.insert(s.journal).values(**event))
        tx.execute(sa.insert(s.commands).values(order_key=key, carries=text("commands.carries"), **command))
