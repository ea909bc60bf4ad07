"""What the process that runs on this machine says of itself, as its /metrics show it: its loops and its accounts.

Another process has to be asked at its own port.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from http.client import HTTPConnection, HTTPException

from prometheus_client.parser import text_string_to_metric_families

_SECONDS = 2.0


@dataclass(frozen=True, slots=True)
class Process:
    """One process. The instants are seconds since 1970."""

    beats: Mapping[str, float] = field(default_factory=dict)  # when each loop last began a turn
    failing: tuple[str, ...] = ()  # loops that fail, with the cause
    resting: tuple[tuple[str, str, str], ...] = ()  # system, shop and why: "paused" or "circuit open"
    callbacks: Mapping[str, Mapping[str, float]] = field(default_factory=dict)  # the last one, by shop and by answer


def asked(host: str, port: int) -> Process | None:
    """Ask the process at this port. None if no orderflow answers there."""
    connection = HTTPConnection("127.0.0.1" if host in ("0.0.0.0", "::") else host, port, timeout=_SECONDS)  # noqa: S104
    try:
        connection.request("GET", "/metrics")
        answer = connection.getresponse()
        text = answer.read().decode()
        if answer.status != 200 or "orderflow_build_info" not in text:
            return None
        return _read(text)
    except (OSError, HTTPException, ValueError):
        return None
    finally:
        connection.close()


def _read(text: str) -> Process:
    found: dict[str, list[tuple[dict[str, str], float]]] = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            found.setdefault(sample.name, []).append((sample.labels, sample.value))

    def on(name: str) -> list[dict[str, str]]:
        return [labels for labels, value in found.get(f"orderflow_{name}", ()) if value > 0]

    beats = {labels["loop"]: value for labels, value in found.get("orderflow_loop_beat_timestamp_seconds", ()) if value}
    failing = tuple(" ".join(labels.values()) for labels in on("loop_failing"))
    resting = tuple((one["system"], one["shop"], "paused") for one in on("account_paused"))
    resting += tuple((one["system"], one["shop"], "circuit open") for one in on("circuit_open"))
    last = found.get("orderflow_callback_last_timestamp_seconds", ())
    callbacks: dict[str, dict[str, float]] = {}
    for labels, value in last:
        callbacks.setdefault(labels["shop"], {})[labels["result"]] = value
    return Process(beats, failing, resting, callbacks)
