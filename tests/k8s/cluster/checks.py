"""Applies every overlay to a real API server, and looks at what its controllers make of it: `make k8s-apply`.

Each check returns a sentence with what was seen. A check that fails says so, and the others go on.
"""

import copy
import json
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from tests.k8s.cluster import objects as made
from tests.k8s.cluster.build import VERSION, built, missing
from tests.k8s.cluster.lag import Lag
from tests.k8s.cluster.plane import ControlPlane, Refused
from tests.k8s.fitting import workloads
from tests.k8s.rendering import K8S, OVERLAYS, Object, objects_of

NAMESPACES: Final = {
    "demo": "orderflow-demo",
    "demo-full": "orderflow-demo-full",
    "staging": "orderflow-staging",
    "prod": "orderflow",
}
ROLES: Final = ("consumer", "worker", "poller", "web")
#: What Kubernetes lets every account do: ask who it is and what it may do, and read public certificates.
OF_EVERY_ACCOUNT: Final = ("self", "clustertrustbundles")
OURS: Final = "app.kubernetes.io/name=orderflow"


class Cluster:
    """The control plane, the rendered overlays, and what the checks share."""

    def __init__(self, plane: ControlPlane, folder: Path) -> None:
        self.plane, self._folder = plane, folder
        self.rendered: dict[str, list[Object]] = {}
        for name in OVERLAYS:
            text = plane.kubectl("kustomize", str(K8S / "overlays" / name))
            self.rendered[name] = objects_of(text.encode())
        self.lag = Lag(folder / "lag")

    def of(self, overlay: str, kind: str) -> list[Object]:
        return [one for one in self.rendered[overlay] if one["kind"] == kind]

    def deployments(self, namespace: str) -> dict[str, Any]:
        return {one["metadata"]["name"]: one for one in self.plane.get("deployments", namespace)}

    def is_rolled_out(self, namespace: str) -> bool:
        found = self.deployments(namespace).values()
        return bool(found) and all(
            one["status"].get("observedGeneration") == one["metadata"]["generation"]
            and one["status"].get("updatedReplicas", 0) == one["spec"]["replicas"] == one["status"].get("replicas", 0)
            and one["status"].get("availableReplicas", 0) == one["spec"]["replicas"]
            for one in found
        )

    def pod(self, overlay: str, deployment: str) -> Object:
        """A Pod made of the template of a Deployment, a Job or a StatefulSet."""
        (one,) = (one for one in workloads(self.rendered[overlay]) if one["metadata"]["name"] == deployment)
        template = copy.deepcopy(one["spec"]["template"])
        meta = template["metadata"] | {"name": f"{deployment}-alone", "namespace": NAMESPACES[overlay]}
        return {"apiVersion": "v1", "kind": "Pod", "metadata": meta, "spec": template["spec"]}

    def refusal(self, one: Object) -> str:
        """Why the API server refuses an object; "" if it takes it. Nothing is stored."""
        try:
            self.plane.apply([one], "--dry-run=server")
        except Refused as error:
            return str(error)
        return ""


# -- The checks, in their order ----------------------------------------------------------------------------------


def every_overlay_is_taken(cluster: Cluster) -> str:
    """Strictly: an unknown field, also of a custom kind, is refused."""
    plane = cluster.plane
    plane.apply(made.definitions())
    plane.kubectl("wait", "--for=condition=Established", "crd", "--all", "--timeout=60s")
    plane.apply([{"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "kafka"}}])
    counts = []
    for name, objects in cluster.rendered.items():
        first = [one for one in objects if one["kind"] == "Namespace"]
        if first:
            plane.apply(first)
            plane.apply(made.secrets_of(objects, NAMESPACES[name]) or first)
            wait = f"the account default of {name}"
            plane.until(lambda where=NAMESPACES[name]: bool(plane.get("serviceaccounts", where)), wait)  # type: ignore[misc]
        plane.apply(objects)
        counts.append(f"{name} {len(objects)}")
    broken = copy.deepcopy(cluster.of("prod", "Deployment")[0])
    broken["spec"]["template"]["spec"]["containers"][0]["comand"] = ["x"]
    assert 'unknown field "spec.template.spec.containers[0].comand"' in cluster.refusal(broken)
    return f"objects of {', '.join(counts)}; a field with a typing error is refused"


def every_pod_starts(cluster: Cluster) -> str:
    """The namespaces enforce pod security `restricted`, so pods that were made are admitted pods."""
    seconds = 0.0
    for namespace in NAMESPACES.values():
        what = f"every Deployment of {namespace} is rolled out"
        seconds = max(seconds, cluster.plane.until(lambda where=namespace: cluster.is_rolled_out(where), what, 180))  # type: ignore[misc]
    pods = [one for where in NAMESPACES.values() for one in cluster.plane.get("pods", where)]
    return f"{len(pods)} pods of {len(NAMESPACES)} namespaces are admitted and ready"


def pod_security_refuses(cluster: Cluster) -> str:
    """What `restricted` forbids is refused, and the pods of each Deployment and Job are taken as they are."""
    for overlay in NAMESPACES:
        for one in workloads(cluster.rendered[overlay]):
            refusal = cluster.refusal(cluster.pod(overlay, one["metadata"]["name"]))
            assert refusal == "", refusal
    privileged = {"privileged": True, "allowPrivilegeEscalation": True}
    changes: dict[str, Callable[[Any], object]] = {
        "root": lambda spec: spec["securityContext"].update(runAsUser=0),
        "a privileged container": lambda spec: spec["containers"][0]["securityContext"].update(privileged),
        "the node's network": lambda spec: spec.update(hostNetwork=True),
        "a path of the node": lambda spec: spec["volumes"].append({"name": "x", "hostPath": {"path": "/"}}),
        "a capability": lambda spec: spec["containers"][0]["securityContext"]["capabilities"].update(drop=[]),
        "no seccomp profile": lambda spec: spec["securityContext"].pop("seccompProfile"),
    }
    for what, change in changes.items():
        pod = cluster.pod("prod", "orderflow-web")
        change(pod["spec"])
        assert "violates PodSecurity" in cluster.refusal(pod), what
    return f"refused: {', '.join(changes)}"


def quotas_hold(cluster: Cluster) -> str:
    """All pods with the extra pod of a rolling update fit a quota, and one pod more does not."""
    plane, where = cluster.plane, NAMESPACES["staging"]
    running = len([one for one in plane.get("pods", where) if one["status"]["phase"] != "Succeeded"])
    plane.apply([made.quota(where, running)])
    plane.until(lambda: "used" in plane.get("resourcequotas", where)[0].get("status", {}), "the quota is counted")
    used = plane.get("resourcequotas", where)[0]["status"]["used"]
    plane.until(
        lambda: "exceeded quota" in cluster.refusal(cluster.pod("staging", "orderflow-web")), "the quota is full"
    )
    plane.apply([made.quota(where, running + 1)])
    plane.until(lambda: cluster.refusal(cluster.pod("staging", "orderflow-web")) == "", "a larger quota is used")
    without = cluster.pod("staging", "orderflow-web")
    without["spec"]["containers"][0].pop("resources")
    assert "must specify" in cluster.refusal(without)
    plane.kubectl("delete", "resourcequota", "all", "-n", where)
    return f"staging uses {used['requests.cpu']} CPU and {used['requests.memory']} of memory in {running} pods"


def policies_hold(cluster: Cluster) -> str:
    """A policy that demands images by digest takes production, and refuses a tag."""
    plane, where = cluster.plane, NAMESPACES["prod"]
    plane.apply(made.by_digest_only(where))
    tagged = cluster.pod("prod", "orderflow-web")
    tagged["spec"]["containers"][0]["image"] = "registry.example/orderflow:0.1.0"
    plane.until(lambda: "named by its digest" in cluster.refusal(tagged), "the policy is used")
    assert cluster.refusal(cluster.pod("prod", "orderflow-web")) == ""
    plane.kubectl("delete", "validatingadmissionpolicybinding,validatingadmissionpolicy", "by-digest")
    return "an image by digest is taken, a tag is refused"


def accounts_may_nothing(cluster: Cluster) -> str:
    """The account of the pods has no right to a resource but those of OF_EVERY_ACCOUNT; its token is not mounted."""
    for namespace in NAMESPACES.values():
        account = f"system:serviceaccount:{namespace}:orderflow"
        lines = cluster.plane.kubectl("auth", "can-i", "--list", f"--as={account}", "-n", namespace).splitlines()
        rights = [line for line in lines[1:] if not line.startswith((*OF_EVERY_ACCOUNT, " "))]
        assert rights == [], rights
        for verb, what in (("get", "secrets"), ("list", "pods"), ("create", "pods"), ("get", "configmaps")):
            try:
                cluster.plane.kubectl("auth", "can-i", verb, what, f"--as={account}", "-n", namespace)
            except Refused as refused:
                assert "no" in str(refused)
            else:
                raise AssertionError(f"{account} may {verb} {what}")
        for pod in cluster.plane.get("pods", namespace):
            mounts = [one["name"] for c in pod["spec"]["containers"] for one in c.get("volumeMounts", ())]
            assert not any("kube-api-access" in one for one in mounts), pod["metadata"]["name"]
    return f"the account orderflow of {len(NAMESPACES)} namespaces: no right but every account's; no token in a pod"


def a_rolling_update_keeps_its_promise(cluster: Cluster) -> str:
    """`web` never has fewer than two pods that are available; the others never more than two pods."""
    plane, where = cluster.plane, NAMESPACES["prod"]
    plane.kubectl("-n", where, "scale", "deployment/orderflow-consumer", "--replicas=2")  # as KEDA does
    plane.until(lambda: cluster.is_rolled_out(where), "two consumers are there", 120)
    fewest = {f"orderflow-{role}": 99 for role in ROLES}
    most = dict.fromkeys(fewest, 0)
    for name in fewest:
        plane.kubectl("-n", where, "set", "env", f"deployment/{name}", "-c", "orderflow", "TZ=UTC")
    began = time.monotonic()
    while True:
        found = cluster.deployments(where)
        for name, before in fewest.items():
            status = found[name]["status"]
            fewest[name] = min(before, status.get("availableReplicas", 0))
            most[name] = max(most[name], status.get("replicas", 0))
        if cluster.is_rolled_out(where) and time.monotonic() - began > 5:
            break
        assert time.monotonic() - began < 240, {name: one["status"] for name, one in found.items()}
        time.sleep(0.2)
    assert fewest["orderflow-web"] >= 2, fewest
    assert most["orderflow-web"] == 3, most
    assert all(most[f"orderflow-{role}"] <= 2 and fewest[f"orderflow-{role}"] >= 1 for role in ROLES if role != "web")
    seen = ", ".join(f"{name.removeprefix('orderflow-')} {fewest[name]} to {most[name]}" for name in fewest)
    return f"pods available at least, and pods at most: {seen}; {time.monotonic() - began:.0f} s"


def a_drain_respects_the_budgets(cluster: Cluster) -> str:
    """Two of three nodes are drained at once. Of no role are both pods evicted at the same time."""
    plane, where = cluster.plane, NAMESPACES["prod"]
    down, samples = dict.fromkeys(ROLES, 0), 0
    drains = [
        threading.Thread(
            target=plane.kubectl,
            args=("drain", node, "--ignore-daemonsets", "--delete-emptydir-data", "--force", "--timeout=180s"),
            kwargs={"seconds": 200},
        )
        for node in ("node-1", "node-2")
    ]
    for one in drains:
        one.start()
    refused: set[str] = set()
    while any(one.is_alive() for one in drains):
        samples += 1
        for budget in plane.get("poddisruptionbudgets", where):
            role = budget["metadata"]["name"].removeprefix("orderflow-")
            healthy = budget["status"].get("currentHealthy", 0)
            down[role] = max(down[role], budget["status"]["expectedPods"] - healthy)
            if budget["status"]["disruptionsAllowed"] == 0:
                refused.add(role)
        time.sleep(0.1)
    pods = plane.get("pods", where, "--field-selector=status.phase=Running")
    left = [one["metadata"]["name"] for one in pods if one["spec"].get("nodeName") in ("node-1", "node-2")]
    for node in ("node-1", "node-2"):
        plane.kubectl("uncordon", node)
    plane.until(lambda: cluster.is_rolled_out(where), "all pods are back", 120)
    assert left == [], left
    assert max(down.values()) <= 1, down
    assert refused, "no budget ever said no"
    seen = f"at most one pod of a role was away ({samples} looks)"
    return f"two nodes are empty; {seen}; budgets that said no: {', '.join(sorted(refused))}"


def the_autoscaler_scales(cluster: Cluster) -> str:
    """With the autoscaler that KEDA makes of the ScaledObject: between its bounds, by the records that wait."""
    plane, where = cluster.plane, NAMESPACES["prod"]
    (scaled,) = cluster.of("prod", "ScaledObject")
    plane.apply(made.metrics_api(cluster.lag.port))
    plane.kubectl("wait", "--for=condition=Available", f"apiservice/v1beta1.{made.METRICS_GROUP}", "--timeout=60s")
    plane.apply([made.autoscaler(scaled, where)])
    name = scaled["spec"]["scaleTargetRef"]["name"]
    seen = []
    for records in (0, 300, 100_000, 0):
        cluster.lag.records = records
        threshold = int(scaled["spec"]["triggers"][0]["metadata"]["lagThreshold"])
        wanted = min(
            max(-(-records // threshold), scaled["spec"]["minReplicaCount"]), scaled["spec"]["maxReplicaCount"]
        )
        plane.until(
            lambda wanted=wanted: cluster.deployments(where)[name]["spec"]["replicas"] == wanted,  # type: ignore[misc]
            f"{wanted} consumers for {records} records",
            180,
        )
        seen.append(f"{records} records {wanted}")
    plane.kubectl("-n", where, "delete", "hpa", "--all")
    plane.kubectl("delete", f"apiservice/v1beta1.{made.METRICS_GROUP}", "namespace/keda")
    return f"consumers: {', '.join(seen)}"


def deletion_leaves_nothing(cluster: Cluster) -> str:
    """No object with our label is left, and the namespaces are gone."""
    plane = cluster.plane
    for name in reversed(OVERLAYS):
        plane.kubectl("delete", "--ignore-not-found", "--wait=false", "-k", str(K8S / "overlays" / name))
    names = {one["metadata"]["name"] for one in cluster.rendered["demo"] if one["kind"] == "Namespace"}
    names |= set(NAMESPACES.values())

    def are_gone() -> bool:
        found = json.loads(plane.kubectl("get", "namespaces", "-o", "json"))["items"]
        return not names & {one["metadata"]["name"] for one in found}

    seconds = plane.until(are_gone, "the namespaces are gone", 180)
    kinds = plane.kubectl("api-resources", "--verbs=list", "--namespaced", "-o", "name").split()
    left = plane.kubectl("get", ",".join(kinds), "-A", "-l", OURS, "--ignore-not-found", "-o", "name")
    assert left.strip() == "", left
    return f"after {seconds:.0f} s; {len(kinds)} kinds looked at"


CHECKS: Final[tuple[Callable[[Cluster], str], ...]] = (
    every_overlay_is_taken,
    every_pod_starts,
    pod_security_refuses,
    quotas_hold,
    policies_hold,
    accounts_may_nothing,
    a_rolling_update_keeps_its_promise,
    a_drain_respects_the_budgets,
    the_autoscaler_scales,
    deletion_leaves_nothing,
)


def say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def main() -> int:
    """Run every check. Returns the exit code."""
    if lacks := missing():
        say(f"needs {lacks}")
        return 2
    programs = built()
    folder = Path(tempfile.mkdtemp(prefix="orderflow-k8s-"))
    plane, failed = ControlPlane(programs, folder), 0
    try:
        plane.start()
        cluster = Cluster(plane, folder)
        say(f"Kubernetes {VERSION}, {subprocess.check_output(['etcd', '--version'], text=True).splitlines()[0]}")
        for check in CHECKS:
            began = time.monotonic()
            try:
                result, text = "ok  ", check(cluster)
            except (AssertionError, Refused, TimeoutError, subprocess.TimeoutExpired) as error:
                result, text, failed = "FAIL", f"{type(error).__name__}: {error}", failed + 1
            say(f"{result} {check.__name__.replace('_', ' ')} ({time.monotonic() - began:.0f} s): {text}")
    finally:
        plane.close()
    if failed:
        say(f"logs: {folder}")
    return min(failed, 1)


if __name__ == "__main__":
    sys.exit(main())
