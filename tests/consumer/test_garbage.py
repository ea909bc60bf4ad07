"""What a process keeps of errors that clients hold in cycles."""

import gc
import socket
import weakref
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from adapters.engines.processes import free_port
from adapters.errors import LogUnavailable
from adapters.log.kafka import KafkaLog
from consumer import config, garbage
from consumer.bootstrap import build
from consumer.demo.settings import write_settings
from consumer.polling.poller import Poller
from tests.consumer.polling.polling import fill
from tests.consumer.rig import Rig
from tests.support import wait


@pytest.fixture(autouse=True)
def _by_number_never() -> Iterator[None]:
    """Few objects are too few for Python to look for cycles by itself."""
    gc.collect()
    gc.disable()
    yield
    gc.enable()


class Page:
    """An object that a cycle keeps."""

    def __init__(self) -> None:
        self.itself = self


def test_a_process_looks_for_garbage_by_time_until_it_stops() -> None:
    waited: list[float] = []
    page = weakref.ref(Page())

    def stopped_within(seconds: float) -> bool:
        waited.append(seconds)
        return len(waited) == 2

    garbage.collect_by_time(stopped_within)
    assert waited == [garbage.COLLECT_SECONDS] * 2
    assert page() is None


def test_every_process_does_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(garbage, "COLLECT_SECONDS", 0.01)
    nowhere = f"http://127.0.0.1:{free_port()}"
    settings = config.load(write_settings(tmp_path, {"alpha": nowhere}, nowhere, free_port()))
    service = build(settings)
    service.start()
    try:
        page = weakref.ref(Page())
        wait(lambda: page() is None, "the garbage is collected")
    finally:
        service.stop()


def test_a_poller_whose_broker_hangs_keeps_no_order_of_a_failed_publication(tmp_path: Path) -> None:
    """It kept a page of 100 orders of each, which was 50 MB in five minutes."""
    rig = Rig(tmp_path)
    fill(rig, 20)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        address = f"127.0.0.1:{silent.getsockname()[1]}"
        with closing(KafkaLog(lambda: {"bootstrap_servers": [address]}, delivery_seconds=0.6)) as log:
            poller = rig.new_poller(writer=log)
            _fails(poller)
            assert _read_orders() == 0


def _fails(poller: Poller) -> None:
    with pytest.raises(LogUnavailable):
        poller.run()


def _read_orders() -> int:
    return sum(type(one).__name__ == "_ReadOrder" for one in gc.get_objects())
