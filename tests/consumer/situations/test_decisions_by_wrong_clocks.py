"""A decision counts as made after all that the order holds, whichever clock the machine of the person has."""

from datetime import timedelta
from pathlib import Path

import pytest

from adapters.simulators.mirakl import changes
from consumer.operations import orders as operations
from consumer.operations.errors import NotPossible
from statemachine.facts import VOUCHED, DecisionKind, Tracking
from tests.consumer.rig import Rig
from tests.consumer.situations.in_oms_hands import tell

#: How far another clock is behind (negative) or ahead of the right one, in seconds.
each_skew = pytest.mark.parametrize("ahead", [-5, -3600, 0], ids=["5 s behind", "1 h behind", "right"])
ADDRESS = "changed_after_import"


def act(rig: Rig, kind: DecisionKind, ahead: float = 0, **more: object) -> operations.Act:
    at = rig.clock.now() + timedelta(seconds=ahead)
    return operations.Act(kind, "ana", "agreed", at, **more)  # type: ignore[arg-type]


def decide(rig: Rig, kind: DecisionKind, ahead: float = 0, **more: object) -> None:
    one = act(rig, kind, ahead, **more)
    operations.decide(rig.store, rig.orders, rig.row(), one, shops=("alpha",))


def waits_for_import(rig: Rig) -> None:
    rig.add("1-A", state="SHIPPING")
    rig.switch(paused=("import",))
    rig.poll()
    rig.clock.advance(10)


@each_skew
def test_a_hold_after_a_release(rig: Rig, ahead: float) -> None:
    waits_for_import(rig)
    decide(rig, DecisionKind.HOLD)
    rig.clock.advance(10)
    decide(rig, DecisionKind.RELEASE)
    decide(rig, DecisionKind.HOLD, ahead)
    assert rig.attention() == ["held"]
    rig.switch()
    rig.work()
    assert rig.effects() == []


@each_skew
def test_a_release_after_a_hold(rig: Rig, ahead: float) -> None:
    waits_for_import(rig)
    decide(rig, DecisionKind.HOLD)
    decide(rig, DecisionKind.RELEASE, ahead)
    assert rig.attention() == []
    rig.switch()
    rig.work()
    assert rig.effects() == ["imported"]


def test_a_release_after_a_hold_by_a_clock_that_is_ahead(rig: Rig) -> None:
    waits_for_import(rig)
    decide(rig, DecisionKind.HOLD, 3600)
    question = operations.question_of(
        rig.store, rig.row(), act(rig, DecisionKind.RELEASE), rig.policies["alpha"], prefix=""
    )
    assert "POST /order brings the order to the OMS" in question
    assert question.endswith("this ends held?")
    decide(rig, DecisionKind.RELEASE)
    assert rig.attention() == []
    decide(rig, DecisionKind.HOLD)
    assert rig.attention() == ["held"]


@each_skew
@pytest.mark.parametrize(("first", "last"), [("accept", "refuse"), ("refuse", "accept")])
def test_the_last_answer_counts(tmp_path: Path, first: str, last: str, ahead: float) -> None:
    rig = Rig(tmp_path, shop_table={"acceptance": "hold"})
    rig.add("1-A")
    rig.switch(paused=("accept",))
    rig.poll()
    decide(rig, DecisionKind(first))
    decide(rig, DecisionKind(last), ahead)
    rig.switch()
    rig.work()
    assert rig.effects() == [{"accept": "accepted", "refuse": "refused"}[last]]


@each_skew
def test_the_last_settle_of_a_line_counts(rig: Rig, ahead: float) -> None:
    """Two pieces were taken out of the OMS's order, and put back. The second settle says that the OMS makes them."""
    rig.imported(quantity=3)
    for quantity, clock in ((1, 0.0), (3, ahead)):
        changes.set_line(rig.mirakl["alpha"], "1-A", "1-A-1", quantity=quantity)
        rig.poll(60)
        assert len(rig.attention()) == 1
        decide(rig, DecisionKind.SETTLE, clock)
        assert rig.attention() == []
    rig.poll(60)
    assert rig.attention() == []


@each_skew
def test_the_last_settle_of_an_address_counts(rig: Rig, ahead: float) -> None:
    rig.imported()
    for street, clock in (
        ("7 Canary Row", ahead),
        ("8 Canary Row", ahead),
        ("9 Canary Row", 0),
        ("8 Canary Row", ahead),
    ):
        changes.set_address(rig.mirakl["alpha"], "1-A", street_1=street)
        rig.poll(60)
        assert rig.attention() == [ADDRESS]
        decide(rig, DecisionKind.SETTLE, clock)
        assert rig.attention() == []


@each_skew
def test_a_tracking_that_a_person_names_last_counts(rig: Rig, ahead: float) -> None:
    rig.imported()
    tell(rig, 8, shipping_tracking="T1")
    decide(rig, DecisionKind.SENT, ahead, tracking=Tracking("DPD", "V1"))
    decide(rig, DecisionKind.SENT, ahead, tracking=Tracking("DPD", "V2"))
    first, second = (one for one in rig.row().facts.dispatches if one.oms_id == VOUCHED)
    reported = max(one.told_at for one in rig.row().facts.dispatches if one.oms_id != VOUCHED)
    assert reported < first.told_at < second.told_at
    assert (first.tracking.number, second.tracking.number) == ("V1", "V2")
    rig.work()
    rig.poll(300)
    shown = rig.row().facts.snapshot
    assert shown is not None
    assert shown.tracking.number == "V2"


@each_skew
def test_what_a_person_did_by_hand_is_proved_by_a_later_read(rig: Rig, ahead: float) -> None:
    """By a clock that is behind, the newest read would begin after the word of the person, and disprove it."""
    rig.imported()
    rig.fail("OR24", "answer", 90, status=503)
    tell(rig, 8, shipping_tracking="T1")
    rig.poll(60)
    decide(rig, DecisionKind.HANDLED, ahead, call="confirm_shipment")
    assert rig.attention() == []
    (answer,) = (one for one in rig.row().facts.answers if one.kind == "confirm_shipment")
    snapshot = rig.row().facts.snapshot
    assert snapshot is not None
    assert answer.at == answer.proof_after == rig.row().facts.decisions[-1].at > snapshot.read_at


@each_skew
def test_a_retry_is_made_at_once(rig: Rig, ahead: float) -> None:
    """Also after a decision by a clock that is ahead."""
    rig.fail("order", "answer", status=503)
    waits_for_import(rig)
    rig.switch()
    rig.work()
    decide(rig, DecisionKind.HOLD, 3600)
    decide(rig, DecisionKind.RELEASE, ahead)
    rig.work()
    assert rig.effects() == ["imported"]


def test_what_was_stored_after_the_person_looked_is_older_than_the_decision(rig: Rig) -> None:
    """The row that the person looked at is not locked: another person may decide before the decision is stored."""
    waits_for_import(rig)
    decide(rig, DecisionKind.HOLD)
    held = rig.row()
    rig.clock.advance(10)
    decide(rig, DecisionKind.RELEASE)
    decide(rig, DecisionKind.HOLD)
    operations.decide(rig.store, rig.orders, held, act(rig, DecisionKind.RELEASE, -5), shops=("alpha",))
    assert rig.attention() == []
    assert sorted(rig.row().facts.decisions) == [one for one in rig.row().facts.decisions if one.who == "ana"]


def test_whoever_was_asked_about_an_order_that_changed_decides_nothing(rig: Rig) -> None:
    waits_for_import(rig)
    looked_at, hold = rig.row(), act(rig, DecisionKind.HOLD)
    decide(rig, DecisionKind.HOLD)
    decide(rig, DecisionKind.RELEASE)
    with pytest.raises(NotPossible, match="it changed after the question was asked"):
        operations.decide(rig.store, rig.orders, looked_at, hold, shops=("alpha",), was_asked=True)
    assert rig.attention() == []
