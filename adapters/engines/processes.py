"""Processes of an engine: started, watched and ended; free ports."""

import os
import pwd
import random
import signal
import socket
import subprocess
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

from adapters.errors import OrderflowError

START_SECONDS: Final = 60.0
STOP_SECONDS: Final = 10.0
TOOL_SECONDS: Final = 60
HOST: Final = "127.0.0.1"
# Below those that the system gives to outgoing connections: such a one could take the port of a broker that is down.
PORTS: Final = range(15_000, 30_000)


class EngineMissing(OrderflowError):
    """A program that the engine needs is not on this machine. The text says which, and how to get it."""


class EngineFailed(OrderflowError, RuntimeError):
    """The engine, or a tool that it needs, did not do its work. The text ends with the end of what it said."""


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
