"""What a command carries is short, whatever the outside world sends, and says the same for the same content."""

from hypothesis import given
from hypothesis import strategies as st

from statemachine.commands import Policy
from statemachine.facts import Facts, Line, Tracking
from statemachine.questions.readings import LONGEST_CARRIED, acceptance, answers_of_lines, carried
from tests.statemachine.lives import read

trackings = st.builds(Tracking, *(st.text(max_size=2000) for _ in range(3)))


@given(trackings, trackings)
def test_a_tracking_is_carried_in_few_bytes_and_two_differ(one: Tracking, two: Tracking) -> None:
    assert len(carried(one).encode(errors="replace")) <= LONGEST_CARRIED
    as_text = [" | ".join((each.carrier, each.number, each.url)) for each in (one, two)]
    assert (carried(one) == carried(two)) == (as_text[0] == as_text[1])


def test_an_ordinary_tracking_is_carried_as_it_stands() -> None:
    assert carried(Tracking("DHL", "JD1", "https://dhl.example/JD1")) == "DHL | JD1 | https://dhl.example/JD1"


@given(st.sets(st.integers(0, 400), max_size=401))
def test_an_acceptance_of_many_lines_is_carried_in_few_bytes_and_read_again(refused: set[int]) -> None:
    lines = tuple(
        Line(f"a-long-id-of-a-line-{number}", sku="no" if number in refused else "yes") for number in range(401)
    )
    policy = Policy(acceptance="known-skus", known_skus=frozenset({"yes"}), unknown_skus="refuse")
    carries = acceptance(Facts(snapshot=read("WAITING_ACCEPTANCE", lines=lines)), policy)
    assert carries
    assert len(carries.encode()) <= LONGEST_CARRIED
    assert answers_of_lines(carries, lines) == {line.id: line.sku == "yes" for line in lines}
    if carries not in ("accept", "refuse"):
        assert not any(answers_of_lines(carries, lines[1:]).values()), "the order has other lines by now"
