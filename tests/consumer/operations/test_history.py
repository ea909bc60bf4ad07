"""When an attention reason began and ended, and by which read or act."""

from dataclasses import replace
from pathlib import Path

import pytest

from adapters.store import journal as journal_rows
from adapters.store import orders as order_rows
from consumer.operations.history import WITHOUT_EVENT, periods, timeline_with_reasons
from statemachine.commands import CommandKind, Policy
from statemachine.events import Trigger
from statemachine.facts import Decision, DecisionKind, Facts
from statemachine.reason_of_order import StandingAttention
from statemachine.reasons import Reason
from tests.consumer.operations.desk import Desk
from tests.statemachine.lives import START, answered, event, lives, read, snapshot_event


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(tmp_path, Policy(acceptance="hold"))


def decide(desk: Desk, kind: DecisionKind, *subject: str) -> None:
    """Ana decides now."""
    decision = Decision(desk.clock.now(), kind, "ana", "checked", subject)
    desk.apply(event(Trigger.DECISION, f"{kind}{subject}", Facts(decisions=(decision,))))


def test_a_reason_that_ended_names_the_read_with_which_it_began_and_the_act_that_ended_it(desk: Desk) -> None:
    desk.shows("SHIPPING")
    desk.clock.advance(60)
    begun = desk.clock.now()
    decide(desk, DecisionKind.HOLD)
    desk.clock.advance(60)
    ended = desk.clock.now()
    decide(desk, DecisionKind.RELEASE, "held:")
    (one,) = periods(desk.row, desk.journal, desk.policy)
    assert (one.reason, one.since, one.began_with) == ("held", begun, "ana: hold (checked)")
    assert (one.until, one.ended_with) == (ended, "ana: release held (checked)")
    assert [(row.what, row.begins, row.ends) for row in timeline_with_reasons(desk.journal, [one])] == [
        ("Mirakl shows SHIPPING", (), ()),
        ("ana: hold (checked)", ("held",), ()),
        ("ana: release held (checked)", (), ("held",)),
    ]
    assert desk.explain().earlier == (one,)


def test_a_reason_that_a_read_ends_names_the_read(desk: Desk) -> None:
    desk.shows("WAITING_ACCEPTANCE")
    desk.clock.advance(60)
    desk.shows("SHIPPING")
    (one,) = periods(desk.row, desk.journal, desk.policy)
    assert (one.reason, one.began_with) == ("needs_decision", "Mirakl shows WAITING_ACCEPTANCE")
    assert (one.until, one.ended_with) == (desk.clock.now(), "Mirakl shows SHIPPING")


def test_a_read_that_ends_a_reason_has_a_row_of_its_own(desk: Desk) -> None:
    """Equal reads in a row are one row, unless a reason begins or ends with one of them."""
    desk.shows("SHIPPING")
    desk.apply(answered(CommandKind.IMPORT))
    for can_ship in (True, False, True):
        desk.clock.advance(60)
        seconds = (desk.clock.now() - START).total_seconds()
        desk.apply(snapshot_event(replace(read("SHIPPING", began=seconds, updated=seconds), can_ship=can_ship)))
    rows = timeline_with_reasons(desk.journal, periods(desk.row, desk.journal, desk.policy))
    assert [(row.begins, row.ends) for row in rows if row.begins or row.ends] == [
        (("not_ours_to_ship",), ()),
        (("go_on_in_oms",), ("not_ours_to_ship",)),
    ]


def test_a_reason_that_no_event_began_says_so(desk: Desk) -> None:
    """A change of the shop's settings is no event: the order is planned again, and has the reason from then on."""
    desk.shows("WAITING_ACCEPTANCE")
    stored = replace(desk.row.attention[0], since=desk.clock.now().replace(year=2027))
    (one,) = periods(replace(desk.row, attention=(stored,)), desk.journal, desk.policy)
    assert (one.since, one.began_with, one.first) == (stored.since, WITHOUT_EVENT, None)
    assert timeline_with_reasons(desk.journal, [one])[-1].what == WITHOUT_EVENT


def test_an_order_that_cannot_be_planned_has_the_reasons_that_stand(desk: Desk) -> None:
    desk.shows("SHIPPING")
    quarantined = StandingAttention(Reason.QUARANTINED, "ValueError", since=desk.clock.now())
    rows = [replace(row, event=replace(row.event, new_facts=Facts(parts=None))) for row in desk.journal]  # type: ignore[arg-type]
    found = periods(replace(desk.row, attention=(quarantined,)), rows, desk.policy)
    assert [one.reason for one in found] == ["quarantined"]


def test_the_reasons_of_every_life_are_those_that_are_stored(desk: Desk) -> None:
    """What the journal amounts to stands now exactly if the order has it, with the beginning that is stored."""
    for number, life in enumerate(lives()):
        for one in life.events():
            desk.clock.advance(60)
            desk.orders.apply([replace(one, order_id=f"O-{number}", event_id=f"{number}:{one.event_id}")])
        row = order_rows.find(desk.store, f"O-{number}")[0]
        found = periods(row, journal_rows.of_order(desk.store, row.key), desk.policy)
        standing = {(one.reason, one.detail, one.since) for one in found if one.until is None}
        assert standing == {(str(one.reason), one.detail, one.since) for one in row.attention}
        assert all(one.first is not None for one in found)
