"""Threads that do work beside the callers: a caller that holds a lease must not wait for a remote that hangs."""

import threading
from collections.abc import Callable
from queue import SimpleQueue
from typing import Final

import structlog

from adapters.errors import OrderflowError

log = structlog.get_logger("orderflow")

#: Runs a task, now or later.
Run = Callable[[Callable[[], object]], None]

THREADS: Final = 2


def at_once(task: Callable[[], object]) -> None:
    """Run the task in the caller's thread."""
    task()


class Beside:
    """Runs tasks in a few threads of its own, one task after another. Any thread may call.

    A thread begins with the first task, and ends with the process. A task that fails is logged.
    """

    def __init__(self, name: str, threads: int = THREADS) -> None:
        self._name = name
        self._most = threads
        self._threads = 0
        self._lock = threading.Lock()
        self._tasks: SimpleQueue[Callable[[], object]] = SimpleQueue()

    def __call__(self, task: Callable[[], object]) -> None:
        self._tasks.put(task)
        with self._lock:
            if self._threads == self._most:
                return
            name = f"{self._name}:{self._threads}"
            self._threads += 1
        threading.Thread(target=self._run, name=name, daemon=True).start()

    def _run(self) -> None:
        while True:
            task = self._tasks.get()
            try:
                task()
            except OrderflowError as error:
                log.warning("task_failed", thread=self._name, error=str(error))
            except Exception as error:
                log.error("task_failed", thread=self._name, error=type(error).__name__)
