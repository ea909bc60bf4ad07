"""Two persons decide about one order at the same time: the question of one stands while the other decides."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner, Result

from adapters.store import orders as order_rows
from adapters.store.orders import OrderRow
from consumer.cli.app import app
from consumer.cli.opening import Environment
from consumer.cli.output import BAD_ANSWER
from statemachine.events import Trigger
from statemachine.facts import DecisionKind, Facts
from tests.consumer.cli.runner import output_of
from tests.consumer.operations.desk import Desk
from tests.statemachine.lives import at, event, read, snapshot_event
from tests.support import StillClock


@pytest.fixture
def said_yes(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Result]:
    """Runs a command. `before` happens while its question stands; then the answer is yes."""

    def run(*arguments: str, clock: StillClock, before: Callable[[], object]) -> Result:
        def confirm(*_: object, **__: object) -> bool:
            before()
            return True

        monkeypatch.setattr(typer, "confirm", confirm)
        return CliRunner().invoke(app, arguments, catch_exceptions=False, obj=Environment(clock, "ops"))

    return run


def row_of(desk: Desk, order_id: str) -> OrderRow:
    (row,) = order_rows.find(desk.store, order_id)
    return row


HOLD = ("orders", "hold", "O-1", "--reason", "a wrong text")


def test_a_decision_counts_from_the_yes_on(desk: Desk, said_yes: Callable[..., Result]) -> None:
    desk.shows("SHIPPING")
    clock = StillClock()
    began = clock.now()
    assert said_yes(*HOLD, clock=clock, before=lambda: clock.advance(60)).exit_code == 0
    (hold,) = desk.row.facts.decisions
    assert (hold.kind, (hold.at - began).total_seconds()) == (DecisionKind.HOLD, 60)


def test_an_order_that_changed_while_the_question_stood_is_not_decided(
    desk: Desk, said_yes: Callable[..., Result]
) -> None:
    """Ben held and released it meanwhile; Ana's hold was older than his release, and ended with 0 all the same."""
    desk.shows("SHIPPING")

    def ben() -> None:
        output_of("orders", "hold", "O-1", "--reason", "Ben", "--yes")

    result = said_yes(*HOLD, clock=StillClock(), before=ben)
    assert result.exit_code == BAD_ANSWER
    assert "it changed after the question was asked" in result.stderr
    assert [one.why for one in desk.row.facts.decisions] == ["Ben"]


@pytest.mark.parametrize("changed", [True, False])
def test_of_many_orders_only_those_are_decided_that_did_not_change(
    desk: Desk, said_yes: Callable[..., Result], changed: bool
) -> None:
    other = replace(snapshot_event(read("SHIPPING")), order_id="O-2", event_id="read O-2")
    desk.shows("SHIPPING")
    desk.orders.apply([other])
    Path("ids").write_text("O-1\nO-2\n")

    def ben() -> None:
        if changed:
            output_of("orders", "hold", "O-2", "--reason", "Ben", "--yes")

    result = said_yes("orders", "hold", "--all-of", "ids", "--reason", "Ana", clock=StillClock(), before=ben)
    assert result.exit_code == (BAD_ANSWER if changed else 0)
    decided = {one: [each.why for each in row_of(desk, one).facts.decisions] for one in ("O-1", "O-2")}
    assert decided == {"O-1": ["Ana"], "O-2": ["Ben"] if changed else ["Ana"]}
    assert ("it changed after the question was asked" in result.output) is changed


@pytest.mark.parametrize("more", [0, 1])
def test_a_read_that_shows_nothing_new_does_not_stop_a_decision(
    desk: Desk, said_yes: Callable[..., Result], more: int
) -> None:
    lines = desk.shows("WAITING_ACCEPTANCE").facts.snapshot.lines  # type: ignore[union-attr]  # it was just read

    def is_read() -> None:
        desk.clock.advance(60)
        before = desk.row.version
        shown = tuple(replace(line, quantity=(line.quantity or 0) + more) for line in lines)
        desk.shows("WAITING_ACCEPTANCE", updated=more, lines=shown)
        assert desk.row.version > before

    result = said_yes(*HOLD, clock=StillClock(), before=is_read)
    assert result.exit_code == (BAD_ANSWER if more else 0)
    assert len(desk.row.facts.decisions) == (0 if more else 1)


def test_the_passing_of_time_does_not_stop_a_decision(desk: Desk, said_yes: Callable[..., Result]) -> None:
    desk.shows("WAITING_ACCEPTANCE")
    passes = event(Trigger.CLOCK, "clock", Facts(clock=at(60)))
    assert said_yes(*HOLD, clock=StillClock(), before=lambda: desk.apply(passes)).exit_code == 0
