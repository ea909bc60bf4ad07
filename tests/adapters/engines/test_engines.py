"""The engines: they are real, keep their data after a crash, and name the programs that the machine lacks."""

import socket
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import psycopg
import pytest
from kafka import KafkaAdminClient, KafkaConsumer, KafkaProducer
from kafka.errors import KafkaError, TopicAuthorizationFailedError

from adapters.engines import kafka, postgres
from adapters.engines.kafka import Kafka
from adapters.engines.postgres import Postgres
from adapters.engines.processes import EngineFailed, EngineMissing, free_ports, run_tool
from tests.engines import USERS, Certificates, needs
from tests.support import Meanwhile


def values(servers: list[str], topic: str, count: int, **options: Any) -> list[bytes]:
    consumer = KafkaConsumer(
        topic, bootstrap_servers=servers, auto_offset_reset="earliest", consumer_timeout_ms=10_000, **options
    )
    found = [next(consumer).value for _ in range(count)]
    consumer.close()
    return found


def publish(servers: list[str], topic: str, value: bytes, **options: Any) -> None:
    producer = KafkaProducer(bootstrap_servers=servers, **options)
    producer.send(topic, value).get(timeout=20)
    producer.close()


def test_a_broker_keeps_acknowledged_records_through_a_crash(kafka_alone: Kafka) -> None:
    kafka_alone.create_topics({"orders": 1})
    publish(kafka_alone.bootstrap_servers, "orders", b"1")
    kafka_alone.kill()
    kafka_alone.start_broker()
    publish(kafka_alone.bootstrap_servers, "orders", b"2")
    assert values(kafka_alone.bootstrap_servers, "orders", 2) == [b"1", b"2"]


def test_two_of_three_brokers_accept_records_without_the_third(kafka_three: Kafka) -> None:
    kafka_three.create_topics({"orders": 1})
    kafka_three.kill(0)
    publish(kafka_three.bootstrap_servers, "orders", b"1", acks="all")
    assert values(kafka_three.bootstrap_servers, "orders", 1) == [b"1"]


def test_start_broker_waits_until_that_broker_answers(kafka_three: Kafka) -> None:
    """The other two brokers have not noticed that it was down, so they list it while it is still starting."""
    kafka_three.kill(1)
    kafka_three.start_broker(1)
    host, port = kafka_three.bootstrap_servers[1].split(":")
    socket.create_connection((host, int(port)), timeout=1).close()


def test_only_a_user_with_its_password_may_log_in(kafka_secure: Kafka, certificates: Certificates) -> None:
    def admin(password: str, **more: Any) -> KafkaAdminClient:
        return KafkaAdminClient(
            bootstrap_servers=kafka_secure.secure_bootstrap_servers,
            security_protocol="SASL_SSL",
            sasl_mechanism="SCRAM-SHA-256",
            sasl_plain_username="orderflow",
            sasl_plain_password=password,
            ssl_cafile=str(certificates.authority),
            bootstrap_timeout_ms=3000,
            **more,
        )

    right = admin(USERS["orderflow"])
    assert right.describe_cluster()["cluster_id"] == kafka.CLUSTER_ID
    with pytest.raises(TopicAuthorizationFailedError):
        right.create_topics({"orders": {"num_partitions": 1, "replication_factor": 1}})  # no access list allows it
    right.close()
    with pytest.raises(KafkaError):
        admin("wrong")


def test_a_server_keeps_what_was_committed_through_a_crash(postgres_alone: Postgres) -> None:
    plain = postgres_alone.url.replace("+psycopg", "")
    with psycopg.connect(plain) as connection:
        connection.execute("CREATE TABLE kept (n int)")
        connection.execute("INSERT INTO kept VALUES (7)")
    postgres_alone.kill()
    with pytest.raises(psycopg.OperationalError):
        psycopg.connect(plain)
    postgres_alone.start_again()
    with psycopg.connect(plain) as connection:
        assert connection.execute("SELECT n FROM kept").fetchall() == [(7,)]
        assert connection.execute("SHOW fsync").fetchall() == [("on",)]


def test_a_crash_ends_the_sessions_too(postgres_alone: Postgres) -> None:
    """PostgreSQL runs each session in a process of its own. A process that went on would commit after the crash."""
    plain = postgres_alone.url.replace("+psycopg", "")

    def insert() -> None:
        with suppress(psycopg.OperationalError), psycopg.connect(plain, autocommit=True) as connection:
            connection.execute("INSERT INTO kept SELECT n FROM generate_series(1, 3000000) AS n")

    with psycopg.connect(plain) as connection:
        connection.execute("CREATE TABLE kept (n int)")
    session = threading.Thread(target=insert)
    session.start()
    active = "SELECT 1 FROM pg_stat_activity WHERE state = 'active' AND query LIKE 'INSERT%'"
    with psycopg.connect(plain, autocommit=True) as connection:
        ends_at = time.monotonic() + 10
        while connection.execute(active).fetchone() is None and time.monotonic() < ends_at:
            time.sleep(0.01)
        postgres_alone.kill()
    session.join()
    postgres_alone.start_again()
    with psycopg.connect(plain) as connection:
        assert connection.execute("SELECT count(*) FROM kept").fetchall() == [(0,)]


def test_a_frozen_server_answers_nobody_until_it_is_thawed(postgres_alone: Postgres) -> None:
    plain = postgres_alone.url.replace("+psycopg", "")
    with psycopg.connect(plain, autocommit=True) as connection:
        postgres_alone.freeze()
        waits = Meanwhile(lambda: connection.execute("SELECT 1").fetchone())
        try:
            assert waits.waits()
            with pytest.raises(psycopg.errors.ConnectionTimeout):
                psycopg.connect(plain, connect_timeout=2)
        finally:
            postgres_alone.thaw()
        assert waits.result() == (1,)


def test_without_postgresql_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(postgres, "DEBIAN", tmp_path)
    assert "apt-get install postgresql" in postgres.postgres_missing()
    with pytest.raises(EngineMissing, match="apt-get install postgresql"):
        Postgres.start(tmp_path / "postgres")


def test_the_newest_of_debians_servers_is_used(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(postgres, "DEBIAN", tmp_path)
    for version in ("9.6", "15", "17", "old"):
        (tmp_path / version / "bin").mkdir(parents=True)
        script(tmp_path / version / "bin", "initdb", "exit 1")
    assert postgres.postgres_programs() == tmp_path / "17" / "bin"
    monkeypatch.chdir(tmp_path)
    with pytest.raises(EngineFailed, match="PostgreSQL's data directory cannot be created"):
        Postgres.start(Path("postgres"))


def test_free_ports_differ_and_are_below_the_range_of_outgoing_connections() -> None:
    ports = free_ports(50)
    assert len(set(ports)) == 50
    assert max(ports) < 32_768


def test_a_program_that_hangs_is_ended() -> None:
    with pytest.raises(EngineFailed, match="slow: not done after 0 s"):
        run_tool(["sleep", "20"], "slow", seconds=0.1)


def test_without_java_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert "Java 17" in kafka.kafka_missing()
    with pytest.raises(EngineMissing, match="apt-get install maven"):
        Kafka.start(tmp_path / "kafka")


def script(folder: Path, name: str, text: str) -> None:
    (folder / name).write_text(f"#!/bin/sh\n{text}\n")
    (folder / name).chmod(0o755)


def test_a_java_older_than_17_is_missing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    script(tmp_path, "java", "echo 'openjdk version \"11.0.2\"' >&2")
    monkeypatch.setenv("PATH", f"{tmp_path}:/bin:/usr/bin")
    assert "Java 17" in kafka.kafka_missing()


def test_a_jar_with_another_digest_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    script(
        tmp_path,
        "mvn",
        'for a; do case $a in *outputDirectory=*) mkdir "${a#*=}"; echo x > "${a#*=}/kafka.jar";; esac; done',
    )
    monkeypatch.setenv("PATH", f"{tmp_path}:/bin:/usr/bin")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    with pytest.raises(EngineFailed, match=r"not the expected ones: .*kafka\.jar"):
        kafka.fetch_jars()
    assert not any((tmp_path / "cache").rglob("*.jar"))


def test_a_failed_download_raises_with_mavens_output(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    script(tmp_path, "mvn", "echo no such artifact; exit 1")
    monkeypatch.setenv("PATH", f"{tmp_path}:/bin:/usr/bin")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    with pytest.raises(EngineFailed, match="no such artifact"):
        kafka.fetch_jars()


def test_a_missing_engine_skips_a_test_and_fails_it_under_ci(monkeypatch: pytest.MonkeyPatch) -> None:
    needs("")
    monkeypatch.delenv("CI", raising=False)
    with pytest.raises(pytest.skip.Exception, match="needs Java"):
        needs("Java")
    monkeypatch.setenv("CI", "true")
    with pytest.raises(pytest.fail.Exception, match="CI has to have Java"):
        needs("Java")
