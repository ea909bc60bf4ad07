"""A small kubelet: runs the containers of rendered pods as processes, and asks their probes as Kubernetes says.

Each container has a root of its own, which is read-only: the machine's programs, this program, and the pod's mounts.
It runs as the pod's user without capabilities, and sees only the variables of its manifest. All pods share the network
of this machine, so each has an address 127.x.y.z of its own, and 0.0.0.0 means this address. Needs root.
"""

import os
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

import httpx

from tests.k8s.rendering import ROOT, Object
from tests.support import http

_PROGRAM: Final = ["/opt/app/.venv/bin/python", "-c", "from consumer.cli.app import main; main()"]
#: What stands for the image's own environment. Everything else comes from the manifest.
_IMAGE: Final = {
    "PATH": "/opt/app/.venv/bin:/usr/bin:/usr/sbin",
    "PYTHONPATH": "/opt/app",
    "PYTHONDONTWRITEBYTECODE": "1",
}
_TURN: Final = 0.2
#: How long a container that failed waits before it is started again.
_BACK_OFF: Final = 10.0
#: The parts of the repository that the image has.
_PARTS: Final = (".venv", "consumer", "adapters", "statemachine")

#: $1 root, $2 "ro" or "rw"; then pairs: what is mounted, and where in the root ("ro:" before it: read-only).
_ENTER: Final = """
root=$1; shift
mount --rbind "$root" "$root"
while [ "$1" != -- ]; do
  mount --bind "$1" "$root/${2#ro:}"
  case "$2" in ro:*) mount -o remount,bind,ro "$root/${2#ro:}";; esac
  shift 2
done
shift
[ "$READ_ONLY" = no ] || mount -o remount,bind,ro "$root"
unset READ_ONLY
exec chroot "$root" "$@"
"""


def missing() -> str:
    """What this machine lacks to run containers; "" if nothing."""
    if os.geteuid() != 0 or not all(map(shutil.which, ("unshare", "setpriv", "chroot"))):
        return "root, unshare, setpriv and chroot"
    can_mount = subprocess.run(["unshare", "-m", "mount", "--bind", "/usr", "/usr"], check=False, capture_output=True)
    return "" if can_mount.returncode == 0 else "the right to mount"


class Node:
    """A machine: the root of its containers, its ConfigMaps and Secrets (name -> file -> bytes), and host names."""

    def __init__(self, folder: Path, files: Mapping[str, Mapping[str, bytes]], hosts: Mapping[str, str]) -> None:
        self.folder, self.files, self.pods = folder, files, list[Pod]()
        folder.chmod(0o755)
        self.root = folder / "root"
        base = Path(sys.base_prefix)
        self.mounts = [(path, f"ro:{path}") for path in dict.fromkeys((Path("/usr"), base))]
        self.mounts += [(ROOT / name, f"ro:/opt/app/{name}") for name in _PARTS]
        self.mounts += [(Path("/dev"), "/dev"), (Path("/proc"), "ro:/proc")]
        for _, place in self.mounts:
            (self.root / place.removeprefix("ro:")[1:]).mkdir(parents=True, exist_ok=True)
        for name in ("bin", "sbin", "lib", "lib64"):
            if (path := Path("/", name)).is_symlink():
                (self.root / name).symlink_to(path.readlink())
        (self.root / "etc").mkdir()
        (self.root / "etc/passwd").write_text("root:x:0:0::/:/bin/false\norderflow:x:10001:10001::/:/bin/false\n")
        (self.root / "etc/hosts").write_text("".join(f"{ip} {name}\n" for name, ip in hosts.items()))
        (self.root / "etc/nsswitch.conf").write_text("hosts: files\n")

    def run(self, name: str, spec: Any, ip: str = "127.0.0.1", texts: Mapping[str, str] | None = None) -> "Pod":
        """Start a pod. `texts` are replaced in arguments and variables; by default 0.0.0.0 by the pod's address."""
        pod = Pod(self, name, spec, ip, {"0.0.0.0": ip} if texts is None else texts)
        self.pods.append(pod)
        pod.thread.start()
        return pod

    def stop(self) -> None:
        """End everything at once."""
        for pod in self.pods:
            pod.kill()


class Container:
    """One container of a pod: its process, how often it was started again, and its exit codes."""

    def __init__(self, pod: "Pod", spec: Object) -> None:
        self.pod, self.spec, self.codes, self.late = pod, spec, list[int](), False
        self.log = pod.folder / f"{spec['name']}.log"
        self.process = self._spawn(spec.get("args", []))

    def _spawn(self, args: Sequence[str]) -> "subprocess.Popen[bytes]":
        with self.log.open("ab") as out:
            return subprocess.Popen(
                self._command(args), env=self._variables(), stdout=out, stderr=out, stdin=subprocess.DEVNULL, cwd="/"
            )

    def _variables(self) -> dict[str, str]:
        own = {one["name"]: self.pod.here(one["value"]) for one in self.spec.get("env", ())}
        read_only = "yes" if self.spec["securityContext"]["readOnlyRootFilesystem"] else "no"
        return {**_IMAGE, **own, "READ_ONLY": read_only}

    def _command(self, args: Sequence[str]) -> list[str]:
        context = self.pod.spec["securityContext"] | self.spec["securityContext"]
        ids = {"reuid": context["runAsUser"], "regid": context["runAsGroup"], "groups": context["fsGroup"]}
        rights = [f"--{name}={number}" for name, number in ids.items()]
        rights += [] if context["allowPrivilegeEscalation"] else ["--no-new-privs"]
        if context["capabilities"]["drop"] == ["ALL"]:
            rights += ["--inh-caps=-all", "--bounding-set=-all"]
        mounts = [text for source, place in self.pod.node.mounts for text in (str(source), place)]
        for one in self.spec["volumeMounts"]:
            mounts += [str(self.pod.folder / one["name"]), ("ro:" if one.get("readOnly") else "") + one["mountPath"]]
        program = [*_PROGRAM, *map(self.pod.here, args)]
        enter = ["unshare", "-m", "sh", "-ec", _ENTER, "enter", str(self.pod.node.root), *mounts, "--"]
        return [*enter, "/usr/bin/setpriv", *rights, "--", *program]

    def run(self, args: Sequence[str]) -> str:
        """Run a command of the program in the container. Returns what it prints."""
        command, environment = self._command(args), self._variables()
        return subprocess.run(
            command, env=environment, stdout=subprocess.PIPE, check=True, text=True, timeout=60, cwd="/"
        ).stdout

    def ended(self) -> int | None:
        return self.process.poll()

    def again(self) -> None:
        """Start the container once more, a while after a failure."""
        self.codes.append(self.process.wait())
        if not self.pod.stopping.wait(_BACK_OFF):
            self.process = self._spawn(self.spec.get("args", []))

    def answers(self, probe: Object) -> bool:
        """Ask a probe once."""
        seconds = probe.get("timeoutSeconds", 1)
        if "exec" in probe:
            command = probe["exec"]["command"]
            assert command[0] == "orderflow"
            asked = self._spawn(command[1:])
            try:
                return asked.wait(seconds) == 0
            except subprocess.TimeoutExpired:
                asked.kill()
                asked.wait()
                return False
        ports = {one["name"]: one["containerPort"] for one in self.spec["ports"]}
        port = self.pod.here(str(ports[probe["httpGet"]["port"]]))
        with suppress(httpx.HTTPError):
            url = f"http://{self.pod.ip}:{port}{probe['httpGet']['path']}"
            return 200 <= http().get(url, timeout=seconds).status_code < 400
        return False

    def end(self, seconds: float) -> None:
        """SIGTERM after the preStop hook, and SIGKILL when the grace period is over."""
        ends_at = time.monotonic() + seconds
        time.sleep(self.spec.get("lifecycle", {}).get("preStop", {}).get("sleep", {}).get("seconds", 0))
        with suppress(ProcessLookupError):
            self.process.terminate()
        try:
            self.process.wait(max(0.1, ends_at - time.monotonic()))
        except subprocess.TimeoutExpired:
            self.late = True
            self.process.kill()
        self.codes.append(self.process.wait())


class Asked:
    """The state of one probe: when it is asked next, and how often in a row it failed or succeeded."""

    def __init__(self, container: Container, kind: str) -> None:
        self.probe: Object = container.spec.get(kind, {})
        self.container, self.result = container, False
        self.next = time.monotonic() + self.probe.get("initialDelaySeconds", 0)
        self._row, self._last = 0, False

    def turn(self) -> bool:
        """Ask the probe if its period is over. Returns whether the thresholds of failure are reached just now."""
        if not self.probe or time.monotonic() < self.next:
            return False
        self.next = time.monotonic() + self.probe.get("periodSeconds", 10)
        good = self.container.answers(self.probe)
        self._row, self._last = (self._row + 1 if good is self._last else 1), good
        if good and self._row >= self.probe.get("successThreshold", 1):
            self.result = True
        failed = not good and self._row >= self.probe.get("failureThreshold", 3)
        self.result = self.result and not failed
        return failed


class Pod:
    """One pod: init containers one after another, then its containers, until it is stopped or they end."""

    def __init__(self, node: Node, name: str, spec: Any, ip: str, texts: Mapping[str, str]) -> None:
        self.node, self.name, self.spec, self.ip, self._texts = node, name, spec, ip, texts
        self.folder = node.folder / name
        self.folder.mkdir()
        self.ready_since: float | None = None
        self.restarts, self.phase, self.stopping = 0, "Pending", threading.Event()
        self.containers: list[Container] = []
        self.thread = threading.Thread(target=self._live, name=name, daemon=True)
        for volume in spec["volumes"]:
            self._make(volume)

    def here(self, text: str) -> str:
        for old, new in self._texts.items():
            text = text.replace(old, new)
        return text

    def logs(self) -> str:
        return "".join(f"== {one.name}\n{one.read_text(errors='replace')}" for one in sorted(self.folder.glob("*.log")))

    def _make(self, volume: Object) -> None:
        """A volume with the owner and the modes that a kubelet gives it; and its mount points in the root."""
        place, group = self.folder / volume["name"], self.spec["securityContext"]["fsGroup"]
        for container in [*self.spec.get("initContainers", ()), *self.spec["containers"]]:
            for mount in container["volumeMounts"]:
                (self.node.root / mount["mountPath"][1:]).mkdir(parents=True, exist_ok=True)
        if "hostPath" in volume:
            place.symlink_to(volume["hostPath"]["path"])
            return
        place.mkdir()
        os.chown(place, 0, group)
        place.chmod(0o2777 if "emptyDir" in volume else 0o755)
        names, mode = [one["secret"]["name"] for one in volume.get("projected", {}).get("sources", ())], 0o644
        if "projected" in volume:
            mode = volume["projected"]["defaultMode"]
        if "configMap" in volume:
            names = [volume["configMap"]["name"]]
        for file, data in ((file, data) for name in names for file, data in self.node.files[name].items()):
            (place / file).write_bytes(data)
            (place / file).chmod(mode)
            os.chown(place / file, 0, group)

    def _live(self) -> None:
        for spec in self.spec.get("initContainers", ()):
            if not self._begin(spec):
                return
        self.phase = "Running"
        self.containers += [Container(self, spec) for spec in self.spec["containers"]]
        probes = self._probes()
        while not self.stopping.wait(_TURN):
            if self.spec.get("restartPolicy") == "Never" and self.containers[-1].ended() is not None:
                self.phase = "Failed" if self.containers[-1].ended() else "Succeeded"
                return
            for container in self.containers:
                if self._is_to_restart(container, probes[container]):
                    self.restarts += 1
                    self.ready_since = None
                    container.process.kill()
                    container.again()
                    probes = self._probes()
            ready = all(probes[one]["readinessProbe"].result for one in self.containers if "readinessProbe" in one.spec)
            self.ready_since = (self.ready_since or time.monotonic()) if ready else None

    def _begin(self, spec: Object) -> bool:
        """Run an init container to its end, or a sidecar until it has started. False if the pod is stopped first."""
        container = Container(self, spec)
        self.containers.append(container)
        started = Asked(container, "startupProbe")
        while not self.stopping.wait(_TURN):
            is_sidecar = spec.get("restartPolicy") == "Always"
            if (is_sidecar and started.result) or (not is_sidecar and container.ended() == 0):
                if not is_sidecar:
                    self.containers.remove(container)
                return True
            if container.ended() is not None or started.turn():
                self.restarts += 1
                container.process.kill()
                container.again()
        return False

    def _probes(self) -> dict[Container, dict[str, Asked]]:
        kinds = ("startupProbe", "livenessProbe", "readinessProbe")
        return {one: {kind: Asked(one, kind) for kind in kinds} for one in self.containers}

    @staticmethod
    def _is_to_restart(container: Container, probes: Mapping[str, Asked]) -> bool:
        if container.ended() is not None:
            return True
        started = probes["startupProbe"]
        if started.probe and not started.result:
            return started.turn()
        probes["readinessProbe"].turn()
        return probes["livenessProbe"].turn()

    def stop(self) -> None:
        """End the pod as a deletion does. Returns when it has ended."""
        self.ready_since = None
        self.stopping.set()
        self.thread.join()
        grace = self.spec.get("terminationGracePeriodSeconds", 30)
        for container in reversed(self.containers):  # sidecars last
            if container.ended() is None:
                container.end(grace)
        self.phase = "Ended"

    def kill(self) -> None:
        """Lose the pod, as with its node."""
        self.ready_since = None
        self.stopping.set()
        for container in self.containers:
            container.process.kill()
        self.thread.join()
        for container in self.containers:
            container.process.kill()
            container.process.wait()
        self.phase = "Lost"
