"""Generated documents say what the code says; what the README names exists."""

import ast
import importlib.util
import json
import re
from pathlib import Path
from types import ModuleType
from typing import Any

import jsonschema
import pytest

from statemachine.facts import KNOWN_STATES, rank_of
from statemachine.states import PREDICATES, State

ROOT = Path(__file__).resolve().parent.parent


def generator() -> ModuleType:
    spec = importlib.util.spec_from_file_location("generate", ROOT / "docs/generate.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


DOCUMENTS = {path.relative_to(ROOT).as_posix(): text for path, text in generator().documents().items()}


@pytest.mark.parametrize("name", DOCUMENTS)
def test_a_generated_document_has_not_drifted(name: str) -> None:
    assert (ROOT / name).read_text() == DOCUMENTS[name], "run `make docs`"


def test_every_setting_has_a_meaning() -> None:
    rows = re.findall(r"^\| `(\w+)` \| .* \| (.*) \|$", DOCUMENTS["docs/settings.md"], re.MULTILINE)
    assert len(rows) > 80
    assert {name for name, meaning in rows if not meaning} <= set(State)  # [max_age_hours] says it of all of them


def test_no_schema_stands_here_that_nothing_makes() -> None:
    assert {path.relative_to(ROOT).as_posix() for path in (ROOT / "docs/events/schemas").iterdir()} <= set(DOCUMENTS)


def test_the_examples_of_the_asyncapi_document_fit_it() -> None:
    """AsyncAPI's parser does not check the examples. It reads JSON Schema draft 07, so draft 07 is used here."""
    document = json.loads(DOCUMENTS["docs/events/asyncapi.json"])
    messages = document["components"]["messages"]
    assert {name: len(message["examples"]) for name, message in messages.items()} == {
        "OmsOrderEvent": 6,
        "OrderSnapshotEvent": 2,
        "OrderTransitionedEvent": 3,
        "DeadLetter": 2,
    }
    for message in messages.values():
        for example in message["examples"]:
            for part in ("payload", "headers") if "headers" in example else ("payload",):
                validator = jsonschema.Draft7Validator({**document, **_schema(document, message[part])})
                assert [error.message for error in validator.iter_errors(example[part])] == [], example["name"]


def _schema(document: dict[str, Any], schema: dict[str, Any]) -> dict[str, Any]:
    name = schema.get("$ref", "").rpartition("/")[2]
    return dict(document["components"]["schemas"][name]) if name else schema


def test_topics_and_group_of_the_asyncapi_document() -> None:
    document = json.loads(DOCUMENTS["docs/events/asyncapi.json"])
    operations = {name: (one["action"], one["channel"]["$ref"]) for name, one in document["operations"].items()}
    assert operations == {
        "receive-oms-events": ("receive", "#/channels/oms.order-events"),
        "send-snapshots": ("send", "#/channels/mirakl.order-snapshots"),
        "receive-snapshots": ("receive", "#/channels/mirakl.order-snapshots"),
        "send-transitions": ("send", "#/channels/orderflow.transitions"),
        "send-dead-letters": ("send", "#/channels/orderflow.dead-letters"),
    }
    group = document["operations"]["receive-oms-events"]["bindings"]["kafka"]["groupId"]
    assert group == {"type": "string", "default": "orderflow"}


def names_in(path: Path) -> set[str]:
    """Classes, functions and methods of a file, as `name` and `Class.name`."""
    found = set()
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.ClassDef | ast.FunctionDef):
            found.add(node.name)
        if isinstance(node, ast.ClassDef):
            found |= {f"{node.name}.{one.name}" for one in node.body if isinstance(one, ast.FunctionDef)}
    return found


LINKED_NAMES = [
    pytest.param(page, name, target, id=f"{page.name}-{name}")
    for page in sorted((ROOT / "docs").glob("*.md"))
    for name, target in re.findall(r"\[`([A-Za-z_.]+)`\]\(([^)]+\.py)\)", page.read_text())
    if "/" not in name
]


@pytest.mark.parametrize(("page", "name", "target"), LINKED_NAMES)
def test_a_function_that_a_page_links_to_is_in_that_file(page: Path, name: str, target: str) -> None:
    assert name in names_in(page.parent / target)


def test_what_the_documents_link_to_and_name_exists() -> None:
    for document in (ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))):
        text = document.read_text()
        for target in re.findall(r"\]\(([^)#]+)\)", text):
            assert (document.parent / target).exists(), f"{document.name} links to {target}"
        for path in re.findall(r"`((?:tests|consumer|adapters|statemachine)/[\w/.]+\.py)`", text):
            assert (ROOT / path).exists(), f"{document.name} names {path}"


def test_no_file_names_a_registry_or_a_path_of_a_machine() -> None:
    forbidden = re.compile(r"/work/|/root/|--index-url|pypi\.org|files\.pythonhosted|registry\.npmjs")
    for path in ROOT.rglob("*"):
        parts = path.relative_to(ROOT).parts
        if not path.is_file() or parts[0] in (".git", ".venv", ".hypothesis") or "__pycache__" in parts:
            continue
        if path.suffix in (".py", ".toml", ".txt", ".in", ".md", ".json", ".mjs", ".yaml", ".yml") or path.name in (
            "Makefile",
            "run",
        ):
            assert path == Path(__file__) or not forbidden.search(path.read_text()), path


#: The name of every test. Documents name a test with its file, as `tests/test_docs.py::test_name`; files may move.
TESTS = {
    name
    for path in (ROOT / "tests").rglob("test_*.py")
    for name in re.findall(r"^ *def (test_\w+)\(", path.read_text(), re.MULTILINE)
}
NAMED_TEST = re.compile(r"`tests/[\w/]+\.py::(\w+)`")


def test_the_tests_that_a_document_names_exist() -> None:
    for document in (ROOT / "docs").rglob("*.md"):
        missing = set(NAMED_TEST.findall(document.read_text())) - TESTS
        assert not missing, f"{document.name} names {missing}"


def test_the_rules_are_numbered_without_a_gap_and_each_names_a_test() -> None:
    """Code and tests cite a rule by its number."""
    sections = re.split(r"^## ", (ROOT / "docs/rules.md").read_text(), flags=re.MULTILINE)
    rules = {int(number[1]): text for text in sections if (number := re.match(r"(\d+)\. ", text))}
    assert list(rules) == list(range(1, len(rules) + 1))
    assert [number for number, text in rules.items() if not NAMED_TEST.search(text)] == []


def test_the_rules_show_the_states_and_ranks_of_the_code() -> None:
    rows = re.findall(r"^\| `?(\w+)`? \| (.*) \|$", (ROOT / "docs/rules.md").read_text(), re.MULTILINE)
    states = [state for state, _ in PREDICATES]
    assert [name for name, _ in rows if name in states] == states
    workflows = {name: text.split(", ") for name, text in rows if name.startswith("PAY_ON_")}
    assert len(workflows) == 4
    for workflow, shown in workflows.items():
        assert [rank_of(workflow, state) for state in shown] == list(range(len(KNOWN_STATES)))
