"""The AsyncAPI document, read by AsyncAPI's own parser. Without npm the test is skipped; under CI it fails."""

import json
import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
TOOL = ROOT / "tests/tools/asyncapi"
DOCUMENT = ROOT / "docs/events/asyncapi.json"

Check = Callable[[Path], "subprocess.CompletedProcess[str]"]


@pytest.fixture(scope="module")
def check() -> Check:
    """The parser, installed beside the Python packages once for each lock file."""
    if not (shutil.which("npm") and shutil.which("node")):
        if os.environ.get("CI"):
            pytest.fail("CI has to have node and npm: nothing else checks the AsyncAPI document")
        pytest.skip("node and npm are not there, so the AsyncAPI document is not checked")
    place = ROOT / ".venv/asyncapi"
    lock = (TOOL / "package-lock.json").read_bytes()
    if not (place / "installed").exists() or (place / "installed").read_bytes() != lock:
        shutil.rmtree(place, ignore_errors=True)
        shutil.copytree(TOOL, place)
        subprocess.run(["npm", "ci", "--no-update-notifier"], cwd=place, check=True, timeout=300)
        (place / "installed").write_bytes(lock)
    shutil.copy(TOOL / "check.mjs", place)

    def run(document: Path) -> "subprocess.CompletedProcess[str]":
        command = ["node", str(place / "check.mjs"), str(document)]
        return subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)

    return run


def test_a_wrong_document_is_found_out(check: Check, tmp_path: Path) -> None:
    document: dict[str, Any] = json.loads(DOCUMENT.read_text())
    document["operations"]["receive-oms-events"]["action"] = "subscribe"
    document["components"]["messages"]["DeadLetter"]["headers"] = {"$ref": "#/components/schemas/Gone"}
    (tmp_path / "asyncapi.json").write_text(json.dumps(document))
    done = check(tmp_path / "asyncapi.json")
    assert done.returncode == 1
    assert "components.schemas.Gone" in done.stdout or "#/components/schemas/Gone" in done.stdout


def test_the_document_is_without_a_complaint(check: Check) -> None:
    done = check(DOCUMENT)
    assert done.stderr == ""
    assert done.stdout == ""
    assert done.returncode == 0
