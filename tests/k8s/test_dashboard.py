"""The dashboard's queries: they read metrics and labels that exist, and Prometheus can parse them."""

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any, Final

import pytest

from consumer.metrics.definitions import METRICS, Type
from tests.k8s.rendering import K8S
from tests.k8s.test_alerts import RECORDED, RULES, metrics_in, values_in

BOARD: Final[dict[str, Any]] = json.loads((K8S / "monitoring/dashboards/orderflow.json").read_text())
QUERIES: Final[dict[str, str]] = {
    f"{panel['title']} {target['refId']}": target["expr"] for panel in BOARD["panels"] for target in panel["targets"]
}
VARIABLES: Final = [one["name"] for one in BOARD["templating"]["list"]]


def series_in(expr: str) -> dict[str, str]:
    """Each name of a series in the expression, and the metric that exports it. Recording rules are left out."""
    names = set(re.findall(r"(?<![\w:])orderflow_\w+", expr))
    return {name: name.removesuffix("_bucket") for name in names}


@pytest.mark.parametrize("name", QUERIES)
def test_a_query_reads_metrics_and_labels_that_exist(name: str) -> None:
    expr = QUERIES[name]
    for series, metric in series_in(expr).items():
        assert metric in METRICS
        assert (METRICS[metric].type is Type.HISTOGRAM) == series.endswith("_bucket")
        if METRICS[metric].type in (Type.COUNTER, Type.HISTOGRAM):
            assert re.search(rf"rate\({series}\{{[^}}]*\}}\[\$__rate_interval\]\)", expr)
    recorded = set(re.findall(r"shop:\w+:\w+", expr))
    assert recorded - set(RECORDED) == set()
    if not series_in(expr):
        return
    have = {label for metric in series_in(expr).values() for label in METRICS[metric].labels} | {
        "le",
        "pod",
        "namespace",
    }
    used = {label for labels in re.findall(r"by \(([^)]*)\)", expr) for label in labels.split(", ")}
    used |= {label for inside in re.findall(r"\{([^}]*)\}", expr) for label in re.findall(r"(\w+)[=!]", inside)}
    assert used - have == set()


@pytest.mark.parametrize("name", QUERIES)
def test_a_query_uses_variables_that_the_dashboard_has(name: str) -> None:
    used = set(re.findall(r"\$(\w+)", QUERIES[name])) - {"__rate_interval"}
    assert "namespace" in used
    assert used - set(VARIABLES) == set()


def test_panels_do_not_overlap_and_have_names_of_their_own() -> None:
    places = [(panel["gridPos"]["x"], panel["gridPos"]["y"]) for panel in BOARD["panels"]]
    titles = [panel["title"] for panel in BOARD["panels"]]
    assert len(set(places)) == len(places)
    assert len(set(titles)) == len(titles)


def test_prometheus_can_parse_every_query(tmp_path: Path) -> None:
    if shutil.which("promtool") is None:
        pytest.skip("needs promtool, of Debian's package prometheus")
    rules = [
        {"record": f"query:{number}", "expr": expr.replace("$__rate_interval", "5m").replace("$", "")}
        for number, expr in enumerate(QUERIES.values())
    ]
    (tmp_path / "rules.yaml").write_text(json.dumps({"groups": [{"name": "dashboard", "rules": rules}]}))
    command = ["promtool", "check", "rules", "rules.yaml"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("name", QUERIES)
def test_a_query_selects_values_that_exist(name: str) -> None:
    for metric, label, value in values_in(QUERIES[name]):
        known = METRICS[metric.removesuffix("_bucket")].labels.get(label)
        assert known is None or value in known, f"{metric} has no {label} {value}"


def test_every_metric_that_an_alert_reads_is_on_the_dashboard() -> None:
    """At night a person who has the page opens the dashboard next, and wants to see what the alert saw."""
    shown = " ".join(
        [*QUERIES.values(), *(RECORDED[one] for expr in QUERIES.values() for one in RECORDED if one in expr)]
    )
    read = {metric for rule in RULES.values() for metric in metrics_in(rule["expr"])}
    assert {one for one in read if one not in shown} == set()
