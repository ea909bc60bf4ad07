"""Every command that a runbook names is run, on a store with an order, a dead letter and a marketplace that answers.

A runbook is read at night. A command in it that the program refuses costs the time that the order has left.
"""

import re
from pathlib import Path
from typing import Final

import pytest
from typer.testing import CliRunner

from adapters.simulators.books import Books
from adapters.simulators.mirakl.api import mirakl_app
from adapters.simulators.mirakl.marketplace import MiraklSimulator
from adapters.simulators.orders import ALPHA
from consumer.cli.app import app
from consumer.cli.opening import Environment
from statemachine.events import Trigger
from statemachine.facts import Facts, Part
from tests.consumer.cli.runner import add_dead_letter
from tests.consumer.operations.desk import Desk
from tests.consumer.rig import InProcess
from tests.statemachine.lives import event

RUNBOOKS: Final = (Path(__file__).resolve().parents[3] / "docs/runbooks.md").read_text()
COMMANDS: Final = sorted(
    {
        command
        for block in re.findall(r"(?ms)^```sh\n(.*?)^```", RUNBOOKS)
        for command in re.findall(r"(?m)^orderflow (.+)$", block)
    }
    | set(re.findall(r"`orderflow ([^`]+)`", RUNBOOKS))
)
PLACES: Final = {
    "SHOP": "alpha",
    "ORDER": "O-1",
    "STATE": "imported",
    "ID": "1",
    "TOPIC": "oms.order-events",
    "WHY": "a reason",
}
#: The order has to be in another state than that of the others: the goods are with the OMS.
OF_IMPORTED: Final = ("orders sent",)


def words_of(command: str) -> list[str]:
    return [PLACES.get(word, word) for word in command.split()]


def test_the_runbooks_name_commands_and_every_place_in_them_is_known() -> None:
    assert len(COMMANDS) > 20
    places = {word for command in COMMANDS for word in command.split() if re.fullmatch(r"[A-Z]+", word)}
    assert places - set(PLACES) == set()


@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_of_a_runbook_runs(desk: Desk, command: str) -> None:
    if command.startswith(OF_IMPORTED):
        desk.shows("SHIPPING")
        desk.apply(event(Trigger.OMS_EVENT, "spoke", Facts(parts=(Part(1),))))
    else:
        desk.shows("WAITING_ACCEPTANCE")
    of_reason = re.findall(r"--of-reason (\w+)", command)
    add_dead_letter(desk, b'{"id": 1}', reason=of_reason[0] if of_reason else "bad_json")
    Path("alpha.key").write_text(ALPHA.api_key)
    marketplace = MiraklSimulator(ALPHA, Books(), desk.clock.now)
    environment = Environment(desk.clock, "ops", InProcess(mirakl_app(marketplace)))
    done = CliRunner().invoke(app, words_of(command), input="y\n", obj=environment, catch_exceptions=False)
    nothing_wrong = (0, 1) if command in ("status", "doctor") else (0,)  # nobody polls here, and both say so
    assert done.exit_code in nothing_wrong, done.output
