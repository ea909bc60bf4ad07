"""The containers of the demo's Deployment, run as processes in the order and with the probes of a kubelet."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import httpx
import pytest

from adapters.engines.processes import free_port
from tests.k8s.fitting import containers
from tests.k8s.rendering import K8S, Object, objects_of, renderers
from tests.support import http

ORDERFLOW = str(Path(sys.executable).parent / "orderflow")


class Pod:
    """Runs the containers of one pod below `root`, with another port than 9464, which may be in use here."""

    def __init__(self, workload: Object, root: Path) -> None:
        self.spec: Any = workload["spec"]["template"]["spec"]
        self.root, self.port = root, free_port()
        for volume in self.spec["volumes"]:
            (root / volume["name"]).mkdir()

    def _here(self, text: str, container: Object) -> str:
        for mount in container["volumeMounts"]:
            text = text.replace(mount["mountPath"], str(self.root / mount["name"]))
        return text.replace("9464", str(self.port))

    def start(self, container: Object, stack: ExitStack) -> "subprocess.Popen[bytes]":
        variables = {one["name"]: self._here(one["value"], container) for one in container.get("env", ())}
        args = [self._here(one, container) for one in container["args"]]
        log = stack.enter_context((self.root / f"{container['name']}.log").open("wb"))
        process = subprocess.Popen(
            [ORDERFLOW, *args], env=self._environment() | variables, stdout=log, stderr=log, cwd=self.root / "tmp"
        )
        stack.callback(process.wait, 30)
        stack.callback(process.kill)
        return process

    def _environment(self) -> dict[str, str]:
        return {"PATH": os.environ["PATH"], "HOME": "/nonexistent", "TMPDIR": str(self.root / "tmp")}

    def answers(self, probe: Object, container: Object) -> bool:
        """Whether one try of a probe succeeds."""
        if "exec" in probe:
            command = [self._here(one, container) for one in probe["exec"]["command"]]
            command[0] = ORDERFLOW
            done = subprocess.run(
                command, env=self._environment(), capture_output=True, check=False, timeout=60, cwd=self.root / "tmp"
            )
            return done.returncode == 0
        try:
            url = f"http://127.0.0.1:{self.port}{probe['httpGet']['path']}"
            return http().get(url, timeout=probe["timeoutSeconds"]).status_code == 200
        except httpx.HTTPError:
            return False


def becomes_true(holds: Callable[[], bool], seconds: float) -> bool:
    ends_at = time.monotonic() + seconds
    while time.monotonic() < ends_at:
        if holds():
            return True
        time.sleep(0.2)
    return False


@pytest.fixture
def pod(tmp_path: Path) -> Iterator[Pod]:
    objects = objects_of(renderers()[0](K8S / "overlays/demo"))
    yield Pod(next(one for one in objects if one["kind"] == "Deployment"), tmp_path)


def test_the_demo_starts_becomes_ready_and_stops(pod: Pod, tmp_path: Path) -> None:
    sidecar, service = containers({"spec": {"template": {"spec": pod.spec}}})
    with ExitStack() as stack:
        simulators = pod.start(sidecar, stack)
        started = sidecar["startupProbe"]
        limit = started["periodSeconds"] * started["failureThreshold"]
        assert becomes_true(lambda: pod.answers(started, sidecar), limit)
        process = pod.start(service, stack)
        started = service["startupProbe"]
        limit = started["periodSeconds"] * started["failureThreshold"]
        assert becomes_true(lambda: pod.answers(started, service), limit), (tmp_path / "orderflow.log").read_text()
        assert becomes_true(lambda: pod.answers(service["readinessProbe"], service), 30)
        assert pod.answers(service["livenessProbe"], service)
        metrics = http().get(f"http://127.0.0.1:{pod.port}/metrics").text
        assert 'orderflow_poll_last_success_timestamp_seconds{shop="alpha"}' in metrics
        for one in (process, simulators):
            one.send_signal(signal.SIGTERM)
            assert one.wait(pod.spec["terminationGracePeriodSeconds"]) == 0
