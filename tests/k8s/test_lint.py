"""The linters find nothing in the manifests and the Dockerfile that has no written reason (lint.py)."""

from pathlib import Path

import pytest

from tests.k8s import lint

pytestmark = pytest.mark.minutes


def test_hadolint_finds_nothing() -> None:
    assert lint.hadolint() == ""


def test_checkov_finds_only_what_has_a_reason(tmp_path: Path) -> None:
    lint.render_into(tmp_path)
    assert lint.unreasoned(lint.checkov(tmp_path), lint.CHECKOV) == []


def test_a_finding_needs_a_reason_and_a_reason_needs_a_finding() -> None:
    reasons = {"cpu": lint.Stays(frozenset({"demo", "prod"}), "why")}
    assert lint.unreasoned({"cpu": {"demo", "prod"}}, reasons) == []
    assert lint.unreasoned({"cpu": {"demo"}, "root": {"prod"}}, reasons) == [
        "cpu: has a reason for prod, and is not found there",
        "root: found in prod, without a reason",
    ]
