"""All SQL that only reads: for the loops, for people, and for the gauges."""

import json
import zlib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from adapters.ports import NewRecord, Partition
from adapters.store import schema as s
from adapters.store.facts_json import facts_from_json
from adapters.store.headers_json import headers_from_json
from adapters.store.transaction import Cursor, OrderRow, Progress, Store, order_of
from statemachine.commands import CommandKind, CommandState
from statemachine.events import Trigger
from statemachine.facts import Facts
from statemachine.machine import EventResult
from statemachine.states import State

# -- For the loops -----------------------------------------------------------------------------------------------


def progress(store: Store, cluster: str, group: str) -> dict[Partition, Progress]:
    """How far every partition was applied."""
    c = s.progress.c
    statement = sa.select(s.progress).where(c.cluster == cluster, c.group_name == group)
    with store.reading() as connection:
        return {
            Partition(row.topic, row.partition): Progress(row.position, row.log_id, row.excused_commit)
            for row in connection.execute(statement)
        }


def cursor(store: Store, shop: str) -> Cursor | None:
    """How far the shop's poll has come; None before its first."""
    with store.reading() as connection:
        row = connection.execute(sa.select(s.cursors).where(s.cursors.c.shop == shop)).first()
    return Cursor(row.watermark, row.wide_at, row.succeeded_at) if row else None


def count_leases(store: Store, prefix: str, now: datetime) -> int:
    """Leases of names with this prefix that somebody holds."""
    c = s.leases.c
    held = (c.name.startswith(prefix, autoescape=True), c.until >= now)
    with store.reading() as connection:
        return connection.execute(sa.select(sa.func.count()).select_from(s.leases).where(*held)).scalar_one()


def outbox(
    store: Store, limit: int, *, of: str | None = None, without: Collection[str] = ()
) -> list[tuple[int, NewRecord]]:
    """The oldest records to publish, with their ids: `of` one topic, or of all `without` some.

    One whose transaction ends late is found late, and never skipped: what was published is deleted by its id, and
    nobody remembers how far it was read.
    """
    statement = sa.select(s.outbox).order_by(s.outbox.c.id).limit(limit)
    if of is not None:
        statement = statement.where(s.outbox.c.aggregatetype == of)
    if without:
        statement = statement.where(s.outbox.c.aggregatetype.not_in(sorted(without)))
    with store.reading() as connection:
        return [
            (
                row.id,
                NewRecord(row.aggregatetype, row.aggregateid, row.payload, headers_from_json(row.headers)),
            )
            for row in connection.execute(statement)
        ]


@dataclass(frozen=True, slots=True)
class Seen:
    """What is stored of an order, as far as a poll needs it."""

    content: str
    read_after: datetime | None


def seen(store: Store, shop: str, order_ids: Sequence[str]) -> Mapping[str, Seen]:
    """One look-up for one page of orders."""
    c = s.orders.c
    statement = sa.select(c.order_id, c.content, c.read_after).where(c.shop == shop, c.order_id.in_(order_ids))
    with store.reading() as connection:
        return {row.order_id: Seen(row.content, row.read_after) for row in connection.execute(statement)}


def waiting_for_a_read(store: Store, shop: str, now: datetime, limit: int) -> list[str]:
    """Orders whose `read_after` has come: those that Mirakl has shown first, then the longest waiting."""
    c = s.orders.c
    first = (c.content == "", c.read_after)
    statement = sa.select(c.order_id).where(c.shop == shop, c.read_after < now).order_by(*first).limit(limit)
    with store.reading() as connection:
        return list(connection.execute(statement).scalars())


def open_orders(store: Store, shop: str) -> list[tuple[str, str]]:
    """(shop, order id) of every order that a changed policy can still matter to."""
    c = s.orders.c
    statement = sa.select(c.shop, c.order_id).where(c.shop == shop, c.state.not_in(("shipped", "refused", "canceled")))
    with store.reading() as connection:
        return [(row.shop, row.order_id) for row in connection.execute(statement)]


# -- For people --------------------------------------------------------------------------------------------------


def orders(
    store: Store,
    *,
    shop: str | None = None,
    states: Sequence[str] = (),
    attention: bool = False,
    limit: int = 100,
) -> list[OrderRow]:
    """Orders, the latest change first."""
    c = s.orders.c
    statement = sa.select(s.orders).order_by(c.updated_at.desc(), c.id).limit(limit)
    if shop:
        statement = statement.where(c.shop == shop)
    if states:
        statement = statement.where(c.state.in_(states))
    if attention:
        statement = statement.where(s.needs_attention(c))
    with store.reading() as connection:
        return [order_of(row) for row in connection.execute(statement)]


def states(store: Store) -> dict[tuple[str, str], str]:
    """The state of every order, by shop and order id."""
    c = s.orders.c
    with store.reading() as connection:
        rows = connection.execute(sa.select(c.shop, c.order_id, c.state))
        return {(row.shop, row.order_id): row.state for row in rows}


def find_orders(store: Store, order_id: str, shop: str | None = None) -> list[OrderRow]:
    """The orders of this id; more than one only where two shops have it."""
    where = [s.orders.c.order_id == order_id]
    if shop:
        where.append(s.orders.c.shop == shop)
    with store.reading() as connection:
        return [order_of(row) for row in connection.execute(sa.select(s.orders).where(*where))]


@dataclass(frozen=True, slots=True)
class Entry:
    """One journal row."""

    version: int
    at: datetime
    recorded_at: datetime
    trigger: Trigger
    source: str
    event_id: str
    says: Facts
    note: dict[str, Any]
    result: EventResult
    before: State
    after: State
    repeats: int


def journal(store: Store, order_key: int) -> list[Entry]:
    """Everything that happened to one order, in the order in which it was applied."""
    c = s.journal.c
    statement = sa.select(s.journal).where(c.order_key == order_key).order_by(c.version)
    with store.reading() as connection:
        return [
            Entry(
                row.version,
                row.at,
                row.recorded_at,
                row.trigger,
                row.source,
                row.event_id,
                facts_from_json(row.says),
                json.loads(row.note),
                row.result,
                row.before,
                row.after,
                row.repeats,
            )
            for row in connection.execute(statement)
        ]


@dataclass(frozen=True, slots=True)
class CommandView:
    """One command, for a person."""

    kind: CommandKind
    carries: str
    round: int
    state: CommandState
    attempts: int
    next_at: datetime
    give_up_at: datetime
    last_outcome: str


def commands(store: Store, order_key: int) -> list[CommandView]:
    """Every command of one order, the oldest first."""
    c = s.commands.c
    names = list(CommandView.__dataclass_fields__)
    statement = sa.select(*(c[name] for name in names)).where(c.order_key == order_key).order_by(c.id)
    with store.reading() as connection:
        return [CommandView(**row._mapping) for row in connection.execute(statement)]


def received(store: Store, order_key: int, content: str) -> bytes | None:
    """One content of an order, byte for byte as Mirakl sent it. Personal data."""
    c = s.snapshots.c
    with store.reading() as connection:
        body = connection.execute(sa.select(c.body).where(c.order_key == order_key, c.content == content)).scalar()
    return zlib.decompress(body) if body is not None else None


@dataclass(frozen=True, slots=True)
class Letter:
    """One dead letter. `value` may hold personal data."""

    id: int
    source: str
    place: str
    reason: str
    detail: str
    record_key: bytes | None
    value: bytes | None
    headers: str
    first_at: datetime
    last_at: datetime
    times: int
    state: str


def dead_letters(store: Store, letter_id: int | None = None, limit: int = 100) -> list[Letter]:
    """Dead letters, the newest first; one by its id."""
    c = s.dead_letters.c
    names = list(Letter.__dataclass_fields__)
    statement = sa.select(*(c[name] for name in names)).order_by(c.last_at.desc(), c.id.desc()).limit(limit)
    if letter_id is not None:
        statement = statement.where(c.id == letter_id)
    with store.reading() as connection:
        return [Letter(**row._mapping) for row in connection.execute(statement)]


@dataclass(frozen=True, slots=True)
class ShopView:
    """One shop as bound, and its switches."""

    name: str
    endpoint: str
    shop_id: int
    effects: bool
    paused: tuple[str, ...]
    polled_at: datetime | None
    watermark: datetime | None


def shops(store: Store) -> list[ShopView]:
    statement = (
        sa.select(s.shops, s.cursors.c.succeeded_at, s.cursors.c.watermark)
        .join(s.cursors, s.cursors.c.shop == s.shops.c.name, isouter=True)
        .order_by(s.shops.c.name)
    )
    with store.reading() as connection:
        return [
            ShopView(
                row.name,
                row.endpoint,
                row.shop_id,
                row.effects,
                tuple(row.paused.split()),
                row.succeeded_at,
                row.watermark,
            )
            for row in connection.execute(statement)
        ]


# -- For the gauges ----------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class StoredCounts:
    """Counts of what is stored now, read in one go."""

    in_state: Mapping[tuple[str, str], tuple[int, datetime]]  # (shop, state) -> how many, the oldest entered
    attention: Mapping[tuple[str, str], tuple[int, datetime]]  # (shop, reason) -> how many, since
    commands: Mapping[str, tuple[int, datetime]]  # kind -> how many open, the oldest due
    dead_letters: Mapping[tuple[str, str], int]  # (source, reason) -> open
    outbox: Mapping[str, tuple[int, datetime]]  # topic -> how many unpublished, the oldest


def stored_counts(store: Store) -> StoredCounts:
    """How much there is of everything that waits. Refused and canceled orders wait for nothing."""
    c, k, d = s.orders.c, s.commands.c, s.dead_letters.c
    by_state = (
        sa.select(
            c.shop, c.state, sa.func.count().label("n"), sa.func.min(c.entered_at, type_=s.Instant).label("oldest")
        )
        .where(c.state.not_in(("refused", "canceled")))
        .group_by(c.shop, c.state)
    )
    by_kind = (
        sa.select(k.kind, sa.func.count().label("n"), sa.func.min(k.next_at, type_=s.Instant).label("oldest"))
        .where(s.is_live(k))
        .group_by(k.kind)
    )
    with store.reading() as connection:
        in_state = {(r.shop, r.state): (r.n, r.oldest) for r in connection.execute(by_state)}
        open_commands = {r.kind: (r.n, r.oldest) for r in connection.execute(by_kind)}
        letters = {
            (r.source, r.reason): r.n
            for r in connection.execute(
                sa.select(d.source, d.reason, sa.func.count().label("n"))
                .where(d.state == "open")
                .group_by(d.source, d.reason)
            )
        }
        o = s.outbox.c
        by_topic = sa.select(
            o.aggregatetype, sa.func.count().label("n"), sa.func.min(o.created_at, type_=s.Instant).label("oldest")
        ).group_by(o.aggregatetype)
        outbox = {r.aggregatetype: (r.n, r.oldest) for r in connection.execute(by_topic)}
        attention: dict[tuple[str, str], tuple[int, datetime]] = {}
        for row in connection.execute(sa.select(c.shop, c.attention).where(s.needs_attention(c))):
            for reason, _detail, since in json.loads(row.attention):
                when = datetime.fromisoformat(since)
                count, oldest = attention.get((row.shop, reason), (0, when))
                attention[row.shop, reason] = (count + 1, min(oldest, when))
    return StoredCounts(in_state, attention, open_commands, letters, outbox)


def budgets(store: Store, now: datetime) -> dict[tuple[str, str], int]:
    """Calls made in each account's present span: (account, span) -> used."""
    c = s.budgets.c
    with store.reading() as connection:
        rows = connection.execute(sa.select(s.budgets).where(c.ends_at > now))
        return {(row.account, row.span): row.used for row in rows}
