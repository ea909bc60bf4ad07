"""Lanes: the queues of the calls to make, one for each shop and kind of call, and how a worker claims from them.

The kind says which remote is called, so the lanes of a shop at one remote are its account there. A claim asks only the
lanes that may be called now, and each lane is one probe of the index ix_commands_lane. So paused calls cost nothing.

A claim is two statements of one transaction: `take` finds commands and locks their orders, `lease` gives the commands
to the worker. From then on only the holder of a token ends or reopens its command (commands.py). If a worker dies, its
lease runs out, and a later claim finds the row again.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from operator import attrgetter
from typing import Any, Final

import sqlalchemy as sa

from adapters.store import bulk, texts
from adapters.store import schema as s
from adapters.store.commands import COLUMNS, CommandRow
from adapters.store.leases import LONGEST
from adapters.store.transaction import Store, Transaction
from statemachine.commands import CommandKey, CommandKind, CommandState

#: How many commands of older code `adopt` gives their shop at a time.
ADOPTED: Final = 1_000


@dataclass(frozen=True, slots=True, order=True)
class Lane:
    """The calls of one kind of one shop."""

    shop: str
    kind: CommandKind


@dataclass(frozen=True, slots=True)
class NewLease:
    """A command to lease. `give_up_at` is the time after which it is not tried again."""

    command_id: int
    shop: str
    basis: str
    token: str
    until: datetime
    give_up_at: datetime


# -- Look: what could be claimed ---------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Look:
    """What a claim would find. `due`: lanes with a command to claim, the longest due first."""

    due: Sequence[Lane]
    under_way: Mapping[Lane, int]  # leased commands of all workers
    orphans: bool  # older code opened commands, which are in no lane yet


def look(store: Store, lanes: Collection[Lane], paused: Collection[Lane], now: datetime) -> Look:
    """Ask these lanes for a command that is due. Takes no write lock, so an idle worker disturbs no other."""
    with store.reading() as connection:
        tx = Transaction(connection, store.is_sqlite)
        open_lanes = switched_on(tx, lanes)
        found = _ask(tx, dict.fromkeys(open_lanes, 1), paused, now, takes=False)
        if not found:
            return Look((), {}, _has_orphans(tx))
        heads = sorted(found, key=lambda row: (row.next_at, row.id))
        return Look([Lane(row.shop, row.kind) for row in heads], _under_way(tx, now), _has_orphans(tx))


def switched_on(tx: Transaction, lanes: Collection[Lane]) -> list[Lane]:
    """Return those of these lanes whose calls are not switched off."""
    paused = {row.name: row.paused.split() for row in texts.read(tx, _SWITCHED_ON)}
    going = [lane for lane in lanes if lane.kind.group not in paused.get(lane.shop, (lane.kind.group,))]
    return sorted(going, key=_IN_ORDER)


def _under_way(tx: Transaction, now: datetime) -> dict[Lane, int]:
    """Count the leased commands whose lease has not run out, by lane."""
    return {Lane(row.shop, row.kind): row.calls for row in texts.read(tx, _LEASED, _instants(now))}


def _has_orphans(tx: Transaction) -> bool:
    return bool(texts.read(tx, _AN_ORPHAN))


def adopt(store: Store) -> int:
    """Store the shop in commands that older code opened without it. Returns how many: commands that another transaction
    has locked are left for later."""
    c, o = s.commands.c, s.orders.c
    with store.transaction() as tx:
        mine = sa.select(c.id).where(*_ORPHANS).order_by(c.id).limit(ADOPTED).with_for_update(skip_locked=True)
        ids = list(tx.execute(mine).scalars())
        shop = sa.select(o.shop).where(o.id == c.order_key).scalar_subquery()
        update = sa.update(s.commands).where(bulk.among(c.id, is_sqlite=tx.is_sqlite)).values(shop=shop)
        tx.execute(update, bulk.numbers(ids))
    return len(ids)


#: As Lane's own order, which Python would compare field by field. Each claim of fifty shops sorts 200 lanes.
_IN_ORDER: Final = attrgetter("shop", "kind")
_SWITCHED_ON: Final = sa.select(s.shops.c.name, s.shops.c.paused).where(s.shops.c.effects)
_ORPHANS: Final = (s.commands.c.shop == "", s.is_live(s.commands.c))
_AN_ORPHAN: Final = sa.select(s.commands.c.id).where(*_ORPHANS).limit(1)


# -- Claim -------------------------------------------------------------------------------------------------------


def take(tx: Transaction, most: Mapping[Lane, int], paused: Collection[Lane], now: datetime) -> list[CommandRow]:
    """Lock the next commands and their orders, at most `most` of each lane; return them, the longest due first.

    What another transaction has locked is skipped. A command may have changed between the read and the lock, so `lease`
    checks the command again.
    """
    open_lanes = set(switched_on(tx, most))
    asked = {lane: number for lane, number in most.items() if lane in open_lanes}
    found = [CommandRow(*row) for row in _ask(tx, asked, paused, now, takes=True)]
    return sorted(found, key=lambda one: (one.next_at, one.id))


def lease(tx: Transaction, leases: Sequence[NewLease], paused: Collection[Lane], now: datetime) -> set[int]:
    """Claim commands, each with one conditional update (docs/rules.md 13).

    `paused` has to be the value with which `take` found the commands. Returns the ids of the commands that were free,
    and for which no other command of the order goes first.
    """
    going = _going({one.shop for one in leases}, paused)
    rows = [
        dict(
            id=one.command_id,
            basis=one.basis,
            token=one.token,
            until=one.until,
            give_up_at=one.give_up_at,
            going=going[one.shop],
        )
        for one in leases
    ]
    return bulk.update_each(tx, _LEASE, rows, **_instants(now))


def _lease(values: Any) -> sa.Update:
    c = s.commands.c
    return (
        sa.update(s.commands)
        .where(c.id == values["id"], _is_free(_NOW, _LATEST), ~_waits_for_another(_NOW, values["going"]))
        .values(
            state=CommandState.LEASED,
            lease_token=values["token"],
            lease_until=values["until"],
            basis=values["basis"],
            give_up_at=values["give_up_at"],
            attempts=c.attempts + 1,
        )
    )


_LEASE: Final = bulk.Update(
    dict(
        id=s.commands.c.id,
        basis=s.commands.c.basis,
        token=s.commands.c.lease_token,
        until=s.commands.c.lease_until,
        give_up_at=s.commands.c.give_up_at,
        going=s.shops.c.paused,
    ),
    _lease,
    s.commands.c.id,
)


def _ask(
    tx: Transaction, most: Mapping[Lane, int], paused: Collection[Lane], now: datetime, *, takes: bool
) -> list[Any]:
    """Return the rows of the next commands, at most `most` of each lane: as `_claimable` has them."""
    if not most:
        return []
    statement = _claimable(is_sqlite=tx.is_sqlite, takes=takes)
    lanes, going = sorted(most, key=_IN_ORDER), _going({lane.shop for lane in most}, paused)
    columns: dict[str, list[str]] = dict(
        shop=[lane.shop for lane in lanes],
        kind=[lane.kind for lane in lanes],
        going=[going[lane.shop] for lane in lanes],
        most=[str(most[lane]) for lane in lanes],
    )
    if tx.is_sqlite:
        rows = [dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)]
        return [row for one in rows for row in texts.read(tx, statement, one | _instants(now))]
    columns_as_texts = {name: _SEPARATOR.join(values) for name, values in columns.items()}
    return texts.read(tx, statement, columns_as_texts | _instants(now))


def _instants(now: datetime) -> dict[str, datetime]:
    return {"now": now, "latest": now + LONGEST}


def _going(shops: Collection[str], paused: Collection[Lane]) -> dict[str, str]:
    """The kinds of calls of each shop that do not pause, in one text."""
    found = dict.fromkeys(shops, " ".join(CommandKind))
    for shop in {lane.shop for lane in paused} & found.keys():
        found[shop] = " ".join(kind for kind in CommandKind if Lane(shop, kind) not in paused)
    return found


_NOW: Final = sa.bindparam("now", type_=s.Instant)
_LATEST: Final = sa.bindparam("latest", type_=s.Instant)


@cache
def _claimable(*, is_sqlite: bool, takes: bool) -> sa.Select[Any]:
    """The next commands of lanes: due, free, and no other command of the order goes first.

    A command whose lease has run out counts as open. On PostgreSQL one statement asks all lanes: each column is one
    text, which the server splits, because the driver takes longer for an array of 200 values than for all else. On
    SQLite the statement asks one lane. `takes`: it returns the columns of CommandRow, and locks on
    PostgreSQL; else it returns id, shop, kind and next_at.
    """
    columns = COLUMNS if takes else _LOOKED_AT
    if is_sqlite:
        return _of_lane(columns, {name: sa.bindparam(name, type_=kind) for name, kind in _VALUES.items()})
    as_arrays = {name: sa.func.string_to_array(sa.bindparam(name, type_=sa.Text), _SEPARATOR) for name in _VALUES}
    arrays = [sa.cast(as_arrays[name], sa.ARRAY(kind)) for name, kind in _VALUES.items()]
    values = [sa.column(name, kind) for name, kind in _VALUES.items()]
    lanes: Any = sa.func.unnest(*arrays).table_valued(*values).render_derived(name="lane")
    of_lane = _of_lane(columns, lanes.c)
    if takes:
        of_lane = of_lane.join(s.orders, s.orders.c.id == s.commands.c.order_key)
        of_lane = of_lane.with_for_update(of=(s.orders, s.commands), skip_locked=True)
    found = of_lane.lateral("found")
    return sa.select(found).select_from(lanes.join(found, sa.true()))


_VALUES: Final[Mapping[str, sa.types.TypeEngine[Any]]] = {
    "shop": sa.Text(),
    "kind": sa.Text(),
    "going": sa.Text(),
    "most": sa.Integer(),
}
#: Stands between two values of a text. No name of a shop or of a kind of calls has it.
_SEPARATOR: Final = ","

_LOOKED_AT: Final = (s.commands.c.id, s.commands.c.shop, s.commands.c.kind, s.commands.c.next_at)


def _of_lane(columns: Sequence[sa.Column[Any]], lane: Any) -> sa.Select[Any]:
    c = s.commands.c
    return (
        sa.select(*columns)
        .where(c.shop == lane["shop"], sa.type_coerce(c.kind, sa.Text) == lane["kind"], s.is_live(c), c.next_at <= _NOW)
        .where(_is_free(_NOW, _LATEST), ~_waits_for_another(_NOW, lane["going"]))
        .order_by(c.next_at, c.id)
        .limit(lane["most"])
    )


def _is_free(now: sa.ColumnElement[datetime], latest: sa.ColumnElement[datetime]) -> sa.ColumnElement[bool]:
    """The condition that a command is open, or leased to a worker whose lease has run out.

    A lease that ends after `latest` was written by a wrong clock, and is over (leases.is_over). Whether a live command
    is leased is read from its token, for the reason that `has_not_ended` gives.
    """
    c = s.commands.c
    is_over = sa.or_(c.lease_until < now, c.lease_until > latest)
    return sa.and_(s.has_not_ended(c), sa.or_(c.lease_token.is_(None), is_over))


_LEASED: Final = (
    sa.select(s.commands.c.shop, s.commands.c.kind, sa.func.count().label("calls"))
    # A literal, for the reason that `is_live` gives: the index uq_commands_one_leased has the few leased rows.
    .where(s.commands.c.state == sa.literal_column("'leased'"), s.commands.c.lease_until.between(_NOW, _LATEST))
    .group_by(s.commands.c.shop, s.commands.c.kind)
)


def _waits_for_another(now: sa.ColumnElement[datetime], going: sa.ColumnElement[str]) -> sa.ColumnElement[bool]:
    """The condition that another command of the order goes first. `going`: the kinds that do not pause.

    The leased command of an order goes first, even if its lease has run out (docs/rules.md 12). If no command is
    leased, the oldest one goes first. A command of another kind that is in back-off, or paused, does not go first: the
    plan says which calls wait for each other (plan.py).
    """
    c, other = s.commands.c, s.commands.alias("other")
    can_go = sa.and_(other.c.next_at <= now, going.contains(sa.type_coerce(other.c.kind, sa.Text)))
    older = sa.and_(
        c.lease_token.is_(None),
        other.c.lease_token.is_(None),
        other.c.id < c.id,
        sa.or_(other.c.kind == c.kind, can_go),
    )
    return (
        sa.exists()
        .where(
            other.c.order_key == c.order_key,
            other.c.id != c.id,
            s.has_not_ended(other.c),
            sa.or_(other.c.lease_token.is_not(None), older),
        )
        .correlate_except(other)
    )


# -- Commands that wait because their operation fails for other orders --------------------------------------------


@dataclass(frozen=True, slots=True)
class Untried:
    """A command that is due, and whose last outcome is not that of a failure: it was not tried since its lane fails."""

    id: int
    shop: str
    order_id: str
    key: CommandKey
    opened_at: datetime


def untried(
    store: Store, lanes: Collection[Lane], due_before: datetime, *, failed: Collection[str], limit: int
) -> list[Untried]:
    """Return commands of these lanes, switched on, that were due at `due_before` and whose last outcome is none of
    `failed`."""
    c, o = s.commands.c, s.orders.c
    with store.reading() as connection:
        found: list[Untried] = []
        for lane in switched_on(Transaction(connection, store.is_sqlite), lanes):
            statement = (
                sa.select(c.id, o.shop, o.order_id, c.kind, c.carries, c.round, c.opened_at)
                .select_from(s.commands.join(s.orders, o.id == c.order_key))
                .where(c.shop == lane.shop, c.kind == lane.kind, s.is_live(c), c.state == CommandState.OPEN)
                .where(c.next_at <= due_before, c.last_outcome.not_in(failed))
                .order_by(c.next_at, c.id)
                .limit(limit - len(found))
            )
            found += [
                Untried(row.id, row.shop, row.order_id, CommandKey(row.kind, row.carries, row.round), row.opened_at)
                for row in connection.execute(statement)
            ]
        return found


def set_last_outcome(tx: Transaction, ids: Collection[int], outcome: str) -> None:
    """Store a last outcome for those of these commands that no worker has, so that `untried` leaves them out."""
    c = s.commands.c
    open_ones = (bulk.among(c.id, is_sqlite=tx.is_sqlite), c.state == CommandState.OPEN)
    tx.execute(sa.update(s.commands).where(*open_ones).values(last_outcome=outcome), bulk.numbers(ids))
