"""Answers that are kept with the facts: asked once for the same arguments, and never taken over by other facts."""

from dataclasses import dataclass, replace

import pytest

from statemachine.asked_once import KeepsAnswers, asked_once
from statemachine.commands import Policy
from statemachine.deadlines import mirakl_deadline
from statemachine.states import State, state_of
from tests.statemachine.lives import read, snapshot_event


@dataclass(frozen=True, slots=True)
class Box(KeepsAnswers):
    number: int


ASKED: list[tuple[int, int]] = []


@asked_once
def plus(box: Box, more: int) -> int:
    ASKED.append((box.number, more))
    return box.number + more


def test_a_question_is_computed_again_only_for_other_arguments_or_another_value() -> None:
    ASKED.clear()
    box = Box(1)
    assert [plus(box, 1), plus(box, 1), plus(box, 2), plus(box, 1)] == [2, 2, 3, 2]
    assert ASKED == [(1, 1), (1, 2), (1, 1)]
    assert plus(replace(box, number=5), 1) == 6
    assert box == Box(1)
    assert hash(box) == hash(Box(1))
    assert repr(box) == "Box(number=1)"


def test_an_error_is_not_kept() -> None:
    calls: list[Box] = []

    @asked_once
    def fails_first(box: Box) -> int:
        calls.append(box)
        if len(calls) == 1:
            raise ArithmeticError
        return 7

    box = Box(1)
    with pytest.raises(ArithmeticError):
        fails_first(box)
    assert fails_first(box) == 7


def test_facts_that_were_replaced_are_asked_again() -> None:
    waits = snapshot_event(read("WAITING_ACCEPTANCE")).new_facts
    assert state_of(waits) is State.WAITING_ACCEPTANCE
    assert state_of(replace(waits, snapshot=read("SHIPPING"))) is State.SHIPPING


def test_a_policy_that_changed_is_asked_again() -> None:
    facts = snapshot_event(replace(read("WAITING_ACCEPTANCE"), accept_by=read("SHIPPING").ship_by)).new_facts
    first = mirakl_deadline(facts, Policy())
    other = Policy(accept_within=Policy().accept_within * 2, ship_within=Policy().ship_within * 2)
    assert mirakl_deadline(facts, other) == mirakl_deadline(replace(facts), other)
    assert mirakl_deadline(facts, Policy()) == first
