"""What a person can do with a shop: pause and resume its effects, and compare it with Mirakl.

Each pause and each resumption is audited.
"""

from collections.abc import Callable, Collection
from datetime import timedelta
from typing import Final

from adapters.errors import RemoteError
from adapters.ports import Catalog, Clock
from adapters.remotes.mirakl_account import MiraklAccount
from adapters.remotes.mirakl_carriers import registered
from adapters.store import audit as audit_rows
from adapters.store import backlog as backlog_rows
from adapters.store import budgets as budget_rows
from adapters.store import shops as shop_rows
from adapters.store.backlog import Backlog
from adapters.store.budgets import BudgetWindow
from adapters.store.shops import WRONG_ACCOUNT, ShopRow, Switches
from adapters.store.transaction import Store, Transaction
from consumer.config.shops import ShopTable
from consumer.operations.errors import NotPossible, require_reason, require_shop
from consumer.operations.pauses import Pause, read_pauses
from consumer.polling import account_check
from consumer.polling.account_check import Checked, TooSoon, mirakl_account
from consumer.polling.account_compare import Finding, of_failure
from statemachine.commands import Group

_GROUPS: Final = tuple(Group)
#: The carriers are checked once a day (docs/mirakl.md 3). The workers also read them, and do not use this budget.
SH21_BUDGET: Final = BudgetWindow("SH21", timedelta(days=1), 1)


def require(store: Store, shop: str) -> None:
    """Raise NotPossible if the store does not know the shop. `orderflow run` writes each shop of the configuration."""
    require_shop(shop, [one.name for one in shop_rows.list_all(store)])


def pause(store: Store, clock: Clock, shop: str, *, only: str | None, who: str, why: str) -> ShopRow:
    """Pause the effects of a shop, or `only` one group of them. The shop is still read, and its orders are decided.

    Returns the shop as it is after that. Raises NotPossible for a shop that the store does not know.
    """
    require_reason(why)
    with store.transaction() as tx:
        before = _lock_switches(tx, shop)
        shop_rows.set_switches(tx, shop, paused={*before.paused, *_groups(only)})
        audit_rows.add(tx, who=who, act="pause", subject=_subject(shop, only), why=why, at=clock.now())
    return _shop(store, shop)


def paused_already(store: Store, shop: str, only: str | None, configured: str | None) -> tuple[list[Pause], bool]:
    """The pauses of what a person wants to pause, and whether nothing of it is left to pause."""
    row = _shop(store, shop)
    found = read_pauses(store, [row], {shop: configured}).get(shop, [])
    wanted = set(_groups(only))
    is_all = not row.effects or wanted <= {*row.paused}
    return [one for one in found if not row.effects or not wanted.isdisjoint(one.groups)], is_all


def resume(
    store: Store, clock: Clock, shop: str, *, only: str | None, who: str, why: str, configured: str | None
) -> ShopRow:
    """Resume the effects of a shop, or `only` one group of them. A new shop, with its effects off, is switched on.

    The mark of a wrong account (WRONG_ACCOUNT) ends only if every effect is resumed.

    `configured` is `effects` in the shop's configuration: "on", "off", or None if it is not set. Returns the shop as it
    is after that. Raises NotPossible for a shop that the store does not know, or that the configuration switches off,
    and for `only` one group of a shop whose key belongs to another shop.
    """
    if configured == "off":
        raise NotPossible(f'shops.{shop}.effects is "off" in the configuration: take the line out or set it to "on"')
    require_reason(why)
    with store.transaction() as tx:
        before = _lock_switches(tx, shop)
        if only and WRONG_ACCOUNT in before.paused:
            raise NotPossible(f"the key of {shop} belongs to another shop: correct it, then resume without --only")
        paused = set(before.paused if before.effects else _GROUPS) - {*_groups(only), WRONG_ACCOUNT}
        shop_rows.set_switches(tx, shop, paused=paused, effects=True)
        audit_rows.add(tx, who=who, act="resume", subject=_subject(shop, only), why=why, at=clock.now())
    return _shop(store, shop)


def check(store: Store, clock: Clock, name: str, table: ShopTable, client: MiraklAccount) -> Checked:
    """Compare the account with the configuration. If it is another shop's, the effects are paused.

    Raises ConfigError, and NotPossible if the last read failed and Mirakl does not allow another yet. Its text says
    when Mirakl does.
    """
    try:
        return account_check.check(store, clock, name, table, client)
    except TooSoon as error:
        raise NotPossible(f"{name}: {error}, and the last read of the account failed") from error


def check_carriers(
    store: Store, clock: Clock, name: str, table: ShopTable, catalog: Callable[[], Catalog]
) -> list[Finding]:
    """Read the marketplace's carriers (SH21) and look for each carrier of the shop's map among them.

    A shop without a map is not checked. Raises NotPossible if Mirakl does not allow the call yet.
    """
    if not table.carriers:
        return []
    with store.transaction() as tx:
        account = mirakl_account(table.endpoint, table.shop_id)
        ends_at = budget_rows.spend(tx, account, (SH21_BUDGET,), clock.now())
        if ends_at is not None:
            raise NotPossible(f"{name}: {TooSoon('SH21', ends_at)}")
    try:
        found = catalog()
    except RemoteError as error:
        return [of_failure(error)]
    if not found.carriers:
        cure = "the map `carriers` is not checked; a key without PARTNER_SHIPPING_SETTINGS_READ cannot read carriers"
        return [Finding("SH21", "no carriers", cure, wrong=False)]
    cure = "write a code or a label of SH21" + (", or leave it: it goes out as free text" * found.alternative_carriers)
    return [
        Finding("carriers", f"{ours} = {theirs}", cure, wrong=not found.alternative_carriers)
        for ours, theirs in table.carriers.items()
        if registered(theirs, found) is None
    ]


def waiting_calls(store: Store, clock: Clock, shop: str, only: str | None) -> list[Backlog]:
    """The calls of a shop that wait, by kind: those that a resumption lets go out. `only`: of one group of effects."""
    found = backlog_rows.backlogs(store, clock.now())
    return [one for one in found if one.shop == shop and one.kind.group in _groups(only)]


def _lock_switches(tx: Transaction, shop: str) -> Switches:
    """The shop's switches. Its row stays locked until the end of the transaction, so no other change is lost."""
    found = shop_rows.lock_switches(tx, shop)
    if found is None:
        raise NotPossible(f"there is no shop {shop}")
    return found


def _shop(store: Store, name: str) -> ShopRow:
    return next(shop for shop in shop_rows.list_all(store) if shop.name == name)


def _groups(only: str | None) -> Collection[str]:
    return (only,) if only else _GROUPS


def _subject(shop: str, only: str | None) -> str:
    return f"{shop} {only}" if only else shop
