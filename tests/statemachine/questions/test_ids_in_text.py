"""Lists of lines in a text, whatever Mirakl's ids are made of."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from statemachine.attention.ends import is_ended
from statemachine.facts import Decision, DecisionKind, Facts, Seen
from statemachine.questions.ids_in_text import entries, named_in, read, written
from statemachine.questions.settled import Pieces, named, taken_out
from statemachine.reason_of_order import Attention
from statemachine.reasons import Reason
from tests.statemachine.lives import at

IDS = st.text(st.sampled_from("a1 ,(\\)-%"), min_size=1, max_size=8).filter(str.strip)
BETWEEN = st.sampled_from((",", ", "))


@given(st.lists(IDS, min_size=1, unique=True), BETWEEN)
def test_a_list_is_read_as_it_was_written(ids: list[str], between: str) -> None:
    assert list(map(read, entries(between.join(map(written, ids))))) == ids


@given(st.lists(st.tuples(IDS, st.integers(0, 3), st.integers(0, 3)), min_size=1, unique_by=lambda one: one[0]))
def test_a_settle_of_several_lines_takes_out_those_of_which_nothing_is_left(lines: list[tuple[str, int, int]]) -> None:
    detail = ",".join(named(line, Pieces(now), Pieces(before)) for line, now, before in lines)
    settle = Decision(at(1), DecisionKind.SETTLE, "ana", "", (f"{Reason.LINES_CANCELED_AFTER_IMPORT}:{detail}",))
    out = {line for line, _, _ in lines if taken_out(Facts(decisions=(settle,)), line)}
    assert out == {line for line, now, _ in lines if now == 0}


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("1 B-1 INCIDENT_OPEN", {"1 B-1"}),
        ("1 B INCIDENT_OPEN", {"1 B"}),
        ("1 INCIDENT_OPEN, 1\\,C ON_THE_MOON", {"1", "1,C"}),
        ("1\\,C (2, now 3),1 (part of 3, 0a1b2c3d)", {"1", "1,C"}),
        ("2026-03-01 10:00", set()),
    ],
)
def test_lines_are_known_in_a_text_by_the_longest_id(text: str, found: set[str]) -> None:
    assert named_in(text, ("1", "B-1", "1 B", "1 B-1", "1,C", "")) == found


def test_a_settle_that_an_earlier_version_stored_without_a_backslash_still_counts() -> None:
    reason = Attention(Reason.LINE_INCIDENT, written("1,B-2 INCIDENT_OPEN"))
    settle = Decision(
        at(1), DecisionKind.SETTLE, "ana", "", ("line_incident:1,B-2 INCIDENT_OPEN",), Seen(read_at=at(0))
    )
    assert is_ended(Facts(decisions=(settle,)), reason)
