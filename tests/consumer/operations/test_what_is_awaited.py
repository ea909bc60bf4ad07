"""Explanations and questions of orders that wait for Mirakl, or about which Mirakl does not show what a person said."""

from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from adapters.errors import Rejected, Retryable
from adapters.store import snapshots as snapshot_rows
from consumer.operations.errors import NotPossible
from consumer.operations.lines import lines_of
from consumer.operations.orders import Act, decide, question_of
from statemachine.commands import CommandKind, Policy
from statemachine.events import Trigger
from statemachine.facts import Cancellation, DecisionKind, Facts, Part, Tracking, Withdrawn
from statemachine.reasons import Reason
from tests.consumer.operations.desk import Desk
from tests.statemachine.lives import LINES, answered, at, clock, event, not_found, read, sent, snapshot_event

HOLD = Policy("hold")
DAY = 86_400.0
NOON = 12 * 3600.0
BY = at(3 * DAY)


def act(desk: Desk, kind: DecisionKind, **more: Any) -> Act:
    return Act(kind, "ana", "agreed", desk.clock.now(), **more)


def ask(desk: Desk, kind: DecisionKind, **more: Any) -> str:
    return question_of(desk.store, desk.row, act(desk, kind, **more), desk.policy, prefix="")


def do(desk: Desk, kind: DecisionKind, **more: Any) -> None:
    decide(desk.store, desk.orders, desk.row, act(desk, kind, **more), shops=["alpha"])
    desk.clock.advance(1)


def reasons(desk: Desk) -> list[Reason]:
    return [Reason(one.reason) for one in desk.row.attention]


# -- The seller's answer -----------------------------------------------------------------------------------------


def test_the_release_of_an_order_that_waits_for_a_decision_does_not_promise_the_import(tmp_path: Path) -> None:
    desk = Desk(tmp_path, HOLD)
    desk.shows("WAITING_ACCEPTANCE", accept_by=BY)
    do(desk, DecisionKind.HOLD)
    found = ask(desk, DecisionKind.RELEASE, only=["held"])
    assert f"Mirakl waits for the answer of a person: accept or refuse it; after {BY:%Y-%m-%d %H:%M} UTC" in found
    assert "goes to the OMS" not in found


@pytest.mark.parametrize("policy", [HOLD, Policy()])
def test_a_hold_says_that_mirakl_refuses_at_the_deadline(tmp_path: Path, policy: Policy) -> None:
    desk = Desk(tmp_path, policy)
    desk.shows("WAITING_ACCEPTANCE", accept_by=BY)
    refuses = f"; after {BY:%Y-%m-%d %H:%M} UTC Mirakl refuses it by itself"
    assert refuses in ask(desk, DecisionKind.HOLD)
    do(desk, DecisionKind.HOLD)
    assert desk.explain().waits_for.endswith(refuses)
    assert ("accept or refuse it" in desk.explain().waits_for) is (policy is HOLD)


# -- What a person did by hand -----------------------------------------------------------------------------------


def failing_tracking(desk: Desk, error: Rejected | Retryable) -> None:
    desk.shows("SHIPPING")
    desk.apply(answered(CommandKind.IMPORT), sent())
    desk.work(error)


def test_a_tracking_that_a_person_entered_and_no_read_shows_is_sent_again_as_the_question_says(tmp_path: Path) -> None:
    desk = Desk(tmp_path)
    failing_tracking(desk, Retryable("OR23", "5xx", status=503))
    assert "the next read of Mirakl has to show it, or it is called again" in ask(
        desk, DecisionKind.HANDLED, call="send_tracking"
    )
    do(desk, DecisionKind.HANDLED, call="send_tracking")
    desk.clock.advance(60)
    desk.shows("SHIPPING")
    said, read_at = "2026-03-01 12:00:00 UTC", "2026-03-01 12:01:01 UTC"
    says = f"ana said at {said} that OR23 was done by hand, and the read of {read_at} does not"
    assert says in desk.explain().waits_for
    desk.work(Retryable("OR23", "5xx", status=503))
    desk.apply(clock(NOON + DAY))
    trouble = next(one for one in desk.explain().attention if one.reason == Reason.RETRYING)
    assert says in trouble.cause


def test_a_refused_tracking_that_a_person_entered_and_no_read_shows_is_asked_of_a_person(tmp_path: Path) -> None:
    desk = Desk(tmp_path)
    failing_tracking(desk, Rejected("OR23", "400", status=400))
    found = ask(desk, DecisionKind.HANDLED, call="send_tracking")
    assert "the next read of Mirakl has to show it, or a person is asked again" in found
    do(desk, DecisionKind.HANDLED, call="send_tracking")
    desk.clock.advance(60)
    desk.shows("SHIPPING")
    refused = next(one for one in desk.explain().attention if one.reason == Reason.TRACKING_REJECTED)
    assert "OR23 was done by hand, and the read of" in refused.cause


def test_nothing_is_said_of_a_tracking_by_hand_that_the_read_shows(tmp_path: Path) -> None:
    desk = Desk(tmp_path)
    failing_tracking(desk, Retryable("OR23", "5xx", status=503))
    do(desk, DecisionKind.HANDLED, call="send_tracking")
    desk.clock.advance(60)
    desk.shows("SHIPPING", tracking=Tracking("DPD", "T1"))
    assert "by hand" not in str(desk.explain())


# -- The customer's money ----------------------------------------------------------------------------------------


def test_an_order_in_the_oms_whose_money_is_awaited_says_so_also_after_the_settle(tmp_path: Path) -> None:
    desk = Desk(tmp_path)
    desk.shows("SHIPPING")
    desk.apply(answered(CommandKind.IMPORT))
    desk.clock.advance(60)
    desk.shows("WAITING_DEBIT_PAYMENT")
    do(desk, DecisionKind.SETTLE, only=["payment_awaited_again"])
    assert desk.explain().waits_for == (
        "the OMS to report that it sent the goods; Mirakl still waits for the customer's money (WAITING_DEBIT_PAYMENT)"
    )
    assert "; Mirakl is notified of the shipment only when it shows SHIPPING" in ask(desk, DecisionKind.SENT)


# -- An order that is gone from Mirakl ---------------------------------------------------------------------------


def test_a_settled_order_that_is_gone_from_mirakl_waits_for_nothing(tmp_path: Path) -> None:
    desk = Desk(tmp_path)
    desk.shows("SHIPPING", ship_by=at(9 * DAY))
    desk.apply(answered(CommandKind.IMPORT), not_found(NOON + DAY), not_found(NOON + 3 * DAY), clock(NOON + 3 * DAY))
    desk.clock.advance(3 * DAY)
    assert "stop the order in the OMS first: if its goods leave all the same, a person is asked again" in ask(
        desk, DecisionKind.SETTLE, only=["gone_from_mirakl"]
    )
    do(desk, DecisionKind.SETTLE, only=["gone_from_mirakl"])
    said = desk.explain()
    assert said.waits_for.startswith("nothing: Mirakl has not shown the order since ")
    assert "; ana settled that: agreed; when the deadline 2026-03-10 00:00 UTC is near, a person" in said.waits_for
    assert said.happens_next.startswith("a read shows it at Mirakl again")
    desk.apply(clock(10 * DAY))
    assert reasons(desk) == [Reason.SHIPPING_DUE]
    assert desk.explain().waits_for.startswith("a person (see attention): Mirakl has not shown the order since ")


# -- A person's word that the goods left -------------------------------------------------------------------------


def test_a_canceled_line_does_not_count_as_sent_when_a_person_vouches_for_the_rest(tmp_path: Path) -> None:
    desk = Desk(tmp_path)
    desk.shows("SHIPPING")
    desk.apply(answered(CommandKind.IMPORT))
    desk.clock.advance(60)
    desk.shows("SHIPPING", lines=(replace(LINES[0], state="CANCELED"), LINES[1]))
    assert "; not to be sent any more, so not counted: L1" in ask(desk, DecisionKind.SENT)
    do(desk, DecisionKind.SENT)
    body = snapshot_rows.find(desk.store, desk.row.key, desk.row.digest)
    assert [one.sent for one in lines_of(desk.row.facts, body)] == ["0", "all"]


def test_a_line_that_is_canceled_after_a_person_vouched_for_it_stays_sent(tmp_path: Path) -> None:
    desk = Desk(tmp_path)
    desk.shows("SHIPPING")
    desk.apply(answered(CommandKind.IMPORT))
    do(desk, DecisionKind.SENT)
    desk.clock.advance(60)
    desk.shows("SHIPPING", lines=(replace(LINES[0], state="CANCELED"), LINES[1]))
    assert [one.sent for one in lines_of(desk.row.facts, None)] == ["all", "all"]


def test_goods_that_left_before_a_held_import_are_not_imported_any_more_and_the_question_says_so(
    tmp_path: Path,
) -> None:
    desk = Desk(tmp_path)
    desk.shows("SHIPPING", lines=(replace(LINES[0], withdrawn=Withdrawn.PART), LINES[1]))
    assert "; the order does not go to the OMS any more" in ask(desk, DecisionKind.SENT)
    desk.clock.advance(timedelta(minutes=1).total_seconds())
    do(desk, DecisionKind.SENT)
    assert CommandKind.IMPORT not in {one.kind for one in desk.commands}


# -- The customer's messages -------------------------------------------------------------------------------------


def test_an_import_that_a_person_may_let_go_without_messages_names_the_person_and_the_wait_that_is_over(
    tmp_path: Path,
) -> None:
    desk = Desk(tmp_path, Policy(messages_wait=timedelta()))
    snapshot = read("SHIPPING", has_messages=True)
    desk.apply(replace(snapshot_event(snapshot), raw=b'{"order_id": "O-1"}', digest=snapshot.digest))
    desk.work()
    desk.apply(clock(NOON + DAY))
    said = desk.explain()
    assert said.waits_for.startswith("a person: the customer wrote, and the messages could not be read for long")
    causes = {one.reason: one.cause for one in said.attention}
    assert "the import waited for the messages until 2026-03-01 12:00:00" in causes["messages_not_read"]
    assert "the import waited for the messages until 2026-03-01 12:00:00" in causes["retrying"]
    do(desk, DecisionKind.RELEASE)
    causes = {one.reason: one.cause for one in desk.explain().attention}
    assert causes["retrying"].endswith("; a person let the import go out without the messages")
    cures = {one.reason: one.cure for one in desk.explain().attention}
    assert cures["retrying"].startswith("A person let the import go out without the messages. The next try reads them")


# -- One cancel of the OMS, and one of Mirakl --------------------------------------------------------------------


def test_a_cancel_that_the_oms_reports_twice_is_awaited_once(tmp_path: Path) -> None:
    desk = Desk(tmp_path)
    desk.shows("SHIPPING")
    desk.apply(answered(CommandKind.IMPORT))
    both = Facts(parts=(Part(1),), cancellations=(Cancellation(1), Cancellation(1, (("L1", 1),))))
    desk.apply(event(Trigger.OMS_EVENT, "canceled", both))
    assert reasons(desk).count(Reason.OMS_CANCELED) == 2
    assert desk.explain().waits_for.count("the OMS canceled the order or a line") == 1


def test_a_canceled_line_is_not_said_to_be_canceled_in_part(tmp_path: Path) -> None:
    desk = Desk(tmp_path)
    desk.shows("SHIPPING")
    desk.apply(answered(CommandKind.IMPORT))
    desk.clock.advance(60)
    desk.shows("SHIPPING", lines=(replace(LINES[0], state="CANCELED", withdrawn=Withdrawn.PART), LINES[1]))
    causes = [one.cause for one in desk.explain().attention]
    assert any("CANCELED" in one for one in causes)
    assert not any("in part" in one for one in causes)


# -- Why an order is where it is ---------------------------------------------------------------------------------


def why(desk: Desk) -> str:
    return desk.explain().why_here.partition(" (")[0]


def test_why_here_names_the_one_thing_that_moved_the_order(tmp_path: Path) -> None:
    desk = Desk(tmp_path)
    desk.shows("SHIPPING")
    desk.work(Rejected("POST /order", "400", status=400))
    do(desk, DecisionKind.HANDLED)
    assert why(desk) == "the OMS holds it: a person says so"
    do(desk, DecisionKind.SENT)
    assert why(desk) == "every open line was sent, as a person vouches"


def test_why_here_of_calls_and_reports(tmp_path: Path) -> None:
    desk = Desk(tmp_path)
    desk.shows("WAITING_ACCEPTANCE")
    desk.work()
    assert why(desk) == "Mirakl took our answer; not yet seen applied"
    desk.clock.advance(300)
    desk.shows("SHIPPING")
    desk.apply(answered(CommandKind.IMPORT))
    assert why(desk) == "the OMS holds it: it took the import"
    desk.apply(sent())
    assert why(desk) == "every open line was sent, as the OMS reports"


def test_why_here_of_an_order_that_a_person_refused(tmp_path: Path) -> None:
    desk = Desk(tmp_path, HOLD)
    desk.shows("WAITING_ACCEPTANCE")
    do(desk, DecisionKind.REFUSE)
    desk.work()
    desk.clock.advance(300)
    desk.shows("REFUSED")
    assert why(desk) == "we refused every line"


# -- A shipped order, and one whose customer wants to cancel -----------------------------------------------------


def test_the_cure_of_a_tracking_that_fails_after_the_shipment_is_the_portal_and_handled(tmp_path: Path) -> None:
    desk = Desk(tmp_path)
    desk.shows("SHIPPED")
    desk.apply(answered(CommandKind.IMPORT), sent())
    desk.work(Retryable("OR23", "5xx", status=503))
    desk.apply(clock(NOON + DAY))
    (one,) = desk.explain().attention
    assert one.cure.startswith("The order is shipped, and Mirakl does not show this tracking")
    assert "`orderflow orders handled O-1 --shop alpha --call send_tracking --reason WHY`" in one.cure


def test_a_refusal_that_comes_too_late_says_what_to_do_instead(tmp_path: Path) -> None:
    desk = Desk(tmp_path)
    desk.shows("SHIPPING")
    with pytest.raises(
        NotPossible, match="`orders hold` keeps it from the OMS; then cancel or refund it in Mirakl's portal"
    ):
        ask(desk, DecisionKind.REFUSE)
    desk.apply(answered(CommandKind.IMPORT))
    with pytest.raises(NotPossible, match="stop it in the OMS, and cancel or refund it in Mirakl's portal"):
        ask(desk, DecisionKind.REFUSE)
    desk.apply(sent())
    with pytest.raises(NotPossible, match="stop the parcel, and refund it in Mirakl's portal"):
        ask(desk, DecisionKind.REFUSE)
