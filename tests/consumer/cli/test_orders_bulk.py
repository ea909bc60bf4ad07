"""One decision about many orders at once: `orders settle --all-of FILE` and its like."""

from dataclasses import replace
from pathlib import Path

import pytest

from adapters.store import orders as order_rows
from consumer.cli.output import BAD_ANSWER
from tests.consumer.cli.runner import error_of, json_of, run
from tests.consumer.operations.desk import Desk
from tests.statemachine.lives import parcel, read, snapshot_event


@pytest.fixture
def three(desk: Desk) -> Desk:
    """Three orders of which too many pieces were sent, and O-4, of which nothing is told."""
    for order_id in ("O-1", "O-2", "O-3", "O-4"):
        snapshot = replace(snapshot_event(read("SHIPPING")), order_id=order_id, event_id=f"read {order_id}")
        parcels = () if order_id == "O-4" else (parcel("L1", 3), parcel("L2", 2))
        desk.orders.apply(
            [snapshot, *(replace(one, order_id=order_id, event_id=f"{one.event_id} {order_id}") for one in parcels)]
        )
    Path("ids").write_text("O-1\nO-2\n\n O-3 \nO-1\n")
    return desk


def told() -> set[str]:
    return {one["order_id"] for one in json_of("orders", "list", "--reason", "quantity_exceeds_order")}


SETTLE = ("orders", "settle", "--only", "quantity_exceeds_order", "--reason", "counted twice")


def test_a_line_that_is_no_known_order_decides_nothing(three: Desk) -> None:
    """The cause comes first, of every wrong id."""
    Path("ids").write_text("O-8\nO-1\nO-9\n")
    result = run(*SETTLE, "--all-of", "ids", "--yes")
    assert result.exit_code == BAD_ANSWER
    first, second, last = result.stderr.splitlines()
    assert first.startswith("orderflow: there is no order O-8; `orderflow orders list --text O-8` looks for it")
    assert second.startswith("orderflow: there is no order O-9")
    assert last == "orderflow: nothing was decided about the 3 orders of the list"
    assert told() == {"O-1", "O-2", "O-3"}


@pytest.mark.parametrize(
    ("content", "why"), [(b"", "names no order"), (b"\xff", "is no text in UTF-8"), (None, "No such")]
)
def test_a_file_without_orders_is_an_error(three: Desk, content: bytes | None, why: str) -> None:
    Path("ids").unlink() if content is None else Path("ids").write_bytes(content)
    result = run(*SETTLE, "--all-of", "ids", "--yes")
    assert result.exit_code == BAD_ANSWER
    assert why in result.stderr


@pytest.mark.parametrize(
    "more",
    [
        (),
        ("O-1", "--all-of", "ids"),
        ("--all-of", "-"),
    ],
    ids=" ".join,
)
def test_one_order_or_a_file_and_a_list_on_standard_input_needs_yes(three: Desk, more: tuple[str, ...]) -> None:
    assert "Usage:" in error_of(*SETTLE, *more)


def test_lines_and_trackings_belong_to_one_order(three: Desk) -> None:
    reason = ("--reason", "x", "--all-of", "ids", "--yes")
    assert "belong to one order" in error_of("orders", "sent", "--tracking", "T1", *reason)
    assert "belong to one order" in error_of("orders", "accept", "--line", "L1", *reason)


def test_an_order_for_which_it_is_not_possible_does_not_stop_the_others(three: Desk) -> None:
    Path("ids").write_text("O-4\nO-1\n")
    result = run(*SETTLE, "--all-of", "ids", "--yes")
    assert result.exit_code == BAD_ANSWER
    assert "alpha O-4: not possible: " in result.stderr
    assert told() == {"O-2", "O-3"}


def test_all_are_shown_before_one_question_and_a_no_decides_nothing(three: Desk) -> None:
    result = run(*SETTLE, "--all-of", "ids", answers="n\n")
    assert result.exit_code == BAD_ANSWER
    for order_id in ("O-1", "O-2", "O-3"):
        assert f"alpha {order_id}: " in result.stderr
    assert "settle 3 of 3 orders?" in result.stderr
    assert told() == {"O-1", "O-2", "O-3"}


def test_a_yes_decides_about_each_order_once(three: Desk) -> None:
    result = run(*SETTLE, "--all-of", "ids", answers="y\n")
    assert result.exit_code == 0
    assert told() == set()
    assert [line.split()[1] for line in result.stdout.splitlines() if line.startswith("alpha")] == ["O-1", "O-2", "O-3"]
    for order_id in ("O-1", "O-2", "O-3"):
        assert len(order_rows.find(three.store, order_id)[0].facts.decisions) == 1


def test_the_ids_may_come_from_another_program(three: Desk) -> None:
    assert run(*SETTLE, "--all-of", "-", "--yes", answers="O-1\nO-2\n").exit_code == 0
    assert told() == {"O-3"}
