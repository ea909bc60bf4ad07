"""The switches of a shop's effects, by hand; each is audited."""

from collections.abc import Collection
from typing import Final

from adapters.ports import Clock
from adapters.store import audit as audit_rows
from adapters.store import shops as shop_rows
from adapters.store.shops import ShopRow, Switches
from adapters.store.transaction import Store, Transaction
from consumer.operations.orders import NotPossible, needs_words
from statemachine.commands import Group

#: The groups of effects that `--only` names.
GROUPS: Final = tuple(Group)


# -- Shops -------------------------------------------------------------------------------------------------------


def pause(store: Store, clock: Clock, shop: str, *, only: str | None, who: str, why: str) -> ShopRow:
    """Let the shop's effects rest, or one group of them. It goes on to read, decide and show."""
    needs_words(why)
    with store.transaction() as tx:
        before = _switches(tx, shop)
        shop_rows.set_switches(tx, shop, paused={*before.paused, *_groups(only)})
        audit_rows.add(tx, who=who, act="pause", subject=_subject(shop, only), why=why, at=clock.now())
    return _shop(store, shop)


def resume(
    store: Store, clock: Clock, shop: str, *, only: str | None, who: str, why: str, configured: str | None
) -> ShopRow:
    """Let them go on. `configured` is the file's `effects`: "on", "off", or None where it has no such line.

    A shop first seen without the line began with its effects off: this switches them on.
    """
    if configured == "off":
        raise NotPossible(f'shops.{shop}.effects is "off" in the configuration: take the line out or set it to "on"')
    needs_words(why)
    with store.transaction() as tx:
        before = _switches(tx, shop)
        paused = set(before.paused if before.effects else GROUPS) - set(_groups(only))
        shop_rows.set_switches(tx, shop, paused=paused, effects=True)
        audit_rows.add(tx, who=who, act="resume", subject=_subject(shop, only), why=why, at=clock.now())
    return _shop(store, shop)


def _switches(tx: Transaction, shop: str) -> Switches:
    """Its row stays locked to the end of the transaction, so that nobody's change in between is lost."""
    found = shop_rows.lock_switches(tx, shop)
    if found is None:
        raise NotPossible(f"the store knows no shop {shop}: `orderflow run` makes it known")
    return found


def _shop(store: Store, name: str) -> ShopRow:
    return next(shop for shop in shop_rows.list_all(store) if shop.name == name)


def _groups(only: str | None) -> Collection[str]:
    return (only,) if only else GROUPS


def _subject(shop: str, only: str | None) -> str:
    return f"{shop} {only}" if only else shop
