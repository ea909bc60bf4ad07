"""The worked examples of docs/for-order-managers.md show what the commands print."""

import os
import re
import shlex
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from adapters.simulators.world import make_lives
from statemachine.commands import CommandKind
from statemachine.events import Trigger
from statemachine.facts import Facts, Part
from statemachine.reasons import REASONS, Reason
from statemachine.urgency import EndsBy
from tests.consumer.cli.runner import run
from tests.consumer.operations.desk import Desk
from tests.statemachine.lives import answered, event, parcel, read, sent, snapshot_event

DOC = Path(__file__).resolve().parents[3] / "docs/for-order-managers.md"


def decision(desk: Desk) -> list[str]:
    desk.shows("WAITING_ACCEPTANCE")
    return [
        "orders list --attention",
        "orders explain O-1",
        'orders accept O-1 --shop alpha --line L2 --reason "L1 is sold out"',
    ]


def keyed_in(desk: Desk) -> list[str]:
    snapshot = read("SHIPPING")
    desk.apply(replace(snapshot_event(snapshot), raw=b'{"order_id": "O-1"}', digest=snapshot.digest))
    desk.work()
    return ["orders explain O-1", 'orders handled O-1 --shop alpha --reason "keyed in as 4711"']


def left_without_a_report(desk: Desk) -> list[str]:
    desk.shows("SHIPPING")
    desk.apply(answered(CommandKind.IMPORT), parcel("L1", 2))
    return ['orders sent O-1 --shop alpha --reason "L2 left with the same van"']


def several_reasons(desk: Desk) -> list[str]:
    desk.shows("SHIPPING")
    split = event(Trigger.OMS_EVENT, "split", Facts(parts=(Part(1, "", ("L1",)), Part(2, "", ("L2",)))))
    desk.apply(split, sent(covers="order"), parcel("L1", 3))
    return ['orders settle O-1 --shop alpha --only quantity_exceeds_order --reason "counted twice"']


def held(desk: Desk) -> list[str]:
    desk.shows("SHIPPING")
    desk.apply(answered(CommandKind.IMPORT))
    return ['orders hold O-1 --shop alpha --reason "the customer called"']


def transcript(commands: list[str]) -> str:
    """Each command and what it prints. A person answers every question with yes."""
    shown = []
    for command in commands:
        result = run(*shlex.split(command), answers="y\n")
        question = result.stderr.replace("[y/N]:", "[y/N]: y\n")
        output = result.stdout.removeprefix(" y\n")
        shown.append("\n".join(line.rstrip() for line in f"$ orderflow {command}\n{question}{output}".splitlines()))
    return "```text\n" + "\n".join(shown) + "\n```"


EXAMPLES = (decision, keyed_in, left_without_a_report, several_reasons, held)


@pytest.mark.parametrize("happens", EXAMPLES)
def test_an_example_shows_what_the_commands_print(desk: Desk, happens: Callable[[Desk], list[str]]) -> None:
    """WRITE_EXAMPLES=1 writes what they print into the document."""
    shown, text = transcript(happens(desk)), DOC.read_text(encoding="utf-8")
    if os.environ.get("WRITE_EXAMPLES"):
        first = re.escape(shown.splitlines()[1])
        text = re.sub(rf"```text\n{first}\n.*?```", lambda _: shown, text, count=1, flags=re.DOTALL)
        DOC.write_text(text, encoding="utf-8")
    assert shown in text, "run `WRITE_EXAMPLES=1 pytest tests/consumer/cli/test_for_order_managers.py`"


def test_each_reason_is_told_with_the_command_that_ends_it() -> None:
    """In the words of people who sell. A new reason needs its row."""
    rows = re.findall(r"^\| (`\w+`(?:, `\w+`)*) \| .+ \| (.+) \|$", DOC.read_text(encoding="utf-8"), re.MULTILINE)
    told = {name: then for names, then in rows for name in re.findall(r"`(\w+)`", names)}
    assert set(Reason) <= told.keys()
    assert [reason for reason in Reason if not _names_what_ends(REASONS[reason].ends_by, told[reason])] == []


def _names_what_ends(ends_by: EndsBy, then: str) -> bool:
    by_itself = ends_by in (EndsBy.FACT, EndsBy.UPGRADE)
    return f"`{ends_by}`" in then or by_itself or (ends_by is EndsBy.RETRY and "`handled`" in then)


def test_the_orders_to_practise_on_are_in_every_run_of_the_demo() -> None:
    named = re.findall(r"^\| `([\w-]+)` \(`(\w+)`\) \|.*: `(\w+)` \|", DOC.read_text(encoding="utf-8"), re.MULTILINE)
    lives = {life.order_id: life for life in make_lives(200, seed=1)}  # as `orderflow demo` without options
    assert len(named) == 3
    for order_id, story, reason in named:
        assert lives[order_id].story == story
        assert reason in lives[order_id].reasons
