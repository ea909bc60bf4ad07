"""The fixtures of the store's tests."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from adapters.store.transaction import Store
from tests.adapters.store.support import Desk
from tests.support import OpenStore, new_store


@pytest.fixture
def store(open_store: OpenStore) -> Store:
    """A new store on each engine: a test that asks for it holds on both."""
    return open_store()


@pytest.fixture
def sqlite(tmp_path: Path) -> Iterator[Store]:
    """A new store on SQLite alone."""
    store = new_store(tmp_path)
    yield store
    store.close()


@pytest.fixture
def desk(store: Store) -> Desk:
    return Desk(store)
