"""The containers of the demo's Deployment run as processes, in the order and with the probes of a kubelet."""

import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from adapters.engines.processes import free_port
from tests.engines import needs
from tests.k8s.fitting import USER
from tests.k8s.kubelet import Container, Node, Pod, missing
from tests.k8s.rendering import K8S, objects_of, renderers
from tests.support import http, wait

pytestmark = pytest.mark.minutes


@pytest.fixture
def spec() -> Any:
    """The pod of the demo's Deployment."""
    objects = objects_of(renderers()[0](K8S / "overlays/demo"))
    return next(one for one in objects if one["kind"] == "Deployment")["spec"]["template"]["spec"]


@pytest.fixture
def node(tmp_path: Path) -> Iterator[Node]:
    needs(missing())
    found = Node(tmp_path, {}, {})
    yield found
    found.stop()


def run(node: Node, spec: Any) -> Pod:
    return node.run("all", spec, texts={"0.0.0.0": "127.0.0.1", "9464": str(free_port())})  # 9464 may be in use here


def test_the_demo_starts_becomes_ready_and_stops(node: Node, spec: Any) -> None:
    pod = run(node, spec)
    wait(lambda: pod.ready_since is not None, "the pod is ready", 90)
    metrics = http().get(f"http://127.0.0.1:{pod.here('9464')}/metrics").text
    assert 'orderflow_poll_last_success_timestamp_seconds{shop="alpha"}' in metrics
    for one in pod.containers:
        assert_is_confined(one)
    pod.stop()
    assert pod.restarts == 0, pod.logs()
    assert [(one.codes, one.late) for one in pod.containers] == [([0], False), ([0], False)], pod.logs()


def test_the_kubelet_of_these_tests_restarts_what_fails_and_kills_what_does_not_end(node: Node, spec: Any) -> None:
    """Otherwise the tests would count no restart and no late end."""
    spec["containers"][0]["livenessProbe"] |= {"failureThreshold": 1, "periodSeconds": 1}
    spec["containers"][0]["livenessProbe"]["httpGet"]["path"] = "/nothing"
    spec["terminationGracePeriodSeconds"] = 0
    pod = run(node, spec)
    wait(lambda: pod.restarts > 0, "the liveness probe has failed", 90)
    pod.stop()
    simulators, service = pod.containers
    assert (simulators.codes, simulators.late) == ([-signal.SIGKILL], True)
    assert service.codes == [-signal.SIGKILL]


def assert_is_confined(container: Container) -> None:
    """The process has the user of the manifest, no capability, no way to more rights, and a root that is read-only."""
    process = Path("/proc", str(container.process.pid))
    status = dict(line.split(":\t", 1) for line in (process / "status").read_text().splitlines() if ":\t" in line)
    assert status["Uid"].split() == status["Gid"].split() == [str(USER)] * 4
    assert {int(status[name], 16) for name in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb")} == {0}
    assert status["NoNewPrivs"] == "1"
    rows = [line.split() for line in (process / "mountinfo").read_text().splitlines()]
    mounts = {fields[4]: fields[5].split(",") for fields in rows}
    assert [place for place, options in mounts.items() if "rw" in options and place != "/dev"] == ["/demo", "/tmp"]
