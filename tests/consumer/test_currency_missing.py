"""Mirakl names no currency of an order: its amounts say nothing, and the OMS may take them for those of another one."""

from pathlib import Path

from adapters.simulators.mirakl import changes
from consumer.operations import orders as operations
from tests.consumer.rig import Rig


def test_an_order_without_a_currency_waits_for_a_read_that_shows_one(tmp_path: Path) -> None:
    rig = Rig(tmp_path)
    rig.add("1-A", state="SHIPPING")
    changes.set_fields(rig.mirakl["alpha"], "1-A", currency_iso_code=None)
    rig.poll()
    rig.work()
    rig.poll(600)
    assert (rig.state(), rig.effects(), rig.attention()) == ("shipping", [], ["import_rejected"])
    found = operations.explanation(rig.store, rig.row(), rig.policies["alpha"], rig.clock.now())
    assert "currency_iso_code" in found.attention[0].cause
    changes.set_fields(rig.mirakl["alpha"], "1-A", currency_iso_code="EUR")
    rig.poll(60)
    rig.work()
    assert (rig.state(), rig.attention()) == ("imported", [])
