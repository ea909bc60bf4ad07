"""Mirakl names no currency of an order, or no price of a line: the OMS may take that of another order, or its own."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from adapters.simulators.mirakl import changes
from tests.consumer.rig import Rig
from tests.consumer.situations.in_oms_hands import explained


def _set_currency(rig: Rig, value: Any) -> None:
    changes.set_fields(rig.mirakl["alpha"], "1-A", currency_iso_code=value)


def _set_price(rig: Rig, value: Any) -> None:
    changes.set_line(rig.mirakl["alpha"], "1-A", "1-A-1", price_unit=value)


@pytest.mark.parametrize(
    ("set_to", "known", "name"), [(_set_currency, "EUR", "currency_iso_code"), (_set_price, 0, "price_unit")]
)
def test_an_order_without_it_waits_for_a_read_that_shows_it(
    tmp_path: Path, set_to: Callable[[Rig, Any], None], known: Any, name: str
) -> None:
    rig = Rig(tmp_path)
    rig.add("1-A", state="SHIPPING")
    set_to(rig, None)
    rig.poll()
    rig.work()
    rig.poll(600)
    assert (rig.state(), rig.effects(), rig.attention()) == ("shipping", [], ["import_rejected"])
    found = explained(rig)
    assert name in found.attention[0].cause
    set_to(rig, known)
    rig.poll(60)
    rig.work()
    assert (rig.state(), rig.attention()) == ("imported", [])
