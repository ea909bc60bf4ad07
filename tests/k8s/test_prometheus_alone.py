"""The alerts on a Prometheus without Kubernetes: as docs/production.md sets it up, and as compose.yaml does."""

import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import pytest
import yaml

from tests.k8s.compose import PROMETHEUS, SERVICES
from tests.k8s.rendering import ROOT
from tests.k8s.test_alerts import OF_PROMETHEUS, SPEC

SECTION: Final = (
    (ROOT / "docs/production.md").read_text().partition("\n## Metrics and alerts\n")[2].partition("\n## ")[0]
)
OF_COMPOSE: Final[str] = SERVICES["prometheus"]["command"][0].replace("$$", "$")


def block(language: str) -> str:
    """The first block of code of this language in the section of docs/production.md."""
    (found, *_) = re.findall(rf"(?ms)^```{language}\n(.*?)^```", SECTION)
    return str(found)


@dataclass(frozen=True, slots=True)
class Alone:
    """A Prometheus: the commands before its start, the file of rules that they write, and its configuration."""

    script: str
    rules: str
    settings: Any


PLACES: Final = {
    "production.md": Alone(block("sh"), "/etc/prometheus/orderflow-rules.yaml", yaml.safe_load(block("yaml"))),
    "compose.yaml": Alone(OF_COMPOSE, "/prometheus/orderflow-rules.yaml", PROMETHEUS),
}


def rules_of(place: Alone, folder: Path) -> Path:
    """Run the commands that write the rules. Returns the file."""
    made = folder / "orderflow-rules.yaml"
    (command,) = [line for line in place.script.splitlines() if line.startswith("sed ")]
    command = command.replace(place.rules, str(made))
    command = command.replace("/etc/prometheus/alerts.yaml", "k8s/monitoring/rules/alerts.yaml")
    subprocess.run(["/bin/sh", "-ec", command], cwd=ROOT, check=True, timeout=30)
    return made


@pytest.mark.parametrize("name", PLACES)
def test_prometheus_has_the_rules_of_kubernetes(name: str, tmp_path: Path) -> None:
    place = PLACES[name]
    made = rules_of(place, tmp_path)
    assert yaml.safe_load(made.read_text()) == SPEC
    assert place.settings["rule_files"] == [place.rules]


@pytest.mark.parametrize("name", PLACES)
def test_prometheus_takes_rules_and_configuration(name: str, tmp_path: Path) -> None:
    if shutil.which("promtool") is None:
        pytest.skip("needs promtool, of Debian's package prometheus")
    place = PLACES[name]
    settings = {**place.settings, "rule_files": [str(rules_of(place, tmp_path))]}
    (tmp_path / "prometheus.yaml").write_text(yaml.safe_dump(settings))
    command = ["promtool", "check", "config", "prometheus.yaml"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("name", PLACES)
def test_every_process_has_the_labels_that_alerts_and_dashboard_use(name: str) -> None:
    """Without `pod` an alert of a loop says of no process that it is its own."""
    (job,) = PLACES[name].settings["scrape_configs"]
    of_all = {one["target_label"] for one in job.get("relabel_configs", ())}
    for one in job["static_configs"]:
        assert one["labels"].keys() | of_all == OF_PROMETHEUS


def test_the_volume_of_compose_is_the_file_of_the_alerts() -> None:
    source, target, mode = SERVICES["prometheus"]["volumes"][0].split(":")
    assert (ROOT / source).resolve() == ROOT / "k8s/monitoring/rules/alerts.yaml"
    assert target in OF_COMPOSE
    assert mode == "ro"
