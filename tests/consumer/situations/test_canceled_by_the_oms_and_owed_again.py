"""The OMS canceled all of an order, a person settled that, and the order is to be sent: nobody makes it."""

import pytest

from adapters.simulators.mirakl import changes
from statemachine.facts import DecisionKind
from tests.consumer.rig import Rig
from tests.consumer.situations.in_oms_hands import decide, explained, question, tell


def refund(rig: Rig) -> None:
    changes.refund(rig.mirakl["alpha"], "1-A", "1-A-1")
    rig.poll()


def reject_refund(rig: Rig) -> None:
    rig.clock.advance(60)
    changes.set_line(rig.mirakl["alpha"], "1-A", "1-A-1", refunds=[])
    changes.set_fields(rig.mirakl["alpha"], "1-A", fully_refunded=False)
    rig.poll()


def test_a_line_that_is_owed_again_after_the_settle_is_shown_again(rig: Rig) -> None:
    rig.imported()
    tell(rig, 128)
    refund(rig)
    decide(rig, DecisionKind.SETTLE, "oms_canceled")
    assert "oms_canceled" not in rig.attention()
    reject_refund(rig)
    assert rig.attention() == ["oms_canceled"]
    decide(rig, DecisionKind.SETTLE, "oms_canceled")
    assert rig.attention() == []


def test_a_refund_that_was_asked_for_and_rejected_after_the_settle_is_shown_again(rig: Rig) -> None:
    rig.imported()
    tell(rig, 128)
    decide(rig, DecisionKind.SETTLE, "oms_canceled")
    for _ in range(2):
        rig.clock.advance(60)
        refund(rig)
        assert "oms_canceled" not in rig.attention()
        reject_refund(rig)
        assert rig.attention() == ["oms_canceled"]
        decide(rig, DecisionKind.SETTLE, "oms_canceled")
        assert rig.attention() == []


def test_a_refund_of_another_line_brings_no_cancellation_back(rig: Rig) -> None:
    rig.imported(lines=2)
    tell(rig, 4, new_cancellations=[{"items": [{"external_ref": "1-A-2", "quantity": 1}]}])
    decide(rig, DecisionKind.SETTLE, "oms_canceled")
    rig.clock.advance(60)
    refund(rig)
    reject_refund(rig)
    assert "oms_canceled" not in rig.attention()


def test_one_cancel_of_the_order_that_names_its_lines_too_is_one_reason(rig: Rig) -> None:
    rig.imported()
    tell(rig, 128, new_cancellations=[{"items": [{"external_ref": "1-A-1", "quantity": 1}]}])
    assert rig.attention() == ["oms_canceled"]
    assert len(rig.row().facts.cancellations) == 2
    decide(rig, DecisionKind.SETTLE)
    assert rig.attention() == []


def test_a_line_that_the_oms_cancels_after_it_made_a_canceled_order_again_is_shown(rig: Rig) -> None:
    rig.imported(lines=2)
    tell(rig, 128)
    decide(rig, DecisionKind.SETTLE, "oms_canceled")
    tell(rig, 4, new_cancellations=[{"items": [{"external_ref": "1-A-2", "quantity": 1}]}])
    assert rig.attention() == ["oms_canceled"]


def test_a_refund_after_the_settle_brings_no_cancellation_back(rig: Rig) -> None:
    rig.imported()
    tell(rig, 128)
    decide(rig, DecisionKind.SETTLE, "oms_canceled")
    refund(rig)
    assert "oms_canceled" not in rig.attention()


def test_an_order_that_the_oms_makes_again_is_not_shown_again(rig: Rig) -> None:
    rig.imported()
    tell(rig, 128)
    refund(rig)
    for reason in rig.attention():
        decide(rig, DecisionKind.SETTLE, reason)
    tell(rig, 1, id=99)
    reject_refund(rig)
    assert "oms_canceled" not in rig.attention()


def test_explain_says_that_nobody_makes_it(rig: Rig) -> None:
    rig.imported()
    tell(rig, 128)
    decide(rig, DecisionKind.SETTLE)
    found = explained(rig)
    nobody, settled = found.waits_for.split("; ", 1)
    assert nobody == "a person: the OMS canceled all of it, so nobody there makes it"
    assert settled.startswith("ana settled oms_canceled at 2026-03-01 12:01 UTC (seen): Mirakl still shows 1-A-1 to be")
    assert "cancel or refund it in Mirakl's portal, or have the OMS make it again; else a person is asked" in settled
    assert found.happens_next == "the OMS reports that it makes the order again, or a read shows it canceled"


def test_an_order_that_nobody_makes_comes_back_when_half_of_the_time_is_over(rig: Rig) -> None:
    """The margin of shipping_due is for goods that leave late, and these are not even made."""
    rig.imported()
    tell(rig, 128)
    asked = question(rig, DecisionKind.SETTLE, "oms_canceled")
    assert "Mirakl still shows 1-A-1 to be sent, and nobody makes it: cancel or refund it in Mirakl's portal" in asked
    assert "a person is asked again at 2026-03-" in asked
    assert ", when half of the time is over (shipping_due, before 2026-" in asked
    assert "from then on" not in asked
    decide(rig, DecisionKind.SETTLE, "oms_canceled")
    assert asked.partition("else ")[2].partition(";")[0] in explained(rig).waits_for
    rig.pass_time(days=1)
    assert rig.attention() == []
    rig.pass_time(hours=13)
    assert rig.attention() == ["shipping_due"]
    (again,) = explained(rig).attention
    assert again.cause.endswith("; the OMS canceled all of it, so nobody there makes it")


def test_an_order_that_the_oms_makes_again_has_the_margin_of_the_setting(rig: Rig) -> None:
    rig.imported()
    tell(rig, 128)
    decide(rig, DecisionKind.SETTLE, "oms_canceled")
    tell(rig, 1, id=99)
    rig.pass_time(days=2)
    assert rig.attention() == []
    rig.pass_time(hours=13)
    assert rig.attention() == ["shipping_due"]


def test_why_here_does_not_say_that_the_oms_holds_what_it_canceled(rig: Rig) -> None:
    rig.imported()
    assert explained(rig).why_here.startswith("the OMS holds it: it took the import")
    tell(rig, 128)
    assert explained(rig).why_here.startswith("the OMS had it (it took the import), and canceled all of it since")


def test_the_question_names_the_canceled_line_that_would_be_reported_shipped_with_the_rest(rig: Rig) -> None:
    rig.imported(lines=2)
    tell(rig, 4, new_cancellations=[{"items": [{"external_ref": "1-A-2", "quantity": 1}]}])
    asked = question(rig, DecisionKind.SETTLE, "oms_canceled")
    assert (
        "Mirakl still shows 1-A-2 to be sent, which the OMS canceled: OR24 reports it shipped with the rest, so cancel "
        "or refund it in Mirakl's portal first"
    ) in asked
    changes.refund(rig.mirakl["alpha"], "1-A", "1-A-2")
    rig.clock.advance(60)
    rig.poll()
    assert "Mirakl still shows" not in question(rig, DecisionKind.SETTLE, "oms_canceled")


@pytest.mark.parametrize(
    ("reason", "says"),
    [
        ("held", "nothing of it is reported to Mirakl until `orders release` (held)"),
        ("oms_canceled", "nothing of it is reported to Mirakl until `orders settle` (oms_canceled)"),
    ],
)
def test_the_question_of_sent_says_what_keeps_mirakl_from_being_told(rig: Rig, reason: str, says: str) -> None:
    rig.imported()
    if reason == "held":
        decide(rig, DecisionKind.HOLD)
    else:
        tell(rig, 128)
    assert says in question(rig, DecisionKind.SENT)
