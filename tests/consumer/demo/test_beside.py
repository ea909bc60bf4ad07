"""`orderflow simulate --config`: the simulators for a service that runs already, and the audit of both."""

import io
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from rich.console import Console

from adapters.engines.processes import free_ports
from adapters.errors import ConfigError
from consumer import bootstrap, config
from consumer.demo.beside import play_beside
from consumer.demo.report import Outcome
from consumer.demo.settings import write_settings
from tests.consumer.cli.runner import error_of

SPEED = 10.0


class Beside:
    """A service on SQLite whose remotes listen nowhere yet."""

    def __init__(self, folder: Path) -> None:
        alpha, beta, oms, self.port = free_ports(4)
        urls = {"alpha": f"http://127.0.0.1:{alpha}", "beta": f"http://127.0.0.1:{beta}"}
        self.file = write_settings(folder, urls, f"http://127.0.0.1:{oms}", self.port, speed=SPEED)
        self.out = io.StringIO()

    def play(self) -> Outcome:
        return play_beside(
            self.file,
            orders=4,
            speed=SPEED,
            seed=1,
            host="127.0.0.1",
            callbacks=f"http://127.0.0.1:{self.port}",
            console=Console(file=self.out, width=120),
        )


@pytest.fixture
def beside(tmp_path: Path) -> Iterator[Beside]:
    found = Beside(tmp_path)
    with ExitStack() as stack:
        service = bootstrap.build(config.load(found.file))
        stack.callback(service.stop)
        service.start()
        yield found


def test_the_audit_passes_for_a_service_that_ran_before(beside: Beside) -> None:
    outcome = beside.play()
    assert outcome.findings == ()
    assert outcome.settled
    assert "Audit passed" in beside.out.getvalue()
    with pytest.raises(ConfigError, match="the database holds orders already"):
        beside.play()


def test_an_address_without_a_port_and_other_shops_are_refused(tmp_path: Path) -> None:
    file = Beside(tmp_path).file
    bootstrap.build(config.load(file)).stop()  # makes the store
    text = file.read_text()
    file.write_text(text.replace(config.load(file).oms.base_url, "http://127.0.0.1"))
    assert "a simulator needs an address http://HOST:PORT; another one has oms" in error_of(
        "simulate", "--config", str(file)
    )
    file.write_text(text.replace("shops.beta", "shops.gamma"))
    assert "the shops have to be those that are simulated: alpha, beta" in error_of("simulate", "--config", str(file))
