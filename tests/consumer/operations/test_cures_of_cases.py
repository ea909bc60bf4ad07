"""Causes and cures that depend on the order, and refusals that say how a reason ends."""

from dataclasses import replace
from pathlib import Path

import pytest

from consumer.operations.causes import AttentionReason
from consumer.operations.errors import NotPossible
from consumer.operations.orders import Act, decide, find, new_facts
from statemachine.commands import CommandKind, Policy
from statemachine.events import Trigger
from statemachine.facts import ATTACHMENT, MESSAGES_NOT_FOUND, VOUCHED, DecisionKind, Dispatch, Facts, Handover
from statemachine.failures import Trouble
from statemachine.reasons import Reason
from tests.consumer.operations.desk import Desk
from tests.statemachine.lives import LINES, answered, at, event

NO_QUANTITY = (replace(LINES[0], quantity=None), LINES[1])


def reason_of(desk: Desk, reason: Reason) -> AttentionReason:
    return next(one for one in desk.explain().attention if one.reason == reason)


def imported_with(desk: Desk, note: str, *troubles: Trouble) -> None:
    desk.shows("SHIPPING", has_messages=True)
    handover = Handover(at(1), (("L1", 2), ("L2", 1)), notes=(note,))
    desk.apply(
        event(Trigger.CALL, "fails", Facts(troubles=troubles)),
        event(Trigger.CALL, "handover", Facts(handovers=(handover,))),
        answered(CommandKind.IMPORT),
    )


def test_the_cause_of_an_attachment_names_the_file(desk: Desk) -> None:
    imported_with(desk, ATTACHMENT)
    assert reason_of(desk, Reason.ATTACHMENT).cause == (
        "M11 showed a file with a message of the customer, and an import carries texts only; the OMS has the order as "
        "Mirakl showed it at 2026-03-01 00:00:01 UTC"
    )


def test_the_cause_of_messages_not_found_says_what_mirakl_answered(desk: Desk) -> None:
    imported_with(desk, MESSAGES_NOT_FOUND, Trouble("import_order", "", 0, at(0), "M11", "403"))
    assert reason_of(desk, Reason.MESSAGES_NOT_FOUND).cause == (
        "M11 failed since 2026-03-01 00:00:00 UTC: 403; the OMS has the order as Mirakl showed it at "
        "2026-03-01 00:00:01 UTC"
    )


def test_the_cure_of_one_unknown_sku_names_its_line(tmp_path: Path) -> None:
    desk = Desk(tmp_path, Policy("known-skus", frozenset({"MUG"})))
    desk.shows("WAITING_ACCEPTANCE")
    refuses = "`orderflow orders refuse O-1 --shop alpha --line L2 --reason WHY` refuses what is not in the list"
    assert refuses in reason_of(desk, Reason.NEEDS_DECISION).cure


def test_the_cure_of_an_order_without_a_known_sku_names_no_line(tmp_path: Path) -> None:
    desk = Desk(tmp_path, Policy("known-skus", frozenset({"CUP"})))
    desk.shows("WAITING_ACCEPTANCE")
    assert "--line" not in reason_of(desk, Reason.NEEDS_DECISION).cure


def test_goods_that_a_person_vouched_for_too_early_are_not_asked_of_the_oms(desk: Desk) -> None:
    desk.shows("SHIPPING")
    desk.apply(answered(CommandKind.IMPORT))
    desk.shows("WAITING_DEBIT_PAYMENT", updated=43_300, began=43_300)
    desk.apply(event(Trigger.DECISION, "sent", Facts(dispatches=(Dispatch(VOUCHED, at(43_400), covers="order"),))))
    assert "A person said that the goods have left" in reason_of(desk, Reason.SENT_BEFORE_SHIPPING).cure


def test_a_line_without_a_quantity_holds_no_import_that_was_made(desk: Desk) -> None:
    desk.shows("SHIPPING", lines=NO_QUANTITY)
    assert "an import waits for that" in reason_of(desk, Reason.QUANTITY_MISSING).cure
    desk.apply(answered(CommandKind.IMPORT))
    assert "an import waits" not in reason_of(desk, Reason.QUANTITY_MISSING).cure


def test_an_order_without_a_line_to_send_never_goes_to_the_oms(desk: Desk) -> None:
    desk.shows("SHIPPING", lines=())
    assert desk.explain().happens_next == (
        "a read shows it canceled, or a line to send; without a line to send nothing goes to the OMS"
    )


def test_a_release_that_ends_nothing_says_how_the_reason_ends(desk: Desk) -> None:
    desk.shows("SHIPPING", lines=NO_QUANTITY)
    act = Act(DecisionKind.RELEASE, "ana", "agreed", desk.clock.now())
    with pytest.raises(NotPossible, match="nothing to release: quantity_missing ends in another way"):
        new_facts(desk.store, desk.row, act)


def test_an_answer_after_ours_says_what_was_answered_and_that_it_stays(tmp_path: Path) -> None:
    desk = Desk(tmp_path, Policy("hold"))
    desk.shows("WAITING_ACCEPTANCE")
    refuse = Act(DecisionKind.REFUSE, "ana", "sold out", desk.clock.now(), lines=["L1"])
    decide(desk.store, desk.orders, desk.row, refuse, shops=["alpha"])
    desk.work()
    with pytest.raises(NotPossible) as error:
        new_facts(desk.store, desk.row, Act(DecisionKind.ACCEPT, "ana", "found more", desk.clock.now()))
    assert str(error.value) == (
        "alpha O-1: Mirakl took an answer at 2026-03-01 12:00:00 UTC already (OR21 accepts L2 and refuses L1), and it "
        "cannot be changed. Only if a read that begins after 2026-03-01 12:02:00 UTC still shows the order waiting, it "
        "can be answered once more. What was refused the customer has to order again. What was accepted: to withdraw "
        "it, `orders hold` keeps it from the OMS; then cancel or refund it in Mirakl's portal"
    )


def test_an_id_that_differs_in_case_only_is_named(desk: Desk) -> None:
    desk.shows("SHIPPING")
    with pytest.raises(NotPossible, match="there is no order o-1; there is an order O-1: upper and lower case count"):
        find(desk.store, "o-1")
