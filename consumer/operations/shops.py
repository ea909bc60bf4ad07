"""The switches of a shop's effects, by hand; each is audited."""

from collections.abc import Collection
from typing import Final

from adapters.ports import Clock
from adapters.store import views
from adapters.store.transaction import Store, Transaction
from adapters.store.views import ShopView
from consumer.operations.orders import NotPossible, needs_words
from statemachine.commands import Group

#: The groups of effects that `--only` names.
GROUPS: Final = tuple(Group)


# -- Shops -------------------------------------------------------------------------------------------------------


def pause(store: Store, clock: Clock, shop: str, *, only: str | None, who: str, why: str) -> ShopView:
    """Let the shop's effects rest, or one group of them. It goes on to read, decide and show."""
    needs_words(why)
    with store.transaction() as tx:
        _, resting = _switches(tx, shop)
        tx.switch(shop, paused={*resting, *_groups(only)})
        tx.add_audit(who, "pause", _subject(shop, only), why, clock.now())
    return _shop(store, shop)


def resume(
    store: Store, clock: Clock, shop: str, *, only: str | None, who: str, why: str, configured: str | None
) -> ShopView:
    """Let them go on. `configured` is the file's `effects`: "on", "off", or None where it has no such line.

    A shop first seen without the line began with its effects off: this switches them on.
    """
    if configured == "off":
        raise NotPossible(f'shops.{shop}.effects is "off" in the configuration: take the line out or set it to "on"')
    needs_words(why)
    with store.transaction() as tx:
        effects, resting = _switches(tx, shop)
        tx.switch(shop, paused=set(resting if effects else GROUPS) - set(_groups(only)), effects=True)
        tx.add_audit(who, "resume", _subject(shop, only), why, clock.now())
    return _shop(store, shop)


def _switches(tx: Transaction, shop: str) -> tuple[bool, tuple[str, ...]]:
    """Its row stays locked to the end of the transaction, so that nobody's change in between is lost."""
    found = tx.switches(shop)
    if found is None:
        raise NotPossible(f"the store knows no shop {shop}: `orderflow run` makes it known")
    return found


def _shop(store: Store, name: str) -> ShopView:
    return next(shop for shop in views.shops(store) if shop.name == name)


def _groups(only: str | None) -> Collection[str]:
    return (only,) if only else GROUPS


def _subject(shop: str, only: str | None) -> str:
    return f"{shop} {only}" if only else shop
