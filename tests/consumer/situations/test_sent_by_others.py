"""An order that another fulfilment centre ships: what is to be done here, and how soon."""

from pathlib import Path

import pytest

from adapters.simulators.mirakl import changes
from consumer.operations.causes import attention_reasons
from statemachine.attention.urgency_of_order import most_urgent
from statemachine.commands import CommandKind, Policy
from statemachine.facts import Attempt, DecisionKind
from statemachine.urgency import Urgency
from tests.consumer.rig import Rig
from tests.consumer.situations.in_oms_hands import decide, lost_then_refused, tell


def give_to(rig: Rig, centre: str) -> None:
    changes.set_centre(rig.mirakl["alpha"], "1-A", centre)
    rig.poll(60)


def urgency(rig: Rig) -> Urgency | None:
    row = rig.row()
    return most_urgent([one for one in row.attention if one.reason == "not_ours_to_ship"], row.facts)


def cure(rig: Rig) -> str:
    found = attention_reasons(rig.row(), (), Policy())
    return next(one.cure for one in found if one.reason == "not_ours_to_ship")


@pytest.mark.parametrize(
    "canceled",
    [
        {"status": 128},
        {"status": 4, "new_cancellations": [{"items": [{"external_ref": "1-A-1", "quantity": 1}]}]},
    ],
    ids=["whole order", "each line"],
)
def test_what_the_oms_canceled_is_not_to_be_stopped_there(rig: Rig, canceled: dict[str, object]) -> None:
    rig.imported()
    give_to(rig, "ELSEWHERE")
    assert urgency(rig) is Urgency.NOW
    assert "stop it there" in cure(rig)
    tell(rig, **canceled)  # type: ignore[arg-type]
    assert urgency(rig) is Urgency.WAITS
    assert cure(rig).startswith("The OMS canceled all of it, so nothing is to be stopped there")
    decide(rig, DecisionKind.SETTLE, "oms_canceled")
    assert (rig.attention(), urgency(rig)) == (["not_ours_to_ship"], Urgency.WAITS)


def test_the_line_that_the_oms_still_has_is_to_be_stopped_there(rig: Rig) -> None:
    rig.imported(lines=2)
    give_to(rig, "ELSEWHERE")
    tell(rig, 4, new_cancellations=[{"items": [{"external_ref": "1-A-1", "quantity": 1}]}])
    assert urgency(rig) is Urgency.NOW
    assert "stop it there" in cure(rig)


def test_what_the_oms_makes_again_is_to_be_stopped_there(rig: Rig) -> None:
    rig.imported()
    give_to(rig, "ELSEWHERE")
    tell(rig, 128)
    tell(rig, 2)
    assert urgency(rig) is Urgency.NOW


def test_an_import_that_was_claimed_and_not_sent_leaves_nothing_to_be_stopped(rig: Rig) -> None:
    """The read that shows another centre came between the claim and the call."""
    rig.add("1-A", state="SHIPPING")
    rig.poll()
    claim = rig.worker.claim()
    assert claim is not None
    give_to(rig, "ELSEWHERE")
    rig.worker.not_called(claim)
    rig.work()
    assert Attempt(CommandKind.IMPORT, "") in rig.row().facts.attempts
    assert (rig.effects(), rig.attention(), urgency(rig)) == ([], ["not_ours_to_ship"], Urgency.WAITS)


def test_an_import_whose_answer_is_lost_may_have_to_be_stopped(rig: Rig) -> None:
    lost_then_refused(rig)
    give_to(rig, "ELSEWHERE")
    assert urgency(rig) is Urgency.NOW


@pytest.mark.parametrize(
    ("acceptance", "reason", "then"),
    [("all", "accept_rejected", "retry"), ("hold", "needs_decision", "accept")],
)
def test_the_answer_to_an_order_of_another_centre_is_not_asked_of_anybody_here(
    tmp_path: Path, acceptance: str, reason: str, then: str
) -> None:
    policy = Policy(acceptance)
    rig = Rig(tmp_path, policies={"alpha": policy})
    rig.add("1-A")
    changes.set_centre(rig.mirakl["alpha"], "1-A", "ELSEWHERE")
    rig.poll()
    rig.work()
    rig.poll(600)
    assert rig.attention() == [reason]
    (found,) = attention_reasons(rig.row(), (), policy)
    assert found.cure.startswith("Another fulfilment centre is to send this order, and Mirakl refuses our answer to it")
    assert found.cure.endswith(f"then `orderflow orders {then} 1-A --shop alpha --reason WHY`.")
