"""A process of one or all roles: its start, its stop, its probes, and what it exports of its leases."""

import socket
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from prometheus_client.exposition import generate_latest

from adapters.engines.processes import free_port
from adapters.errors import Cause, ConfigError, StoreUnavailable
from adapters.store import cursors as cursor_rows
from consumer import config
from consumer.bootstrap import build, build_parts
from consumer.calling.worker import Worker
from consumer.config import Settings
from consumer.demo.settings import write_settings
from consumer.hooks import BEAT_SECONDS, Hooks
from consumer.leases import RELAY, Leases, poll_lease
from consumer.loop_watch import FAILING_SECONDS
from consumer.polling.pollers import PollerPool
from consumer.service import START_AGAIN_SECONDS, START_SECONDS, Beats, Service, built
from tests.support import LONG, Meanwhile, StillClock, wait


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """A configuration whose remotes do not answer."""
    nowhere = f"http://127.0.0.1:{free_port()}"
    return config.load(write_settings(tmp_path, {"alpha": nowhere}, nowhere, free_port()))


# -- Start and stop -----------------------------------------------------------------------------------------------


def test_a_taken_port_is_an_error_before_any_loop_runs(settings: Settings) -> None:
    turned: list[str] = []

    class Turned(Hooks):
        def loop_turned(self, loop: str, instance: str = "") -> None:
            turned.append(loop)

    with socket.create_server(("127.0.0.1", settings.web.port)):
        service = build(settings, hooks=Turned())
        with pytest.raises(
            ConfigError, match=rf"web.port: cannot listen on 127.0.0.1:{settings.web.port}: another process"
        ):
            service.start()
        assert service.parts.beats.what_is_stuck() == ""
        service.stop()
    assert turned == []


@pytest.mark.parametrize(("tries_that_fail", "ends"), [(0, "built"), (3, "built"), (10_000, "raised")])
def test_a_process_waits_a_minute_at_its_start_for_a_store_that_does_not_answer(
    settings: Settings, tries_that_fail: int, ends: str
) -> None:
    clock, left = StillClock(), [StoreUnavailable("gone")] * tries_that_fail
    service = build(settings)

    def build_it() -> Service:
        if left:
            raise left.pop()
        return service

    def wait(seconds: float) -> bool:
        clock.advance(seconds)
        return False

    began = clock.monotonic()
    if ends == "built":
        assert built(build_it, wait, clock.monotonic) is service
        assert clock.monotonic() - began == tries_that_fail * START_AGAIN_SECONDS
    else:
        with pytest.raises(StoreUnavailable):
            built(build_it, wait, clock.monotonic)
        assert clock.monotonic() - began == START_SECONDS
    service.parts.closing.close()


def test_a_process_that_is_stopped_while_it_waits_for_the_store_ends(settings: Settings) -> None:
    def gone() -> Service:
        raise StoreUnavailable("gone")

    assert built(gone, lambda _seconds: True, StillClock().monotonic) is None


class Hangs(Worker):
    """Turns that hang, any number of them, and end together when the test says so."""

    def __init__(self, turns: int) -> None:
        self.begun = threading.Semaphore(0)
        self.end = threading.Event()
        self._turns = turns

    def turn(self) -> bool:
        self.begun.release()
        self.end.wait()
        return False

    def all_begun(self) -> bool:
        return all(self.begun.acquire(timeout=LONG) for _ in range(self._turns))


@pytest.fixture
def hangs() -> Iterator[Hangs]:
    worker = Hangs(turns=64)
    yield worker
    worker.end.set()


def test_loops_that_do_not_end_are_waited_for_together(settings: Settings, hangs: Hangs) -> None:
    """Each of 64 workers may wait for a remote that hangs. One second for each was more than a minute."""
    settings = settings.model_copy(update={"worker": settings.worker.model_copy(update={"threads": 64})})
    service = Service(replace(build_parts(settings), worker=hangs), stop_seconds=0.5)
    service.start()
    assert hangs.all_begun()
    assert Meanwhile(service.stop).result() is None, "64 times half a second would be longer than the patience"


class Ends(Worker):
    """A worker whose thread ends, as a bug of the interpreter or of a library may end it."""

    def __init__(self) -> None:
        pass

    def turn(self) -> bool:
        raise SystemExit(1)


def test_a_loop_that_ends_takes_the_process_with_it(settings: Settings) -> None:
    settings = settings.model_copy(update={"worker": settings.worker.model_copy(update={"threads": 1})})
    service = Service(replace(build_parts(settings), worker=Ends()))
    ended = threading.Event()
    service.on_end = ended.set
    service.start()
    assert ended.wait(LONG)
    assert service.ended == ["worker:0"]
    assert service.what_is_not_ready() == "ended: worker:0"
    service.stop()


class Fails(Worker):
    """A worker whose turns fail, a minute apart."""

    def __init__(self, clock: StillClock, error: Exception) -> None:
        self.turns = 0
        self._time = clock
        self._error = error

    def turn(self) -> bool:
        self.turns += 1
        if self.turns < 3:
            self._time.advance(FAILING_SECONDS)
        raise self._error


@pytest.mark.parametrize(
    ("error", "cause", "is_ready"),
    [
        (ZeroDivisionError(), "unexpected", False),
        (StoreUnavailable("OperationalError", Cause.DISK_FULL), "disk_full", False),
        (StoreUnavailable("OperationalError", Cause.CONNECTION), "connection", True),
    ],
)
def test_a_loop_that_fails_for_a_minute_is_seen(
    settings: Settings, error: Exception, cause: str, is_ready: bool
) -> None:
    settings = settings.model_copy(update={"worker": settings.worker.model_copy(update={"threads": 1})})
    clock = StillClock()
    parts = build_parts(settings, clock=clock)
    service = Service(
        replace(
            parts, worker=Fails(clock, error), consumer=None, housekeeping=None, pollers=PollerPool({}, 1, StillClock())
        )
    )
    service.start()
    labels = {"loop": "worker", "cause": cause}
    wait(lambda: parts.recorder.registry.get_sample_value("orderflow_loop_failing", labels) == 1, cause)
    assert service.what_is_not_ready() == ("" if is_ready else f"failing for 60 s: worker ({cause})")
    service.stop()


# -- Leases and probes --------------------------------------------------------------------------------------------


def leads(service: Service, role: str, shop: str) -> float | None:
    labels = {"role": role, "shop": shop}
    found: float | None = service.parts.recorder.registry.get_sample_value("orderflow_leader", labels)
    return found


def test_a_process_without_the_leases_neither_polls_nor_does_the_housekeeping(settings: Settings) -> None:
    service = build(settings, holder="one")
    parts, base = service.parts, service.base
    assert parts.housekeeping is not None
    other = Leases(base.store, base.clock, "two", 600)
    assert other.take(RELAY)
    assert other.take(poll_lease("alpha"))
    assert parts.pollers.pollers["alpha"].turn() == base.leases.renew_seconds
    assert parts.housekeeping.turn() == base.leases.renew_seconds
    assert cursor_rows.find(base.store, "alpha") is None
    assert leads(service, "poller", "alpha") == 0
    assert leads(service, "relay", "") == 0
    other.release_all()
    parts.housekeeping.turn()
    assert leads(service, "relay", "") == 1
    assert 'orderflow_leader{role="relay",shop=""} 1.0' in generate_latest(parts.recorder.registry).decode()
    service.stop()


def test_a_process_that_cannot_renew_its_leases_leads_until_they_end(settings: Settings) -> None:
    """Another process leads after that. The sum over all processes would be 2, a false alarm."""
    clock = StillClock()
    service = build(settings, clock=clock)
    assert service.parts.housekeeping is not None
    service.parts.housekeeping.turn()
    service.parts.pollers.pollers["alpha"].turn()
    clock.advance(settings.leases.seconds - 1)
    assert leads(service, "relay", "") == 1
    assert leads(service, "poller", "alpha") == 1
    clock.advance(1)
    assert leads(service, "relay", "") == 0
    assert leads(service, "poller", "alpha") == 0
    service.stop()


def test_a_loop_without_a_turn_for_two_minutes_is_stuck() -> None:
    clock = StillClock()
    beats = Beats(clock)
    beats.loop_turned("worker", "0")
    beats.loop_turned("poller", "alpha")
    beats.loop_turned("consumer")
    clock.advance(BEAT_SECONDS)
    beats.page_published("alpha")
    assert beats.what_is_stuck() == ""
    clock.advance(1)
    assert beats.what_is_stuck() == f"no turn for {BEAT_SECONDS} s: consumer, worker:0"


def beat(service: Service, loop: str) -> float | None:
    found: float | None = service.parts.recorder.registry.get_sample_value(
        "orderflow_loop_beat_timestamp_seconds", {"loop": loop}
    )
    return found


def test_one_wedged_thread_of_two_moves_the_metric_and_live(settings: Settings) -> None:
    """The other thread turns on, and would hide it from OrdersLoopStopped if the newest beat of the loop counted."""
    clock = StillClock()
    service = build(settings, clock=clock)
    hooks, began = service.base.hooks, clock.now().timestamp()
    assert beat(service, "worker") == 0, "it is there before the first turn"
    hooks.loop_turned("worker", "0")
    for _ in range(BEAT_SECONDS + 1):
        clock.advance(1)
        hooks.loop_turned("worker", "1")
    assert beat(service, "worker") == began
    assert service.parts.beats.what_is_stuck() == f"no turn for {BEAT_SECONDS} s: worker:0"
    hooks.loop_turned("worker", "0")
    assert beat(service, "worker") == clock.now().timestamp()
    assert service.parts.beats.what_is_stuck() == ""
    service.stop()


def test_a_shop_that_waits_for_its_next_poll_is_not_stuck_and_one_whose_poll_hangs_is(settings: Settings) -> None:
    clock = StillClock()
    service = build(settings, clock=clock)
    hooks = service.base.hooks
    hooks.loop_turned("poller", "alpha")
    hooks.loop_rests("poller", "alpha")
    clock.advance(900)
    assert beat(service, "poller") == clock.now().timestamp()
    assert service.parts.beats.what_is_stuck() == ""
    hooks.loop_turned("poller", "alpha")
    began = clock.now().timestamp()
    clock.advance(60)
    hooks.page_read("alpha")
    assert beat(service, "poller") == began + 60
    clock.advance(BEAT_SECONDS + 1)
    assert beat(service, "poller") == began + 60
    assert service.parts.beats.what_is_stuck() == f"no turn for {BEAT_SECONDS} s: poller:alpha"
    service.stop()
