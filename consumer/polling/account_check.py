"""Compares a shop's account at Mirakl (A01) with the configuration, at most once a day (docs/mirakl.md 3, 5.1).

The account holds personal data and bank data. Nothing here stores or logs any of it.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any, Final

import structlog

from adapters.errors import OrderflowError, RemoteError
from adapters.ports import Clock
from adapters.remotes.mirakl_account import MiraklAccount, Platform
from adapters.store import audit as audit_rows
from adapters.store import budgets as budget_rows
from adapters.store import order_lists
from adapters.store import shops as shop_rows
from adapters.store.budgets import BudgetWindow
from adapters.store.shops import WRONG_ACCOUNT
from adapters.store.transaction import Store
from consumer.config.shops import ShopTable
from consumer.polling.account_compare import Finding, compare, is_another_shop, of_failure
from statemachine.commands import Group

log = structlog.get_logger("orderflow.account")

#: Mirakl allows one call of A01 a day (docs/mirakl.md 3). Calls of every process count, also those that failed.
A01_BUDGET: Final = BudgetWindow("A01", timedelta(days=1), 1)
_NEWEST_ORDERS: Final = 100  # of which a check looks at the payment workflow


#: What is stored of the account, and shown in this order. Nothing else of A01's answer is.
_STORED: Final = (
    "shop_id",
    "shop_name",
    "shop_state",
    "suspension_type",
    "closed_from",
    "closed_to",
    "currency_iso_code",
    "model",
    "channels",
    "domains",
    "is_professional",
    "premium",
    "free_shipping",
    "payment_method_mandatory",
    "shipping_country",
    "date_created",
    "last_updated_date",
    "orders_count",
    "offers_count",
    "evaluations_count",
    "approval_rate",
    "approval_delay",
    "order_messages_response_delay",
    "grade",
    "description",
    "return_policy",
    "recycling_policy",
)
#: The same of objects inside the account: the name, the object and its field.
_STORED_INSIDE: Final = (
    ("kyc_status", "kyc", "status"),
    ("lead_time_to_ship", "shipping", "lead_time_to_ship"),
    ("web_site", "contact_informations", "web_site"),
)


class TooSoon(OrderflowError):
    """Mirakl allows this call (A01, A02 or SH21) once a day, and not before `ends_at`."""

    def __init__(self, operation: str, ends_at: datetime) -> None:
        super().__init__(f"{operation} is possible again at {ends_at:%Y-%m-%d %H:%M:%S} UTC: Mirakl allows one a day")
        self.ends_at = ends_at


def mirakl_account(endpoint: str, shop_id: int) -> str:
    """The name of a shop's account at Mirakl in the store's budgets."""
    return f"mirakl:{endpoint}:{shop_id}"


def read_account(store: Store, clock: Clock, endpoint: str, shop_id: int, client: MiraklAccount) -> dict[str, Any]:
    """Read the account, if Mirakl allows the call now, and store it for `shops account show --stored`.

    Raises TooSoon, RemoteError, ConfigError, StoreUnavailable.
    """
    with store.transaction() as tx:
        ends_at = budget_rows.spend(tx, mirakl_account(endpoint, shop_id), (A01_BUDGET,), clock.now())
        if ends_at is not None:
            raise TooSoon("A01", ends_at)
    account = client.read()
    if not is_another_shop(account, shop_id):
        with store.transaction() as tx:
            shop_rows.set_account(tx, endpoint, shop_id, json.dumps(without_personal_data(account)), clock.now())
    return account


def without_personal_data(account: Mapping[str, Any]) -> dict[str, Any]:
    """What is stored and shown of an answer of A01."""
    kept = {field: account.get(field) for field in _STORED}
    for name, outer, inner in _STORED_INSIDE:
        found = account.get(outer)
        kept[name] = found.get(inner) if isinstance(found, dict) else None
    return kept


def stop_effects(store: Store, clock: Clock, shop: str, found: object, shop_id: int) -> None:
    """Pause every effect of a shop whose key belongs to another shop, until a person resumes it."""
    with store.transaction() as tx:
        switches = shop_rows.lock_switches(tx, shop)
        if switches is None or {*Group, WRONG_ACCOUNT} <= set(switches.paused):
            return
        shop_rows.set_switches(tx, shop, paused={*switches.paused, *Group, WRONG_ACCOUNT})
        why = f"A01 shows shop {found}, the configuration says {shop_id}"
        audit_rows.add(tx, who="orderflow", act="pause", subject=shop, why=why, at=clock.now())


@dataclass(frozen=True, slots=True)
class Checked:
    """What a check found. With `again_at` Mirakl allows no A01 before this instant, so the read of `read_at` counts."""

    findings: list[Finding]
    read_at: datetime | None = None
    again_at: datetime | None = None


def check(store: Store, clock: Clock, shop: str, table: ShopTable, client: MiraklAccount) -> Checked:
    """Compare the account with the configuration. If it is another shop's, every effect of the shop is paused.

    If Mirakl allows no read of the account now, the read of the last 24 hours counts. Raises TooSoon if it failed, and
    ConfigError, StoreUnavailable. A read that Mirakl refuses is a finding.
    """
    read_at = again_at = None
    try:
        account = read_account(store, clock, table.endpoint, table.shop_id, client)
    except TooSoon as error:
        again_at = error.ends_at
        if _is_known_as_anothers(store, shop):
            cure = "correct shop_id, or use the key of that shop, then `shops resume`"
            return Checked([Finding("shop_id", "another shop's", cure)], again_at=again_at)
        stored = shop_rows.account(store, shop)
        if stored is None or clock.now() - stored[0] > A01_BUDGET.length:
            raise
        read_at, account = stored[0], json.loads(stored[1])
    except RemoteError as error:
        return Checked([of_failure(error)])
    if is_another_shop(account, table.shop_id):
        stop_effects(store, clock, shop, account["shop_id"], table.shop_id)
        log.error("wrong_account", shop=shop, found=account["shop_id"], configured=table.shop_id)
    platform, unread = _platform(client)
    found = compare(account, table, clock.now(), platform, _workflows_of_orders(store, shop))
    return Checked(found + unread, read_at, again_at)


def _is_known_as_anothers(store: Store, shop: str) -> bool:
    """Whether a read of the account before showed another shop."""
    return any(WRONG_ACCOUNT in one.paused for one in shop_rows.list_all(store) if one.name == shop)


def _platform(client: MiraklAccount) -> tuple[Platform | None, list[Finding]]:
    """Read PC01. A key that is refused now is wrong, also if the account was read with the key before it. Anything else
    is a fault of this read alone: A01 was answered."""
    try:
        return client.platform(), []
    except RemoteError as error:
        if error.status == 404:
            cure = "this Mirakl has no PC01: host and payment workflow are not compared"
            return None, [Finding(error.operation, error.outcome, cure, wrong=False)]
        return None, [replace(of_failure(error), wrong=error.status == 401)]


def _workflows_of_orders(store: Store, shop: str) -> dict[str, str]:
    """The payment workflows of the shop's newest orders, each with an order that has it."""
    shown: dict[str, str] = {}
    for row in order_lists.latest(store, shop=shop, limit=_NEWEST_ORDERS):
        if row.facts.snapshot is not None and row.facts.snapshot.workflow:
            shown.setdefault(row.facts.snapshot.workflow, row.order_id)
    return shown


class AccountCheck:
    """The check that a process makes once for each shop, before its first poll of the shop. One thread calls `run`."""

    def __init__(self, shop: str, table: ShopTable, client: MiraklAccount, *, store: Store, clock: Clock) -> None:
        self._shop = shop
        self._table = table
        self._client = client
        self._store = store
        self._clock = clock
        self._is_done = False

    def run(self) -> bool:
        """Check the account the first time, and log what is found. Returns whether this was the first time.

        If any process called A01 in the last 24 hours, its answer counts. Raises StoreUnavailable, ConfigError.
        """
        if self._is_done:
            return False
        self._is_done = True  # set before the call: a check that fails must not keep the shop from being polled
        try:
            checked = check(self._store, self._clock, self._shop, self._table, self._client)
        except TooSoon:
            return True
        for one in checked.findings:
            if one.field in ("A01", "PC01"):
                log.warning("account_not_read", shop=self._shop, operation=one.field, found=one.found, cure=one.cure)
            else:
                log.warning("account_differs", shop=self._shop, field=one.field, found=one.found, cure=one.cure)
        return True
