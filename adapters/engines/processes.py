"""Start the programs of an engine, wait for them and end them; find free ports for them."""

import pwd
import random
import socket
import subprocess
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

import psutil

from adapters.errors import OrderflowError

START_SECONDS: Final = 60.0
STOP_SECONDS: Final = 10.0
TOOL_SECONDS: Final = 60
HOST: Final = "127.0.0.1"
# The ports are below the range for outgoing connections. Otherwise such a connection could take the port of a broker
# that is down.
PORTS: Final = range(15_000, 30_000)


class EngineMissing(OrderflowError):
    """This machine lacks a program that the engine needs. The text names the program and how to install it."""


class EngineFailed(OrderflowError, RuntimeError):
    """The engine, or a tool that it needs, failed. The text ends with the last lines of its output, if any."""


def free_port() -> int:
    """Find a port of the loopback interface that is not in use. Raises EngineFailed."""
    return free_ports(1)[0]


def free_ports(count: int) -> list[int]:
    """Find `count` different ports of the loopback interface that are not in use. Raises EngineFailed."""
    free: list[int] = []
    for port in random.sample(PORTS, len(PORTS)):
        with socket.socket() as probe, suppress(OSError):
            probe.bind((HOST, port))
            free.append(port)
        if len(free) == count:
            return free
    raise EngineFailed(f"no free port from {PORTS.start} to {PORTS.stop - 1}")


def run_tool(
    command: list[str],
    complaint: str,
    *,
    seconds: float = TOOL_SECONDS,
    user: str | None = None,
) -> str:
    """Run a program to its end, and return its output.

    Raises EngineFailed if the program fails or is not done after `seconds`. The error's text begins with `complaint`.
    """
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
            cwd="/",
            **_as_user(user),
        )
    except subprocess.TimeoutExpired as error:
        raise EngineFailed(f"{complaint}: not done after {seconds:.0f} s") from error
    except OSError as error:
        raise EngineFailed(f"{complaint}: {error}") from error
    if done.returncode:
        raise EngineFailed(f"{complaint}:\n{done.stdout[-2000:]}")
    return done.stdout


def made_folder(folder: Path) -> Path:
    """Make the folder, if it is missing, and return its absolute path."""
    folder.mkdir(parents=True, exist_ok=True)
    return folder.resolve()  # absolute, because the engines run in another working directory


def _as_user(user: str | None) -> dict[str, Any]:
    """Arguments of Popen to run a program as another user, without the groups of the current user."""
    return {} if user is None else {"user": user, "group": pwd.getpwnam(user).pw_gid, "extra_groups": []}


def spawn(command: list[str], log: Path, user: str | None = None) -> "subprocess.Popen[bytes]":
    """Start a program in a new session. Otherwise Ctrl-C on the terminal would end the engine before its clients."""
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


def kill_with_children(process: "subprocess.Popen[bytes]") -> None:
    """Kill a process and its children. A child that went on running could commit a transaction after the "crash"."""
    if process.poll() is not None:
        return
    parent = psutil.Process(process.pid)
    parent.suspend()  # so that it starts no more children
    children = parent.children()
    for child in children:
        with suppress(psutil.NoSuchProcess):
            child.kill()
    process.kill()
    process.wait()
    wait_for(lambda: not any(_runs(child) for child in children))  # until then they hold memory that a new start needs


def _runs(process: psutil.Process) -> bool:
    with suppress(psutil.NoSuchProcess):
        return process.status() != psutil.STATUS_ZOMBIE
    return False


def end_process(process: "subprocess.Popen[bytes]") -> None:
    """Wait for a process that was asked to end. If it still runs after STOP_SECONDS, kill it."""
    try:
        process.wait(STOP_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def wait_for(holds: Callable[[], bool]) -> bool:
    """Wait until the condition holds. Returns False if it does not hold within START_SECONDS."""
    ends_at = time.monotonic() + START_SECONDS
    while time.monotonic() < ends_at:
        if holds():
            return True
        time.sleep(0.1)
    return False


def last_lines(log: Path) -> str:
    """The last 2,000 characters of a log. Empty if there is none."""
    return log.read_text(errors="replace")[-2000:] if log.exists() else ""
