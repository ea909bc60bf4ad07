"""The budget of an OMS account, shared by all workers (docs/kornitx.md 2.2): no call is made beyond it."""

from datetime import timedelta
from pathlib import Path

import httpx
import pytest
import sqlalchemy as sa
from prometheus_client.exposition import generate_latest

from adapters.simulators.orders import COMPANIES
from adapters.store import schema as s
from adapters.store.budgets import BudgetWindow
from consumer.calling.budget import BudgetSpent, oms_account
from consumer.calling.worker import Worker
from consumer.metrics.recorder import Recorder
from consumer.metrics.stored import AccountBudget, StoredGauges
from tests.consumer.rig import ALPHA_MIRAKL, ALPHA_OMS, Rig
from tests.support import LONG

HOUR = timedelta(hours=1)
BUDGET = (BudgetWindow("hour", HOUR, 3), BudgetWindow("day", timedelta(days=1), 5))


@pytest.fixture
def rig(tmp_path: Path) -> Rig:
    """Eight orders of alpha and one of beta can be imported."""
    rig = Rig(tmp_path, shops=("alpha", "beta"))
    for number in range(8):
        rig.add(f"{number}-A", state="SHIPPING")
    rig.poll()
    rig.clock.advance(1)
    rig.add("9-B", "beta", sku="TASSE-33CL", state="SHIPPING")
    rig.poll()
    return rig


def work(rig: Rig, *workers: Worker, seconds: float = 0) -> int:
    """Let the workers take turns until none finds a command. Returns how many calls reached the OMS."""
    rig.clock.advance(seconds)
    before = len(rig.oms_net.bodies)
    while sum(worker.turn() for worker in workers):
        pass
    return len(rig.oms_net.bodies) - before


def imported(rig: Rig) -> int:
    return sum(rig.state(f"{number}-A") == "imported" for number in range(8))


def used(rig: Rig) -> dict[str, int]:
    with rig.store.reading() as connection:
        rows = connection.execute(sa.select(s.budgets))
        return {row.span: row.used for row in rows if row.account == oms_account(COMPANIES["alpha"])}


def test_two_workers_share_a_budget_and_go_on_with_the_next_hour(rig: Rig) -> None:
    workers = [rig.new_worker(BUDGET), rig.new_worker(BUDGET)]
    assert work(rig, *workers) == 3 + 1
    assert imported(rig) == 3
    assert rig.state("9-B") == "imported", "beta has an account of its own"
    assert work(rig, *workers, seconds=3590) == 0
    assert work(rig, *workers, seconds=11) == 2, "two calls are left for the day"
    assert work(rig, *workers, seconds=3601) == 0
    assert work(rig, *workers, seconds=22 * 3600) == 3
    assert imported(rig) == 8
    assert {rig.command(f"{number}-A").attempts for number in range(8)} == {1}


def test_a_worker_that_starts_later_finds_the_budget_spent(rig: Rig) -> None:
    work(rig, rig.new_worker(BUDGET))
    later = rig.new_worker(BUDGET)
    assert work(rig, later) == 0
    assert imported(rig) == 3


def test_a_spent_budget_does_not_stop_other_calls_in_the_same_turn(rig: Rig) -> None:
    """Without this, a thread that finds an account's budget spent would wait although other commands are due."""
    rig.add("7-C", "beta", sku="TASSE-33CL")
    work(rig, rig.new_worker((BudgetWindow("hour", HOUR, 3),)))
    rig.poll()
    rig.add("8-A2")
    rig.poll()
    later = rig.new_worker((BudgetWindow("hour", HOUR, 3),))
    assert later.turn(), "an acceptance, although five imports before it have to wait"
    assert rig.effects("8-A2") or rig.effects("7-C")


def test_a_claim_beyond_the_budget_is_rolled_back(rig: Rig) -> None:
    worker = rig.new_worker(BUDGET)
    work(rig, worker)
    waiting = [f"{number}-A" for number in range(8) if rig.state(f"{number}-A") == "shipping"]
    before = [(rig.row(order), rig.command(order), rig.journal(order)) for order in waiting]
    later = rig.new_worker(BUDGET)
    assert later.claim() is None
    assert [(rig.row(order), rig.command(order), rig.journal(order)) for order in waiting] == before
    command = rig.command(waiting[0])
    assert command.state == "open"
    assert command.attempts == 0
    assert command.lease_token is None
    assert not command.maybe_sent
    assert [entry.event.note.get("step") for entry in rig.journal(waiting[0])] == [None]
    assert used(rig) == {"hour": 3, "day": 3}
    assert later.accounts.by_key[ALPHA_OMS].is_paused(rig.clock.now())
    assert not later.accounts.by_key[ALPHA_MIRAKL].is_paused(rig.clock.now())


def test_an_import_whose_messages_cannot_be_read_costs_nothing(rig: Rig) -> None:
    """Without this, orders that never reach the OMS spend its budget, and orders without messages wait."""
    for number in range(7):
        rig.mirakl["alpha"].post_message(f"{number}-A", "<p>Hello</p>")
    rig.poll(60)
    rig.nets["alpha"].hook = lambda request: httpx.Response(503) if "threads" in request.url.path else None
    worker = rig.new_worker(BUDGET)
    for _ in range(5):
        work(rig, worker, seconds=300)
    assert rig.state("7-A") == "imported"
    assert imported(rig) == 1
    assert used(rig) == {"hour": 1, "day": 1}
    rig.nets["alpha"].hook = lambda _request: None
    assert work(rig, worker, seconds=900) == 2, "what is left for the hour"


def test_the_last_call_goes_to_the_claim_that_sends_first(rig: Rig) -> None:
    """Three workers hold a claim, and the budget has one call left."""
    budget = (BudgetWindow("hour", HOUR, 1),)
    workers = [rig.new_worker(budget) for _ in range(3)]
    claims = []
    for worker in workers:
        claim = worker.claim()
        assert claim is not None
        claims.append(claim)
    workers[0].succeeded(claims[0], workers[0].call(claims[0]))
    for worker, claim in zip(workers[1:], claims[1:], strict=True):
        with pytest.raises(BudgetSpent):
            worker.call(claim)
        worker.not_called(claim)
    assert len(rig.oms_net.bodies) == 1
    assert used(rig) == {"hour": 1}
    for claim in claims[1:]:
        command = rig.command(claim.order.order_id)
        assert (command.state, command.attempts, command.maybe_sent, command.payload) == ("open", 0, False, None)
        assert not rig.row(claim.order.order_id).facts.handovers
    assert work(rig, *workers, seconds=3601) == 1 + 1, "one of alpha and one of beta"


def test_a_turn_that_meets_a_spent_budget_pauses_the_account(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    budget = (BudgetWindow("hour", HOUR, 1),)
    worker, other = rig.new_worker(budget), rig.new_worker(budget)
    claim = worker.claim()
    assert claim is not None
    assert other.turn()
    monkeypatch.setattr(worker, "claim", lambda: claim)
    assert worker.turn()
    assert worker.accounts.by_key[claim.account].is_paused(rig.clock.now())
    assert rig.command(claim.order.order_id).attempts == 0
    assert not rig.row(claim.order.order_id).facts.troubles


def test_what_is_left_of_the_budget_is_a_gauge(rig: Rig) -> None:
    metrics = Recorder(dict.fromkeys(rig.mirakl, 60.0), "0", rig.clock)
    metrics.registry.register(
        StoredGauges(
            rig.store,
            rig.clock,
            rig.mirakl,
            {shop: AccountBudget(oms_account(COMPANIES[shop]), BUDGET) for shop in rig.mirakl},
            wait_seconds=LONG,
        )
    )

    def left() -> dict[str, float]:
        lines = generate_latest(metrics.registry).decode().splitlines()
        found = [line.split() for line in lines if line.startswith("orderflow_budget_left{")]
        return {name.partition("{")[2].rstrip("}"): float(value) for name, value in found}

    def of(shop: str, window: str) -> float:
        return left()[f'shop="{shop}",system="oms",window="{window}"']

    assert of("alpha", "hour") == 3
    work(rig, rig.new_worker(BUDGET))
    rig.clock.advance(60)  # the gauges of a scrape are kept for a few seconds
    assert [of("alpha", "hour"), of("alpha", "day"), of("beta", "hour"), of("beta", "day")] == [0, 2, 2, 4]
    rig.clock.advance(3601)
    assert [of("alpha", "hour"), of("alpha", "day")] == [3, 2]
