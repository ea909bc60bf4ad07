"""When an account is paused, when its circuit opens, and which commands must not be claimed then."""

from datetime import UTC, datetime, timedelta

import pytest

from adapters.store.lanes import Lane
from consumer.calling.accounts import Account, AccountKey, Accounts
from consumer.calling.circuit import CIRCUIT_OPENS_AFTER, CIRCUIT_PAUSE_SECONDS, Circuit, RefusedCall
from statemachine.commands import CommandKey, CommandKind, Remote
from tests.support import StillClock

NOW = datetime(2026, 3, 1, tzinfo=UTC)


def in_seconds(seconds: float) -> datetime:
    return NOW + timedelta(seconds=seconds)


# -- One operation of an account -----------------------------------------------------------------------------------


def failing(*orders: int) -> Circuit:
    circuit = Circuit()
    for order in orders:
        circuit.failed(order, NOW)
    return circuit


def test_one_order_that_fails_often_does_not_open_the_circuit() -> None:
    circuit = failing(*[7] * 50)
    assert not circuit.is_open()
    assert circuit.paused_until is None


def test_failures_of_distinct_orders_in_a_row_open_the_circuit() -> None:
    assert failing(*range(CIRCUIT_OPENS_AFTER - 1)).paused_until is None
    circuit = failing(*range(CIRCUIT_OPENS_AFTER))
    assert circuit.is_open()
    assert circuit.paused_until == in_seconds(CIRCUIT_PAUSE_SECONDS)


def test_an_answer_between_failures_keeps_the_circuit_closed() -> None:
    circuit = failing(1, 2, 3, 4)
    circuit.answered()
    for order in (5, 6, 7, 8):
        circuit.failed(order, NOW)
    assert not circuit.is_open()


def call(order: int) -> RefusedCall:
    return RefusedCall("alpha", f"{order}-A", order, CommandKey(CommandKind.IMPORT, "", 0))


def test_the_same_refusal_of_several_orders_in_a_row_is_the_remote_s_fault() -> None:
    circuit = Circuit()
    assert [circuit.refused(order, "400 E-7 no", call(order)) for order in range(4)] == [None] * 4
    assert circuit.refused(4, "400 E-7 no", call(4)) == [call(order) for order in range(4)]
    assert circuit.refused(5, "400 E-7 no", call(5)) == [], "each call is named once"
    assert circuit.is_open()
    circuit.answered()
    assert circuit.refused(9, "400 E-7 no", call(9)) is None, "after a yes, a refusal is about its order again"


@pytest.mark.parametrize(
    "refusals",
    [
        [(7, "400 no")] * 50,
        [(order, f"400 unknown SKU {order}") for order in range(50)],
        [(order, ("400 no", "400 never")[order % 2]) for order in range(50)],
    ],
    ids=["one order", "other words", "in turns"],
)
def test_refusals_that_are_about_their_orders_leave_the_circuit_closed(refusals: list[tuple[int, str]]) -> None:
    circuit = failing(1, 2, 3, 4)
    assert {circuit.refused(order, no, call(order)) is None for order, no in refusals} == {True}
    circuit.failed(5, NOW)
    assert not circuit.is_open()


def test_only_one_probe_runs_and_it_closes_the_circuit_or_the_pause_begins_again() -> None:
    circuit, later = failing(*range(5)), in_seconds(CIRCUIT_PAUSE_SECONDS)
    again = later + timedelta(seconds=CIRCUIT_PAUSE_SECONDS)
    circuit.claimed(later)
    assert circuit.paused_until == again, "no second probe while the first runs"
    circuit.failed(9, later)
    assert circuit.paused_until == again
    circuit.answered()
    assert not circuit.is_open()
    assert circuit.paused_until is None


def test_a_claim_does_not_pause_a_healthy_operation() -> None:
    circuit = failing(1, 2)
    circuit.claimed(NOW)
    assert circuit.paused_until is None


# -- One account --------------------------------------------------------------------------------------------------


def test_a_pause_for_a_fault_of_the_account_ends_only_by_its_time() -> None:
    """A call that began before the budget was spent may succeed afterwards. This does not show that budget is left."""
    account = Account()
    account.pause(in_seconds(60))
    account.circuits["OR21"].answered()
    assert account.is_paused(in_seconds(59))
    assert not account.is_paused(in_seconds(60))


def test_a_shorter_pause_never_ends_a_longer_one() -> None:
    account = Account()
    account.pause(in_seconds(600))
    account.pause(in_seconds(1))
    assert account.is_paused(in_seconds(599))
    for order in range(5):
        account.circuits["OR21"].failed(order, NOW)
    assert account.call_paused_until("OR21") == in_seconds(600), "an open circuit does not end it either"


# -- All accounts -------------------------------------------------------------------------------------------------


def test_commands_of_a_paused_account_must_not_be_claimed() -> None:
    clock = StillClock()
    accounts = Accounts(["alpha", "beta"], clock)
    assert accounts.paused_lanes() == []
    accounts.pause(AccountKey("alpha", Remote.OMS), clock.now() + timedelta(seconds=60))
    assert accounts.paused_lanes() == [Lane("alpha", CommandKind.IMPORT)]
    accounts.pause(AccountKey("beta", Remote.MIRAKL), clock.now() + timedelta(seconds=30))
    assert sorted(accounts.paused_lanes()) == [
        Lane("alpha", CommandKind.IMPORT),
        *(Lane("beta", kind) for kind in sorted(set(CommandKind) - {CommandKind.IMPORT})),
    ]
    clock.advance(30)
    assert accounts.paused_lanes() == [Lane("alpha", CommandKind.IMPORT)]


def test_the_rest_of_a_pause_is_known_in_seconds() -> None:
    clock = StillClock()
    accounts, key = Accounts(["alpha"], clock), AccountKey("alpha", Remote.MIRAKL)
    assert accounts.seconds_paused(key, "M11") == 0
    accounts.pause(key, clock.now() + timedelta(seconds=60))
    clock.advance(45)
    assert accounts.seconds_paused(key, "M11") == 15
    clock.advance(45)
    assert accounts.seconds_paused(key, "M11") == 0


def test_a_refused_operation_pauses_alone_and_within_the_pause_of_its_account() -> None:
    clock = StillClock()
    accounts, key = Accounts(["alpha", "beta"], clock), AccountKey("alpha", Remote.MIRAKL)
    accounts.pause(key, clock.now() + timedelta(seconds=60), "OR24")
    accounts.pause(key, clock.now() + timedelta(seconds=30), "OR24")
    assert accounts.paused_lanes() == [Lane("alpha", CommandKind.CONFIRM)], "a shorter pause does not shorten it"
    assert accounts.seconds_paused(key, "M11") == 0
    accounts.pause(key, clock.now() + timedelta(seconds=90))
    assert accounts.seconds_paused(key, "OR24") == accounts.seconds_paused(key, "M11") == 90
    accounts.answered(key, "OR24")
    clock.advance(60)
    assert accounts.by_key[key].pauses_any(clock.now())
    clock.advance(30)
    assert accounts.paused_lanes() == []
    assert not accounts.by_key[key].pauses_any(clock.now())


def test_the_circuit_of_an_operation_opens_and_closes_for_that_operation_and_account_only() -> None:
    accounts, key = Accounts(["alpha", "beta"], StillClock()), AccountKey("alpha", Remote.MIRAKL)
    for order_key in range(CIRCUIT_OPENS_AFTER):
        accounts.failed(key, "OR23", order_key)
        accounts.answered(key, "OR24")
    assert [one for one, account in accounts.by_key.items() if account.circuit_is_open()] == [key]
    assert accounts.paused_lanes() == [Lane("alpha", CommandKind.TRACK)]
    assert accounts.by_key[key].pauses_any(StillClock().now())
    accounts.claimed(key, "OR23")
    accounts.answered(key, "OR23")
    assert not accounts.by_key[key].circuit_is_open()
    assert accounts.paused_lanes() == []
