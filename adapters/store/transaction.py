"""All SQL that writes. One method, one statement; `transaction()` is the only way in.

Lock order everywhere: progress, orders (by key), commands. What people and gauges read is in views.py.
"""

import json
import threading
import zlib
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from adapters.errors import ConfigError, Fenced, StoreUnavailable
from adapters.ports import NewRecord, Partition, PartitionOffsets, RecordHeaders
from adapters.store import engine as database
from adapters.store import schema as s
from adapters.store.facts_json import facts_from_json, facts_to_json
from adapters.store.headers_json import headers_to_json
from statemachine.commands import Command, CommandKind, CommandState
from statemachine.events import Event
from statemachine.facts import EPOCH, Facts
from statemachine.machine import EventResult
from statemachine.states import State

#: How long a command is its worker's. It outlives its call: both remotes are given up after at most a third of it.
LEASE: Final = timedelta(seconds=90)

# -- Rows --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class OrderRow:
    """One order as stored. `attention` holds (reason, detail, since)."""

    key: int
    shop: str
    order_id: str
    state: State
    facts: Facts
    version: int
    attention: tuple[tuple[str, str, datetime], ...]
    content: str
    read_after: datetime | None
    entered_at: datetime
    updated_at: datetime


@dataclass(frozen=True, slots=True)
class CommandRow:
    """One call to make, as stored (schema.commands)."""

    id: int
    order_key: int
    kind: CommandKind
    carries: str
    round: int
    state: CommandState
    unwanted: bool
    basis: str
    opened_at: datetime
    give_up_at: datetime
    attempts: int
    payload: bytes | None
    maybe_sent: bool

    @property
    def key(self) -> tuple[str, str, int]:
        return self.kind, self.carries, self.round


_COMMAND_COLUMNS: Final = tuple(s.commands.c[name] for name in CommandRow.__dataclass_fields__)


@dataclass(frozen=True, slots=True)
class JournalRow:
    """One event and what it did."""

    order_key: int
    version: int
    event: Event
    result: EventResult
    before: State
    after: State
    machine_version: int

    @property
    def moved(self) -> bool:
        return self.before != self.after


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """What could not be used, as received."""

    source: str
    place: str
    reason: str
    detail: str
    digest: str
    key: bytes | None
    value: bytes | None
    headers: RecordHeaders = ()


@dataclass(frozen=True, slots=True)
class Move:
    """A consumer's step over a range of offsets: from the position that it holds to the next."""

    cluster: str
    group: str
    partition: Partition
    held: int
    position: int


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a partition was applied, and in which life of its topic (schema.progress)."""

    position: int
    log_id: str = ""
    excused_commit: int = 0


@dataclass(frozen=True, slots=True)
class Lease:
    """A lease as it was taken."""

    name: str
    holder: str
    token: int


@dataclass(frozen=True, slots=True)
class Cursor:
    """How far a shop's poll has come. All three are instants of Mirakl's or our clock, see poller."""

    watermark: datetime
    wide_at: datetime
    succeeded_at: datetime


# -- The store ---------------------------------------------------------------------------------------------------


class Store:
    """The database of one service. SQLite: all writes of this process go one after the other."""

    def __init__(
        self,
        url: str,
        busy_seconds: float = database.BUSY_SECONDS,
        *,
        password: Callable[[], str] | None = None,
        connections: int = 16,
    ) -> None:
        """`connections`: at most so many at a time, PostgreSQL. Raises ConfigError."""
        self.engine = database.open_engine(url, busy_seconds=busy_seconds, password=password, connections=connections)
        self.is_sqlite = database.is_sqlite(url)
        # Threads left to SQLite's busy timeout starve for seconds.
        self._writing: AbstractContextManager[Any] = threading.Lock() if self.is_sqlite else nullcontext()
        # A read is of one moment; SQLite's are so anyway.
        self._reading = {} if self.is_sqlite else {"isolation_level": "REPEATABLE READ", "postgresql_readonly": True}
        self._mine = threading.local()

    @contextmanager
    def transaction(self) -> Iterator["Transaction"]:
        """One write transaction, kept whole or not at all. Raises StoreUnavailable.

        Where the connection is lost in the commit itself, it may have been kept all the same: every caller has a
        fence or a unique id that makes trying it again safe.
        """
        with self.writing() as connection:
            yield Transaction(connection, self.is_sqlite)

    @contextmanager
    def writing(self) -> Iterator[sa.Connection]:
        """The connection of a write transaction. SQLite: taken at its beginning, not at the first write.

        A second one inside the first, by the same thread, would wait for itself: RuntimeError.
        """
        with (
            self._alone(),
            self._writing,
            database.translated(),
            self.engine.connect() as connection,
            connection.execution_options(writes=True).begin(),
        ):
            yield connection

    @contextmanager
    def _alone(self) -> Iterator[None]:
        if getattr(self._mine, "writes", False):
            raise RuntimeError("this thread has a write transaction open already")
        self._mine.writes = True
        try:
            yield
        finally:
            self._mine.writes = False

    @contextmanager
    def reading(self) -> Iterator[sa.Connection]:
        """A consistent read. Raises StoreUnavailable."""
        with (
            database.translated(),
            self.engine.connect() as connection,
            connection.execution_options(**self._reading).begin(),
        ):
            yield connection

    def has_claimable(self, now: datetime, resting: Collection[tuple[str, str]], shops: Collection[str]) -> bool:
        """Whether a claim would find a command: a look that takes no write lock, for workers with nothing to do."""
        with self.reading() as connection:
            return connection.execute(_claimable(now, resting, shops)).first() is not None

    def close(self) -> None:
        self.engine.dispose()


def migrate(store: Store) -> None:
    """Bring the schema to this version's."""
    with store.writing() as connection:
        database.upgrade(connection)


def schema_is_current(store: Store) -> bool:
    """Whether the schema is what this version needs."""
    with store.reading() as connection:
        return database.is_current(connection)


OnConflict = Callable[[Any], Any] | None


def _keep(insert: Any) -> Any:
    """What is there stays."""
    return insert.on_conflict_do_nothing()


# -- What one transaction can do ---------------------------------------------------------------------------------


class Transaction:
    """Statements inside one write transaction."""

    def __init__(self, connection: sa.Connection, is_sqlite: bool) -> None:
        self._do = connection.execute
        self._is_sqlite = is_sqlite
        self._insert: Any = sqlite.insert if is_sqlite else postgresql.insert

    # many rows at once

    def _insert_rows(self, table: sa.Table, values: Sequence[dict[str, Any]], on_conflict: OnConflict = None) -> None:
        """One statement for all rows.

        PostgreSQL takes a column as an array, which costs a fifth of a statement a row; SQLite has no arrays, and
        prepares its statement once.
        """
        if not values:
            return
        insert = self._insert(table)
        if self._is_sqlite:
            self._do(on_conflict(insert) if on_conflict else insert, list(values))
            return
        rows = _unnested(table, values)
        insert = insert.from_select([column.name for column in rows.c], sa.select(*rows.c))
        self._do(on_conflict(insert) if on_conflict else insert)

    def _in_pairs(
        self, one: sa.ColumnElement[Any], other: sa.ColumnElement[Any], pairs: Collection[tuple[Any, Any]]
    ) -> sa.ColumnElement[bool]:
        """These pairs of values.

        SQLite finds no index for pairs alone and reads the whole table: so by `one` first. PostgreSQL takes two arrays.
        """
        ordered = sorted(pairs)
        if self._is_sqlite:
            return sa.and_(one.in_(sorted({first for first, _ in ordered})), sa.tuple_(one, other).in_(ordered))
        arrays = [_array(column, [pair[n] for pair in ordered]) for n, column in enumerate((one, other))]
        found = sa.func.unnest(*arrays).table_valued("a", "b").render_derived(name="pairs")
        return sa.tuple_(one, other).in_(sa.select(found.c.a, found.c.b))

    def _among(self, column: sa.ColumnElement[Any], values: Collection[int]) -> sa.ColumnElement[bool]:
        """These values. PostgreSQL takes an array: one statement for any number, prepared once."""
        return column.in_(sorted(values)) if self._is_sqlite else column == sa.any_(_array(column, sorted(values)))

    # progress

    def begin_progress(
        self, cluster: str, group: str, partition_offsets: Mapping[Partition, PartitionOffsets]
    ) -> dict[Partition, Progress]:
        """The progress row of each partition, locked; one that is missing begins where the log does."""
        c = s.progress.c
        rows = [
            dict(
                cluster=cluster,
                group_name=group,
                topic=partition.topic,
                partition=partition.number,
                position=extent.first,
                log_id=extent.log_id,
            )
            for partition, extent in sorted(partition_offsets.items(), key=lambda item: item[0])
        ]
        if not rows:
            return {}
        self._insert_rows(s.progress, rows, _keep)
        mine = self._in_pairs(
            c.topic, c.partition, {(partition.topic, partition.number) for partition in partition_offsets}
        )
        statement = sa.select(s.progress).where(c.cluster == cluster, c.group_name == group, mine)
        found = self._do(statement.order_by(c.topic, c.partition).with_for_update())
        return {
            Partition(row.topic, row.partition): Progress(row.position, row.log_id, row.excused_commit) for row in found
        }

    def advance(self, move: Move) -> None:
        """Step over a range of offsets. Raises Fenced where the stored position is not the one held
        (docs/rules.md 7)."""
        where = _progress_key(move.cluster, move.group, move.partition)
        moved = self._do(
            sa.update(s.progress).where(where, s.progress.c.position == move.held).values(position=move.position)
        )
        if moved.rowcount != 1:
            raise Fenced(f"{move.partition.topic}/{move.partition.number} is not at {move.held}")

    def reset_progress(self, cluster: str, group: str, partition: Partition, progress: Progress) -> None:
        """Set a partition's progress by hand: `offsets reset`."""
        values = dict(position=progress.position, log_id=progress.log_id, excused_commit=progress.excused_commit)
        key = dict(cluster=cluster, group_name=group, topic=partition.topic, partition=partition.number)
        insert = self._insert(s.progress).values(**key, **values)
        self._do(insert.on_conflict_do_update(index_elements=list(key), set_=values))

    # orders

    def lock_orders(self, keys: Collection[tuple[str, str]], now: datetime) -> dict[tuple[str, str], OrderRow]:
        """The rows of these (shop, order id), locked in key order; missing ones are made in state `new`."""
        missing = [
            dict(
                shop=shop,
                order_id=order_id,
                state=State.NEW,
                facts="{}",
                version=0,
                attention="[]",
                content="",
                first_seen_at=now,
                entered_at=now,
                updated_at=now,
            )
            for shop, order_id in sorted(keys)
        ]
        if not missing:
            return {}
        self._insert_rows(s.orders, missing, _keep)
        mine = self._in_pairs(s.orders.c.order_id, s.orders.c.shop, {(order_id, shop) for shop, order_id in keys})
        rows = self._do(sa.select(s.orders).where(mine).order_by(s.orders.c.id).with_for_update()).all()
        return {(row.shop, row.order_id): order_of(row) for row in rows}

    def lock_order(self, key: int) -> OrderRow:
        """One row by its key, locked."""
        row = self._do(sa.select(s.orders).where(s.orders.c.id == key).with_for_update()).one()
        return order_of(row)

    def save_orders(self, rows: Sequence[tuple[OrderRow, int]]) -> None:
        """Write each row over the version that was locked (docs/rules.md 9)."""
        values = [
            dict(
                id=row.key,
                locked=locked,
                state=row.state,
                facts=facts_to_json(row.facts),
                version=row.version,
                attention=json.dumps([[r, d, since.isoformat()] for r, d, since in row.attention]),
                content=row.content,
                read_after=row.read_after,
                entered_at=row.entered_at,
                updated_at=row.updated_at,
            )
            for row, locked in rows
        ]
        if values and self._update_orders(values) != len(values):
            raise StoreUnavailable("an order was written by somebody else under our lock")

    def _update_orders(self, values: Sequence[dict[str, Any]]) -> int:
        """Returns how many rows were as they were locked."""
        c = s.orders.c
        changed = [name for name in values[0] if name not in ("id", "locked")]
        if self._is_sqlite:
            bound: dict[str, Any] = {name: sa.bindparam(f"_{name}") for name in changed}
            one = sa.update(s.orders).where(c.id == sa.bindparam("_id"), c.version == sa.bindparam("_locked"))
            renamed = [{f"_{name}": value for name, value in row.items()} for row in values]
            return self._do(one.values(bound), renamed).rowcount
        rows = _unnested(s.orders, values, {"locked": c.version})
        every = sa.update(s.orders).where(c.id == rows.c.id, c.version == rows.c.locked)
        return self._do(every.values({name: rows.c[name] for name in changed})).rowcount

    # journal and snapshots

    def known_events(self, events: Sequence[Event]) -> set[tuple[str, str]]:
        """Those that the journal holds already."""
        wanted = self._in_pairs(s.journal.c.event_id, s.journal.c.source, {(e.event_id, e.source) for e in events})
        rows = self._do(sa.select(s.journal.c.source, s.journal.c.event_id).where(wanted)).all()
        return {(source, event_id) for source, event_id in rows}

    def count_repeats(self, events: Sequence[Event]) -> None:
        """A repeat is counted on the row of the first, and is no row of its own (docs/rules.md 10)."""
        c = s.journal.c
        times = Counter((event.source, event.event_id) for event in events)
        values = [dict(source=source, event_id=event_id, times=count) for (source, event_id), count in times.items()]
        if not values:
            return
        if self._is_sqlite:
            first = (c.source == sa.bindparam("_source"), c.event_id == sa.bindparam("_event_id"))
            renamed = [{f"_{name}": value for name, value in row.items()} for row in values]
            self._do(sa.update(s.journal).where(*first).values(repeats=c.repeats + sa.bindparam("_times")), renamed)
            return
        rows = _unnested(s.journal, values, {"times": c.repeats})
        first = (c.source == rows.c.source, c.event_id == rows.c.event_id)
        self._do(sa.update(s.journal).where(*first).values(repeats=c.repeats + rows.c.times))

    def add_journal(self, rows: Sequence[JournalRow], now: datetime) -> None:
        values = [
            dict(
                order_key=row.order_key,
                version=row.version,
                source=row.event.source,
                event_id=row.event.event_id,
                trigger=row.event.trigger,
                at=row.event.at,
                recorded_at=now,
                says=facts_to_json(row.event.says),
                note=json.dumps(row.event.note),
                result=row.result,
                before=row.before,
                after=row.after,
                machine_version=row.machine_version,
            )
            for row in rows
        ]
        self._insert_rows(s.journal, values)

    def journal_ids(self, rows: Sequence[JournalRow]) -> dict[tuple[int, int], int]:
        """The id of each row, by order and version. An order is locked, so its later row has the higher one."""
        c = s.journal.c
        mine = self._in_pairs(c.order_key, c.version, {(row.order_key, row.version) for row in rows})
        found = self._do(sa.select(c.order_key, c.version, c.id).where(mine)).all() if rows else ()
        return {(order_key, version): id_ for order_key, version, id_ in found}

    def add_snapshots(self, bodies: Mapping[tuple[int, str], bytes], now: datetime) -> None:
        """Keep each content of an order once, byte for byte."""
        values = [
            dict(order_key=key, content=content, body=zlib.compress(body, 1), received_at=now)
            for (key, content), body in bodies.items()
        ]
        self._insert_rows(s.snapshots, values, _keep)

    def snapshot(self, order_key: int, content: str) -> bytes | None:
        """The bytes of one content of an order, as received."""
        where = (s.snapshots.c.order_key == order_key, s.snapshots.c.content == content)
        body = self._do(sa.select(s.snapshots.c.body).where(*where)).scalar()
        return zlib.decompress(body) if body is not None else None

    # commands

    def live_commands(self, order_keys: Collection[int]) -> list[CommandRow]:
        """Open and leased commands of these orders, locked."""
        mine = self._among(s.commands.c.order_key, order_keys)
        live = sa.select(*_COMMAND_COLUMNS).where(mine, s.is_live(s.commands.c))
        rows = self._do(live.order_by(s.commands.c.id).with_for_update()).all()
        return [CommandRow(*row) for row in rows]

    def open_commands(self, wanted: Sequence[tuple[int, Command, datetime]], now: datetime) -> None:
        """Open each (order, command, give up at); one that had become obsolete opens again under its old row."""
        values = [
            dict(
                order_key=key,
                kind=command.kind,
                carries=command.carries,
                round=command.round,
                state="open",
                basis=command.basis,
                opened_at=now,
                next_at=now,
                give_up_at=give_up_at,
            )
            for key, command, give_up_at in wanted
        ]
        if not values:
            return
        self._insert_rows(
            s.commands,
            values,
            lambda insert: insert.on_conflict_do_update(
                index_elements=["order_key", "kind", "carries", "round"],
                set_={name: insert.excluded[name] for name in ("state", "basis", "next_at", "give_up_at")},
                where=s.commands.c.state == "obsolete",
            ),
        )
        again = [key for key, command, _ in wanted if command.kind == CommandKind.IMPORT and command.round]
        if again:
            self._freeze_again(again)

    def _freeze_again(self, order_keys: Collection[int]) -> None:
        """An import of a later round sends what a try of an earlier one may have brought to the OMS
        (docs/kornitx.md 7)."""
        c, earlier = s.commands.c, s.commands.alias("earlier")
        tried = (earlier.c.order_key == c.order_key, earlier.c.kind == CommandKind.IMPORT, earlier.c.maybe_sent)
        payload = (
            sa.select(earlier.c.payload).where(*tried, earlier.c.id != c.id).order_by(earlier.c.id.desc()).limit(1)
        )
        self._do(
            sa.update(s.commands)
            .where(self._among(c.order_key, order_keys), c.kind == CommandKind.IMPORT)
            .where(c.state == CommandState.OPEN, c.attempts == 0)
            .where(sa.exists().where(*tried, earlier.c.id != c.id))
            .values(payload=payload.scalar_subquery(), maybe_sent=True)
        )

    def mark_obsolete(self, ids: Collection[int]) -> None:
        """No longer needed: an open one ends, a leased one is marked and stays its holder's (docs/rules.md 12)."""
        if not ids:
            return
        c = s.commands.c
        ended = sa.case((c.state == "open", "obsolete"), else_=c.state)
        dropped = sa.update(s.commands).where(self._among(c.id, ids), s.is_live(c))
        self._do(dropped.values(unwanted=c.state == "leased", state=ended))

    def revive(self, ids: Collection[int]) -> None:
        """A leased command that had become obsolete is needed after all."""
        if ids:
            self._do(sa.update(s.commands).where(self._among(s.commands.c.id, ids)).values(unwanted=False))

    def claimable(self, now: datetime, resting: Collection[tuple[str, str]], shops: Collection[str]) -> int | None:
        """Id of the next command, see `_claimable`, its order locked. An order that somebody has locked is passed over.

        What is found may have changed between the look and the lock: `lease` looks again.
        """
        statement = _claimable(now, resting, shops)
        if not self._is_sqlite:  # which has one writer, so nothing to pass over
            statement = statement.join(s.orders, s.orders.c.id == s.commands.c.order_key).with_for_update(
                of=s.orders, skip_locked=True
            )
        return self._do(statement).scalar()

    def command(self, command_id: int) -> CommandRow:
        row = self._do(sa.select(*_COMMAND_COLUMNS).where(s.commands.c.id == command_id)).one()
        return CommandRow(*row)

    def lease(
        self,
        command_id: int,
        basis: str,
        token: str,
        until: datetime,
        now: datetime,
        *,
        give_up_at: datetime | None = None,
    ) -> bool:
        """Take a command: one conditional update (docs/rules.md 13). False where somebody was faster, or has the
        order."""
        c = s.commands.c
        later = {} if give_up_at is None else {"give_up_at": give_up_at}
        taken = self._do(
            sa.update(s.commands)
            .where(c.id == command_id, _is_free(now), ~_waits_for_another())
            .values(state="leased", lease_token=token, lease_until=until, basis=basis, attempts=c.attempts + 1, **later)
        )
        return bool(taken.rowcount)

    def sending(
        self, command_id: int, token: str, now: datetime, payload: bytes | None, lease: timedelta = LEASE
    ) -> bool:
        """The last look before the call: lease ours and not run out, command still wanted (docs/rules.md 18).

        From here on the call may have happened, so the payload is stored now, and the lease begins anew, to outlast
        the call whatever was read before it. False: do not call.
        """
        values: dict[str, Any] = {"maybe_sent": True, "lease_until": now + lease}
        if payload is not None:
            values["payload"] = payload
        c = s.commands.c
        held = (c.id == command_id, c.lease_token == token, c.lease_until > now, sa.not_(c.unwanted))
        return bool(self._do(sa.update(s.commands).where(*held).values(**values)).rowcount)

    def settle(self, command_id: int, token: str, state: str, outcome: str) -> bool:
        """End a command that is still ours (docs/rules.md 15). False: its lease was lost, the row is its successor's.

        A remote that said no holds nothing of an earlier try either, or it would have said duplicate.
        """
        values: dict[str, Any] = dict(state=state, last_outcome=outcome)
        if state == "rejected":
            values["maybe_sent"] = False
        return self._release(command_id, token, values)

    def requeue(
        self, command_id: int, token: str, outcome: str, next_at: datetime, *, maybe_sent: bool, attempt_counts: bool
    ) -> bool:
        """Open a command that is still ours once more, from `next_at` on; obsolete where it is unwanted by now."""
        c = s.commands.c
        values: dict[str, Any] = dict(
            state=sa.case((c.unwanted, "obsolete"), else_="open"),
            last_outcome=outcome,
            next_at=next_at,
            maybe_sent=maybe_sent,
        )
        if not attempt_counts:
            values["attempts"] = c.attempts - 1
        return self._release(command_id, token, values)

    def _release(self, command_id: int, token: str, values: dict[str, Any]) -> bool:
        c = s.commands.c
        statement = (
            sa.update(s.commands)
            .where(c.id == command_id, c.state == "leased", c.lease_token == token)
            .values(lease_token=None, lease_until=None, unwanted=False, **values)
        )
        return bool(self._do(statement).rowcount)

    def retry_now(self, order_key: int, now: datetime) -> None:
        """End the back-off of an order's commands: a person does not want to wait."""
        c = s.commands.c
        waiting = (c.order_key == order_key, c.state == "open", c.next_at > now)
        self._do(sa.update(s.commands).where(*waiting).values(next_at=now))

    # shops and their switches

    def bind_shop(self, name: str, endpoint: str, shop_id: int, effects: bool | None, now: datetime) -> None:
        """Bind a name to its account, once for ever; `effects` None: as stored, off where new.

        Raises ConfigError where the name is bound to another account, or the account to another name: under a
        second name each of its orders would be carried twice.
        """
        new = dict(name=name, endpoint=endpoint, shop_id=shop_id, effects=bool(effects), first_seen_at=now)
        # Several processes start at once: who comes second waits here for the first, and then finds its row.
        self._do(_keep(self._insert(s.shops).values(**new)))
        account = (s.shops.c.endpoint == endpoint, s.shops.c.shop_id == shop_id, s.shops.c.name != name)
        other = self._do(sa.select(s.shops.c.name).where(*account)).scalar()
        if other is not None:
            raise ConfigError(
                f"shops.{name}: {endpoint} shop {shop_id} is called {other} in this store. Keep that name."
            )
        row = self._do(sa.select(s.shops).where(s.shops.c.name == name).with_for_update()).one()
        if (row.endpoint, row.shop_id) != (endpoint, shop_id):
            if self._do(sa.select(s.orders.c.id).where(s.orders.c.shop == name).limit(1)).first() is not None:
                raise ConfigError(
                    f"shops.{name} is bound to {row.endpoint} shop {row.shop_id} in this store, "
                    f"and the configuration says {endpoint} shop {shop_id}. Give another account another name."
                )
            # No order was ever read there: a typo, corrected. The new account is read from its beginning.
            mine = s.shops.c.name == name
            self._do(sa.update(s.shops).where(mine).values(endpoint=endpoint, shop_id=shop_id))
            self.forget_cursor(name)
        if effects is not None:
            self._do(sa.update(s.shops).where(s.shops.c.name == name).values(effects=effects))

    def switches(self, shop: str) -> tuple[bool, tuple[str, ...]] | None:
        """Its effects, and the groups of them that rest; its row locked. None: no such shop."""
        row = self._do(sa.select(s.shops).where(s.shops.c.name == shop).with_for_update()).first()
        return None if row is None else (row.effects, tuple(row.paused.split()))

    def switch(self, shop: str, *, paused: Collection[str], effects: bool | None = None) -> None:
        """Set which groups of effects rest."""
        values: dict[str, Any] = {"paused": " ".join(sorted(paused))}
        if effects is not None:
            values["effects"] = effects
        self._do(sa.update(s.shops).where(s.shops.c.name == shop).values(**values))

    def add_audit(self, who: str, act: str, subject: str, why: str, now: datetime) -> None:
        self._do(sa.insert(s.audit).values(at=now, who=who, act=act, subject=subject, why=why))

    # poller

    def set_cursor(self, shop: str, cursor: Cursor, lease: Lease) -> None:
        """Raises Fenced where another process polls the shop by now."""
        self.check_lease(lease)
        values = dict(watermark=cursor.watermark, wide_at=cursor.wide_at, succeeded_at=cursor.succeeded_at)
        insert = self._insert(s.cursors).values(shop=shop, **values)
        self._do(insert.on_conflict_do_update(index_elements=["shop"], set_=values))

    def forget_cursor(self, shop: str) -> None:
        """The shop's next poll begins at the beginning."""
        self.delete(s.cursors, s.cursors.c.shop == shop)

    # leases: who alone does what only one may do

    def take_lease(self, name: str, holder: str, until: datetime, now: datetime) -> Lease | None:
        """Take or keep a lease; None where another holder has it. A new holder gets a higher token."""
        c = s.leases.c
        insert = self._insert(s.leases).values(name=name, holder=holder, token=1, until=until)
        free = sa.or_(c.holder == holder, c.until < now)
        again = insert.on_conflict_do_update(
            index_elements=["name"],
            set_=dict(holder=holder, until=until, token=sa.case((c.holder == holder, c.token), else_=c.token + 1)),
            where=free,
        )
        token = self._do(again.returning(c.token)).scalar()
        return None if token is None else Lease(name, holder, token)

    def release_lease(self, lease: Lease) -> None:
        """The next one need not wait. The row stays: tokens only grow."""
        c = s.leases.c
        mine = (c.name == lease.name, c.holder == lease.holder, c.token == lease.token)
        self._do(sa.update(s.leases).where(*mine).values(holder="", until=EPOCH))

    def end_lease(self, name: str) -> None:
        """Whoever holds it: what was begun under it comes to nothing, and the next one, also the same, begins anew."""
        self._do(sa.update(s.leases).where(s.leases.c.name == name).values(holder="", until=EPOCH))

    def forget_leases(self, prefix: str, before: datetime) -> None:
        """Those that were over by then, for names that nobody has twice: their tokens begin anew."""
        c = s.leases.c
        self.delete(s.leases, c.name.startswith(prefix, autoescape=True), c.until < before)

    def check_lease(self, lease: Lease) -> None:
        """Raises Fenced where the lease has another holder by now. Nobody takes it before this transaction ends."""
        c = s.leases.c
        row = self._do(sa.select(c.holder, c.token).where(c.name == lease.name).with_for_update()).first()
        if row is None or (row.holder, row.token) != (lease.holder, lease.token):
            raise Fenced(f"the lease {lease.name} has another holder")

    # budgets

    def spend(self, account: str, budget: Sequence[tuple[str, timedelta, int]], now: datetime) -> datetime | None:
        """Take one call out of an account's budget: (span, its length, calls in it). None where there was one left,
        else when the spent span ends; then the caller has to undo the transaction."""
        c = s.budgets.c
        for span, length, calls in budget:
            insert = self._insert(s.budgets).values(account=account, span=span, ends_at=now + length, used=1)
            over = c.ends_at <= now
            spent = insert.on_conflict_do_update(
                index_elements=["account", "span"],
                set_=dict(
                    ends_at=sa.case((over, now + length), else_=c.ends_at),
                    used=sa.case((over, 1), else_=c.used + 1),
                ),
                where=sa.or_(over, c.used < calls),
            )
            if self._do(spent.returning(c.used)).scalar() is None:
                ends_at: datetime = self._do(
                    sa.select(c.ends_at).where(c.account == account, c.span == span)
                ).scalar_one()
                return ends_at
        return None

    # the outbox

    def add_outbox(self, records: Sequence[tuple[str, NewRecord]], now: datetime) -> None:
        """Have these (type, record) published, in this order for each key."""
        values = [
            dict(
                aggregatetype=record.topic,
                aggregateid=record.key,
                type=type_,
                payload=record.value,
                headers=headers_to_json(record.headers),
                created_at=now,
            )
            for type_, record in records
        ]
        self._insert_rows(s.outbox, values)

    def published(self, ids: Collection[int]) -> None:
        """These are in the log."""
        self.delete(s.outbox, self._among(s.outbox.c.id, ids))

    # dead letters

    def set_aside(self, letters: Sequence[DeadLetter], now: datetime) -> None:
        """Keep what cannot be used. The same bytes for the same reason again are counted on their row."""
        values = [
            dict(
                source=letter.source,
                place=letter.place,
                reason=letter.reason,
                detail=letter.detail,
                digest=letter.digest,
                record_key=letter.key,
                value=letter.value,
                headers=headers_to_json(letter.headers),
                first_at=now,
                last_at=now,
                times=1,
                state="open",
            )
            for letter in letters
        ]
        if not values:
            return
        insert = self._insert(s.dead_letters)
        self._do(
            insert.on_conflict_do_update(
                index_elements=["source", "reason", "digest"],
                set_=dict(
                    times=s.dead_letters.c.times + 1,
                    state="open",
                    last_at=insert.excluded.last_at,
                    place=insert.excluded.place,
                ),
            ),
            values,
        )

    def close_letter(self, letter_id: int, times: int, state: str) -> bool:
        """It was replayed or discarded. False where it was not open, or was set aside once more since it was read.

        A consumer can be faster with a replayed letter than whoever marks it: what came back has to stay in sight.
        """
        c = s.dead_letters.c
        as_read = (c.id == letter_id, c.state == "open", c.times == times)
        closed = self._do(sa.update(s.dead_letters).where(*as_read).values(state=state))
        return bool(closed.rowcount)

    # the embedded log (log.py)

    def append_records(self, values: Sequence[dict[str, Any]]) -> None:
        """Append to the embedded log; offsets follow on in each partition."""
        ends: dict[tuple[str, int], int] = {}
        for value in values:
            partition = (value["topic"], value["partition"])
            if partition not in ends:
                of_place = (s.log_records.c.topic == partition[0], s.log_records.c.partition == partition[1])
                last = self._do(sa.select(sa.func.max(s.log_records.c.offset)).where(*of_place)).scalar()
                ends[partition] = -1 if last is None else last
            ends[partition] += 1
            value["offset"] = ends[partition]
        if values:
            self._do(sa.insert(s.log_records), list(values))

    def delete(self, table: sa.Table, *where: sa.ColumnElement[bool]) -> int:
        return self._do(sa.delete(table).where(*where)).rowcount


def _unnested(
    table: sa.Table, values: Sequence[dict[str, Any]], more: Mapping[str, sa.Column[Any]] | None = None
) -> Any:
    """Rows as a table of PostgreSQL's, a column an array; `more`: columns by another name."""
    columns = {name: (more or {}).get(name, table.c.get(name)) for name in values[0]}
    arrays = [_array(column, [row[name] for row in values]) for name, column in columns.items()]
    names = (sa.column(name, column.type) for name, column in columns.items() if column is not None)
    return sa.func.unnest(*arrays).table_valued(*names).render_derived(name="r")


def _array(column: Any, values: list[Any]) -> sa.ColumnElement[Any]:
    return sa.cast(sa.bindparam(None, values, type_=postgresql.ARRAY(column.type)), postgresql.ARRAY(column.type))


def _is_free(now: datetime) -> sa.ColumnElement[bool]:
    """Open, or leased by somebody whose time has run out."""
    c = s.commands.c
    return sa.or_(c.state == "open", sa.and_(c.state == "leased", c.lease_until < now))


def _waits_for_another() -> sa.ColumnElement[bool]:
    """Another command of the order goes first: the leased one, be its time over or not (docs/rules.md 12), else the
    oldest.

    Deliberate: a command in back-off keeps the younger ones waiting too (tracking, then shipment).
    """
    c, other = s.commands.c, s.commands.alias("other")
    older = sa.and_(c.state == "open", other.c.state == "open", other.c.id < c.id)
    return sa.exists().where(
        other.c.order_key == c.order_key,
        other.c.id != c.id,
        s.is_live(other.c),
        sa.or_(other.c.state == "leased", older),
    )


def _claimable(now: datetime, resting: Collection[tuple[str, str]], shops: Collection[str]) -> sa.Select[int]:
    """The next command: due, its shop's effect switched on, the oldest of its order, its order free.

    `resting` are (shop, command kind) whose account pauses. An expired lease counts as open.
    """
    c = s.commands.c
    switched_on = sa.or_(
        *(
            sa.and_(c.kind == kind, sa.not_(s.shops.c.paused.contains(kind.group, autoescape=True)))
            for kind in CommandKind
        )
    )
    # Not a join: that invites SQLite to begin at a shop and visit every order that it ever had.
    allowed = (
        sa.select(sa.literal(1))
        .select_from(s.orders.join(s.shops, s.shops.c.name == s.orders.c.shop))
        .where(s.orders.c.id == c.order_key, s.orders.c.shop.in_(sorted(shops)), s.shops.c.effects, switched_on)
        .correlate(s.commands)
    )
    if resting:
        allowed = allowed.where(sa.tuple_(s.orders.c.shop, c.kind).not_in(sorted(resting)))
    return (
        sa.select(c.id)
        .where(s.is_live(c), c.next_at <= now, _is_free(now), ~_waits_for_another(), allowed.exists())
        .order_by(c.next_at, c.id)
        .limit(1)
    )


def _progress_key(cluster: str, group: str, partition: Partition) -> sa.ColumnElement[bool]:
    c = s.progress.c
    return sa.and_(
        c.cluster == cluster, c.group_name == group, c.topic == partition.topic, c.partition == partition.number
    )


def order_of(row: sa.Row[Any]) -> OrderRow:
    return OrderRow(
        key=row.id,
        shop=row.shop,
        order_id=row.order_id,
        state=row.state,
        facts=facts_from_json(row.facts),
        version=row.version,
        attention=tuple((r, d, datetime.fromisoformat(since)) for r, d, since in json.loads(row.attention)),
        content=row.content,
        read_after=row.read_after,
        entered_at=row.entered_at,
        updated_at=row.updated_at,
    )
