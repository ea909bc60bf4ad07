"""What the worker needs of a shop, and the budget of its account at the OMS, which all workers share."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

import structlog

from adapters.ports import Marketplace, Oms
from adapters.store import budgets as budget_rows
from adapters.store.budgets import BudgetWindow
from adapters.store.transaction import Transaction
from consumer.calling.accounts import AccountKey, Accounts
from statemachine.commands import Remote

log = structlog.get_logger("orderflow.worker")


@dataclass(frozen=True, slots=True)
class Shop:
    """What the worker needs of a shop: a client for each remote, and the calls that the OMS allows."""

    name: str
    mirakl: Marketplace
    oms: Oms
    company_ref_id: int
    oms_budget: tuple[BudgetWindow, ...] = ()  # shared by all workers


class BudgetSpent(Exception):
    """The account may make no more calls until `ends_at`."""

    def __init__(self, account: AccountKey, ends_at: datetime) -> None:
        super().__init__(account)
        self.account = account
        self.ends_at = ends_at


def oms_account(company_ref_id: int) -> str:
    """Return the name of an OMS account in the store's budgets. Two shops may share an account, and so its budget."""
    return f"oms:{company_ref_id}"


def windows_of(shop: Shop, remote: Remote) -> Sequence[BudgetWindow]:
    """The limits of the shop's account at this remote. Empty for Mirakl, whose calls the worker does not count."""
    return shop.oms_budget if remote is Remote.OMS else ()


def spend(tx: Transaction, shop: Shop, remote: Remote, calls: int, now: datetime) -> tuple[int, datetime | None]:
    """Take calls from the budget of the account. Returns how many of them it got; and, if not all, until when the
    budget is spent."""
    return budget_rows.take(tx, oms_account(shop.company_ref_id), windows_of(shop, remote), calls, now)


def pause_spent(accounts: Accounts, account: AccountKey, ends_at: datetime) -> None:
    """Pause an account whose budget is spent."""
    accounts.pause(account, ends_at, is_fault=False)
    log.info("budget_spent", shop=account.shop, system=account.remote, until=ends_at.isoformat())
