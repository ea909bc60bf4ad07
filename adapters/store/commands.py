"""One row for each call to make, from its opening to its end. The states are drawn in schema.py.

A worker leases a command (lanes.py, which also gives commands of older code their shop). From then on only the holder
of the token ends or reopens it: `mark_sending` before the call, then `release` with `settled` or `requeued`. Others
may only mark the row: `mark_obsolete`, `revive`, `put_off` and `put_back`.
"""

from collections.abc import Callable, Collection, Generator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Any, Final

import sqlalchemy as sa

from adapters.store import bulk, notices, texts
from adapters.store import schema as s
from adapters.store.transaction import Store, Transaction
from statemachine.commands import Command, CommandKey, CommandKind, CommandState
from statemachine.states import State

#: The default time for which a command belongs to the worker that claimed it. The configuration has to set at
#: least three times the longest timeout of a call, so that the call ends before the lease.
LEASE: Final = timedelta(seconds=90)
#: When a command of a quarantined order is due.
NEVER: Final = datetime(9000, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class CommandRow:
    """One call to make, as stored (schema.commands). `payload` holds personal data."""

    id: int
    order_key: int
    kind: CommandKind
    carries: str
    round: int
    state: CommandState
    unwanted: bool
    basis: str
    next_at: datetime
    give_up_at: datetime
    attempts: int
    payload: bytes | None
    maybe_sent: bool
    last_outcome: str

    @property
    def key(self) -> CommandKey:
        return CommandKey(self.kind, self.carries, self.round)


@dataclass(frozen=True, slots=True)
class NewCommand:
    """One call to open for an order. After `give_up_at` it is not tried again."""

    order_key: int
    shop: str  # of the order
    command: Command
    give_up_at: datetime


#: The columns of CommandRow.
COLUMNS: Final = tuple(s.commands.c[name] for name in CommandRow.__dataclass_fields__)


# -- Open and end: apply plans which calls are due ---------------------------------------------------------------


def lock_live(tx: Transaction, order_keys: Collection[int]) -> list[CommandRow]:
    """Lock the open and leased commands of these orders, and return them, the oldest first."""
    return [CommandRow(*row) for row in texts.read(tx, _live(is_sqlite=tx.is_sqlite), bulk.numbers(order_keys))]


@cache
def _live(*, is_sqlite: bool) -> sa.Select[Any]:
    c = s.commands.c
    mine = (bulk.among(c.order_key, is_sqlite=is_sqlite), s.has_not_ended(c))
    return sa.select(*COLUMNS).where(*mine).order_by(c.id).with_for_update()


def open_due(tx: Transaction, due: Sequence[NewCommand], now: datetime) -> None:
    """Open these commands.

    A command that became obsolete opens again in its old row. A command that ended in another way stays ended.
    """
    rows = [
        dict(
            order_key=new.order_key,
            shop=new.shop,
            kind=new.command.kind,
            carries=new.command.carries,
            round=new.command.round,
            state=CommandState.OPEN,
            basis=new.command.basis,
            opened_at=now,
            next_at=now,
            give_up_at=new.give_up_at,
        )
        for new in due
    ]
    if not rows:
        return
    bulk.insert_rows(tx, s.commands, rows, _open_again)
    notices.opened(tx, len(rows))
    later_imports = [new.order_key for new in due if new.command.kind == CommandKind.IMPORT and new.command.round]
    if later_imports:
        _freeze_again(tx, later_imports)


#: The columns that are written when a command opens again.
_OPENED: Final = ("shop", "state", "basis", "opened_at", "next_at", "give_up_at")


def _open_again(insert: Any) -> Any:
    return insert.on_conflict_do_update(
        index_elements=["order_key", "kind", "carries", "round"],
        set_={name: insert.excluded[name] for name in _OPENED},
        where=s.commands.c.state == CommandState.OBSOLETE,
    )


def _freeze_again(tx: Transaction, order_keys: Collection[int]) -> None:
    """Give an import of a later round the payload that an earlier round may have sent to the OMS already.

    The OMS may hold the order since that round, so the later round must send the same bytes (docs/kornitx.md 7). If the
    OMS refused these bytes since, the later round carries what was mended (`settled`).
    """
    c, earlier, refused = s.commands.c, s.commands.alias("earlier"), s.commands.alias("refused")
    refused_since = sa.exists().where(
        refused.c.order_key == c.order_key,
        refused.c.kind == CommandKind.IMPORT,
        refused.c.state == CommandState.REJECTED,
        refused.c.id > earlier.c.id,
    )
    mine = (earlier.c.order_key == c.order_key, earlier.c.kind == CommandKind.IMPORT)
    tried = (*mine, earlier.c.maybe_sent, ~refused_since)
    payload = sa.select(earlier.c.payload).where(*tried, earlier.c.id != c.id).order_by(earlier.c.id.desc()).limit(1)
    tx.execute(
        sa.update(s.commands)
        .where(
            bulk.among(c.order_key, is_sqlite=tx.is_sqlite),
            c.kind == CommandKind.IMPORT,
            c.state == CommandState.OPEN,
            c.attempts == 0,
        )
        .where(sa.exists().where(*tried, earlier.c.id != c.id))
        .values(payload=payload.scalar_subquery(), maybe_sent=True),
        bulk.numbers(order_keys),
    )


def mark_obsolete(tx: Transaction, ids: Collection[int]) -> None:
    """Mark these commands as no longer due.

    An open command ends. A leased command is marked, and still belongs to its holder (docs/rules.md 12).
    """
    if ids:
        tx.execute(_end(is_sqlite=tx.is_sqlite), bulk.numbers(ids))


@cache
def _end(*, is_sqlite: bool) -> sa.Update:
    c = s.commands.c
    ended = sa.case((c.state == CommandState.OPEN, CommandState.OBSOLETE), else_=c.state)
    update = sa.update(s.commands).where(bulk.among(c.id, is_sqlite=is_sqlite), s.is_live(c))
    return update.values(unwanted=c.state == CommandState.LEASED, state=ended)


def revive(tx: Transaction, ids: Collection[int]) -> None:
    """Remove the mark of `mark_obsolete` from these leased commands, because they are needed after all."""
    if ids:
        mine = bulk.among(s.commands.c.id, is_sqlite=tx.is_sqlite)
        tx.execute(sa.update(s.commands).where(mine).values(unwanted=False), bulk.numbers(ids))


def retry_now(tx: Transaction, order_key: int, now: datetime) -> None:
    """End the back-off of an order's commands, because a person asked."""
    c = s.commands.c
    waiting = (c.order_key == order_key, c.state == CommandState.OPEN, c.next_at > now)
    tx.execute(sa.update(s.commands).where(*waiting).values(next_at=now))


def put_off(tx: Transaction, order_key: int) -> None:
    """Take the open and leased commands of an order out of the claim: they are due at NEVER."""
    c = s.commands.c
    tx.execute(sa.update(s.commands).where(c.order_key == order_key, s.is_live(c)).values(next_at=NEVER))


def put_back(tx: Transaction, order_keys: Collection[int], now: datetime) -> None:
    """Let these orders' commands be claimed again after `put_off`."""
    if order_keys:
        c = s.commands.c
        mine = (bulk.among(c.order_key, is_sqlite=tx.is_sqlite), s.is_live(c), c.next_at == NEVER)
        tx.execute(sa.update(s.commands).where(*mine).values(next_at=now), bulk.numbers(order_keys))


# -- Call and settle: only with the token of the lease -----------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Sending:
    """A call that is about to be made. `payload`: that of an import; None keeps what is stored."""

    command_id: int
    token: str
    payload: bytes | None = None


def held(tx: Transaction, sending: Sequence[Sending], now: datetime) -> set[int]:
    """Lock the commands whose lease is ours and has not run out, and that are needed. Returns their ids."""
    tokens = {one.command_id: one.token for one in sending}
    found = texts.read(tx, _held(is_sqlite=tx.is_sqlite), bulk.numbers(tokens) | {"now": now})
    return {row.id for row in found if row.lease_token == tokens[row.id]}


@cache
def _held(*, is_sqlite: bool) -> sa.Select[Any]:
    c = s.commands.c
    mine = (bulk.among(c.id, is_sqlite=is_sqlite), *_IS_HELD)
    return sa.select(c.id, c.lease_token).where(*mine).order_by(c.id).with_for_update()


def mark_sending(tx: Transaction, sending: Sequence[Sending], now: datetime, *, lease: timedelta = LEASE) -> set[int]:
    """Check for the last time before the calls that the leases are ours and the commands are needed (docs/rules.md 18).

    From here on the calls may have been sent, so `maybe_sent` and the payloads are stored now. The leases start again,
    so that they last longer than the calls. Returns the ids of the commands whose call may be made.
    """
    rows = [dict(id=one.command_id, token=one.token, payload=one.payload) for one in sending]
    return bulk.update_each(tx, _MARK_SENDING, rows, now=now, until=now + lease)


_IS_HELD: Final = (
    s.commands.c.lease_until > sa.bindparam("now", type_=s.Instant),
    sa.not_(s.commands.c.unwanted),
)


def _mark_sending(values: Any) -> sa.Update:
    c = s.commands.c
    mine = (c.id == values["id"], c.lease_token == values["token"], *_IS_HELD)
    payload, until = sa.func.coalesce(values["payload"], c.payload), sa.bindparam("until", type_=s.Instant)
    return sa.update(s.commands).where(*mine).values(maybe_sent=True, lease_until=until, payload=payload)


_MARK_SENDING: Final = bulk.Update(
    {"id": s.commands.c.id, "token": s.commands.c.lease_token, "payload": s.commands.c.payload},
    _mark_sending,
    s.commands.c.id,
)


@dataclass(frozen=True, slots=True)
class Release:
    """What the end of a try makes of the command's row: `settled` and `requeued` say what each value means."""

    command_id: int
    token: str
    state: CommandState
    outcome: str
    next_at: datetime | None = None  # None, as for `maybe_sent`: as it is stored
    maybe_sent: bool | None = None
    attempts: int = 0  # is added to the number of attempts


def settled(command_id: int, token: str, state: CommandState, outcome: str) -> Release:
    """End a command (docs/rules.md 15).

    A rejection clears `maybe_sent`, so that a later round may carry corrected values. That an earlier try may have
    taken effect stays known as a fact, `Rejection.maybe_there`.
    """
    maybe_sent = False if state is CommandState.REJECTED else None
    return Release(command_id, token, state, outcome, maybe_sent=maybe_sent)


def requeued(
    command_id: int, token: str, outcome: str, next_at: datetime, *, maybe_sent: bool, attempt_counts: bool
) -> Release:
    """Open a command again, due at `next_at`. If it is no longer due, it becomes obsolete instead."""
    attempts = 0 if attempt_counts else -1
    return Release(command_id, token, CommandState.OPEN, outcome, next_at, maybe_sent, attempts)


def release(tx: Transaction, releases: Sequence[Release]) -> set[int]:
    """End these leases. Returns the ids of the commands whose lease was still ours. Others were taken over."""
    rows = [
        dict(
            id=one.command_id,
            token=one.token,
            state=one.state,
            outcome=one.outcome,
            next_at=one.next_at,
            maybe_sent=one.maybe_sent,
            attempts=one.attempts,
        )
        for one in releases
    ]
    return bulk.update_each(tx, _RELEASE, rows)


def _release(values: Any) -> sa.Update:
    c = s.commands.c
    mine = (c.id == values["id"], c.lease_token == values["token"])  # only a leased command has a token
    ends = sa.and_(values["state"] == CommandState.OPEN, c.unwanted)
    return (
        sa.update(s.commands)
        .where(*mine)
        .values(
            lease_token=None,
            lease_until=None,
            unwanted=False,
            state=sa.case((ends, CommandState.OBSOLETE), else_=values["state"]),
            last_outcome=values["outcome"],
            next_at=sa.func.coalesce(values["next_at"], c.next_at),
            maybe_sent=sa.func.coalesce(values["maybe_sent"], c.maybe_sent),
            attempts=c.attempts + values["attempts"],
        )
    )


_RELEASE: Final = bulk.Update(
    dict(
        id=s.commands.c.id,
        token=s.commands.c.lease_token,
        state=s.commands.c.state,
        outcome=s.commands.c.last_outcome,
        next_at=s.commands.c.next_at,
        maybe_sent=s.commands.c.maybe_sent,
        attempts=s.commands.c.attempts,
    ),
    _release,
    s.commands.c.id,
)


# -- Orders that an earlier version imported ---------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class StoredPayload:
    """What a round of an import sent, or would have sent."""

    command_id: int
    order_id: str
    opened_at: datetime
    payload: bytes
    round: int
    attempts: int
    facts: str  # of the order, as JSON


#: Of a payload, which hold the order's external_ref.
_FIRST_BYTES: Final = 400


def newest_payloads(tx: Transaction, order_keys: Collection[int]) -> dict[int, bytes]:
    """Return the newest payload of an import of each of these orders that has one, by the key of the order."""
    c = s.commands.c
    mine = sa.select(c.order_key, c.payload).where(c.order_key.in_(sorted(order_keys)), c.payload.is_not(None))
    rows = tx.execute(mine.order_by(c.id)) if order_keys else ()
    return {row.order_key: row.payload for row in rows}


def payloads_in_oms(
    store: Store, shop: str, beginnings: Callable[[str], Collection[bytes]]
) -> Generator[tuple[str, bytes], None, None]:
    """Yield the newest payload of each order of a shop that the OMS has or may have and that is not shipped at Mirakl,
    with the order's id, unless the payload begins with one of the `beginnings` of this id.

    Of the other payloads only the first bytes are read, and those of a few orders at a time are in memory.
    """
    c, o = s.commands.c, s.orders.c

    def found(states: Collection[State], *wanted: sa.ColumnElement[bool]) -> sa.Select[Any]:
        def newest(column: sa.ColumnElement[Any]) -> sa.ScalarSelect[Any]:  # no join: PostgreSQL would read every call
            mine = sa.select(column).where(c.order_key == o.id, c.kind == CommandKind.IMPORT, c.payload.is_not(None))
            return mine.where(*wanted).order_by(c.id.desc()).limit(1).correlate(s.orders).scalar_subquery()

        first = sa.func.substr(c.payload, 1, _FIRST_BYTES, type_=sa.LargeBinary)
        return sa.select(o.order_id, newest(c.id), newest(first)).where(o.shop == shop, o.state.in_(states))

    with store.reading() as connection:
        few_at_once = connection.execution_options(yield_per=1000)
        for orders in (found((State.IMPORTED, State.DISPATCHED)), found((State.SHIPPING,), c.maybe_sent)):
            for order_id, command_id, begins in few_at_once.execute(orders):
                if begins is not None and not bytes(begins).startswith(tuple(beginnings(order_id))):
                    yield order_id, connection.scalars(sa.select(c.payload).where(c.id == command_id)).one()


def payloads_without_handover(store: Store, shop: str) -> list[StoredPayload]:
    """Return each stored payload of every open order of a shop whose facts do not say what an import sent.

    Earlier versions of orderflow stored no such fact (facts.Handover).
    """
    c, o = s.commands.c, s.orders.c
    statement = (
        sa.select(c.id, o.order_id, c.opened_at, c.payload, c.round, c.attempts, o.facts)
        .join(s.orders, o.id == c.order_key)
        .where(o.shop == shop, s.is_open(o))
        .where(c.kind == CommandKind.IMPORT, c.payload.is_not(None), o.facts.not_like('%"handovers":[%'))
        .order_by(c.id)
    )
    with store.reading() as connection:
        return [StoredPayload(*row) for row in connection.execute(statement)]


# -- Reads for people --------------------------------------------------------------------------------------------


def of_order(store: Store, order_key: int) -> list[CommandRow]:
    """Return every command of one order, the oldest first."""
    c = s.commands.c
    with store.reading() as connection:
        rows = connection.execute(sa.select(*COLUMNS).where(c.order_key == order_key).order_by(c.id))
        return [CommandRow(*row) for row in rows]
