"""An idle worker thread is woken when a command was opened, and misses none that came while it looked."""

from pathlib import Path

from consumer.applying.apply import OrderWriter
from consumer.service import WorkSignal
from statemachine.commands import CommandKind
from tests.statemachine.lives import answered, read, snapshot_event
from tests.support import LONG, Meanwhile, StillClock, new_store


def test_a_thread_is_woken_when_a_command_is_opened_and_by_no_other_event(tmp_path: Path) -> None:
    store, work = new_store(tmp_path), WorkSignal()
    orders = OrderWriter(store, {}, StillClock(), work)
    orders.apply([snapshot_event(read("SHIPPING"))])
    assert work.times == 1, "its import is due"
    orders.apply([answered(CommandKind.IMPORT), snapshot_event(read("SHIPPING", updated=1, began=1))])
    assert work.times == 1
    store.close()


def test_a_thread_that_looked_before_the_signal_does_not_wait() -> None:
    work = WorkSignal()
    since = work.times
    work.wake(1)
    assert Meanwhile(lambda: work.wait(2 * LONG, since)).result() is None
    waiting = Meanwhile(lambda: work.wait(2 * LONG, work.times))
    assert waiting.waits()
    work.wake_all()
    assert waiting.result() is None
