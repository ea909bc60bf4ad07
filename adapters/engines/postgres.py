"""Start a real PostgreSQL on this machine, with the server programs that are installed here."""

import atexit
import os
import pwd
import re
import shutil
import signal
import subprocess
import tempfile
from contextlib import suppress
from importlib.resources import files
from pathlib import Path
from typing import Any, Final

import psutil
import psycopg
from psycopg import sql

from adapters.engines.processes import (
    HOST,
    STOP_SECONDS,
    EngineFailed,
    EngineMissing,
    free_port,
    kill_with_children,
    last_lines,
    made_folder,
    run_tool,
    spawn,
    wait_for,
)

DEBIAN: Final = Path("/usr/lib/postgresql")  # where Debian has a folder for each version
_POSTGRES_CURE: Final = "PostgreSQL's server programs: apt-get install postgresql"


def postgres_missing() -> str:
    """The programs that a server needs and that this machine lacks, with a command to install them. "" if none."""
    return "" if postgres_programs() else _POSTGRES_CURE


def postgres_programs() -> Path | None:
    """Find the folder with initdb and postgres: on PATH, else Debian's newest, else in the Python package `pgserver`.

    None if there is no such folder.
    """
    found = shutil.which("initdb")
    if found is not None:
        return Path(found).resolve().parent
    versions = [path for path in DEBIAN.glob("*/bin/initdb") if re.fullmatch(r"[\d.]+", path.parts[-3])]
    if versions:
        return max(versions, key=lambda path: [int(part) for part in path.parts[-3].split(".")]).parent
    with suppress(ImportError):
        wheel = Path(str(files("pgserver"))) / "pginstall" / "bin"
        return wheel if (wheel / "initdb").exists() else None
    return None


class Postgres:
    """One server on a free port of the loopback interface. fsync is on, so committed data survives a crash."""

    def __init__(self, folder: Path, programs: Path) -> None:
        self._programs = programs
        self._log = folder / "postgres.log"
        # PostgreSQL refuses to run as root. If we are root, it runs as the user postgres, in a folder of that user.
        self._user = _postgres_user()
        self._data = Path(tempfile.mkdtemp(prefix="orderflow-postgres-")) if self._user else folder / "postgres"
        self._port = free_port()
        self._process: subprocess.Popen[bytes] | None = None
        self.url = self._url("orderflow")

    @classmethod
    def start(cls, folder: Path) -> "Postgres":
        """Start a server with an empty database "orderflow". Returns when the server answers.

        Raises EngineMissing, EngineFailed.
        """
        programs = postgres_programs()
        if programs is None:
            raise EngineMissing(_POSTGRES_CURE)
        postgres = cls(made_folder(folder), programs)
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
        """Create an empty database. Returns its URL."""
        with self._connection() as connection:
            connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
        return self._url(name)

    def start_again(self) -> None:
        """Start the server, after `kill` with the same data and port. Returns when it answers. Raises EngineFailed."""
        command = [str(self._programs / "postgres"), "-D", str(self._data), "-p", str(self._port)]
        command += ["-c", f"listen_addresses={HOST}", "-c", "unix_socket_directories=", "-c", "max_connections=300"]
        self._process = spawn(command, self._log, self._user)

        def answers() -> bool:
            if self._process is not None and self._process.poll() is not None:
                raise EngineFailed(f"PostgreSQL ended:\n{last_lines(self._log)}")
            with suppress(psycopg.OperationalError), self._connection():
                return True
            return False

        if not wait_for(answers):
            raise EngineFailed(f"PostgreSQL does not answer:\n{last_lines(self._log)}")

    def kill(self) -> None:
        """Kill the server and all its processes, as in a crash."""
        if self._process is not None:
            kill_with_children(self._process)
            self._process = None

    def demote(self) -> None:
        """Let the server be a standby, as after a failover to another one: it takes reads and no writes, and every
        session ends. `promote` ends that. Raises EngineFailed."""
        if self._process is not None:
            self._process.send_signal(signal.SIGINT)
            self._process.wait(STOP_SECONDS)
        (self._data / "standby.signal").touch()
        self.start_again()

    def promote(self) -> None:
        """Let a standby take writes."""
        with self._connection() as connection:
            connection.execute("SELECT pg_promote()")

    def freeze(self) -> None:
        """Suspend the server and all its processes until `thaw`. Connections stay open, and no statement ends."""
        for process in self._processes():
            with suppress(psutil.NoSuchProcess):
                process.suspend()

    def thaw(self) -> None:
        """Let a frozen server continue."""
        for process in self._processes():
            with suppress(psutil.NoSuchProcess):  # a session may end at any time
                process.resume()

    def _processes(self) -> list[psutil.Process]:
        if self._process is None:
            return []
        server = psutil.Process(self._process.pid)
        return [server, *server.children()]  # the server first, so that a frozen one starts no more children

    def stop(self) -> None:
        """Stop the server. Delete its data if they are not in the folder that was given to `start`."""
        atexit.unregister(self.stop)
        if self._process is not None:
            self._process.send_signal(signal.SIGINT)  # PostgreSQL's fast shutdown: it ends open sessions
            self.thaw()  # a frozen process handles SIGINT only after SIGCONT
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
        run_tool(command, "PostgreSQL's data directory cannot be created", user=self._user)

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
    raise EngineMissing("PostgreSQL refuses to run as root, and there is no user postgres: apt-get install postgresql")
