"""The engines: URLs and passwords, and no data in the text of an error."""

import pytest
import sqlalchemy as sa

from adapters.errors import ConfigError
from adapters.store import audit as audit_rows
from adapters.store import engine
from adapters.store.transaction import Store
from tests.adapters.store.support import NOW


@pytest.mark.parametrize("url", ["no url", "mysql://host/db"])
def test_another_database_is_a_configuration_error(url: str) -> None:
    with pytest.raises(ConfigError, match=r"store\.url"):
        Store(url)


@pytest.mark.parametrize(
    ("url", "bare", "password"),
    [
        ("postgresql://me@host/db", "postgresql://me@host/db", ""),
        ("postgresql://me:p%40ss@host:5/db", "postgresql://me@host:5/db", "p@ss"),
        ("postgresql://me@host/db?password=p%40ss&a=b", "postgresql://me@host/db?a=b", "p@ss"),
        ("postgresql://me:other@host/db?password=p", "postgresql://me@host/db", "p"),  # the driver prefers the query
        ("postgresql://me@host/db?password=o&password=p", "postgresql://me@host/db", "p"),
    ],
)
def test_a_password_is_taken_out_of_a_url_wherever_it_stands(url: str, bare: str, password: str) -> None:
    assert engine.without_password(url) == (bare, password)
    assert engine.has_password(url) == bool(password)
    assert not engine.has_password(bare)


def test_the_text_of_an_error_holds_no_data(store: Store) -> None:
    with pytest.raises(sa.exc.IntegrityError) as error, store.transaction() as tx:
        audit_rows.add(tx, who="Canary", act=None, subject="Canary", why="Canary", at=NOW)  # type: ignore[arg-type]
    assert "Canary" not in str(error.value).split("DETAIL")[0]
