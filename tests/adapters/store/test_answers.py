"""A server that hangs: it keeps connections open and answers nothing. Its own limits do not help then."""

from collections.abc import Iterator

import pytest
import sqlalchemy as sa

from adapters.engines.postgres import Postgres
from adapters.errors import Cause, StoreUnavailable
from adapters.store import answers
from adapters.store.answers import BoundedConnection
from adapters.store.transaction import Store
from tests.support import Meanwhile

SHORT = 0.5


@pytest.fixture
def store(postgres_alone: Postgres) -> Iterator[Store]:
    store = Store(postgres_alone.url)
    store.migrate()
    yield store
    postgres_alone.thaw()
    store.close()


@pytest.fixture(autouse=True)
def _short(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(BoundedConnection, "answer_seconds", SHORT)
    monkeypatch.setattr(answers, "PING_SECONDS", SHORT)


def test_a_statement_without_an_answer_ends(store: Store, postgres_alone: Postgres) -> None:
    with pytest.raises(StoreUnavailable) as raised, store.writing() as connection:
        postgres_alone.freeze()
        connection.execute(sa.text("SELECT 1"))
    assert raised.value.cause == Cause.TIMEOUT
    postgres_alone.thaw()
    store.ping()


def test_a_connection_of_the_pool_that_does_not_answer_is_given_up(store: Store, postgres_alone: Postgres) -> None:
    """Every loop hung at it for as long as the server did, so /live failed after two minutes."""
    store.ping()
    postgres_alone.freeze()
    error = Meanwhile(store.ping).result()
    assert isinstance(error, StoreUnavailable)
    assert error.cause == Cause.TIMEOUT
    assert not store.takes_a_small_write()
    postgres_alone.thaw()
    store.ping()
    assert store.takes_a_small_write()


def test_a_migration_has_no_bound(store: Store) -> None:
    with store.engine.connect() as connection:
        driver = connection.connection.driver_connection
        assert isinstance(driver, BoundedConnection)
        with answers.answered_within(driver, None):
            connection.execute(sa.text(f"SELECT pg_sleep({2 * SHORT})"))
        with pytest.raises(sa.exc.DBAPIError):
            connection.execute(sa.text(f"SELECT pg_sleep({4 * SHORT})"))
