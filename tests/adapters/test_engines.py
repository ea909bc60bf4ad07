"""The engines themselves: that they are real, survive a crash, and say what they lack."""

from pathlib import Path
from typing import Any

import psycopg
import pytest
from kafka import KafkaAdminClient, KafkaConsumer, KafkaProducer
from kafka.errors import KafkaError

from adapters import engines
from adapters.engines import EngineFailed, Kafka, Postgres
from tests.engines import USERS, needs


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


def test_what_a_broker_took_survives_its_crash(kafka_alone: Kafka) -> None:
    kafka_alone.create_topics({"orders": 1})
    publish(kafka_alone.bootstrap_servers, "orders", b"1")
    kafka_alone.kill()
    kafka_alone.start_broker()
    publish(kafka_alone.bootstrap_servers, "orders", b"2")
    assert values(kafka_alone.bootstrap_servers, "orders", 2) == [b"1", b"2"]


def test_only_a_user_with_its_password_gets_in(kafka_secure: Kafka) -> None:
    def admin(password: str, **more: Any) -> KafkaAdminClient:
        return KafkaAdminClient(
            bootstrap_servers=kafka_secure.secure_bootstrap_servers,
            security_protocol="SASL_SSL",
            sasl_mechanism="SCRAM-SHA-256",
            sasl_plain_username="orderflow",
            sasl_plain_password=password,
            ssl_cafile=str(kafka_secure.ca_file),
            bootstrap_timeout_ms=4000,
            **more,
        )

    right = admin(USERS["orderflow"])
    assert right.describe_cluster()["cluster_id"] == engines.CLUSTER_ID
    right.close()
    with pytest.raises(KafkaError):
        admin("wrong")


def test_what_was_committed_survives_the_crash_of_the_server(postgres_alone: Postgres) -> None:
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


def test_a_machine_without_java_is_told_what_to_install(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert "Java 17" in engines.kafka_missing()
    with pytest.raises(engines.EngineMissing, match="apt-get install maven"):
        Kafka.start(tmp_path / "kafka")


def script(folder: Path, name: str, text: str) -> None:
    (folder / name).write_text(f"#!/bin/sh\n{text}\n")
    (folder / name).chmod(0o755)


def test_an_old_java_does_not_count(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    script(tmp_path, "java", "echo 'openjdk version \"11.0.2\"' >&2")
    monkeypatch.setenv("PATH", f"{tmp_path}:/bin:/usr/bin")
    assert "Java 17" in engines.kafka_missing()


def test_another_jar_than_expected_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    script(
        tmp_path,
        "mvn",
        'for a; do case $a in *outputDirectory=*) mkdir "${a#*=}"; echo x > "${a#*=}/kafka.jar";; esac; done',
    )
    monkeypatch.setenv("PATH", f"{tmp_path}:/bin:/usr/bin")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    with pytest.raises(EngineFailed, match=r"not the ones expected: .*kafka\.jar"):
        engines.fetch_jars()
    assert not any((tmp_path / "cache").rglob("*.jar"))


def test_a_failed_download_is_told_with_mavens_words(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    script(tmp_path, "mvn", "echo no such artifact; exit 1")
    monkeypatch.setenv("PATH", f"{tmp_path}:/bin:/usr/bin")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    with pytest.raises(EngineFailed, match="no such artifact"):
        engines.fetch_jars()


def test_what_is_missing_skips_a_test_and_fails_it_under_ci(monkeypatch: pytest.MonkeyPatch) -> None:
    needs("")
    monkeypatch.delenv("CI", raising=False)
    with pytest.raises(pytest.skip.Exception, match="needs Java"):
        needs("Java")
    monkeypatch.setenv("CI", "true")
    with pytest.raises(pytest.fail.Exception, match="CI has to have Java"):
        needs("Java")
