"""Sicknesses that come from strangers at the port of the callbacks, who know no secret."""

import subprocess
import sys
from collections.abc import Callable

from tests.sick.service import REPOSITORY, Service
from tests.sick.sickness import Sickness, grows


def _come(kind: str) -> Callable[[Service], None]:
    def begin(service: Service) -> None:
        command = [sys.executable, "-m", "tests.sick.stranger", kind, str(service.intake_port)]
        process = subprocess.Popen(command, cwd=REPOSITORY)
        service.held.callback(process.wait)
        service.held.callback(process.kill)

    return begin


_UNSEEN = "a stranger who gets nowhere costs nothing, so nothing has to be shown"

STRANGERS = (
    Sickness(
        "stranger-half-requests",
        "the port of the callbacks",
        "1,000 connections with half a request: the oldest are closed, and callbacks are taken",
        _come("half"),
        seconds=14.0,
        unseen=_UNSEEN,
    ),
    Sickness(
        "stranger-bodies",
        "the port of the callbacks",
        "bodies of 1 MiB without a credential: they are refused before they are read",
        _come("bodies"),
        seconds=10.0,
        short_seconds=6.0,
        unseen=_UNSEEN,
    ),
    Sickness(
        "stranger-bombs",
        "the port of the callbacks",
        "compressed bodies with a forged signature: nothing is decompressed",
        _come("bombs"),
        seconds=10.0,
        unseen=_UNSEEN,
    ),
    Sickness(
        "stranger-long-heads",
        "the port of the callbacks",
        "heads of 1 MB: they are refused after 16 KiB",
        _come("heads"),
        seconds=10.0,
        short_seconds=6.0,
        unseen=_UNSEEN,
    ),
    Sickness(
        "stranger-forgers",
        "the port of the callbacks",
        "callbacks with a forged signature: each is refused and counted, and the log has one line a minute",
        _come("forgers"),
        seconds=10.0,
        signs=(grows('orderflow_callbacks_total{result="not_authentic",shop="beta"'),),
    ),
)
