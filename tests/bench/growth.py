"""What is done all day, measured on a small store and on a large one of the same PostgreSQL, in one run.

    make bench ARGS=--growth           make bench ARGS="--growth --orders 100000 --json"

The two stores take turns for some rounds: other work of the machine slows both alike. The table of growth shows the
least of the rounds; the table of all figures shows their median, least and most.
"""

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import psycopg
import sqlalchemy as sa
from rich.table import Table

from adapters.engines.postgres import Postgres
from tests.bench.grown import SHOPS, grow
from tests.bench.hot import HOT, SOME, Scene
from tests.bench.lines import Line
from tests.consumer.rig import Rig

#: How many orders the small store has.
SMALL: Final = 10_000
ROUNDS: Final = 5
#: A figure of the large store that takes longer than this is measured once.
LONG_SECONDS: Final = 10.0
#: `orders verify --all` of the large store is stopped after this time.
VERIFY_SECONDS: Final = 60
#: What stops waiting for the disk, and keeps the write-ahead log from growing.
SERVER: Final = {"max_wal_size": "4GB", "checkpoint_timeout": "20min", "maintenance_work_mem": "256MB"}


@dataclass(frozen=True, slots=True)
class Took:
    """How long something took: altogether, and waiting for the database."""

    milliseconds: float
    sql: float


@dataclass(frozen=True, slots=True)
class Compared:
    """One thing on both stores."""

    name: str
    on_small: list[Took]  # one for each round
    on_large: list[Took]

    @property
    def small(self) -> Took:
        """The least."""
        return min(self.on_small, key=_milliseconds)

    @property
    def large(self) -> Took:
        """The least."""
        return min(self.on_large, key=_milliseconds)

    @property
    def ratio(self) -> float:
        return self.large.milliseconds / self.small.milliseconds


def _milliseconds(took: Took) -> float:
    return took.milliseconds


@dataclass(frozen=True, slots=True)
class Growth:
    """What a run found."""

    orders: tuple[int, int]
    fill_seconds: float
    compared: list[Compared]
    verified: tuple[int, float, float]  # orders, seconds, and the most memory of the process in MB


def measure(orders: int, tell: Callable[[str], None]) -> Growth:
    """Fill both stores, and measure. Deletes them at the end."""
    with tempfile.TemporaryDirectory(prefix="orderflow-growth-") as folder:
        tell("starting PostgreSQL")
        postgres = Postgres.start(Path(folder) / "postgres")
        try:
            _set(postgres)
            sizes = (min(SMALL, orders), orders)
            stores = [(size, postgres.create_database(f"grown_{n}")) for n, size in enumerate(sizes)]
            began = time.perf_counter()
            for number, (count, url) in enumerate(stores):
                grow(Path(folder) / f"{number}", url, count, tell)
            return compare(stores, time.perf_counter() - began, tell)
        finally:
            postgres.stop()


def compare(stores: list[tuple[int, str]], fill_seconds: float, tell: Callable[[str], None]) -> Growth:
    """Measure everything on the first store and on the last."""
    with tempfile.TemporaryDirectory(prefix="orderflow-growth-") as folder:
        scenes = [_scene(Path(folder) / f"rig_{n}", url, count) for n, (count, url) in enumerate(stores)]
        small, large = scenes[0], scenes[-1]
        compared = []
        for name, do in HOT.items():
            tell(name)
            compared.append(Compared(name, *_in_turns(do, small, large)))
            tell(f"{name}: {compared[-1].small.milliseconds:,.0f} and {compared[-1].large.milliseconds:,.0f} ms")
        tell("orders verify --all")
        verified = _verify(stores[-1][1])
        for scene in scenes:
            scene.rig.store.close()
    return Growth((stores[0][0], stores[-1][0]), fill_seconds, compared, verified)


def _set(postgres: Postgres) -> None:
    plain = sa.make_url(postgres.url).set(drivername="postgresql").render_as_string(hide_password=False)
    with psycopg.connect(plain, autocommit=True) as connection:
        for name, value in SERVER.items():
            connection.execute(f"ALTER SYSTEM SET {name} = '{value}'".encode())
        connection.execute("SELECT pg_reload_conf()")


def _scene(folder: Path, url: str, orders: int) -> Scene:
    folder.mkdir(parents=True, exist_ok=True)
    rig = Rig(folder, shops=SHOPS, store_url=url)
    rig.clock.advance(4 * 3600)
    return Scene(rig, lambda number: f"C{number:08d}-A", orders)


def _in_turns(do: Callable[[Scene], None], small: Scene, large: Scene) -> tuple[list[Took], list[Took]]:
    """What it took on each store in each round."""
    found: tuple[list[Took], list[Took]] = ([], [])
    first = [_timed(do, scene) for scene in (small, large)]  # compiles statements, reads pages from the disk
    if first[1].milliseconds > LONG_SECONDS * 1000:
        return [first[0]], [first[1]]
    for number in range(ROUNDS):
        order = (0, 1) if number % 2 == 0 else (1, 0)
        for each in order:
            found[each].append(_timed(do, (small, large)[each]))
    return found


def _timed(do: Callable[[Scene], None], scene: Scene) -> Took:
    with _sql_seconds(scene) as sql:
        began = time.perf_counter()
        do(scene)
        seconds = time.perf_counter() - began
    return Took(seconds * 1000, sum(sql) * 1000)


@contextmanager
def _sql_seconds(scene: Scene) -> Iterator[list[float]]:
    """How long each statement takes that is executed meanwhile, on any thread."""
    began: dict[Any, float] = {}
    took: list[float] = []

    def before(_c: Any, cursor: Any, *_: Any) -> None:
        began[id(cursor)] = time.perf_counter()

    def after(_c: Any, cursor: Any, *_: Any) -> None:
        took.append(time.perf_counter() - began.pop(id(cursor)))

    events = {"before_cursor_execute": before, "after_cursor_execute": after}
    for name, listener in events.items():
        sa.event.listen(scene.rig.store.engine, name, listener)
    try:
        yield took
    finally:
        for name, listener in events.items():
            sa.event.remove(scene.rig.store.engine, name, listener)


_VERIFY: Final = """
import resource, sys, time
from adapters.store.transaction import Store
from consumer.operations.verify import verified
began, orders, different = time.monotonic(), 0, 0
for _, found in verified(Store(sys.argv[1]), None, {}):
    orders += 1
    different += bool(found and found[0].startswith(("version", "facts", "state")))
    if time.monotonic() - began > float(sys.argv[2]):
        break
print(orders, different, time.monotonic() - began, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
"""


def _verify(url: str) -> tuple[int, float, float]:
    """`orders verify --all` in a process of its own: how many orders, how many seconds, and the most memory in MB."""
    command = [sys.executable, "-c", _VERIFY, url, str(VERIFY_SECONDS)]
    done = subprocess.run(command, check=True, capture_output=True, text=True, env={**os.environ})
    orders, different, seconds, megabytes = done.stdout.split()
    if int(different) > ROUNDS * 1000:
        raise RuntimeError(f"{different} orders differ from their journal")
    return int(orders), float(seconds), float(megabytes)


def lines(growth: Growth) -> list[Line]:
    """What the table of all figures says of growth: P2 and P7."""
    small, large = growth.orders
    by_name = {one.name: one for one in growth.compared}
    found = []
    for name, figure in _FIGURES.items():
        ours, peer = ([took.milliseconds for took in each] for each in (by_name[name].on_large, by_name[name].on_small))
        if figure == "P2":
            times = [[1000 / milliseconds for milliseconds in each] for each in (ours, peer)]
            what = f"{name}, {large:,} stored orders"
            found.append(Line("P2", what, "times /s", times[0], f"{small:,} stored orders", times[1], ">= 0.9"))
        else:
            found.append(Line("P7", f"{name}, {large:,} orders", "ms", ours, f"{small:,} orders", peer, "ours < 100"))
    return found


#: What of HOT is a line of the table of all figures.
_FIGURES: Final = {
    f"apply: {SOME} first reads": "P2",
    f"apply: {SOME} later reads, then repeats": "P2",
    "orders list": "P7",
    "orders list --attention": "P7",
    "orders list --text ORDER": "P7",
    "orders list --text SKU": "P7",
    "scrape": "P7",
}


def table(growth: Growth) -> Table:
    small, large = growth.orders
    shown = Table(
        "",
        f"{small:,} orders: ms",
        "of it SQL",
        f"{large:,} orders: ms",
        "of it SQL",
        "ratio",
        title="Growth: the least",
    )
    for one in growth.compared:
        numbers = (one.small.milliseconds, one.small.sql, one.large.milliseconds, one.large.sql)
        shown.add_row(one.name, *(f"{number:,.1f}" for number in numbers), f"{one.ratio:.1f}")
    orders, seconds, megabytes = growth.verified
    shown.caption = (
        f"Filled in {growth.fill_seconds:,.0f} s. orders verify --all: {orders:,} orders in {seconds:.0f} s, "
        f"{megabytes:.0f} MB at most."
    )
    return shown
