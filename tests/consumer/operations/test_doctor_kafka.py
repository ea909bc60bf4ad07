"""`orderflow doctor` on a real Kafka with TLS, passwords and access lists: each fault is one line."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from kafka import KafkaAdminClient, KafkaProducer
from kafka.admin import (
    ACL,
    ACLFilter,
    ACLOperation,
    ACLPermissionType,
    ACLResourcePatternType,
    ConfigResource,
    ConfigResourceType,
    ResourcePattern,
    ResourcePatternFilter,
    ResourceType,
)

from adapters.engines.kafka import Kafka
from consumer.operations.doctor import cluster
from tests.consumer.operations.ward import Ward
from tests.engines import USERS, Certificates, make_certificates
from tests.support import wait

READ_TOPICS = ("mirakl.order-snapshots", "oms.order-events")
TOPICS = (*READ_TOPICS, "orderflow.transitions", "orderflow.dead-letters")
TOPIC, GROUP = ResourceType.TOPIC, ResourceType.GROUP
RIGHTS = [
    *((TOPIC, name, right) for name in TOPICS for right in (ACLOperation.WRITE, ACLOperation.DESCRIBE_CONFIGS)),
    *((TOPIC, name, ACLOperation.READ) for name in READ_TOPICS),
    (GROUP, "orderflow", ACLOperation.READ),
]
#: What is told of one broker: no topic has three replicas.
ALWAYS = {"kafka.partitions"}


class Admin:
    """Whoever keeps the cluster: changes rights and settings, and sets them back."""

    def __init__(self, kafka: Kafka) -> None:
        self.client = KafkaAdminClient(bootstrap_servers=kafka.bootstrap_servers)
        self._undo: list[Callable[[], object]] = []

    def allow(self, kind: ResourceType, name: str, right: ACLOperation) -> None:
        self.client.create_acls([_acl(kind, name, right)])

    def take(self, kind: ResourceType, name: str, right: ACLOperation) -> None:
        """Take a right away until `close`."""
        pattern = ResourcePatternFilter(kind, name, ACLResourcePatternType.LITERAL)
        allowed = ACLFilter("User:orderflow", "*", right, ACLPermissionType.ALLOW, pattern)
        self.client.delete_acls([allowed])
        self._undo.append(lambda: self.allow(kind, name, right))
        wait(lambda: not self.client.describe_acls(allowed)[0], "the right is gone")

    def set(self, topic: str, name: str, value: str, before: str) -> None:
        """Change a setting of a topic until `close`."""
        self._set(topic, name, value)
        self._undo.append(lambda: self._set(topic, name, before))

    def _set(self, topic: str, name: str, value: str) -> None:
        self.client.alter_configs([ConfigResource(ConfigResourceType.TOPIC, topic, {name: value})])

    def close(self) -> None:
        for undo in self._undo:
            undo()
        self.client.close()


def _acl(kind: ResourceType, name: str, right: ACLOperation) -> ACL:
    return ACL("User:orderflow", "*", right, ACLPermissionType.ALLOW, ResourcePattern(kind, name))


@pytest.fixture(scope="module")
def guarded(kafka_secure: Kafka) -> Kafka:
    kafka_secure.create_topics(dict.fromkeys(TOPICS, 2))
    admin = KafkaAdminClient(bootstrap_servers=kafka_secure.bootstrap_servers)
    admin.create_acls([_acl(*right) for right in RIGHTS])
    every = ResourcePatternFilter(ResourceType.ANY, None, ACLResourcePatternType.ANY)
    rights = ACLFilter(None, None, ACLOperation.ANY, ACLPermissionType.ANY, every)
    wait(lambda: len(admin.describe_acls(rights)[0]) >= len(RIGHTS), "the broker knows the rights")
    admin.close()
    return kafka_secure


@pytest.fixture
def admin(guarded: Kafka) -> Iterator[Admin]:
    made = Admin(guarded)
    yield made
    made.close()


@pytest.fixture
def ward(tmp_path: Path, guarded: Kafka, certificates: Certificates) -> Ward:
    ward = Ward(tmp_path)
    ward.write("kafka.password", USERS["orderflow"])
    ward.set("log", 'kind = "kafka"')
    ward.set(
        "kafka",
        f'bootstrap_servers = ["{guarded.secure_bootstrap_servers[0]}"]\nsecurity_protocol = "SASL_SSL"\n'
        'sasl_mechanism = "SCRAM-SHA-256"\nsasl_plain_username = "orderflow"\n'
        f'sasl_plain_password_file = "kafka.password"\nssl_cafile = "{certificates.authority}"',
    )
    return ward


def test_a_cluster_in_order_has_no_line(ward: Ward) -> None:
    lines = ward.lines()
    assert {one["check"] for one in lines if one["result"] in ("warn", "fail")} == ALWAYS
    assert {name for name, _, _ in cluster.CHECKS} <= {one["check"] for one in lines}
    assert [one["found"] for one in lines if one["check"] == "kafka.lag"] == ["0 records wait"]


def test_a_broker_that_does_not_run(ward: Ward, guarded: Kafka) -> None:
    ward.change(guarded.secure_bootstrap_servers[0], "127.0.0.1:1")
    assert ward.found("fail") == {("kafka.reach", ""): "127.0.0.1:1: refused"}


def test_one_of_two_brokers_that_does_not_run_is_told(ward: Ward, guarded: Kafka) -> None:
    server = guarded.secure_bootstrap_servers[0]
    ward.change(f'["{server}"]', f'["{server}", "127.0.0.1:1"]')
    found = ward.found("warn")
    assert found["kafka.reach", ""] == "127.0.0.1:1: refused"


def test_an_authority_that_did_not_sign(ward: Ward, tmp_path: Path, certificates: Certificates) -> None:
    ward.change(str(certificates.authority), str(make_certificates(tmp_path / "others").authority))
    assert ward.found("fail").keys() == {("kafka.tls", "")}


def test_tls_to_a_port_without_it(ward: Ward, guarded: Kafka) -> None:
    ward.change(guarded.secure_bootstrap_servers[0], guarded.bootstrap_servers[0])
    assert ward.found("fail").keys() == {("kafka.tls", "")}


@pytest.mark.parametrize("name", ["kafka.password", "orderflow"], ids=["password", "user"])
def test_a_wrong_password_or_user_shows_as_a_login(ward: Ward, name: str) -> None:
    """The client itself only says that no broker answered in time."""
    if name == "orderflow":
        ward.change('sasl_plain_username = "orderflow"', 'sasl_plain_username = "nobody-else"')
    else:
        ward.write(name, "wrong")
    found = ward.found("fail")
    assert found.keys() == {("kafka.login", "")}
    assert "a wrong password shows only as a time-out" in found["kafka.login", ""]


def test_no_tls_to_a_port_with_it(ward: Ward) -> None:
    text = ward.file.read_text()
    kept = [line for line in text.splitlines() if not line.startswith(("sasl_", "security_", "ssl_"))]
    ward.file.write_text("\n".join(kept))
    assert ward.found("fail").keys() == {("kafka.login", "")}


def test_a_topic_that_is_not_there(ward: Ward) -> None:
    ward.set("topics", 'transitions = "another"')
    found = ward.found("fail")
    assert found.keys() == {("kafka.topics", "")}
    assert "topics.transitions: Kafka has no topic another" in found["kafka.topics", ""]


def test_a_right_to_write_that_is_missing(ward: Ward, admin: Admin) -> None:
    admin.take(TOPIC, "mirakl.order-snapshots", ACLOperation.WRITE)
    assert ward.found("fail") == {("kafka.acls", ""): "mirakl.order-snapshots: this user may not WRITE"}


def test_a_group_that_this_user_may_not_read(ward: Ward) -> None:
    ward.set("kafka", 'group_id = "others"')
    assert ward.found("fail").keys() == {("kafka.group", "")}


def test_a_topic_that_takes_only_smaller_records(ward: Ward, admin: Admin) -> None:
    admin.set("orderflow.transitions", "max.message.bytes", "1000000", "1048588")
    assert ward.found("fail").keys() == {("kafka.message_size", "")}


def test_a_retention_shorter_than_the_longest_outage(ward: Ward, admin: Admin) -> None:
    admin.set("oms.order-events", "retention.ms", str(3_600_000), "604800000")
    assert "records are kept for 1.0 h" in ward.found("fail")["kafka.retention", ""]
    assert ward.ask("--outage-hours", "1").exit_code == 0
    assert "retention.ms=720000000" in ward.ask("--outage-hours", "200").stdout


def test_a_topic_that_is_compacted(ward: Ward, admin: Admin) -> None:
    admin.set("oms.order-events", "cleanup.policy", "compact", "delete")
    assert ward.found("fail").keys() == {("kafka.retention", "")}


def test_without_the_right_to_see_settings_they_are_not_judged(ward: Ward, admin: Admin) -> None:
    admin.take(TOPIC, "oms.order-events", ACLOperation.DESCRIBE_CONFIGS)
    admin.set("oms.order-events", "cleanup.policy", "compact", "delete")
    assert ward.found("fail") == {}
    assert "oms.order-events" in ward.found("skipped")["kafka.retention", ""]


def test_records_that_wait_are_told(ward: Ward, guarded: Kafka, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cluster, "MUCH_LAG", 0)
    producer = KafkaProducer(bootstrap_servers=guarded.bootstrap_servers)
    producer.send("oms.order-events", b"{}").get(10)
    producer.close()
    assert ward.found("warn")["kafka.lag", ""] == "1 records wait"
