"""Figures and names of staging and prod that the API server takes, whatever they are: a mistake in one is found."""

import copy

import pytest

from tests.k8s import fitting_figures
from tests.k8s.rendering import K8S, OVERLAYS, Object, objects_of, renderers
from tests.k8s.test_manifests import Change, Rendered, main, pod, the, trigger


@pytest.fixture(scope="module")
def rendered() -> Rendered:
    render = renderers()[0]
    return {name: objects_of(render(K8S / "overlays" / name)) for name in OVERLAYS if name.startswith(("prod", "stag"))}


def wrong(name: str, rendered: Rendered) -> list[str]:
    objects = rendered[name]
    return [
        *fitting_figures.figures(objects),
        *fitting_figures.secrets(objects),
        *fitting_figures.ways_in(objects),
        *fitting_figures.scaling(objects, rendered[f"{name}/kafka"]),
    ]


@pytest.mark.parametrize("name", ["staging", "prod"])
def test_the_figures_are_those_of_the_documents(rendered: Rendered, name: str) -> None:
    assert wrong(name, rendered) == []


def path(objects: list[Object]) -> Object:
    found: Object = the(objects, "Ingress", "orderflow")["spec"]["rules"][0]["http"]["paths"][0]
    return found


def job(objects: list[Object], name: str) -> Object:
    found: Object = the(objects, "Job", name)["spec"]
    return found


def secret(objects: list[Object]) -> Object:
    found: Object = the(objects, "ExternalSecret", "orderflow-shops")["spec"]
    return found


MUTATIONS: dict[str, tuple[Change, str]] = {
    "a short wait for the schema": (
        lambda o: pod(o)["initContainers"][0].update(args=["migrate", "--check", "--wait", "3"]),
        "less than 300 s",
    ),
    "the group of root": (lambda o: pod(o)["securityContext"].update(runAsGroup=0), "its group is not"),
    "an image that is never pulled": (lambda o: main(o).update(imagePullPolicy="Never"), "never pulls"),
    "a small /tmp": (lambda o: pod(o)["volumes"][2]["emptyDir"].update(sizeLimit="1Mi"), "/tmp has the limit 1Mi"),
    "an unbounded /tmp": (lambda o: pod(o)["volumes"][2]["emptyDir"].clear(), "/tmp has the limit None"),
    "a quick update": (
        lambda o: the(o, "Deployment", "orderflow-worker")["spec"].update(minReadySeconds=0),
        "ends right after its start",
    ),
    "a migration that is cut off": (
        lambda o: job(o, "orderflow-migrate").update(activeDeadlineSeconds=10),
        "ends too early",
    ),
    "a doctor without an end": (lambda o: job(o, "orderflow-doctor").update(backoffLimit=50), "tries without end"),
    "a key that comes a day later": (lambda o: secret(o).update(refreshInterval="24h"), "comes after 24h"),
    "another store of secrets": (lambda o: secret(o)["secretStoreRef"].update(kind="SecretStore"), "another store"),
    "every path is published": (lambda o: path(o).update(path="/"), "publishes"),
    "no shop's path is published": (lambda o: path(o).update(pathType="Exact"), "publishes"),
    "a scaling that begins late": (lambda o: trigger(o).update(lagThreshold="5000"), "at a lag of 5000"),
    "a scaling without the authority": (
        lambda o: the(o, "TriggerAuthentication", "orderflow-kafka")["spec"]["secretTargetRef"].pop(),
        "cannot log in",
    ),
    "fewer partitions than consumers, in Kafka": (
        lambda o: the(o, "KafkaTopic", "mirakl.")["spec"].update(partitions=6),
        "has 6 partitions",
    ),
}


@pytest.mark.parametrize("name", MUTATIONS)
def test_a_mistake_in_a_figure_is_found(rendered: Rendered, name: str) -> None:
    change, text = MUTATIONS[name]
    changed = copy.deepcopy(rendered)
    change(changed["prod/kafka" if "in Kafka" in name else "prod"])
    found = wrong("prod", changed)
    assert any(text in one for one in found), found
