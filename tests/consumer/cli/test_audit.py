"""`orderflow audit`: who changed or decided what, when and why."""

from datetime import timedelta

import pytest

from adapters.store import journal as journal_rows
from consumer.operations.audit import acts
from tests.consumer.cli.runner import error_of, json_of, output_of
from tests.consumer.operations.desk import Desk
from tests.statemachine.lives import parcel


@pytest.fixture
def busy(desk: Desk) -> Desk:
    """A shop was paused, and the order O-1 was held, released and settled."""
    output_of("shops", "pause", "alpha", "--only", "import", "--reason", "moving", "--yes")
    desk.shows("SHIPPING")
    desk.apply(parcel("L1", 3), parcel("L2", 2))
    for command in (
        ("hold", "--reason", "the customer called"),
        ("release", "--only", "held", "--reason", "it is clear"),
        ("settle", "--only", "quantity_exceeds_order", "--reason", "counted twice", "--who", "ana"),
    ):
        output_of("orders", command[0], "O-1", "--yes", *command[1:])
    return desk


@pytest.mark.parametrize("since", ["yesterday", "7 weeks", "-3d"])
def test_a_time_that_cannot_be_read_is_wrong_use(busy: Desk, since: str) -> None:
    assert "--since" in error_of("audit", f"--since={since}")


def test_everything_that_people_did_is_there(busy: Desk) -> None:
    found = {(one["who"], one["act"], one["subject"], one["why"]) for one in json_of("audit")}
    assert found == {
        ("ops", "pause", "alpha import", "moving"),
        ("ops", "order hold", "alpha O-1", "the customer called"),
        ("ops", "order release", "alpha O-1 held", "it is clear"),
        ("ana as ops", "order settle", "alpha O-1 quantity_exceeds_order", "counted twice"),
    }


def test_one_name_is_found_and_what_is_older_is_left_out(busy: Desk) -> None:
    assert [one["act"] for one in json_of("audit", "--who", "Ana")] == ["order settle"]
    later = busy.clock.now() + timedelta(seconds=1)
    assert acts(busy.store, later) == []
    assert len(json_of("audit", "--since", "2026-03-01")) == 4
    assert len(output_of("audit", "--limit", "2").splitlines()) == 3


def test_the_first_row_of_a_time_is_found_by_halving(desk: Desk) -> None:
    begin = desk.clock.now()
    for _ in range(9):
        desk.shows("SHIPPING")
        desk.clock.advance(600)
    for minutes in range(-5, 100, 5):
        instant = begin + timedelta(minutes=minutes)
        first = journal_rows.id_at(desk.store, instant)
        below = [row for row in desk.journal if row.version < first]
        assert all(row.recorded_at < instant for row in below)
        older = sum(row.recorded_at < instant - timedelta(minutes=1) for row in desk.journal)
        assert len(below) >= min(older, len(desk.journal) - 1)
