"""Calls that keep failing: from which failure on the time counts."""

from dataclasses import replace
from datetime import timedelta

from statemachine.commands import CommandKey, CommandKind, Policy
from statemachine.facts import Decision, DecisionKind, Facts
from statemachine.failures import Recovery, Trouble
from statemachine.joining import snapshot_facts
from statemachine.plan import plan
from statemachine.questions.troubles import MESSAGES, troubles_of
from statemachine.reasons import Reason
from tests.statemachine.lives import at, read

KEY = CommandKey(CommandKind.IMPORT, "", 0)
HOUR = Policy().messages_wait.total_seconds()


def shipping(*, fails: tuple[float, ...] = (), works: tuple[float, ...] = (), round_: int = 0, now: float) -> Facts:
    """An order whose messages could not be read, and could be read, at these instants."""
    snapshot = read("SHIPPING", has_messages=True)
    troubles = tuple(Trouble(KEY.kind, "", round_, at(when), MESSAGES, "500") for when in fails)
    recoveries = tuple(Recovery(KEY.kind, "", round_, MESSAGES, at(when)) for when in works)
    return replace(snapshot_facts(snapshot), troubles=troubles, recoveries=recoveries, clock=at(now))


def told(facts: Facts) -> set[Reason]:
    return {one.reason for one in plan(facts, Policy()).attention}


def test_the_import_stays_due_while_its_messages_cannot_be_read() -> None:
    wanted = plan(shipping(fails=(10,), now=2 * HOUR), Policy())
    assert [one.kind for one in wanted.due] == [CommandKind.IMPORT]
    assert {one.reason for one in wanted.attention} == {Reason.RETRYING, Reason.MESSAGES_NOT_READ}


def test_the_time_counts_from_the_first_failure_after_the_newest_success() -> None:
    assert told(shipping(fails=(10, 20, 3000), works=(15, 40), now=HOUR + 30)) == {Reason.RETRYING}
    (one,) = troubles_of(shipping(fails=(10, 20, 3000, 3500), works=(15, 40), now=HOUR), KEY)
    assert one.since == at(3000)


def test_a_success_ends_the_failures_before_it() -> None:
    assert told(shipping(fails=(10,), works=(10,), now=2 * HOUR)) == set()


def test_failures_of_another_round_do_not_count() -> None:
    assert told(shipping(fails=(10,), round_=1, now=2 * HOUR)) == set()


def test_messages_that_the_order_does_not_have_are_no_trouble() -> None:
    facts = shipping(fails=(10,), now=2 * HOUR)
    assert facts.snapshot is not None
    assert told(replace(facts, snapshot=replace(facts.snapshot, has_messages=False))) == set()


def test_the_success_of_one_operation_ends_no_failure_of_another() -> None:
    other = Recovery(KEY.kind, "", 0, "POST /order", at(20))
    facts = replace(shipping(fails=(10,), now=2 * HOUR), recoveries=(other,))
    assert Reason.MESSAGES_NOT_READ in told(facts)


def test_a_release_is_about_the_trouble_that_it_names_whatever_clock_dated_it() -> None:
    def released(since: str) -> Facts:
        decision = Decision(at(9_000), DecisionKind.RELEASE, "ana", "read", (f"messages_not_read:{since}",))
        return replace(shipping(fails=(10, 3000), works=(40,), now=2 * HOUR), decisions=(decision,))

    earlier, later = (f"since {at(seconds):%Y-%m-%d %H:%M:%S}" for seconds in (10, 3000))
    assert Reason.MESSAGES_NOT_READ in told(released(earlier))
    for since in (later, ""):  # earlier versions named no time
        assert Reason.MESSAGES_NOT_READ not in told(released(since))


def test_the_next_instant_is_the_end_of_the_wait_that_counts() -> None:
    facts = shipping(fails=(10, 3000), works=(40,), now=3000)
    assert plan(facts, Policy()).wakes_at == at(3000) + timedelta(seconds=HOUR)
