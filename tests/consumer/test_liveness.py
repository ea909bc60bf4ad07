"""Whatever a loop waits for, /live stays well for five minutes, and a loop that is stuck is noticed within 150 s.

Time is a fake clock: a call of a remote takes as long as its client lets it take. tests/sick does the same to engines,
in real time.
"""

from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import httpx
import pytest

from adapters.simulators.mirakl.changes import set_fields
from adapters.simulators.orders import COMPANIES
from consumer.hooks import BEAT_SECONDS
from consumer.service import Beats
from tests.consumer.rig import Rig

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


def test_a_worker_is_alive_while_the_settings_for_shipments_are_slow(tmp_path: Path) -> None:
    """SH21, SH12 and PC01 are read before the first tracking goes out."""
    rig = Rig(tmp_path)
    rig.imported()
    rig.oms.dispatch("1-A", COMPANIES["alpha"], carrier="DPD UK", tracking="T1")
    rig.consume()
    watched = Watched(rig, "worker", "0")
    watched.for_five_minutes(rig.worker.turn)
    assert rig.mirakl["alpha"].tracking("1-A") == "T1"
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


def test_a_loop_that_is_stuck_is_noticed_within_150_seconds(tmp_path: Path) -> None:
    rig = Rig(tmp_path)
    beats = Beats(rig.clock)
    beats.loop_turned("worker", "0")
    rig.clock.advance(BEAT_SECONDS)
    assert beats.what_is_stuck() == ""
    rig.clock.advance(NOTICED_SECONDS - PROBE_SECONDS - BEAT_SECONDS + 0.1)
    assert "worker:0" in beats.what_is_stuck()
