"""The kubectl commands of the documents name objects that the overlays have, and show what the document says."""

import re
from importlib.metadata import version
from itertools import pairwise
from typing import Final

import pytest

from tests.k8s.fitting import labels_of, workloads
from tests.k8s.rendering import K8S, OVERLAYS, ROOT, Object, objects_of, renderers

COMMANDS: Final = sorted(
    {
        command.strip()
        for path in (ROOT / "docs").glob("*.md")
        for command in re.findall(r"kubectl -n [^`\n#;]+", path.read_text())
    }
)
KINDS: Final = {"deploy": "Deployment", "job": "Job", "externalsecret": "ExternalSecret"}


@pytest.fixture(scope="module")
def by_namespace() -> dict[str, list[Object]]:
    render = renderers()[0]
    every = [one for name in OVERLAYS for one in objects_of(render(K8S / "overlays" / name))]
    return {
        name: [one for one in every if one["metadata"].get("namespace") == name]
        for name in {one["metadata"].get("namespace") for one in every if one["metadata"].get("namespace")}
    }


def test_there_are_commands() -> None:
    assert len(COMMANDS) > 10


@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_names_what_is_there(by_namespace: dict[str, list[Object]], command: str) -> None:
    words = command.replace("VERSION", version("orderflow")).split()
    objects = by_namespace[words[2]]
    have = {(one["kind"], one["metadata"]["name"]) for one in objects}
    named = [
        (KINDS[word.partition("/")[0]], word.partition("/")[2]) for word in words if word.partition("/")[0] in KINDS
    ]
    named += [(KINDS[kind], name) for kind, name in pairwise(words) if kind in KINDS and name[0] != "-"]
    assert {(kind, name) for kind, name in named if name} - have == set()
    if "-l" in words:
        label, _, value = words[words.index("-l") + 1].partition("=")
        assert any(labels_of(one).get(label) == value for one in workloads(objects))


@pytest.mark.parametrize("command", [one for one in COMMANDS if " logs -l " in one])
def test_the_log_of_several_pods_is_shown_whole(command: str) -> None:
    """With a selector kubectl shows ten lines of each pod, also with --since."""
    assert "--tail=-1" in command.split()


def test_the_log_of_a_pod_that_does_not_start_has_that_of_its_init_container() -> None:
    """kubectl shows one container of each pod, and says of one that has not begun only that it waits."""
    section = (ROOT / "docs/runbooks.md").read_text().partition("\n## OrdersRoleMissing\n")[2].partition("\n## ")[0]
    (command,) = re.findall(r"`(kubectl [^`]* logs [^`]+)`", section)
    assert "--all-containers" in command.split()
    assert "`schema`" in section


def test_a_new_key_is_not_put_into_a_secret_that_its_store_overwrites() -> None:
    """The component external-secrets owns the Secrets, and its next refresh puts the old key back."""
    said = (ROOT / "docs/kubernetes.md").read_text().partition("**A new key or password**")[2].partition("\n## ")[0]
    assert "annotate externalsecret orderflow-shops force-sync" in said
    for section in ("OrdersApiAuthFailing", "OrdersCallbacksRefused"):
        text = (ROOT / "docs/runbooks.md").read_text().partition(f"\n## {section}\n")[2].partition("\n## ")[0]
        assert "store of secrets" in text
