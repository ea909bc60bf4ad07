"""Debian's Prometheus on loopback, with our rules. Durations in the rules may be scaled down, so that a test sees
alerts fire within seconds."""

import json
import re
import shutil
import subprocess
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Self

import httpx
import yaml

from adapters.engines.processes import free_port

RULES: Final = Path(__file__).resolve().parents[2] / "k8s/monitoring/rules/alerts.yaml"
NAMESPACE: Final = "orderflow"
#: The shortest range that holds some scrapes.
SHORTEST_SECONDS: Final = 5
_UNITS: Final = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}


def seconds_of(duration: str) -> int:
    return int(duration[:-1]) * _UNITS[duration[-1]]


def scaled(rule: Mapping[str, Any], factor: int) -> dict[str, Any]:
    """The rule with every range, `for` and age divided by `factor`. Ages are numbers that an expression with time()
    compares with."""

    def shorter(found: re.Match[str]) -> str:
        return f"[{max(seconds_of(found[1]) // factor, SHORTEST_SECONDS)}s]"

    expr = re.sub(r"\[(\d+[smhdw])\]", shorter, rule["expr"])
    if "time()" in expr:
        expr = re.sub(r"([<>]) (\d+(?: \* \d+)?)(?=\s|$|\))", rf"\1 (\2 / {factor})", expr)
    made = {**rule, "expr": expr}
    for name in ("for", "keep_firing_for"):
        if name in made:
            made[name] = f"{max(seconds_of(made[name]) // factor, 1)}s"
    return made


def rules(factor: int = 1) -> dict[str, Any]:
    """A file of our rules, scaled."""
    groups = yaml.safe_load(RULES.read_text())["spec"]["groups"]
    return {
        "groups": [
            {"name": group["name"], "rules": [scaled(rule, factor) if factor > 1 else rule for rule in group["rules"]]}
            for group in groups
        ]
    }


def is_installed() -> bool:
    return shutil.which("prometheus") is not None


@dataclass
class Prometheus:
    """A Prometheus that scrapes processes of this machine every second."""

    url: str
    _process: "subprocess.Popen[bytes]"

    @classmethod
    def start(cls, folder: Path, targets: Mapping[str, int], *, factor: int = 1) -> Self:
        """`targets`: the port of each process, by the name that becomes its label `pod`."""
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "rules.yaml").write_text(yaml.safe_dump(rules(factor)))
        jobs = [
            {"targets": [f"127.0.0.1:{port}"], "labels": {"pod": pod, "namespace": NAMESPACE}}
            for pod, port in targets.items()
        ]
        settings = {
            "global": {"scrape_interval": "1s", "scrape_timeout": "1s", "evaluation_interval": "1s"},
            "rule_files": ["rules.yaml"],
            "scrape_configs": [{"job_name": "orderflow", "static_configs": jobs}],
        }
        (folder / "prometheus.yaml").write_text(yaml.safe_dump(settings))
        port = free_port()
        with (folder / "prometheus.log").open("wb") as log:
            process = subprocess.Popen(
                [
                    "prometheus",
                    f"--config.file={folder / 'prometheus.yaml'}",
                    f"--storage.tsdb.path={folder / 'data'}",
                    f"--web.listen-address=127.0.0.1:{port}",
                    "--enable-feature=exemplar-storage",
                ],
                stdout=log,
                stderr=log,
            )
        made = cls(f"http://127.0.0.1:{port}", process)
        until(made.is_ready, 60, "Prometheus is ready")
        return made

    def stop(self) -> None:
        self._process.terminate()
        self._process.wait(timeout=20)

    def is_ready(self) -> bool:
        try:
            return httpx.get(f"{self.url}/-/ready").status_code == 200
        except httpx.HTTPError:
            return False

    def ask(self, path: str, **params: str | float) -> Any:
        answer = httpx.get(f"{self.url}/api/v1/{path}", params=params, timeout=30).json()
        assert answer["status"] == "success", json.dumps(answer)
        return answer["data"]

    def query(self, expr: str) -> list[Any]:
        """The series that an instant query finds."""
        found: list[Any] = self.ask("query", query=expr)["result"]
        return found

    def over_time(self, expr: str, *, start: float, end: float, step: float) -> list[Any]:
        """The series that a query finds over a span of time."""
        found: list[Any] = self.ask("query_range", query=expr, start=start, end=end, step=step)["result"]
        return found

    def firing(self) -> set[str]:
        """The names of the alerts that fire now."""
        return {one["labels"]["alertname"] for one in self.ask("alerts")["alerts"] if one["state"] == "firing"}


def until(holds: Callable[[], bool], seconds: float, what: str) -> None:
    """Wait until this holds."""
    ends = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < ends, f"not within {seconds} s: {what}"
        time.sleep(0.2)
