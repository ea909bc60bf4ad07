"""A store with many orders: a few are carried through the product, and PostgreSQL multiplies their rows.

A copy has ids of its own, also in its facts and its journal, so `orders verify` finds nothing. The bytes of snapshots
and payloads are those of the order that was copied. Older copies changed longer ago, the oldest about half a year.
The tables are logged, as those of a service: what is measured on them waits for the write-ahead log.

The rows are made by INSERT ... SELECT and not by COPY: PostgreSQL copies the bytes that it has, and no client has to
make and send 20 GB for a million orders.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import psycopg
import sqlalchemy as sa

from adapters.messages.transitions import TRANSITION_TYPE, transition_record
from adapters.store import outbox as outbox_rows
from adapters.store import schema as s
from adapters.store.outbox import OutboxRow
from tests.consumer.rig import Rig

SHOPS: Final = ("alpha", "beta")
#: Of a hundred orders, so many live each of these lives.
SHARES: Final = {
    "shipped": 91,
    "canceled": 4,
    "attention": 1,  # canceled after its import
    "imported": 1,
    "paying": 1,
    "waiting": 1,  # with an open call to accept it
    "shipping": 1,  # with an open call to import it
}
#: How many orders one transaction makes.
CHUNK: Final = 20_000
#: One of so many orders has a record in the outbox.
OUTBOX_SHARE: Final = 100
#: How much older the oldest copy is than the newest.
DAYS: Final = 180


def lives(rig: Rig) -> Mapping[str, str]:
    """Carry one order through each life, as poller, consumer and worker do. Returns the order id of each life."""
    ids = {life: f"T{number:08d}-A" for number, life in enumerate(SHARES)}
    mirakl = rig.mirakl["alpha"]
    for life in ("shipped", "canceled", "attention", "imported", "paying"):
        rig.add(ids[life])
    _turn(rig)
    for life in ("shipped", "attention", "imported"):
        mirakl.confirm_debit(ids[life])
    _turn(rig)
    mirakl.cancel(ids["canceled"])
    mirakl.cancel(ids["attention"])
    rig.oms.dispatch(ids["shipped"], tracking="T-1", carrier="DPD UK")
    for _ in range(3):
        _turn(rig)
    rig.add(ids["waiting"])
    rig.add(ids["shipping"], state="SHIPPING", lines=2)
    rig.poll(400)  # nobody makes their calls
    return ids


def shop_of(order_id: str) -> str:
    """The shop of a copy, or of one of the few orders that are copied, without a question to the store."""
    return SHOPS[int(order_id[1:9]) % len(SHOPS)] if order_id.startswith("C") else SHOPS[0]


def _turn(rig: Rig) -> None:
    rig.poll(400)
    rig.work(200)
    rig.consume()


@dataclass(frozen=True, slots=True)
class Grown:
    """What `grow` made."""

    orders: int
    #: The order id of the copy of a life with this number. There is one for each number below `orders`.
    name: Callable[[int], str]


def grow(
    folder: Path,
    url: str,
    orders: int,
    tell: Callable[[str], None] = lambda _: None,
    *,
    fresh_statistics: bool = True,
) -> Grown:
    """Fill an empty database of PostgreSQL with its schema and so many orders.

    `fresh_statistics` False: its statistics are those of the few orders that are copied, and stay so.
    """
    folder.mkdir(parents=True, exist_ok=True)
    rig = Rig(folder, shops=SHOPS, store_url=url)
    try:
        ids = lives(rig)
        keys = {life: rig.row(order_id).key for life, order_id in ids.items()}
        moved = next(row for row in rig.journal(ids["shipped"]) if row.moved)
        record = transition_record(
            "orderflow.transitions",
            1,
            moved.event,
            before=moved.before,
            after=moved.after,
            version=1,
            attention=[],
            at=moved.recorded_at,
        )
        with rig.store.transaction() as tx:
            outbox_rows.add(tx, [OutboxRow(TRANSITION_TYPE, record)], moved.recorded_at)
    finally:
        rig.store.close()
    plain = sa.make_url(url).set(drivername="postgresql").render_as_string(hide_password=False)
    with psycopg.connect(plain, autocommit=True) as connection:
        connection.execute("VACUUM (FULL, ANALYZE)")  # the statistics know no older versions of these few rows
        if not fresh_statistics:
            for table in s.metadata.sorted_tables:
                connection.execute(f"ALTER TABLE {table.name} SET (autovacuum_enabled = off)".encode())
        # No check of foreign keys, and a faster compression: a million orders take minutes, and not an hour.
        connection.execute("SET session_replication_role = replica")
        connection.execute("SET default_toast_compression = lz4")
        _mix(connection, keys)
        for first in range(0, orders, CHUNK):
            last = min(first + CHUNK, orders)
            with connection.transaction():
                for statement in _statements(orders):
                    connection.execute(statement, {"first": first, "last": last - 1})
            tell(f"{last:,} of {orders:,} orders")
        connection.execute("SELECT setval(pg_get_serial_sequence('orders', 'id'), (SELECT max(id) FROM orders))")
        connection.execute("DROP TABLE bench_mix")
        if fresh_statistics:
            tell("vacuum, analyze")
            connection.execute("VACUUM (ANALYZE)")
    return Grown(orders, lambda number: f"C{number:08d}-A")


def _mix(connection: psycopg.Connection[Any], keys: Mapping[str, int]) -> None:
    """A table of a hundred places, and which order is copied at each: copies of all lives come side by side."""
    connection.execute("CREATE TABLE bench_mix (slot int PRIMARY KEY, order_key bigint, is_open boolean)")
    lives = [life for life, share in SHARES.items() for _ in range(share)]
    for slot, life in enumerate(lives):
        row = ((slot * 37) % len(lives), keys[life], life not in ("shipped", "canceled"))
        connection.execute("INSERT INTO bench_mix VALUES (%s, %s, %s)", row)


#: The first key of a copy. Those below belong to the orders that are copied.
FIRST_KEY: Final = 1_000
_NUMBERS: Final = (
    "generate_series(%(first)s::bigint, %(last)s::bigint) AS n "
    "JOIN bench_mix AS mix ON mix.slot = n %% 100 JOIN orders AS o ON o.id = mix.order_key"
)
_NAME: Final = "'C' || lpad(n::text, 8, '0') || '-A'"
_KEY: Final = f"n + {FIRST_KEY}"


def _statements(orders: int) -> list[bytes]:
    """What copies the rows of the orders from %(first)s to %(last)s."""
    age = f"(({orders} - n) * interval '{DAYS} days' / {orders}) / (CASE WHEN mix.is_open THEN 90 ELSE 1 END)"
    own_id = {"order_key": _KEY}
    of_order = {
        "id": _KEY,
        "order_id": _NAME,
        "shop": f"(ARRAY{list(SHOPS)})[1 + n %% {len(SHOPS)}]",
        "facts": f"replace(t.facts, o.order_id, {_NAME})",
    } | {name: f"t.{name} - {age}" for name in ("first_seen_at", "entered_at", "updated_at")}
    of_journal = own_id | {
        "event_id": "t.event_id || '/' || n",
        "says": f"replace(t.says, o.order_id, {_NAME})",
        "note": f"replace(t.note, o.order_id, {_NAME})",
        "at": f"t.at - {age}",
        "recorded_at": f"t.recorded_at - {age}",
    }
    of_command = own_id | {
        "carries": f"replace(t.carries, o.order_id, {_NAME})",
        "shop": of_order["shop"],
    }
    of_names = own_id | {"names": f"replace(t.names, lower(o.order_id), lower({_NAME}))"}
    joined = "t.order_key = o.id"
    return [
        _copy(s.orders, of_order, "t.id = o.id"),
        _copy(s.names, of_names, joined),
        _copy(s.snapshots, own_id | {"received_at": f"t.received_at - {age}"}, joined),
        _copy(s.journal, of_journal, joined, order="n, t.version"),
        _copy(s.commands, of_command, joined, order="n, t.id"),
        _copy(s.outbox, {}, f"t.id = 1 AND n %% {OUTBOX_SHARE} = 0"),
    ]


def _copy(table: sa.Table, changed: Mapping[str, str], on: str, order: str = "n") -> bytes:
    """Copy each column as it is, but those in `changed`. A new id comes from the sequence of the table."""
    names = [column.name for column in table.columns if column.name != "id" or "id" in changed]
    quoted = ", ".join(f'"{name}"' for name in names)
    values = ", ".join(changed.get(name, f't."{name}"') for name in names)
    rows = f"{_NUMBERS} JOIN {table.name} AS t ON {on}"
    return f"INSERT INTO {table.name} ({quoted}) SELECT {values} FROM {rows} ORDER BY {order}".encode()
