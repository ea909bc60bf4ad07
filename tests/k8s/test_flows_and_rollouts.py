"""What staging and prod allow in the network, how they roll, how they are read: and mistakes in them are found."""

import copy
from pathlib import Path

import pytest

from tests.k8s import fitting, fitting_network, fitting_rollout
from tests.k8s.rendering import K8S, OVERLAYS, Object, objects_of, renderers
from tests.k8s.test_manifests import Change, Rendered, main, pod, the, trigger


@pytest.fixture(scope="module")
def rendered() -> Rendered:
    render = renderers()[0]
    return {name: objects_of(render(K8S / "overlays" / name)) for name in OVERLAYS}


def wrong(name: str, rendered: Rendered, folder: Path) -> list[str]:
    objects = rendered[name]
    settings = fitting.settings_of(objects, folder, {})
    assert settings is not None
    return [
        *fitting_network.network(objects, settings),
        *fitting_network.ways_in(objects),
        *fitting_rollout.rollouts(objects),
        *fitting_rollout.pods(objects),
        *fitting_rollout.monitoring(objects),
        *fitting_rollout.events_last(rendered[f"{name}/kafka"], settings),
        *fitting_rollout.scaling(objects, settings),
    ]


@pytest.mark.parametrize("name", ["staging", "prod"])
def test_an_overlay_allows_what_it_needs_and_rolls_as_it_should(rendered: Rendered, tmp_path: Path, name: str) -> None:
    assert wrong(name, rendered, tmp_path) == []


def test_the_demos_keep_the_same_rules_for_their_pods(rendered: Rendered) -> None:
    assert [*fitting_rollout.pods(rendered["demo"]), *fitting_rollout.pods(rendered["demo-full"])] == []
    assert [*fitting_rollout.rollouts(rendered["demo-full"])] == []
    assert [*fitting_network.names_are_found(rendered["demo-full"])] == []


def policy(objects: list[Object], name: str) -> Object:
    found: Object = the(objects, "NetworkPolicy", name)["spec"]
    return found


def roles(objects: list[Object], name: str) -> list[str]:
    found: list[str] = policy(objects, name)["podSelector"]["matchExpressions"][0]["values"]
    return found


def rule(objects: list[Object], name: str, way: str = "egress") -> Object:
    found: Object = policy(objects, name)[way][0]
    return found


def budget(objects: list[Object]) -> Object:
    found: Object = the(objects, "PodDisruptionBudget", "orderflow-web")["spec"]
    return found


def endpoint(objects: list[Object]) -> Object:
    found: Object = the(objects, "PodMonitor", "orderflow")["spec"]["podMetricsEndpoints"][0]
    return found


def rolling(objects: list[Object], name: str) -> Object:
    found: Object = the(objects, "Deployment", f"orderflow-{name}")["spec"]
    return found


def scaled(objects: list[Object]) -> Object:
    found: Object = the(objects, "ScaledObject", "orderflow")["spec"]
    return found


#: What is changed in the rendered prod (`kafka/`: in its topics), and which error the checks then report.
MUTATIONS: dict[str, tuple[Change, str]] = {
    # the network
    "no DNS": (lambda o: o.remove(the(o, "NetworkPolicy", "orderflow-dns")), "nothing allows"),
    "DNS by TCP alone": (lambda o: rule(o, "orderflow-dns")["ports"].pop(0), "nothing allows"),
    "a worker without Mirakl": (lambda o: roles(o, "orderflow-remotes").remove("worker"), "orderflow-worker: nothing"),
    "a poller without Mirakl": (lambda o: roles(o, "orderflow-remotes").remove("poller"), "orderflow-poller: nothing"),
    "no remotes": (lambda o: o.remove(the(o, "NetworkPolicy", "orderflow-remotes")), "nothing allows"),
    "a web that calls out": (lambda o: roles(o, "orderflow-remotes").append("web"), "orderflow-web: not needed"),
    "plain HTTP": (
        lambda o: rule(o, "orderflow-remotes")["ports"].append({"protocol": "TCP", "port": 80}),
        "not needed",
    ),
    "private addresses": (lambda o: rule(o, "orderflow-remotes")["to"][0]["ipBlock"].pop("except"), "not needed"),
    "the cloud's metadata": (
        lambda o: rule(o, "orderflow-remotes")["to"][0]["ipBlock"]["except"].remove("169.254.0.0/16"),
        "not needed",
    ),
    "a web without Kafka": (lambda o: roles(o, "orderflow-kafka").remove("web"), "orderflow-web: nothing allows"),
    "a consumer without Kafka": (
        lambda o: roles(o, "orderflow-kafka").remove("consumer"),
        "orderflow-consumer: nothing",
    ),
    "everything out": (lambda o: policy(o, "default-deny").update(egress=[{}]), "not needed, but allowed"),
    "everything in": (lambda o: policy(o, "default-deny").update(ingress=[{}]), "pods that are not of orderflow"),
    "callbacks to another role": (
        lambda o: policy(o, "orderflow-from-ingress")["podSelector"]["matchLabels"].update(
            {fitting.COMPONENT: "worker"}
        ),
        "orderflow-web: nothing allows",
    ),
    "metrics for the world": (
        lambda o: rule(o, "orderflow-from-ingress", "ingress")["ports"][0].update(port="http"),
        "not needed, but allowed",
    ),
    "callbacks from anybody": (lambda o: rule(o, "orderflow-from-ingress", "ingress").pop("from"), "not needed"),
    "no scrape": (lambda o: o.remove(the(o, "NetworkPolicy", "orderflow-from-monitoring")), "nothing allows"),
    "a Service that publishes metrics": (
        lambda o: the(o, "Service", "orderflow-web")["spec"]["ports"][0].update(targetPort="http"),
        "publishes another port",
    ),
    "a Service beside the Ingress": (
        lambda o: the(o, "Service", "orderflow-web")["spec"].update(type="LoadBalancer"),
        "past the Ingress",
    ),
    "no certificate": (
        lambda o: the(o, "Ingress", "orderflow")["spec"]["tls"][0].pop("secretName"),
        "names no Secret with a certificate",
    ),
    # monitoring
    "the path of the metrics": (lambda o: endpoint(o).update(path="/metric"), "where no metrics are"),
    "the port of the metrics": (lambda o: endpoint(o).update(port="callbacks"), "where no metrics are"),
    "a seldom scrape": (lambda o: endpoint(o).update(interval="10m"), "too seldom"),
    "a scrape of one role": (
        lambda o: the(o, "PodMonitor", "orderflow")["spec"]["selector"]["matchLabels"].update(
            {fitting.COMPONENT: "web"}
        ),
        "no PodMonitor selects its pods",
    ),
    "no rules": (lambda o: o.remove(the(o, "PrometheusRule", "orderflow")), "no PrometheusRule"),
    "a dashboard without its label": (
        lambda o: the(o, "ConfigMap", "orderflow-dashboard")["metadata"]["labels"].pop("grafana_dashboard"),
        "by which Grafana finds dashboards",
    ),
    # rollouts and drains
    "one pod": (lambda o: rolling(o, "web").update(replicas=1), "fewer than two pods"),
    "no pod": (lambda o: rolling(o, "worker").update(replicas=0), "fewer than two pods"),
    "a web that goes away": (
        lambda o: rolling(o, "web")["strategy"]["rollingUpdate"].update(maxUnavailable=1),
        "rolls otherwise",
    ),
    "more connections": (
        lambda o: rolling(o, "worker")["strategy"]["rollingUpdate"].update(maxSurge=1),
        "rolls otherwise",
    ),
    "all at once": (lambda o: rolling(o, "worker").update(strategy={"type": "Recreate"}), "rolls otherwise"),
    "no preStop": (lambda o: main(o, "orderflow-web").pop("lifecycle"), "stops while the Service"),
    "no wait for the schema": (lambda o: pod(o).pop("initContainers"), "does not wait for the migration"),
    "every pod migrates": (lambda o: pod(o)["initContainers"][0]["args"].remove("--check"), "does not wait"),
    "no migration": (lambda o: o.remove(the(o, "Job", "orderflow-migrate")), "no Job that migrates"),
    "a drain that waits": (lambda o: budget(o).pop("unhealthyPodEvictionPolicy"), "blocks a drain"),
    "a zone that is lost": (
        lambda o: pod(o)["topologySpreadConstraints"][0].update(whenUnsatisfiable="DoNotSchedule"),
        "no pod starts when a zone is lost",
    ),
    # pods
    "the node's network": (lambda o: pod(o).update(hostNetwork=True), "has hostNetwork"),
    "a port of the node": (lambda o: main(o)["ports"][0].update(hostPort=9464), "hostPort"),
    "a privileged container": (lambda o: main(o)["securityContext"].update(privileged=True), "privileged"),
    "a key that never changes": (lambda o: main(o)["volumeMounts"][1].update(subPath="x"), "never sees a new key"),
    "keys for everybody": (
        lambda o: pod(o)["volumes"][1]["projected"].update(defaultMode=0o444),
        "others than the group",
    ),
    "keys for root": (lambda o: pod(o)["volumes"][1]["projected"].pop("defaultMode"), "others than the group"),
    "an impatient probe": (lambda o: main(o)["livenessProbe"].update(failureThreshold=1), "one slow answer"),
    "a short time-out": (lambda o: main(o)["livenessProbe"].update(timeoutSeconds=1), "one slow answer"),
    # Kafka and the scaling
    "a log that forgets": (
        lambda o: the(o, "KafkaTopic", "oms.")["spec"]["config"].update({"retention.ms": 3_600_000}),
        "keeps events for 1 h",
    ),
    "a poison record that scales": (lambda o: trigger(o).pop("excludePersistentLag"), "excludePersistentLag"),
    "a scaling without TLS": (lambda o: trigger(o).pop("tls"), "oms.order-events: tls"),
    "a scaling by another login": (lambda o: trigger(o).update(sasl="plaintext"), "oms.order-events: sasl"),
    "a scaling that flaps": (lambda o: scaled(o).pop("advanced"), "within five minutes"),
}


@pytest.mark.parametrize("name", MUTATIONS)
def test_a_change_that_breaks_something_is_found(rendered: Rendered, tmp_path: Path, name: str) -> None:
    change, text = MUTATIONS[name]
    changed = copy.deepcopy(rendered)
    change(changed["prod/kafka" if "log that" in name else "prod"])
    found = wrong("prod", changed, tmp_path)
    assert any(text in one for one in found), found
