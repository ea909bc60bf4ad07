"""Fixtures for tests of consumer/."""

import json
from collections.abc import Iterator

import pytest
from structlog.testing import capture_logs

#: Parts of the simulators' error texts, and the name that all their invented people have.
WORDS = ("canary", "unauthorized", "rate limit", "already exists", "not in the expected", "gateway", "mandatory for")


@pytest.fixture
def lines() -> Iterator[list[dict[str, object]]]:
    """Every log line of the test. None may hold words of a remote or personal data."""
    with capture_logs() as captured:
        yield captured  # type: ignore[misc]
    text = json.dumps(captured, default=str).lower()
    assert [word for word in WORDS if word in text] == []
