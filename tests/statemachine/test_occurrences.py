"""What the newest read shows, and the newest read that did not show it, in any order of the reads."""

from dataclasses import replace
from functools import reduce
from itertools import permutations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from adapters.store.facts_json import facts_from_json, facts_to_json
from statemachine.commands import CommandKind, Policy
from statemachine.facts import Decision, DecisionKind, Facts, Line, Snapshot, Tracking, Withdrawn, age_of
from statemachine.joining import join, snapshot_facts
from statemachine.occurrences import PAYMENT, last_without
from statemachine.plan import plan
from statemachine.reads_kept import NotShown
from statemachine.reasons import Reason
from tests.statemachine.lives import answered, at, read, settled

LINES = (
    Line("L1", "", "MUG", 2),
    Line("L1", "INCIDENT_OPEN", "MUG", 2),
    Line("L1", "LOST_IN_SPACE", "MUG", 2),
    Line("L1", "", "MUG", 1, Withdrawn.PRICE),
    Line("L1", "", "MUG", 2, Withdrawn.PART),
    Line("L1", "CANCELED", "MUG", 2),
)


@st.composite
def reads(draw: st.DrawFn) -> Snapshot:
    return read(
        draw(st.sampled_from(("SHIPPING", "WAITING_DEBIT", "SHIPPED", "ON_THE_MOON"))),
        updated=draw(st.integers(0, 5)),
        began=draw(st.integers(0, 9)),
        lines=(draw(st.sampled_from(LINES)), *draw(st.sampled_from(((), (Line("L2"),))))),
        tracking=Tracking("", draw(st.sampled_from(("", "F1", "F2")))),
    )


def known(*reads: Snapshot) -> Facts:
    return reduce(join, map(snapshot_facts, reads), Facts())


@settings(max_examples=300, deadline=None)
@given(st.lists(reads(), min_size=1, max_size=8), st.randoms())
def test_of_each_thing_shown_the_newest_read_that_did_not_show_it_is_known(several, random) -> None:  # type: ignore[no-untyped-def]
    facts = known(*several)
    random.shuffle(several)
    assert known(*several, several[0]) == facts
    assert facts_from_json(facts_to_json(facts)) == facts
    if facts.snapshot is None:
        assert facts.not_shown == ()
        return
    each = [one for read in several if (one := snapshot_facts(read).snapshot)]
    expected = set()
    for what in facts.snapshot.shows or ():
        if without := [one for one in each if what not in (one.shows or ())]:
            expected.add(NotShown(what, *age_of(max(without, key=age_of))[:4]))
    assert set(facts.not_shown) == expected


def test_a_read_of_an_earlier_version_tells_nothing_of_what_it_did_not_show() -> None:
    """So a settle of an earlier version covers what it covered, until a read shows that the reason ended."""
    before = Facts(snapshot=read("WAITING_DEBIT", updated=1, began=1))
    after = join(before, snapshot_facts(read("WAITING_DEBIT", updated=2, began=9)))
    assert after.not_shown == ()
    ended = join(after, snapshot_facts(read("SHIPPING", updated=3, began=10)))
    again = join(ended, snapshot_facts(read("WAITING_DEBIT", updated=4, began=11)))
    without = last_without(again, PAYMENT)
    assert without is not None
    assert without.read_at == at(10)
    for facts, told in ((after, False), (again, True)):
        settle = settled("payment_awaited_again:WAITING_DEBIT", when=5).new_facts
        order = join(join(facts, answered(CommandKind.IMPORT).new_facts), settle)
        assert (Reason.PAYMENT_AWAITED_AGAIN in {one.reason for one in plan(order, Policy()).attention}) is told


#: By Mirakl's clock: right, and far ahead. A date that is ahead counts as the start of its read.
CLOCKS = pytest.mark.parametrize("ahead", [0, 100_000])


def awaited(*several: Snapshot) -> list[Reason]:
    """What is told of an imported order, after a settle of `payment_awaited_again` that was made on the first two."""
    first, then, *later = several
    order = join(known(first, then), answered(CommandKind.IMPORT).new_facts)
    assert [one.reason for one in plan(order, Policy()).attention] == [Reason.PAYMENT_AWAITED_AGAIN]
    settle = settled("payment_awaited_again:WAITING_DEBIT", when=50, on=order).new_facts
    assert plan(join(order, settle), Policy()).attention == ()
    facts = reduce(join, map(snapshot_facts, later), join(order, settle))
    return [one.reason for one in plan(facts, Policy()).attention]


@CLOCKS
def test_a_reason_that_ended_in_a_later_read_is_told_again_also_if_the_settle_was_made_in_between(ahead: int) -> None:
    """The log held both later reads when the person settled, and the order did not know them yet."""
    first, then = read("SHIPPING", updated=ahead, began=1), read("WAITING_DEBIT", updated=ahead + 1, began=2)
    ended, again = read("SHIPPING", updated=ahead + 2, began=3), read("WAITING_DEBIT", updated=ahead + 3, began=4)
    for order in permutations((ended, again)):
        assert awaited(first, then, *order) == [Reason.PAYMENT_AWAITED_AGAIN]


def test_a_stale_read_does_not_ask_again() -> None:
    """A replica of Mirakl's shows an older version of the order, after the settle."""
    first, then = read("SHIPPING", updated=1, began=1), read("WAITING_DEBIT", updated=2, began=2)
    assert awaited(first, then, replace(first, read_at=at(90))) == []
    assert awaited(first, then, replace(first, read_at=at(90)), replace(then, read_at=at(100))) == []


def test_a_release_of_a_refusal_that_took_no_effect_does_not_cover_a_later_refusal() -> None:
    def decided(kind: DecisionKind, when: int, *subject: str) -> Facts:
        return Facts(decisions=(Decision(at(when), kind, "ana", "reason", subject),))

    first = decided(DecisionKind.REFUSE, 1), decided(DecisionKind.RELEASE, 2, "refusal_not_applied:L1, L2")
    order = reduce(join, first, known(read("SHIPPING", began=5)))
    assert plan(order, Policy()).attention == ()
    again = join(order, decided(DecisionKind.REFUSE, 3))
    assert [one.reason for one in plan(again, Policy()).attention] == [Reason.REFUSAL_NOT_APPLIED]
