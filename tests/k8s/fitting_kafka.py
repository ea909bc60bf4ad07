"""Checks that topics, users, scaling and network policies fit the settings of Kafka and of the store."""

import re
from collections.abc import Iterator

from consumer import config
from tests.k8s.fitting import of_kind, provided
from tests.k8s.kinds import name_of
from tests.k8s.rendering import Object


def kafka(objects: list[Object], kafka_objects: list[Object], settings: config.Settings) -> Iterator[str]:
    """Topics, users and scaling that do not fit the settings."""
    topics = {one["metadata"]["name"]: one["spec"] for one in of_kind(kafka_objects, "KafkaTopic")}
    named = settings.topics
    if set(topics) != set(named.model_dump().values()):
        yield f"the topics are {sorted(topics)}, not those of the settings"
    for name, spec in topics.items():
        if int(spec["config"]["max.message.bytes"]) < settings.kafka.max_request_size:
            yield f"the topic {name} takes smaller records than the producer sends"
        if (spec["replicas"], spec["config"]["min.insync.replicas"], spec["config"]["cleanup.policy"]) != (
            3,
            2,
            "delete",
        ):
            yield f"the topic {name} can lose records"
    want = {
        (settings.kafka.sasl_plain_username or "", "topic", named.snapshots): ["Read", "Write"],
        (settings.kafka.sasl_plain_username or "", "topic", named.oms_events): ["Read", "Write"],
        (settings.kafka.sasl_plain_username or "", "topic", named.transitions): ["Write"],
        (settings.kafka.sasl_plain_username or "", "topic", named.dead_letters): ["Write"],
        (settings.kafka.sasl_plain_username or "", "group", settings.kafka.group_id): ["Read"],
        ("oms", "topic", named.oms_events): ["Write"],
    }
    have = {
        (one["metadata"]["name"], acl["resource"]["type"], acl["resource"]["name"]): acl["operations"]
        for one in of_kind(kafka_objects, "KafkaUser")
        for acl in one["spec"]["authorization"]["acls"]
    }
    if have != want:
        wrong = sorted(key for key in {*have, *want} if have.get(key) != want.get(key))
        yield f"the rights of Kafka's users are wrong: {wrong}"
    for one in of_kind(objects, "ScaledObject"):
        yield from _scaling(one, objects, topics, settings)
    host, _, port = settings.kafka.bootstrap_servers[0].partition(":")
    yield from _reachable(objects, "orderflow-kafka", host.split(".")[-1], int(port), "Kafka")
    store = re.search(r"@([^/:]+)", settings.store.url)
    yield from _reachable(
        objects, "orderflow-database", store.group(1).split(".")[-1] if store else "", 5432, "the database"
    )


def _scaling(
    scaled: Object, objects: list[Object], topics: dict[str, Object], settings: config.Settings
) -> Iterator[str]:
    spec = scaled["spec"]
    triggers = [trigger["metadata"] for trigger in spec["triggers"]]
    read = {settings.topics.snapshots, settings.topics.oms_events}
    if {trigger["topic"] for trigger in triggers} != read:
        yield f"{name_of(scaled)}: looks at other topics than those that consumers read"
    if {trigger["consumerGroup"] for trigger in triggers} != {settings.kafka.group_id}:
        yield f"{name_of(scaled)}: looks at another group"
    if {trigger["bootstrapServers"] for trigger in triggers} != {",".join(settings.kafka.bootstrap_servers)}:
        yield f"{name_of(scaled)}: asks another Kafka"
    if spec["minReplicaCount"] < 2 or spec["maxReplicaCount"] > max(
        topics[name]["partitions"] for name in read & set(topics)
    ):
        yield f"{name_of(scaled)}: the number of replicas does not fit the partitions"
    targets = {one["metadata"]["name"]: one["spec"] for one in of_kind(objects, "Deployment")}
    target = spec["scaleTargetRef"]["name"]
    if target not in targets or "replicas" in targets[target]:
        yield f"{name_of(scaled)}: {target} is not there, or has `replicas` of its own"
    keys = provided(objects)
    for one in of_kind(objects, "TriggerAuthentication"):
        for ref in one["spec"]["secretTargetRef"]:
            if ref["key"] not in (keys.get(ref["name"]) or ()):
                yield f"{name_of(one)}: there is no key {ref['key']} in the Secret {ref['name']}"
    names = {one["metadata"]["name"] for one in of_kind(objects, "TriggerAuthentication")}
    if {trigger["authenticationRef"]["name"] for trigger in spec["triggers"]} - names:
        yield f"{name_of(scaled)}: there is no such TriggerAuthentication"


def _reachable(objects: list[Object], policy: str, namespace: str, port: int, what: str) -> Iterator[str]:
    """Whether a NetworkPolicy lets the pods reach a Service NAME.NAMESPACE on this port."""
    for one in of_kind(objects, "NetworkPolicy"):
        if one["metadata"]["name"] == policy:
            for rule in one["spec"]["egress"]:
                to = [peer.get("namespaceSelector", {}).get("matchLabels", {}) for peer in rule["to"]]
                if (
                    port in [each["port"] for each in rule["ports"]]
                    and {"kubernetes.io/metadata.name": namespace} in to
                ):
                    return
    yield f"no NetworkPolicy lets the pods reach {what} ({namespace}:{port})"
