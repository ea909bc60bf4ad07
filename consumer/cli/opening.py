"""Opens settings, store and log for one command."""

import os
import pwd
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from adapters.clock import SystemClock
from adapters.errors import ConfigError
from adapters.log.embedded import EmbeddedLog
from adapters.log.kafka import KafkaLog
from adapters.store import transaction as stores
from adapters.store.engine import sqlite_file
from adapters.store.transaction import Store
from consumer import config, wiring
from consumer.config import Settings

CLOCK: Final = SystemClock()


@contextmanager
def opened(file: Path) -> Iterator[tuple[Settings, Store]]:
    """Settings and store. Nothing is made or migrated: a question must not change what it asks about."""
    settings = config.load(file)
    if missing := missing_file(settings):
        raise ConfigError(f"{missing}: there is no store yet; {cure(file)}")
    store = wiring.open_store(settings)
    try:
        if not stores.schema_is_current(store):
            raise ConfigError(f"the store's schema is missing or not this version's; {cure(file)}")
        yield settings, store
    finally:
        store.close()


@contextmanager
def opened_with_log(file: Path) -> Iterator[tuple[Settings, Store, EmbeddedLog | KafkaLog]]:
    """And the log."""
    with opened(file) as (settings, store):
        log = wiring.open_log(settings, store, CLOCK)
        try:
            yield settings, store, log
        finally:
            log.close()


def missing_file(settings: Settings) -> Path | None:
    """SQLite's, where it is not there yet."""
    file = sqlite_file(settings.store.url)
    return file if file and not file.exists() else None


def cure(file: Path) -> str:
    return f"run `orderflow migrate --config {file}`"


def user() -> str:
    """The system's user; not $USER, which anybody sets."""
    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:  # a container's user without a name
        return f"uid {os.getuid()}"
