"""What hands an event on to the call wakes whoever waits for it: no step of the chain looks only when its time comes.

Kafka hands a record to a poll that waits, and PostgreSQL hands the notice of an opened command to the process of a
worker, whose idle threads it wakes. Here nobody looks by himself, but in the last test: the time for that is longer
than any test.
"""

import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import sqlalchemy as sa

import consumer.service
from adapters.clock import SystemClock
from adapters.engines.processes import free_port
from adapters.store import notices
from adapters.store.transaction import Store
from consumer import config
from consumer.applying.apply import OrderWriter
from consumer.bootstrap import build_parts
from consumer.calling.worker import Worker
from consumer.demo.settings import write_settings
from consumer.service import Service
from tests.statemachine.lives import read, snapshot_event
from tests.support import LONG, new_store, wait

THREADS = 2


class Looks(Worker):
    """A worker that finds nothing to do, and counts how often it looked."""

    def __init__(self) -> None:
        self._looks = threading.Semaphore(0)
        self.comes_back = False

    def rests(self, longest: float) -> float:
        return 0.0 if self.comes_back else longest

    def turn(self) -> bool:
        self._looks.release()
        return False

    def looked(self) -> bool:
        return self._looks.acquire(timeout=LONG)


class Process:
    """The process of a worker. Its threads look once, and then only if they are woken."""

    def __init__(self, folder: Path, url: str) -> None:
        nowhere = f"http://127.0.0.1:{free_port()}"
        settings = config.load(write_settings(folder, {"alpha": nowhere}, nowhere, free_port()))
        changed = {
            "store": settings.store.model_copy(update={"url": url}),
            "worker": settings.worker.model_copy(update={"threads": THREADS}),
        }
        self.worker = Looks()
        parts = build_parts(settings.model_copy(update=changed))
        self.service = Service(replace(parts, worker=self.worker, consumer=None, housekeeping=None, relay=None))
        self.service.start()


@pytest.fixture
def store(postgres_store_url: str) -> Iterator[Store]:
    """The store, as another process has it open."""
    store = Store(postgres_store_url)
    yield store
    store.close()


@pytest.fixture
def process(
    tmp_path: Path, postgres_store_url: str, store: Store, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Process]:
    monkeypatch.setattr(consumer.service, "IDLE_SECONDS", 10 * LONG)
    process = Process(tmp_path, postgres_store_url)
    yield process
    process.service._stopping.set()
    with store.transaction() as tx:
        notices.opened(tx, 1)  # so that the thread that listens ends
    process.service.stop()


def test_a_command_that_one_process_opens_wakes_an_idle_thread_of_another(process: Process, store: Store) -> None:
    assert all(process.worker.looked() for _ in range(THREADS)), "each thread looks when it starts"
    wait(lambda: _listens(store), "the process listens")
    orders = OrderWriter(store, {}, SystemClock())
    for number in range(3):
        shown = snapshot_event(read("SHIPPING"))
        orders.apply([replace(shown, event_id=f"{shown.event_id}:{number}", order_id=f"O-{number}")])
        assert process.worker.looked(), "its import is due"


def test_an_idle_thread_comes_back_for_a_result_that_waits_for_a_lock(process: Process, store: Store) -> None:
    wait(lambda: _listens(store), "the process listens")
    process.worker.comes_back = True
    with store.transaction() as tx:
        notices.opened(tx, 1)
    assert all(process.worker.looked() for _ in range(THREADS + 10)), "nobody woke it"


def test_an_idle_thread_looks_now_and_then_though_nobody_wakes_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A call in back-off is due some time later, a person turns the effects on, and a notice can be lost."""
    monkeypatch.setattr(consumer.service, "IDLE_SECONDS", 0.01)
    store = new_store(tmp_path)
    process = Process(tmp_path, store.engine.url.render_as_string())
    try:
        assert all(process.worker.looked() for _ in range(5 * THREADS))
    finally:
        process.service.stop()
        store.close()


def _listens(store: Store) -> bool:
    asked = sa.text(
        "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND query LIKE 'LISTEN %'"
    )
    with store.reading() as connection:
        return bool(connection.execute(asked).scalar_one())
