"""The clock of all processes of one store."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from adapters.clock import SystemClock
from adapters.errors import StoreUnavailable
from adapters.store.clock import StoreClock
from adapters.store.transaction import Store
from tests.support import StillClock, new_store

DAY = 86_400.0
#: Engine and test run on one machine, so that the test can tell the database's time.
NEAR = timedelta(seconds=5)


class WrongClock(SystemClock):
    """The clock of a machine that is ahead of the true time, or behind it (negative)."""

    def __init__(self, ahead_seconds: float) -> None:
        self.ahead_seconds = ahead_seconds

    def now(self) -> datetime:
        return super().now() + timedelta(seconds=self.ahead_seconds)


@pytest.fixture
def postgresql(postgres_store_url: str) -> Iterator[Store]:
    store = Store(postgres_store_url)
    yield store
    store.close()


@pytest.mark.parametrize("ahead_seconds", [DAY, -DAY, 100.0, -100.0])
def test_a_machine_with_a_wrong_clock_has_the_time_of_the_database(postgresql: Store, ahead_seconds: float) -> None:
    clock = StoreClock(WrongClock(ahead_seconds))
    assert clock.skew_seconds() == pytest.approx(0, abs=1), "before the first read it knows no other time"
    clock.read(postgresql)
    assert abs(clock.now() - datetime.now(UTC)) < NEAR
    assert clock.skew_seconds() == pytest.approx(ahead_seconds, abs=NEAR.total_seconds())


@pytest.mark.parametrize("step_seconds", [DAY, -DAY])
def test_a_step_of_the_machines_clock_changes_nothing(postgresql: Store, step_seconds: float) -> None:
    machine = WrongClock(0)
    clock = StoreClock(machine)
    clock.read(postgresql)
    machine.ahead_seconds = step_seconds
    assert abs(clock.now() - datetime.now(UTC)) < NEAR, "even before the next read"
    assert clock.skew_seconds() == pytest.approx(step_seconds, abs=NEAR.total_seconds())


@pytest.mark.parametrize("seconds", [3600.0, -3600.0])
def test_a_machine_that_counts_seconds_wrongly_is_right_after_the_next_read(postgresql: Store, seconds: float) -> None:
    machine = StillClock()
    clock = StoreClock(machine)
    clock.read(postgresql)
    machine.advance(seconds)
    assert abs(clock.now() - datetime.now(UTC)) > NEAR
    clock.read(postgresql)
    assert abs(clock.now() - datetime.now(UTC)) < NEAR


def test_after_a_read_that_fails_the_read_before_is_valid(postgresql: Store) -> None:
    clock, away = StoreClock(WrongClock(DAY)), Store("postgresql://u@127.0.0.1:1/none")
    clock.read(postgresql)
    with pytest.raises(StoreUnavailable):
        clock.read(away)
    assert abs(clock.now() - datetime.now(UTC)) < NEAR


def test_with_sqlite_it_is_the_clock_of_the_machine(tmp_path: Path) -> None:
    machine = StillClock()
    clock, store = StoreClock(machine), new_store(tmp_path)
    clock.read(store)
    machine.advance(DAY)
    assert clock.now() == machine.now()
    assert clock.skew_seconds() == 0
    store.close()
