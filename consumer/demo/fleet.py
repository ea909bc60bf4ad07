"""The processes of the full demo: a few of each role. A process that died is started again, as a cluster would do."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from adapters.engines.processes import free_ports

#: How many processes of each role.
SHAPE: Final[Mapping[str, int]] = {"web": 1, "poller": 2, "consumer": 2, "worker": 2}
#: How long a process may take to stop before it is killed: longer than the service's own limit.
STOP_SECONDS: Final = 30.0

#: Good exit statuses: 0, and the status of SIGTERM for a process that has just started and does not handle it yet.
GOOD_ENDS: Final = (0, -signal.SIGTERM)


@dataclass(slots=True)
class Member:
    """One process."""

    name: str
    role: str
    port: int
    log: Path
    process: "subprocess.Popen[bytes]"
    starts: int = 1
    killed: bool = False  # by `Fleet.kill`, so that its exit status does not count as wrong


@dataclass(slots=True)
class Fleet:
    """The processes that run on one configuration."""

    settings: Path
    folder: Path
    members: dict[str, Member] = field(default_factory=dict)
    #: One sentence for each wrong exit status: which process, of which role, and the status.
    bad_ends: list[str] = field(default_factory=list)

    def start(self, shape: Mapping[str, int] = SHAPE) -> None:
        """Start every process, and return at once."""
        names = [(f"{role}-{number}", role) for role, count in shape.items() for number in range(count)]
        # All ports are chosen at once. A port stays free until its process opens it, so a later search could find it
        # again.
        for (name, role), port in zip(names, free_ports(len(names)), strict=True):
            log = self.folder / f"{name}.log"
            self.members[name] = Member(name, role, port, log, self._spawn(role, port, log))

    def restart_dead(self) -> list[str]:
        """Start every process again that has ended. Returns their names."""
        dead = [member for member in self.members.values() if member.process.poll() is not None]
        for member in dead:
            self._check_end(member)
            member.process = self._spawn(member.role, member.port, member.log)
            member.killed = False
            member.starts += 1
        return [member.name for member in dead]

    def kill(self, name: str) -> None:
        """End a process with SIGKILL, in the middle of its work."""
        self.members[name].killed = True
        self.members[name].process.kill()
        self.members[name].process.wait()

    def stop(self, *names: str) -> dict[str, int]:
        """Ask the named processes, or all, to stop, and wait for them. Kills those that run after STOP_SECONDS.

        Returns the exit status of each; a negative one is the number of the signal that ended the process.
        """
        asked = [self.members[name] for name in names] or list(self.members.values())
        for member in asked:
            if member.process.poll() is None:
                member.process.send_signal(signal.SIGTERM)
        ends_at = time.monotonic() + STOP_SECONDS
        for member in asked:
            try:
                member.process.wait(max(0.1, ends_at - time.monotonic()))
            except subprocess.TimeoutExpired:
                member.process.kill()
                member.process.wait()
            self._check_end(member)
        return {member.name: member.process.returncode for member in asked}

    def logs(self) -> str:
        """The logs of all processes."""
        return "".join(
            member.log.read_text(errors="replace") for member in self.members.values() if member.log.exists()
        )

    def _check_end(self, member: Member) -> None:
        status = member.process.returncode
        end = f"{member.name} ({member.role}) ended with exit status {status}"
        if status not in GOOD_ENDS and not member.killed and end not in self.bad_ends:
            self.bad_ends.append(end)

    def _spawn(self, role: str, port: int, log: Path) -> "subprocess.Popen[bytes]":
        program = [sys.executable, "-m", "consumer.cli.member", str(os.getpid())]
        command = [*program, "run", role, "--config", str(self.settings)]
        with log.open("ab") as out:
            return subprocess.Popen(  # noqa: S603 our own program
                command,
                stdout=out,
                stderr=subprocess.STDOUT,
                stdin=subprocess.DEVNULL,
                env=os.environ | {"ORDERFLOW_WEB__PORT": str(port)},
                start_new_session=True,  # Ctrl-C reaches only the demo, which then stops the processes itself
            )
