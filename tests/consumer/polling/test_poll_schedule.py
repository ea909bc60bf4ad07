"""When a shop is polled next."""

from contextlib import suppress
from datetime import UTC, datetime, timedelta
from itertools import pairwise

import httpx
import pytest

from adapters.errors import RemoteError
from adapters.store import cursors as cursor_rows
from adapters.store.cursors import Cursor
from consumer.hooks import Hooks
from consumer.leases import Leases, poll_lease
from consumer.metrics.recorder import Recorder
from consumer.polling.poll_schedule import Schedule, ScheduledPoller, seconds_to_wait
from tests.consumer.rig import Rig

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("last_poll", "expected"),
    [
        pytest.param(None, 0, id="no poll yet"),
        pytest.param(NOW - timedelta(seconds=10), 50, id="ten seconds ago"),
        pytest.param(NOW - timedelta(seconds=61), 0, id="longer ago than an interval"),
        pytest.param(NOW + timedelta(seconds=30), 60, id="by a clock that is ahead"),
    ],
)
def test_a_takeover_waits_for_the_rest_of_the_interval(last_poll: datetime | None, expected: float) -> None:
    assert seconds_to_wait(60, last_poll, NOW) == expected


def test_the_next_poll_is_an_interval_after_the_last_one_began() -> None:
    schedule = Schedule(60)
    schedule.began(1000, pause_seconds=0)
    assert schedule.due_at == 1060


def test_a_longer_pause_that_mirakl_asks_for_is_kept() -> None:
    schedule = Schedule(60)
    schedule.began(1000, pause_seconds=90)
    assert schedule.due_at == 1090


class Failures(Hooks):
    def __init__(self) -> None:
        self.errors: list[Exception] = []

    def poll_failed(self, shop: str, error: Exception) -> None:
        self.errors.append(error)


@pytest.fixture
def failures() -> Failures:
    return Failures()


@pytest.fixture
def scheduled(rig: Rig, failures: Failures) -> ScheduledPoller:
    rig.leases.release(poll_lease("alpha"))
    return rig.new_scheduled(failures)


def test_a_failing_shop_is_polled_at_most_once_an_interval(
    rig: Rig, scheduled: ScheduledPoller, failures: Failures
) -> None:
    rig.fail("OR11", "503")
    assert scheduled.turn() == 0
    (error,) = failures.errors
    assert isinstance(error, RemoteError)
    rig.clock.advance(55)
    assert scheduled.turn() == 5
    assert len(failures.errors) == 1


def test_a_poll_that_mirakl_interrupts_keeps_its_lease_and_goes_on_when_it_may(
    rig: Rig, scheduled: ScheduledPoller, failures: Failures
) -> None:
    rig.fail("OR11", "429", retry_after_seconds=25)
    scheduled.turn()
    assert len(failures.errors) == 1
    waited = 0.0
    while scheduled.poller.is_paused:
        seconds = scheduled.turn()
        assert seconds <= rig.leases.renew_seconds
        assert rig.leases.holds(poll_lease("alpha"))
        rig.clock.advance(seconds)
        waited += seconds
    assert waited == 25
    assert cursor_rows.find(rig.store, "alpha") is not None


def test_a_poll_that_was_interrupted_is_forgotten_when_another_process_polls_the_shop(
    rig: Rig, scheduled: ScheduledPoller
) -> None:
    rig.fail("OR11", "429", retry_after_seconds=25)
    scheduled.turn()
    assert scheduled.poller.is_paused
    rig.leases.release(poll_lease("alpha"))
    assert Leases(rig.store, rig.clock, "another", 600).take(poll_lease("alpha"))
    scheduled.turn()
    assert not scheduled.poller.is_paused


def test_after_an_error_that_nobody_expects_the_next_poll_is_an_interval_later(
    rig: Rig, scheduled: ScheduledPoller
) -> None:
    """docs/mirakl.md 3: Mirakl limits how often the orders of a shop may be listed."""
    asked: list[httpx.Request] = []

    def breaks(request: httpx.Request) -> None:
        asked.append(request)
        raise ZeroDivisionError

    rig.nets["alpha"].hook = breaks
    with pytest.raises(ZeroDivisionError):
        scheduled.turn()
    rig.clock.advance(55)
    assert scheduled.turn() == 5
    assert len(asked) == 1


def test_an_idle_schedule_renews_the_lease_in_time(rig: Rig, scheduled: ScheduledPoller) -> None:
    scheduled.turn()
    assert scheduled.turn() == rig.leases.renew_seconds


def test_a_process_that_starts_again_waits_for_the_rest_of_the_interval(rig: Rig, scheduled: ScheduledPoller) -> None:
    lease = rig.leases.take(poll_lease("alpha"))
    assert lease is not None
    now = rig.clock.now()
    with rig.store.transaction() as tx:
        cursor_rows.save(tx, "alpha", Cursor(now, now, now), lease)
    rig.clock.advance(55)
    assert scheduled.turn() == 5


def test_a_process_that_takes_a_shop_over_reports_the_last_poll_of_the_process_before(rig: Rig) -> None:
    """Otherwise OrdersPollStale fires after each takeover of a shop that is polled every 15 minutes."""
    lease = rig.leases.take(poll_lease("alpha"))
    assert lease is not None
    polled_at = rig.clock.now()
    with rig.store.transaction() as tx:
        cursor_rows.save(tx, "alpha", Cursor(polled_at, polled_at, polled_at), lease)
    rig.clock.advance(55)
    metrics = Recorder({"alpha": 60}, "1", rig.clock)
    assert rig.new_scheduled(metrics).turn() == 5
    reported = metrics.registry.get_sample_value("orderflow_poll_last_success_timestamp_seconds", {"shop": "alpha"})
    assert reported == polled_at.timestamp()


@pytest.mark.parametrize("error", [KeyboardInterrupt, ZeroDivisionError])
def test_processes_that_die_in_their_polls_one_after_the_other_poll_once_an_interval(
    rig: Rig, failures: Failures, error: type[BaseException]
) -> None:
    """This holds also in the first poll of a new shop, which is the largest. No cursor is stored then."""
    rig.leases.release(poll_lease("alpha"))
    asked: list[float] = []

    def dies(_request: httpx.Request) -> None:
        asked.append(rig.clock.monotonic())
        raise error

    rig.nets["alpha"].hook = dies
    for _ in range(13):
        restarted = rig.new_scheduled(failures)
        with suppress(error):
            restarted.turn()
            restarted.turn()
        rig.clock.advance(10)
    assert [later - earlier for earlier, later in pairwise(asked)] == [60, 60]
