"""The services of compose.yaml as pods, so that the kubelet of the tests runs their processes.

All of them share one network here as there. Ports, Kafka's and PostgreSQL's address are those of the test, and stand in
place of the file's.
"""

import os
import re
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any, Final

import yaml

from tests.k8s.fitting import USER
from tests.k8s.kubelet import Node, Pod
from tests.k8s.rendering import ROOT, Object
from tests.support import wait

COMPOSE: Final[Any] = yaml.safe_load((ROOT / "compose.yaml").read_text())
SERVICES: Final[dict[str, Any]] = COMPOSE["services"]
OURS: Final = {name: one for name, one in SERVICES.items() if one["image"] == "orderflow"}
#: The configuration of Prometheus.
PROMETHEUS: Final[Any] = yaml.safe_load(COMPOSE["configs"]["prometheus"]["content"])
#: The port at which Prometheus reads the metrics of each process, by the process's label `pod`.
SCRAPED: Final[dict[str, str]] = {
    one["labels"]["pod"]: target.partition(":")[2]
    for one in PROMETHEUS["scrape_configs"][0]["static_configs"]
    for target in one["targets"]
}
#: How long compose waits for a process after SIGTERM, unless the service says it.
_GRACE: Final = "10s"


class Composed:
    """Our services, started in the order of their `depends_on`."""

    def __init__(self, folder: Path, texts: Mapping[str, str]) -> None:
        """`texts` are replaced in commands and variables."""
        self.node = Node(folder, {}, {})
        self._texts = {"0.0.0.0": "127.0.0.1", **texts}
        self._volumes = {name: _volume(folder / f"volume-{name}", one) for name, one in COMPOSE["volumes"].items()}
        self.pods: dict[str, Pod] = {}

    def up(self) -> None:
        """Start every service. Returns when all have started, and each one that has to has ended."""
        for name in OURS:
            self._start(name)

    def down(self) -> None:
        """Stop every service, the last started first."""
        for pod in reversed(self.pods.values()):
            pod.stop()

    def run(self, name: str, *args: str) -> str:
        """Run a command of the program in a service that runs. Returns what it prints."""
        (container,) = self.pods[name].containers
        return container.run(args)

    def _start(self, name: str) -> None:
        if name in self.pods:
            return
        for needed, how in OURS[name].get("depends_on", {}).items():
            if needed in OURS:
                self._start(needed)
                wait(partial(_is, how["condition"], self.pods[needed]), f"{needed} for {name}", 120)
        self.pods[name] = self.node.run(name, self._pod(OURS[name]), texts=self._texts)

    def _pod(self, service: Object) -> Object:
        places = {f"tmpfs{number}": place for number, place in enumerate(service["tmpfs"])}
        mounts: list[Object] = [{"name": name, "mountPath": place} for name, place in places.items()]
        for text in service["volumes"]:
            name, place, *ro = text.split(":")
            mounts.append({"name": name, "mountPath": place, "readOnly": ro == ["ro"]})
        container: Object = {
            "name": "orderflow",
            "args": service["command"],
            "env": [{"name": key, "value": value} for key, value in service.get("environment", {}).items()],
            "securityContext": {
                "readOnlyRootFilesystem": service["read_only"],
                "allowPrivilegeEscalation": "no-new-privileges:true" not in service.get("security_opt", ()),
                "capabilities": {"drop": service["cap_drop"]},
            },
            "volumeMounts": mounts,
        }
        if "healthcheck" in service:
            check = service["healthcheck"]
            container["readinessProbe"] = {
                "exec": {"command": check["test"][1:]},
                "periodSeconds": _seconds(check["interval"]),
                "timeoutSeconds": 30,
                "failureThreshold": check["retries"],
            }
        ends = {"migrate", "doctor"}
        return {
            "restartPolicy": "Never" if service["command"][0] in ends else "Always",
            "securityContext": {"runAsUser": USER, "runAsGroup": USER, "fsGroup": USER},
            "terminationGracePeriodSeconds": _seconds(service.get("stop_grace_period", _GRACE)),
            "volumes": [{"name": name, "emptyDir": {}} for name in places]
            + [{"name": name, "hostPath": {"path": str(place)}} for name, place in self._volumes.items()],
            "containers": [container],
        }


def _is(condition: str, pod: Pod) -> bool:
    if condition == "service_healthy":
        return pod.ready_since is not None
    assert condition == "service_completed_successfully"
    assert pod.phase != "Failed", pod.logs()
    return pod.phase == "Succeeded"


def _volume(place: Path, volume: Object) -> Path:
    """A folder with the owner and the mode of a volume in memory."""
    found = dict(re.findall(r"(\w+)=(\d+)", volume["driver_opts"]["o"]))
    place.mkdir()
    os.chown(place, int(found["uid"]), int(found["gid"]))
    place.chmod(int(found["mode"], 8))
    return place


def _seconds(text: str) -> int:
    assert text.endswith("s")
    return int(text[:-1])
