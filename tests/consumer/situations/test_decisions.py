"""What a person decides, from the read and the decision to the call and the books of the remotes."""

from consumer.operations import orders
from statemachine.facts import DecisionKind
from tests.consumer.rig import Rig


def decide(rig: Rig, kind: DecisionKind, *, lines: tuple[str, ...] = (), call: str = "") -> None:
    act = orders.Act(kind, "ana", "agreed", rig.clock.now(), lines=lines, call=call)
    orders.decide(rig.store, rig.orders, rig.row(), act, shops=["alpha"])


def test_of_an_order_accepted_line_by_line_the_oms_gets_the_accepted_lines(rig: Rig) -> None:
    rig.add("1-A", lines=2)
    rig.poll()
    snapshot = rig.row().facts.snapshot
    assert snapshot is not None
    first, second = (line.id for line in snapshot.lines)
    decide(rig, DecisionKind.ACCEPT, lines=(second,))
    rig.work()
    rig.mirakl["alpha"].confirm_debit("1-A")
    rig.poll(300)
    rig.work()
    assert rig.state() == "imported"
    (imported,) = [effect for effect in rig.ours() if effect.kind == "imported"]
    assert imported.detail["pieces"] == f"{second}=1"
    assert first not in imported.detail["pieces"]


def test_goods_that_left_without_a_report_are_shipped_at_mirakl(rig: Rig) -> None:
    rig.imported()
    decide(rig, DecisionKind.SENT)
    rig.work()
    rig.poll(300)
    assert rig.state() == "shipped"
    assert rig.effects() == ["imported", "shipped"]


def test_an_order_that_a_person_keyed_in_is_not_imported_again(rig: Rig) -> None:
    rig.add("1-A", state="SHIPPING")
    rig.fail("order", "answer", status=400, content='{"error": {"message": "Something went wrong", "code": 0}}')
    rig.poll()
    rig.work()
    assert rig.attention() == ["import_rejected"]
    decide(rig, DecisionKind.HANDLED)
    rig.poll(300)
    rig.work()
    assert (rig.state(), rig.attention()) == ("imported", [])
    assert rig.oms.requests["order"] == 1
