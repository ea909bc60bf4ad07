"""Deadlines: when an order gets their reason, when the reason ends, and when a clock event comes for them."""

from dataclasses import replace
from datetime import datetime, timedelta

import pytest

from statemachine import facts as f
from statemachine.commands import CommandKind, Policy
from statemachine.events import Event
from statemachine.facts import EPOCH, Facts
from statemachine.plan import Plan, plan
from tests.statemachine.lives import LINES, START, answered, clock, read, sent, settled, snapshot_event
from tests.statemachine.planning import known

HOUR = 3600
POLICY = Policy(
    accept_within=timedelta(hours=24),
    accept_margin=timedelta(hours=4),
    payment_within=timedelta(hours=30),
    shipping_margin=timedelta(hours=2),
)


def planned(*events: Event, policy: Policy = POLICY) -> tuple[list[str], datetime | None]:
    """The reasons, and when the plan changes by time alone."""
    found: Plan = plan(known(*events), policy)
    return [one.token for one in found.attention], found.wakes_at


def shipping(hours: float = 10, **more: object) -> Event:
    """A read of an order that has to leave within these hours."""
    return snapshot_event(read("SHIPPING", ship_by=START + timedelta(hours=hours), **more))  # type: ignore[arg-type]


# -- Shipping ----------------------------------------------------------------------------------------------------


def test_an_order_that_is_not_shipped_is_told_before_its_deadline_and_from_then_on() -> None:
    assert planned(shipping()) == ([], START + timedelta(hours=8))
    assert planned(shipping(), clock(8 * HOUR - 1)) == ([], START + timedelta(hours=8))
    assert planned(shipping(), clock(8 * HOUR)) == (["shipping_due:2026-03-01 10:00"], None)
    assert planned(shipping(), clock(100 * HOUR)) == (["shipping_due:2026-03-01 10:00"], None)


def test_it_informs_and_holds_no_call() -> None:
    late = plan(known(shipping(), clock(9 * HOUR)), POLICY)
    assert [command.kind for command in late.due] == [CommandKind.IMPORT]
    assert not late.attention[0].about.holds


@pytest.mark.parametrize(
    "event",
    [
        snapshot_event(read("SHIPPED", updated=1, ship_by=START + timedelta(hours=10))),
        snapshot_event(read("CANCELED", updated=1, ship_by=START + timedelta(hours=10))),
        answered(CommandKind.CONFIRM, answered=HOUR),
    ],
    ids=["shipped", "canceled", "OR24 was answered"],
)
def test_the_deadline_ends_when_nothing_is_to_be_shipped_any_more(event: Event) -> None:
    assert planned(shipping(), event, clock(9 * HOUR)) == ([], None)


def test_it_runs_while_the_goods_left_and_mirakl_still_waits() -> None:
    assert planned(shipping(), sent(), clock(9 * HOUR))[0] == ["shipping_due:2026-03-01 10:00"]


@pytest.mark.parametrize("change", [{"centre": "ELSEWHERE"}, {"can_ship": False}], ids=["centre", "can_shop_ship"])
def test_it_does_not_run_while_somebody_else_ships_the_order(change: dict[str, object]) -> None:
    ours = read("SHIPPING", ship_by=START + timedelta(hours=10))
    foreign = snapshot_event(replace(ours, digest="foreign", **change))  # type: ignore[arg-type]
    for more in ([], [answered(CommandKind.IMPORT)]):
        (reason,), wakes_at = planned(foreign, *more, clock(9 * HOUR))
        assert (reason.partition(":")[0], wakes_at) == ("not_ours_to_ship", None)
    again = shipping(updated=1)
    assert planned(foreign, again, clock(9 * HOUR))[0] == ["shipping_due:2026-03-01 10:00"]


@pytest.mark.parametrize("withdrawn", [f.Withdrawn.WHOLE, f.Withdrawn.PRICE])
def test_it_does_not_run_for_an_order_that_mirakl_took_back_unless_goods_of_it_left(withdrawn: f.Withdrawn) -> None:
    taken_back = shipping(lines=tuple(replace(line, withdrawn=withdrawn) for line in LINES), updated=1)
    stopped = settled("withdrawn_after_import:", when=2)
    assert planned(taken_back, answered(CommandKind.IMPORT), clock(9 * HOUR), stopped) == ([], None)
    left = planned(taken_back, answered(CommandKind.IMPORT), sent(), clock(9 * HOUR))[0]
    assert "shipping_due:2026-03-01 10:00" in left


@pytest.mark.parametrize(
    "lines",
    [(), (replace(LINES[0], withdrawn=f.Withdrawn.WHOLE), LINES[1]), (replace(LINES[0], state="INCIDENT_OPEN"),)],
    ids=["no line", "one line is left", "an incident may be closed"],
)
def test_it_runs_while_something_is_or_may_be_to_be_sent(lines: tuple[f.Line, ...]) -> None:
    found = planned(shipping(lines=lines), clock(9 * HOUR))[0]
    assert "shipping_due:2026-03-01 10:00" in found


def test_a_deadline_that_mirakl_moves_is_told_again_even_if_the_first_was_settled() -> None:
    settled_at_9 = settled("shipping_due:2026-03-01 10:00", when=9 * HOUR)
    assert planned(shipping(), clock(9 * HOUR), settled_at_9) == ([], None)
    moved = shipping(20, updated=1)
    assert planned(shipping(), clock(9 * HOUR), settled_at_9, moved) == ([], START + timedelta(hours=18))
    assert planned(moved, clock(19 * HOUR), settled_at_9)[0] == ["shipping_due:2026-03-01 20:00"]


def test_an_order_without_a_deadline_of_mirakl_is_due_two_weeks_after_its_creation() -> None:
    """Otherwise the order would wait for nothing after a person settled that the OMS canceled it."""
    due = plan(known(snapshot_event(read("SHIPPING")), clock(14 * 24 * HOUR)), POLICY).attention
    assert [one.token for one in due] == ["shipping_due:2026-03-15 00:00"]


@pytest.mark.parametrize("year", [1, 1970, 2036, 9999])
@pytest.mark.parametrize(
    ("state", "days", "reason"),
    [("SHIPPING", 14, "shipping_due:2026-03-15 00:00"), ("WAITING_ACCEPTANCE", 1, "acceptance_due:2026-03-02 00:00")],
)
def test_an_order_without_a_date_that_can_be_is_due_after_our_first_read(
    state: str, days: int, reason: str, year: int
) -> None:
    odd = datetime(year, 1, 1, tzinfo=EPOCH.tzinfo)
    first, later = (snapshot_event(read(state, updated=when, created=odd)) for when in (0, HOUR))
    for events in ((first, later), (later, first)):
        assert planned(*events, clock(days * 24 * HOUR))[0] == [reason]


def test_dates_at_the_edges_never_raise() -> None:
    for edge in (EPOCH, datetime.min.replace(tzinfo=EPOCH.tzinfo)):
        assert planned(snapshot_event(read("SHIPPING", ship_by=edge)), clock(HOUR))[0] == []
    soon_after = EPOCH + timedelta(seconds=1)
    assert planned(snapshot_event(read("SHIPPING", ship_by=soon_after))) == ([], soon_after)
    assert planned(snapshot_event(read("SHIPPING", ship_by=datetime.max.replace(tzinfo=EPOCH.tzinfo))))[0] == []


def test_no_deadline_runs_for_an_order_from_before_the_change_over() -> None:
    changed_over = Policy(not_before=START + timedelta(days=1))
    assert planned(shipping(), clock(9 * HOUR), policy=changed_over) == ([], None)


def test_time_alone_changes_nothing_before_the_first_read() -> None:
    assert plan(Facts(clock=START), POLICY) == plan(Facts(), POLICY)
    assert planned(sent()) == ([], None)


def test_an_order_with_little_time_is_told_when_half_of_it_is_over() -> None:
    """It gets no reason when it is first seen: otherwise every ordinary order would get one."""
    assert planned(shipping(2)) == ([], START + timedelta(hours=1))
    late = snapshot_event(read("SHIPPING", ship_by=START - timedelta(hours=1)))
    assert planned(late) == ([], START - timedelta(hours=1))


# -- Acceptance --------------------------------------------------------------------------------------------------


def test_a_missing_decision_is_told_before_the_deadline_of_the_setting() -> None:
    waiting = snapshot_event(read("WAITING_ACCEPTANCE"))
    assert planned(waiting) == ([], START + timedelta(hours=20))
    assert planned(waiting, clock(20 * HOUR)) == (["acceptance_due:2026-03-02 00:00"], None)


def test_the_deadline_that_the_order_names_wins_over_the_setting() -> None:
    waiting = snapshot_event(read("WAITING_ACCEPTANCE", accept_by=START + timedelta(hours=10)))
    assert planned(waiting) == ([], START + timedelta(hours=6))
    assert planned(waiting, clock(6 * HOUR))[0] == ["acceptance_due:2026-03-01 10:00"]


def test_an_answer_that_mirakl_took_ends_it_and_one_that_was_not_applied_does_not() -> None:
    waiting, yes = read("WAITING_ACCEPTANCE"), answered(CommandKind.ACCEPT, carries="accept", answered=21 * HOUR)
    assert planned(snapshot_event(waiting), clock(22 * HOUR), yes) == ([], None)
    read_later = snapshot_event(read("WAITING_ACCEPTANCE", began=22 * HOUR))
    assert planned(read_later, clock(22 * HOUR), yes)[0] == ["acceptance_due:2026-03-02 00:00"]


# -- Payment -----------------------------------------------------------------------------------------------------


def test_a_payment_that_takes_long_is_told_counted_from_the_decision() -> None:
    automatic = snapshot_event(read("WAITING_DEBIT"))
    assert planned(automatic) == ([], START + timedelta(hours=30))
    assert planned(automatic, clock(30 * HOUR)) == (["payment_late:2026-03-02 06:00"], None)
    decided = snapshot_event(read("WAITING_DEBIT_PAYMENT", updated=10 * HOUR, accepted_at=START + timedelta(hours=10)))
    assert planned(decided) == ([], START + timedelta(hours=40))


@pytest.mark.parametrize("workflow", [f.PAY_ON_DELIVERY, f.PAY_ON_DUE_DATE])
def test_a_debit_after_the_shipment_is_no_payment_that_the_order_waits_for(workflow: str) -> None:
    lines = tuple(replace(line, shipped=True) for line in LINES)
    debit = snapshot_event(read("WAITING_DEBIT", workflow, lines=lines))
    assert planned(debit, clock(1000 * HOUR)) == ([], None)


@pytest.mark.parametrize("state", ["WAITING_DEBIT", "WAITING_DEBIT_PAYMENT"])
@pytest.mark.parametrize("year", [1, 1970, 2036, 9999])
def test_the_payment_of_an_order_without_a_date_that_can_be_is_late_counted_from_our_first_read(
    state: str, year: int
) -> None:
    odd = datetime(year, 1, 1, tzinfo=EPOCH.tzinfo)
    first, later = (snapshot_event(read(state, updated=when, created=odd)) for when in (0, HOUR))
    for events in ((first, later), (later, first)):
        assert planned(*events) == ([], START + timedelta(hours=30))
        assert planned(*events, clock(30 * HOUR))[0] == ["payment_late:2026-03-02 06:00"]


@pytest.mark.parametrize("year", [2036, 9999])
def test_a_decision_in_the_future_does_not_put_the_payment_off(year: int) -> None:
    odd = datetime(year, 1, 1, tzinfo=EPOCH.tzinfo)
    debit = snapshot_event(read("WAITING_DEBIT", accepted_at=odd))
    assert planned(debit, clock(30 * HOUR))[0] == ["payment_late:2026-03-02 06:00"]


def test_it_ends_when_the_customer_has_paid() -> None:
    paid = snapshot_event(read("SHIPPING", updated=1))
    assert planned(snapshot_event(read("WAITING_DEBIT")), clock(31 * HOUR), paid)[0] == []
