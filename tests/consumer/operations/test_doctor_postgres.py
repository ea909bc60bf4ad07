"""`orderflow doctor` on a real PostgreSQL: each fault of the database is one line."""

from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from sqlalchemy import make_url
from typer.testing import CliRunner

from adapters.clock import SystemClock
from adapters.store.engine import without_password
from adapters.store.transaction import Store
from consumer.cli.app import app
from consumer.cli.opening import Environment
from consumer.cli.output import BAD_USE
from consumer.operations.doctor import database
from tests.consumer.operations.ward import Ward
from tests.engines import PASSWORD
from tests.support import StillClock


@pytest.fixture
def ward(tmp_path: Path, postgres_store_url: str) -> Iterator[Ward]:
    yield on(Ward(tmp_path, SystemClock()), postgres_store_url)


def on(ward: Ward, url: str) -> Ward:
    """Put the service on a PostgreSQL, where its log is Kafka's. Only the subjects beside Kafka's are looked at."""
    bare, password = without_password(url)
    ward.write("store.password", password)
    lines = f'url = "{bare}"' + ('\npassword_file = "store.password"' if password else "")
    ward.change('url = "sqlite:///orderflow.db"', lines)
    ward.set("log", 'kind = "kafka"')
    ward.set("kafka", 'bootstrap_servers = ["127.0.0.1:1"]')
    return ward


def fails(ward: Ward) -> set[str]:
    """The checks that fail, but for Kafka, which is not there."""
    return {check for check, _ in ward.found("fail") if not check.startswith("kafka.")}


def plain(url: str) -> str:
    return make_url(url).set(drivername="postgresql").render_as_string(hide_password=False)


def test_a_database_in_order_has_no_line(ward: Ward, postgres_store_url: str) -> None:
    store = Store(postgres_store_url)
    ward.know_shops(store)
    store.close()
    found = ward.found("ok")
    assert {name for name, _, _ in database.CHECKS} <= {check for check, _ in found}
    assert fails(ward) == set()


def test_a_database_that_does_not_run(ward: Ward) -> None:
    ward.change(f":{make_url(ward.file.read_text().split(chr(34))[1]).port}/", ":1/")
    assert fails(ward) == {"store.reach"}
    assert ward.found("fail")["store.reach", ""] == "the database does not answer: refused"


def test_a_host_that_no_name_server_knows(ward: Ward) -> None:
    ward.change("@127.0.0.1:", "@no-such-host.invalid:")
    assert fails(ward) == {"store.reach"}


def test_a_database_that_is_not_there(ward: Ward, postgres_store_url: str) -> None:
    ward.change(str(make_url(postgres_store_url).database), "not_there")
    assert "login" in ward.found("fail")["store.reach", ""]


def test_a_wrong_password(tmp_path: Path, postgres_url_with_password: str) -> None:
    ward = on(Ward(tmp_path, SystemClock()), postgres_url_with_password)
    assert fails(ward) == {"store.schema"}  # the password is right, and nobody has migrated yet
    ward.write("store.password", f"not {PASSWORD}")
    assert ward.found("fail")["store.reach", ""] == "the database does not answer: login"


def test_a_schema_that_nobody_made(tmp_path: Path, postgres_url: str) -> None:
    ward = on(Ward(tmp_path, SystemClock()), postgres_url)
    assert fails(ward) == {"store.schema"}


def test_a_user_without_rights(ward: Ward, postgres_store_url: str) -> None:
    with psycopg.connect(plain(postgres_store_url), autocommit=True) as connection:
        name = make_url(postgres_store_url).database
        connection.execute(f"CREATE ROLE reader_{name} LOGIN".encode())
        connection.execute(f"GRANT SELECT ON ALL TABLES IN SCHEMA public TO reader_{name}".encode())
        connection.execute(f"REVOKE SELECT ON orders FROM reader_{name}".encode())
        try:
            ward.change("orderflow@", f"reader_{name}@")
            found = ward.found("fail")
        finally:
            connection.execute(f"DROP OWNED BY reader_{name}".encode())
            connection.execute(f"DROP ROLE reader_{name}".encode())
    assert "INSERT" in found["store.rights", ""]
    assert {check for check, _ in found if check.startswith("store.")} == {"store.rights"}


def test_a_database_that_may_lose_what_it_confirmed(ward: Ward, postgres_store_url: str) -> None:
    with psycopg.connect(plain(postgres_store_url), autocommit=True) as connection:
        name = make_url(postgres_store_url).database
        connection.execute(f"ALTER DATABASE {name} SET synchronous_commit = off".encode())
    assert fails(ward) == {"store.settings"}


def test_an_old_transaction_is_told(ward: Ward, postgres_store_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(database, "OLD_TRANSACTION_SECONDS", 0.0)
    with psycopg.connect(plain(postgres_store_url), application_name="report") as connection:
        connection.execute("SELECT 1")
        found = ward.found("warn")
    assert "(report) holds a transaction" in found["store.transactions", ""]


@pytest.mark.parametrize("statement", ["LOCK TABLE orders IN SHARE MODE", "CREATE INDEX report ON orders (state)"])
def test_a_session_that_keeps_all_others_from_writing_is_named(
    ward: Ward, postgres_store_url: str, monkeypatch: pytest.MonkeyPatch, statement: str
) -> None:
    assert "store.transactions" not in fails(ward)  # with a limit of 0, a lock of a moment would count
    monkeypatch.setattr(database, "LOCK_SECONDS", 0.0)
    with psycopg.connect(plain(postgres_store_url), application_name="psql") as connection:
        connection.execute(statement.encode())
        found = ward.found("fail")
    assert "(psql) has locked a table" in found["store.transactions", ""]


def test_while_a_table_is_locked_each_line_that_fails_says_so(
    ward: Ward, postgres_store_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(database, "LOCK_SECONDS", 0.0)
    with psycopg.connect(plain(postgres_store_url), application_name="report") as connection:
        connection.execute("LOCK TABLE shops IN ACCESS EXCLUSIVE MODE")
        found = {where[0]: text for where, text in ward.found("fail").items() if not where[0].startswith("kafka.")}
    assert found.keys() == {"store.transactions", "mirakl.account"}
    assert found["mirakl.account"] == "the store could not do what this check needs: locked"


def test_a_command_says_that_somebody_has_locked_a_table(ward: Ward, postgres_store_url: str) -> None:
    words = ["orders", "list", "--config", str(ward.file)]
    with psycopg.connect(plain(postgres_store_url)) as connection:
        connection.execute("LOCK TABLE orders IN ACCESS EXCLUSIVE MODE")
        done = CliRunner().invoke(app, words, obj=Environment(ward.clock, "ops"))
    assert done.exit_code == BAD_USE
    assert (
        "another session has locked what this needs in the store (LockNotAvailable): `orderflow doctor`" in done.stderr
    )


def test_a_command_says_that_the_password_is_wrong(tmp_path: Path, postgres_url_with_password: str) -> None:
    ward = on(Ward(tmp_path, SystemClock()), postgres_url_with_password)
    ward.write("store.password", f"not {PASSWORD}")
    done = CliRunner().invoke(app, ["orders", "list", "--config", str(ward.file)], obj=Environment(ward.clock, "ops"))
    assert "the store refuses the user" in done.stderr


def test_a_machine_with_a_wrong_clock(tmp_path: Path, postgres_store_url: str) -> None:
    """Mirakl's answers say so too, because the simulators run by the clock of the machine."""
    ward = on(Ward(tmp_path, StillClock()), postgres_store_url)
    assert fails(ward) == {"store.clock"}
    assert "behind" in ward.found("fail")["store.clock", ""]
