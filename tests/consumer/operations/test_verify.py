"""An order is compared with its journal and with what this version decides."""

from dataclasses import replace

from consumer.operations.verify import differences, redecided
from statemachine.commands import CommandKind, Policy
from statemachine.facts import Facts
from statemachine.states import State
from tests.consumer.operations.desk import Desk
from tests.statemachine.lives import answered

NOON = 12 * 3600.0  # the still clock, in the seconds of tests.statemachine.lives


def test_an_order_that_differs_from_its_journal_is_found(desk: Desk) -> None:
    row = desk.shows("SHIPPING")
    assert differences(row, desk.journal) == []
    assert differences(replace(row, facts=Facts()), desk.journal) == [
        "facts: snapshot, pieces, to_send, baseline, seen differ from the journal"
    ]
    assert differences(replace(row, state=State.SHIPPED), desk.journal) == [
        "state: stored shipped, the journal's last is shipping",
        "state: stored shipped, the facts are shipping",
    ]
    assert differences(row, []) == [
        "version: stored 1, the journal holds 0 rows",
        "facts: snapshot, pieces, to_send, baseline, seen differ from the journal",
        "state: stored shipping, the journal's last is new",
        "state: stored shipping, the facts are new",
    ]


def test_an_event_that_came_after_the_order_was_read_is_no_difference(desk: Desk) -> None:
    row = desk.shows("WAITING_ACCEPTANCE")
    desk.apply(
        answered(CommandKind.ACCEPT, carries="accept", answered=NOON), answered(CommandKind.IMPORT, answered=NOON)
    )
    assert differences(row, desk.journal) == []


def test_a_journal_that_another_version_wrote_may_differ_from_what_this_one_decides(desk: Desk) -> None:
    row = desk.shows("WAITING_ACCEPTANCE")
    journal = [replace(entry, after=State.ACCEPTED) for entry in desk.journal]
    assert redecided(row, journal, Policy("hold")) == [
        "version 1: recorded new -> accepted, today new -> waiting_acceptance",
        "attention: needs_decision: is today's, and not stored",
    ]
