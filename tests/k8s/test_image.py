"""The Dockerfile: the files that it copies exist and are not ignored, and its steps make an environment that runs.

The image itself is not built, because that needs a container engine.
"""

import json
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path

import pytest

from consumer.config.web import WebTable
from tests.k8s.fitting import USER
from tests.k8s.rendering import ROOT

TEXT = re.sub(r"\\\n\s*", "", (ROOT / "Dockerfile").read_text())
STAGES = re.split(r"(?m)^FROM ", TEXT)[1:]


def sources() -> set[str]:
    """The files of the repository that the first stage reads."""
    copied = {name for line in re.findall(r"(?m)^COPY (?!--from)(.+)$", TEXT) for name in line.split()[:-1]}
    return copied | set(re.findall(r"type=bind,source=([^,\s]+)", TEXT))


def test_both_stages_have_the_same_python() -> None:
    assert len(STAGES) == 2
    assert len({stage.split()[0] for stage in STAGES}) == 1


def test_the_image_runs_the_program_as_the_pods_expect() -> None:
    final = STAGES[1]
    assert re.findall(r"(?m)^ENTRYPOINT (.+)$", final) == ['["orderflow"]']  # the manifests set only `args`
    assert re.findall(r"(?m)^USER (.+)$", final) == [f"{USER}:{USER}"]
    assert re.findall(r"(?m)^EXPOSE (.+)$", final) == [str(WebTable().port)]
    assert re.findall(r"(?m)^ARG VERSION=(.+)$", final) == [version("orderflow")]
    assert "HEALTHCHECK" not in TEXT  # Kubernetes probes


def test_the_build_sees_what_it_copies_and_nothing_else() -> None:
    lines = [line for line in (ROOT / ".dockerignore").read_text().splitlines() if line and line[0] != "#"]
    assert lines[0] == "*"
    assert {line[1:] for line in lines if line[0] == "!"} == sources()
    assert [name for name in sources() if not (ROOT / name).exists()] == []


#: A Python that every user may run. The Python that runs the tests may be in a home folder.
PYTHON = Path("/usr/bin/python3")


def makes_environments_for_another_user() -> bool:
    return os.geteuid() == 0 and PYTHON.exists()


@pytest.fixture(scope="module")
def environment() -> Iterator[Path]:
    """The environment of the first stage, made by the same steps in other folders."""
    if not makes_environments_for_another_user():
        pytest.skip(f"needs root, and {PYTHON}")
    uv = shutil.which("uv") or str(ROOT / ".venv/bin/uv")
    root = Path(tempfile.mkdtemp(prefix="orderflow-image-"))
    root.chmod(0o755)
    (root / "build").mkdir()
    for name in sources():
        target = root / "build" / (Path(name).name if name.startswith("requirements/") else name)
        copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy
        copy(ROOT / name, target)
    variables = dict(re.findall(r"(\w+)=(\S+)", " ".join(re.findall(r"(?m)^ENV (UV_.+)$", STAGES[0]))))
    place = str(root / "orderflow")
    variables = {name: value.replace("/opt/orderflow", place) for name, value in variables.items()}
    steps = re.findall(r"(?m)\b(uv (?:venv|pip) .+)$", STAGES[0])
    assert len(steps) == 3
    (revision,) = re.findall(r"(?m)^RUN echo .+ > (.+)$", STAGES[0])
    (root / "build" / revision).write_text("0123abc\n")
    for step in steps:
        words = step.replace("/opt/orderflow", place).replace("/build", str(root / "build")).split()
        words += ["--python", str(PYTHON)] if words[1] == "venv" else []
        subprocess.run([uv, "-q", *words[1:]], check=True, timeout=300, env={**os.environ, **variables})
    yield root / "orderflow"
    shutil.rmtree(root)


@pytest.mark.minutes
def test_the_steps_make_an_environment_that_an_unprivileged_user_runs(environment: Path) -> None:
    place = environment.parent / "tmp"
    place.mkdir()
    os.chown(place, USER, USER)
    subprocess.run(["chmod", "-R", "a-w", str(environment)], check=True)

    def orderflow(*arguments: str) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            [str(environment / "bin/orderflow"), *arguments],
            capture_output=True,
            check=False,
            text=True,
            timeout=60,
            cwd=place,
            user=USER,
            group=USER,
            extra_groups=[],
            env={"PATH": str(environment / "bin"), "HOME": str(place), "TMPDIR": str(place)},
        )

    says = [str(environment / "bin/python"), "-I", "-c", "from consumer.build import revision; print(revision())"]
    assert subprocess.run(says, capture_output=True, check=True, text=True, timeout=60).stdout == "0123abc\n"
    assert orderflow("version").stdout == f"{version('orderflow')}\n"
    assert orderflow("init").returncode == 0
    assert orderflow("config", "show").returncode == 0
    assert orderflow("migrate", "--check").returncode == 1
    looked = orderflow("doctor", "--json")  # no secret, no store and no remote are there
    assert (looked.returncode, looked.stderr) == (1, "")
    fails = {one["check"] for one in json.loads(looked.stdout) if one["result"] == "fail"}
    assert fails == {"secrets", "callback_secrets", "store.reach", "mirakl.reach", "oms.reach"}
    assert orderflow("migrate").returncode == 0
    done = orderflow("migrate", "--check")
    assert (done.returncode, done.stderr) == (0, "")
