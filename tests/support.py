"""What many tests need: a clock that stands still, and a store of their own."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

from adapters import store as stores
from adapters.store import Store

#: Opens a test's database once more, as another process would.
OpenStore = Callable[[], Store]


class StillClock:
    """Time that moves when a test says so."""

    def __init__(self, at: datetime = datetime(2026, 3, 1, 12, tzinfo=UTC)) -> None:
        self.at = at

    def now(self) -> datetime:
        return self.at

    def monotonic(self) -> float:
        return self.at.timestamp()

    def advance(self, seconds: float) -> None:
        self.at += timedelta(seconds=seconds)


def new_store(folder: Path) -> Store:
    """An empty store with its schema."""
    store = Store(f"sqlite:///{folder}/orderflow.db")
    stores.migrate(store)
    return store
