"""On a terminal of 80 columns the list and the page of an order can be read."""

import re
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
import typer

from consumer.cli import output
from consumer.cli.app import app
from statemachine.events import Trigger
from statemachine.facts import Facts, Withdrawn
from statemachine.failures import Trouble
from tests.consumer.cli.runner import add_dead_letter, output_of, run
from tests.consumer.cli.seller import Seller
from tests.consumer.operations.desk import Desk
from tests.statemachine.lives import LINES, at, event

ROW = {
    "shop": "alpha",
    "order_id": "C000000117FR-B",
    "state": "waiting_acceptance",
    "do": "deadline",
    "deadline": "in 119 min",
    "since": "13 min",
    "attention": ["lines_canceled_after_import"],
}


@pytest.fixture(autouse=True)
def terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")


def on_a_terminal(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> list[str]:
    monkeypatch.setattr("consumer.cli.output.is_terminal", lambda: True)
    lines = output_of(*arguments).splitlines()
    assert max(map(len, lines)) <= 80
    return lines


def test_a_short_value_is_not_folded(monkeypatch: pytest.MonkeyPatch) -> None:
    lines = output.table([ROW], 80)
    assert any("13 min" in line for line in lines)
    assert any("in 119 min" in line for line in lines)


def test_the_list_of_those_that_need_a_person_has_one_line_for_each(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    desk.shows("WAITING_ACCEPTANCE", ship_by=at(0))
    head, row = on_a_terminal(monkeypatch, "orders", "list", "--attention")
    assert "state" in head, "this one fits"
    assert "waiting_acceptance" in row
    monkeypatch.setenv("COLUMNS", "66")
    monkeypatch.setattr("consumer.cli.output.is_terminal", lambda: True)
    head, row = output_of("orders", "list", "--attention").splitlines()
    assert "state" not in head
    assert "waiting_acceptance" not in row
    assert "needs_decision" in row
    monkeypatch.setattr("consumer.cli.output.is_terminal", lambda: False)
    assert "waiting_acceptance" in output_of("orders", "list", "--attention"), "a pipe is not narrowed"


def test_each_event_of_an_order_begins_with_its_whole_time(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    desk.shows("WAITING_ACCEPTANCE")
    desk.clock.advance(60)
    desk.shows("SHIPPING", ship_by=at(14 * 24 * 3600))
    for number in range(12):
        trouble = Trouble("import_order", "", 0, at(0), "M11", "503")
        failed = event(Trigger.CALL, f"fails {number}", Facts(troubles=(trouble,)))
        desk.apply(failed)
    lines = on_a_terminal(monkeypatch, "orders", "show", "O-1")
    timeline = lines[lines.index("Timeline") + 1 :]
    assert timeline[0].strip() == "at"
    assert timeline[1] == "2026-03-01 00:00:00  Mirakl shows WAITING_ACCEPTANCE; new -> waiting_acceptance;"
    starts = [line for line in timeline[1:] if not line.startswith(" ")]
    assert all(re.match(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d  \S", line) for line in starts if line)


# -- Every command ---------------------------------------------------------------------------------------------------

COMMANDS = [
    *("orders list --attention", "orders list", "orders show O-1", "orders explain O-1", "status", "shops list"),
    *("dead-letters list", "offsets list", "audit"),
]


def words(text: str) -> set[str]:
    return {word.strip(";,") for word in text.split()}


def may_be_shown(piped: str) -> set[str]:
    """The words of this output, and the parts of its names: a name is folded behind an underscore, or has spaces."""
    parts = [part for word in words(piped) for part in word.split("_")]
    return {*words(piped), *parts, *(f"{part}_" for part in parts)}


def is_narrow(line: str) -> bool:
    """Whether the line fits, or is a command that a person pastes."""
    return len(line) <= 80 or line.strip().strip("`.").startswith("orderflow ")


@pytest.fixture
def busy(desk: Desk) -> Desk:
    """An order with several reasons, a pause, a dead letter and a decision."""
    desk.shows("SHIPPING", lines=(replace(LINES[0], withdrawn=Withdrawn.PART), replace(LINES[1], quantity=None)))
    run("shops", "pause", "alpha", "--reason", "the OMS is moved to another place this week", "--yes")
    run("orders", "hold", "O-1", "--reason", "the customer called and wants another colour", "--yes")
    add_dead_letter(desk, b"{}", reason="missing_field")
    return desk


@pytest.mark.parametrize("command", COMMANDS)
def test_no_command_prints_a_line_that_is_too_long_or_cuts_a_word(
    busy: Desk, monkeypatch: pytest.MonkeyPatch, command: str
) -> None:
    piped = run(*command.split()).stdout
    monkeypatch.setattr("consumer.cli.output.is_terminal", lambda: True)
    shown = run(*command.split()).stdout
    assert [line for line in shown.splitlines() if not is_narrow(line)] == []
    assert words(shown) - may_be_shown(piped) == set()


def test_a_check_of_a_shop_fits_too(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    seller = Seller("check")
    seller.mirakl.account.fields["shop_state"] = "CLOSE"
    piped = seller.run("alpha").stdout
    assert "shop_state" in piped
    monkeypatch.setattr("consumer.cli.output.is_terminal", lambda: True)
    shown = seller.run("alpha").stdout
    assert [line for line in shown.splitlines() if not is_narrow(line)] == []
    assert words(shown) - may_be_shown(piped) == set()


def commands_of(command: Any, *names: str) -> Iterator[tuple[str, ...]]:
    yield names
    for name, one in getattr(command, "commands", {}).items():
        yield from commands_of(one, *names, name)


def test_the_help_of_each_command_fits() -> None:
    found = list(commands_of(typer.main.get_command(app)))
    assert len(found) > 40
    for names in found:
        shown = output_of(*names, "--help").splitlines()
        assert [line for line in shown if not is_narrow(line)] == [], names


def test_a_command_in_a_cure_stays_whole(busy: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("consumer.cli.output.is_terminal", lambda: True)
    shown = output_of("orders", "explain", "O-1")
    assert "`orderflow orders release O-1 --shop alpha --only partly_withdrawn --reason WHY`" in shown
