"""What a person can do with a shop: pause its effects and resume them. Both are audited."""

from collections.abc import Collection
from typing import Final

from adapters.ports import Clock
from adapters.store import audit as audit_rows
from adapters.store import shops as shop_rows
from adapters.store.shops import ShopRow, Switches
from adapters.store.transaction import Store, Transaction
from consumer.operations.errors import NotPossible, require_reason
from statemachine.commands import Group

_GROUPS: Final = tuple(Group)


def pause(store: Store, clock: Clock, shop: str, *, only: str | None, who: str, why: str) -> ShopRow:
    """Pause the effects of a shop, or `only` one group of them. The shop is still read, and its orders are decided.

    Returns the shop as it is then. Raises NotPossible for a shop that the store does not know.
    """
    require_reason(why)
    with store.transaction() as tx:
        before = _lock_switches(tx, shop)
        shop_rows.set_switches(tx, shop, paused={*before.paused, *_groups(only)})
        audit_rows.add(tx, who=who, act="pause", subject=_subject(shop, only), why=why, at=clock.now())
    return _shop(store, shop)


def resume(
    store: Store, clock: Clock, shop: str, *, only: str | None, who: str, why: str, configured: str | None
) -> ShopRow:
    """Resume the effects of a shop, or `only` one group of them. A new shop, with its effects off, is switched on.

    `configured` is `effects` in the shop's configuration: "on", "off", or None if it is not set. Returns the shop as it
    is then. Raises NotPossible for a shop that the store does not know, or that the configuration switches off.
    """
    if configured == "off":
        raise NotPossible(f'shops.{shop}.effects is "off" in the configuration: take the line out or set it to "on"')
    require_reason(why)
    with store.transaction() as tx:
        before = _lock_switches(tx, shop)
        paused = set(before.paused if before.effects else _GROUPS) - set(_groups(only))
        shop_rows.set_switches(tx, shop, paused=paused, effects=True)
        audit_rows.add(tx, who=who, act="resume", subject=_subject(shop, only), why=why, at=clock.now())
    return _shop(store, shop)


def _lock_switches(tx: Transaction, shop: str) -> Switches:
    """The shop's switches. Its row stays locked until the end of the transaction, so no other change is lost."""
    found = shop_rows.lock_switches(tx, shop)
    if found is None:
        raise NotPossible(f"the store knows no shop {shop}: `orderflow run` makes it known")
    return found


def _shop(store: Store, name: str) -> ShopRow:
    return next(shop for shop in shop_rows.list_all(store) if shop.name == name)


def _groups(only: str | None) -> Collection[str]:
    return (only,) if only else _GROUPS


def _subject(shop: str, only: str | None) -> str:
    return f"{shop} {only}" if only else shop
