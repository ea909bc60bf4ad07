"""The OMS's answer to an import shows lines that we did not send, and texts about lines without a quantity."""

import re

import pytest

from adapters.simulators.mirakl import changes
from consumer.operations.causes import attention_reasons
from consumer.operations.lines import lines_of
from consumer.operations.listing import listed
from consumer.operations.orders import Act, explanation, question_of
from statemachine.commands import Policy
from statemachine.facts import DecisionKind
from statemachine.urgency import Urgency
from tests.consumer.rig import Rig
from tests.consumer.situations.in_oms_hands import answer_with, decide, details, tell


def causes(rig: Rig) -> dict[str, str]:
    return {one.reason: one.cause for one in attention_reasons(rig.row(), rig.journal(), Policy())}


def test_an_answer_with_a_line_that_we_did_not_send_is_told_until_a_person_settles_it(rig: Rig) -> None:
    answer_with(rig, ("1-A-1", 1), ("9-Z-1", 5))
    rig.imported()
    assert details(rig) == {"lines_not_imported": "9-Z-1 (5 of 0)"}
    assert causes(rig)["lines_not_imported"] == "9-Z-1 (not sent by us): none went to the OMS, it has 5"
    decide(rig, DecisionKind.SETTLE)
    assert rig.attention() == []
    tell(rig, 8, shipping_tracking="T1")
    assert rig.state() == "dispatched"


@pytest.mark.parametrize("shown", [[("1-A-1", 3)], [("1-A-1", 2), ("9-Z-1", 1)]])
def test_goods_that_nobody_ordered_are_taken_out_now(rig: Rig, shown: list[tuple[str, int]]) -> None:
    answer_with(rig, *shown)
    rig.imported(quantity=2)
    assert rig.attention() == ["lines_not_imported"]
    assert rig.row().urgency is Urgency.NOW
    (one,) = attention_reasons(rig.row(), rig.journal(), Policy())
    assert one.cure.startswith("The OMS has more than it was sent (`cause`). Have it take out what is too much before ")
    line, pieces = shown[-1]
    over = pieces - 2 if line == "1-A-1" else pieces
    tell(rig, 4, new_cancellations=[{"items": [{"external_ref": line, "quantity": over}]}])
    assert listed(rig.row(), Policy(), ["lines_not_imported"]).urgency is Urgency.BY_DEADLINE, "it took them out"


def test_goods_that_the_oms_lacks_wait_for_the_deadline(rig: Rig) -> None:
    answer_with(rig, ("1-A-1", 1))
    rig.imported(quantity=2)
    assert rig.row().urgency is Urgency.BY_DEADLINE


def test_an_answer_with_a_line_too_many_and_one_too_few_names_both(rig: Rig) -> None:
    answer_with(rig, ("1-A-1", 1), ("9-Z-1", 5))
    rig.imported(lines=2)
    assert details(rig) == {"lines_not_imported": "1-A-2, 9-Z-1 (5 of 0)"}


def test_a_part_that_is_withdrawn_of_a_line_without_a_quantity_is_told_without_the_word_none(rig: Rig) -> None:
    rig.add("1-A", state="SHIPPING", quantity=3)
    changes.refund(rig.mirakl["alpha"], "1-A", "1-A-1", 1)
    changes.set_line(rig.mirakl["alpha"], "1-A", "1-A-1", quantity=None)
    rig.poll()
    assert "partly_withdrawn" in rig.attention()
    assert "Mirakl shows an unknown number of pieces" in causes(rig)["partly_withdrawn"]
    assert "None" not in "".join(causes(rig).values())


def test_explain_says_how_much_of_a_line_was_refunded(rig: Rig) -> None:
    """The person who decides about the line needs the amount (OM 21)."""
    rig.add("1-A", state="SHIPPING", quantity=3)
    changes.refund(rig.mirakl["alpha"], "1-A", "1-A-1", 1)
    rig.poll()
    (reason,) = explanation(rig.store, rig.row(), Policy(), rig.clock.now()).attention
    assert re.search(r"and a refund of [0-9.]+ GBP for 1 piece$", reason.cause)


def test_explain_says_how_much_was_refunded_of_a_line_that_the_oms_has(rig: Rig) -> None:
    rig.imported(quantity=3)
    changes.refund(rig.mirakl["alpha"], "1-A", "1-A-1", 1)
    rig.clock.advance(60)
    rig.poll()
    found = {one.reason: one.cause for one in explanation(rig.store, rig.row(), Policy(), rig.clock.now()).attention}
    assert re.search(
        r"3 went to the OMS, Mirakl shows 3 pieces, and a refund of [0-9.]+ GBP for 1 piece$",
        found["lines_canceled_after_import"],
    )


def test_an_incident_of_an_order_that_the_oms_does_not_have_stops_no_goods(rig: Rig) -> None:
    """`do` is `now` only if something has to be stopped in the OMS (OM 23)."""
    rig.add("1-A", state="SHIPPING")
    changes.set_line(rig.mirakl["alpha"], "1-A", "1-A-1", order_line_state="INCIDENT_OPEN")
    rig.poll()
    assert listed(rig.row(), Policy(), ["line_incident"]).urgency is Urgency.BY_DEADLINE
    rig.add("2-A", state="SHIPPING")
    rig.poll()
    rig.work()
    changes.set_line(rig.mirakl["alpha"], "2-A", "2-A-1", order_line_state="INCIDENT_OPEN")
    rig.clock.advance(60)
    rig.poll()
    assert listed(rig.row("2-A"), Policy(), ["line_incident"]).urgency is Urgency.NOW


def test_an_incident_of_a_line_that_the_oms_never_got_stops_no_goods(rig: Rig) -> None:
    rig.add("1-A", state="SHIPPING", lines=2)
    changes.set_line(rig.mirakl["alpha"], "1-A", "1-A-1", order_line_state="INCIDENT_OPEN")
    rig.poll()
    rig.work()
    assert rig.state() == "imported"
    assert listed(rig.row(), Policy(), ["line_incident"]).urgency is Urgency.BY_DEADLINE
    changes.set_line(rig.mirakl["alpha"], "1-A", "1-A-2", order_line_state="INCIDENT_OPEN")
    rig.clock.advance(60)
    rig.poll()
    assert listed(rig.row(), Policy(), ["line_incident"]).urgency is Urgency.NOW


@pytest.mark.parametrize("kind", [DecisionKind.SENT, DecisionKind.HANDLED])
def test_the_question_says_that_somebody_else_ships_the_order_too(rig: Rig, kind: DecisionKind) -> None:
    rig.add("1-A", state="SHIPPING")
    changes.withhold(rig.mirakl["alpha"], "1-A")
    rig.poll()
    assert rig.attention() == ["not_ours_to_ship"]
    assert listed(rig.row(), Policy()).urgency is Urgency.WAITS
    act = Act(kind, "ana", "seen", rig.clock.now())
    asked = question_of(rig.store, rig.row(), act, rig.policies["alpha"], prefix="")
    assert "Mirakl shows that somebody else ships this order" in asked
    assert "nothing of it is reported to Mirakl" in asked
    decide(rig, kind)
    assert listed(rig.row(), Policy()).urgency is Urgency.NOW


def test_a_part_that_a_person_keyed_in_waits_for_no_decision_until_another_part_is_taken_back(rig: Rig) -> None:
    rig.add("1-A", state="SHIPPING", quantity=3)
    changes.refund(rig.mirakl["alpha"], "1-A", "1-A-1", 1)
    rig.poll()
    assert [one.owed for one in lines_of(rig.row().facts, None)] == ["a person decides"]
    act = Act(DecisionKind.HANDLED, "ana", "seen", rig.clock.now())
    asked = question_of(rig.store, rig.row(), act, rig.policies["alpha"], prefix="")
    assert "the OMS counts as having the pieces that Mirakl shows: 3 of 1-A-1" in asked
    decide(rig, DecisionKind.HANDLED)
    assert [one.owed for one in lines_of(rig.row().facts, None)] == ["yes"]
    changes.refund(rig.mirakl["alpha"], "1-A", "1-A-1", 1)
    rig.clock.advance(60)
    rig.poll()
    assert [one.owed for one in lines_of(rig.row().facts, None)] == ["a person decides"]


def test_goods_that_a_person_said_had_left_are_stopped_now_if_the_oms_may_make_them(rig: Rig) -> None:
    answer_with(rig, ("1-A-1", 1))
    rig.imported(lines=2)
    assert rig.attention() == ["lines_not_imported"]
    assert rig.row().urgency is Urgency.BY_DEADLINE
    decide(rig, DecisionKind.SENT)
    assert rig.attention() == ["lines_not_imported"]
    assert rig.row().urgency is Urgency.NOW
    tell(rig, 8)
    assert listed(rig.row(), Policy(), ["lines_not_imported"]).urgency is Urgency.BY_DEADLINE, "the OMS sent it"
