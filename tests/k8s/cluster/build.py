"""Builds the control plane from Go modules, once for each version: minutes of time, gigabytes of modules.

Besides Go it needs etcd (Debian's etcd-server).
"""

import os
import shutil
import subprocess
from pathlib import Path
from typing import Final

VERSION: Final = "1.37.2"
KWOK: Final = "v0.8.0"
#: Names under which the one program that is built acts as different programs (main.go).
PROGRAMS: Final = ("kube-apiserver", "kube-controller-manager", "kube-scheduler", "kubectl")
_SOURCE: Final = Path(__file__).parent
_STAGES: Final = ("node/fast", "pod/fast")


def place() -> Path:
    """Where the programs are, outside of the repository."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return cache / "orderflow" / f"kubernetes-{VERSION}"


def missing() -> str:
    """What this machine lacks, with a command to install it; "" if nothing."""
    if shutil.which("etcd") is None:
        return "etcd: apt-get install etcd-server"
    if not is_built() and shutil.which("go") is None:
        return "Go 1.26 or newer, to build Kubernetes once"
    return ""


def is_built() -> bool:
    return (place() / "built").exists()


def built() -> Path:
    """Return the folder with the programs and with kwok's stages, after building what is not there."""
    folder = place()
    if is_built():
        return folder
    source, programs = folder / "source", folder / "bin"
    source.mkdir(parents=True, exist_ok=True)
    programs.mkdir(exist_ok=True)
    for name in ("go.mod", "main.go"):
        shutil.copy(_SOURCE / name, source)
    major, minor, _ = VERSION.split(".")
    of_version = "-X k8s.io/component-base/version.git"
    flags = f"-s -w {of_version}Version=v{VERSION} {of_version}Major={major} {of_version}Minor={minor}"
    _go(source, "mod", "tidy")
    _go(source, "build", "-trimpath", "-ldflags", flags, "-o", str(programs / "kubebin"), ".")
    for name in PROGRAMS:
        (programs / name).unlink(missing_ok=True)
        (programs / name).symlink_to("kubebin")
    _go(source, "install", f"sigs.k8s.io/kwok/cmd/kwok@{KWOK}", GOBIN=str(programs))
    modules = subprocess.run(["go", "env", "GOMODCACHE"], check=True, capture_output=True, text=True).stdout.strip()
    stages = folder / "stages"
    shutil.rmtree(stages, ignore_errors=True)
    stages.mkdir()
    for stage in _STAGES:
        for path in sorted((Path(modules) / f"sigs.k8s.io/kwok@{KWOK}/kustomize/stage" / stage).glob("*.yaml")):
            if path.name != "kustomization.yaml":
                (stages / f"{stage.replace('/', '-')}-{path.name}").write_bytes(path.read_bytes())
    (folder / "built").touch()
    return folder


def _go(folder: Path, *arguments: str, **environment: str) -> None:
    subprocess.run(["nice", "go", *arguments], cwd=folder, check=True, env=os.environ | environment)
