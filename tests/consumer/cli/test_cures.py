"""Each command that a cure names is one that `orderflow` has, with all that it demands."""

import re

import pytest
import typer

from consumer.cli.app import app
from consumer.operations.causes import CURES_OF_CASES
from statemachine.reasons import REASONS

CURES = [(str(name), text) for name, about in REASONS.items() for text in (about.cure, about.cure_when_sent)]
CURES += [("of a case", text) for text in CURES_OF_CASES]
COMMANDS = sorted({(name, one) for name, text in CURES for one in re.findall(r"`(?:orderflow )?(orders [^`]+)`", text)})


@pytest.mark.parametrize(("reason", "command"), COMMANDS)
def test_a_command_of_a_cure_names_the_order_and_whatever_it_demands(reason: str, command: str) -> None:
    """So that a person at night can paste the command, and writes only the reason."""
    _, name, order, *options = command.split()
    orders = typer.main.get_command(app).commands["orders"]  # type: ignore[attr-defined]
    found = orders.commands[name]
    known = {option: one.name for one in found.params for option in one.opts}
    given = {known[option] for option in options if option.startswith("--")}
    assert order == "ORDER", reason
    assert {one.name for one in found.params if one.required} <= given | {"order_id"}, reason
