"""`orderflow orders list` begins with the order that needs a person first."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

from tests.consumer.cli.runner import error_of, json_of, output_of
from tests.consumer.operations.desk import Desk
from tests.statemachine.lives import START, read, snapshot_event


def add(desk: Desk, order_id: str, state: str, **more: Any) -> None:
    snapshot = read(state, updated=43_200, began=43_200, **more)
    desk.orders.apply([replace(snapshot_event(snapshot), order_id=order_id, event_id=order_id)])


def listed(*options: str) -> list[str]:
    return [row["order_id"] for row in json_of("orders", "list", *options)]


def three_orders(desk: Desk) -> None:
    """Two wait for a decision, the later one for a shorter time; the third waits for an address."""
    add(desk, "O-1", "WAITING_ACCEPTANCE", accept_by=START + timedelta(hours=40))
    desk.clock.advance(3600)
    add(desk, "O-2", "WAITING_ACCEPTANCE", accept_by=START + timedelta(hours=16))
    add(desk, "O-3", "SHIPPING", has_address=False)
    add(desk, "O-4", "SHIPPED")


def test_the_nearest_deadline_comes_first(desk: Desk) -> None:
    three_orders(desk)
    assert listed("--attention") == ["O-2", "O-1", "O-3"]
    assert listed("--attention", "--limit", "1") == ["O-2"], "the limit leaves out what is less urgent"
    first, second, *_ = json_of("orders", "list", "--attention")
    assert (first["deadline"], first["since"]) == ("2026-03-01T16:00:00+00:00", "2026-03-01T13:00:00+00:00")
    assert (second["deadline"], second["since"]) == ("2026-03-02T16:00:00+00:00", "2026-03-01T12:00:00+00:00")


def test_the_table_says_how_long_and_until_when(desk: Desk) -> None:
    add(desk, "O-1", "WAITING_ACCEPTANCE", accept_by=START + timedelta(hours=16))
    desk.clock.advance(-5 * 3600)
    add(desk, "O-2", "WAITING_ACCEPTANCE", accept_by=START + timedelta(hours=11))
    rows = [line.split("  ") for line in output_of("orders", "list", "--attention").splitlines()]
    assert [cell.strip() for cell in rows[1] if cell.strip()] == [
        "alpha", "O-2", "waiting_acceptance", "5 h", "60 min ago", "5 h", "needs_decision",
    ]  # fmt: skip
    assert "in 4 h" in "".join(rows[2])
    assert max(len(line) for line in output_of("orders", "list", "--attention").splitlines()) <= 80


def test_orders_are_listed_by_reason(desk: Desk) -> None:
    three_orders(desk)
    assert listed("--reason", "address_missing") == ["O-3"]
    assert listed("--reason", "address_missing", "--reason", "needs_decision") == ["O-2", "O-1", "O-3"]
    assert listed("--reason", "held") == []
    error = " ".join(error_of("orders", "list", "--reason", "lost").split())
    assert "lost is no attention reason" in error
    assert "needs_decision" in error


def test_an_unknown_shop_is_an_error(desk: Desk) -> None:
    error = " ".join(error_of("orders", "list", "--shop", "alhpa").split())
    assert "alhpa is no shop; these are: alpha, beta" in error
