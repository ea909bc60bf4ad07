"""The text of a change of a line, which a settle stores, names the line and its pieces."""

from dataclasses import replace
from functools import reduce

import pytest
from hypothesis import given
from hypothesis import strategies as st

from statemachine.commands import CommandKind
from statemachine.facts import EPOCH, Answer, Decision, DecisionKind, Dispatch, Facts, Handover, Line, Withdrawn
from statemachine.joining import join, snapshot_facts
from statemachine.occurrences import seen_in
from statemachine.questions.settled import (
    Pieces,
    is_added_as_shown,
    is_settled_as_shown,
    named,
    settled_contents,
    settled_pieces,
)
from statemachine.questions.stops import left_though_taken_back
from statemachine.reasons import Reason
from tests.statemachine.lives import at, read

NUMBERS = st.integers(0, 9)
PIECES = st.builds(Pieces, NUMBERS, st.sampled_from(("", "0a1b2c3d")))
LINES = st.sampled_from(("1-A-1", "L1", "a (b)", "7 of 8", "1,A-1", "1, A", "a (1 of 2)", "a\\,b", " (2, now 3)", "\\"))


def settle(seconds: int, *tokens: str) -> Decision:
    return Decision(at(seconds), DecisionKind.SETTLE, "ana", "", tokens)


@given(LINES, PIECES, PIECES)
def test_a_settle_names_what_a_later_read_is_compared_with(line: str, now: Pieces, before: Pieces) -> None:
    if not (now.is_less_than(before) or now.is_more_than(before)):
        return
    token = f"{Reason.LINES_CANCELED_AFTER_IMPORT}:{named(line, now, before)},L9"
    found = settled_pieces(Facts(decisions=(settle(1, token),)), EPOCH)
    expected = Pieces(now.number, now.withdrawn, is_settled=True)
    assert found == {line: [expected], "L9": [Pieces(0, is_settled=True)]}
    assert not now.is_less_than(expected)
    assert not now.is_more_than(expected)


def test_the_newest_settle_counts_and_none_before_the_import() -> None:
    first, second = (f"{Reason.CHANGED_AFTER_IMPORT}:shipping address {digest}, prices {digest}" for digest in "ab")
    facts = Facts(decisions=(settle(1, first), settle(2, second)))
    assert settled_contents(facts, EPOCH) == {"shipping address": "b", "prices": "b"}
    assert settled_contents(facts, at(3)) == {}


@pytest.mark.parametrize("is_kept", [True, False])
def test_a_settle_covers_what_the_person_had_read_and_in_an_earlier_version_what_its_date_says(is_kept: bool) -> None:
    known = snapshot_facts(read("SHIPPING", updated=5, began=6))
    tokens = f"{Reason.LINES_ADDED_AFTER_IMPORT}:{named('L1', Pieces(2), Pieces(1))}"
    one = settle(9_000, tokens)
    facts = Facts(decisions=(replace(one, seen=seen_in(known)) if is_kept else one,))
    for covers in (is_settled_as_shown, is_added_as_shown):
        assert covers(facts, "L1", at(5))
        assert covers(facts, "L1", at(7)) is not is_kept
        assert not covers(facts, "L1", at(9_001))
        assert not covers(facts, "L2", at(5))


@pytest.mark.parametrize("knew", [1, 3])
def test_a_line_that_left_after_mirakl_had_taken_it_back_if_a_clock_ahead_dated_an_earlier_settle(knew: int) -> None:
    line = Line("L1", "", "MUG", 2)
    gone = replace(line, withdrawn=Withdrawn.WHOLE)
    got = Facts(
        handovers=(Handover(at(0), (("L1", 2),), shown_at=at(0)),),
        answers=(Answer(CommandKind.IMPORT, "", 0, at(1), at(1)),),
    )
    reads = [
        snapshot_facts(read("SHIPPING", updated=1, lines=(line,))),
        snapshot_facts(read("SHIPPING", updated=3, lines=(gone,))),
        snapshot_facts(read("SHIPPED", updated=9, lines=(replace(gone, shipped=True),))),
    ]
    known = next(one for one in reads if one.snapshot and one.snapshot.updated_at == at(knew))
    decision = replace(settle(3_600, f"{Reason.LINE_INCIDENT}:L1 INCIDENT_OPEN"), seen=seen_in(known))
    left = Facts(decisions=(decision,), dispatches=(Dispatch(7, at(5), covers="order", told_at=at(5)),))
    facts = reduce(join, [got, *reads, left])
    assert left_though_taken_back(facts, gone) is (knew == 1)
