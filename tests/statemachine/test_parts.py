"""Which parts and lines in the OMS the shipment waits for (docs/kornitx.md 9.5)."""

from collections.abc import Sequence
from dataclasses import replace
from functools import reduce
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from statemachine.commands import CommandKind, Policy
from statemachine.events import Event, Trigger
from statemachine.facts import Cancellation, Dispatch, Facts, Handover, Line, Part, Tracking
from statemachine.joining import join
from statemachine.plan import plan
from statemachine.questions.in_oms import has_left
from statemachine.questions.parcels import sent_quantity
from statemachine.reasons import Reason
from statemachine.states import State, state_of
from tests.statemachine.lives import LINES, answer, at, event, parcel, read, sent, settled, snapshot_event
from tests.statemachine.planning import known

CANCELED = replace(LINES[1], state="CANCELED")
#: The OMS made two parts of our order, each with one line.
SPLIT = (Part(1, "A", ("L1",), quantities=(("L1", 2),)), Part(2, "B", ("L2",), quantities=(("L2", 1),)))
HANDED = Handover(at(0), (("L1", 2), ("L2", 1)))


def imported(*parts: Part, lines: Sequence[Line] = LINES) -> tuple[Event, ...]:
    facts = Facts(answers=(answer(CommandKind.IMPORT),), parts=tuple(sorted(parts)), handovers=(HANDED,))
    shown = snapshot_event(read("SHIPPING", updated=5, began=200, lines=tuple(lines)))
    return shown, event(Trigger.CALL, "import", facts)


def canceled(oms_id: int, *items: tuple[str, int]) -> Event:
    facts = Facts(parts=(Part(oms_id),), cancellations=(Cancellation(oms_id, items),))
    return event(Trigger.OMS_EVENT, f"canceled{oms_id}{items}", facts)


def settle(oms_id: int, *items: str) -> Event:
    return settled(f"oms_canceled:{','.join([str(oms_id), *items])}", when=300)


def ships(facts: Facts) -> bool:
    return bool({CommandKind.TRACK, CommandKind.CONFIRM} & {one.kind for one in plan(facts, Policy()).due})


def reasons(facts: Facts) -> dict[Reason, str]:
    return {one.reason: one.detail for one in plan(facts, Policy()).attention}


@pytest.mark.parametrize("covers", ["part", "order"])
def test_a_part_that_the_oms_canceled_does_not_hold_the_other_once_a_person_settled_it(covers: str) -> None:
    facts = known(*imported(*SPLIT), canceled(2), sent(covers=covers))
    assert not ships(facts)
    assert reasons(facts) == {Reason.OMS_CANCELED: "2"}
    assert ships(join(facts, settle(2).new_facts))


def test_a_part_whose_lines_the_oms_canceled_one_by_one_does_not_count() -> None:
    facts = known(*imported(*SPLIT), canceled(1, ("L1", 1)), sent(oms_id=2, covers="part"), settle(1, "L1*1"))
    assert not ships(facts)  # a piece of the first part is still to be sent
    assert Reason.PARTLY_SENT in reasons(facts)
    facts = known(*imported(*SPLIT), canceled(1, ("L1", 2)), sent(oms_id=2, covers="part"), settle(1, "L1*2"))
    assert ships(facts)


def test_an_order_that_the_oms_canceled_and_sent_after_all_left_also_if_it_never_had_the_other_line() -> None:
    only = imported(SPLIT[0])
    assert has_left(known(*only, canceled(1), sent()), LINES[0])
    assert not has_left(known(*only, canceled(1), sent()), LINES[1])


def test_a_part_that_the_oms_did_not_cancel_still_counts() -> None:
    facts = known(*imported(*SPLIT), sent(covers="part"))
    assert not ships(facts)
    assert reasons(facts) == {Reason.PARTLY_SENT: ""}


@pytest.mark.parametrize("covers", ["part", "order"])
def test_a_part_without_an_owed_line_does_not_count(covers: str) -> None:
    facts = known(*imported(*SPLIT, lines=(LINES[0], CANCELED)), sent(covers=covers))
    assert ships(facts)
    assert Reason.PARTLY_SENT not in reasons(facts)


def test_of_a_part_only_the_owed_lines_have_to_be_in_parcels() -> None:
    """A canceled line is in no parcel. If it counted, its part would be unsent for ever."""
    extra = Line("L3", "CANCELED", "CAP")
    parts = (SPLIT[0], Part(2, "B", ("L2", "L3")))
    facts = known(*imported(*parts, lines=(*LINES, extra)), sent(covers="part"), parcel("L2", 1, oms_id=2))
    assert ships(facts)


@pytest.mark.parametrize("covers", ["part", "order"])
@pytest.mark.parametrize("first", [Part(1, "A", ("L1", "L2")), Part(1, "A")])
def test_an_order_that_the_oms_canceled_and_made_again_is_shipped_once_a_person_settled(
    covers: str, first: Part
) -> None:
    again = (canceled(1), event(Trigger.OMS_EVENT, "again", Facts(parts=(Part(2, "B"),))))
    assert not ships(known(*imported(first), *again, settle(1)))  # nothing left yet
    facts = known(*imported(first), *again, sent(oms_id=2, covers=covers))
    assert not ships(facts)
    assert Reason.OMS_CANCELED in reasons(facts)
    # A part whose lines are not known may not be the whole order: the order waits for parcels or for a person.
    assert ships(join(facts, settle(1).new_facts)) == (covers == "order" or bool(first.lines))


def test_an_order_that_the_oms_canceled_after_a_part_had_left_waits_for_the_part_that_is_made_again() -> None:
    again = event(Trigger.OMS_EVENT, "again", Facts(parts=(Part(3, "C"),)))
    facts = known(*imported(*SPLIT), sent(covers="part"), canceled(2), settle(2), again)
    assert not ships(facts)
    assert ships(join(facts, sent(oms_id=3, covers="part", number="T3").new_facts))


@pytest.mark.parametrize("covers", ["part", "order"])
def test_a_status_does_not_cover_a_line_that_no_part_has(covers: str) -> None:
    facts = known(*imported(SPLIT[0]), sent(covers=covers))
    assert state_of(facts) is State.IMPORTED
    assert not ships(facts)
    assert reasons(facts) == {Reason.LINES_NOT_IMPORTED: "L2", Reason.PARTLY_SENT: ""}
    facts = join(facts, settled("lines_not_imported:L2").new_facts)
    assert not ships(facts)
    assert ships(join(facts, parcel("L2", 1).new_facts))


def test_the_rest_is_asked_for_when_a_read_disproves_or24_and_the_import_s_answer_comes_after_it() -> None:
    """Counterexample of the random walk, history 23625: after the settle the order was on no list."""
    or24 = event(Trigger.CALL, "OR24", Facts(answers=(answer(CommandKind.CONFIRM, answered=180),)))
    facts = known(*imported(SPLIT[0]), sent(when=100), or24, settled("lines_not_imported:L2"))
    assert (state_of(facts), reasons(facts)) == (State.DISPATCHED, {}), "Mirakl may still apply the call"
    facts = join(facts, snapshot_event(read("SHIPPING", updated=5, began=300)).new_facts)
    assert (reasons(facts), ships(facts)) == ({Reason.PARTLY_SENT: ""}, False)
    assert ships(join(facts, parcel("L2", 1).new_facts))


def test_a_line_that_no_part_has_is_sent_by_a_persons_word_and_by_no_status_of_a_part_of_unknown_lines() -> None:
    facts = known(*imported(SPLIT[0]), sent(covers="part"), sent(oms_id=2, covers="part", number="T2"))
    assert not ships(facts)
    vouched = Facts(dispatches=(Dispatch(0, at(300), covers="order"),))
    assert ships(join(facts, vouched))


def test_other_pieces_in_the_answer_are_told() -> None:
    facts = known(*imported(replace(SPLIT[0], quantities=(("L1", 1),)), SPLIT[1]))
    assert reasons(facts) == {Reason.LINES_NOT_IMPORTED: "L1 (1 of 2)"}
    assert reasons(join(facts, settled("lines_not_imported:L1 (1 of 2)").new_facts)) == {}


def test_pieces_of_a_line_that_two_parts_share_are_counted_together() -> None:
    shared = (Part(1, "A", ("L1",), quantities=(("L1", 1),)), Part(2, "B", ("L1", "L2"), quantities=(("L1", 1),)))
    assert reasons(known(*imported(*shared))) == {}
    named = replace(shared[0], ref="")  # the same part, as a report names it
    assert reasons(known(*imported(*shared, named))) == {}


@pytest.mark.parametrize("part", [Part(1, "A"), Part(1, "A", ("L1", "L2"))])
def test_an_answer_without_lines_or_without_pieces_tells_nothing(part: Part) -> None:
    assert reasons(known(*imported(part))) == {}


def test_the_answer_that_comes_after_the_dispatch_takes_the_order_back_to_imported() -> None:
    shown, answered = imported(SPLIT[0])
    before = known(shown, sent())
    assert state_of(before) is State.DISPATCHED
    assert state_of(join(before, answered.new_facts)) is State.IMPORTED


# -- Parcels -------------------------------------------------------------------------------------------------------


def reports_of(*times: int | None) -> st.SearchStrategy[list[tuple[int, set[str], int | None]]]:
    """Reports: when each was told, which numbers it names, each for one piece of L1, and the time that it names."""
    numbers = st.sets(st.sampled_from("ABC"), min_size=1)
    return st.lists(st.tuples(st.integers(1, 5), numbers, st.sampled_from(times)), min_size=1, max_size=5)


REPORTS = st.one_of(reports_of(None), reports_of(10, 20))


def reported(told: int, numbers: set[str], when: int | None, *, told_at: int | None = None) -> Facts:
    at_, told_at_ = at(told if when is None else when), at(told_at or told)
    parcels = [Dispatch(1, at_, Tracking("DPD", one), (("L1", 1),), "", when is not None, told_at_) for one in numbers]
    return Facts(dispatches=tuple(sorted(parcels)))


@given(REPORTS, st.randoms())
def test_parcels_of_several_reports_add_up_or_replace_each_other(
    reports: list[tuple[int, set[str], int | None]], random: Random
) -> None:
    """In any order, no report takes a piece back, and nothing counts more often than it was reported."""
    facts, counts = Facts(), [0]
    for one in reports:
        facts = join(facts, reported(*one))
        counts.append(sent_quantity(facts, "L1"))
    assert counts == sorted(counts)
    together: dict[tuple[int, int | None], set[str]] = {}  # what two reports of one instant name is one report
    for told, numbers, when in reports:
        together.setdefault((told, when), set()).update(numbers)
    sizes = [len(numbers) for numbers in together.values()]
    assert max(sizes) <= counts[-1] <= sum(sizes)
    shuffled = random.sample(reports, len(reports))
    assert reduce(join, (reported(*one) for one in shuffled), Facts()) == facts


@given(REPORTS, st.integers(0, 4))
def test_a_report_that_comes_again_later_adds_nothing(
    reports: list[tuple[int, set[str], int | None]], which: int
) -> None:
    facts = reduce(join, (reported(*one) for one in reports), Facts())
    again = join(facts, reported(*reports[which % len(reports)], told_at=99))
    assert sent_quantity(again, "L1") == sent_quantity(facts, "L1")


@given(st.lists(st.sampled_from("ABC"), min_size=1, max_size=4), st.sampled_from([None, 10]))
def test_reports_of_one_number_each_are_one_parcel(numbers: list[str], when: int | None) -> None:
    """Each later number is a correction, also if it goes back to the first."""
    facts = reduce(join, (reported(told, {one}, when) for told, one in enumerate(numbers, start=30)), Facts())
    assert sent_quantity(facts, "L1") == 1
