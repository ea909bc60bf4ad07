"""What a cluster does with pods beside the kubelet: keeps a Deployment's pods and rolls them, and serves a Service."""

import itertools
import os
import socket
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Final

from tests.k8s.kubelet import Node, Pod
from tests.k8s.rendering import Object

_TURN: Final = 0.2
#: The second number of all addresses 127.x.y.z, so that two runs of the tests at once do not meet.
_RUN: Final = 1 + os.getpid() % 254
_numbers = itertools.count()


def next_address() -> str:
    """An address for a pod or a Service, which none had before."""
    number = next(_numbers)
    return f"127.{_RUN}.{number // 250}.{number % 250 + 1}"


class Deployment:
    """Keeps as many pods as the Deployment says, and replaces them within its strategy after `roll`."""

    def __init__(self, node: Node, spec: Object) -> None:
        self.name: str = spec["metadata"]["name"]
        self._node, self._spec, self._version = node, spec["spec"], 1
        self._ends: list[threading.Thread] = []
        self.pods: list[tuple[int, Pod]] = []  # those that are not being ended, each with its version
        self.ended: list[Pod] = []  # those that were asked to stop, not the lost ones
        self.fewest, self.most, self._is_rolling = 99, 0, False
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._keep, name=self.name, daemon=True)
        self._thread.start()

    @property
    def wanted(self) -> int:
        return int(self._spec["replicas"])

    def available(self) -> list[Pod]:
        """The pods that have been ready for minReadySeconds."""
        ready = time.monotonic() - self._spec.get("minReadySeconds", 0)
        return [pod for _, pod in self.pods if pod.ready_since is not None and pod.ready_since <= ready]

    def is_rolled_out(self) -> bool:
        news = [pod for version, pod in self.pods if version == self._version]
        return len(news) == len(self.pods) == self.wanted == len(self.available())

    def roll(self) -> None:
        """Replace every pod. From now on the fewest available pods and the most pods are noted."""
        self._version, self._is_rolling = self._version + 1, True

    def lose_one(self) -> Pod:
        """One of the pods is gone, as with its node. It is replaced."""
        found = self.available()[0]
        self.pods = [(version, pod) for version, pod in self.pods if pod is not found]
        found.kill()
        return found

    def stop(self) -> None:
        """Begin to end every pod."""
        self._stopping.set()
        self._thread.join()
        for _, pod in self.pods:
            self._end(pod)

    def join(self) -> None:
        """Wait until all pods have ended."""
        for one in self._ends:
            one.join()

    def _keep(self) -> None:
        strategy = self._spec["strategy"]["rollingUpdate"]
        names = (f"{self.name}-{number}" for number in itertools.count())
        while not self._stopping.wait(_TURN):
            old = [pod for version, pod in self.pods if version != self._version]
            if len(self.pods) < self.wanted + (strategy["maxSurge"] if old else 0):
                if len(self.pods) - len(old) < self.wanted:
                    pod = self._node.run(next(names), self._spec["template"]["spec"], next_address())
                    self.pods = [*self.pods, (self._version, pod)]
            elif old and len(self.available()) > self.wanted - strategy["maxUnavailable"]:
                self._end(old[0])
            if self._is_rolling:
                self.fewest = min(self.fewest, len(self.available()))
                self.most = max(self.most, len(self.pods))

    def _end(self, pod: Pod) -> None:
        self.pods = [(version, one) for version, one in self.pods if one is not pod]
        self.ended.append(pod)
        self._ends.append(threading.Thread(target=pod.stop, daemon=True))
        self._ends[-1].start()


class Service:
    """Spreads the connections to an address over the pods that are ready."""

    def __init__(self, address: tuple[str, int], port: int, pods: Callable[[], list[Pod]]) -> None:
        self._listener = socket.create_server(address, backlog=64)
        self._port, self._pods, self._turn = port, pods, itertools.count()
        threading.Thread(target=self._serve, daemon=True).start()

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)  # ends the wait in `accept`
        self._listener.close()

    def _serve(self) -> None:
        while True:
            try:
                caller, _ = self._listener.accept()
            except OSError:
                return
            pods = [pod for pod in self._pods() if pod.ready_since is not None]
            with suppress(OSError):
                if pods:
                    pod = pods[next(self._turn) % len(pods)]
                    called = socket.create_connection((pod.ip, self._port), timeout=5)
                    called.settimeout(None)
                    threading.Thread(target=_join, args=(caller, called), daemon=True).start()
                    continue
            caller.close()


def _join(caller: socket.socket, called: socket.socket) -> None:
    with caller, called:
        back = threading.Thread(target=_carry, args=(called, caller), daemon=True)
        back.start()
        _carry(caller, called)
        back.join()


def _carry(one: socket.socket, other: socket.socket) -> None:
    with suppress(OSError):
        while data := one.recv(65536):
            other.sendall(data)
    with suppress(OSError):
        other.shutdown(socket.SHUT_WR)


def run_job(node: Node, job: Object, ip: str) -> Callable[[], str]:
    """Start a Job. Returns a function that says "Succeeded" or "Failed" when it has ended, and "" before."""
    name, spec, found = job["metadata"]["name"], job["spec"], list[str]()

    def run() -> None:
        for number in range(spec["backoffLimit"] + 1):
            pod: Any = node.run(f"{name}-{number}", spec["template"]["spec"], ip)
            pod.thread.join()
            if pod.phase == "Succeeded":
                break
            time.sleep(min(360, 10 * 2**number) if number < spec["backoffLimit"] else 0)
        found.append(pod.phase)

    threading.Thread(target=run, daemon=True).start()
    return lambda: found[0] if found else ""
