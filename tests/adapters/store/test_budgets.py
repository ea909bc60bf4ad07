"""Budgets: all workers together make no more calls than an account may."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

from adapters.store import budgets as budget_rows
from adapters.store.budgets import BudgetWindow
from adapters.store.transaction import Store
from tests.adapters.store.support import NOW, later
from tests.support import Meanwhile, OpenStore

HOUR, DAY = timedelta(hours=1), timedelta(days=1)


def spend(store: Store, budget: Sequence[BudgetWindow], now: Any = NOW, account: str = "oms:1") -> Any:
    """Spend one call. Returns None, or when the exhausted window ends."""
    with store.transaction() as tx:
        return budget_rows.spend(tx, account, budget, now)


def used(store: Store, budget: Sequence[BudgetWindow], now: datetime) -> dict[tuple[str, str], int]:
    return budget_rows.used(store, [("oms:1", one) for one in budget], now)


def test_of_several_calls_as_many_are_counted_as_every_window_has_left(store: Store) -> None:
    budget = [BudgetWindow("hour", HOUR, 5), BudgetWindow("day", DAY, 7)]
    with store.transaction() as tx:
        assert budget_rows.take(tx, "oms:1", budget, 3, NOW) == (3, None)
        assert budget_rows.take(tx, "oms:1", budget, 3, NOW) == (2, NOW + HOUR)
        assert budget_rows.take(tx, "oms:1", budget, 3, NOW + HOUR) == (2, NOW + DAY)
        assert budget_rows.take(tx, "oms:1", [], 3, NOW) == (3, None)
    assert used(store, budget, NOW + HOUR) == {("oms:1", "hour"): 2, ("oms:1", "day"): 7}


def test_an_exhausted_budget_returns_when_it_ends_and_counts_no_further(open_store: OpenStore) -> None:
    one, other = open_store(), open_store()
    budget = [BudgetWindow("hour", HOUR, 3)]
    assert [spend(each, budget, later(n)) for n, each in enumerate((one, other, one))] == [None] * 3
    assert [spend(each, budget, later(60)) for each in (one, other)] == [NOW + HOUR] * 2
    assert used(one, budget, later(60)) == {("oms:1", "hour"): 3}


def test_each_account_has_a_budget_of_its_own(store: Store) -> None:
    budget = [BudgetWindow("hour", HOUR, 1)]
    assert [spend(store, budget, account=account) for account in ("oms:1", "oms:2", "oms:1")] == [
        None,
        None,
        NOW + HOUR,
    ]


def test_a_window_that_a_clock_a_day_ahead_began_is_over(store: Store) -> None:
    budget = [BudgetWindow("hour", HOUR, 1)]
    assert spend(store, budget, NOW + DAY) is None
    with store.transaction() as tx:
        assert budget_rows.spent_until(tx, "oms:1", budget, NOW) is None
    assert used(store, budget, NOW) == {}, "orderflow_budget_left shows what may be called"
    assert spend(store, budget) is None
    assert spend(store, budget) == NOW + HOUR
    with store.transaction() as tx:
        assert budget_rows.spent_until(tx, "oms:1", budget, NOW) == NOW + HOUR


def test_the_next_window_begins_with_its_first_call(store: Store) -> None:
    budget = [BudgetWindow("hour", HOUR, 2)]
    for now in (NOW, NOW, NOW + HOUR + timedelta(minutes=5)):
        assert spend(store, budget, now) is None
    assert used(store, budget, later(4000)) == {("oms:1", "hour"): 1}
    assert spend(store, budget, NOW + HOUR + timedelta(minutes=6)) is None
    assert spend(store, budget, NOW + HOUR + timedelta(minutes=7)) == NOW + 2 * HOUR + timedelta(minutes=5)


def test_a_window_is_over_exactly_at_its_end(store: Store) -> None:
    budget = [BudgetWindow("hour", HOUR, 1)]
    spend(store, budget)
    assert spend(store, budget, later(3599.999)) == NOW + HOUR
    assert used(store, budget, NOW + HOUR) == {}
    assert spend(store, budget, NOW + HOUR) is None


def test_an_exhausted_day_takes_no_call_from_the_hour(store: Store) -> None:
    budget = [BudgetWindow("hour", HOUR, 5), BudgetWindow("day", DAY, 2)]
    assert [spend(store, budget) for _ in range(3)] == [None, None, NOW + DAY]
    assert used(store, budget, NOW) == {("oms:1", "hour"): 2, ("oms:1", "day"): 2}


def test_many_workers_together_never_exceed_a_budget(open_store: OpenStore) -> None:
    each = [open_store(), open_store()]
    budget = [BudgetWindow("hour", HOUR, 30), BudgetWindow("day", DAY, 25)]
    workers = [Meanwhile(lambda: [spend(each[k], budget) for k in (0, 1) * 5]) for _ in range(4)]
    outcomes = [ends_at for one in workers for ends_at in one.result()]
    assert outcomes.count(None) == 25
    assert outcomes.count(NOW + DAY) == 15
    assert used(each[0], budget, NOW)["oms:1", "day"] == 25
