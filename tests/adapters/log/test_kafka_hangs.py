"""A broker that takes connections and never answers. No Kafka is needed."""

import socket
import threading
from collections.abc import Iterator
from contextlib import closing

import pytest

from adapters.errors import LogUnavailable
from adapters.log.kafka import KafkaLog
from adapters.ports import NewRecord

RECORD = NewRecord("t", b"k", b"v")


class Hangs(KafkaLog):
    """A log whose broker hangs. It counts the clients that it makes."""

    def __init__(self, address: str) -> None:
        self.clients = 0
        super().__init__(self._options, delivery_seconds=1.5)
        self._address = address

    def _options(self) -> dict[str, list[str]]:
        self.clients += 1
        return {"bootstrap_servers": [self._address]}


@pytest.fixture
def log() -> Iterator[Hangs]:
    with (
        socket.create_server(("127.0.0.1", 0), backlog=128) as silent,
        closing(Hangs(f"127.0.0.1:{silent.getsockname()[1]}")) as log,
    ):
        yield log


def test_while_the_broker_hangs_all_publications_fail_together(log: Hangs) -> None:
    """60 callbacks waited one after the other, 10 s each, because each made a producer under one lock."""
    errors: list[Exception] = []

    def publish() -> None:
        try:
            log.publish([RECORD])
        except LogUnavailable as error:
            errors.append(error)

    threads = [threading.Thread(target=publish) for _ in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(errors) == 20
    assert log.clients < 20, "publications wait for one producer, and fail with it"


def test_a_log_that_is_closed_publishes_nothing(log: Hangs) -> None:
    log.close()
    with pytest.raises(LogUnavailable):
        log.publish([RECORD])
