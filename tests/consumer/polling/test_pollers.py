"""Many shops and few threads: who is polled next, and what shops that hang take from the others."""

import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from adapters.engines.processes import free_port
from adapters.errors import StoreUnavailable
from consumer import config
from consumer.bootstrap import build_parts
from consumer.config import Settings
from consumer.demo.settings import write_settings
from consumer.hooks import BEAT_SECONDS
from consumer.polling.poll_schedule import SLOW_SECONDS, ScheduledPoller
from consumer.polling.pollers import PollerPool
from consumer.service import Service
from tests.consumer.rig import Rig
from tests.support import LONG, StillClock, wait

SHOPS = [f"shop{number:03}" for number in range(200)]


class Scripted(ScheduledPoller):
    """A shop whose turn does what the test says, and is due again after 60 s."""

    def __init__(self, clock: StillClock, does: Callable[[], object] = lambda: None) -> None:
        self._clock = clock
        self.does = does
        self.is_slow = False
        self.turns = 0

    def turn(self) -> float:
        self.turns += 1
        self._timed(self.does)
        return 60.0


def pool_of(clock: StillClock, shops: dict[str, Scripted], threads: int) -> PollerPool:
    return PollerPool(shops, threads, clock)


def test_the_shop_that_has_been_due_longest_is_next() -> None:
    clock = StillClock()
    pool = pool_of(clock, {name: Scripted(clock) for name in "abc"}, threads=1)
    assert [pool.take() for _ in range(4)] == ["a", "b", "c", None]
    pool.give_back("c", 20)
    pool.give_back("a", 30)
    pool.give_back("b", 10)
    assert pool.take() is None
    assert pool.seconds_to_next() == 10
    clock.advance(40)
    assert pool.seconds_late() == 30
    assert [pool.take() for _ in range(3)] == ["b", "c", "a"]
    assert pool.seconds_late() == 0


def test_shops_that_hang_leave_half_of_the_threads_to_the_others() -> None:
    clock = StillClock()
    shops = {f"hangs{number}": Scripted(clock, lambda: clock.advance(SLOW_SECONDS + 1)) for number in range(8)}
    shops |= {f"well{number}": Scripted(clock) for number in range(2)}
    pool = pool_of(clock, shops, threads=4)
    for name in shops:
        pool.take()
        pool.give_back(name, shops[name].turn())
    clock.advance(200)
    taken = [pool.take() for _ in range(5)]
    assert taken == ["hangs0", "hangs1", "well0", "well1", None]
    pool.give_back("hangs0", 60)
    assert pool.take() == "hangs2"


def test_a_shop_that_answers_again_is_slow_no_longer(tmp_path: Path) -> None:
    rig = Rig(tmp_path)
    rig.leases.release_all()
    poller = rig.new_scheduled()
    rig.nets["alpha"].hook = lambda _: rig.clock.advance(SLOW_SECONDS)
    poller.turn()
    assert poller.is_slow
    rig.nets["alpha"].hook = lambda _: None
    rig.clock.advance(30)
    poller.turn()  # not due yet
    assert poller.is_slow
    rig.clock.advance(120)
    poller.turn()
    assert not poller.is_slow


class Hang:
    """What many turns do at the same time, until the test ends it."""

    def __init__(self) -> None:
        self.begun = threading.Semaphore(0)
        self.end = threading.Event()

    def __call__(self) -> None:
        self.begun.release()
        self.end.wait(LONG)


@pytest.fixture
def hang() -> Iterator[Hang]:
    hang = Hang()
    yield hang
    hang.end.set()


def settings_of(tmp_path: Path, shops: list[str]) -> Settings:
    """A configuration with these shops, whose remotes do not answer."""
    nowhere = f"http://127.0.0.1:{free_port()}"
    settings = config.load(write_settings(tmp_path, {"alpha": nowhere}, nowhere, free_port()))
    alpha = settings.shops["alpha"]
    oms = alpha.oms.model_copy(update={"callback_secret_file": None})
    of_each = {name: alpha.model_copy(update={"shop_id": 1000 + n, "oms": oms}) for n, name in enumerate(shops)}
    return settings.model_copy(update={"shops": of_each})


def serving(tmp_path: Path, clock: StillClock, shops: dict[str, Scripted], threads: int) -> Service:
    parts = build_parts(settings_of(tmp_path, ["alpha"]), clock=clock)
    pool = pool_of(clock, shops, threads)
    parts.recorder.watch_pollers(pool.seconds_late)
    return Service(replace(parts, pollers=pool, consumer=None, worker=None, housekeeping=None), stop_seconds=1)


def test_a_shop_that_hangs_holds_one_thread_and_the_others_are_polled(tmp_path: Path, hang: Hang) -> None:
    clock = StillClock()
    shops = {"alpha": Scripted(clock, hang)} | {f"well{number}": Scripted(clock) for number in range(20)}
    service = serving(tmp_path, clock, shops, threads=2)
    service.start()
    assert hang.begun.acquire(timeout=LONG)
    wait(lambda: all(one.turns == 1 for one in shops.values()), "each shop has a turn")
    clock.advance(60)
    wait(lambda: all(one.turns == 2 for name, one in shops.items() if name != "alpha"), "the others go on")
    assert shops["alpha"].turns == 1
    hang.end.set()
    service.stop()


def test_while_every_thread_hangs_it_is_seen_and_no_loop_is_stuck(tmp_path: Path, hang: Hang) -> None:
    """A poll that hangs shows each of its calls as a beat. What waits for a thread is no loop that is stuck."""
    clock = StillClock()
    shops = {name: Scripted(clock, hang) for name in ("alpha", "beta")} | {"gamma": Scripted(clock)}
    service = serving(tmp_path, clock, shops, threads=2)
    service.start()
    assert all(hang.begun.acquire(timeout=LONG) for _ in range(2))
    clock.advance(BEAT_SECONDS + 1)
    for name in ("alpha", "beta"):
        service.base.hooks.page_read(name)
    value = service.parts.recorder.registry.get_sample_value
    assert value("orderflow_poller_late_seconds") == BEAT_SECONDS + 1
    assert service.parts.beats.what_is_stuck() == ""
    hang.end.set()
    wait(lambda: shops["gamma"].turns == 1, "the third shop has its turn")
    wait(lambda: value("orderflow_poller_late_seconds") == 0, "nobody waits")
    clock.advance(BEAT_SECONDS + 1)
    service.stop()


def test_a_turn_that_fails_names_the_shop_and_is_tried_again(tmp_path: Path) -> None:
    clock = StillClock()

    def fails() -> None:
        raise StoreUnavailable("gone")

    shops = {"alpha": Scripted(clock, fails)}
    service = serving(tmp_path, clock, shops, threads=1)
    service.start()
    wait(lambda: shops["alpha"].turns == 1, "the first turn")
    wait(lambda: service.parts.pollers.seconds_to_next() < 60, "it is given back")
    clock.advance(2)
    wait(lambda: shops["alpha"].turns == 2, "the second turn")
    service.stop()


def test_two_hundred_shops_take_few_threads(tmp_path: Path) -> None:
    """There was a thread, and a connection of the store, for each shop."""
    service = Service(build_parts(settings_of(tmp_path, SHOPS)))
    before = threading.active_count()
    service.start()
    assert threading.active_count() - before < 40
    assert sum(one.name.startswith("poller:") for one in threading.enumerate()) == 16
    service.stop()
