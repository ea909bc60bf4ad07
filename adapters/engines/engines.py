"""A real Apache Kafka and a real PostgreSQL on this machine, for the demo, the tests and the benchmarks. No Docker.

Kafka's jars come by Maven, once, into a cache folder that is named after the version; each is compared with the
checksum that is kept here. PostgreSQL's programs are the system's.
"""

import atexit
import hashlib
import os
import pwd
import random
import re
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from importlib.resources import files
from pathlib import Path
from typing import Any, Final

import psycopg
from psycopg import sql

from adapters.ports import OrderflowError

KAFKA_VERSION: Final = "4.4.0"
OLDEST_JAVA: Final = 17
CLUSTER_ID: Final = "b3JkZXJmbG93LWRlbW8tMQ"  # any 16 bytes in base64
START_SECONDS: Final = 60.0
STOP_SECONDS: Final = 10.0
FETCH_SECONDS: Final = 300
TOOL_SECONDS: Final = 60
HOST: Final = "127.0.0.1"
# Below those that the system gives to outgoing connections: such a one could take the port of a broker that is down.
PORTS: Final = range(15_000, 30_000)

_JAVA_CURE: Final = f"Java {OLDEST_JAVA} or newer, and Maven: apt-get install maven"
_DEBIAN: Final = Path("/usr/lib/postgresql")
_POSTGRES_CURE: Final = "PostgreSQL's server programs: apt-get install postgresql"


class EngineMissing(OrderflowError):
    """A program that the engine needs is not on this machine. The text says which, and how to get it."""


class EngineFailed(OrderflowError, RuntimeError):
    """The engine, or a tool that it needs, did not do its work. The text ends with the end of what it said."""


# -- Kafka -------------------------------------------------------------------------------------------------------


def kafka_missing() -> str:
    """What a broker needs and this machine lacks; empty where there is all."""
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
        said = _run([java, "-version"], "java")
    except EngineFailed:  # macOS has a java that only says where to get one
        return 0
    found = re.search(r'version "(\d+)', said)
    return int(found[1]) if found else 0


def _jars() -> Path:
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return cache / "orderflow" / f"kafka-{KAFKA_VERSION}"


def fetch_jars() -> Path:
    """The folder with the broker's jars, filled where it is not there yet. Raises EngineMissing, EngineFailed.

    It is filled beside its place and renamed, so that a broken download never counts and two may fill it at once.
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
        _run(command, f"Maven could not fetch Kafka {KAFKA_VERSION}", seconds=FETCH_SECONDS)
        _check_jars(filling)
        try:
            filling.rename(folder)
        except OSError:
            if not folder.is_dir():  # else another one was faster
                raise
    return folder


def _check_jars(folder: Path) -> None:
    wanted = {
        name: digest for digest, name in (line.split() for line in _data("kafka-broker.sha256").decode().splitlines())
    }
    found = {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.glob("*.jar")}
    wrong = sorted(name for name in wanted.keys() | found.keys() if wanted.get(name) != found.get(name))
    if wrong:
        raise EngineFailed(f"Kafka {KAFKA_VERSION}: these jars are not the ones expected: {', '.join(wrong)}")


def _data(name: str) -> bytes:
    return files("adapters.engines").joinpath(name).read_bytes()


class Kafka:
    """Brokers in KRaft mode, each one a controller too, on free ports of the loopback interface."""

    def __init__(self, folder: Path, brokers: int, users: Mapping[str, str] | None, heap_megabytes: int) -> None:
        self._folder = folder
        self._users = dict(users or {})
        self._heap_megabytes = heap_megabytes
        self._jars = fetch_jars()
        ports = iter(free_ports(3 * brokers))
        self._ports = [(next(ports), next(ports), next(ports)) for _ in range(brokers)]
        self._running: dict[int, subprocess.Popen[bytes]] = {}
        self.bootstrap_servers = [f"{HOST}:{plain}" for plain, _, _ in self._ports]
        self.secure_bootstrap_servers = [f"{HOST}:{secure}" for _, _, secure in self._ports] if users else []
        self.ca_file = folder / "ca.pem"

    @classmethod
    def start(
        cls, folder: Path, *, brokers: int = 1, users: Mapping[str, str] | None = None, heap_megabytes: int = 512
    ) -> "Kafka":
        """Returns once every broker answers. Raises EngineMissing, EngineFailed.

        `users`: SCRAM-SHA-256 names and passwords for a second listener with TLS, where access lists hold.
        """
        missing = kafka_missing()
        if missing:
            raise EngineMissing(missing)
        folder = _made(folder)
        kafka = cls(folder, brokers, users, heap_megabytes)
        if users:
            _make_certificates(folder)
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
        """Name -> partitions. Returns once they can be used."""
        create_topics(self.bootstrap_servers, topics)

    def kill(self, number: int = 0) -> None:
        """The broker ends at once, as in a crash."""
        process = self._running.pop(number)
        process.kill()
        process.wait()

    def freeze(self, number: int = 0) -> None:
        """The broker answers nobody, as behind a broken network, until `thaw`."""
        self._running[number].send_signal(signal.SIGSTOP)

    def thaw(self, number: int = 0) -> None:
        """It goes on."""
        self._running[number].send_signal(signal.SIGCONT)

    def start_broker(self, number: int = 0) -> None:
        """A broker that was killed, again on its data and ports. Returns once all that should run answer."""
        self._launch(number)
        self._wait()

    def stop(self) -> None:
        """End every broker."""
        atexit.unregister(self.stop)
        for process in self._running.values():
            process.terminate()
            process.send_signal(signal.SIGCONT)  # a frozen one hears nothing else
        for process in self._running.values():
            _end(process)
        self._running.clear()

    def _format(self, number: int) -> None:
        self._config(number).write_text(self._properties(number))
        command = ["java", "-cp", f"{self._jars}/*", "kafka.tools.StorageTool", "format", "--cluster-id", CLUSTER_ID]
        for name, password in self._users.items():
            command += ["--add-scram", f"SCRAM-SHA-256=[name={name},password={password}]"]
        _run([*command, "--config", str(self._config(number))], "Kafka's storage cannot be formatted")

    def _config(self, number: int) -> Path:
        return self._folder / f"broker-{number}.properties"

    def _properties(self, number: int) -> str:
        plain, controller, secure = self._ports[number]
        listeners = f"PLAINTEXT://{HOST}:{plain}"
        protocols = "CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT"
        if self._users:
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
            # A broker that died is missed after this, and another one leads; by default after three times as long.
            "broker.session.timeout.ms": 3000,
            "broker.heartbeat.interval.ms": 500,
            "auto.create.topics.enable": "false",
            "log.retention.check.interval.ms": 1000,
        }
        if self._users:
            lines |= {
                "ssl.keystore.type": "PEM",
                "ssl.keystore.location": self._folder / "server.pem",
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
        self._running[number] = _spawn([*command, str(self._config(number))], self._log(number))

    def _log(self, number: int) -> Path:
        return self._folder / f"broker-{number}.log"

    def _wait(self) -> None:
        wanted = {number + 1 for number in self._running}

        def all_there(admin: Any) -> bool:
            return {one["broker_id"] for one in admin.describe_cluster()["brokers"] if not one["is_fenced"]} >= wanted

        # Each is asked itself: of one that comes back at once, the others have not even noticed that it was away.
        for number in self._running:
            self._until([self.bootstrap_servers[number]], all_there, f"broker {number} does not answer")

    def _until(self, servers: list[str], holds: Callable[[Any], bool], complaint: str) -> None:
        # Only kafka.py talks to Kafka; this is about the engine, not about the log. Imported late: it takes a while.
        from kafka import KafkaAdminClient  # noqa: PLC0415

        reason = "no error"

        def look() -> bool:
            nonlocal reason
            self._all_alive()
            try:
                for server in servers:  # a client that finds nobody would leave its thread behind
                    host, _, port = server.rpartition(":")
                    socket.create_connection((host, int(port)), 1).close()
                admin = KafkaAdminClient(bootstrap_servers=servers, bootstrap_timeout_ms=2000)
                try:
                    return holds(admin)
                finally:
                    admin.close()
            except Exception as error:  # not there yet
                reason = repr(error)
                return False

        if not _wait_for(look):
            raise EngineFailed(f"{complaint} after {START_SECONDS:.0f} s, {reason}:\n{self._tails()}")

    def _all_alive(self) -> None:
        for number, process in self._running.items():
            if process.poll() is not None:
                raise EngineFailed(f"broker {number} ended:\n{_tail(self._log(number))}")

    def _tails(self) -> str:
        return "\n".join(f"broker {number}: {_tail(self._log(number))}" for number in self._running)


def create_topics(servers: list[str], topics: Mapping[str, int]) -> None:
    """Name -> partitions, each on as many brokers as there are, three at most. Those that are there stay as they are.

    Returns once they can be used. Raises EngineFailed.
    """
    from kafka import KafkaAdminClient  # noqa: PLC0415 - as in Kafka._until

    admin = KafkaAdminClient(bootstrap_servers=servers)

    def are_led() -> bool:
        replicas = min(3, len(admin.describe_cluster()["brokers"]))
        wanted = {name: {"num_partitions": count, "replication_factor": replicas} for name, count in topics.items()}
        with suppress(Exception):  # there already, or not yet possible: the look tells
            admin.create_topics(wanted)
        described = admin.describe_topics(list(topics))
        led = {one["name"] for one in described if one["partitions"] and _is_led(one)}
        return led == topics.keys()

    try:
        if not _wait_for(are_led):
            raise EngineFailed(f"Kafka has not made the topics {', '.join(topics)}")
    finally:
        admin.close()


def _is_led(topic: Mapping[str, Any]) -> bool:
    return all(one["leader_id"] >= 0 for one in topic["partitions"])


def _make_certificates(folder: Path) -> None:
    """A certificate authority, and a server's certificate with its key in one file, as Kafka reads it."""
    openssl = shutil.which("openssl")
    if openssl is None:
        raise EngineMissing("openssl: apt-get install openssl")
    names = folder / "names.cnf"
    names.write_text(f"subjectAltName=IP:{HOST},DNS:localhost\n")
    authority = ["-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial"]
    new_key = ["-newkey", "rsa:2048", "-nodes", "-keyout"]
    for arguments in (
        ["req", "-x509", "-days", "30", "-subj", "/CN=orderflow-ca", *new_key, "ca.key", "-out", "ca.pem"],
        ["req", "-subj", f"/CN={HOST}", *new_key, "server.key", "-out", "server.csr"],
        ["x509", "-req", "-in", "server.csr", *authority, "-days", "30", "-extfile", names.name, "-out", "server.crt"],
    ):
        _run([openssl, *arguments], "openssl cannot make the certificates", folder=folder)
    (folder / "server.pem").write_text((folder / "server.key").read_text() + (folder / "server.crt").read_text())


# -- PostgreSQL --------------------------------------------------------------------------------------------------


def postgres_missing() -> str:
    """What a server needs and this machine lacks; empty where there is all."""
    return "" if _postgres_programs() else _POSTGRES_CURE


def _postgres_programs() -> Path | None:
    """The folder of initdb and postgres: on the path, in Debian's place, or in the wheel `pgserver`."""
    found = shutil.which("initdb")
    if found is not None:
        return Path(found).resolve().parent
    versions = [path for path in _DEBIAN.glob("*/bin/initdb") if re.fullmatch(r"[\d.]+", path.parts[-3])]
    if versions:
        return max(versions, key=lambda path: [int(part) for part in path.parts[-3].split(".")]).parent
    with suppress(ImportError):
        wheel = Path(str(files("pgserver"))) / "pginstall" / "bin"
        return wheel if (wheel / "initdb").exists() else None
    return None


class Postgres:
    """One server with every guarantee on (fsync too), on a free port of the loopback interface."""

    def __init__(self, folder: Path, programs: Path) -> None:
        self._programs = programs
        self._log = folder / "postgres.log"
        # It does not run as root; then it runs as the user that Debian made for it, in a folder that this one may see.
        self._user = _postgres_user()
        self._data = Path(tempfile.mkdtemp(prefix="orderflow-postgres-")) if self._user else folder / "postgres"
        self._port = free_port()
        self._process: subprocess.Popen[bytes] | None = None
        self.url = self._url("orderflow")

    @classmethod
    def start(cls, folder: Path) -> "Postgres":
        """Returns once it answers; the database orderflow is there, and empty. Raises EngineMissing, EngineFailed."""
        programs = _postgres_programs()
        if programs is None:
            raise EngineMissing(_POSTGRES_CURE)
        postgres = cls(_made(folder), programs)
        atexit.register(postgres.stop)
        try:
            postgres._make()
            postgres.start_again()
            postgres.create_database("orderflow")
        except BaseException:
            postgres.stop()
            raise
        return postgres

    def create_database(self, name: str) -> str:
        """A fresh database. Returns its URL."""
        with self._connection() as connection:
            connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
        return self._url(name)

    def start_again(self) -> None:
        """On the same data and port. Returns once it answers."""
        command = [str(self._programs / "postgres"), "-D", str(self._data), "-p", str(self._port)]
        command += ["-c", f"listen_addresses={HOST}", "-c", "unix_socket_directories=", "-c", "max_connections=300"]
        self._process = _spawn(command, self._log, self._user)

        def answers() -> bool:
            if self._process is not None and self._process.poll() is not None:
                raise EngineFailed(f"PostgreSQL ended:\n{_tail(self._log)}")
            with suppress(psycopg.OperationalError), self._connection():
                return True
            return False

        if not _wait_for(answers):
            raise EngineFailed(f"PostgreSQL does not answer:\n{_tail(self._log)}")

    def kill(self) -> None:
        """It ends at once, with all its processes, as in a crash."""
        if self._process is not None:
            _kill_with_children(self._process)
            self._process = None

    def stop(self) -> None:
        """End it, and delete its data where they are in a place of their own."""
        atexit.unregister(self.stop)
        if self._process is not None:
            self._process.send_signal(signal.SIGINT)  # "fast": open connections are ended
            with suppress(subprocess.TimeoutExpired):
                self._process.wait(STOP_SECONDS)
            self.kill()
        if self._user:
            shutil.rmtree(self._data, ignore_errors=True)

    def _make(self) -> None:
        if self._user:
            entry = pwd.getpwnam(self._user)
            os.chown(self._data, entry.pw_uid, entry.pw_gid)
        command = [str(self._programs / "initdb"), "-D", str(self._data), "-U", "orderflow", "-A", "trust"]
        command += ["-E", "UTF8", "--locale=C.UTF-8"]
        _run(command, "PostgreSQL's data cannot be made", user=self._user)

    def _connection(self) -> "psycopg.Connection[Any]":
        return psycopg.connect(
            host=HOST, port=self._port, user="orderflow", dbname="postgres", autocommit=True, connect_timeout=2
        )

    def _url(self, name: str) -> str:
        return f"postgresql+psycopg://orderflow@{HOST}:{self._port}/{name}"


def _postgres_user() -> str | None:
    if os.geteuid() != 0:
        return None
    with suppress(KeyError):
        return pwd.getpwnam("postgres").pw_name
    raise EngineMissing("PostgreSQL does not run as root, and there is no user postgres: apt-get install postgresql")


# -- Processes ---------------------------------------------------------------------------------------------------


def free_port() -> int:
    """A port of the loopback interface that nobody listens on."""
    return free_ports(1)[0]


def free_ports(count: int) -> list[int]:
    """Ports of the loopback interface that nobody listens on, each another one."""
    free: list[int] = []
    for port in random.sample(PORTS, len(PORTS)):
        with socket.socket() as probe, suppress(OSError):
            probe.bind((HOST, port))
            free.append(port)
        if len(free) == count:
            return free
    raise EngineFailed(f"no free port from {PORTS.start} to {PORTS.stop}")


def _made(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    return folder.resolve()  # the engines run elsewhere


def _run(
    command: list[str],
    complaint: str,
    *,
    seconds: float = TOOL_SECONDS,
    user: str | None = None,
    folder: Path | None = None,
) -> str:
    """A tool, to its end. Returns all that it said; raises EngineFailed with the complaint where it failed."""
    try:
        done: subprocess.CompletedProcess[str] = subprocess.run(
            command,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
            text=True,
            errors="replace",
            check=False,
            timeout=seconds,
            cwd=folder or "/",
            **_as_user(user),
        )
    except subprocess.TimeoutExpired as error:
        raise EngineFailed(f"{complaint}: not done after {seconds:.0f} s") from error
    except OSError as error:
        raise EngineFailed(f"{complaint}: {error}") from error
    if done.returncode:
        raise EngineFailed(f"{complaint}:\n{done.stdout[-2000:]}")
    return done.stdout


def _as_user(user: str | None) -> dict[str, Any]:
    """Another user and, with it, none of the groups of this one."""
    return {} if user is None else {"user": user, "group": pwd.getpwnam(user).pw_gid, "extra_groups": []}


def _spawn(command: list[str], log: Path, user: str | None = None) -> "subprocess.Popen[bytes]":
    """In a session of its own: Ctrl-C on a terminal ends who uses it first."""
    with log.open("ab") as out:
        return subprocess.Popen(
            command,
            stdout=out,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
            start_new_session=True,
            cwd="/",
            **_as_user(user),
        )


def _kill_with_children(process: "subprocess.Popen[bytes]") -> None:
    """At once. Each child has a session of its own, and left alone it would end, and commit, what it had begun."""
    process.send_signal(signal.SIGSTOP)  # it makes no more of them
    children = _children(process.pid)
    for child in children:
        with suppress(ProcessLookupError):
            os.kill(child, signal.SIGKILL)
    process.kill()
    process.wait()
    _wait_for(lambda: not children & _living().keys())  # they hold the memory that the next start needs


def _children(parent: int) -> set[int]:
    return {child for child, of in _living().items() if of == parent}


def _living() -> dict[int, int]:
    """Every process that is not a zombie, and its parent."""
    if not Path("/proc/self/stat").exists():  # not a Linux
        lines = _run(["ps", "-A", "-o", "pid=,ppid=,stat="], "ps").splitlines()
        rows = [(int(pid), int(parent), state) for pid, parent, state in (line.split() for line in lines)]
    else:
        rows = []
        for path in Path("/proc").glob("[0-9]*/stat"):
            with suppress(OSError):  # it ended meanwhile
                state, parent_id = path.read_text(errors="replace").rpartition(")")[2].split()[:2]
                rows.append((int(path.parent.name), int(parent_id), state))
    return {pid: parent for pid, parent, state in rows if not state.startswith("Z")}


def _end(process: "subprocess.Popen[bytes]") -> None:
    try:
        process.wait(STOP_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _wait_for(holds: Callable[[], bool]) -> bool:
    ends_at = time.monotonic() + START_SECONDS
    while time.monotonic() < ends_at:
        if holds():
            return True
        time.sleep(0.1)
    return False


def _tail(log: Path) -> str:
    return log.read_text(errors="replace")[-2000:] if log.exists() else ""
