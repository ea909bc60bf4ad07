"""Fixtures for tests of consumer/."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from tests.consumer.rig import Rig

#: Parts of the simulators' error texts, and the name that all their invented people have.
WORDS = ("canary", "unauthorized", "rate limit", "already exists", "not in the expected", "gateway", "mandatory for")


@pytest.fixture
def lines() -> Iterator[list[dict[str, object]]]:
    """Every log line of the test. None may hold words of a remote or personal data."""
    with capture_logs() as captured:
        yield captured  # type: ignore[misc]
    text = json.dumps(captured, default=str).lower()
    assert [word for word in WORDS if word in text] == []


@pytest.fixture
def rig(tmp_path: Path) -> Rig:
    """A service with its simulators, unless the test's file has another one."""
    return Rig(tmp_path)
