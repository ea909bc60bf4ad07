"""Sicknesses of our own processes: stopped, beside a wrong clock, with a log that cannot be written."""

import os
import signal

from tests.sick.service import Service
from tests.sick.sickness import Sickness, before, grows


def _stops(name: str, service: Service) -> None:
    os.kill(service.fleet.members[name].process.pid, signal.SIGSTOP)


def _goes_on(name: str, service: Service) -> None:
    os.kill(service.fleet.members[name].process.pid, signal.SIGCONT)


PROCESSES = (
    Sickness(
        "consumer-stopped",
        "consumer-0, by SIGSTOP",
        "a consumer is stopped beyond its session: the other takes its partitions, and nothing is applied twice",
        lambda service: _stops("consumer-0", service),
        lambda service: _goes_on("consumer-0", service),
        seconds=24.0,
        touches=before(12.0),
        quiet=("consumer-0",),
        signs=(grows("orderflow_consumer_rebalances_total"),),
    ),
)
