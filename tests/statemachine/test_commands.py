"""What is due for an order, and what needs a person (docs/rules.md): one test for each case."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import reduce

import pytest

from statemachine import facts as f
from statemachine.attention import ALREADY_THERE
from statemachine.commands import MAX_DISPROVED, Command, CommandKey, CommandKind, Policy
from statemachine.events import Event, Trigger
from statemachine.facts import (
    Attempt,
    Cancellation,
    Decision,
    DecisionKind,
    Dispatch,
    Facts,
    GiveUp,
    Line,
    Part,
    Rejection,
    Tracking,
)
from statemachine.joining import join
from statemachine.plan import awaits_read_after, plan
from statemachine.readings import unsent_parts
from statemachine.reasons import Reason
from statemachine.states import State, state_of
from statemachine.waits import WaitsFor, waits_for
from tests.statemachine.lives import answer, answered, at, event, parcel, read, sent, settled, snapshot_event, spoke

POLICY = Policy()
T1 = Tracking("DPD", "T1")
T1_KEY = "DPD | T1 | "
T2_KEY = "DPD | T2 | "


def known(*events: Event) -> Facts:
    """The facts of these events together."""
    return reduce(join, (one.new_facts for one in events), Facts())


def seen(state: str, **more: object) -> Event:
    """A read that shows this state."""
    return snapshot_event(read(state, **more))  # type: ignore[arg-type]


def said(**fields: object) -> Event:
    """An event that adds these fields of the facts."""
    return event(Trigger.CALL, f"call {fields}", Facts(**fields))  # type: ignore[arg-type]


def decided(kind: DecisionKind, *subject: str, when: float = 0) -> Event:
    return event(Trigger.DECISION, f"{kind}{when}", Facts(decisions=(Decision(at(when), kind, "ana", "why", subject),)))


def rejected(
    kind: str, carries: str = "", *, basis: str = "", round_: int = 0, when: float = 0, code: str = ""
) -> Event:
    return said(rejections=(Rejection(kind, carries, round_, basis, at(when), code, "no"),))


def due(facts: Facts, policy: Policy = POLICY) -> tuple[Command, ...]:
    return plan(facts, policy).due


def kinds(facts: Facts, policy: Policy = POLICY) -> list[CommandKind]:
    return [command.kind for command in due(facts, policy)]


def keys(facts: Facts, policy: Policy = POLICY) -> list[CommandKey]:
    return [command.key for command in due(facts, policy)]


def reasons(facts: Facts, policy: Policy = POLICY) -> list[Reason]:
    return [one.reason for one in plan(facts, policy).attention]


@dataclass(frozen=True)
class Planned:
    """A plan without its details: kinds of commands, reasons for attention."""

    state: State
    due: Sequence[CommandKind] = ()
    attention: Sequence[Reason] = ()


def planned(facts: Facts, policy: Policy = POLICY) -> Planned:
    return Planned(plan(facts, policy).state, tuple(kinds(facts, policy)), tuple(reasons(facts, policy)))


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


def test_a_date_of_the_future_does_not_freeze_the_order() -> None:
    """docs/rules.md 2: such a date counts as the start of its read."""
    facts = known(seen("SHIPPING", updated=10**9), seen("CANCELED", updated=900, began=1000))
    assert state_of(facts) is State.CANCELED


# -- What is owed ------------------------------------------------------------------------------------------------

REFUNDED = Line("L1", "SHIPPING", "MUG", 2, f.Withdrawn.WHOLE)
PARTLY = Line("L1", "SHIPPING", "MUG", 2, f.Withdrawn.PART)


def test_an_order_that_is_refunded_before_the_import_is_not_imported_and_told() -> None:
    facts = known(seen("SHIPPING", lines=(REFUNDED,)))
    assert planned(facts) == Planned(State.SHIPPING, attention=(Reason.NOTHING_TO_IMPORT,))


def test_an_order_that_is_refunded_after_the_import_is_told_and_not_reported_until_it_is_settled() -> None:
    imported = known(seen("SHIPPING", lines=(REFUNDED,)), answered(CommandKind.IMPORT))
    assert Reason.WITHDRAWN_AFTER_IMPORT in reasons(imported)
    dispatched = join(imported, sent().new_facts)
    assert kinds(dispatched) == []
    assert kinds(join(dispatched, settled("withdrawn_after_import:").new_facts)) == [CommandKind.TRACK]


def test_a_part_of_a_line_that_is_withdrawn_waits_for_a_release_and_no_settle_ends_it() -> None:
    facts = known(seen("SHIPPING", lines=(PARTLY,)))
    assert planned(facts) == Planned(State.SHIPPING, attention=(Reason.PARTLY_WITHDRAWN,))
    token = plan(facts, POLICY).attention[0].token
    assert kinds(join(facts, settled(token).new_facts)) == []
    assert kinds(join(facts, decided(DecisionKind.RELEASE, token).new_facts)) == [CommandKind.IMPORT]


def test_a_line_without_quantity_or_in_an_unknown_state_is_not_imported() -> None:
    missing = known(seen("SHIPPING", lines=(Line("L1", "SHIPPING", "MUG", None),)))
    assert planned(missing) == Planned(State.SHIPPING, attention=(Reason.QUANTITY_MISSING,))
    unknown = known(seen("SHIPPING", lines=(Line("L1", "ON_THE_MOON", "MUG", 1),)))
    assert planned(unknown) == Planned(State.SHIPPING, attention=(Reason.UNKNOWN_LINE_STATE,))


@pytest.mark.parametrize("change", [{"can_ship": False}, {"centre": "ELSEWHERE"}])
def test_an_order_that_somebody_else_ships_is_not_imported_until_a_read_changes_it(change: dict[str, object]) -> None:
    foreign = snapshot_event(replace(read("SHIPPING"), digest="foreign", **change))  # type: ignore[arg-type]
    assert planned(known(foreign)) == Planned(State.SHIPPING, attention=(Reason.NOT_OURS_TO_SHIP,))
    assert kinds(known(foreign, sent())) == []
    assert kinds(known(foreign, seen("SHIPPING", updated=1))) == [CommandKind.IMPORT]


def test_a_lowered_quantity_after_the_import_is_told() -> None:
    handed = said(handovers=(f.Handover(at(0), (("L1", 2),)),))
    facts = known(seen("SHIPPING", lines=(Line("L1", "SHIPPING", "MUG", 1),)), spoke(), handed)
    assert reasons(facts) == [Reason.LINES_CANCELED_AFTER_IMPORT]


def test_a_converted_order_does_not_fall_back_from_shipped() -> None:
    """docs/rules.md 3."""
    facts = known(seen("SHIPPED", workflow=f.PAY_ON_DUE_DATE), seen("WAITING_DEBIT", updated=5))
    assert state_of(facts) is State.SHIPPED
    assert kinds(facts) == []


def test_late_tracking_still_goes_out_while_mirakl_shows_none_or_an_older_one_of_ours() -> None:
    """docs/rules.md 23."""
    none_shown = known(seen("SHIPPED"), sent("T1", status=516))
    assert kinds(none_shown) == [CommandKind.TRACK]
    ours_shown = known(seen("SHIPPED", tracking=T1), said(sent=(T1,)), sent("T1"), sent("T2", when=9))
    assert keys(ours_shown) == [CommandKey(CommandKind.TRACK, T2_KEY, 0)]


def test_a_shipped_order_with_a_tracking_to_send_waits_for_the_call_and_else_for_nothing() -> None:
    late = known(seen("SHIPPED"), sent("T1", status=516))
    assert waits_for(late, POLICY, plan(late, POLICY)) == {WaitsFor.CALL}
    done = known(seen("SHIPPED"))
    assert waits_for(done, POLICY, plan(done, POLICY)) == frozenset()


def test_a_foreign_tracking_stays_and_needs_a_person() -> None:
    facts = known(seen("SHIPPING", tracking=Tracking("UPS", "PERSON")), sent())
    assert kinds(facts) == [CommandKind.CONFIRM]
    assert reasons(facts) == [Reason.FOREIGN_TRACKING]


def test_an_older_tracking_of_ours_that_landed_late_is_replaced_again() -> None:
    """docs/rules.md 24: OR23 with T1 times out, T2 is sent and answered, and then T1 arrives."""
    tried = said(sent=(T1, Tracking("DPD", "T2")))
    facts = known(
        seen("SHIPPED"), sent("T1"), sent("T2", when=9), tried, answered(CommandKind.TRACK, carries=T2_KEY, answered=20)
    )
    assert kinds(facts) == []
    landed = join(facts, seen("SHIPPED", updated=1, began=71, tracking=T1).new_facts)
    assert keys(landed) == [CommandKey(CommandKind.TRACK, T2_KEY, 1)]
    shown = join(facts, seen("SHIPPED", updated=1, began=71, tracking=Tracking("DPD UK", "t2 ")).new_facts)
    assert kinds(shown) == []
    assert reasons(shown) == []


def test_the_newest_dispatch_counts_never_the_last_to_arrive() -> None:
    """docs/rules.md 4: a dispatch with a number comes before one without."""
    facts = known(seen("SHIPPING"), sent("T2", when=9), sent("T1", when=5), sent("", when=99))
    assert due(facts)[0].carries == T2_KEY


def test_8_then_64_then_516_is_one_dispatch() -> None:
    facts = known(seen("SHIPPING"), sent(), sent(status=64, when=3), sent(status=516, when=7))
    assert keys(facts) == [CommandKey(CommandKind.TRACK, T1_KEY, 0)]


def test_the_same_number_reported_again_without_its_url_is_no_other_tracking() -> None:
    with_url = replace(T1, url="https://track.example/T1")
    first = said(dispatches=(Dispatch(1, at(0), with_url, (), "order"),))
    facts = known(seen("SHIPPING"), first, sent(status=64, when=9))
    assert keys(facts) == [CommandKey(CommandKind.TRACK, "DPD | T1 | https://track.example/T1", 0)]


@pytest.mark.parametrize(("first", "second"), [("a", "z"), ("z", "a")])
def test_a_corrected_url_under_the_same_number_is_the_tracking(first: str, second: str) -> None:
    trackings = [replace(T1, url=f"https://track.example/{one}") for one in (first, second)]
    reports = [said(dispatches=(Dispatch(1, at(n), one, (), "order"),)) for n, one in enumerate(trackings)]
    facts = known(seen("SHIPPING"), *reports)
    assert keys(facts) == [CommandKey(CommandKind.TRACK, f"DPD | T1 | https://track.example/{second}", 0)]


def test_a_parcel_without_a_date_reported_again_counts_once() -> None:
    reports = [said(dispatches=(Dispatch(1, at(when), T1, (("L1", 1),), dated=False),)) for when in (0, 9)]
    two_ordered = (Line("L1", "SHIPPING", "MUG", 2),)
    assert state_of(known(seen("SHIPPING", lines=two_ordered), spoke(), *reports)) is State.IMPORTED


def test_a_partial_dispatch_stays_imported_with_attention() -> None:
    facts = known(seen("SHIPPING"), parcel("L1", 2))
    assert planned(facts) == Planned(State.IMPORTED, attention=(Reason.PARTLY_SENT,))
    rest = join(facts, parcel("L2", 1, "T2", when=5).new_facts)
    assert planned(rest) == Planned(State.DISPATCHED, due=(CommandKind.TRACK,))
    assert due(rest)[0].carries == T2_KEY


def test_only_open_lines_have_to_be_sent() -> None:
    lines = (Line("L1", "SHIPPING", "MUG", 2), Line("L2", "CANCELED", "TEE", 1))
    assert state_of(known(seen("SHIPPING", lines=lines), parcel("L1", 2))) is State.DISPATCHED


def test_the_same_parcel_reported_twice_counts_once() -> None:
    facts = known(seen("SHIPPING"), parcel("L1", 1), parcel("L1", 1))
    assert state_of(facts) is State.IMPORTED


def test_the_shipment_waits_for_every_part_that_is_known() -> None:
    parts = said(parts=(Part(1, "A", ("L1",)), Part(2, "B", ("L2",))))
    facts = known(seen("SHIPPING"), parts, sent(oms_id=1))
    assert planned(facts) == Planned(State.DISPATCHED, attention=(Reason.PARTLY_SENT,))
    assert unsent_parts(facts) == (2,)
    assert kinds(join(facts, sent("T2", oms_id=2, when=3).new_facts)) == [CommandKind.TRACK]


def test_with_may_split_a_status_covers_its_part_alone() -> None:
    parts = said(parts=(Part(1, "A", ("L1",)), Part(2, "B", ("L2",))))
    facts = known(seen("SHIPPING"), parts, sent(oms_id=1, covers="part"))
    assert state_of(facts) is State.IMPORTED
    assert state_of(join(facts, sent(oms_id=2, covers="part").new_facts)) is State.DISPATCHED


def test_more_sent_than_ordered_needs_a_person() -> None:
    assert Reason.QUANTITY_EXCEEDS_ORDER in reasons(known(seen("SHIPPING"), parcel("L1", 3)))


def test_lines_canceled_after_the_import_need_a_person() -> None:
    imported = answered(CommandKind.IMPORT)
    lines = (Line("L1", "SHIPPING", "MUG", 2), Line("L2", "CANCELED", "TEE", 1))
    assert reasons(known(seen("SHIPPING", lines=lines), imported)) == [Reason.LINES_CANCELED_AFTER_IMPORT]


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
