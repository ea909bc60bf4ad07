"""Digests of contents that different formulas made are not compared."""

import pytest

from statemachine.questions.formulas import FIRST, differ, formula_of, numbered


def test_a_digest_without_a_number_is_of_the_first_formula() -> None:
    assert numbered("0123abcd", FIRST) == "0123abcd"
    assert [formula_of(one) for one in ("0123abcd", numbered("0123abcd", 2), numbered("abcd", 12))] == [FIRST, 2, 12]


@pytest.mark.parametrize(
    ("one", "other", "expected"),
    [("a", "a", False), ("a", "b", True), ("2_a", "2_b", True), ("2_a", "2_a", False), ("a", "2_b", False)],
)
def test_only_digests_of_one_formula_can_differ(one: str, other: str, expected: bool) -> None:
    assert (differ(one, other), differ(other, one)) == (expected, expected)
