"""The fixtures of the store's tests."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from adapters.store.transaction import Store
from tests.adapters.store.support import Desk
from tests.support import OpenStore, new_store


@pytest.fixture
def store(open_store: OpenStore) -> Store:
    """A new store. A test that uses it runs once on SQLite and once on PostgreSQL."""
    return open_store()


@pytest.fixture
def sqlite(tmp_path: Path) -> Iterator[Store]:
    """A new store on SQLite, for tests that do not run on PostgreSQL."""
    store = new_store(tmp_path)
    yield store
    store.close()


@pytest.fixture
def desk(store: Store) -> Desk:
    return Desk(store)
