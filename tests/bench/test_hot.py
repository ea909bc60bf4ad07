"""No statement that runs all day reads a big table from end to end, or many more rows than its answer has."""

import json
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

import pytest
import sqlalchemy as sa

from adapters.engines.postgres import Postgres
from consumer.operations.listing import Wanted, count_orders
from tests.bench.grown import SHOPS, grow, lives
from tests.bench.hot import BIG, HOT, Ran, Scene, statements
from tests.consumer.rig import Rig
from tests.engines import database_of

ORDERS: Final = 20_000
#: The most rows that one step of a plan may read. 800 orders are open, 200 need a person, and 400 have a call due.
MOST_ROWS: Final = 2_000
#: What reads no more rows than it shows: a page of the list, and one row more. The store has 200 such orders.
READS_A_PAGE: Final = {"orders list --attention": 101}
#: What reads the names of all orders on SQLite, which has no index for it: 100 bytes of each order.
READS_NAMES: Final = ("orders list --text ORDER", "orders list --text SKU")
TABLES: Final = frozenset(table.name for table in BIG)
NEVER: Final = datetime(2020, 1, 1, tzinfo=UTC)  # no order of the store changed before
#: Small in the test, and PostgreSQL reads a small table from end to end.
SMALL_HERE: Final = "outbox"


def grown_rig(folder: Path, url: str, *, fresh_statistics: bool) -> Iterator[Scene]:
    """A store with many orders, and with their statistics or those of a store with seven orders."""
    grown = grow(folder, url, ORDERS, fresh_statistics=fresh_statistics)
    rig = Rig(folder, shops=SHOPS, store_url=url)
    rig.clock.advance(4 * 3600)
    yield Scene(rig, grown.name, ORDERS)
    rig.store.close()


@pytest.fixture(scope="module")
def fresh(postgres_server: Postgres | None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    for url in database_of(postgres_server):
        yield from grown_rig(tmp_path_factory.mktemp("fresh"), url, fresh_statistics=True)


@pytest.fixture(scope="module")
def stale(postgres_server: Postgres | None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    for url in database_of(postgres_server):
        yield from grown_rig(tmp_path_factory.mktemp("stale"), url, fresh_statistics=False)


@pytest.mark.parametrize("name", HOT)
def test_on_postgresql_no_hot_statement_reads_many_rows(fresh: Scene, name: str) -> None:
    reads_few_rows(fresh, name)


#: What a person asks for may be slower until the next ANALYZE: a list by shop or state has no index of its own.
ASKED_BY_LOOPS: Final = tuple(name for name in HOT if not name.startswith("orders "))


@pytest.mark.parametrize("name", ASKED_BY_LOOPS)
def test_on_postgresql_with_stale_statistics_no_hot_statement_reads_many_rows(stale: Scene, name: str) -> None:
    reads_few_rows(stale, name)


@pytest.mark.parametrize("name", ASKED_BY_LOOPS)
def test_open_orders_are_found_by_an_index_also_if_all_orders_are_held_for_open(stale: Scene, name: str) -> None:
    """Without statistics of a column, PostgreSQL expects that nearly all rows differ from a given value."""
    with stale.rig.store.writing() as connection:
        forget = ", ".join(f"ALTER COLUMN {column} TYPE text" for column in ("state", "attention", "quarantine"))
        connection.execute(sa.text(f"ALTER TABLE orders {forget}"))
    reads_few_rows(stale, name)


def reads_few_rows(scene: Scene, name: str) -> None:
    """Fail if a statement of this action reads many rows of a big table."""
    with statements(scene) as ran:
        HOT[name](scene)
    found = {one.sql: _read(scene, one) for one in ran if one.sql.lstrip().startswith(("SELECT", "UPDATE", "DELETE"))}
    assert found, "no statement was executed"
    most = READS_A_PAGE.get(name, MOST_ROWS)
    too_many = {sql: steps for sql, steps in found.items() if any(rows > most for _, rows in steps)}
    scans = {
        sql: steps
        for sql, steps in found.items()
        if any(step.startswith("Seq Scan") and not step.endswith(SMALL_HERE) for step, _ in steps)
    }
    assert not (too_many or scans), json.dumps(too_many | scans, indent=1)


def _read(scene: Scene, one: Ran) -> list[tuple[str, int]]:
    """The steps of the plan that read a big table, each with the number of rows that it read."""
    with scene.rig.store.engine.connect() as connection:
        if one.by_index:
            connection.exec_driver_sql("SET LOCAL enable_seqscan = off")
        (plans,) = connection.exec_driver_sql(f"EXPLAIN (ANALYZE, FORMAT JSON) {one.sql}", one.parameters).one()
        connection.rollback()
    return list(_steps(plans[0]["Plan"]))


def _steps(node: dict[str, Any]) -> Iterator[tuple[str, int]]:
    if node["Node Type"] == "Bitmap Index Scan":  # it has no table, and finds all rows before the first is read
        yield f"Bitmap Index Scan {node['Index Name']}", node["Actual Rows"] * node["Actual Loops"]
    if node.get("Relation Name") in TABLES and "Scan" in node["Node Type"]:
        each = (
            node["Actual Rows"] + node.get("Rows Removed by Filter", 0) + node.get("Rows Removed by Index Recheck", 0)
        )
        index = node.get("Index Name", "")
        yield f"{node['Node Type']} {index} on {node['Relation Name']}", each * node["Actual Loops"]
    for child in node.get("Plans", ()):
        yield from _steps(child)


#: Each count reads this index, and nothing else. A million orders have too many entries for a list of rows.
COUNTED: Final[Mapping[str, Wanted]] = {
    "": Wanted(),
    "ix_orders_state": Wanted(shop="alpha", states=["shipping"], older_than=timedelta(hours=1)),
    "ix_orders_attention": Wanted(shop="alpha", attention=True),
    "ix_orders_updated_at": Wanted(changed_after=NEVER),
}


@pytest.mark.parametrize("index", COUNTED)
def test_on_postgresql_a_count_reads_one_index(fresh: Scene, index: str) -> None:
    with statements(fresh) as ran:
        count_orders(fresh.rig.store, COUNTED[index], {}, fresh.rig.clock.now())
    (one,) = ran_on_orders(ran)
    (step, _), *others = _read(fresh, one)
    assert step.startswith("Index Only Scan"), step
    assert index in step
    assert not others


@pytest.mark.parametrize("index", COUNTED)
def test_on_sqlite_a_count_reads_one_index(small: Callable[[], Scene], index: str) -> None:
    scene = small()
    with statements(scene) as ran:
        count_orders(scene.rig.store, COUNTED[index], {}, scene.rig.clock.now())
    (one,) = ran_on_orders(ran)
    with scene.rig.store.engine.connect() as connection:
        (step,) = [row[3] for row in connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {one.sql}", one.parameters)]
    assert "INDEX" in step
    assert index in step


def ran_on_orders(ran: list[Ran]) -> list[Ran]:
    """The statements without BEGIN and settings."""
    return [one for one in ran if "FROM orders" in one.sql]


@pytest.mark.parametrize("name", HOT)
def test_on_sqlite_no_hot_statement_reads_a_table_from_end_to_end(small: Callable[[], Scene], name: str) -> None:
    scene = small()
    with statements(scene) as ran:
        HOT[name](scene)
    scans = {}
    with scene.rig.store.engine.connect() as connection:
        for one in ran:
            if one.sql.lstrip().startswith(("SELECT", "UPDATE", "DELETE")):
                plan = [row[3] for row in connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {one.sql}", one.parameters)]
                scans[one.sql] = [step for step in plan if _is_scan(step)]
                if name in READS_A_PAGE and "LIMIT" in one.sql:
                    assert "USE TEMP B-TREE FOR ORDER BY" not in plan, "it sorts all of them"
    allowed = ["SCAN names"] if name in READS_NAMES else []
    found = {sql: steps for sql, steps in scans.items() if steps not in ([], allowed)}
    assert not found, json.dumps(found, indent=1)


def _is_scan(step: str) -> bool:
    """Whether a step of SQLite's plan reads a whole table. A scan of an index is in the order that a limit ends."""
    return any(step.startswith(f"SCAN {table}") for table in TABLES - {SMALL_HERE}) and " INDEX " not in step


@pytest.fixture
def small(tmp_path: Path) -> Iterator[Callable[[], Scene]]:
    """A store on SQLite with seven orders, and one record in the outbox."""
    rig = Rig(tmp_path, shops=SHOPS)
    names = list(lives(rig).values())
    yield lambda: Scene(rig, lambda number: names[number], len(names))
    rig.store.close()
