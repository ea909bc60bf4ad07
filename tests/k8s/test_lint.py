"""The linters find nothing in the manifests and the Dockerfile that has no written reason (lint.py)."""

import json
from pathlib import Path

import pytest

from tests.k8s import lint
from tests.k8s.rendering import K8S

pytestmark = pytest.mark.minutes


def test_hadolint_finds_nothing() -> None:
    assert lint.hadolint() == ""


def test_checkov_finds_only_what_has_a_reason(tmp_path: Path) -> None:
    lint.render_into(tmp_path)
    assert lint.unreasoned(lint.checkov(tmp_path), lint.CHECKOV) == []


def test_grafana_s_model_knows_every_field_of_the_dashboard(tmp_path: Path) -> None:
    (dashboard,) = (K8S / "monitoring/dashboards").glob("*.json")
    assert lint.unknown_to_grafana(dashboard) == []
    changed = json.loads(dashboard.read_text())
    changed["panels"][0]["targets"][0]["legend"] = "{{shop}}"
    (tmp_path / "changed.json").write_text(json.dumps(changed))
    assert lint.unknown_to_grafana(tmp_path / "changed.json") == ["/panels/0/targets/0/legend"]


def test_a_finding_needs_a_reason_and_a_reason_needs_a_finding() -> None:
    reasons = {"cpu": lint.Stays(frozenset({"demo", "prod"}), "why")}
    assert lint.unreasoned({"cpu": {"demo", "prod"}}, reasons) == []
    assert lint.unreasoned({"cpu": {"demo"}, "root": {"prod"}}, reasons) == [
        "cpu: has a reason for prod, and is not found there",
        "root: found in prod, without a reason",
    ]
