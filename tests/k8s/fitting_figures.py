"""Checks of figures and names in the manifests that the API server takes, whatever they are."""

from collections.abc import Iterator
from typing import Final

from tests.k8s.fitting import USER, containers, is_ours, of_kind, pod_of, workloads
from tests.k8s.kinds import name_of
from tests.k8s.rendering import Object

#: A pod waits so long for the migration Job (docs/kubernetes.md).
SCHEMA_SECONDS: Final = 300
#: How long a Job may take, with the wait for the database or for the schema.
JOB_SECONDS: Final = 900
#: A listing of Mirakl above 8 MiB lies in /tmp.
TMP: Final = "512Mi"
#: What KEDA needs to log in to Kafka.
LOGIN: Final = {"username": "kafka.username", "password": "kafka.password", "ca": "kafka-ca.pem"}


def figures(objects: list[Object]) -> Iterator[str]:
    """Waits that end too early, folders without room or without a bound, and pods that count as ready too soon."""
    for one in workloads(objects):
        pod = pod_of(one)
        if pod["securityContext"].get("runAsGroup") != USER:
            yield f"{name_of(one)}: its group is not {USER}"
        waits = [each["args"] for each in pod.get("initContainers", ()) if each["name"] == "schema"]
        if any(int(args[args.index("--wait") + 1]) < SCHEMA_SECONDS for args in waits):
            yield f"{name_of(one)}: waits for the migration for less than {SCHEMA_SECONDS} s"
        if any(each.get("imagePullPolicy") == "Never" for each in filter(is_ours, containers(one))):
            yield f"{name_of(one)}: never pulls its image"
        (tmp,) = [volume["emptyDir"] for volume in pod["volumes"] if volume["name"] == "tmp"]
        if "sizeLimit" not in tmp or (one["kind"] == "Deployment" and tmp["sizeLimit"] != TMP):
            yield f"{name_of(one)}: /tmp has the limit {tmp.get('sizeLimit')}"
    for one in of_kind(objects, "Deployment"):
        if one["spec"].get("minReadySeconds") != 10:
            yield f"{name_of(one)}: an update goes on although a pod ends right after its start"
    for one in of_kind(objects, "Job"):
        spec = one["spec"]
        if spec["activeDeadlineSeconds"] < JOB_SECONDS or spec["backoffLimit"] > 3:
            yield f"{name_of(one)}: ends too early, or tries without end"


def secrets(objects: list[Object]) -> Iterator[str]:
    """Secrets that come from elsewhere, or much later than docs/kubernetes.md says."""
    for one in of_kind(objects, "ExternalSecret"):
        spec = one["spec"]
        if spec["refreshInterval"] != "10m":
            yield f"{name_of(one)}: a new key comes after {spec['refreshInterval']}"
        if spec["secretStoreRef"] != {"kind": "ClusterSecretStore", "name": "orderflow"}:
            yield f"{name_of(one)}: reads another store of secrets"


def ways_in(objects: list[Object]) -> Iterator[str]:
    """An Ingress that publishes more than the callbacks, or less."""
    for one in of_kind(objects, "Ingress"):
        paths = [(way["path"], way["pathType"]) for rule in one["spec"]["rules"] for way in rule["http"]["paths"]]
        if paths != [("/oms/callbacks/", "Prefix")]:
            yield f"{name_of(one)}: publishes {paths}"


def scaling(objects: list[Object], kafka_objects: list[Object]) -> Iterator[str]:
    """A scaling that begins too late, that cannot log in, or that starts consumers without a partition."""
    partitions = {one["metadata"]["name"]: one["spec"]["partitions"] for one in of_kind(kafka_objects, "KafkaTopic")}
    for one in of_kind(objects, "ScaledObject"):
        for trigger in one["spec"]["triggers"]:
            data = trigger["metadata"]
            if data.get("lagThreshold") != "50":
                yield f"{name_of(one)}: {data['topic']}: adds a consumer at a lag of {data.get('lagThreshold')}"
            if partitions.get(data["topic"]) != one["spec"]["maxReplicaCount"]:
                yield f"{name_of(one)}: {data['topic']} has {partitions.get(data['topic'])} partitions"
    for one in of_kind(objects, "TriggerAuthentication"):
        if {each["parameter"]: each["key"] for each in one["spec"]["secretTargetRef"]} != LOGIN:
            yield f"{name_of(one)}: KEDA cannot log in to Kafka"
