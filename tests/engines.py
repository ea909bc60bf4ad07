"""Real engines for the tests that need them: started here, or those that ORDERFLOW_TEST_* name.

On a machine that lacks one, its tests are skipped and say what to install; under CI they fail.
"""

import os
import shutil
import tempfile
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg import sql
from sqlalchemy import make_url

from adapters.engines.kafka import Kafka, kafka_missing
from adapters.engines.postgres import Postgres, postgres_missing
from adapters.store.engine import without_password

#: Makes topics with names of their own: base name -> partitions gives base name -> name.
MakeTopics = Callable[[Mapping[str, int]], dict[str, str]]


def needs(missing: str) -> None:
    """Skip the test, saying what is missing; under CI fail it."""
    if not missing:
        return
    if os.environ.get("CI"):
        pytest.fail(f"CI has to have {missing}")
    pytest.skip(f"needs {missing}")


@pytest.fixture(scope="session")
def folder() -> Iterator[Path]:
    """For the engines' files."""
    made = Path(tempfile.mkdtemp(prefix="orderflow-engines-"))
    yield made
    shutil.rmtree(made, ignore_errors=True)


# -- Kafka -------------------------------------------------------------------------------------------------------


def started(folder: Path, *, brokers: int = 1, **options: Any) -> Iterator[Kafka]:
    """For a fixture: brokers of its own."""
    needs(kafka_missing())
    kafka = Kafka.start(folder / uuid.uuid4().hex, brokers=brokers, **options)
    yield kafka
    for number in range(1, brokers):  # the last of several would wait 5 s for one to hand its lead to
        with suppress(KeyError):  # the test killed it already
            kafka.kill(number)
    kafka.stop()


@pytest.fixture(scope="session")
def kafka(folder: Path) -> Iterator[Kafka | None]:
    """One broker that nobody harms; None where ORDERFLOW_TEST_KAFKA names another one."""
    if os.environ.get("ORDERFLOW_TEST_KAFKA"):
        yield None
    else:
        yield from started(folder)


@pytest.fixture(scope="session")
def kafka_servers(kafka: Kafka | None) -> list[str]:
    """A Kafka that nobody harms."""
    return kafka.bootstrap_servers if kafka else os.environ["ORDERFLOW_TEST_KAFKA"].split(",")


@pytest.fixture
def topics(kafka_servers: list[str]) -> MakeTopics:
    """Topics on `kafka_servers`."""
    return lambda wanted: make_topics(kafka_servers, wanted)


def make_topics(servers: list[str], wanted: Mapping[str, int], **options: Any) -> dict[str, str]:
    from kafka import KafkaAdminClient

    names = {base: f"{base}.{uuid.uuid4().hex[:8]}" for base in wanted}
    admin = KafkaAdminClient(bootstrap_servers=servers, **options)
    admin.create_topics({names[base]: {"num_partitions": count} for base, count in wanted.items()})
    admin.wait_for_topics(list(names.values()))
    admin.close()
    return names


@pytest.fixture
def kafka_alone(folder: Path) -> Iterator[Kafka]:
    """One broker for tests that kill it."""
    yield from started(folder)


@pytest.fixture(scope="module")
def kafka_three(folder: Path) -> Iterator[Kafka]:
    """Three brokers; a write needs two of them."""
    yield from started(folder, brokers=3, heap_megabytes=384)


USERS = {"orderflow": "orderflow-secret", "oms": "oms-secret", "nobody": "nobody-secret"}


@pytest.fixture(scope="module")
def kafka_secure(folder: Path) -> Iterator[Kafka]:
    """One broker with TLS, SCRAM and access lists, for USERS."""
    yield from started(folder, users=USERS)


# -- PostgreSQL --------------------------------------------------------------------------------------------------


def started_postgres(folder: Path) -> Iterator[Postgres]:
    """For a fixture: a server of its own."""
    needs(postgres_missing())
    postgres = Postgres.start(folder / uuid.uuid4().hex)
    yield postgres
    postgres.stop()


@pytest.fixture(scope="session")
def postgres_server(folder: Path) -> Iterator[Postgres | None]:
    """One server that nobody harms; None where ORDERFLOW_TEST_DATABASE_URL names another one."""
    if os.environ.get("ORDERFLOW_TEST_DATABASE_URL"):
        yield None
    else:
        yield from started_postgres(folder)


@pytest.fixture
def postgres_url(postgres_server: Postgres | None) -> Iterator[str]:
    """A fresh, empty database."""
    yield from _database(postgres_server)


@pytest.fixture(scope="module")
def postgres_module_url(postgres_server: Postgres | None) -> Iterator[str]:
    """One for all tests of a module."""
    yield from _database(postgres_server)


def _database(postgres_server: Postgres | None) -> Iterator[str]:
    server = make_url(postgres_server.url if postgres_server else os.environ["ORDERFLOW_TEST_DATABASE_URL"])
    plain = server.set(drivername="postgresql").render_as_string(hide_password=False)
    name = f"test_{uuid.uuid4().hex[:12]}"
    with psycopg.connect(plain, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}")
    yield server.set(database=name).render_as_string(hide_password=False)
    with psycopg.connect(plain, autocommit=True) as connection:
        connection.execute(f"DROP DATABASE {name} WITH (FORCE)")


def store_lines(folder: Path, url: str) -> str:
    """What a configuration in `folder` says in [store]; the password of the URL, where it has one, goes into a file."""
    bare, password = without_password(url)
    (folder / "database.password").write_text(password)
    return f'url = "{bare}"\n' + ('password_file = "database.password"\n' if password else "")


PASSWORD = "open@sesame:/?#&%"


@pytest.fixture
def postgres_url_with_password(folder: Path) -> Iterator[str]:
    """The URL of a server of its own that lets nobody in without PASSWORD."""
    for postgres in started_postgres(folder):
        plain = make_url(postgres.url).set(drivername="postgresql")
        with psycopg.connect(plain.render_as_string(), autocommit=True) as connection:
            connection.execute(sql.SQL("ALTER ROLE orderflow PASSWORD {}").format(PASSWORD))
            (rules,) = connection.execute("SHOW hba_file").fetchone() or ()
            Path(rules).write_text("host all all 127.0.0.1/32 scram-sha-256\n")
            connection.execute("SELECT pg_reload_conf()")
        yield make_url(postgres.url).set(password=PASSWORD).render_as_string(hide_password=False)


@pytest.fixture
def postgres_alone(folder: Path) -> Iterator[Postgres]:
    """One server for tests that kill it."""
    yield from started_postgres(folder)
