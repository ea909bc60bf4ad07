"""What can be seen of the service from outside while it is sick: probes, metrics, log lines, and who has ended."""

import http.client
import json
import threading
import time
from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import psutil

from consumer.demo.fleet import Fleet, Member

PATHS = ("/live", "/ready", "/metrics")
#: A probe without an answer after this time counts as one that does not answer.
ANSWER_SECONDS = 5.0
EVERY_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class Probe:
    member: str
    path: str
    status: int  # 0: no answer
    seconds: float
    wrong: str = ""  # what /live or /ready says


@dataclass(frozen=True, slots=True)
class Memory:
    """The memory of a process, in bytes: at the first look, at most, and at the last look."""

    first: int
    most: int
    last: int


@dataclass(slots=True)
class Seen:
    """All that was seen in one time. Metrics: by process and series, the first and the highest value."""

    probes: list[Probe] = field(default_factory=list)
    first: dict[tuple[str, str], float] = field(default_factory=dict)
    highest: dict[tuple[str, str], float] = field(default_factory=dict)
    lines: list[dict[str, Any]] = field(default_factory=list)
    bytes_logged: int = 0
    ended: dict[str, int] = field(default_factory=dict)  # process: exit status
    memory: dict[str, Memory] = field(default_factory=dict)  # by process

    def logged(self, event: str, **fields: str) -> list[dict[str, Any]]:
        """The lines of this event whose fields contain these texts."""
        return [
            line
            for line in self.lines
            if line.get("event") == event and all(text in str(line.get(name)) for name, text in fields.items())
        ]

    def metric(self, series: str) -> float:
        """The highest value of any series that begins with this text, in any process; 0 if there is none."""
        return max((value for (_, name), value in self.highest.items() if name.startswith(series)), default=0.0)

    def lowest(self, series: str) -> float:
        """The lowest first value of any series that begins with this text; 0 if there is none."""
        return min((value for (_, name), value in self.first.items() if name.startswith(series)), default=0.0)

    def grew(self, series: str) -> float:
        """By how much the series that begin with this text grew, in all processes."""
        return sum(value - self.first[key] for key, value in self.highest.items() if key[1].startswith(series))

    def wrong(self, path: str = "/ready") -> set[str]:
        """What a probe said is wrong."""
        return {one.wrong for one in self.probes if one.path == path and one.wrong}

    def slowest(self, share: float, leave_out: Collection[str] = ()) -> dict[str, float]:
        """For each path: the time within which this share of the answers came. `leave_out`: processes."""
        times: defaultdict[str, list[float]] = defaultdict(list)
        for one in self.probes:
            if one.member not in leave_out:
                times[one.path].append(one.seconds if one.status else ANSWER_SECONDS)
        return {path: at_share(found, share) for path, found in times.items()}


def at_share(values: Collection[float], share: float) -> float:
    """The value that this share of the values does not exceed; 0 without a value."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))] if ordered else 0.0


class Watch:
    """Looks at each process of the fleet every second, each in a thread of its own, so that one waits for no other."""

    def __init__(self, fleet: Fleet) -> None:
        self.seen = Seen()
        self._members: dict[str, Member] = {}
        self._lock = threading.Lock()
        self._stopping = threading.Event()
        self._threads: list[threading.Thread] = []
        self._read: dict[str, int] = {}
        for member in fleet.members.values():
            self._read[member.name] = member.log.stat().st_size if member.log.exists() else 0
        for first in [self.add(member) for member in fleet.members.values()]:
            first.wait(ANSWER_SECONDS)

    def add(self, member: Member) -> threading.Event:
        """Look at this process too from now on. The event is set after the first look."""
        self._members[member.name] = member
        looked = threading.Event()
        thread = threading.Thread(target=self._look_at, args=(member, looked), name=f"watch {member.name}", daemon=True)
        thread.start()
        self._threads.append(thread)
        return looked

    def stop(self) -> Seen:
        self._stopping.set()
        for thread in self._threads:
            thread.join(len(PATHS) * ANSWER_SECONDS + EVERY_SECONDS)
        for name, member in self._members.items():
            status = member.process.poll()
            if status is not None:
                self.seen.ended[name] = status
        for line in self._new_lines():
            with suppress(ValueError):
                found = json.loads(line)
                if isinstance(found, dict):
                    self.seen.lines.append(found)
        return self.seen

    def _new_lines(self) -> Iterator[bytes]:
        for name, member in self._members.items():
            with member.log.open("rb") as file:
                file.seek(self._read.get(name, 0))
                new = file.read()
            self.seen.bytes_logged += len(new)
            yield from new.splitlines()

    def _look_at(self, member: Member, looked: threading.Event) -> None:
        while True:
            self._weigh(member)
            for path in PATHS:
                if self._stopping.is_set():
                    return
                probe, text = ask(member.name, member.port, path)
                with self._lock:
                    self.seen.probes.append(probe)
                    if path == "/metrics" and probe.status == 200:
                        self._keep(member.name, series(text))
            looked.set()
            if self._stopping.wait(EVERY_SECONDS):
                return

    def _weigh(self, member: Member) -> None:
        with suppress(psutil.Error):
            now = psutil.Process(member.process.pid).memory_info().rss
            before = self.seen.memory.get(member.name, Memory(now, now, now))
            self.seen.memory[member.name] = Memory(before.first, max(before.most, now), now)

    def _keep(self, member: str, found: Mapping[str, float]) -> None:
        for name, value in found.items():
            key = (member, name)
            self.seen.first.setdefault(key, value)
            self.seen.highest[key] = max(value, self.seen.highest.get(key, value))


def ask(member: str, port: int, path: str, seconds: float = ANSWER_SECONDS) -> tuple[Probe, str]:
    """Send one GET request. Returns how it was answered, and the answer's text."""
    began, status, text = time.monotonic(), 0, ""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=seconds)
    with suppress(OSError, http.client.HTTPException):
        connection.request("GET", path)
        answer = connection.getresponse()
        text = answer.read().decode()
        status = answer.status
    connection.close()
    took = time.monotonic() - began
    wrong = ""
    if path != "/metrics" and status:
        with suppress(ValueError):
            wrong = str(json.loads(text).get("wrong", ""))
    return Probe(member, path, status, took, wrong), text


def series(text: str) -> dict[str, float]:
    """The samples of a scrape by series, as they are written. Those of histograms are left out."""
    found = {}
    for line in text.splitlines():
        name, _, value = line.rpartition(" ")
        if name and not line.startswith("#") and "_bucket{" not in name:
            with suppress(ValueError):
                found[name] = float(value)
    return found
