"""What a person can do with a shop: pause its effects and resume them. Both are audited."""

from collections.abc import Collection
from typing import Final

from adapters.errors import RemoteError
from adapters.ports import Clock
from adapters.remotes.mirakl_account import MiraklAccount
from adapters.store import audit as audit_rows
from adapters.store import shops as shop_rows
from adapters.store.shops import WRONG_ACCOUNT, ShopRow, Switches
from adapters.store.transaction import Store, Transaction
from consumer.account_check import Finding, TooSoon, compare, is_another_shop, of_failure, read_account, stop_effects
from consumer.config import ShopTable
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
        if only is None:
            paused.discard(WRONG_ACCOUNT)
        shop_rows.set_switches(tx, shop, paused=paused, effects=True)
        audit_rows.add(tx, who=who, act="resume", subject=_subject(shop, only), why=why, at=clock.now())
    return _shop(store, shop)


def check(store: Store, clock: Clock, name: str, table: ShopTable, client: MiraklAccount) -> list[Finding]:
    """Read the shop's account and compare it with the configuration. Another shop's account pauses the effects.

    Raises NotPossible if Mirakl does not allow the call yet, with the instant when it does; ConfigError.
    """
    try:
        account = read_account(store, clock, table.endpoint, table.shop_id, client)
    except TooSoon as error:
        raise NotPossible(f"{name}: {error}") from error
    except RemoteError as error:
        return [of_failure(error)]
    if is_another_shop(account, table.shop_id):
        stop_effects(store, clock, name, account["shop_id"], table.shop_id)
    return compare(account, table.shop_id, clock.now())


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
