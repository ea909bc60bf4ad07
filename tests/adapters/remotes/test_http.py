"""The parts that both remotes use: outcomes, which are values of a metric's label, and error codes."""

import pytest

from adapters.remotes.http import CallOutcome, outcome_of, safe_code


def test_the_outcomes_are_those_of_the_metric() -> None:
    assert [*CallOutcome] == (
        ["2xx", "400", "401", "403", "404", "409", "429", "4xx", "5xx", "timeout", "network", "body_error"]
    )  # other people's dashboards and alerts use these values


@pytest.mark.parametrize(
    ("status", "outcome"),
    [(200, "2xx"), (204, "2xx"), (302, "4xx"), (400, "400"), (408, "4xx"), (429, "429"), (500, "5xx"), (503, "5xx")],
)
def test_the_outcome_of_a_status(status: int, outcome: str) -> None:
    assert outcome_of(status) == outcome


def test_every_status_has_an_outcome() -> None:
    assert {outcome_of(status) for status in range(200, 600)} <= {*CallOutcome}


@pytest.mark.parametrize(
    ("code", "safe"),
    [(8014, "8014"), ("A_B", "A_B"), ("a b", ""), ("x" * 65, ""), (None, ""), (True, ""), ({}, "")],
)
def test_a_code_that_may_hold_words_is_left_out(code: object, safe: str) -> None:
    assert safe_code(code) == safe
