"""This version and the next one on one store, in both directions: roll forward, and roll back.

next_version.py makes the next version: a copy of the code with one fact, one member of a line, and one column more.
Each step of a test runs in a process of its version (of_a_version.py).
"""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.system.next_version import REPOSITORY, make_next_version

#: Runs a step of of_a_version.py and returns what it prints.
Step = Callable[[str], dict[str, Any]]


@pytest.fixture(scope="module")
def next_version(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder with the code of the next version."""
    return make_next_version(tmp_path_factory.mktemp("next"))


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    yield f"sqlite:///{tmp_path}/orderflow.db" if request.param == "sqlite" else request.getfixturevalue("postgres_url")


def _step(code: Path, url: str) -> Step:
    """Return what runs a step with the code in this folder."""
    environment = os.environ | {"PYTHONPATH": f"{code}{os.pathsep}{REPOSITORY}"}
    script = REPOSITORY / "tests/system/of_a_version.py"

    def run(step: str) -> dict[str, Any]:
        command = [sys.executable, str(script), url, step]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)
        assert done.returncode == 0, f"{step}: {done.stderr}"
        found: dict[str, Any] = json.loads(done.stdout)
        return found

    return run


@pytest.fixture
def this(url: str) -> Step:
    return _step(REPOSITORY, url)


@pytest.fixture
def later(next_version: Path, url: str) -> Step:
    """The next version."""
    return _step(next_version, url)


def test_this_version_loses_no_fact_of_the_next_while_both_run(this: Step, later: Step) -> None:
    assert this("migrate") == {"may_run": True}
    this("read")
    assert later("start") == {"may_run": False}
    assert later("migrate") == {"may_run": True}
    assert this("start") == {"may_run": True}, "a process of this version may be started again"
    later("gift")
    held = this("hold")
    assert held["decided"] == ["hold"]
    found = later("release")
    assert found["gifts"] == ["red paper"]
    assert found["gift"] == [True, True]
    assert found["decided"] == ["hold", "release"]
    assert found["differences"] == []
    assert this("show")["differences"] == []


def test_facts_of_the_next_version_survive_the_way_back(this: Step, later: Step) -> None:
    later("migrate")
    later("gift")
    assert this("migrate") == {"may_run": True}, "a schema of a later version stays as it is"
    this("hold")
    assert this("release")["state"] == "shipping"
    this("read again")
    found = later("show")
    assert (found["state"], found["decided"]) == ("shipped", ["hold", "release"])
    assert found["gifts"] == ["red paper"]
    assert found["differences"] == []
