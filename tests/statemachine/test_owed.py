"""What is owed of an order, and what of it the OMS sent: the calls that are due, and what needs a person."""

from dataclasses import replace

import pytest

from statemachine import facts as f
from statemachine.commands import CommandKey, CommandKind
from statemachine.facts import (
    DecisionKind,
    Dispatch,
    Line,
    Part,
    Tracking,
)
from statemachine.joining import join
from statemachine.plan import plan
from statemachine.questions.readings import unsent_parts
from statemachine.reasons import Reason
from statemachine.states import State, state_of
from statemachine.waits import WaitsFor, waits_for
from tests.statemachine.lives import answered, at, parcel, read, sent, settled, snapshot_event, spoke
from tests.statemachine.planning import (
    POLICY,
    T1,
    T1_KEY,
    T2_KEY,
    Planned,
    decided,
    due,
    keys,
    kinds,
    known,
    planned,
    reasons,
    said,
    seen,
)

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


@pytest.mark.parametrize("more", [{"lines": (PARTLY,)}, {"has_address": False}, {"lines": (REFUNDED,)}])
def test_an_order_that_somebody_else_ships_asks_for_no_decision_on_its_import(more: dict[str, object]) -> None:
    ours = read("SHIPPING", **more)  # type: ignore[arg-type]
    foreign = snapshot_event(replace(ours, digest="foreign", centre="ELSEWHERE"))
    assert planned(known(foreign)) == Planned(State.SHIPPING, attention=(Reason.NOT_OURS_TO_SHIP,))
    again = planned(known(foreign, seen("SHIPPING", updated=1, **more)))
    assert again.due == ()
    assert Reason.NOT_OURS_TO_SHIP not in again.attention
    assert again.attention


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
