"""The text of a change of a line, which a settle stores, names the line and its pieces."""

from hypothesis import given
from hypothesis import strategies as st

from statemachine.facts import EPOCH, Decision, DecisionKind, Facts
from statemachine.reasons import Reason
from statemachine.settled import Pieces, named, settled_contents, settled_pieces
from tests.statemachine.lives import at

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
