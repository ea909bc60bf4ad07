"""Starts etcd, the API server, the controllers, the scheduler and kwok's nodes on loopback, and runs kubectl."""

import json
import secrets
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import yaml

from adapters.engines.processes import free_ports

START_SECONDS: Final = 120.0
ADMIN: Final = "admin"


class Refused(Exception):
    """The API refused what kubectl asked. The text is kubectl's."""


class ControlPlane:
    """One control plane with three nodes. `close` ends its processes."""

    def __init__(self, programs: Path, folder: Path) -> None:
        """`programs`: what build.py made. `folder`: an empty folder for data, logs and certificates."""
        self._bin, self._stages, self._folder = programs / "bin", programs / "stages", folder
        self._running: list[subprocess.Popen[bytes]] = []
        self._token = secrets.token_hex(16)
        self._ports = free_ports(5)
        self.kubeconfig = folder / "kubeconfig"

    def start(self) -> None:
        """Start everything. Returns when the API server is ready and the nodes are there."""
        client, peer, api, manager, scheduler = self._ports
        etcd, peers = f"http://127.0.0.1:{client}", f"http://127.0.0.1:{peer}"
        self._make_files(api)
        self._run(
            "etcd",
            f"--data-dir={self._folder}/etcd",
            f"--listen-client-urls={etcd}",
            f"--advertise-client-urls={etcd}",
            f"--listen-peer-urls={peers}",
            f"--initial-advertise-peer-urls={peers}",
            f"--initial-cluster=default={peers}",
        )
        self._run(
            str(self._bin / "kube-apiserver"),
            f"--etcd-servers={etcd}",
            "--bind-address=127.0.0.1",
            "--advertise-address=127.0.0.1",
            f"--secure-port={api}",
            f"--cert-dir={self._folder}/certs",
            "--service-cluster-ip-range=10.96.0.0/16",
            "--service-account-issuer=https://kubernetes.default.svc",
            f"--service-account-key-file={self._folder}/sa.pub",
            f"--service-account-signing-key-file={self._folder}/sa.key",
            f"--token-auth-file={self._folder}/tokens.csv",
            "--authorization-mode=RBAC",
            "--endpoint-reconciler-type=none",
            "--allow-privileged=true",  # as clusters have it: then pod security is what refuses
        )
        self.until(self._is_ready, "the API server is ready", START_SECONDS)
        common = [f"--kubeconfig={self.kubeconfig}", "--bind-address=127.0.0.1", "--leader-elect=false"]
        self._run(
            str(self._bin / "kube-controller-manager"),
            *common,
            f"--secure-port={manager}",
            f"--cert-dir={self._folder}/certs",
            f"--service-account-private-key-file={self._folder}/sa.key",
            f"--root-ca-file={self._folder}/certs/apiserver.crt",
            "--use-service-account-credentials=false",
            "--horizontal-pod-autoscaler-sync-period=2s",
            "--node-monitor-grace-period=30m",  # the nodes send no heartbeat
        )
        self._run(
            str(self._bin / "kube-scheduler"), *common, f"--secure-port={scheduler}", f"--cert-dir={self._folder}/certs"
        )
        stages = sorted(self._stages.glob("*.yaml"))
        self._run(
            str(self._bin / "kwok"),
            f"--kubeconfig={self.kubeconfig}",
            "--manage-all-nodes",
            *(f"--config={path}" for path in stages),
        )
        self.apply([_node(number) for number in (1, 2, 3)])
        self.until(lambda: len(self.ready_nodes()) == 3, "three nodes are ready")

    def close(self) -> None:
        for process in reversed(self._running):
            process.terminate()
        for process in self._running:
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()

    # -- kubectl -------------------------------------------------------------------------------------------------

    def kubectl(self, *arguments: str, text: str = "", seconds: float = 120) -> str:
        """Run kubectl as an administrator, with `text` as its standard input. Raises Refused."""
        done = subprocess.run(
            [str(self._bin / "kubectl"), f"--kubeconfig={self.kubeconfig}", *arguments],
            input=text,
            capture_output=True,
            text=True,
            timeout=seconds,
            check=False,
        )
        if done.returncode:
            raise Refused(done.stderr.strip() or done.stdout.strip())
        return done.stdout

    def apply(self, objects: list[dict[str, Any]], *options: str) -> str:
        """Apply objects. An unknown field is refused."""
        return self.kubectl("apply", "--validate=strict", "-f", "-", *options, text=yaml.safe_dump_all(objects))

    def get(self, kind: str, namespace: str = "", *options: str) -> list[dict[str, Any]]:
        """Return the objects of a kind, in one namespace or in all."""
        where = ["-n", namespace] if namespace else ["-A"]
        found: list[dict[str, Any]] = json.loads(self.kubectl("get", kind, *where, *options, "-o", "json"))["items"]
        return found

    def ready_nodes(self) -> list[str]:
        def is_ready(node: dict[str, Any]) -> bool:
            return any(
                one["type"] == "Ready" and one["status"] == "True" for one in node["status"].get("conditions", ())
            )

        nodes = json.loads(self.kubectl("get", "nodes", "-o", "json"))["items"]
        return [node["metadata"]["name"] for node in nodes if is_ready(node)]

    def until(self, holds: Callable[[], bool], what: str, seconds: float = 60.0) -> float:
        """Wait until something holds. Returns the seconds that it took. Raises TimeoutError, which names `what`."""
        began = time.monotonic()
        while not holds():
            if time.monotonic() - began > seconds:
                raise TimeoutError(f"not within {seconds:.0f} s: {what}")
            time.sleep(0.3)
        return time.monotonic() - began

    # -- Its files -----------------------------------------------------------------------------------------------

    def _make_files(self, port: int) -> None:
        key, public = self._folder / "sa.key", self._folder / "sa.pub"
        for command in (["genrsa", "-out", str(key), "2048"], ["rsa", "-in", str(key), "-pubout", "-out", str(public)]):
            subprocess.run(["openssl", *command], check=True, capture_output=True)
        tokens = self._folder / "tokens.csv"
        tokens.touch(0o600)
        tokens.write_text(f"{self._token},{ADMIN},{ADMIN},system:masters\n")
        server = {"server": f"https://127.0.0.1:{port}", "insecure-skip-tls-verify": True}
        config = {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "here", "cluster": server}],
            "users": [{"name": ADMIN, "user": {"token": self._token}}],
            "contexts": [{"name": "here", "context": {"cluster": "here", "user": ADMIN}}],
            "current-context": "here",
        }
        self.kubeconfig.touch(0o600)
        self.kubeconfig.write_text(yaml.safe_dump(config))

    def _is_ready(self) -> bool:
        try:
            return self.kubectl("get", "--raw", "/readyz") == "ok"
        except Refused:
            for process in self._running:
                if process.poll() is not None:
                    raise RuntimeError(f"a process ended: see the logs in {self._folder}") from None
            return False

    def _run(self, *command: str) -> None:
        with (self._folder / f"{Path(command[0]).name}.log").open("wb") as log:
            self._running.append(subprocess.Popen(command, stdout=log, stderr=log, cwd=self._folder))


def _node(number: int) -> dict[str, Any]:
    """A node that kwok plays, in a zone of its own."""
    name = f"node-{number}"
    labels = {"kubernetes.io/hostname": name, "topology.kubernetes.io/zone": f"zone-{number}", "type": "kwok"}
    room = {"cpu": "16", "memory": "64Gi", "pods": "110"}
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {"name": name, "labels": labels, "annotations": {"kwok.x-k8s.io/node": "fake"}},
        "status": {"allocatable": room, "capacity": room},
    }
