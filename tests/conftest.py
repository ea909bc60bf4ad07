"""Fixtures for every test. hypothesis has no deadline, so that a slow machine fails no test."""

import faulthandler
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from adapters.store.transaction import Store
from tests.support import OpenStore, make_schema

pytest_plugins = ["tests.engines"]

#: How long the process may take to end after the last test.
EXIT_SECONDS = 60


def pytest_unconfigure() -> None:
    """If a thread or a client keeps the process from ending, print what each thread does, and end the process."""
    faulthandler.dump_traceback_later(EXIT_SECONDS, exit=True, file=2)  # standard error, not pytest's copy of it


settings.register_profile(
    "orderflow",
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
    # In CI each run tries the same examples, so that it does not refuse a change for a fault of another one.
    derandomize=bool(os.environ.get("CI")),
)
settings.load_profile("orderflow")


#: The files that take ten seconds and more, the longest first.
LONG_FILES = (
    "consumer/demo/test_stories.py",
    "consumer/test_not_now.py",
    "statemachine/test_walk.py",
    "consumer/test_reads_that_fail.py",
    "consumer/test_call_faults.py",
    "system/test_strangers.py",
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the long files, so that the processes of `make test` end at about the same time."""
    places = {Path(__file__).parent / name: place for place, name in enumerate(LONG_FILES)}
    items.sort(key=lambda item: places.get(item.path, len(LONG_FILES)))


@pytest.fixture(params=["sqlite", "postgresql"])
def open_store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[OpenStore]:
    """A new database with its schema, on each engine. Every call opens it once more, as another process would."""
    engine: str = request.param
    sqlite = f"sqlite:///{tmp_path}/orderflow.db"
    url = sqlite if engine == "sqlite" else request.getfixturevalue("postgres_store_url")
    opened: list[Store] = []

    def open_() -> Store:
        store = Store(url)
        if store.is_sqlite and not opened:
            make_schema(store)
        opened.append(store)
        return store

    yield open_
    for store in opened:
        store.close()
