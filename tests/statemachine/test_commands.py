"""What is due for an order, and what needs a person (docs/rules.md): one test for each case."""

from dataclasses import replace

import pytest

from statemachine import facts as f
from statemachine.attention.attention import ALREADY_THERE
from statemachine.commands import MAX_DISPROVED, CommandKey, CommandKind, Policy
from statemachine.events import Event
from statemachine.facts import Attempt, Cancellation, DecisionKind, Line, Tracking
from statemachine.failures import GiveUp
from statemachine.joining import join
from statemachine.plan import awaits_read_after, plan
from statemachine.questions.readings import answers_of_lines
from statemachine.reasons import Reason
from statemachine.states import State, state_of
from tests.statemachine.lives import answer, answered, at, read, sent, settled, snapshot_event, spoke
from tests.statemachine.planning import (
    POLICY,
    T1,
    T1_KEY,
    Planned,
    decided,
    due,
    keys,
    kinds,
    known,
    planned,
    reasons,
    rejected,
    said,
    seen,
)

# -- Acceptance --------------------------------------------------------------------------------------------------


def test_nothing_is_due_before_the_first_read() -> None:
    assert kinds(known(spoke(), sent())) == []
    assert kinds(known(seen("STAGING"))) == []


def test_acceptance_is_due_while_mirakl_waits() -> None:
    assert kinds(known(seen("WAITING_ACCEPTANCE"))) == [CommandKind.ACCEPT]


def test_a_204_is_not_the_end_and_a_late_read_opens_the_next_round() -> None:
    """docs/rules.md 16. The answer came at 10 s, and its proof is due after 60 s. The grace period only saves calls."""
    answered_at_10 = answered(CommandKind.ACCEPT, carries="accept", answered=10)
    waiting = known(seen("WAITING_ACCEPTANCE"), answered_at_10)
    assert planned(waiting) == Planned(State.ACCEPTED)
    assert awaits_read_after(waiting) == at(60)
    in_grace = join(waiting, seen("WAITING_ACCEPTANCE", began=60).new_facts)
    assert state_of(in_grace) is State.ACCEPTED
    assert kinds(in_grace) == []
    too_late = join(waiting, seen("WAITING_ACCEPTANCE", began=61).new_facts)
    assert state_of(too_late) is State.WAITING_ACCEPTANCE
    assert awaits_read_after(too_late) is None
    assert keys(too_late) == [CommandKey(CommandKind.ACCEPT, "accept", 1)]


def test_answers_that_are_never_applied_end_with_a_person() -> None:
    facts = known(seen("WAITING_ACCEPTANCE", began=1000))
    for round_ in range(MAX_DISPROVED):
        assert kinds(facts) == [CommandKind.ACCEPT]
        facts = join(
            facts, answered(CommandKind.ACCEPT, carries="accept", round_=round_, answered=10 + round_).new_facts
        )
    assert kinds(facts) == []
    assert reasons(facts) == [Reason.NOT_APPLIED]


def test_a_400_needs_a_person_only_after_the_next_read() -> None:
    """docs/rules.md 19: the 400 may only mean that the order has moved on."""
    waiting = seen("WAITING_ACCEPTANCE", began=1)
    content = read("WAITING_ACCEPTANCE").digest
    facts = known(waiting, rejected(CommandKind.ACCEPT, "accept", basis=content, when=5))
    assert kinds(facts) == []
    assert reasons(facts) == []
    assert awaits_read_after(facts) == at(5)
    assert reasons(join(facts, seen("WAITING_ACCEPTANCE", began=6).new_facts)) == [Reason.ACCEPT_REJECTED]
    moved_on = join(facts, seen("WAITING_DEBIT", updated=1, began=6).new_facts)
    assert state_of(moved_on) is State.AWAITING_PAYMENT
    assert reasons(moved_on) == []


def test_a_rejection_counts_only_for_its_basis() -> None:
    """docs/rules.md 22: the order has changed, so the call is made once more, in a new round."""
    waiting = seen("WAITING_ACCEPTANCE")
    facts = known(waiting, rejected(CommandKind.ACCEPT, "accept", basis=due(known(waiting))[0].basis))
    assert keys(join(facts, seen("WAITING_ACCEPTANCE", updated=3).new_facts)) == []
    lines = (Line("L1", "CANCELED", "MUG", 2), Line("L2", "", "TEE", 1))
    changed = join(facts, seen("WAITING_ACCEPTANCE", updated=3, lines=lines).new_facts)
    assert keys(changed) == [CommandKey(CommandKind.ACCEPT, "accept", 1)]


@pytest.mark.parametrize(
    ("policy", "expected", "attention"),
    [
        (Policy("all"), [CommandKind.ACCEPT], []),
        (Policy("hold"), [], [Reason.NEEDS_DECISION]),
        (Policy("known-skus", frozenset({"MUG", "TEE"})), [CommandKind.ACCEPT], []),
        (Policy("known-skus", frozenset({"MUG"})), [], [Reason.NEEDS_DECISION]),
        (Policy(not_before=at(1)), [], []),
    ],
)
def test_the_acceptance_policy(policy: Policy, expected: list[CommandKind], attention: list[Reason]) -> None:
    facts = known(seen("WAITING_ACCEPTANCE"))
    assert kinds(facts, policy) == expected
    assert reasons(facts, policy) == attention


def test_a_person_decides_what_the_policy_leaves_open_and_the_newest_decision_counts() -> None:
    facts = known(
        seen("WAITING_ACCEPTANCE"), decided(DecisionKind.ACCEPT, when=1), decided(DecisionKind.REFUSE, when=2)
    )
    assert keys(facts, Policy("hold")) == [CommandKey(CommandKind.ACCEPT, "refuse", 0)]


@pytest.mark.parametrize("policy", [Policy("hold"), Policy("all")])
@pytest.mark.parametrize(
    "lines",
    [
        (Line("L8", "", "MUG", 2), Line("L9", "", "TEE", 1)),
        (Line("L1", "CANCELED", "MUG", 2), Line("L2", "", "TEE", 1)),
    ],
)
def test_a_yes_to_lines_that_are_gone_refuses_nothing(policy: Policy, lines: tuple[Line, ...]) -> None:
    """Without this, the whole order would be refused by a decision to accept a part of it."""
    facts = known(seen("WAITING_ACCEPTANCE"), decided(DecisionKind.ACCEPT, "L1", when=1))
    assert keys(facts, Policy("hold")) == [CommandKey(CommandKind.ACCEPT, "accept:L1", 0)]
    changed = join(facts, seen("WAITING_ACCEPTANCE", updated=3, lines=lines).new_facts)
    assert kinds(changed, policy) == []
    assert reasons(changed, policy) == [Reason.NEEDS_DECISION]
    again = join(changed, decided(DecisionKind.ACCEPT, lines[1].id, when=4).new_facts)
    assert keys(again, policy) == [CommandKey(CommandKind.ACCEPT, f"accept:{lines[1].id}", 0)]


def test_a_yes_to_one_line_of_two_whose_ids_have_commas_refuses_the_other_alone() -> None:
    """Seen before: the list of accepted lines was read as other ids, and the whole order was refused."""
    lines = (Line("1,A-1"), Line("1,A-2"))
    facts = known(seen("WAITING_ACCEPTANCE", lines=lines), decided(DecisionKind.ACCEPT, "1,A-2", when=1))
    (command,) = due(facts, Policy("hold"))
    assert answers_of_lines(command.carries, lines) == {"1,A-1": False, "1,A-2": True}


def test_acceptance_stays_due_for_an_order_that_the_oms_already_sent() -> None:
    facts = known(seen("WAITING_ACCEPTANCE"), spoke(), sent())
    assert planned(facts) == Planned(
        State.DISPATCHED, due=(CommandKind.ACCEPT,), attention=(Reason.SENT_BEFORE_SHIPPING,)
    )


# -- Import ------------------------------------------------------------------------------------------------------


def test_the_import_is_due_once_the_address_is_there() -> None:
    assert kinds(known(seen("WAITING_DEBIT"))) == []
    held = known(seen("SHIPPING", has_address=False))
    assert planned(held) == Planned(State.SHIPPING, attention=(Reason.ADDRESS_MISSING,))
    assert kinds(join(held, seen("SHIPPING", updated=1).new_facts)) == [CommandKind.IMPORT]


def test_no_open_line_means_no_import() -> None:
    closed = (Line("L1", "REFUSED"), Line("L2", "CANCELED"))
    facts = known(seen("SHIPPING", lines=closed))
    assert kinds(facts) == []
    assert reasons(facts) == [Reason.NOTHING_TO_IMPORT]


def test_a_changed_order_opens_no_second_import_unless_the_first_was_rejected() -> None:
    """A changed order does not open a second import; a rejected one opens the next round with the changed order."""
    first = due(known(seen("SHIPPING")))[0]
    changed = due(known(seen("SHIPPING"), seen("SHIPPING", updated=5)))[0]
    assert first.key == changed.key
    refused = known(seen("SHIPPING"), rejected(CommandKind.IMPORT, basis=first.basis))
    assert kinds(refused) == []
    assert reasons(refused) == [Reason.IMPORT_REJECTED]
    assert keys(join(refused, seen("SHIPPING", updated=5).new_facts)) == [CommandKey(CommandKind.IMPORT, "", 1)]


def test_an_order_that_the_oms_has_without_a_try_of_ours_needs_a_person_who_can_settle_it() -> None:
    """The answer `duplicate` counts as our import only after an earlier try of ours."""
    facts = known(seen("SHIPPING"), rejected(CommandKind.IMPORT, basis=read("SHIPPING").digest, code=ALREADY_THERE))
    assert state_of(facts) is State.SHIPPING
    assert reasons(facts) == [Reason.ALREADY_IN_OMS]
    facts = join(facts, settled("already_in_oms:").new_facts)
    assert planned(facts) == Planned(State.IMPORTED)


def test_canceled_while_an_import_may_be_under_way_needs_a_person() -> None:
    """docs/rules.md 20: the attempt is a fact."""
    attempted = said(attempts=(Attempt(CommandKind.IMPORT, ""),))
    canceled = known(seen("SHIPPING"), attempted, seen("CANCELED", updated=1))
    assert planned(canceled) == Planned(State.CANCELED, attention=(Reason.CANCELED_AFTER_IMPORT,))
    assert reasons(join(canceled, rejected(CommandKind.IMPORT, basis="x").new_facts)) == []
    assert reasons(known(seen("SHIPPING"), seen("CANCELED", updated=1))) == []


def test_canceled_on_both_sides_needs_nobody() -> None:
    facts = known(seen("CANCELED"), spoke(), said(cancellations=(Cancellation(1),)))
    assert reasons(facts) == []
    assert reasons(known(seen("REFUSED"), spoke())) == [Reason.DEAD_IN_MIRAKL]
    assert reasons(known(seen("CANCELED"), spoke(), sent())) == [Reason.CANCELED_AFTER_DISPATCH]


# -- Tracking and shipment ---------------------------------------------------------------------------------------


def test_tracking_goes_before_the_shipment_in_its_own_call() -> None:
    facts = known(seen("SHIPPING"), spoke(), sent())
    assert state_of(facts) is State.DISPATCHED
    assert kinds(facts) == [CommandKind.TRACK]
    assert kinds(join(facts, answered(CommandKind.TRACK, carries=T1_KEY).new_facts)) == [CommandKind.CONFIRM]


def test_an_order_without_tracking_is_shipped_too() -> None:
    assert kinds(known(seen("SHIPPING"), sent(""))) == [CommandKind.CONFIRM]


@pytest.mark.parametrize(
    "end", [rejected(CommandKind.TRACK, T1_KEY), said(given_up=(GiveUp(CommandKind.TRACK, T1_KEY, 0),))]
)
def test_a_refused_tracking_blocks_nothing(end: Event) -> None:
    facts = known(seen("SHIPPING"), sent(), end)
    assert kinds(facts) == [CommandKind.CONFIRM]
    assert reasons(facts)[0] in (Reason.TRACKING_REJECTED, Reason.GAVE_UP)


def test_a_shipment_refused_for_lack_of_tracking_goes_out_once_there_is_one() -> None:
    """docs/rules.md 22: the basis is the tracking at Mirakl. After status 8 there is none; 516 brings one."""
    facts = known(seen("SHIPPING"), sent(""))
    basis = due(facts)[0].basis
    facts = join(facts, rejected(CommandKind.CONFIRM, basis=basis, when=1).new_facts)
    assert kinds(facts) == []
    facts = join(facts, sent("T1", when=5, status=516).new_facts)
    assert kinds(facts) == [CommandKind.TRACK]
    facts = join(facts, known(said(sent=(T1,)), answered(CommandKind.TRACK, carries=T1_KEY, answered=6)))
    assert keys(facts) == [CommandKey(CommandKind.CONFIRM, "", 1)]


def test_the_tracking_of_a_dispatch_before_payment_is_due_once_shipping_is_seen() -> None:
    facts = known(seen("WAITING_DEBIT"), spoke(), sent())
    assert planned(facts) == Planned(State.DISPATCHED, attention=(Reason.SENT_BEFORE_SHIPPING,))
    assert kinds(join(facts, seen("SHIPPING", updated=1).new_facts)) == [CommandKind.TRACK]


def test_the_debit_after_shipping_is_no_step_back() -> None:
    debit = known(seen("WAITING_DEBIT_PAYMENT", workflow=f.PAY_ON_SHIPMENT), sent(), answered(CommandKind.CONFIRM))
    assert state_of(debit) is State.DISPATCHED
    assert kinds(debit) == [CommandKind.TRACK]
    shipped = (Line("L1", "SHIPPED", "MUG", 2, shipped=True),)
    for workflow in (f.PAY_ON_DELIVERY, f.PAY_ON_DUE_DATE):
        assert state_of(known(seen("WAITING_DEBIT", workflow=workflow, lines=shipped))) is State.SHIPPED


@pytest.mark.parametrize("workflow", [f.PAY_ON_DELIVERY, f.PAY_ON_DUE_DATE, f.PAY_ON_SHIPMENT])
def test_a_debit_without_a_shipped_date_is_no_shipment_and_the_order_is_imported_later(workflow: str) -> None:
    """docs/rules.md 3: Mirakl may debit right after the acceptance, in any workflow."""
    debit = known(seen("WAITING_DEBIT", workflow=workflow))
    assert state_of(debit) is State.AWAITING_PAYMENT
    shipping = join(debit, seen("SHIPPING", workflow=workflow, updated=1).new_facts)
    assert planned(shipping) == Planned(State.SHIPPING, due=(CommandKind.IMPORT,))


def test_an_order_that_was_shipped_and_is_in_shipping_again_is_imported_only_when_a_person_releases_it() -> None:
    facts = known(seen("SHIPPED"), seen("SHIPPING", updated=1))
    assert planned(facts) == Planned(State.SHIPPING, attention=(Reason.SHIPPED_BEFORE,))
    token = plan(facts, POLICY).attention[0].token
    assert kinds(join(facts, decided(DecisionKind.RELEASE, token).new_facts)) == [CommandKind.IMPORT]


def test_one_parcel_shipped_and_debited_then_shipping_again_holds_nothing() -> None:
    one_left = (Line("L1", "SHIPPED", "MUG", 2, shipped=True), Line("L2", "SHIPPING", "TEE", 1))
    debit = known(seen("WAITING_DEBIT", workflow=f.PAY_ON_SHIPMENT, lines=one_left))
    assert state_of(debit) is State.DISPATCHED
    back = join(debit, seen("SHIPPING", workflow=f.PAY_ON_SHIPMENT, lines=one_left, updated=1).new_facts)
    assert planned(back) == Planned(State.SHIPPING, due=(CommandKind.IMPORT,))


@pytest.mark.parametrize("ahead", [240, 10**9])
def test_a_date_of_the_future_does_not_freeze_the_order(ahead: int) -> None:
    """docs/rules.md 2: such a date counts as the start of its read."""
    facts = known(seen("SHIPPING", updated=ahead, began=0), seen("CANCELED", updated=60, began=90))
    assert state_of(facts) is State.CANCELED


# -- Holds, people and the unknown -------------------------------------------------------------------------------


@pytest.mark.parametrize("state", ["WAITING_ACCEPTANCE", "SHIPPING"])
def test_an_oms_cancel_never_cancels_but_holds_every_command_until_settled(state: str) -> None:
    facts = known(seen(state), said(cancellations=(Cancellation(1),)))
    assert kinds(facts) == []
    assert reasons(facts) == [Reason.OMS_CANCELED]
    assert state_of(facts) is not State.CANCELED
    assert kinds(join(facts, settled("oms_canceled:1").new_facts))
    again = join(facts, known(settled("oms_canceled:1"), said(cancellations=(Cancellation(1, (("L1", 1),)),))))
    assert reasons(again) == [Reason.OMS_CANCELED], "a new cancellation needs a person again"


def test_a_hold_stops_every_call_until_it_is_released() -> None:
    facts = known(seen("SHIPPING"), decided(DecisionKind.HOLD, when=1))
    assert kinds(facts) == []
    assert reasons(facts) == [Reason.HELD]
    for other in (decided(DecisionKind.SETTLE, "held:", when=2), decided(DecisionKind.ACCEPT, when=2)):
        assert reasons(join(facts, other.new_facts)) == [Reason.HELD]
    released = join(facts, decided(DecisionKind.RELEASE, "held:", when=2).new_facts)
    assert kinds(released) == [CommandKind.IMPORT]
    assert reasons(join(released, decided(DecisionKind.HOLD, when=3).new_facts)) == [Reason.HELD]


def test_a_retry_by_hand_opens_the_next_round_under_a_new_key() -> None:
    facts = known(seen("SHIPPING"), rejected(CommandKind.IMPORT, basis=read("SHIPPING").digest))
    assert kinds(facts) == []
    again = join(facts, decided(DecisionKind.RETRY, str(CommandKey(CommandKind.IMPORT, "", 1)), when=9).new_facts)
    assert keys(again) == [CommandKey(CommandKind.IMPORT, "", 1)]
    assert kinds(join(again, rejected(CommandKind.IMPORT, basis=read("SHIPPING").digest, round_=1).new_facts)) == []


def test_an_order_without_lines_cannot_be_accepted_and_needs_a_person() -> None:
    facts = known(seen("WAITING_ACCEPTANCE", lines=()))
    assert kinds(facts) == []
    assert reasons(facts) == [Reason.NOTHING_TO_ACCEPT]


def test_an_order_without_a_date_is_not_taken_for_an_old_one() -> None:
    undated = known(snapshot_event(replace(read("WAITING_ACCEPTANCE"), created_at=f.EPOCH)))
    assert kinds(undated, Policy(not_before=at(1))) == [CommandKind.ACCEPT]


def test_of_reads_of_one_instant_the_one_with_the_address_wins() -> None:
    """docs/rules.md 2: also if the read without an address began later."""
    with_address, without = seen("SHIPPING", began=1), seen("SHIPPING", began=2, has_address=False)
    assert kinds(known(with_address, without)) == kinds(known(without, with_address)) == [CommandKind.IMPORT]


def test_a_carrier_that_mirakl_shows_without_a_number_is_no_foreign_tracking() -> None:
    facts = known(seen("SHIPPING", tracking=Tracking("Operator's own")), sent())
    assert kinds(facts) == [CommandKind.TRACK]
    assert reasons(facts) == []


def test_a_read_of_an_unknown_state_ends_the_wait_for_a_read() -> None:
    odd = replace(read("SHIPPING", updated=9, began=99), state="ON_HOLD", rank=-1, digest="odd")
    assert (
        awaits_read_after(known(seen("WAITING_ACCEPTANCE"), answered(CommandKind.ACCEPT), snapshot_event(odd))) is None
    )


def test_a_late_read_of_an_old_unknown_state_proves_nothing() -> None:
    """A replica lags: the read begins after the grace period, and shows the order as it was before our answer."""
    odd = replace(read("SHIPPING", updated=-9, began=99), state="ON_HOLD", rank=-1, digest="odd")
    facts = known(seen("WAITING_ACCEPTANCE"), answered(CommandKind.ACCEPT), snapshot_event(odd))
    assert planned(facts) == Planned(State.ACCEPTED)
    assert awaits_read_after(facts) == at(50)


def test_an_unknown_state_parks_the_order_and_needs_a_person() -> None:
    odd = snapshot_event(replace(read("SHIPPING", updated=9), state="ON_HOLD", rank=-1, digest="odd"))
    facts = known(seen("WAITING_ACCEPTANCE"), odd)
    assert planned(facts) == Planned(State.WAITING_ACCEPTANCE, attention=(Reason.UNKNOWN_STATE,))
    assert reasons(join(facts, seen("SHIPPING", updated=10).new_facts)) == []
    assert state_of(known(odd)) is State.NEW


def test_reads_of_one_instant_are_told_apart_by_rank() -> None:
    """docs/rules.md 2: accepted automatically within the same second."""
    waiting, shipping = seen("WAITING_ACCEPTANCE"), seen("SHIPPING")
    assert state_of(known(waiting, shipping)) == state_of(known(shipping, waiting)) is State.SHIPPING


def test_an_order_known_from_the_oms_alone_is_new_and_asked_for() -> None:
    """docs/rules.md 5."""
    facts = known(spoke())
    assert state_of(facts) is State.NEW
    assert awaits_read_after(facts) == f.EPOCH


def test_the_proof_of_a_tracking_is_asked_for_after_shipping_too() -> None:
    facts = known(seen("SHIPPED"), sent(), answered(CommandKind.TRACK, carries=T1_KEY, answered=10))
    assert awaits_read_after(facts) == at(60)
    assert awaits_read_after(join(facts, seen("SHIPPED", began=61, tracking=T1).new_facts)) is None
    assert answer(CommandKind.TRACK, answered=10).proof_after == at(60)
