"""What people, Mirakl and the OMS do to an order that was imported, for tests."""

import json

from adapters.simulators.faults import Fault
from adapters.simulators.mirakl import changes
from consumer.operations import orders as operations
from consumer.operations.explain import Explanation
from statemachine.facts import DecisionKind
from tests.consumer.rig import Rig

BARE = b'[{"id": 7, "ref": "0007", "external_ref": "1-A"}]'  # without items


def details(rig: Rig) -> dict[str, str]:
    return {one.reason: one.detail for one in rig.row().attention}


def decide(rig: Rig, kind: DecisionKind, *only: str) -> None:
    act = operations.Act(kind, "ana", "seen", rig.clock.now(), only=only)
    operations.decide(rig.store, rig.orders, rig.row(), act, shops=("alpha",))


def question(rig: Rig, kind: DecisionKind, *only: str) -> str:
    """What a person is asked before this decision."""
    act = operations.Act(kind, "ana", "seen", rig.clock.now(), only=only)
    return operations.question_of(rig.store, rig.row(), act, rig.policies["alpha"], prefix="")


def explained(rig: Rig) -> Explanation:
    return operations.explanation(rig.store, rig.row(), rig.policies["alpha"], rig.clock.now())


def tell(rig: Rig, status: int, **more: object) -> None:
    rig.clock.advance(60)
    oms_id = next((part.oms_id for part in rig.row().facts.parts), 7)
    body = {"id": oms_id, "external_ref": "1-A", "status": status} | more
    rig.take_callback("http://alpha", {}, json.dumps(body).encode())
    rig.consume()
    rig.work()


def lower(rig: Rig, quantity: int = 1) -> None:
    changes.set_line(rig.mirakl["alpha"], "1-A", "1-A-1", quantity=quantity)
    rig.poll()


def answered_without_items(rig: Rig) -> None:
    fault = Fault("order", "answer_after", 1, "1-A", status=201, content=BARE.decode())
    rig.oms.knobs.faults.append(fault)
    rig.imported(quantity=3)


def answer_lost_then_duplicate(rig: Rig) -> None:
    rig.fail("order", "timeout_after")
    rig.add("1-A", state="SHIPPING", quantity=3)
    rig.poll()
    rig.work()
    assert rig.state() == "shipping"
    rig.work(600)
    assert rig.results[-1] == ("import_order", "already_done")


def settled_by_hand(rig: Rig) -> None:
    words = '{"error": {"message": "external_ref already exists", "code": 0}}'
    rig.oms.knobs.faults.append(Fault("order", "answer", 1, "1-A", status=400, content=words))
    rig.add("1-A", state="SHIPPING", quantity=3)
    rig.poll()
    rig.work()
    assert rig.attention() == ["already_in_oms"]
    decide(rig, DecisionKind.SETTLE)


IMPORTS = [answered_without_items, answer_lost_then_duplicate, settled_by_hand]


def answer_with(rig: Rig, *items: tuple[str, int]) -> None:
    listed = [{"id": 1, "external_ref": line, "quantity": pieces} for line, pieces in items]
    content = json.dumps([{"id": 7, "ref": "0007", "external_ref": "1-A", "status": 1, "items": listed}])
    rig.oms.knobs.faults.append(Fault("order", "answer_after", 1, "1-A", status=201, content=content))


def lost_then_refused(rig: Rig, lines: int = 1, quantity: int = 1) -> None:
    """The import lands, its answer is lost, and the OMS refuses the repeat with a no that is no duplicate."""
    rig.fail("order", "timeout_after")
    rig.add("1-A", state="SHIPPING", lines=lines, quantity=quantity)
    rig.poll()
    rig.work()
    rig.fail("order", "answer", status=400, content='{"error": {"message": "Reference in use", "code": 0}}')
    rig.work(900)
    assert rig.effects() == ["imported"]
    assert rig.attention() == ["import_rejected"]
