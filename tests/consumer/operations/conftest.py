"""Fixtures for tests of consumer/operations/."""

from pathlib import Path

import pytest

from tests.consumer.operations.desk import Desk


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    """One order and the person who decides about it, unless the test's file has another one."""
    return Desk(tmp_path)
