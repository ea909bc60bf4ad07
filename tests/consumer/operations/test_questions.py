"""The question before a decision says what happens if the person says yes."""

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from adapters.errors import Rejected, Retryable
from consumer.operations.orders import Act, decide, question_of
from statemachine.commands import CommandKind, Policy
from statemachine.events import Trigger
from statemachine.facts import Cancellation, DecisionKind, Dispatch, Facts, Part, Tracking, Withdrawn
from statemachine.plan import plan
from tests.consumer.operations.desk import Desk
from tests.statemachine.lives import LINES, answered, at, clock, event, read, sent, snapshot_event

HOLD = Policy("hold")


def act(desk: Desk, kind: DecisionKind, **more: Any) -> Act:
    return Act(kind, "ana", "agreed", desk.clock.now(), **more)


def do(desk: Desk, kind: DecisionKind) -> None:
    decide(desk.store, desk.orders, desk.row, act(desk, kind), shops=["alpha"])
    desk.clock.advance(1)


def withdrawn_in_the_oms(desk: Desk) -> None:
    desk.shows("SHIPPING")
    desk.apply(sent(), event(Trigger.OMS_EVENT, "canceled", Facts(parts=(Part(1),), cancellations=(Cancellation(1),))))


def imported(desk: Desk) -> None:
    desk.shows("SHIPPING")
    desk.apply(answered(CommandKind.IMPORT))


def refused_import(desk: Desk) -> None:
    desk.shows("SHIPPING")
    desk.work(Rejected("POST /order", "400", status=400))


def waits_for_messages(d: Desk) -> None:
    """Mirakl says that the customer wrote, and M11 shows nothing."""
    snapshot = read("SHIPPING", has_messages=True)
    d.apply(replace(snapshot_event(snapshot), raw=b'{"order_id": "O-1"}', digest=snapshot.digest))
    d.work()
    d.apply(clock(13 * 3600))


def held(desk: Desk) -> None:
    desk.shows("SHIPPING")
    do(desk, DecisionKind.HOLD)


def held_and_asked(desk: Desk) -> None:
    desk.shows("WAITING_ACCEPTANCE")
    do(desk, DecisionKind.HOLD)


def held_early(desk: Desk) -> None:
    desk.shows("STAGING")
    do(desk, DecisionKind.HOLD)


def refunded(desk: Desk) -> None:
    imported(desk)
    desk.clock.advance(60)
    desk.shows("SHIPPING", lines=tuple(replace(one, state="REFUNDED") for one in LINES))


QUESTIONS: list[tuple[str, Policy, Callable[[Desk], object], DecisionKind, dict[str, Any], str]] = [
    (
        "accept",
        HOLD,
        lambda d: d.shows("WAITING_ACCEPTANCE"),
        DecisionKind.ACCEPT,
        {},
        "which is waiting_acceptance: OR21 accepts every line; this ends needs_decision?",
    ),
    (
        "refuse",
        HOLD,
        lambda d: d.shows("WAITING_ACCEPTANCE"),
        DecisionKind.REFUSE,
        {},
        "which is waiting_acceptance: OR21 refuses every line; this ends needs_decision?",
    ),
    (
        "refuse one line",
        HOLD,
        lambda d: d.shows("WAITING_ACCEPTANCE"),
        DecisionKind.REFUSE,
        {"lines": ["L1"]},
        ": OR21 accepts L2 and refuses L1; this ends needs_decision?",
    ),
    (
        "refuse what the policy accepts",
        Policy(),
        lambda d: d.shows("WAITING_ACCEPTANCE"),
        DecisionKind.REFUSE,
        {},
        ": OR21 refuses every line; not made any more: OR21 accepts every line?",
    ),
    (
        "refuse while the acceptance is under way",
        Policy(),
        lambda d: (d.shows("WAITING_ACCEPTANCE"), d.worker.claim()),
        DecisionKind.REFUSE,
        {},
        ": OR21 refuses every line; under way, and not stopped by this: OR21 accepts every line?",
    ),
    (
        "refuse before Mirakl asks",
        HOLD,
        lambda d: d.shows("STAGING"),
        DecisionKind.REFUSE,
        {},
        ": when Mirakl asks for the answer, OR21 refuses every line?",
    ),
    (
        "accept what the policy accepts",
        Policy(),
        lambda d: d.shows("WAITING_ACCEPTANCE"),
        DecisionKind.ACCEPT,
        {},
        ": as planned, OR21 accepts every line?",
    ),
    (
        "hold",
        Policy(),
        lambda d: d.shows("SHIPPING"),
        DecisionKind.HOLD,
        {},
        ": not made any more: POST /order brings the order to the OMS; "
        "no call of the order is made until `orders release`?",
    ),
    (
        "release",
        Policy(),
        held,
        DecisionKind.RELEASE,
        {},
        "which is shipping: POST /order brings the order to the OMS; this ends held?",
    ),
    (
        "settle",
        Policy(),
        withdrawn_in_the_oms,
        DecisionKind.SETTLE,
        {"only": ["oms_canceled"]},
        ": OR23 gives Mirakl the tracking DPD T1; then OR24 tells Mirakl that the order is shipped; "
        "this ends oms_canceled?",
    ),
    (
        "settle before the goods have left",
        Policy(),
        refunded,
        DecisionKind.SETTLE,
        {"only": ["withdrawn_after_import"]},
        ": stop the order in the OMS first: if its goods leave all the same, a person is asked again; this ends "
        "withdrawn_after_import?",
    ),
    (
        "release of an import that waits for messages",
        Policy(messages_wait=timedelta()),
        waits_for_messages,
        DecisionKind.RELEASE,
        {},
        ": at once: POST /order brings the order to the OMS; if the messages still cannot be read, it goes without "
        "them, and messages_not_found begins; this ends messages_not_read?",
    ),
    (
        "retry of an import that waits for messages",
        Policy(messages_wait=timedelta()),
        waits_for_messages,
        DecisionKind.RETRY,
        {},
        ": at once: M11 reads the messages again, and only if they can be read, POST /order brings the order to the "
        "OMS?",
    ),
    (
        "accept what is held",
        HOLD,
        held_and_asked,
        DecisionKind.ACCEPT,
        {},
        ": the answer waits until `orders release`, because a person holds the order; this ends needs_decision?",
    ),
    (
        "accept an order of which a line is canceled",
        HOLD,
        lambda d: d.shows("WAITING_ACCEPTANCE", lines=(replace(LINES[0], state="CANCELED"), LINES[1])),
        DecisionKind.ACCEPT,
        {},
        ": OR21 accepts every line but L1, which Mirakl shows canceled; this ends needs_decision?",
    ),
    (
        "sent with a number and no carrier",
        Policy(),
        imported,
        DecisionKind.SENT,
        {"tracking": Tracking("", "42")},
        ": OR23 gives Mirakl the tracking 42, and as carrier what the shop's setting other_carrier names (normally "
        "Other); then OR24 tells Mirakl that the order is shipped; all goods count as sent (2 of L1, 1 of L2), and "
        "this cannot be taken back; the order becomes dispatched?",
    ),
    (
        "sent with a carrier and no number",
        Policy(),
        imported,
        DecisionKind.SENT,
        {"tracking": Tracking("DPD", "")},
        ": OR23 gives Mirakl the carrier DPD without a tracking number; then OR24 tells Mirakl that the order is "
        "shipped; all goods count as sent (2 of L1, 1 of L2), and this cannot be taken back; the order becomes "
        "dispatched?",
    ),
    (
        "release of a hold before Mirakl asks",
        HOLD,
        held_early,
        DecisionKind.RELEASE,
        {},
        ": when Mirakl asks for the answer, a person has to accept or refuse the order; this ends held?",
    ),
    (
        "release of what is in part withdrawn",
        Policy(),
        lambda d: d.shows("SHIPPING", lines=(replace(LINES[0], withdrawn=Withdrawn.PART), LINES[1])),
        DecisionKind.RELEASE,
        {},
        f": POST /order brings the order to the OMS; the OMS gets {LINES[0].quantity} of L1 ({LINES[0].sku}), "
        f"{LINES[1].quantity} of L2 ({LINES[1].sku}); if the operator named another number, do not release it: "
        "`orders explain` says what to do; this ends partly_withdrawn?",
    ),
    (
        "sent",
        Policy(),
        imported,
        DecisionKind.SENT,
        {"tracking": Tracking("DHL", "42")},
        "which is imported: OR23 gives Mirakl the tracking DHL 42; then OR24 tells Mirakl that the order is shipped; "
        "all goods count as sent (2 of L1, 1 of L2), and this cannot be taken back; the order becomes dispatched?",
    ),
    (
        "handled",
        Policy(),
        refused_import,
        DecisionKind.HANDLED,
        {},
        "which is shipping: POST /order (import_order) counts as done by hand, and is not made; "
        "the OMS must have it under external_ref A-O-1, or no report on it reaches this order; "
        "the order becomes imported; this ends import_rejected?",
    ),
    (
        "retry of a refused call",
        Policy(),
        refused_import,
        DecisionKind.RETRY,
        {},
        ": first look in the OMS for external_ref A-O-1: if it is there, use `orders handled`; "
        "POST /order brings the order to the OMS; this ends import_rejected?",
    ),
    (
        "retry of a call that waits",
        Policy(),
        lambda d: (d.shows("WAITING_ACCEPTANCE"), d.work(Retryable("OR21", "5xx", status=503))),
        DecisionKind.RETRY,
        {},
        ": at once: OR21 accepts every line?",
    ),
]


@pytest.mark.parametrize(
    ("policy", "happens", "kind", "more", "says"), [pytest.param(*case[1:], id=case[0]) for case in QUESTIONS]
)
def test_a_question_says_what_happens(
    tmp_path: Path,
    policy: Policy,
    happens: Callable[[Desk], object],
    kind: DecisionKind,
    more: dict[str, Any],
    says: str,
) -> None:
    desk = Desk(tmp_path, policy)
    happens(desk)
    found = question_of(desk.store, desk.row, act(desk, kind, **more), policy, prefix="A-")
    assert found.startswith(f"{kind} alpha O-1, which is ")
    assert found.endswith(says)


@pytest.mark.parametrize("policy", [HOLD, Policy()], ids=["a person decides", "as planned"])
def test_a_question_says_that_no_call_is_made_while_the_effects_of_the_shop_are_off(
    tmp_path: Path, policy: Policy
) -> None:
    desk = Desk(tmp_path, policy, effects=False)
    desk.shows("WAITING_ACCEPTANCE")
    found = question_of(desk.store, desk.row, act(desk, DecisionKind.ACCEPT), policy, prefix="")
    assert "OR21 accepts every line (later: the effects of the shop are off)" in found


def test_a_question_names_what_still_holds_the_calls(tmp_path: Path) -> None:
    desk = Desk(tmp_path)
    withdrawn_in_the_oms(desk)
    do(desk, DecisionKind.HOLD)
    found = question_of(desk.store, desk.row, act(desk, DecisionKind.RELEASE), Policy(), prefix="")
    assert found.endswith("calls still wait because of oms_canceled; this ends held?")


def test_goods_of_a_settled_refund_that_leave_are_asked_for_again_as_the_question_says(tmp_path: Path) -> None:
    desk = Desk(tmp_path)
    refunded(desk)
    both = act(desk, DecisionKind.SETTLE, only=["withdrawn_after_import"])
    decide(desk.store, desk.orders, desk.row, both, shops=["alpha"])
    left = Dispatch(1, at(90), Tracking("DPD", "T1"), (), "order", told_at=at(90))
    desk.apply(event(Trigger.OMS_EVENT, "8", Facts(parts=(Part(1),), dispatches=(left,))))
    assert [one.reason for one in desk.row.attention] == ["withdrawn_after_import"]
    assert plan(desk.row.facts, Policy()).due == ()


def test_an_import_whose_messages_fail_is_no_call_of_the_oms(tmp_path: Path) -> None:
    desk = Desk(tmp_path, Policy(messages_wait=timedelta()))
    waits_for_messages(desk)
    assert desk.explain().happens_next == (
        "M11 reads the messages again, and only if they can be read, POST /order brings the order to the OMS, and it "
        "becomes imported"
    )
    desk.clock.advance(60)
    do(desk, DecisionKind.RETRY)
    desk.work()
    tries = [row for row in desk.timeline if "failed" in row.what]
    what = "M11, which import_order needs first, failed, and is tried again: nothing_shown, code NO_MESSAGE"
    assert [row.what for row in tries] == [what, what], "POST /order was never made"
