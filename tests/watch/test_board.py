"""Every query of the dashboard finds data in a Prometheus that scraped the demo."""

import os
import time
from pathlib import Path
from typing import Final

import pytest

from adapters.simulators.serve import SimulatedWorld
from consumer.demo.embedded import demo
from consumer.service import Service
from tests.watch.board import answers, queries
from tests.watch.prometheus import Prometheus, is_installed
from tests.watch.scene import call_back_garbage

#: The demo in one process has the embedded log, so nothing goes through the outbox.
WITH_KAFKA_ALONE: Final = frozenset({"Records in the outbox"})


def test_the_dashboard_s_variables_are_filled_in() -> None:
    assert [one.expr for one in queries() if "$" in one.expr] == []


@pytest.mark.minutes
def test_every_query_of_the_dashboard_finds_data(tmp_path: Path) -> None:
    if not is_installed():
        if os.environ.get("CI"):
            pytest.fail("CI has to have prometheus, Debian's package")
        pytest.skip("needs prometheus, Debian's package")
    started: list[Prometheus] = []

    def beside(_world: SimulatedWorld, service: Service) -> None:
        port = service.base.settings.web.port
        started.append(Prometheus.start(tmp_path / "prometheus", {"demo-0": port}))
        call_back_garbage(port, "alpha")  # the demo itself has no dead letters

    began = time.time()
    try:
        demo(orders=80, speed=2.0, folder=tmp_path / "demo", on_started=beside)
        found = answers(started[0], start=began, end=time.time())
    finally:
        for prometheus in started:
            prometheus.stop()
    empty = {one.panel for one, series in found.items() if not series}
    assert empty - WITH_KAFKA_ALONE == set()
