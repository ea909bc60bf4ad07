"""Checks of Kafka.

Its client cannot tell a wrong password from a broker that does not answer: both end in a time-out. So a connection is
made by hand first, then a TLS handshake; what fails after both is the login.
"""

import ssl
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, Final

from adapters.errors import Cause, ConfigError, LogUnavailable
from adapters.log.kafka import KafkaLog
from adapters.log.kafka_inspect import KafkaInspector, Topic
from adapters.remotes.reach import cannot_reach
from adapters.store.transaction import Store
from consumer.config import KafkaTable, Settings
from consumer.config.secrets import kafka_options
from consumer.offsets import OffsetMismatch
from consumer.operations.doctor.findings import Found, Result, fail, ok, skipped, warn
from consumer.operations.offsets import PartitionStatus, partition_statuses

REACH_SECONDS: Final = 3.0
#: If more records than this wait, it is a warning.
MUCH_LAG: Final = 500
_FEW_REPLICAS: Final = 3
_OR_RIGHTS: Final = "or give this user its rights (docs/production.md, Topics)"


@dataclass(frozen=True, slots=True)
class Cluster:
    """The cluster, and what is compared with it.

    `store` returns the store if it can be used. `outage`: the longest time for which no consumer may run.
    """

    settings: Settings
    store: Callable[[], Store | None]
    outage: timedelta
    _opened: list[KafkaInspector] = field(default_factory=list)

    @property
    def table(self) -> KafkaTable:
        return self.settings.kafka

    @property
    def topics(self) -> dict[str, str]:
        """The name of each topic by its setting."""
        return dict(self.settings.topics.model_dump())

    @property
    def read(self) -> tuple[str, ...]:
        """The topics that the consumers read."""
        return (self.settings.topics.snapshots, self.settings.topics.oms_events)

    def inspector(self) -> KafkaInspector:
        """The connection, made at the first call. Raises ConfigError, LogUnavailable."""
        if not self._opened:
            self._opened.append(KafkaInspector(kafka_options(self.settings)()))
        return self._opened[0]

    def seen(self) -> dict[str, Topic]:
        return self.inspector().topics(self.topics.values())

    def close(self) -> None:
        for one in self._opened:
            one.close()


def reach(patient: Cluster) -> list[Found]:
    """Brokers take connections."""
    return _each_server(patient.table, None)


def tls(patient: Cluster) -> list[Found]:
    """Brokers have a certificate that is trusted."""
    if not patient.table.security_protocol.endswith("SSL"):
        return ok(f"not used: security_protocol is {patient.table.security_protocol}")
    try:
        context = _tls_of(patient.table, kafka_options(patient.settings)())
    except (OSError, ConfigError) as error:
        text = f"the certificates cannot be used: {error if isinstance(error, ConfigError) else type(error).__name__}"
        return fail(text, "kafka.ssl_cafile, ssl_certfile and ssl_keyfile are files in PEM")
    return _each_server(patient.table, context)


def login(patient: Cluster) -> list[Found]:
    """The brokers let this user in."""
    try:
        patient.inspector()
    except LogUnavailable as error:
        if error.cause is Cause.LOGIN:
            text = "the brokers refuse this user"
        else:
            text = "the brokers take connections, but let nobody in: a wrong password shows only as a time-out"
        cure = "correct kafka.sasl_plain_username, its password file or sasl_mechanism"
        return fail(text, f"{cure}; or security_protocol does not fit the brokers' listener")
    except ConfigError as error:
        return fail(str(error), "correct it in [kafka]")
    return ok(f"as {patient.table.sasl_plain_username or 'anybody'}")


def topics(patient: Cluster) -> list[Found]:
    """Every topic exists, and all its partitions have a leader."""
    seen, found = patient.seen(), []
    for key, name in patient.topics.items():
        topic = seen.get(name)
        if topic is None:
            text = f"topics.{key}: Kafka has no topic {name}, or this user may not see it"
            found += fail(text, f"create it, {_OR_RIGHTS}")
        elif topic.leaderless:
            found += fail(f"{name}: {topic.leaderless} partitions have no leader", "look at the brokers' own logs")
    return found or ok(", ".join(seen))


def partitions(patient: Cluster) -> list[Found]:
    """Several consumers can share the topics, and one broker may be lost."""
    found = []
    for name, topic in patient.seen().items():
        if name in patient.read and topic.partitions == 1:
            text = f"{name} has one partition, so one consumer does all the work"
            found += warn(text, f"kafka-topics.sh --alter --topic {name} --partitions 12")
        if topic.replicas < _FEW_REPLICAS:
            text = f"{name} has {topic.replicas} of {_FEW_REPLICAS} replicas: with their brokers its records are lost"
            found += warn(text, "raise it (kafka-reassign-partitions.sh)")
    return found or ok("enough partitions and replicas")


def acls(patient: Cluster) -> list[Found]:
    """This user may read what it reads, and write what it writes."""
    found = []
    for name, topic in patient.seen().items():
        wanted = {"READ", "WRITE"} if name in patient.read else {"WRITE"}
        if missing := sorted(wanted - topic.rights):
            cure = f"kafka-acls.sh --add --topic {name} " + " ".join(f"--operation {one.title()}" for one in missing)
            found += fail(f"{name}: this user may not {' and '.join(missing)}", cure)
    return found or ok("all rights to the topics")


def group(patient: Cluster) -> list[Found]:
    """This user may read as a member of the consumer group."""
    name = patient.table.group_id
    if not patient.inspector().may_read_group(name):
        return fail(
            f"this user may not read as the group {name}", f"kafka-acls.sh --add --group {name} --operation Read"
        )
    return ok(name)


def message_size(patient: Cluster) -> list[Found]:
    """Topics take records as large as we send."""
    wanted = patient.table.max_request_size
    return _of_settings(patient, patient.topics.values(), lambda name, one: _size(name, one, wanted))


def retention(patient: Cluster) -> list[Found]:
    """Records stay until they are applied, also after the longest outage."""
    return _of_settings(patient, patient.read, lambda name, one: _kept(name, one, patient.outage))


def lag(patient: Cluster) -> list[Found]:
    """Stored positions fit the log, and few records wait."""
    store = patient.store()
    if store is None:
        return skipped("store.rights has to be ok first")
    options = kafka_options(patient.settings)
    log = KafkaLog(options)
    try:
        statuses = partition_statuses(store, log, patient.table.group_id, patient.read)
    finally:
        log.close()
    found = []
    for one in statuses:
        if one.mismatch:
            found += fail(f"{one.topic}/{one.partition} stops: {one.mismatch}", cure_of_stop(one))
    waiting = sum(one.lag for one in statuses)
    if waiting > MUCH_LAG:
        found += warn(f"{waiting} records wait", "are consumers running? orderflow offsets list shows where they wait")
    return found or ok(f"{waiting} records wait")


#: Each check with what it needs.
CHECKS: Final[tuple[tuple[str, Callable[[Cluster], list[Found]], str], ...]] = (
    ("kafka.reach", reach, ""),
    ("kafka.tls", tls, "kafka.reach"),
    ("kafka.login", login, "kafka.tls"),
    ("kafka.topics", topics, "kafka.login"),
    ("kafka.partitions", partitions, "kafka.login"),
    ("kafka.acls", acls, "kafka.login"),
    ("kafka.group", group, "kafka.login"),
    ("kafka.message_size", message_size, "kafka.login"),
    ("kafka.retention", retention, "kafka.login"),
    ("kafka.lag", lag, "kafka.group"),
)


# -- Helpers -----------------------------------------------------------------------------------------------------


def cure_of_stop(one: PartitionStatus) -> str:
    """What to do about a partition that stops: a missing one is created, an unreadable record is passed, all else is
    reset."""
    if one.mismatch == OffsetMismatch.NO_TOPIC:
        return f"create partition {one.partition} of {one.topic}, {_OR_RIGHTS}"
    act = "skip" if one.mismatch == OffsetMismatch.RECORD_UNREADABLE else "reset"
    return f"orderflow offsets list, then offsets {act} {one.topic} --partition {one.partition} --reason WHY"


def _each_server(table: KafkaTable, context: ssl.SSLContext | None) -> list[Found]:
    """Try every bootstrap server. If one of them can be used, each of the others is only a warning."""
    cures = {
        Cause.DNS: "kafka.bootstrap_servers: correct the host",
        Cause.REFUSED: "kafka.bootstrap_servers: correct host and port, or start the broker",
        Cause.TLS: "kafka.ssl_cafile has to hold the authority of the brokers; or the port is one without TLS",
    }
    causes = {server: _cause(server, context) for server in table.bootstrap_servers}
    bad = {server: cause for server, cause in causes.items() if cause is not None}
    result = Result.FAIL if len(bad) == len(causes) else Result.WARN
    network = "look at the network and its policies between here and the brokers"
    return [Found(result, f"{server}: {cause}", cures.get(cause, network)) for server, cause in bad.items()] or ok(
        ", ".join(causes)
    )


def _cause(server: str, context: ssl.SSLContext | None) -> Cause | None:
    host, _, port = server.rpartition(":")
    return cannot_reach(host.strip("[]"), int(port), REACH_SECONDS, context) if port.isdecimal() else Cause.DNS


def _tls_of(table: KafkaTable, options: Mapping[str, Any]) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=table.ssl_cafile)
    context.check_hostname = table.ssl_check_hostname
    if table.ssl_certfile is not None:
        context.load_cert_chain(table.ssl_certfile, table.ssl_keyfile, options.get("ssl_password"))
    return context


def _of_settings(patient: Cluster, names: Any, look: Callable[[str, Mapping[str, str]], list[Found]]) -> list[Found]:
    """Look at the settings of each of these topics that exists."""
    there = [name for name in names if name in patient.seen()]
    known = patient.inspector().settings(there)
    found = [one for name in there if name in known for one in look(name, known[name])]
    if unknown := [name for name in there if name not in known]:
        cure = "kafka-acls.sh --add --operation DescribeConfigs lets this user look"
        return found + skipped(f"this user may not see the settings of {', '.join(unknown)}", cure)
    return found or ok("as it has to be")


def _size(name: str, settings: Mapping[str, str], wanted: int) -> list[Found]:
    largest = int(settings["max.message.bytes"])
    if largest >= wanted:
        return []
    text = f"{name}: max.message.bytes {largest} is less than kafka.max_request_size {wanted}"
    return fail(text, f"kafka-configs.sh --alter --topic {name} --add-config max.message.bytes={wanted}")


def _kept(name: str, settings: Mapping[str, str], outage: timedelta) -> list[Found]:
    found: list[Found] = []
    change = f"kafka-configs.sh --alter --topic {name} --add-config"
    if settings["cleanup.policy"] != "delete":
        text = f"{name}: cleanup.policy is {settings['cleanup.policy']}, which removes events that hold something new"
        found += fail(text, f"{change} cleanup.policy=delete")
    kept, hours = int(settings["retention.ms"]), outage / timedelta(hours=1)
    if 0 <= kept < outage / timedelta(milliseconds=1):
        text = f"{name}: records are kept for {kept / 3.6e6:.1f} h, and consumers may be away for {hours:.0f} h"
        wanted = max(timedelta(days=7), outage) // timedelta(milliseconds=1)
        found += fail(text, f"{change} retention.ms={wanted}")
    return found
