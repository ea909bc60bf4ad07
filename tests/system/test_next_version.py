"""This version and the next one on one store, in both directions: roll forward, and roll back.

next_version.py makes the next version: a copy of the code with one fact, one member of a line, and one column more.
Each version runs in a process of its own (of_a_version.py).
"""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from tests.system.next_version import REPOSITORY, make_next_version

#: Runs a step of of_a_version.py and returns what it prints.
Step = Callable[[str], dict[str, Any]]


class Version:
    """A process that runs one version of the code, for all tests."""

    def __init__(self, code: Path, errors: Path) -> None:
        """`code`: the folder with the code. `errors`: the file for what the process writes to standard error."""
        self._errors = errors
        script = REPOSITORY / "tests/system/of_a_version.py"
        with errors.open("wb") as file:
            self._process = subprocess.Popen(
                [sys.executable, str(script)],
                env=os.environ | {"PYTHONPATH": f"{code}{os.pathsep}{REPOSITORY}"},
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=file,
                text=True,
            )

    def do(self, url: str, step: str) -> dict[str, Any]:
        """Run a step of of_a_version.py with this store, and return what it prints."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        print(json.dumps([url, step]), file=self._process.stdin, flush=True)
        line = self._process.stdout.readline()
        assert line, f"{step}: {self._errors.read_text()}"
        found: dict[str, Any] = json.loads(line)
        return found

    def close(self) -> None:
        self._process.kill()
        self._process.communicate()


@pytest.fixture(scope="module")
def versions(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Version]]:
    folder = tmp_path_factory.mktemp("versions")
    codes = {"this": REPOSITORY, "next": make_next_version(folder)}
    found = {name: Version(code, folder / f"{name}.errors") for name, code in codes.items()}
    yield found
    for one in found.values():
        one.close()


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    yield f"sqlite:///{tmp_path}/orderflow.db" if request.param == "sqlite" else request.getfixturevalue("postgres_url")


@pytest.fixture
def this(versions: dict[str, Version], url: str) -> Step:
    return partial(versions["this"].do, url)


@pytest.fixture
def later(versions: dict[str, Version], url: str) -> Step:
    """The next version."""
    return partial(versions["next"].do, url)


def test_this_version_loses_no_fact_of_the_next_while_both_run(this: Step, later: Step) -> None:
    assert this("migrate") == {"may_run": True}
    this("read")
    assert later("start") == {"may_run": False}
    assert later("migrate") == {"may_run": True}
    assert this("start") == {"may_run": True}, "a process of this version may start"
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
