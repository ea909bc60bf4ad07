"""An idle worker thread is woken when a command was opened, and misses none that came while it looked."""

from pathlib import Path

from consumer.service import WorkSignal
from tests.consumer.rig import Rig
from tests.support import LONG, Meanwhile


def test_a_thread_is_woken_when_a_command_is_opened_and_by_no_other_event(tmp_path: Path) -> None:
    rig, work = Rig(tmp_path), WorkSignal()
    rig.orders._hooks = work
    rig.add("1-A")
    rig.poll()
    assert work.times == 1, "its acceptance is due"
    rig.work()
    rig.poll(600)
    assert work.times == 1, "the claim, the answer and the next read open nothing"


def test_a_thread_that_looked_before_the_signal_does_not_wait() -> None:
    work = WorkSignal()
    since = work.times
    work.wake(1)
    assert Meanwhile(lambda: work.wait(2 * LONG, since)).result() is None
    waiting = Meanwhile(lambda: work.wait(2 * LONG, work.times))
    assert waiting.waits()
    work.wake_all()
    assert waiting.result() is None
