"""Which decisions are refused, and what the others do, for orders that went through apply and the worker."""

from collections.abc import Collection
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import sqlalchemy as sa

from adapters.errors import Rejected, Retryable
from adapters.store import schema
from adapters.store.orders import OrderRow
from consumer.operations.errors import NotPossible
from consumer.operations.orders import Act, decide
from statemachine.attention.attention import ALREADY_THERE
from statemachine.commands import CommandKind, Policy
from statemachine.events import Event, Trigger
from statemachine.facts import Cancellation, Decision, DecisionKind, Facts, Line, Part, Tracking, Withdrawn
from statemachine.failures import Rejection
from statemachine.occurrences import seen_in
from statemachine.plan import plan
from statemachine.questions.trackings import best_tracking
from tests.consumer.operations.desk import Desk
from tests.statemachine.lives import LINES, answered, event, parcel, sent, spoke


def do(
    desk: Desk,
    kind: DecisionKind,
    why: str = "agreed",
    shops: Collection[str] = ("alpha",),
    only: Collection[str] = (),
    tracking: Tracking = Tracking(),
    call: str = "",
    lines: Collection[str] = (),
) -> OrderRow:
    desk.clock.advance(1)
    act = Act(kind, "ana", why, desk.clock.now(), only, tracking, call, lines)
    return decide(desk.store, desk.orders, desk.row, act, shops=shops)


def canceled() -> Event:
    """The OMS canceled its order 1."""
    return event(Trigger.OMS_EVENT, "canceled", Facts(parts=(Part(1),), cancellations=(Cancellation(1),)))


def reasons(row: OrderRow) -> list[str]:
    return [one.reason for one in row.attention]


class Call(NamedTuple):
    """A command of the order."""

    kind: str
    carries: str
    round: int
    state: str


def calls(desk: Desk) -> list[Call]:
    return [Call(command.kind, command.carries, command.round, command.state) for command in desk.commands]


# -- Not possible ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", DecisionKind)
@pytest.mark.parametrize("state", ["REFUSED", "CANCELED"])
def test_no_decision_is_possible_about_a_final_order(desk: Desk, kind: DecisionKind, state: str) -> None:
    desk.shows(state)
    with pytest.raises(NotPossible, match=r"alpha O-1( is |: nothing to )"):
        do(desk, kind)
    assert desk.row.version == 1


@pytest.mark.parametrize("kind", [DecisionKind.ACCEPT, DecisionKind.REFUSE])
@pytest.mark.parametrize("state", ["WAITING_DEBIT_PAYMENT", "SHIPPING", "SHIPPED"])
def test_an_answer_comes_too_late_after_the_acceptance(desk: Desk, kind: DecisionKind, state: str) -> None:
    desk.shows(state)
    with pytest.raises(NotPossible, match="waits for no decision any more"):
        do(desk, kind)


def test_a_decision_comes_too_late_once_mirakl_has_the_answer(desk: Desk) -> None:
    desk.shows("WAITING_ACCEPTANCE")
    desk.work()
    with pytest.raises(NotPossible, match="Mirakl took an answer at 2026-03-01 12:00:00 UTC already"):
        do(desk, DecisionKind.REFUSE)


def test_settle_without_an_attention_reason_is_not_possible(desk: Desk) -> None:
    desk.shows("WAITING_ACCEPTANCE")
    with pytest.raises(NotPossible, match=r"alpha O-1: nothing to settle$"):
        do(desk, DecisionKind.SETTLE)


def test_what_ends_in_another_way_names_a_command_that_can_be_pasted(desk: Desk) -> None:
    desk.shows("SHIPPING")
    do(desk, DecisionKind.HOLD)
    pasted = r"nothing to settle: held ends in another way.*`orderflow orders release O-1 --shop alpha --only held --re"
    with pytest.raises(NotPossible, match=pasted):
        do(desk, DecisionKind.SETTLE)


def test_no_edge_cannot_be_settled(desk: Desk) -> None:
    desk.shows("WAITING_ACCEPTANCE")
    with desk.store.writing() as connection:
        connection.execute(sa.update(schema.orders).values(attention='[["no_edge", "", "2026-03-01T00:00:00+00:00"]]'))
    with pytest.raises(NotPossible, match="nothing to settle: no_edge ends in another way"):
        do(desk, DecisionKind.SETTLE)


def test_a_held_order_cannot_be_held_again(desk: Desk) -> None:
    desk.shows("SHIPPING")
    do(desk, DecisionKind.HOLD)
    with pytest.raises(NotPossible, match="is held already"):
        do(desk, DecisionKind.HOLD)


def test_retry_without_a_failed_or_waiting_call_is_not_possible(desk: Desk) -> None:
    desk.shows("WAITING_ACCEPTANCE")  # its call is due now
    with pytest.raises(NotPossible, match="nothing to retry"):
        do(desk, DecisionKind.RETRY)


@pytest.mark.parametrize("why", ["", "  "])
def test_a_blank_reason_is_not_possible(desk: Desk, why: str) -> None:
    desk.shows("WAITING_ACCEPTANCE")
    with pytest.raises(NotPossible, match="--reason is blank"):
        do(desk, DecisionKind.ACCEPT, why)


def test_no_decision_is_possible_about_an_order_of_a_shop_that_is_not_configured(desk: Desk) -> None:
    desk.shows("WAITING_ACCEPTANCE")
    with pytest.raises(NotPossible, match="its shop is not in the configuration"):
        do(desk, DecisionKind.ACCEPT, shops=["beta"])


def test_where_several_reasons_stand_a_settle_names_which(desk: Desk) -> None:
    desk.shows("SHIPPING")
    both = desk.apply(parcel("L1", 3), parcel("L2", 2), canceled())
    assert {"quantity_exceeds_order", "oms_canceled"} <= set(reasons(both))
    with pytest.raises(NotPossible, match=r"say which, .*--only oms_canceled.* --only quantity_exceeds_order"):
        do(desk, DecisionKind.SETTLE)
    assert reasons(do(desk, DecisionKind.SETTLE, only=["quantity_exceeds_order"])) == ["oms_canceled"]


def test_a_reason_that_blocks_cannot_be_settled_and_the_error_says_what_to_do(desk: Desk) -> None:
    desk.shows("SHIPPING")
    do(desk, DecisionKind.HOLD)
    with pytest.raises(
        NotPossible, match=r"held cannot be settled.*`orderflow orders release O-1 --shop alpha --only held --reas"
    ):
        do(desk, DecisionKind.SETTLE, only=["held"])


@pytest.mark.parametrize("lines", [(), (replace(LINES[0], state="CANCELED"),)])
def test_an_order_with_nothing_to_import_stays_on_the_list_until_mirakl_ends_it(
    desk: Desk, lines: tuple[Line, ...]
) -> None:
    assert reasons(desk.shows("SHIPPING", lines=lines)) == ["nothing_to_import"]
    with pytest.raises(NotPossible, match="nothing to settle"):
        do(desk, DecisionKind.SETTLE)
    desk.clock.advance(60)
    assert desk.shows("CANCELED", lines=lines).attention == ()


def test_a_settle_that_names_a_reason_which_does_not_stand_names_those_that_do(desk: Desk) -> None:
    desk.shows("SHIPPING")
    do(desk, DecisionKind.HOLD)
    with pytest.raises(NotPossible, match="has no reason gave_up; it has: held"):
        do(desk, DecisionKind.SETTLE, only=["gave_up"])


def test_a_settle_of_what_held_a_call_makes_it_due(desk: Desk) -> None:
    desk.shows("SHIPPING")
    desk.apply(sent(), canceled())
    do(desk, DecisionKind.SETTLE)
    assert [call.kind for call in calls(desk) if call.state == "open"] == ["send_tracking"]


def test_goods_that_nobody_reported_are_sent_by_a_persons_word(desk: Desk) -> None:
    desk.shows("SHIPPING")
    desk.apply(answered(CommandKind.IMPORT))
    assert do(desk, DecisionKind.SENT).state == "dispatched"
    assert [call.kind for call in calls(desk) if call.state == "open"] == ["confirm_shipment"]


def test_a_persons_word_ends_partly_sent_and_keeps_the_tracking_of_the_parcel(desk: Desk) -> None:
    desk.shows("SHIPPING")
    assert reasons(desk.apply(parcel("L1", 2))) == ["partly_sent"]
    assert do(desk, DecisionKind.SENT).attention == ()
    assert best_tracking(desk.row.facts) == Tracking("DPD", "T1")


def test_a_persons_word_takes_away_no_carrier_that_came_without_a_number(desk: Desk) -> None:
    desk.shows("SHIPPING")
    desk.apply(parcel("L1", 2, ""))
    do(desk, DecisionKind.SENT)
    assert best_tracking(desk.row.facts) == Tracking("DPD")


def test_a_persons_word_covers_every_part_of_a_split_order(desk: Desk) -> None:
    desk.shows("SHIPPING")
    parts = Facts(parts=(Part(1, "", ("L1",)), Part(2, "", ("L2",))))
    desk.apply(event(Trigger.OMS_EVENT, "split", parts), sent(covers="part"))
    assert reasons(desk.row) == ["partly_sent"]
    assert do(desk, DecisionKind.SENT).attention == ()
    assert [call.kind for call in calls(desk) if call.state == "open"] == ["send_tracking"]


def test_a_person_adds_the_tracking_without_which_mirakl_takes_no_shipment(desk: Desk) -> None:
    desk.shows("SHIPPING")
    desk.apply(sent(""))
    desk.work(Rejected("OR24", "not_sent", code="TRACKING_MANDATORY"))
    do(desk, DecisionKind.SENT, tracking=Tracking("DPD", "T7"))
    assert [call.kind for call in calls(desk) if call.state == "open"] == ["send_tracking"]


def test_nobody_vouches_for_goods_while_an_import_may_reach_the_oms(desk: Desk) -> None:
    desk.shows("SHIPPING")
    assert desk.worker.claim() is not None
    with pytest.raises(NotPossible, match="an import may have reached the OMS"):
        do(desk, DecisionKind.SENT)


def test_nobody_vouches_for_goods_twice(desk: Desk) -> None:
    desk.shows("SHIPPING")
    do(desk, DecisionKind.SENT)
    with pytest.raises(NotPossible, match="everything is reported sent already"):
        do(desk, DecisionKind.SENT)
    desk.shows("SHIPPED")
    with pytest.raises(NotPossible, match="everything is reported sent already"):
        do(desk, DecisionKind.SENT)


@pytest.mark.parametrize("imported", [False, True])
@pytest.mark.parametrize("withdrawn", [{"state": "CANCELED"}, {"state": "REFUNDED"}, {"withdrawn": Withdrawn.WHOLE}])
def test_nobody_vouches_for_goods_that_nobody_ordered_any_more(
    desk: Desk, imported: bool, withdrawn: dict[str, Any]
) -> None:
    desk.shows("SHIPPING")
    if imported:
        desk.apply(answered(CommandKind.IMPORT))
    desk.clock.advance(60)
    desk.shows("SHIPPING", lines=tuple(replace(line, **withdrawn) for line in LINES))
    with pytest.raises(NotPossible, match="nothing is to be sent any more"):
        do(desk, DecisionKind.SENT, tracking=Tracking("DPD", "T1"))
    assert all(call.kind != "confirm_shipment" for call in calls(desk))


def test_nobody_vouches_for_goods_of_an_order_that_was_not_read(desk: Desk) -> None:
    desk.apply(spoke())
    with pytest.raises(NotPossible, match="was not read in a state in which goods can have left"):
        do(desk, DecisionKind.SENT)


# -- Done by hand ------------------------------------------------------------------------------------------------


def test_an_import_done_by_hand_counts_as_imported_and_its_lines_are_watched(desk: Desk) -> None:
    desk.shows("SHIPPING")
    desk.work(Rejected("POST /order", "400", status=400))
    assert reasons(desk.row) == ["import_rejected"]
    handled = do(desk, DecisionKind.HANDLED)
    assert (handled.state, handled.attention) == ("imported", ())
    assert handled.facts.decisions[0].subject == ("import_order:0:",)
    assert "ana: handled import_order (agreed)" in desk.explain().why_here
    desk.clock.advance(60)
    desk.shows("SHIPPING", lines=(LINES[0], replace(LINES[1], state="CANCELED")))
    assert [(one.reason, one.detail) for one in desk.row.attention] == [("lines_canceled_after_import", "L2")]


def test_an_order_imported_by_hand_and_then_canceled_at_mirakl_is_told(desk: Desk) -> None:
    desk.shows("SHIPPING")
    desk.work(Rejected("POST /order", "400", status=400))
    do(desk, DecisionKind.HANDLED)
    desk.clock.advance(60)
    assert reasons(desk.shows("CANCELED")) == ["canceled_after_import"]


def test_an_order_that_a_person_settled_as_in_the_oms_is_watched_too(desk: Desk) -> None:
    basis = plan(desk.shows("SHIPPING").facts, desk.policy).due[0].basis
    rejection = Rejection(CommandKind.IMPORT, "", 0, basis, desk.clock.now(), ALREADY_THERE)
    desk.apply(event(Trigger.CALL, "no", Facts(rejections=(rejection,))))
    do(desk, DecisionKind.SETTLE)
    desk.clock.advance(60)
    desk.shows("SHIPPING", lines=(LINES[0], replace(LINES[1], state="CANCELED")))
    assert reasons(desk.row) == ["lines_canceled_after_import"]


def test_an_acceptance_done_by_hand_that_no_read_shows_comes_back(desk: Desk) -> None:
    desk.shows("WAITING_ACCEPTANCE")
    desk.work(Rejected("OR21", "400", status=400))
    desk.clock.advance(60)
    assert reasons(desk.shows("WAITING_ACCEPTANCE")) == ["accept_rejected"]
    handled = do(desk, DecisionKind.HANDLED)
    assert (handled.state, handled.attention) == ("accepted", ())
    assert "and shows the acceptance" in desk.explain().waits_for
    desk.clock.advance(60)
    again = desk.shows("WAITING_ACCEPTANCE")
    assert (again.state, reasons(again)) == ("waiting_acceptance", ["accept_rejected"])


def test_a_shipment_done_by_hand_is_not_sent_any_more(desk: Desk) -> None:
    desk.shows("SHIPPING")
    desk.apply(sent(""))
    desk.work(Retryable("OR24", "5xx", status=503))
    do(desk, DecisionKind.HANDLED, call="confirm_shipment")
    assert calls(desk)[-1] == Call("confirm_shipment", "", 0, "obsolete")
    assert desk.worker.claim() is None


def test_a_call_under_way_cannot_be_handled(desk: Desk) -> None:
    desk.shows("SHIPPING")
    assert desk.worker.claim() is not None
    with pytest.raises(NotPossible, match="import_order is under way; wait for its outcome"):
        do(desk, DecisionKind.HANDLED)


def test_what_is_not_due_and_did_not_fail_cannot_be_handled(desk: Desk) -> None:
    desk.shows("WAITING_DEBIT_PAYMENT")
    with pytest.raises(NotPossible, match="nothing to handle"):
        do(desk, DecisionKind.HANDLED)
    with pytest.raises(NotPossible, match="import_order is not due, and did not fail; to handle: none"):
        do(desk, DecisionKind.HANDLED, call="import_order")


def test_where_several_calls_failed_a_person_says_which_was_done(desk: Desk) -> None:
    desk.shows("SHIPPING")
    desk.apply(sent())
    desk.work(Rejected("OR23", "400", status=400))
    desk.work(Rejected("OR24", "400", status=400))
    desk.clock.advance(60)
    assert reasons(desk.shows("SHIPPING")) == ["shipment_rejected", "tracking_rejected"]
    with pytest.raises(NotPossible, match="say which call, --call send_tracking or --call confirm_shipment"):
        do(desk, DecisionKind.HANDLED)
    assert reasons(do(desk, DecisionKind.HANDLED, call="confirm_shipment")) == ["tracking_rejected"]


# -- Decisions ---------------------------------------------------------------------------------------------------


def test_an_acceptance_overrules_the_policy(tmp_path: Path) -> None:
    desk = Desk(tmp_path, Policy("hold"))
    desk.shows("WAITING_ACCEPTANCE")
    assert do(desk, DecisionKind.ACCEPT).attention == ()
    assert calls(desk) == [Call("accept_order", "accept", 0, "open")]
    seen = seen_in(desk.row.facts)
    assert desk.row.facts.decisions == (Decision(desk.clock.now(), DecisionKind.ACCEPT, "ana", "agreed", (), seen),)


def test_a_refusal_replaces_the_acceptance_that_was_due(desk: Desk) -> None:
    desk.shows("WAITING_ACCEPTANCE")
    do(desk, DecisionKind.REFUSE)
    assert calls(desk) == [Call("accept_order", "accept", 0, "obsolete"), Call("accept_order", "refuse", 0, "open")]


def test_lines_are_accepted_and_all_others_refused(desk: Desk) -> None:
    desk.shows("WAITING_ACCEPTANCE")
    do(desk, DecisionKind.ACCEPT, lines=["L2"])
    desk.work()
    assert desk.remotes.accepted == {"L1": False, "L2": True}


def test_lines_are_refused_and_all_others_accepted(desk: Desk) -> None:
    desk.shows("WAITING_ACCEPTANCE")
    do(desk, DecisionKind.REFUSE, lines=["L2"])
    desk.work()
    assert desk.remotes.accepted == {"L1": True, "L2": False}


@pytest.mark.parametrize(("kind", "answer"), [(DecisionKind.ACCEPT, "accept"), (DecisionKind.REFUSE, "refuse")])
def test_all_lines_named_are_the_whole_order(desk: Desk, kind: DecisionKind, answer: str) -> None:
    desk.shows("WAITING_ACCEPTANCE")
    do(desk, kind, lines=["L2", "L1"])
    assert calls(desk)[-1] == Call("accept_order", answer, 0, "open")


def test_a_line_that_the_order_does_not_have_is_named(desk: Desk) -> None:
    desk.shows("WAITING_ACCEPTANCE")
    with pytest.raises(NotPossible, match="has no line L3; it has: L1, L2"):
        do(desk, DecisionKind.REFUSE, lines=["L3", "L1"])


def test_unknown_skus_are_refused_by_policy_and_the_others_accepted(tmp_path: Path) -> None:
    desk = Desk(tmp_path, Policy("known-skus", frozenset({"TEE"}), "refuse"))
    desk.shows("WAITING_ACCEPTANCE")
    assert desk.row.attention == ()
    desk.work()
    assert desk.remotes.accepted == {"L1": False, "L2": True}


def test_an_order_of_unknown_skus_alone_is_refused_by_policy(tmp_path: Path) -> None:
    desk = Desk(tmp_path, Policy("known-skus", frozenset({"CAP"}), "refuse"))
    desk.shows("WAITING_ACCEPTANCE")
    assert calls(desk) == [Call("accept_order", "refuse", 0, "open")]


def test_the_newest_answer_counts(desk: Desk) -> None:
    desk.shows("WAITING_ACCEPTANCE")
    do(desk, DecisionKind.REFUSE)
    do(desk, DecisionKind.ACCEPT)
    assert calls(desk) == [Call("accept_order", "accept", 0, "open"), Call("accept_order", "refuse", 0, "obsolete")]


def test_a_hold_stops_every_call_until_it_is_released_and_can_come_again(desk: Desk) -> None:
    desk.shows("SHIPPING")
    for _ in range(2):
        assert reasons(do(desk, DecisionKind.HOLD)) == ["held"]
        assert calls(desk) == [Call("import_order", "", 0, "obsolete")]
        assert do(desk, DecisionKind.RELEASE).attention == ()
        assert calls(desk) == [Call("import_order", "", 0, "open")]


def test_settle_covers_what_informs_now_and_neither_what_blocks_nor_what_comes_later(desk: Desk) -> None:
    desk.shows("SHIPPING")
    assert reasons(desk.apply(parcel("L1", 3))) == ["partly_sent", "quantity_exceeds_order"]
    settled = do(desk, DecisionKind.SETTLE)
    assert reasons(settled) == ["partly_sent"]
    assert settled.facts.decisions[0].subject == ("quantity_exceeds_order:L1",)
    assert reasons(desk.apply(parcel("L2", 2))) == ["quantity_exceeds_order"]


def test_an_order_that_the_oms_has_already_counts_as_imported_once_settled(desk: Desk) -> None:
    digest = desk.shows("SHIPPING").digest
    rejection = Rejection(CommandKind.IMPORT, "", 0, digest, desk.clock.now(), ALREADY_THERE)
    assert reasons(desk.apply(event(Trigger.CALL, "no", Facts(rejections=(rejection,))))) == ["already_in_oms"]
    assert do(desk, DecisionKind.SETTLE).state == "imported"


def test_decisions_of_the_same_instant_are_all_kept(desk: Desk) -> None:
    desk.shows("SHIPPING")
    now = desk.clock.now()
    for kind in (DecisionKind.HOLD, DecisionKind.RELEASE):
        decide(desk.store, desk.orders, desk.row, Act(kind, "ana", "agreed", now), shops=["alpha"])
    assert desk.row.version == 3


def test_retry_opens_a_refused_call_again(desk: Desk) -> None:
    desk.shows("WAITING_ACCEPTANCE")
    desk.work(Rejected("OR21", "400", status=400))
    assert do(desk, DecisionKind.RETRY).facts.decisions[0].subject == ("accept_order:1:accept",)
    assert calls(desk) == [Call("accept_order", "accept", 0, "rejected"), Call("accept_order", "accept", 1, "open")]


def test_retry_opens_a_given_up_call_again(desk: Desk) -> None:
    desk.shows("WAITING_ACCEPTANCE")
    for _ in range(2):  # the call is retried for 72 hours after its first try
        desk.work(Retryable("OR21", "5xx", status=503))
        desk.clock.advance(72 * 3600)
    assert reasons(desk.row) == ["gave_up"]
    assert do(desk, DecisionKind.RETRY).attention == ()
    assert calls(desk)[-1] == Call("accept_order", "accept", 1, "open")
    desk.work()
    assert desk.row.state == "accepted"


def test_retry_opens_a_call_again_that_mirakl_never_applied(desk: Desk) -> None:
    desk.shows("WAITING_ACCEPTANCE")
    for _ in range(3):
        desk.work()
        desk.clock.advance(121)
        desk.shows("WAITING_ACCEPTANCE")
    assert reasons(desk.row) == ["not_applied"]
    assert do(desk, DecisionKind.RETRY).facts.decisions[0].subject == ("accept_order:3:accept",)
    assert desk.row.attention == ()
    assert calls(desk)[-1] == Call("accept_order", "accept", 3, "open")


def test_retry_ends_the_wait_of_a_call_in_back_off(desk: Desk) -> None:
    desk.shows("WAITING_ACCEPTANCE")
    desk.work(Retryable("OR21", "429", status=429, retry_after_seconds=3600))
    assert desk.worker.claim() is None
    assert do(desk, DecisionKind.RETRY).facts.decisions[0].subject == ()
    assert desk.worker.claim() is not None
