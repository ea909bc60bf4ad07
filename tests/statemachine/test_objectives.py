"""The objectives `accept` and `ship_confirm`: when an order counts as good, as bad, or not at all."""

from dataclasses import replace
from datetime import datetime, timedelta

import pytest

from statemachine.commands import CommandKind, Policy
from statemachine.facts import EPOCH, Decision, DecisionKind, Facts, Part
from statemachine.joining import join, snapshot_facts
from statemachine.objectives import Kept, Objective
from statemachine.plan import plan
from tests.statemachine.lives import answer, at, clock, read, sent

ACCEPT, SHIP = Objective.ACCEPT, Objective.SHIP_CONFIRM
GOOD, BAD, NEITHER = Kept.GOOD, Kept.BAD, Kept.NEITHER
HOUR, QUARTER = 3600, 900
POLICY = Policy()
WAITING = read("WAITING_ACCEPTANCE")


def together(*facts: Facts) -> Facts:
    found = Facts()
    for one in facts:
        found = join(found, one)
    return found


def found(*facts: Facts, policy: Policy = POLICY) -> dict[Objective, Kept]:
    return dict(plan(together(*facts), policy).results)


def limits(*facts: Facts, policy: Policy = POLICY) -> dict[Objective, datetime]:
    return dict(plan(together(*facts), policy).limits)


def accepted(seconds: float, carries: str = "accept") -> Facts:
    return Facts(answers=(answer(CommandKind.ACCEPT, carries=carries, answered=seconds),))


def confirmed(seconds: float) -> Facts:
    return Facts(answers=(answer(CommandKind.CONFIRM, answered=seconds),))


def passed(seconds: float) -> Facts:
    return clock(seconds).new_facts


# -- accept ------------------------------------------------------------------------------------------------------


def test_an_order_that_waits_has_no_result_and_a_limit() -> None:
    assert found(snapshot_facts(WAITING)) == {}
    assert limits(snapshot_facts(WAITING)) == {ACCEPT: at(HOUR)}


@pytest.mark.parametrize(("seconds", "result"), [(HOUR, GOOD), (HOUR + 1, BAD)])
def test_an_answer_counts_by_when_mirakl_took_it(seconds: int, result: Kept) -> None:
    assert found(snapshot_facts(WAITING), accepted(seconds)) == {ACCEPT: result}
    assert limits(snapshot_facts(WAITING), accepted(seconds)) == {}


@pytest.mark.parametrize(("seconds", "result"), [(HOUR - 1, {}), (HOUR, {ACCEPT: BAD})])
def test_an_order_that_is_stuck_counts_by_the_clock(seconds: int, result: dict[Objective, Kept]) -> None:
    assert found(snapshot_facts(WAITING), passed(seconds)) == result


def test_the_time_begins_at_the_earliest_read_whichever_came_first() -> None:
    late = snapshot_facts(read("WAITING_ACCEPTANCE", updated=5, began=600))
    assert limits(late) == {ACCEPT: at(600 + HOUR)}
    assert limits(late, snapshot_facts(WAITING)) == limits(snapshot_facts(WAITING), late) == {ACCEPT: at(HOUR)}


def test_the_limit_is_never_nearer_to_the_deadline_than_a_quarter_of_its_time() -> None:
    near = snapshot_facts(read("WAITING_ACCEPTANCE", accept_by=at(2000)))
    assert limits(near) == {ACCEPT: at(1500)}
    late = snapshot_facts(read("WAITING_ACCEPTANCE", accept_by=at(2000), began=1900))
    assert found(late, passed(1900)) == {ACCEPT: BAD}, (
        "first seen after its limit: the time was lost by polls that failed"
    )
    without = snapshot_facts(replace(read("WAITING_ACCEPTANCE"), created_at=EPOCH))
    assert limits(without) == {ACCEPT: at(HOUR)}
    odd = snapshot_facts(read("WAITING_ACCEPTANCE", accept_by=at(-50), created=at(0)))
    assert found(odd, passed(0)) == {ACCEPT: BAD}, "a deadline before the creation"


@pytest.mark.parametrize("state", ["WAITING_DEBIT", "SHIPPING", "REFUSED", "CANCELED"])
@pytest.mark.parametrize(("seconds", "result"), [(HOUR, NEITHER), (HOUR + 1, BAD)])
def test_an_order_that_went_on_without_us_counts_only_if_the_limit_had_passed(
    state: str, seconds: int, result: Kept
) -> None:
    """Accepted in the portal or by itself, refused, or canceled."""
    gone = snapshot_facts(read(state, updated=seconds, began=5 * HOUR))
    assert found(snapshot_facts(WAITING), gone)[ACCEPT] == result


def test_mirakl_s_own_time_of_the_decision_counts_if_the_order_was_read_late() -> None:
    gone = snapshot_facts(read("SHIPPING", updated=9 * HOUR, accepted_at=at(60)))
    assert found(snapshot_facts(WAITING), gone)[ACCEPT] == NEITHER


def test_our_refusal_is_neither_good_nor_bad() -> None:
    refuse = Facts(decisions=(Decision(at(9), DecisionKind.REFUSE, "me", "sold out"),))
    assert found(snapshot_facts(WAITING), refuse, accepted(10, "refuse")) == {ACCEPT: NEITHER}
    assert found(snapshot_facts(WAITING), accepted(10, "accept:L1")) == {ACCEPT: GOOD}


def test_an_order_that_was_first_seen_later_in_its_life_does_not_count() -> None:
    assert found(snapshot_facts(read("SHIPPING")), passed(9 * HOUR)) == {}


def test_an_order_that_is_older_than_the_shop_s_beginning_does_not_count() -> None:
    policy = Policy(not_before=at(1))
    assert found(snapshot_facts(WAITING), passed(9 * HOUR), policy=policy) == {}
    assert limits(snapshot_facts(WAITING), policy=policy) == {}


def test_the_targets_are_settings_of_the_shop() -> None:
    policy = Policy(accept_target=timedelta(seconds=7), ship_target=timedelta(seconds=9))
    facts = (snapshot_facts(WAITING), snapshot_facts(read("SHIPPING", updated=1, began=1)), sent(when=5).new_facts)
    assert limits(snapshot_facts(WAITING), policy=policy) == {ACCEPT: at(7)}
    assert limits(*facts, policy=policy) == {SHIP: at(14)}


def test_facts_of_a_version_before_have_no_first_read_and_do_not_count() -> None:
    assert found(replace(snapshot_facts(WAITING), seen=()), passed(9 * HOUR)) == {}


# -- ship_confirm ------------------------------------------------------------------------------------------------

SHIPPING = snapshot_facts(read("SHIPPING"))
GONE = join(Facts(parts=(Part(1),)), sent(when=100).new_facts)


def test_the_time_for_a_shipment_begins_with_the_oms_s_report() -> None:
    assert limits(SHIPPING) == {}
    assert limits(SHIPPING, GONE) == {SHIP: at(100 + QUARTER)}
    late = snapshot_facts(read("SHIPPING", updated=500, began=500))
    waiting = snapshot_facts(read("WAITING_DEBIT"))
    assert limits(waiting, GONE) == {}, "sent before it was paid: Mirakl takes no shipment yet"
    assert limits(late, GONE) == {SHIP: at(500 + QUARTER)}


@pytest.mark.parametrize(("seconds", "result"), [(100 + QUARTER, GOOD), (101 + QUARTER, BAD)])
def test_a_shipment_counts_by_when_mirakl_took_or24(seconds: int, result: Kept) -> None:
    assert found(SHIPPING, GONE, confirmed(seconds)) == {SHIP: result}


def test_a_shipment_that_is_stuck_counts_by_the_clock() -> None:
    assert found(SHIPPING, GONE, passed(99 + QUARTER)) == {}
    assert found(SHIPPING, GONE, passed(100 + QUARTER)) == {SHIP: BAD}


def test_a_correction_of_the_tracking_does_not_begin_the_time_again() -> None:
    correction = sent("T2", when=900).new_facts
    assert limits(SHIPPING, GONE, correction) == {SHIP: at(100 + QUARTER)}


def test_the_time_of_an_order_in_parts_begins_when_the_last_part_is_reported() -> None:
    """The status of one part covers the whole order, unless the shop has may_split, but OR24 waits for each part."""
    parts = Facts(parts=(Part(1, "A", ("L1",)), Part(2, "B", ("L2",))))
    first, second = sent(oms_id=1, when=100).new_facts, sent("T2", oms_id=2, when=30 * HOUR).new_facts
    assert limits(SHIPPING, parts, first) == {}
    assert found(SHIPPING, parts, first, passed(29 * HOUR)) == {}
    assert limits(SHIPPING, parts, first, second) == {SHIP: at(30 * HOUR + QUARTER)}
    assert found(SHIPPING, parts, first, second, confirmed(30 * HOUR + 60)) == {SHIP: GOOD}


@pytest.mark.parametrize(("seconds", "result"), [(100 + QUARTER, NEITHER), (101 + QUARTER, BAD)])
def test_a_shipment_in_the_portal_counts_only_if_the_limit_had_passed(seconds: int, result: Kept) -> None:
    assert found(SHIPPING, GONE, snapshot_facts(read("SHIPPED", updated=seconds, began=seconds))) == {SHIP: result}


def test_goods_for_which_only_a_person_vouches_are_not_the_service_s_time() -> None:
    vouched = sent(oms_id=0, when=100).new_facts
    assert limits(SHIPPING, vouched) == {}
