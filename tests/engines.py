"""Kafka and PostgreSQL for the tests that need them: started here, or those that ORDERFLOW_TEST_* name.

On a machine without one of them, its tests are skipped and say what to install; under CI they fail.
"""

import os
import shutil
import tempfile
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
import pytest
import trustme
from cryptography.hazmat.primitives import serialization
from kafka import KafkaAdminClient
from psycopg import sql
from sqlalchemy import make_url

from adapters.engines.kafka import Kafka, SecureListener, kafka_missing
from adapters.engines.postgres import Postgres, postgres_missing
from adapters.store.engine import without_password
from adapters.store.transaction import Store

#: Creates topics with unique names. Takes the number of partitions by base name; returns the full name by base name.
MakeTopics = Callable[[Mapping[str, int]], dict[str, str]]


def needs(missing: str) -> None:
    """Skip the test if `missing` is not empty, and say what is missing; under CI fail the test instead."""
    if not missing:
        return
    if os.environ.get("CI"):
        pytest.fail(f"CI has to have {missing}")
    pytest.skip(f"needs {missing}")


@pytest.fixture(scope="session")
def folder() -> Iterator[Path]:
    """The folder of all files of the engines; deleted at the end."""
    made = Path(tempfile.mkdtemp(prefix="orderflow-engines-"))
    yield made
    shutil.rmtree(made, ignore_errors=True)


# -- Kafka -------------------------------------------------------------------------------------------------------


def started(folder: Path, *, brokers: int = 1, **options: Any) -> Iterator[Kafka]:
    """The body of a fixture that yields brokers of its own. `options` are those of Kafka.start."""
    needs(kafka_missing())
    kafka = Kafka.start(folder / uuid.uuid4().hex, brokers=brokers, **options)
    yield kafka
    # All but one are killed: if each was stopped, the last one would wait 5 s for another broker that takes the lead.
    for number in range(1, brokers):
        with suppress(KeyError):  # the test has killed this broker
            kafka.kill(number)
    kafka.stop()


@pytest.fixture(scope="session")
def kafka(folder: Path) -> Iterator[Kafka | None]:
    """One broker that no test kills or freezes; None if ORDERFLOW_TEST_KAFKA names another one."""
    if os.environ.get("ORDERFLOW_TEST_KAFKA"):
        yield None
    else:
        yield from started(folder)


@pytest.fixture(scope="session")
def kafka_servers(kafka: Kafka | None) -> list[str]:
    """The bootstrap servers of a Kafka that no test kills or freezes."""
    return kafka.bootstrap_servers if kafka else os.environ["ORDERFLOW_TEST_KAFKA"].split(",")


@pytest.fixture
def topics(kafka_servers: list[str]) -> MakeTopics:
    """Creates topics on `kafka_servers`."""
    return lambda wanted: make_topics(kafka_servers, wanted)


def make_topics(servers: list[str], wanted: Mapping[str, int], **options: Any) -> dict[str, str]:
    """Create topics with unique names, as MakeTopics says. `options` are those of the admin client."""
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
    """Three brokers; a write with acks=all needs two of them."""
    yield from started(folder, brokers=3, heap_megabytes=384)


USERS = {"orderflow": "orderflow-secret", "oms": "oms-secret", "nobody": "nobody-secret"}


@dataclass(frozen=True, slots=True)
class Certificates:
    authority: Path  # PEM: the certificate of the authority, which clients trust
    keystore: Path  # PEM: key and certificate of a server on this machine, as SecureListener takes them


def make_certificates(folder: Path) -> Certificates:
    """A new authority, and a server's certificate from it."""
    folder.mkdir(parents=True)
    made = Certificates(folder / "authority.pem", folder / "keystore.pem")
    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(made.authority))
    server = authority.issue_cert("127.0.0.1", "localhost")
    key = serialization.load_pem_private_key(server.private_key_pem.bytes(), password=None)
    pkcs8 = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    made.keystore.write_bytes(pkcs8 + server.cert_chain_pems[0].bytes())
    return made


@pytest.fixture(scope="session")
def certificates(folder: Path) -> Certificates:
    """Those of `kafka_secure`."""
    return make_certificates(folder / "certificates")


@pytest.fixture(scope="module")
def kafka_secure(folder: Path, certificates: Certificates) -> Iterator[Kafka]:
    """One broker with TLS, SCRAM and access lists, for USERS."""
    yield from started(folder, secure=SecureListener(USERS, certificates.keystore))


# -- PostgreSQL --------------------------------------------------------------------------------------------------


def started_postgres(folder: Path) -> Iterator[Postgres]:
    """The body of a fixture that yields a server of its own."""
    needs(postgres_missing())
    postgres = Postgres.start(folder / uuid.uuid4().hex)
    yield postgres
    postgres.stop()


@pytest.fixture(scope="session")
def postgres_server(folder: Path) -> Iterator[Postgres | None]:
    """One server that no test kills; None if ORDERFLOW_TEST_DATABASE_URL names another one."""
    if os.environ.get("ORDERFLOW_TEST_DATABASE_URL"):
        yield None
    else:
        yield from started_postgres(folder)


@pytest.fixture
def postgres_url(postgres_server: Postgres | None) -> Iterator[str]:
    """The URL of an empty database."""
    yield from database_of(postgres_server)


@pytest.fixture(scope="session")
def _postgres_template(postgres_server: Postgres | None) -> Iterator[str]:
    """The name of a database with the schema. PostgreSQL copies it faster than the migrations make it."""
    for url in database_of(postgres_server):
        store = Store(url)
        store.migrate()
        store.close()  # PostgreSQL copies a database only while nobody is connected to it
        yield str(make_url(url).database)


@pytest.fixture
def postgres_store_url(postgres_server: Postgres | None, _postgres_template: str) -> Iterator[str]:
    """The URL of a database with the schema and without an order."""
    yield from database_of(postgres_server, template=_postgres_template)


@pytest.fixture(scope="module")
def postgres_module_url(postgres_server: Postgres | None) -> Iterator[str]:
    """The URL of one database for all tests of a module."""
    yield from database_of(postgres_server)


def database_of(postgres_server: Postgres | None, template: str = "template1") -> Iterator[str]:
    server = make_url(postgres_server.url if postgres_server else os.environ["ORDERFLOW_TEST_DATABASE_URL"])
    plain = server.set(drivername="postgresql").render_as_string(hide_password=False)
    name = f"test_{uuid.uuid4().hex[:12]}"
    with psycopg.connect(plain, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name} TEMPLATE {template}".encode())
    yield server.set(database=name).render_as_string(hide_password=False)
    with psycopg.connect(plain, autocommit=True) as connection:
        connection.execute(f"DROP DATABASE {name} WITH (FORCE)")


def store_lines(folder: Path, url: str) -> str:
    """The lines of [store] for a configuration in `folder`. A password in the URL goes into a file there."""
    bare, password = without_password(url)
    (folder / "database.password").write_text(password)
    return f'url = "{bare}"\n' + ('password_file = "database.password"\n' if password else "")


PASSWORD = "open@sesame:/?#&%"


@pytest.fixture
def postgres_url_with_password(folder: Path) -> Iterator[str]:
    """The URL of a server of its own, which accepts no session without PASSWORD."""
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
    """One server for a test that kills it."""
    yield from started_postgres(folder)
