"""Processes whose machines have wrong clocks, on one PostgreSQL: all go by the clock of the database."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import sqlalchemy as sa
from prometheus_client.exposition import generate_latest

from adapters.errors import RemoteError
from adapters.store import budgets as budget_rows
from adapters.store import schema as s
from adapters.store.clock import StoreClock
from consumer import config
from consumer.bootstrap import build_parts, oms_budget
from consumer.calling.tries import Claim
from consumer.calling.worker import Worker
from consumer.config import LeasesTable, StoreTable
from consumer.demo.settings import write_settings
from consumer.leases import RELAY
from consumer.service import Parts
from tests.adapters.store.test_clock import DAY, WrongClock
from tests.statemachine.lives import read, snapshot_event
from tests.support import wait

#: How far the wrong clock is ahead of the database's clock, in seconds. Negative: it is behind.
each_skew = pytest.mark.parametrize("ahead_seconds", [DAY, -DAY, 100.0, -100.0])
#: The length of a lease in these tests, which wait for its end.
LEASE_SECONDS = 4.0
SOON = timedelta(seconds=10)

#: Makes a process whose machine is ahead by so many seconds.
Start = Callable[[float], Parts]


@pytest.fixture
def start(tmp_path: Path, postgres_store_url: str) -> Iterator[Start]:
    nowhere = "http://127.0.0.1:1"
    found = config.load(write_settings(tmp_path, {"alpha": nowhere}, nowhere, 1))
    store, leases = StoreTable(url=postgres_store_url), LeasesTable(seconds=LEASE_SECONDS)
    settings = found.model_copy(update={"store": store, "leases": leases})
    with ExitStack() as closing:

        def started(ahead_seconds: float) -> Parts:
            parts = build_parts(settings, clock=StoreClock(WrongClock(ahead_seconds)), holder=f"{ahead_seconds}")
            closing.callback(parts.closing.close)
            return parts

        yield started


def column(parts: Parts, one: sa.Column[datetime]) -> datetime:
    """The only value of this column."""
    with parts.base.store.reading() as connection:
        return connection.execute(sa.select(one)).scalar_one()


def near(one: datetime, other: datetime) -> bool:
    return abs(one - other) < SOON


def order_arrives(parts: Parts) -> None:
    """An order is read, and the call that accepts it is due."""
    parts.base.orders.apply([snapshot_event(read("WAITING_ACCEPTANCE"))])


def call_begins(worker: Worker, claim: Claim) -> None:
    """Check that the call may be made, and make it. Nobody listens at Mirakl's address."""
    with pytest.raises(RemoteError):
        worker.call(claim)


@each_skew
def test_a_lease_is_neither_stolen_nor_held_for_ever(start: Start, ahead_seconds: float) -> None:
    right, wrong = start(0), start(ahead_seconds)
    for one, other in ((right, wrong), (wrong, right)):
        lease = one.base.leases.take(RELAY)
        assert lease is not None
        assert other.base.leases.take(RELAY) is None, "not stolen"
        assert one.base.leases.take_share("alpha", 1) is not None
        assert other.base.leases.take_share("alpha", 1) is None
        one.base.leases.release_all()
    assert wrong.base.leases.take(RELAY) is not None, "it dies now, and gives nothing back"
    assert wrong.base.leases.take_share("alpha", 1) is not None
    wait(lambda: right.base.leases.take(RELAY), "the next process relays", LEASE_SECONDS + 5)
    wait(lambda: right.base.leases.take_share("alpha", 1), "the next process polls", LEASE_SECONDS + 5)


@each_skew
def test_a_call_is_not_made_twice(start: Start, ahead_seconds: float) -> None:
    for one, other in ((start(0), start(ahead_seconds)), (start(ahead_seconds), start(0))):
        assert one.worker is not None
        assert other.worker is not None
        order_arrives(one)
        claim = one.worker.claim()
        assert claim is not None, "what another process opened is due now"
        assert other.worker.claim() is None
        call_begins(one.worker, claim)
        assert other.worker.claim() is None, "the call is under way"
        one.worker.not_called(claim)
        again = other.worker.claim()
        assert again is not None, "the other process may try it at once"
        other.worker.not_called(again)


@each_skew
def test_what_a_process_wrote_that_died_is_taken_over_in_time(start: Start, ahead_seconds: float) -> None:
    """The ends of leases, and the times at which commands are due, are those of the database."""
    wrong = start(ahead_seconds)
    assert wrong.worker is not None
    order_arrives(wrong)
    claim = wrong.worker.claim()
    assert claim is not None
    call_begins(wrong.worker, claim)
    now, settings = datetime.now(UTC), wrong.base.settings
    lease = timedelta(seconds=settings.worker.lease_seconds)
    assert near(column(wrong, s.commands.c.lease_until), now + lease)
    assert near(column(wrong, s.commands.c.next_at), now)
    assert near(column(wrong, s.orders.c.first_seen_at), now)


@pytest.mark.parametrize("ahead_seconds", [DAY, -DAY])
def test_a_budget_is_spent_by_all_processes_together(start: Start, ahead_seconds: float) -> None:
    """If a process began a new hour because its machine is ahead, the OMS would be called more often than it allows."""
    right, wrong = start(0), start(ahead_seconds)
    windows = oms_budget(right.base.settings)
    for account, order in (("begun by the right one", (right, wrong)), ("begun by the wrong one", (wrong, right))):
        for parts in order * 2:
            with parts.base.store.transaction() as tx:
                assert budget_rows.spend(tx, account, windows, parts.base.clock.now()) is None
    named = [(f"begun by the {one} one", window) for one in ("right", "wrong") for window in windows]
    for parts in (right, wrong):
        assert set(budget_rows.used(parts.base.store, named, parts.base.clock.now()).values()) == {4}


@each_skew
def test_the_metric_shows_how_wrong_the_machine_is(start: Start, ahead_seconds: float) -> None:
    (line,) = [
        line
        for line in generate_latest(start(ahead_seconds).recorder.registry).decode().splitlines()
        if line.startswith("orderflow_clock_skew_seconds ")
    ]
    assert float(line.split()[1]) == pytest.approx(ahead_seconds, abs=5)
