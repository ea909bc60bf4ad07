"""Generated documents say what the code says; what the README names exists."""

import importlib.util
import re
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).resolve().parent.parent


def generator() -> ModuleType:
    spec = importlib.util.spec_from_file_location("generate", ROOT / "docs/generate.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("name", ["README.md", "docs/states.md", "docs/metrics.md", "docs/attention.md"])
def test_a_generated_document_has_not_drifted(name: str) -> None:
    wanted = {path.relative_to(ROOT).as_posix(): text for path, text in generator().documents().items()}[name]
    assert (ROOT / name).read_text() == wanted, "run `make docs`"


def test_what_the_documents_link_to_and_name_exists() -> None:
    for document in (ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))):
        text = document.read_text()
        for target in re.findall(r"\]\(([^)#]+)\)", text):
            assert (document.parent / target).exists(), f"{document.name} links to {target}"
        for path in re.findall(r"`((?:tests|consumer|adapters|statemachine)/[\w/.]+\.py)`", text):
            assert (ROOT / path).exists(), f"{document.name} names {path}"


def test_no_file_names_a_registry_or_a_path_of_a_machine() -> None:
    forbidden = re.compile(r"/work/|/root/|--index-url|pypi\.org|files\.pythonhosted")
    for path in ROOT.rglob("*"):
        parts = path.relative_to(ROOT).parts
        if not path.is_file() or parts[0] in (".git", ".venv", ".hypothesis") or "__pycache__" in parts:
            continue
        if path.suffix in (".py", ".toml", ".txt", ".in", ".md", ".yaml", ".yml") or path.name in ("Makefile", "run"):
            assert path == Path(__file__) or not forbidden.search(path.read_text()), path
