"""Checks of rollouts, pods, monitoring and scaling: mistakes that the API server takes, and that show at night."""

from collections.abc import Iterator
from typing import Any, Final

from consumer import config
from tests.k8s.fitting import COMPONENT, containers, is_ours, labels_of, of_kind, pod_of, routes, selects, workloads
from tests.k8s.kinds import name_of
from tests.k8s.rendering import Object

#: Two scrapes have to be in the shortest range that a rule reads, 5 minutes, with some to spare.
LONGEST_SCRAPE_SECONDS: Final = 60
#: The OMS alone can publish its events again, so they have to outlast an outage that a weekend hides.
RETENTION_MS: Final = 7 * 86_400_000


def rollouts(objects: list[Object]) -> Iterator[str]:
    """An update or a drain that takes the last pod, opens more connections than counted, or does not wait."""
    scaled = {one["spec"]["scaleTargetRef"]["name"] for one in of_kind(objects, "ScaledObject")}
    for one in of_kind(objects, "Deployment"):
        spec, is_web = one["spec"], labels_of(one)[COMPONENT] == "web"
        surge = {"maxUnavailable": 0, "maxSurge": 1} if is_web else {"maxUnavailable": 1, "maxSurge": 0}
        if spec.get("strategy") != {"type": "RollingUpdate", "rollingUpdate": surge}:
            yield f"{name_of(one)}: rolls otherwise than by {surge}"
        if one["metadata"]["name"] not in scaled and spec.get("replicas", 1) < 2:
            yield f"{name_of(one)}: has fewer than two pods"
        if is_web and not pod_of(one)["containers"][0].get("lifecycle", {}).get("preStop"):
            yield f"{name_of(one)}: stops while the Service still sends requests"
        waits = [each["args"] for each in pod_of(one).get("initContainers", ())]
        if not any(args[:3] == ["migrate", "--check", "--wait"] for args in waits):
            yield f"{name_of(one)}: does not wait for the migration"
        if {spread["whenUnsatisfiable"] for spread in pod_of(one)["topologySpreadConstraints"]} != {"ScheduleAnyway"}:
            yield f"{name_of(one)}: no pod starts when a zone is lost"
    for one in of_kind(objects, "PodDisruptionBudget"):
        if one["spec"].get("unhealthyPodEvictionPolicy") != "AlwaysAllow":
            yield f"{name_of(one)}: a pod that is not ready blocks a drain"
    if "migrate" not in {labels_of(one)[COMPONENT] for one in of_kind(objects, "Job")}:
        yield "there is no Job that migrates"


def pods(objects: list[Object]) -> Iterator[str]:
    """What pod security would refuse only in the cluster, probes without patience, and secrets that do not follow."""
    for one in workloads(objects):
        pod = pod_of(one)
        wide = [key for key in ("hostNetwork", "hostPID", "hostIPC") if pod.get(key)]
        for container in filter(is_ours, containers(one)):
            wide += [f"{container['name']} hostPort" for port in container.get("ports", ()) if "hostPort" in port]
            wide += [f"{container['name']} privileged"] if container["securityContext"].get("privileged") else []
            if any("subPath" in mount for mount in container["volumeMounts"]):
                yield f"{name_of(one)}: a mount by subPath never sees a new key"
            for kind in ("startupProbe", "livenessProbe", "readinessProbe"):
                probe = container.get(kind)
                if probe and (probe.get("timeoutSeconds", 1) < 5 or probe.get("failureThreshold", 3) < 3):
                    yield f"{name_of(one)}: {kind} fails after one slow answer"
        if wide:
            yield f"{name_of(one)}: has {', '.join(wide)}"
        for volume in pod["volumes"]:
            if "projected" in volume and volume["projected"].get("defaultMode") != 0o440:
                yield f"{name_of(one)}: the files of {volume['name']} are for others than the group"


def monitoring(objects: list[Object]) -> Iterator[str]:
    """Pods that are not scraped as the alerts need it, and rules and dashboards that nobody loads."""
    ends = [(one, end) for one in of_kind(objects, "PodMonitor") for end in one["spec"]["podMetricsEndpoints"]]
    for one in of_kind(objects, "Deployment"):
        if not any(selects(monitor["spec"]["selector"], labels_of(one)) for monitor, _ in ends):
            yield f"{name_of(one)}: no PodMonitor selects its pods"
    for monitor, end in ends:
        if (end["port"], end.get("path", "/metrics")) != ("http", "/metrics") or "/metrics" not in routes():
            yield f"{name_of(monitor)}: reads {end['port']}{end.get('path')}, where no metrics are"
        seconds = end.get("interval", "")
        if not seconds.endswith("s") or int(seconds[:-1]) > LONGEST_SCRAPE_SECONDS:
            yield f"{name_of(monitor)}: reads every {seconds}, which is too seldom for the rules"
    if not of_kind(objects, "PrometheusRule"):
        yield "no PrometheusRule brings the alerts"
    if not any("grafana_dashboard" in one["metadata"].get("labels", {}) for one in of_kind(objects, "ConfigMap")):
        yield "no ConfigMap has the label by which Grafana finds dashboards"


def events_last(kafka_objects: list[Object], settings: config.Settings) -> Iterator[str]:
    """Topics that forget events before somebody is back at work."""
    for one in of_kind(kafka_objects, "KafkaTopic"):
        kept = int(one["spec"]["config"]["retention.ms"])
        if one["metadata"]["name"] in (settings.topics.snapshots, settings.topics.oms_events) and kept < RETENTION_MS:
            yield f"{name_of(one)}: keeps events for {kept / 3_600_000:.0f} h"


def scaling(objects: list[Object], settings: config.Settings) -> Iterator[str]:
    """A scaling that cannot log in, that a poison record drives, or that flaps."""
    sasl = {None: "none", "PLAIN": "plaintext"}.get(
        settings.kafka.sasl_mechanism, str(settings.kafka.sasl_mechanism).lower().replace("-sha-", "_sha")
    )
    tls = "enable" if settings.kafka.security_protocol.endswith("SSL") else "disable"
    want: dict[str, Any] = {"sasl": sasl, "tls": tls, "excludePersistentLag": "true"}
    for one in of_kind(objects, "ScaledObject"):
        for trigger in one["spec"]["triggers"]:
            data = trigger["metadata"]
            wrong = sorted(key for key, value in want.items() if data.get(key) != value)
            if wrong:
                yield f"{name_of(one)}: {data['topic']}: {', '.join(wrong)} is not as Kafka's settings need it"
        behavior = one["spec"].get("advanced", {}).get("horizontalPodAutoscalerConfig", {}).get("behavior", {})
        if behavior.get("scaleDown", {}).get("stabilizationWindowSeconds", 0) < 300:
            yield f"{name_of(one)}: scales down within five minutes"
