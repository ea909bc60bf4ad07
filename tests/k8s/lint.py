"""What checkov, kube-score and hadolint find in the rendered manifests and the Dockerfile, and why a finding stays.

checkov, hadolint and Grafana's model of dashboards come from PyPI, into an environment of their own. kube-score is a Go
module, which takes a minute to build. `make k8s-lint` runs the linters and prints the reasons.
"""

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections import defaultdict
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Final, NamedTuple

from tests.k8s.rendering import K8S, OVERLAYS, ROOT, renderers

_PINS: Final = ROOT / "requirements/lint.txt"
_TOOLS: Final = ROOT / ".venv/lint"
_KUBE_SCORE: Final = "github.com/zegl/kube-score/cmd/kube-score@v1.20.0"

#: Where a check finds something: names of rendered folders, or "Dockerfile".
Findings = Mapping[str, set[str]]


class Stays(NamedTuple):
    """A finding that is not mended: where, and why."""

    where: frozenset[str]
    why: str


def _stays(where: str, why: str) -> Stays:
    return Stays(frozenset(where.split()), why)


_PODS: Final = "demo demo-full staging prod"
_NO_CPU_LIMIT: Final = _stays(_PODS, "a throttled process only falls behind; requests say what each one needs")
_PULL: Final = "a tag must not be moved; prod names a digest, and a pull of a digest brings the same image"
_OWN_USERS: Final = "the users of Kafka's and PostgreSQL's own images"
_DISK: Final = "the root is read-only, /tmp has a size limit, and the kubelet rotates the log"

#: By the check's name. A test fails for a finding without a reason, and for a reason without a finding.
CHECKOV: Final = {
    "CKV_K8S_11": _NO_CPU_LIMIT,
    "CKV_K8S_15": _stays("demo demo-full staging", _PULL),
    "CKV_K8S_43": _stays("demo demo-full staging", "only prod is bound to a digest; the others follow a release's tag"),
    "CKV_K8S_40": _stays("demo-full", _OWN_USERS),
    "CKV_DOCKER_2": _stays("Dockerfile", "Kubernetes probes the container; HEALTHCHECK would start a second process"),
}
KUBE_SCORE: Final = {
    "CPU limit is not set": _NO_CPU_LIMIT,
    "ImagePullPolicy is not set to Always": _stays(_PODS, _PULL),
    "Ephemeral Storage request is not set": _stays(_PODS, _DISK),
    "Ephemeral Storage limit is not set": _stays(_PODS, _DISK),
    "Deployment does not have a host podAntiAffinity set": _stays(
        "demo-full staging prod", "topologySpreadConstraints spread the pods over hosts and zones"
    ),
    "The container is running with a low user ID": _stays("demo-full", _OWN_USERS),
    "The container running with a low group ID": _stays("demo-full", _OWN_USERS),
    "Container has the same readiness and liveness probe": _stays(
        "demo-full", "Kafka answers nothing but its own protocol; the liveness probe is slower"
    ),
}


def render_into(folder: Path) -> list[Path]:
    """Write each overlay as one file. The file of staging/kafka is staging-kafka.yaml."""
    render, files = renderers()[0], []
    for name in OVERLAYS:
        files.append(folder / f"{name.replace('/', '-')}.yaml")
        files[-1].write_bytes(render(K8S / "overlays" / name))
    return files


def unreasoned(found: Findings, reasons: Mapping[str, Stays]) -> list[str]:
    """The findings that have no reason, and the reasons that nothing needs any more."""
    wrong = []
    for check in sorted(found.keys() | reasons.keys()):
        allowed = reasons[check].where if check in reasons else frozenset[str]()
        new, old = found.get(check, set()) - allowed, allowed - found.get(check, set())
        wrong += [f"{check}: found in {one}, without a reason" for one in sorted(new)]
        wrong += [f"{check}: has a reason for {one}, and is not found there" for one in sorted(old)]
    return wrong


# -- The tools ---------------------------------------------------------------------------------------------------


def hadolint() -> str:
    """What hadolint says of the Dockerfile; "" if nothing."""
    return _said([_of_pypi("hadolint"), "--no-color", str(ROOT / "Dockerfile")])


def checkov(folder: Path) -> Findings:
    """The failed checks of what `render_into` wrote, and of the Dockerfile."""
    shutil.copy(ROOT / "Dockerfile", folder)
    kinds = ["--framework", "kubernetes", "dockerfile", "--skip-download"]
    said = _said([_of_pypi("checkov"), *kinds, "--compact", "--quiet", "-o", "json", "-d", str(folder)])
    reports: list[dict[str, Any]] = json.loads(said)
    assert sorted(one["check_type"] for one in reports) == ["dockerfile", "kubernetes"]
    assert not any(one["results"].get("parsing_errors") for one in reports)
    assert all(one["summary"]["passed"] for one in reports)
    rows = (row for one in reports for row in one["results"]["failed_checks"])
    return _by_check((row["check_id"], Path(row["file_path"]).stem) for row in rows)


def kube_score(files: Iterable[Path]) -> Findings:
    """The criticals and warnings of each file."""
    found: list[tuple[str, str]] = []
    for file in files:
        lines = _said([_of_go(), "score", "--output-format", "ci", str(file)]).splitlines()
        graded = [line for line in lines if line.startswith(("[CRITICAL]", "[WARNING]"))]
        found += [(line.split(": ", 1)[1].rsplit(") ", 1)[-1], file.stem) for line in graded]
    return _by_check(found)


def unknown_to_grafana(dashboard: Path) -> list[str]:
    """The fields of a dashboard that Grafana's own model does not know."""
    return _said([_of_pypi("python"), str(Path(__file__).with_name("grafana_model.py")), str(dashboard)]).splitlines()


def _by_check(pairs: Iterable[tuple[str, str]]) -> Findings:
    found: dict[str, set[str]] = defaultdict(set)
    for check, where in pairs:
        found[check].add(where)
    return found


def _said(command: list[str]) -> str:
    """A program's output. These programs exit with 1 if they find anything."""
    done = subprocess.run(command, capture_output=True, check=False, text=True, timeout=300)
    assert done.returncode in (0, 1), done.stderr
    return done.stdout


def _of_pypi(name: str) -> str:
    python, marker = _TOOLS / "bin/python", _TOOLS / "installed"
    if not marker.exists() or marker.read_bytes() != _PINS.read_bytes():
        uv = shutil.which("uv") or str(ROOT / ".venv/bin/uv")
        subprocess.run([uv, "venv", "-q", "--clear", _TOOLS], check=True)
        subprocess.run([uv, "pip", "sync", "-q", "--python", python, "--require-hashes", _PINS], check=True)
        shutil.copy(_PINS, marker)
    return str(_TOOLS / "bin" / name)


def _of_go() -> str:
    program = _TOOLS / "go/kube-score"
    if not program.exists():
        subprocess.run(["nice", "go", "install", _KUBE_SCORE], check=True, env=os.environ | {"GOBIN": program.parent})
    return str(program)


def main() -> bool:
    """Print each finding with its reason. Returns whether each one has one."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        files, said = render_into(folder), hadolint()
        tell(f"hadolint: {said or 'finds nothing'}")
        wrong = [said] if said else []
        wrong += _reasons("checkov", checkov(folder), CHECKOV)
        if shutil.which("go") is None:
            tell("kube-score: not run, for want of go")
        else:
            wrong += _reasons("kube-score", kube_score(files), KUBE_SCORE)
    for one in wrong:
        tell(f"NO REASON {one}")
    return not wrong


def _reasons(tool: str, found: Findings, reasons: Mapping[str, Stays]) -> list[str]:
    for check, stays in reasons.items():
        tell(f"{tool}: {check}, in {', '.join(sorted(stays.where))}: {stays.why}")
    return [f"{tool}: {one}" for one in unreasoned(found, reasons)]


def tell(line: str) -> None:
    sys.stdout.write(f"{line}\n")


if __name__ == "__main__":
    sys.exit(0 if main() else 1)
