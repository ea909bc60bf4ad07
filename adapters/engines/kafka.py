"""Start a real Apache Kafka on this machine. Maven fetches its jars. Each broker is a separate process."""

import atexit
import hashlib
import os
import re
import shutil
import signal
import socket
import subprocess
import tempfile
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any, Final

from kafka import KafkaAdminClient

from adapters.engines.processes import (
    HOST,
    START_SECONDS,
    EngineFailed,
    EngineMissing,
    end_process,
    free_ports,
    last_lines,
    made_folder,
    run_tool,
    spawn,
    wait_for,
)

KAFKA_VERSION: Final = "4.4.0"
OLDEST_JAVA: Final = 17
CLUSTER_ID: Final = "b3JkZXJmbG93LWRlbW8tMQ"  # any 16 bytes in base64
FETCH_SECONDS: Final = 300

_JAVA_CURE: Final = f"Java {OLDEST_JAVA} or newer, and Maven: apt-get install maven"


@dataclass(frozen=True, slots=True)
class SecureListener:
    """A second listener for clients, with TLS and SCRAM-SHA-256. Kafka's ACLs limit the rights of its clients."""

    users: Mapping[str, str]  # names and passwords
    keystore: Path  # PEM: the server's key in PKCS#8, then its certificate


def kafka_missing() -> str:
    """The programs that a broker needs and that this machine lacks, with a command to install them. "" if none."""
    if _java_version() < OLDEST_JAVA:
        return _JAVA_CURE
    if not _jars().is_dir() and shutil.which("mvn") is None:
        return _JAVA_CURE
    return ""


def _java_version() -> int:
    java = shutil.which("java")
    if java is None:
        return 0
    try:
        output = run_tool([java, "-version"], "java")
    except EngineFailed:  # on a macOS without Java, the program java exists, but only prints where to get Java
        return 0
    found = re.search(r'version "(\d+)', output)
    return int(found[1]) if found else 0


def _jars() -> Path:
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return cache / "orderflow" / f"kafka-{KAFKA_VERSION}"


def fetch_jars() -> Path:
    """Fetch the broker's jars if their folder does not exist. Returns the folder. Raises EngineMissing, EngineFailed.

    Maven writes into a temporary folder, which is checked and then renamed. So an interrupted download is never used,
    and two processes may fetch at the same time.
    """
    folder = _jars()
    if folder.is_dir():
        return folder
    maven = shutil.which("mvn")
    if maven is None:
        raise EngineMissing(_JAVA_CURE)
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent) as temporary:
        filling, pom = Path(temporary) / "jars", Path(temporary) / "pom.xml"
        pom.write_bytes(_data("kafka-broker.pom.xml"))
        command = [maven, "-q", "-B", "-C", "-f", str(pom), "dependency:copy-dependencies"]
        command.append(f"-DoutputDirectory={filling}")
        run_tool(command, f"Maven could not fetch Kafka {KAFKA_VERSION}", seconds=FETCH_SECONDS)
        _check_jars(filling)
        try:
            filling.rename(folder)
        except OSError:
            if not folder.is_dir():  # if the folder exists now, another process was faster
                raise
    return folder


def _check_jars(folder: Path) -> None:
    wanted = {
        name: digest for digest, name in (line.split() for line in _data("kafka-broker.sha256").decode().splitlines())
    }
    found = {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.glob("*.jar")}
    wrong = sorted(name for name in wanted.keys() | found.keys() if wanted.get(name) != found.get(name))
    if wrong:
        raise EngineFailed(f"Kafka {KAFKA_VERSION}: these jars are not the expected ones: {', '.join(wrong)}")


def _data(name: str) -> bytes:
    return files("adapters.engines").joinpath(name).read_bytes()


class Kafka:
    """Brokers in KRaft mode on free ports of the loopback interface. Each broker is also a controller."""

    def __init__(self, folder: Path, brokers: int, secure: SecureListener | None, heap_megabytes: int) -> None:
        """Prepare the brokers' settings. `start` starts the brokers."""
        self._folder = folder
        self._secure = secure
        self._heap_megabytes = heap_megabytes
        self._jars = fetch_jars()
        ports = iter(free_ports(3 * brokers))
        self._ports = [(next(ports), next(ports), next(ports)) for _ in range(brokers)]
        self._running: dict[int, subprocess.Popen[bytes]] = {}
        self.bootstrap_servers = [f"{HOST}:{plain}" for plain, _, _ in self._ports]
        self.secure_bootstrap_servers = [f"{HOST}:{port}" for _, _, port in self._ports] if secure else []

    @classmethod
    def start(
        cls, folder: Path, *, brokers: int = 1, secure: SecureListener | None = None, heap_megabytes: int = 512
    ) -> "Kafka":
        """Start brokers with their data in `folder`. Returns when each broker answers.

        `heap_megabytes` is the heap of each broker. Raises EngineMissing, EngineFailed.
        """
        missing = kafka_missing()
        if missing:
            raise EngineMissing(missing)
        kafka = cls(made_folder(folder), brokers, secure, heap_megabytes)
        atexit.register(kafka.stop)
        try:
            for number in range(brokers):
                kafka._format(number)
                kafka._launch(number)
            kafka._wait()
        except BaseException:
            kafka.stop()
            raise
        return kafka

    def create_topics(self, topics: Mapping[str, int]) -> None:
        """Call the function `create_topics` for these brokers."""
        create_topics(self.bootstrap_servers, topics)

    def kill(self, number: int = 0) -> None:
        """Kill the broker, as in a crash."""
        process = self._running.pop(number)
        process.kill()
        process.wait()

    def freeze(self, number: int = 0) -> None:
        """Suspend the broker's process until `thaw`. Its connections stay open, but it answers no request.

        Returns when the process is suspended. On a busy machine this takes a moment after the signal.
        """
        self._running[number].send_signal(signal.SIGSTOP)
        os.waitid(os.P_PID, self._running[number].pid, os.WSTOPPED)

    def thaw(self, number: int = 0) -> None:
        """Let a frozen broker continue."""
        self._running[number].send_signal(signal.SIGCONT)

    def start_broker(self, number: int = 0) -> None:
        """Start a killed broker again, with its data and ports. Returns when every broker answers."""
        self._launch(number)
        self._wait()

    def stop(self) -> None:
        """End every broker."""
        atexit.unregister(self.stop)
        for process in self._running.values():
            process.terminate()
            process.send_signal(signal.SIGCONT)  # a frozen process handles SIGTERM only after SIGCONT
        for process in self._running.values():
            end_process(process)
        self._running.clear()

    def _format(self, number: int) -> None:
        self._config(number).write_text(self._properties(number))
        command = ["java", "-cp", f"{self._jars}/*", "kafka.tools.StorageTool", "format", "--cluster-id", CLUSTER_ID]
        for name, password in self._secure.users.items() if self._secure else ():
            command += ["--add-scram", f"SCRAM-SHA-256=[name={name},password={password}]"]
        run_tool([*command, "--config", str(self._config(number))], "Kafka's storage cannot be formatted")

    def _config(self, number: int) -> Path:
        return self._folder / f"broker-{number}.properties"

    def _properties(self, number: int) -> str:
        plain, controller, secure = self._ports[number]
        listeners = f"PLAINTEXT://{HOST}:{plain}"
        protocols = "CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT"
        if self._secure:
            listeners += f",SASL_SSL://{HOST}:{secure}"
            protocols += ",SASL_SSL:SASL_SSL"
        replicas = min(3, len(self._ports))
        lines = {
            "process.roles": "broker,controller",
            "node.id": number + 1,
            "listeners": f"{listeners},CONTROLLER://{HOST}:{controller}",
            "advertised.listeners": listeners,
            "controller.listener.names": "CONTROLLER",
            "inter.broker.listener.name": "PLAINTEXT",
            "listener.security.protocol.map": protocols,
            "controller.quorum.voters": ",".join(
                f"{one + 1}@{HOST}:{port}" for one, (_, port, _) in enumerate(self._ports)
            ),
            "log.dirs": self._folder / f"data-{number}",
            "default.replication.factor": replicas,
            "min.insync.replicas": max(1, replicas - 1),
            "offsets.topic.replication.factor": replicas,
            "offsets.topic.num.partitions": 4,
            "transaction.state.log.replication.factor": 1,
            "transaction.state.log.min.isr": 1,
            "share.coordinator.state.topic.replication.factor": 1,
            "share.coordinator.state.topic.min.isr": 1,
            "group.initial.rebalance.delay.ms": 0,
            # If a broker sends no heartbeat for this time, other brokers lead its partitions. Kafka's default is
            # 9000 ms.
            "broker.session.timeout.ms": 3000,
            "broker.heartbeat.interval.ms": 500,
            "auto.create.topics.enable": "false",
            "log.retention.check.interval.ms": 1000,
        }
        if self._secure:
            lines |= {
                "ssl.keystore.type": "PEM",
                "ssl.keystore.location": self._secure.keystore,
                "sasl.enabled.mechanisms": "SCRAM-SHA-256",
                "listener.name.sasl_ssl.scram-sha-256.sasl.jaas.config": (
                    "org.apache.kafka.common.security.scram.ScramLoginModule required;"
                ),
                "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
                "super.users": "User:ANONYMOUS;User:admin",
            }
        return "".join(f"{key}={value}\n" for key, value in lines.items())

    def _launch(self, number: int) -> None:
        command = ["java", f"-Xmx{self._heap_megabytes}m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1"]
        command += ["-Dorg.slf4j.simpleLogger.defaultLogLevel=warn", "-cp", f"{self._jars}/*", "kafka.Kafka"]
        self._running[number] = spawn([*command, str(self._config(number))], self._log(number))

    def _log(self, number: int) -> Path:
        return self._folder / f"broker-{number}.log"

    def _wait(self) -> None:
        wanted = {number + 1 for number in self._running}

        def all_there(admin: Any) -> bool:
            return {one["broker_id"] for one in admin.describe_cluster()["brokers"] if not one["is_fenced"]} >= wanted

        # Ask each broker itself. If a broker restarts quickly, the others list it even though it does not answer yet.
        for number in self._running:
            self._until([self.bootstrap_servers[number]], all_there, f"broker {number} does not answer")

    def _until(self, servers: list[str], holds: Callable[[Any], bool], complaint: str) -> None:
        reason = "no error"

        def look() -> bool:
            nonlocal reason
            self._all_alive()
            try:
                for server in servers:  # a client that finds no broker would leave a running thread
                    host, _, port = server.rpartition(":")
                    socket.create_connection((host, int(port)), 1).close()
                admin = KafkaAdminClient(bootstrap_servers=servers, bootstrap_timeout_ms=2000)
                try:
                    return holds(admin)
                finally:
                    admin.close()
            except Exception as error:  # some broker does not answer yet
                reason = repr(error)
                return False

        if not wait_for(look):
            raise EngineFailed(f"{complaint} after {START_SECONDS:.0f} s, {reason}:\n{self._tails()}")

    def _all_alive(self) -> None:
        for number, process in self._running.items():
            if process.poll() is not None:
                raise EngineFailed(f"broker {number} ended:\n{last_lines(self._log(number))}")

    def _tails(self) -> str:
        return "\n".join(f"broker {number}: {last_lines(self._log(number))}" for number in self._running)


def create_topics(servers: list[str], topics: Mapping[str, int]) -> None:
    """Create the topics in `topics`, which maps names to numbers of partitions. Existing topics are left unchanged.

    Each partition has a replica on every broker, but not more than three. Returns when every partition has a leader.
    Raises EngineFailed.
    """
    admin = KafkaAdminClient(bootstrap_servers=servers)

    def are_led() -> bool:
        replicas = min(3, len(admin.describe_cluster()["brokers"]))
        wanted = {name: {"num_partitions": count, "replication_factor": replicas} for name, count in topics.items()}
        with suppress(Exception):  # the topics exist, or the brokers are not ready: describe_topics shows it
            admin.create_topics(wanted)
        described = admin.describe_topics(list(topics))
        led = {one["name"] for one in described if one["partitions"] and _is_led(one)}
        return led == topics.keys()

    try:
        if not wait_for(are_led):
            raise EngineFailed(f"Kafka has not created the topics {', '.join(topics)}")
    finally:
        admin.close()


def _is_led(topic: Mapping[str, Any]) -> bool:
    return all(one["leader_id"] >= 0 for one in topic["partitions"])
