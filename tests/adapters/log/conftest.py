"""Fixtures of the tests of Kafka's log."""

import threading
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from adapters.engines.kafka import Kafka
from tests.adapters.log.kafka_rig import FAST, PATIENCE_SECONDS, MakeLog, Reading, RecordingLog
from tests.engines import MakeTopics, started


@pytest.fixture
def make_log(kafka_servers: list[str]) -> Iterator[MakeLog]:
    made: list[RecordingLog] = []

    def make(
        servers: list[str] = kafka_servers, options: Mapping[str, Any] | None = None, **client: Any
    ) -> RecordingLog:
        made.append(RecordingLog(lambda: {"bootstrap_servers": servers, **client}, consumer=FAST, **(options or {})))
        return made[-1]

    yield make
    for log in made:
        log.close()


@pytest.fixture
def reading(make_log: MakeLog, topics: MakeTopics) -> Iterator[Reading]:
    made = Reading(make_log(), topics({"t": 2})["t"])
    yield made
    made.close()


@pytest.fixture(scope="package")
def kafka_of_ours(folder: Path) -> Iterator[Kafka]:
    """One broker for tests that freeze or kill it. Each of them leaves it running."""
    yield from started(folder)


@pytest.fixture
def no_thread_left(request: pytest.FixtureRequest) -> Iterator[None]:
    """Fails a test that leaves a thread of kafka-python running. Such a thread tries to connect for ever."""
    for engine in {"kafka_servers", "kafka_of_ours", "kafka_secure"} & set(request.fixturenames):
        request.getfixturevalue(engine)  # start the engines first: threads that they leave do not count
    before = set(threading.enumerate())
    yield
    ends_at = time.monotonic() + PATIENCE_SECONDS
    while left := [thread for thread in set(threading.enumerate()) - before if thread.name.startswith("kafka")]:
        assert time.monotonic() < ends_at, f"still running: {left}"
        time.sleep(0.05)
