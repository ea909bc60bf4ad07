"""A broker that takes connections and never answers. No Kafka is needed."""

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import closing

import pytest

from adapters.errors import LogUnavailable
from adapters.log.kafka import KafkaLog
from adapters.ports import NewRecord

RECORD = NewRecord("t", b"k", b"v")


@pytest.fixture
def log() -> Iterator[KafkaLog]:
    with socket.create_server(("127.0.0.1", 0), backlog=128) as silent:
        address = f"127.0.0.1:{silent.getsockname()[1]}"
        with closing(KafkaLog(lambda: {"bootstrap_servers": [address]}, delivery_seconds=1.5)) as log:
            yield log


def test_while_the_broker_hangs_all_publications_fail_together(log: KafkaLog) -> None:
    """60 callbacks waited one after the other, 10 s each, because each made a producer under one lock."""
    errors: list[Exception] = []

    def publish() -> None:
        try:
            log.publish([RECORD])
        except LogUnavailable as error:
            errors.append(error)

    threads = [threading.Thread(target=publish) for _ in range(20)]
    began = time.monotonic()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(errors) == 20
    assert time.monotonic() - began < 10  # one after the other takes 20 s


def test_a_log_that_is_closed_publishes_nothing(log: KafkaLog) -> None:
    log.close()
    with pytest.raises(LogUnavailable):
        log.publish([RECORD])
