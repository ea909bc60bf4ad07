"""Sicknesses of Mirakl and of the OMS: they hang, drip, refuse the key."""

from tests.sick.proxy import Manner
from tests.sick.service import Service
from tests.sick.sickness import Sickness, everybody, grows, logged, shop


def _treats(part: str, manner: Manner, service: Service) -> None:
    service.proxies[part].manner = manner


def _heals(part: str, service: Service) -> None:
    service.proxies[part].manner = Manner()


REMOTES = (
    Sickness(
        "mirakl-hangs",
        "Mirakl of alpha",
        "a marketplace takes connections and never answers: the other shop's orders go on",
        lambda service: _treats("alpha", Manner(silent=True), service),
        lambda service: _heals("alpha", service),
        short_seconds=8.0,
        touches=shop("alpha"),
        signs=(
            logged("poll_failed", shop="alpha", outcome="timeout"),
            grows('orderflow_api_requests_total{operation="OR11",outcome="timeout",shop="alpha"'),
        ),
    ),
    Sickness(
        "oms-hangs",
        "the OMS",
        "the OMS takes connections and never answers: polls and calls of Mirakl go on",
        lambda service: _treats("oms", Manner(silent=True), service),
        lambda service: _heals("oms", service),
        touches=everybody,
        signs=(grows('orderflow_api_requests_total{operation="import_order",outcome="timeout"'),),
    ),
)
