"""Deadlines: when they are told, when they end, and when the order is woken for them."""

from datetime import datetime, timedelta

import pytest

from statemachine.commands import CommandKind, Policy
from statemachine.events import Event
from statemachine.facts import EPOCH, Facts
from statemachine.plan import Plan, plan
from tests.statemachine.lives import START, answered, clock, read, sent, settled, snapshot_event
from tests.statemachine.test_commands import known

HOUR = 3600
POLICY = Policy(shipping_margin=timedelta(hours=2))


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


def test_a_deadline_that_mirakl_moves_is_told_again_even_if_the_first_was_settled() -> None:
    settled_at_9 = settled("shipping_due:2026-03-01 10:00", when=9 * HOUR)
    assert planned(shipping(), clock(9 * HOUR), settled_at_9) == ([], None)
    moved = shipping(20, updated=1)
    assert planned(shipping(), clock(9 * HOUR), settled_at_9, moved) == ([], START + timedelta(hours=18))
    assert planned(moved, clock(19 * HOUR), settled_at_9)[0] == ["shipping_due:2026-03-01 20:00"]


def test_no_deadline_and_dates_at_the_edges_never_raise() -> None:
    for edge in (EPOCH, datetime.min.replace(tzinfo=EPOCH.tzinfo)):
        assert planned(snapshot_event(read("SHIPPING", ship_by=edge)), clock(HOUR)) == ([], None)
    soon_after = EPOCH + timedelta(seconds=1)
    assert planned(snapshot_event(read("SHIPPING", ship_by=soon_after))) == (["shipping_due:1970-01-01 00:00"], None)
    assert planned(snapshot_event(read("SHIPPING", ship_by=datetime.max.replace(tzinfo=EPOCH.tzinfo))))[0] == []


def test_no_deadline_runs_for_an_order_from_before_the_change_over() -> None:
    changed_over = Policy(not_before=START + timedelta(days=1))
    assert planned(shipping(), clock(9 * HOUR), policy=changed_over) == ([], None)


def test_time_alone_changes_nothing_before_the_first_read() -> None:
    assert plan(Facts(clock=START), POLICY) == plan(Facts(), POLICY)
    assert planned(sent()) == ([], None)
