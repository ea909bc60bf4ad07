"""A command for people prints no log lines, unless -v asks for them or the command fails."""

from pathlib import Path

import httpx
import pytest
import structlog
from typer.testing import CliRunner, Result

from adapters.simulators.books import Books
from adapters.simulators.mirakl.api import mirakl_app
from adapters.simulators.mirakl.marketplace import MiraklSimulator
from adapters.simulators.orders import ALPHA
from consumer.cli.app import app
from consumer.cli.opening import Environment
from consumer.cli.output import BAD_ANSWER
from tests.consumer.operations.desk import Desk
from tests.consumer.rig import InProcess
from tests.support import StillClock

#: Commands that ask Mirakl.
ASKING = (
    ("shops", "documents", "list", "alpha"),
    ("shops", "account", "show", "alpha"),
    ("shops", "check", "alpha"),
    ("orders", "messages", "O-1"),
)


class Talkative(InProcess):
    """Logs a line for each request."""

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        structlog.get_logger("test").warning("asked", path=request.url.path)
        return super().handle_request(request)


def run(desk: Desk, *arguments: str, key: str = ALPHA.api_key) -> Result:
    Path("alpha.key").write_text(key)
    marketplace = MiraklSimulator(ALPHA, Books(), desk.clock.now)
    environment = Environment(StillClock(), "ops", Talkative(mirakl_app(marketplace)))
    return CliRunner().invoke(app, arguments, obj=environment, catch_exceptions=False)


@pytest.mark.parametrize("command", ASKING, ids=" ".join)
def test_a_command_prints_no_log_line(desk: Desk, command: tuple[str, ...]) -> None:
    desk.shows("SHIPPING")
    assert '"asked"' not in run(desk, *command).output


@pytest.mark.parametrize("place", [0, 2, 4], ids=["first", "in the middle", "last"])
def test_with_v_it_writes_them_to_standard_error(desk: Desk, place: int) -> None:
    words = ["shops", "documents", "list", "alpha"]
    result = run(desk, *words[:place], "-v", *words[place:])
    assert (result.exit_code, '"event": "asked"' in result.stderr) == (0, True)
    assert "asked" not in result.stdout


def test_a_command_that_fails_writes_them_before_its_error(desk: Desk) -> None:
    result = run(desk, "shops", "documents", "list", "alpha", key="of nobody")
    assert result.exit_code == BAD_ANSWER
    assert '"asked"' in result.stderr.splitlines()[0]
    assert result.stderr.splitlines()[-1].startswith("orderflow: ")


def test_a_bad_answer_is_no_failure(desk: Desk) -> None:
    """A command that ends with 1 because something is wrong has said what it is."""
    file = Path("orderflow.toml")
    file.write_text(file.read_text().replace("shop_id = 2104", 'shop_id = 2104\ncurrency = "SEK"'))
    result = run(desk, "shops", "check", "alpha")
    assert (result.exit_code, '"asked"' in result.output) == (BAD_ANSWER, False)
