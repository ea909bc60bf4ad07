"""Whatever a loop waits for, /live stays well for five minutes, and a loop that is stuck is noticed within 150 s.

Time is a fake clock: a call of a remote takes as long as its client lets it take. tests/sick does the same to engines,
in real time.
"""

import itertools
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import pytest
import sqlalchemy as sa

from adapters.log.kafka import ASK_SECONDS, DELIVERY_SECONDS
from adapters.log.kafka_client import BOOTSTRAP_SECONDS, METADATA_SECONDS
from adapters.simulators.mirakl.changes import set_fields
from adapters.simulators.orders import COMPANIES
from adapters.store.engine import STATEMENT_SECONDS
from consumer.bootstrap import new_housekeeping
from consumer.clients import mirakl_client
from consumer.hooks import BEAT_SECONDS
from consumer.service import Beats
from tests.consumer.rig import Rig
from tests.consumer.test_not_now import DatabaseSays

FIVE_MINUTES = 300
#: How long the liveness probe of k8s/ needs after /live has failed: three failures, one each ten seconds.
PROBE_SECONDS = 30
NOTICED_SECONDS = 150
ORDERS = 450  # five pages at Mirakl, each of which takes nearly as long as a call may take


class Watched:
    """One loop over a rig with slow remotes, and its /live, which is asked before and after every call."""

    def __init__(self, rig: Rig, loop: str, instance: str) -> None:
        self.rig, self.beats = rig, Beats(rig.clock)
        self._loop, self._instance = loop, instance
        self.is_silent = False  # True: the remotes never answer; False: they answer late
        self.calls = 0
        self.was_ill = 0  # how often /live was not well
        self.longest = 0.0  # the longest turn, in seconds
        for net in (rig.nets["alpha"], rig.oms_net):
            net.hook = self.late

    def _look(self) -> None:
        self.was_ill += self.beats.what_is_stuck() != ""

    def late(self, request: httpx.Request) -> httpx.Response | None:
        self._look()
        self.calls += 1
        longest = 2 * self.rig.settings.oms.timeout_seconds  # that of Mirakl is the same
        self.rig.clock.advance(longest if self.is_silent else longest - 1)
        self._look()
        if self.is_silent:
            raise httpx.ReadTimeout("no answer", request=request)
        return None

    @contextmanager
    def database_hangs(self, healthy: int) -> Iterator[None]:
        """Each statement after the first `healthy` ones gets no answer, and fails when its time is up."""
        statements = itertools.count()

        def hang(*_: Any) -> None:
            if next(statements) >= healthy:
                self.rig.clock.advance(STATEMENT_SECONDS)
                self._look()
                raise DatabaseSays("57014")

        engine = self.rig.store.engine
        for event in ("do_execute", "do_executemany"):
            sa.event.listen(engine, event, hang)
        try:
            yield
        finally:
            for event in ("do_execute", "do_executemany"):
                sa.event.remove(engine, event, hang)

    def for_five_minutes(self, turn: Callable[[], object]) -> None:
        """Let the loop turn. Between two turns that fail it waits, as the service does."""
        ends_at = self.rig.clock.monotonic() + FIVE_MINUTES
        while (began := self.rig.clock.monotonic()) < ends_at:
            self.beats.loop_turned(self._loop, self._instance)
            with suppress(Exception):  # no error ends a loop
                turn()
            self._look()
            self.longest = max(self.longest, self.rig.clock.monotonic() - began)
            self.rig.clock.advance(1)
        assert self.was_ill == 0


@pytest.mark.parametrize("is_silent", [True, False], ids=["silent", "slow"])
def test_a_poller_is_alive_while_mirakl_takes_its_longest_time(tmp_path: Path, is_silent: bool) -> None:
    """A slow Mirakl answers five pages in more than two minutes, and all pages are read before one is published."""
    rig = Rig(tmp_path)
    for number in range(ORDERS):
        rig.add(f"{number}-A")
    watched = Watched(rig, "poller", "alpha")
    watched.is_silent = is_silent
    poller = rig.new_poller(hooks=watched.beats)
    watched.for_five_minutes(poller.run)
    assert watched.calls >= 5


def test_a_worker_is_alive_while_the_settings_for_shipments_are_slow(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """SH21 and PC01 are asked for before the first tracking goes out. Their threads do not answer here."""
    monkeypatch.setattr("adapters.remotes.daily.WAIT_SECONDS", 0)
    rig = Rig(tmp_path)
    reads: list[Callable[[], object]] = []
    table, hooks = rig.settings.shops["alpha"], partial(rig.base.hooks.remote_called, "alpha")
    rig.clients["alpha"] = mirakl_client(
        table, lambda: rig.keys["alpha"], rig.clock, hooks, rig.nets["alpha"], beside=reads.append
    )
    rig.worker = rig.new_worker()
    rig.imported()
    rig.oms.dispatch("1-A", COMPANIES["alpha"], carrier="DPD UK", tracking="T1")
    rig.consume()
    watched = Watched(rig, "worker", "0")
    watched.for_five_minutes(rig.worker.turn)
    assert rig.mirakl["alpha"].tracking("1-A") == "T1"
    assert len(reads) == 2
    assert watched.longest < rig.settings.worker.lease_seconds


def test_a_worker_is_alive_while_the_messages_of_an_order_have_many_slow_pages(tmp_path: Path) -> None:
    rig = Rig(tmp_path)
    rig.add("1-A", state="SHIPPING")
    set_fields(rig.mirakl["alpha"], "1-A", has_customer_message=True)
    rig.poll()
    watched = Watched(rig, "worker", "0")

    def pages(request: httpx.Request) -> httpx.Response | None:
        late = watched.late(request)
        if request.url.path != "/api/inbox/threads":
            return late
        return httpx.Response(200, json={"data": [], "next_page_token": str(watched.calls)})

    rig.nets["alpha"].hook = pages
    watched.for_five_minutes(rig.worker.turn)
    assert watched.calls >= 4


@pytest.mark.parametrize("is_silent", [True, False], ids=["silent", "slow"])
def test_a_worker_is_alive_while_the_remotes_take_their_longest_time(tmp_path: Path, is_silent: bool) -> None:
    rig = Rig(tmp_path)
    for number in range(5):
        rig.add(f"{number}-A")
        rig.add(f"{number}-B", state="SHIPPING")
    rig.poll()
    watched = Watched(rig, "worker", "0")
    watched.is_silent = is_silent
    watched.for_five_minutes(rig.worker.turn)
    assert watched.calls >= 2
    assert watched.longest < rig.settings.worker.lease_seconds


LOOPS: dict[str, Callable[[Rig, Beats], Callable[[], object]]] = {
    "poller": lambda rig, beats: rig.new_poller(hooks=beats).run,
    "consumer": lambda rig, _beats: lambda: rig.consumer.turn(0),
    "worker": lambda rig, _beats: rig.worker.turn,
    "housekeeping": lambda rig, _beats: new_housekeeping(rig.base).turn,
}


@pytest.mark.parametrize("loop", LOOPS)
def test_every_loop_is_alive_while_the_database_hangs(tmp_path: Path, loop: str) -> None:
    """It hangs from the first statement of a turn, or from any later one."""
    rig = Rig(tmp_path)
    for number in range(3):
        rig.add(f"{number}-A", state="SHIPPING")
    rig.clock.advance(1)
    rig.pollers["alpha"].run()
    if loop != "consumer":
        rig.consume()
    rig.add("3-A")
    watched = Watched(rig, loop, "alpha" if loop == "poller" else "0")
    turn = LOOPS[loop](rig, watched.beats)
    for healthy in range(12):
        with watched.database_hangs(healthy):
            watched.for_five_minutes(turn)
    assert watched.longest >= STATEMENT_SECONDS, "the loop did not notice that the database hangs"


def test_no_call_of_kafka_takes_longer_than_a_loop_may_take() -> None:
    """tests/sick stops a real broker, in real time."""
    assert max(ASK_SECONDS, DELIVERY_SECONDS, BOOTSTRAP_SECONDS + METADATA_SECONDS) < BEAT_SECONDS / 2


def test_a_loop_that_is_stuck_is_noticed_within_150_seconds(tmp_path: Path) -> None:
    rig = Rig(tmp_path)
    beats = Beats(rig.clock)
    beats.loop_turned("worker", "0")
    rig.clock.advance(BEAT_SECONDS)
    assert beats.what_is_stuck() == ""
    rig.clock.advance(NOTICED_SECONDS - PROBE_SECONDS - BEAT_SECONDS + 0.1)
    assert "worker:0" in beats.what_is_stuck()
