"""Threads that share work: whoever comes while another works waits, and then one does the work of all who wait."""

import threading
from collections.abc import Sequence

import pytest

from consumer.calling.together import Together
from tests.support import LONG, Meanwhile, wait


class Work:
    """Work that waits for `go` once it has begun. Odd numbers fail."""

    def __init__(self, *, most: int = 64) -> None:
        self.batches: list[list[int]] = []
        self.begun, self.go = threading.Event(), threading.Event()
        self.together = Together(self._work, most)

    def _work(self, items: Sequence[int]) -> list[str | Exception]:
        self.batches.append(list(items))
        self.begun.set()
        assert self.go.wait(LONG)
        if -1 in items:
            raise KeyboardInterrupt
        return [ValueError(str(item)) if item % 2 else str(item) for item in items]

    def asked(self, item: int) -> Meanwhile:
        """Ask from a thread of its own, and wait until it is in the queue."""
        before = self.came()
        asked = Meanwhile(lambda: self._outcome(item))
        wait(lambda: self.came() > before, "the thread is in the queue")
        return asked

    def came(self) -> int:
        return self.together.waiting() + sum(len(batch) for batch in self.batches)

    def _outcome(self, item: int) -> str:
        try:
            return self.together.do(item)
        except (ValueError, KeyboardInterrupt) as error:
            return repr(error)


def test_one_thread_does_the_work_of_all_who_came_meanwhile() -> None:
    work = Work()
    threads = [work.asked(item) for item in (0, 2, 3, 4)]
    work.go.set()
    assert [one.result() for one in threads] == ["0", "2", "ValueError('3')", "4"], "an error is that of its item"
    assert work.batches == [[0], [2, 3, 4]]


def test_a_batch_has_a_bound() -> None:
    work = Work(most=2)
    threads = [work.asked(item) for item in (0, 2, 4, 6)]
    work.go.set()
    assert [one.result() for one in threads] == ["0", "2", "4", "6"]
    assert work.batches == [[0], [2, 4], [6]]


def test_what_the_work_raises_reaches_every_thread_and_the_next_go_on() -> None:
    work = Work(most=2)
    threads = [work.asked(item) for item in (0, -1, 2, 4)]
    work.go.set()
    assert [one.result() for one in threads] == ["0", "KeyboardInterrupt()", "KeyboardInterrupt()", "4"]


def test_a_thread_alone_works_at_once() -> None:
    work = Work()
    work.go.set()
    assert work.together.do(2) == "2"
    with pytest.raises(ValueError, match="5"):
        work.together.do(5)
