"""Ids of orders and lines that hold what our own texts use between them."""

from pathlib import Path

from adapters.simulators.mirakl import changes
from consumer.operations import orders as operations
from statemachine.facts import DecisionKind
from tests.consumer.rig import Rig


def test_ids_with_commas_name_the_lines_of_decisions_and_settles(tmp_path: Path) -> None:
    """Mirakl does not say what an id may hold. Before, a yes to one of these lines refused the whole order, and no
    settle ended the reason of the other."""
    rig = Rig(tmp_path, shop_table={"acceptance": "hold"})
    rig.add("1,A", lines=3)
    rig.poll()
    act = operations.Act(DecisionKind.ACCEPT, "ana", "one is gone", rig.clock.now(), lines=["1,A-2", "1,A-3"])
    operations.decide(rig.store, rig.orders, rig.row("1,A"), act, shops=("alpha",))
    rig.work()
    rig.poll(600)
    rig.mirakl["alpha"].confirm_debit("1,A")
    rig.poll()
    rig.work()
    shown = {
        line["order_line_id"]: line["order_line_state"] for line in rig.mirakl["alpha"].order("1,A")["order_lines"]
    }
    assert (shown["1,A-1"], rig.state("1,A")) == ("REFUSED", "imported")
    changes.refund(rig.mirakl["alpha"], "1,A", "1,A-3")
    rig.poll()
    assert rig.attention("1,A") == ["lines_canceled_after_import"]
    said = operations.explanation(rig.store, rig.row("1,A"), rig.policies["alpha"], rig.clock.now())
    assert "1,A-3 (MUG" in said.attention[0].cause
    settle = operations.Act(DecisionKind.SETTLE, "ana", "taken out", rig.clock.now())
    operations.decide(rig.store, rig.orders, rig.row("1,A"), settle, shops=("alpha",))
    assert rig.attention("1,A") == []
