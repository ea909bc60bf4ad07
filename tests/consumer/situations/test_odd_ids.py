"""Ids of orders and lines that hold what our own texts use between them: Mirakl does not say what an id may hold."""

from pathlib import Path

import pytest

from adapters.simulators.mirakl import changes
from consumer.operations import orders as operations
from consumer.operations.causes import AttentionReason
from statemachine.facts import DecisionKind
from tests.consumer.rig import Rig

IDS = ["1,B", "1 B", "1 (B", "1, B\\"]


def decide(rig: Rig, order_id: str, kind: DecisionKind, *lines: str) -> None:
    act = operations.Act(kind, "ana", "seen", rig.clock.now(), lines=lines)
    operations.decide(rig.store, rig.orders, rig.row(order_id), act, shops=("alpha",))


def explained(rig: Rig, order_id: str) -> AttentionReason:
    found = operations.explanation(rig.store, rig.row(order_id), rig.policies["alpha"], rig.clock.now())
    (one,) = found.attention
    return one


@pytest.mark.parametrize("order_id", IDS)
@pytest.mark.parametrize("kind", [DecisionKind.ACCEPT, DecisionKind.REFUSE])
def test_a_decision_on_one_line_answers_this_line_and_no_other(
    tmp_path: Path, order_id: str, kind: DecisionKind
) -> None:
    rig = Rig(tmp_path, shop_table={"acceptance": "hold"})
    rig.add(order_id, lines=2)
    rig.poll()
    decide(rig, order_id, kind, f"{order_id}-2")
    rig.work()
    rig.poll(600)
    refused, accepted = (1, 0) if kind is DecisionKind.REFUSE else (0, 1)
    lines = rig.mirakl["alpha"].order(order_id)["order_lines"]
    assert lines[refused]["order_line_state"] == "REFUSED"
    assert lines[accepted]["order_line_state"] != "REFUSED"


@pytest.mark.parametrize("order_id", IDS)
def test_a_change_of_a_line_after_the_import_has_a_cause_and_can_be_settled(rig: Rig, order_id: str) -> None:
    rig.imported(order_id, lines=2, quantity=3)
    changes.set_line(rig.mirakl["alpha"], order_id, f"{order_id}-1", quantity=1)
    changes.refund(rig.mirakl["alpha"], order_id, f"{order_id}-2")
    rig.poll()
    one = explained(rig, order_id)
    assert one.reason == "lines_canceled_after_import"
    assert f"{order_id}-1 (MUG-11OZ-WHT): 3 went to the OMS, Mirakl shows 1" in one.cause
    assert f"{order_id}-2 (MUG-11OZ-WHT): 3 went to the OMS" in one.cause
    decide(rig, order_id, DecisionKind.SETTLE)
    assert rig.attention(order_id) == []


@pytest.mark.parametrize("order_id", IDS)
def test_an_incident_of_a_line_has_a_cause(rig: Rig, order_id: str) -> None:
    rig.imported(order_id, lines=2)
    changes.set_line(rig.mirakl["alpha"], order_id, f"{order_id}-2", order_line_state="INCIDENT_OPEN")
    rig.poll()
    assert explained(rig, order_id).cause == f"{order_id}-2 (MUG-11OZ-WHT) is INCIDENT_OPEN, the OMS has it"
    decide(rig, order_id, DecisionKind.SETTLE)
    changes.set_line(rig.mirakl["alpha"], order_id, f"{order_id}-2", order_line_state="SHIPPING")
    rig.poll()
    assert rig.attention(order_id) == ["lines_added_after_import"]


def test_an_order_with_a_comma_in_its_id_is_not_taken_for_gone(rig: Rig) -> None:
    rig.add("1,B", state="WAITING_DEBIT_PAYMENT")
    rig.poll()
    for _ in range(12):
        rig.poll(86_400)
    assert rig.row("1,B").facts.not_found == ()
    assert "gone_from_mirakl" not in rig.attention("1,B")


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
