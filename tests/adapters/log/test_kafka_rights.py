"""The rights of Kafka's users, over SASL and TLS: the service, the OMS, and a user without rights."""

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from kafka import KafkaAdminClient
from kafka.admin import (
    ACL,
    ACLFilter,
    ACLOperation,
    ACLPermissionType,
    ACLResourcePatternType,
    ResourcePattern,
    ResourcePatternFilter,
    ResourceType,
)

from adapters.clock import SystemClock
from adapters.engines.kafka import Kafka
from adapters.errors import LogUnavailable
from adapters.log import kafka as adapter
from adapters.log import kafka_client
from adapters.log.kafka import KafkaLog
from adapters.ports import NewRecord, Record
from consumer import config
from consumer.bootstrap import open_log
from consumer.stores import group_of, open_store
from tests.adapters.log.kafka_rig import PATIENCE_SECONDS
from tests.engines import USERS, Certificates, make_certificates
from tests.support import wait

pytestmark = pytest.mark.usefixtures("no_thread_left")

CONSUMED = ("mirakl.order-snapshots", "oms.order-events")
PUBLISHED = ("mirakl.order-snapshots", "oms.order-events", "orderflow.transitions", "orderflow.dead-letters")
TOPIC, GROUP = ResourceType.TOPIC, ResourceType.GROUP
READ, WRITE = ACLOperation.READ, ACLOperation.WRITE

#: The rights that each user needs. READ and WRITE of a topic, and READ of a group, imply DESCRIBE; since Kafka 3.0
#: (KIP-679) an idempotent producer needs no right of the cluster. An administrator creates topics, so no user needs
#: CREATE.
RIGHTS = {
    "orderflow": [
        *((TOPIC, name, READ) for name in CONSUMED),
        *((TOPIC, name, WRITE) for name in PUBLISHED),
        (GROUP, "orderflow", READ),
    ],
    "oms": [(TOPIC, "oms.order-events", WRITE)],
    "nobody": [],
}


@pytest.fixture(scope="module")
def guarded(kafka_secure: Kafka) -> Kafka:
    """A Kafka with the service's topics, another topic, and RIGHTS."""
    kafka_secure.create_topics({**dict.fromkeys(PUBLISHED, 2), "another": 1})
    admin = KafkaAdminClient(bootstrap_servers=kafka_secure.bootstrap_servers)
    made = admin.create_acls(
        [
            ACL(f"User:{user}", "*", operation, ACLPermissionType.ALLOW, ResourcePattern(kind, name))
            for user, rights in RIGHTS.items()
            for kind, name, operation in rights
        ]
    )
    assert made["failed"] == []
    every = ResourcePatternFilter(ResourceType.ANY, None, ACLResourcePatternType.ANY)
    rights = ACLFilter(None, None, ACLOperation.ANY, ACLPermissionType.ANY, every)
    wanted = sum(map(len, RIGHTS.values()))
    # The broker acknowledges the rights a moment before it uses them.
    wait(lambda: len(admin.describe_acls(rights)[0]) >= wanted, "the broker knows the rights")
    admin.close()
    return kafka_secure


CONFIG = """\
[store]
url = "sqlite:///orderflow.db"

[log]
kind = "kafka"

[kafka]
bootstrap_servers = {servers}
group_id = "{group}"
security_protocol = "SASL_SSL"
sasl_mechanism = "SCRAM-SHA-256"
sasl_plain_username = "{user}"
sasl_plain_password_file = "kafka.password"
ssl_cafile = "ca.pem"
session_timeout_ms = 6000
heartbeat_interval_ms = 500

[shops.alpha]
hostname = "alpha.mirakl.net"
shop_id = 2104
api_key_file = "alpha.key"

[shops.alpha.oms]
company_ref_id = 99001
api_key_file = "alpha.key"
"""

Login = Callable[..., KafkaLog]


@pytest.fixture
def login(guarded: Kafka, certificates: Certificates, tmp_path: Path) -> Iterator[Login]:
    """Opens the log as a configuration with this user does."""
    opened: list[KafkaLog] = []

    def open_(user: str, *, group: str = "orderflow", password: str = "", ca: bytes = b"") -> KafkaLog:
        (tmp_path / "ca.pem").write_bytes(ca or certificates.authority.read_bytes())
        (tmp_path / "kafka.password").write_text(f"{password or USERS[user]}\n")
        (tmp_path / "alpha.key").write_text("key")
        servers = str(guarded.secure_bootstrap_servers).replace("'", '"')
        path = tmp_path / "orderflow.toml"
        path.write_text(CONFIG.format(servers=servers, user=user, group=group))
        settings = config.load(path)
        store = open_store(settings)
        log = open_log(settings, store, SystemClock())
        store.close()
        assert isinstance(log, KafkaLog)
        assert group_of(settings) == group
        opened.append(log)
        return log

    yield open_
    for log in opened:
        log.close()


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let clients give up soon, because to them a refused login looks like a broker that does not answer."""
    for options in (kafka_client.CLIENT_OPTIONS, adapter.ADMIN_OPTIONS):
        monkeypatch.setitem(options, "bootstrap_timeout_ms", 2000)
    monkeypatch.setattr(adapter, "ASK_AGAIN_SECONDS", 0.01)


def first_records(log: KafkaLog, group: str, topic: str, seconds: float = PATIENCE_SECONDS) -> list[Record]:
    """The first records that a reader brings. Raises LogUnavailable if this user may not read."""
    reader = log.reader(group, [topic])
    try:
        ends_at = time.monotonic() + seconds
        while time.monotonic() < ends_at:
            if records := reader.poll(10, 0.1):
                reader.commit({record.partition: record.offset + 1 for record in records})
                return records
    finally:
        reader.close()
    return []


def test_the_service_s_user_can_do_everything_that_the_service_does(login: Login) -> None:
    log = login("orderflow")
    assert log.cluster()
    assert log.partitions(PUBLISHED) == dict.fromkeys(PUBLISHED, 2)
    log.publish([NewRecord(topic, b"k", b"1") for topic in PUBLISHED])
    for topic in CONSUMED:
        (record, *_) = first_records(log, "orderflow", topic)
        offsets = log.partition_offsets("orderflow", [record.partition])[record.partition]
        assert 0 < (offsets.committed or 0) <= offsets.end
        assert offsets.log_id


@pytest.mark.usefixtures("impatient")
def test_the_service_s_user_can_do_nothing_else(login: Login) -> None:
    log = login("orderflow")
    log.publish([NewRecord(CONSUMED[0], b"k", b"1")])
    assert log.partitions(["another"]) == {}
    refused(lambda: log.publish([NewRecord("another", b"k", b"1")]))
    refused(lambda: first_records(log, "another", CONSUMED[0]))  # another group
    refused(lambda: first_records(log, "orderflow", "orderflow.transitions"))  # it may write this topic, not read it
    assert first_records(log, "orderflow", CONSUMED[0], seconds=0) == []
    log.publish([NewRecord(CONSUMED[0], b"k", b"2")])  # the log still works after the refusals


@pytest.mark.usefixtures("impatient")
def test_the_oms_can_publish_its_events_and_nothing_else(login: Login) -> None:
    log = login("oms")
    log.publish([NewRecord("oms.order-events", b"k", b"1")])
    for topic in PUBLISHED:
        if topic != "oms.order-events":
            records = [NewRecord(topic, b"k", b"1")]
            refused(lambda: log.publish(records))  # noqa: B023 - called at once
    refused(lambda: first_records(log, "orderflow", "oms.order-events"))


@pytest.mark.usefixtures("impatient")
def test_a_user_without_rights_can_do_nothing(login: Login) -> None:
    log = login("nobody")
    assert log.partitions(PUBLISHED) == {}
    refused(lambda: log.publish([NewRecord("oms.order-events", b"k", b"1")]))
    refused(lambda: first_records(log, "orderflow", CONSUMED[0]))


def refused(call: Callable[[], object]) -> None:
    with pytest.raises(LogUnavailable, match="Authorization"):
        call()


@pytest.mark.usefixtures("impatient")
def test_the_error_names_a_wrong_password_as_a_possible_cause(login: Login) -> None:
    log = login("orderflow", password="wrong")
    for call in (log.cluster, lambda: log.publish([NewRecord("oms.order-events", b"k", b"1")])):
        with pytest.raises(LogUnavailable, match="password") as raised:
            call()
        assert "wrong" not in str(raised.value)


def test_a_changed_password_is_read_without_a_restart(login: Login, tmp_path: Path) -> None:
    log = login("orderflow", password="not-yet")
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(kafka_client.CLIENT_OPTIONS, "bootstrap_timeout_ms", 2000)
        with pytest.raises(LogUnavailable):
            log.cluster()
    (tmp_path / "kafka.password").write_text(USERS["orderflow"])
    assert log.cluster()


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize("ca", ["another's", "no certificate"])
def test_a_broker_whose_certificate_is_of_another_authority_is_refused(login: Login, tmp_path: Path, ca: str) -> None:
    if ca == "another's":
        ca = make_certificates(tmp_path / "others").authority.read_text()
    with pytest.raises(LogUnavailable, match="certificate"):
        login("orderflow", ca=ca.encode()).cluster()
