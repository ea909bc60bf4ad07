"""The pods of overlays/demo-full run for real: a node is lost under load, every pod is rolled, and the audit passes.

Each container runs with its command, variables, mounts, user and security context of the rendered overlay; kubelet.py
says how. Kafka and PostgreSQL are those of the tests, so their addresses, the password and the names of topics are put
into the ConfigMap and the Secret.
"""

import base64
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path

import pytest

from adapters.store import orders as order_rows
from adapters.store.engine import without_password
from adapters.store.transaction import Store
from tests.engines import MakeTopics, needs
from tests.k8s.controllers import Deployment, Service, next_address, run_job
from tests.k8s.kubelet import Node, missing
from tests.k8s.rendering import K8S, Object, objects_of, renderers
from tests.support import wait

pytestmark = pytest.mark.minutes

TOPICS = ("mirakl.order-snapshots", "oms.order-events", "orderflow.transitions", "orderflow.dead-letters")
#: The node is lost when so many orders have left the first states.
UNDER_WAY = 15
EARLY = ("new", "waiting_acceptance", "accepted")


class Cluster:
    """The overlay on one node."""

    def __init__(self, folder: Path, stack: ExitStack, texts: Mapping[str, str], password: str) -> None:
        needs(missing())
        objects = objects_of(renderers()[0](K8S / "overlays/demo-full"))
        jobs, deployments, services = (_by_part(objects, kind) for kind in ("Job", "Deployment", "Service"))
        simulators, web_address = next_address(), next_address()
        self.node = Node(
            folder, _files(objects, texts, password), {"simulators": simulators, "orderflow-web": web_address}
        )
        stack.callback(self.node.stop)
        addresses = {"migrate": next_address(), "doctor": next_address(), "audit": simulators}
        self.jobs = {name: run_job(self.node, jobs[name], ip) for name, ip in addresses.items()}
        self.deployments = {name: Deployment(self.node, one) for name, one in deployments.items()}
        stack.callback(self.stop)
        (of_service,) = services["web"]["spec"]["ports"]
        (container,) = deployments["web"]["spec"]["template"]["spec"]["containers"]
        ports = {one["name"]: one["containerPort"] for one in container["ports"]}
        target = ports[of_service["targetPort"]]
        web = self.deployments["web"]
        stack.callback(Service((web_address, of_service["port"]), target, lambda: [pod for _, pod in web.pods]).close)

    def stop(self) -> None:
        """End every pod. Returns when all have ended."""
        for one in self.deployments.values():
            one.stop()
        for one in self.deployments.values():
            one.join()

    def audit_said(self) -> str:
        """What the simulators printed, with one space between words."""
        (pod,) = (pod for pod in self.node.pods if pod.name == "orderflow-audit-0")
        return " ".join(pod.logs().split())

    def wrong(self) -> list[str]:
        """The pods that restarted, ended with another code than 0, or took longer than their grace."""
        found = [f"{pod.name} restarted {pod.restarts} times" for pod in self.node.pods if pod.restarts]
        for pod in (pod for one in self.deployments.values() for pod in one.ended):
            for container in pod.containers:
                if container.late or container.codes != [0]:
                    found.append(f"{pod.name} ended with {container.codes}, late: {container.late}")
        return found


def _by_part(objects: list[Object], kind: str) -> dict[str, Object]:
    """The objects of a kind by the second word of their names, such as `web`."""
    of_kind = [one for one in objects if one["kind"] == kind and one["metadata"]["name"].startswith("orderflow-")]
    return {one["metadata"]["name"].split("-")[1]: one for one in of_kind}


def _files(objects: list[Object], texts: Mapping[str, str], password: str) -> dict[str, dict[str, bytes]]:
    """ConfigMaps and Secrets by name, with `texts` replaced in the settings, and the password of the database."""
    found: dict[str, dict[str, bytes]] = {}
    for one in objects:
        if one["kind"] == "ConfigMap":
            found[one["metadata"]["name"]] = {name: _replaced(text, texts) for name, text in one["data"].items()}
        elif one["kind"] == "Secret":
            keys = {name: base64.b64decode(text) for name, text in one["data"].items()}
            if "store.password" in keys:
                keys["store.password"] = password.encode()
            found[one["metadata"]["name"]] = keys
    return found


def _replaced(text: str, texts: Mapping[str, str]) -> bytes:
    for old, new in texts.items():
        text = text.replace(old, new)
    return text.encode()


@pytest.fixture
def cluster(tmp_path: Path, kafka_servers: list[str], topics: MakeTopics, postgres_url: str) -> Iterator[Cluster]:
    names = topics(dict.fromkeys(TOPICS, 6))
    bare, password = without_password(postgres_url)
    group = names[TOPICS[0]]
    texts = {'"kafka:9092"': ", ".join(f'"{one}"' for one in kafka_servers)}
    texts |= {f'"{old}"': f'"{new}"' for old, new in names.items()} | {
        'group_id = "orderflow"': f'group_id = "{group}"'
    }
    texts["postgresql+psycopg://orderflow@postgresql/orderflow"] = bare
    with ExitStack() as stack:
        yield Cluster(tmp_path, stack, texts, password or "unused")


def test_pods_are_lost_and_rolled_under_load_and_the_audit_passes(cluster: Cluster, postgres_url: str) -> None:
    deployments, jobs = cluster.deployments, cluster.jobs

    def are_rolled_out() -> bool:
        return all(one.is_rolled_out() for one in deployments.values())

    wait(lambda: jobs["migrate"]() == "Succeeded", "the schema is there", 120)
    wait(are_rolled_out, "every pod is there", 120)
    store = Store(postgres_url)
    try:
        wait(lambda: _under_way(store) >= UNDER_WAY, "orders are under way", 120)
    finally:
        store.close()
    lost = [one.lose_one() for one in deployments.values()]
    wait(are_rolled_out, "the lost pods are replaced", 120)
    assert jobs["audit"]() == "", "the load ended before the pods were rolled"
    for one in deployments.values():
        one.roll()
    wait(are_rolled_out, "every pod is rolled", 240)
    for name, one in deployments.items():
        assert one.most == (one.wanted + 1 if name == "web" else one.wanted)
        assert one.fewest >= (one.wanted if name == "web" else one.wanted - 1)
    wait(lambda: jobs["audit"]() != "", "the audit has ended", 300)
    assert jobs["audit"]() == "Succeeded", cluster.audit_said()
    assert "Audit passed" in cluster.audit_said()
    assert jobs["doctor"]() == "Succeeded"
    cluster.stop()
    assert cluster.wrong() == []
    assert [pod.phase for pod in lost] == ["Lost"] * len(deployments)


def _under_way(store: Store) -> int:
    return sum(state not in EARLY for state in order_rows.states(store).values())
