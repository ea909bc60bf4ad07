"""Accounts that pause, circuits that open, and calls that are given up."""

from datetime import timedelta
from pathlib import Path

import httpx
import pytest

from adapters.errors import ConfigError, Rejected, Retryable
from adapters.simulators.orders import MARKETPLACES
from consumer.calling.circuit import CIRCUIT_OPENS_AFTER, CIRCUIT_PAUSE_SECONDS
from tests.consumer.rig import ALPHA_MIRAKL, ALPHA_OMS, Rig

pytestmark = pytest.mark.usefixtures("lines")


@pytest.fixture
def two(tmp_path: Path) -> Rig:
    return Rig(tmp_path, shops=("alpha", "beta"))


@pytest.mark.parametrize("status", [401, 403])
def test_a_fault_of_an_account_pauses_that_account_only_and_ends_by_itself(two: Rig, status: int) -> None:
    two.add("1-A")
    two.add("2-A")
    two.add("3-A", state="SHIPPING")
    two.add("9-B", "beta", sku="TASSE-33CL")
    two.poll()
    refusing = two.nets["alpha"]
    refusing.hook = lambda request: httpx.Response(status) if request.method == "PUT" else None
    before = len(refusing.bodies)
    two.work()
    assert len(refusing.bodies) == before + 1, "one call met the fault, and no other was made"
    assert two.effects("9-B") == ["accepted"], "another shop and another remote go on"
    assert two.effects("3-A") == ["imported"], "another shop and another remote go on"
    assert two.results.count(("accept_order", "account_fault")) == 1
    assert {two.command(order).attempts for order in ("1-A", "2-A")} == {0}
    assert two.work(seconds=59) == 0
    refusing.hook = lambda _request: None
    two.work(seconds=2)
    assert two.effects("1-A") == ["accepted"]
    assert two.effects("2-A") == ["accepted"]
    assert {two.command(order).attempts for order in ("1-A", "2-A")} == {1}


def test_a_400_for_a_spent_budget_of_the_oms_pauses_the_account(two: Rig) -> None:
    for number in range(3):
        two.add(f"{number}-A", state="SHIPPING")
    two.add("8-A")
    two.add("9-B", "beta", sku="TASSE-33CL", state="SHIPPING")
    two.poll()
    two.oms_net.hook = lambda request: _spent() if b'"company_ref_id": 99001' in request.content else None
    before = len(two.oms_net.bodies)
    two.work()
    assert len(two.oms_net.bodies) == before + 2, "one call for each shop"
    assert two.state("9-B") == "imported"
    assert two.effects("8-A") == ["accepted"]
    assert two.results.count(("import_order", "account_fault")) == 1
    assert not any(two.command(f"{number}-A").maybe_sent for number in range(3))
    two.oms_net.hook = lambda _request: None
    two.work(seconds=61)
    assert [two.state(f"{number}-A") for number in range(3)] == ["imported"] * 3
    assert {two.command(f"{number}-A").attempts for number in range(3)} == {1}


def _spent() -> httpx.Response:
    return httpx.Response(400, json={"error": {"message": "Rate limit exceeded", "code": 990002}})


@pytest.mark.parametrize(("code", "outcome"), [(50000, "401"), (50001, "403"), (990002, "429")])
def test_alerts_see_that_the_oms_refuses_an_account_although_it_answers_400(two: Rig, code: int, outcome: str) -> None:
    two.add("1-A", state="SHIPPING")
    two.poll()
    refusal = {"error": {"message": "Rate limit exceeded", "code": code}}
    two.oms_net.hook = lambda _request: httpx.Response(400, json=refusal)
    counted = {"system": "oms", "shop": "alpha", "operation": "import_order", "outcome": outcome}
    assert two.metrics.registry.get_sample_value("orderflow_api_requests_total", counted) == 0
    two.work()
    assert two.metrics.registry.get_sample_value("orderflow_api_requests_total", counted) == 1
    assert two.results == [("import_order", "account_fault")]


def test_an_empty_key_file_is_a_fault_of_the_account(two: Rig) -> None:
    two.add("1-A")
    two.add("9-B", "beta", sku="TASSE-33CL")
    two.poll()
    keys, two.keys = two.keys, Emptied()
    two.work()
    assert two.results.count(("accept_order", "account_fault")) == 1
    assert two.effects("9-B") == ["accepted"]
    assert two.command("1-A").state == "open"
    assert two.command("1-A").attempts == 0
    two.keys = keys
    two.work(seconds=61)
    assert two.effects("1-A") == ["accepted"]


class Emptied(dict[str, str]):
    """Keys of which that of alpha cannot be read."""

    def __missing__(self, shop: str) -> str:
        if shop == "alpha":
            raise ConfigError("shops.alpha.api_key_file: alpha.key is empty")
        return MARKETPLACES[shop].api_key


def failing_shop(rig: Rig, orders: int) -> None:
    for number in range(orders):
        rig.add(f"{number}-A")
    rig.poll()
    rig.fail("OR21", "503", 1000)


def test_the_circuit_opens_after_several_orders_failed_and_other_accounts_go_on(two: Rig) -> None:
    two.add("9-B", "beta", sku="TASSE-33CL")
    failing_shop(two, CIRCUIT_OPENS_AFTER + 3)
    account, requests = two.worker.accounts.by_key[ALPHA_MIRAKL], two.mirakl["alpha"].requests
    two.work()
    assert account.circuit_is_open()
    assert requests["OR21"] == CIRCUIT_OPENS_AFTER
    assert two.effects("9-B") == ["accepted"]
    assert two.work(seconds=CIRCUIT_PAUSE_SECONDS - 1) == 0
    two.clock.advance(1)
    probe = two.worker.claim()
    assert probe is not None
    assert probe.order.order_id == f"{CIRCUIT_OPENS_AFTER}-A", "not an order that failed before"
    assert two.worker.claim() is None, "one probe at a time"
    two.worker.failed(probe, Retryable("OR21", "5xx", status=503))
    assert two.work() == 0
    two.mirakl["alpha"].knobs.faults.clear()
    two.work(seconds=CIRCUIT_PAUSE_SECONDS + 1)
    assert not account.circuit_is_open()
    assert all(two.effects(f"{number}-A") == ["accepted"] for number in range(CIRCUIT_OPENS_AFTER + 3))


def test_one_order_that_fails_often_does_not_open_the_circuit_of_its_account(rig: Rig) -> None:
    rig.add("1-A")
    rig.poll()
    rig.fail("OR21", "503", 1000)
    for _ in range(CIRCUIT_OPENS_AFTER + 2):
        assert rig.work(seconds=1000) == 1
    assert not rig.worker.accounts.by_key[ALPHA_MIRAKL].circuit_is_open()


def test_a_rejection_of_our_own_does_not_close_the_circuit(rig: Rig) -> None:
    """The probe is an order that cannot be imported, so the OMS is not called, and the circuit stays open."""
    for number in range(CIRCUIT_OPENS_AFTER):
        rig.add(f"{number}-A", state="SHIPPING")
    rig.poll()
    rig.fail("order", "503", 1000)
    rig.work()
    rig.clock.advance(CIRCUIT_PAUSE_SECONDS)
    probe = rig.worker.claim()
    assert probe is not None
    rig.worker.failed(probe, Rejected("POST /order", "not_sent", code="INCOMPLETE"))
    assert rig.worker.accounts.by_key[ALPHA_OMS].circuit_is_open()
    assert rig.worker.claim() is None
    rig.clock.advance(CIRCUIT_PAUSE_SECONDS)
    probe = rig.worker.claim()
    assert probe is not None
    rig.worker.failed(probe, Rejected("POST /order", "400", status=400))
    assert not rig.worker.accounts.by_key[ALPHA_OMS].circuit_is_open(), "a rejection is an answer"


def test_a_command_is_given_up_at_its_deadline_and_needs_attention(rig: Rig) -> None:
    rig.add("1-A")
    rig.poll()
    rig.fail("OR21", "503", 10_000)
    for _ in range(400):
        rig.work(seconds=901)
    assert rig.command().state == "gave_up"
    assert rig.attention() == ["gave_up"]
    assert rig.command().attempts > 200
    given_up = rig.journal()[-1]
    first_try = next(entry for entry in rig.journal() if entry.event.trigger == "call")
    assert timedelta(hours=71) < given_up.event.at - first_try.event.at <= timedelta(hours=72)


def test_the_wait_of_retry_after_is_kept(rig: Rig) -> None:
    rig.add("1-A")
    rig.poll()
    rig.fail("OR21", "429", retry_after_seconds=300)
    rig.work()
    assert rig.command().next_at == rig.clock.now() + timedelta(seconds=300)
    assert rig.work(seconds=299) == 0
    assert rig.work(seconds=1) == 1
