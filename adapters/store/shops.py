"""Shops: the account at Mirakl to which each name is bound, and the switches that turn its calls on or off."""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

import sqlalchemy as sa

from adapters.errors import ConfigError
from adapters.store import bulk, cursors
from adapters.store import schema as s
from adapters.store.transaction import Store, Transaction

#: This word is among the paused groups of a shop whose key belongs to another shop (consumer/polling/account_check.py).
WRONG_ACCOUNT: Final = "wrong-account"


@dataclass(frozen=True, slots=True)
class ShopRow:
    """One shop: its account, its switches, and how far its poll has come."""

    name: str
    endpoint: str
    shop_id: int
    effects: bool
    paused: tuple[str, ...]  # groups of effects
    polled_at: datetime | None
    watermark: datetime | None


@dataclass(frozen=True, slots=True)
class Switches:
    """Which calls (effects) of a shop are on. `effects` False: none. True: all except those of the paused groups."""

    effects: bool
    paused: tuple[str, ...]


def bind(tx: Transaction, name: str, endpoint: str, shop_id: int, *, effects: bool | None, now: datetime) -> None:
    """Bind a shop's name to its account.

    `effects` None: a stored shop keeps its switch, a new shop starts with effects off.

    Raises ConfigError if the account is bound to another name, because each of its orders would be imported twice.
    Raises ConfigError if the name is bound to another account and has orders. A name without orders is bound to the new
    account, because the first one was a typo.
    """
    c = s.shops.c
    new = dict(name=name, endpoint=endpoint, shop_id=shop_id, effects=bool(effects), first_seen_at=now)
    # If two processes start at once, the second one waits here for the first one's transaction, then finds its row.
    tx.execute(bulk.do_nothing(bulk.insert(tx, s.shops).values(**new)))
    account = (c.endpoint == endpoint, c.shop_id == shop_id, c.name != name)
    other = tx.execute(sa.select(c.name).where(*account)).scalar()
    if other is not None:
        raise ConfigError(f"shops.{name}: {endpoint} shop {shop_id} is called {other} in this store. Keep that name.")
    row = tx.execute(sa.select(s.shops).where(c.name == name).with_for_update()).one()
    if (row.endpoint, row.shop_id) != (endpoint, shop_id):
        if tx.execute(sa.select(s.orders.c.id).where(s.orders.c.shop == name).limit(1)).first() is not None:
            raise ConfigError(
                f"shops.{name} is bound to {row.endpoint} shop {row.shop_id} in this store, "
                f"and the configuration says {endpoint} shop {shop_id}. Give another account another name."
            )
        moved = dict(endpoint=endpoint, shop_id=shop_id, account=None, account_read_at=None)
        tx.execute(sa.update(s.shops).where(c.name == name).values(**moved))
        cursors.forget(tx, name)  # the new account is read from its beginning
    if effects is not None:
        tx.execute(sa.update(s.shops).where(c.name == name).values(effects=effects))


def lock_switches(tx: Transaction, shop: str) -> Switches | None:
    """Lock the shop's row and return its switches. None if there is no such shop."""
    row = tx.execute(sa.select(s.shops).where(s.shops.c.name == shop).with_for_update()).first()
    return None if row is None else Switches(row.effects, tuple(row.paused.split()))


def set_switches(tx: Transaction, shop: str, *, paused: Collection[str], effects: bool | None = None) -> None:
    """Set which groups of effects are paused. `effects` None: that switch stays as it is."""
    values: dict[str, Any] = {"paused": " ".join(sorted(paused))}
    if effects is not None:
        values["effects"] = effects
    tx.execute(sa.update(s.shops).where(s.shops.c.name == shop).values(**values))


def set_account(tx: Transaction, endpoint: str, shop_id: int, account: str, at: datetime) -> None:
    """Store the account as Mirakl showed it at `at`: JSON without personal data."""
    c = s.shops.c
    bound = sa.update(s.shops).where(c.endpoint == endpoint, c.shop_id == shop_id)
    tx.execute(bound.values(account=account, account_read_at=at))


def account(store: Store, shop: str) -> tuple[datetime, str] | None:
    """Return when the account of a shop was last read, and what `set_account` stored. None if it is not stored."""
    c = s.shops.c
    with store.reading() as connection:
        row = connection.execute(sa.select(c.account_read_at, c.account).where(c.name == shop)).first()
    return None if row is None or row.account is None else (row.account_read_at, row.account)


def mark_attempted(tx: Transaction, shops: Collection[str], before: datetime) -> None:
    """Store that an order that was created before this instant, and is not known, may have been imported."""
    marked = sa.update(s.shops).where(s.shops.c.name.in_(sorted(shops)))
    tx.execute(marked.values(attempted_before=before))


def attempted_before(tx: Transaction, shops: Collection[str]) -> dict[str, datetime]:
    """Return what `mark_attempted` stored, by shop."""
    c = s.shops.c
    found = sa.select(c.name, c.attempted_before).where(c.name.in_(sorted(shops)), c.attempted_before.is_not(None))
    return {row.name: row.attempted_before for row in tx.execute(found)}


def poll_begins(store: Store, shop: str, at: datetime) -> None:
    """Store that a poll of the shop begins at `at`. Raises StoreUnavailable."""
    with store.transaction() as tx:
        tx.execute(sa.update(s.shops).where(s.shops.c.name == shop).values(poll_began_at=at))


def poll_began_at(store: Store, shop: str) -> datetime | None:
    """Return when the last poll of the shop began, also one that failed. None if none has begun."""
    with store.reading() as connection:
        return connection.execute(sa.select(s.shops.c.poll_began_at).where(s.shops.c.name == shop)).scalar()


def list_all(store: Store) -> list[ShopRow]:
    """Return every shop, sorted by name."""
    statement = (
        sa.select(s.shops, s.cursors.c.succeeded_at, s.cursors.c.watermark)
        .join(s.cursors, s.cursors.c.shop == s.shops.c.name, isouter=True)
        .order_by(s.shops.c.name)
    )
    with store.reading() as connection:
        return [
            ShopRow(
                name=row.name,
                endpoint=row.endpoint,
                shop_id=row.shop_id,
                effects=row.effects,
                paused=tuple(row.paused.split()),
                polled_at=row.succeeded_at,
                watermark=row.watermark,
            )
            for row in connection.execute(statement)
        ]
