"""Counts of what is stored, as the gauges of the metrics read them."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Final

import sqlalchemy as sa

from adapters.store import schema as s
from adapters.store.attention_json import attention_from_json
from adapters.store.transaction import Store
from statemachine.states import State

#: The states in which an order waits for something. A shipped order waits for nothing, as a refused or canceled one.
LIVE_STATES: Final = tuple(state for state in State if not state.is_at_its_end)


@dataclass(frozen=True, slots=True)
class Waiting:
    """How many orders, commands or records wait, and since when the oldest of them has waited."""

    count: int = 0
    oldest: datetime | None = None


@dataclass(frozen=True, slots=True)
class StoredCounts:
    """Counts of what is stored. All of them show the same moment."""

    in_state: Mapping[tuple[str, str], Waiting]  # by shop and state; waiting since the order entered it
    attention: Mapping[tuple[str, str], Waiting]  # by shop and reason
    commands: Mapping[tuple[str, str], Waiting]  # open or leased, by shop and kind; waiting since it was opened
    dead_letters: Mapping[tuple[str, str], int]  # open, by source and reason
    outbox: Mapping[str, Waiting]  # not published yet, by topic


def unconfigured(counts: StoredCounts, shops: Collection[str]) -> dict[tuple[str, str], Waiting]:
    """The open orders of shops that are not among `shops`, the configured ones, by shop and state.

    Nothing polls, plans or calls for them, and no decision about them is possible. Orders that only the OMS knew are
    left out: nothing is owed of them.
    """
    return {
        (shop, state): waiting
        for (shop, state), waiting in counts.in_state.items()
        if shop not in shops and state != State.NEW
    }


def stored_counts(store: Store) -> StoredCounts:
    """Count what waits. `in_state` leaves out shipped, refused and canceled orders. The other counts include theirs."""
    with store.reading() as connection:
        return StoredCounts(
            in_state=_in_state(connection),
            attention=_attention(connection),
            commands=_commands(connection),
            dead_letters=_dead_letters(connection),
            outbox=_outbox(connection),
        )


def _how_many() -> sa.Label[int]:
    return sa.func.count().label("how_many")


def _oldest(column: sa.Column[datetime]) -> sa.Label[datetime]:
    return sa.func.min(column, type_=s.Instant).label("oldest")


def _in_state(connection: sa.Connection) -> dict[tuple[str, str], Waiting]:
    """The conditions on shops and states let the index find the open orders. Else it would be read whole."""
    c = s.orders.c
    shops = connection.execute(sa.select(s.shops.c.name)).scalars().all()
    statement = (
        sa.select(c.shop, c.state, _how_many(), _oldest(c.entered_at))
        .where(c.shop.in_(shops), c.state.in_(LIVE_STATES))
        .group_by(c.shop, c.state)
    )
    return {(row.shop, row.state): Waiting(row.how_many, row.oldest) for row in connection.execute(statement)}


def _attention(connection: sa.Connection) -> dict[tuple[str, str], Waiting]:
    c = s.orders.c
    found: dict[tuple[str, str], Waiting] = {}
    for row in connection.execute(sa.select(c.shop, c.attention).where(s.needs_attention(c))):
        for one in attention_from_json(row.attention):
            before = found.get((row.shop, one.reason), Waiting())
            found[row.shop, one.reason] = Waiting(before.count + 1, min(before.oldest or one.since, one.since))
    return found


def _commands(connection: sa.Connection) -> dict[tuple[str, str], Waiting]:
    """A command that an earlier version opened may name no shop yet: its shop is ""."""
    c = s.commands.c
    shop = sa.func.coalesce(c.shop, "").label("shop")
    statement = sa.select(shop, c.kind, _how_many(), _oldest(c.opened_at)).where(s.is_live(c)).group_by(shop, c.kind)
    return {(row.shop, row.kind): Waiting(row.how_many, row.oldest) for row in connection.execute(statement)}


def _dead_letters(connection: sa.Connection) -> dict[tuple[str, str], int]:
    c = s.dead_letters.c
    statement = (
        sa.select(c.source, c.reason, _how_many()).where(c.state == s.DeadLetterState.OPEN).group_by(c.source, c.reason)
    )
    return {(row.source, row.reason): row.how_many for row in connection.execute(statement)}


def _outbox(connection: sa.Connection) -> dict[str, Waiting]:
    c = s.outbox.c
    statement = sa.select(c.aggregatetype, _how_many(), _oldest(c.created_at)).group_by(c.aggregatetype)
    return {row.aggregatetype: Waiting(row.how_many, row.oldest) for row in connection.execute(statement)}
