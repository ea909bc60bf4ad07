"""A seller who runs a group of `orderflow shops` against a simulated marketplace."""

from pathlib import Path

from typer.testing import CliRunner, Result

from adapters.simulators.books import Books
from adapters.simulators.mirakl.api import mirakl_app
from adapters.simulators.mirakl.marketplace import MiraklSimulator
from adapters.simulators.orders import ALPHA
from consumer.cli.app import app
from consumer.cli.opening import Environment
from consumer.cli.output import BAD_ANSWER
from tests.consumer.rig import InProcess
from tests.support import StillClock


class Seller:
    """Runs the commands of one group for the shop alpha."""

    def __init__(self, group: str) -> None:
        Path("alpha.key").write_text(ALPHA.api_key)
        self.clock = StillClock()
        self.mirakl = MiraklSimulator(ALPHA, Books(), self.clock.now)
        self.net = InProcess(mirakl_app(self.mirakl))
        self._group = group

    def run(self, *arguments: str, answers: str | None = None) -> Result:
        environment = Environment(self.clock, "ops", self.net)
        command = ["shops", self._group, *arguments]
        return CliRunner().invoke(app, command, obj=environment, input=answers, catch_exceptions=False)

    def error(self, *arguments: str) -> str:
        result = self.run(*arguments)
        assert result.exit_code == BAD_ANSWER, result.output
        assert result.stdout == ""
        return result.stderr
