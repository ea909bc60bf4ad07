"""The alerts: each reads metrics that exist, fires, is quiet on healthy data, and has a runbook."""

import copy
import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any, Final

import pytest
import yaml
from prometheus_client.exposition import generate_latest

from adapters.errors import Cause, UnreadableReason
from consumer.metrics.definitions import METRICS, Type
from consumer.metrics.recorder import Recorder
from statemachine.reasons import REASONS
from tests.consumer.metrics.exported import live, watch
from tests.consumer.rig import Rig
from tests.k8s.fitting import misused
from tests.k8s.rendering import K8S, ROOT
from tests.support import StillClock

MONITORING: Final = K8S / "monitoring"
SPEC: Final = yaml.safe_load((MONITORING / "rules/alerts.yaml").read_text())["spec"]
RULES: Final[dict[str, Any]] = {
    rule["alert"]: rule for group in SPEC["groups"] for rule in group["rules"] if "alert" in rule
}
#: What recording rules compute, by name.
RECORDED: Final[dict[str, str]] = {
    rule["record"]: rule["expr"] for group in SPEC["groups"] for rule in group["rules"] if "record" in rule
}
TESTS: Final = {path.name: yaml.safe_load(path.read_text()) for path in sorted(MONITORING.glob("tests*.yaml"))}
RUNBOOKS: Final = (ROOT / "docs/runbooks.md").read_text()
#: What Prometheus adds to each series: an alert may use it although no metric has it.
OF_PROMETHEUS: Final = frozenset({"pod", "namespace"})


def metrics_in(expr: str) -> set[str]:
    """The metrics that the expression reads, also through recording rules."""
    for name, recorded in sorted(RECORDED.items(), reverse=True):
        expr = expr.replace(name, f"({recorded})")
    return metrics_in(expr) if "shop:" in expr else set(re.findall(r"orderflow_\w+", expr))


def labels_in(expr: str) -> set[tuple[str, str]]:
    """Each metric with each label by which the expression selects it."""
    found = re.findall(r"(orderflow_\w+)\{([^}]*)\}", expr)
    return {(metric, label) for metric, inside in found for label in re.findall(r"(\w+)\s*[=!]", inside)}


def values_in(expr: str) -> set[tuple[str, str, str]]:
    """Each metric, label and value that the expression selects."""
    return {
        (metric, label, value)
        for metric, inside in re.findall(r"(orderflow_\w+)\{([^}]*)\}", expr)
        for label, values in re.findall(r"(\w+)\s*(?:=~|!~|!=|=)\s*\"([^\"]*)\"", inside)
        for value in values.split("|")
    }


@pytest.mark.parametrize("name", RULES)
def test_an_alert_reads_metrics_labels_and_values_that_exist(name: str) -> None:
    expr = RULES[name]["expr"]
    assert metrics_in(expr)
    assert metrics_in(expr) - set(METRICS) == set()
    assert [(metric, label) for metric, label in labels_in(expr) if label not in METRICS[metric].labels] == []
    for metric, label, value in values_in(expr):
        known = METRICS[metric].labels[label]
        assert known is None or value in known, f"{metric} has no {label} {value}"


@pytest.mark.parametrize("name", RULES)
def test_an_alert_speaks_of_labels_that_its_metric_has(name: str) -> None:
    rule = RULES[name]
    used = set(re.findall(r"\$labels\.(\w+)", str(rule["annotations"])))
    have = {label for metric in metrics_in(rule["expr"]) for label in METRICS[metric].labels}
    assert used - have - OF_PROMETHEUS == set()


def test_a_counter_that_an_alert_reads_is_read_by_its_increase() -> None:
    """Otherwise the alert would fire for ever after the first event."""
    for name, rule in RULES.items():
        for metric in metrics_in(rule["expr"]):
            if METRICS[metric].type is Type.COUNTER and not METRICS[metric].at_scrape:
                assert re.search(rf"(?:increase|rate)\({metric}\b", rule["expr"]), f"{name}: {metric}"


@pytest.mark.parametrize("name", RULES)
def test_an_alert_says_what_the_person_needs(name: str) -> None:
    rule = RULES[name]
    assert rule["labels"]["severity"] in ("critical", "warning", "info")
    assert set(rule["annotations"]) == {"summary", "description", "runbook_url", "dashboard_url"}
    assert rule["annotations"]["runbook_url"] == f"docs/runbooks.md#{name.lower()}"


def test_alerts_tests_and_runbooks_name_the_same() -> None:
    tested = [test["name"] for one in TESTS.values() for test in one["tests"] if not test["name"].startswith("healthy")]
    assert sorted({name.partition(",")[0] for name in tested}) == sorted(f"{name} fires" for name in RULES)
    assert re.findall(r"(?m)^## (\w+)$", RUNBOOKS) == list(RULES)


@pytest.mark.parametrize("name", TESTS)
def test_the_groups_are_evaluated_in_the_order_of_their_file(name: str) -> None:
    """Otherwise promtool takes any order, and one run in six found no alert that reads a recording rule."""
    assert TESTS[name]["group_eval_order"] == [group["name"] for group in SPEC["groups"]]


def test_the_healthy_system_has_every_metric_that_an_alert_reads() -> None:
    """Otherwise an alert would be quiet there only because it finds no series."""
    healthy = {series["series"].partition("{")[0] for series in TESTS["tests.yaml"]["tests"][0]["input_series"]}
    assert {metric for rule in RULES.values() for metric in metrics_in(rule["expr"])} - healthy == set()


def test_every_series_of_a_counter_that_an_alert_reads_is_there_from_the_start() -> None:
    """`increase` misses the first event of a series that is born at 1. tests/consumer/metrics/test_presets.py shows
    that each role has those which it counts."""
    fresh = Recorder({"alpha": 60, "beta": 60}, "1", StillClock())
    there = {
        (sample.name, label, value)
        for family in fresh.registry.collect()
        for sample in family.samples
        for label, value in sample.labels.items()
    }
    names = {sample.name for family in fresh.registry.collect() for sample in family.samples}
    for rule in RULES.values():
        for metric in metrics_in(rule["expr"]):
            if METRICS[metric].type is Type.COUNTER and not METRICS[metric].at_scrape:
                assert metric in names
                read = {one for one in values_in(rule["expr"]) if one[0] == metric}
                assert read - there == set()


def test_the_totals_of_the_objectives_are_read_through_a_maximum_alone() -> None:
    """Every process exports the total. Without the maximum, a new pod would begin its increase anew."""
    readers = [expr for expr in [*RECORDED.values(), *(one["expr"] for one in RULES.values())] if "slo_total" in expr]
    assert readers == ["max by (namespace, shop, slo, result) (max_over_time(orderflow_slo_total[10m]))\n"]


@pytest.mark.parametrize("name", RULES)
def test_an_alert_keeps_the_namespace(name: str) -> None:
    """Staging and prod may have shops of one name, and one Prometheus. Without the namespace, staging hides prod."""
    expr = RULES[name]["expr"].replace("group_left ()", "")
    assert [one for one in re.findall(r"(?:by|on) \(([^)]*)\)", expr) if not one.startswith("namespace")] == []
    assert re.findall(r"\b(?:sum|min|max|count|group)\b(?! by \()", expr) == []


@pytest.mark.parametrize("name", RULES)
def test_a_runbook_has_all_its_parts_and_commands_that_exist(name: str) -> None:
    section = RUNBOOKS.partition(f"\n## {name}\n")[2].partition("\n## ")[0]
    assert f"**{RULES[name]['labels']['severity']}.**" in section
    assert [part for part in ("Impact", "Do", "Silence") if f"**{part}**: " not in section] == []
    block = re.findall(r"(?ms)^```sh\n(.*?)^```", section)
    assert "**Look**:\n\n```sh\norderflow " in section
    commands = [line for text in block for line in text.splitlines()] + re.findall(r"`(orderflow [^`]+)`", section)
    for command in commands:
        words = command.replace("ID", "1").replace("WHY", "tried").split()
        assert words[0] == "orderflow"
        assert misused(words[1:]) == "", command


def test_the_runbook_of_a_failing_loop_names_every_cause() -> None:
    section = RUNBOOKS.partition("\n## OrdersLoopFailing\n")[2].partition("\n## ")[0]
    assert [cause for cause in Cause if f"`{cause}`" not in section] == []


def test_the_runbook_of_a_shop_that_comes_back_replays_what_became_dead_letters() -> None:
    section = RUNBOOKS.partition("\n## OrdersUnconfigured\n")[2].partition("\n## ")[0]
    assert f"--of-reason {UnreadableReason.UNKNOWN_COMPANY} " in section
    assert f"`{UnreadableReason.UNKNOWN_SHOP}`" in section


def test_a_count_of_events_is_shown_as_a_whole_number() -> None:
    """`increase` extrapolates: one error was shown as 1.002 errors."""
    for name, rule in RULES.items():
        shown = re.findall(r"\$value[^}]*", rule["annotations"]["description"])
        if "increase(" in rule["expr"] and "time()" not in rule["expr"]:
            assert all("humanizePercentage" in one or 'printf "%.0f"' in one for one in shown), name


def test_an_alert_names_reasons_that_exist() -> None:
    named = {value for rule in RULES.values() for _, label, value in values_in(rule["expr"]) if label == "reason"}
    assert named
    assert named - {*map(str, REASONS), "no_edge"} == set()


# -- promtool ----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    if shutil.which("promtool") is None:
        if os.environ.get("CI"):
            pytest.fail("CI has to have promtool, of Debian's package prometheus")
        pytest.skip("needs promtool, of Debian's package prometheus")
    made = tmp_path_factory.mktemp("rules")
    (made / "rules.yaml").write_text(yaml.safe_dump(SPEC))
    for name in TESTS:
        shutil.copy(MONITORING / name, made)
    return made


def promtool(folder: Path, *arguments: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        ["promtool", *arguments], cwd=folder, capture_output=True, text=True, check=False, timeout=120
    )


def test_the_rules_are_without_a_complaint(folder: Path) -> None:
    done = promtool(folder, "check", "rules", "--lint=all", "--lint-fatal", "rules.yaml")
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("name", TESTS)
def test_every_alert_fires_and_is_quiet_on_healthy_data(folder: Path, name: str) -> None:
    done = promtool(folder, "test", "rules", name)
    assert done.returncode == 0, done.stdout + done.stderr


def test_an_alert_fires_beside_a_namespace_in_health_and_names_its_own(folder: Path) -> None:
    """The series of the healthy system, in another namespace with a shop of the same name, hide no alert."""
    healthy, *fires = copy.deepcopy(TESTS["tests.yaml"]["tests"])
    beside = [of_namespace(series, "staging") for series in healthy["input_series"]]
    for test in fires:
        test["input_series"] = [*(of_namespace(series, "prod") for series in test["input_series"]), *beside]
        for one in (sample for check in test["promql_expr_test"] for sample in check["exp_samples"]):
            if "namespace" not in one["labels"]:
                one["labels"] = one["labels"].replace("}", ',namespace="prod"}')
    fires = [test for test in fires if test["name"] != "OrdersPollerAbsent fires"]  # a test of its own shows it
    (folder / "beside.yaml").write_text(yaml.safe_dump({**TESTS["tests.yaml"], "tests": fires}))
    done = promtool(folder, "test", "rules", "beside.yaml")
    assert done.returncode == 0, done.stdout + done.stderr


def of_namespace(series: dict[str, str], namespace: str) -> dict[str, str]:
    name, _, labels = series["series"].rstrip("}").partition("{")
    if "namespace=" in labels:
        return series
    labels = ",".join(filter(None, [labels, f'namespace="{namespace}"']))
    return {**series, "series": f"{name}{{{labels}}}"}


def test_promtool_finds_nothing_wrong_in_what_a_service_exports(folder: Path, tmp_path: Path) -> None:
    rig = Rig(tmp_path)
    watch(rig.metrics, rig)
    live(rig)
    exported = generate_latest(rig.metrics.registry).decode()
    done = subprocess.run(
        ["promtool", "check", "metrics"], input=exported, capture_output=True, text=True, check=False, timeout=60
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_an_alert_that_never_fires_is_found(folder: Path) -> None:
    broken = yaml.safe_dump(SPEC).replace("orderflow_progress_stopped) > 0", "orderflow_progress_stopped) > 1")
    (folder / "broken").mkdir()
    (folder / "broken/rules.yaml").write_text(broken)
    shutil.copy(folder / "tests.yaml", folder / "broken")
    done = promtool(folder / "broken", "test", "rules", "tests.yaml")
    assert done.returncode == 1
    assert "OrdersProgressStopped" in done.stdout + done.stderr
