"""On a terminal of 80 columns the list and the page of an order can be read."""

import re

import pytest

from consumer.cli import output
from statemachine.events import Trigger
from statemachine.facts import Facts, Trouble
from tests.consumer.cli.runner import output_of
from tests.consumer.operations.desk import Desk
from tests.statemachine.lives import at, event

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
