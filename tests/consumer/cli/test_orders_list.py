"""`orderflow orders list` begins with the order that needs a person first."""

import json
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from statemachine.commands import CommandKind
from statemachine.events import Trigger
from statemachine.facts import Facts, Part
from tests.consumer.cli.runner import error_of, json_of, output_of, run
from tests.consumer.operations.desk import Desk
from tests.statemachine.lives import START, answered, event, parcel, read, sent, snapshot_event


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
        "alpha", "O-2", "waiting_acceptance", "deadline", "60 min ago", "5 h", "needs_decision",
    ]  # fmt: skip
    assert "in 4 h" in "".join(rows[2])
    assert max(len(line) for line in output_of("orders", "list", "--attention").splitlines()) <= 80


def test_what_must_be_stopped_in_the_oms_comes_before_every_deadline(desk: Desk) -> None:
    """The goods are made while nobody looks: an order without a deadline may be the most urgent one."""
    three_orders(desk)
    shipping, canceled = (
        snapshot_event(read(state, updated=now, began=now))
        for state, now in (("SHIPPING", 43_100), ("CANCELED", 43_200))
    )
    life = [shipping, answered(CommandKind.IMPORT), canceled]
    desk.orders.apply([replace(one, order_id="O-5", event_id=f"O-5{n}") for n, one in enumerate(life)])
    assert listed("--attention") == ["O-5", "O-2", "O-1", "O-3"]
    assert [row["do"] for row in json_of("orders", "list", "--attention")] == [
        "now", "deadline", "deadline", "wait",
    ]  # fmt: skip
    assert listed("--attention", "--sort", "deadline")[:2] == ["O-2", "O-1"]


def test_an_order_without_a_deadline_says_so(desk: Desk) -> None:
    desk.shows("SHIPPED")
    desk.apply(answered(CommandKind.IMPORT), parcel("L1", 3), parcel("L2", 2))
    row = output_of("orders", "list", "--attention").splitlines()[1].split()
    assert row[2:5] == ["shipped", "deadline", "none"]


def test_no_cell_of_the_deadline_is_blank(desk: Desk) -> None:
    desk.shows("SHIPPED")
    assert output_of("orders", "list").splitlines()[1].split()[-2:] == ["min", "none"]


def test_a_text_that_is_found_nowhere_says_where_it_was_looked_for(desk: Desk) -> None:
    desk.shows("SHIPPED")
    result = run("orders", "list", "--text", "Erika")
    assert result.stderr == (
        "none\nNo id, reference, SKU or tracking number begins with Erika, nor does a word in one. "
        "Names and addresses are not looked at.\n"
    )


def test_an_order_of_somebody_else_is_urgent_as_soon_as_the_oms_may_have_it(desk: Desk) -> None:
    """Before the import a read ends the reason. After it the OMS makes goods that somebody else ships too."""
    desk.apply(snapshot_event(replace(read("SHIPPING"), can_ship=False)))
    assert [row["do"] for row in json_of("orders", "list", "--attention")] == ["wait"]
    desk.apply(answered(CommandKind.IMPORT))
    assert [row["do"] for row in json_of("orders", "list", "--attention")] == ["now"]


def test_orders_are_listed_by_reason(desk: Desk) -> None:
    three_orders(desk)
    assert listed("--reason", "address_missing") == ["O-3"]
    assert listed("--reason", "address_missing", "--reason", "needs_decision") == ["O-2", "O-1", "O-3"]
    assert listed("--reason", "held") == []
    error = " ".join(error_of("orders", "list", "--reason", "lost").split())
    assert "lost is no attention reason" in error
    assert "needs_decision" in error


def test_orders_are_found_by_what_people_call_them(desk: Desk) -> None:
    three_orders(desk)
    snapshot = read("SHIPPING", updated=43_200, began=43_200)
    change = replace(snapshot_event(snapshot), order_id="O-5", event_id="O-5", references=("C-77", "PO-Alpha"))
    parcels = [sent("TRACK-9"), event(Trigger.OMS_EVENT, "part", Facts(parts=(Part(4711, "REF-8"),)))]
    desk.orders.apply([change, *(replace(one, order_id="O-5", event_id=f"O-5{one.event_id}") for one in parcels)])
    for text in ("o-5", "track-9", "4711", "47", "ref-8", "C-77", "po-alpha", "ALPHA", "po-al"):
        assert listed("--text", text) == ["O-5"], text
    assert sorted(listed("--text", "mug")) == ["O-1", "O-2", "O-3", "O-4", "O-5"], "a SKU"
    for text in ("snapshot", "%", '"', "'", "\\", ":*", " ", "711", "lpha", "po-alpha-1"):
        assert listed("--text", text) == [], "names of fields, signs, and the middle of a word find nothing"
    assert listed("--text", "mug", "--reason", "needs_decision", "--shop", "alpha") == ["O-2", "O-1"]


def test_orders_are_listed_by_how_long_they_wait_and_by_their_deadline(desk: Desk) -> None:
    desk.clock.advance(-5 * 3600)
    add(desk, "O-1", "WAITING_ACCEPTANCE", accept_by=START + timedelta(hours=40))
    desk.clock.advance(4 * 3600)
    add(desk, "O-2", "WAITING_ACCEPTANCE", accept_by=START + timedelta(hours=16))
    add(desk, "O-4", "SHIPPED")
    desk.clock.advance(3600)
    assert listed("--attention", "--older-than", "2h") == ["O-1"]
    assert sorted(listed("--older-than", "30min")) == ["O-1", "O-2", "O-4"]
    assert listed("--older-than", "1d") == []
    assert listed("--deadline-within", "6h") == ["O-2"]
    assert listed("--attention", "--sort", "since") == ["O-1", "O-2"]
    assert listed("--sort", "deadline") == ["O-2", "O-1", "O-4"]
    assert sorted(listed("--since", "2h")) == ["O-2", "O-4"]
    assert sorted(listed("--since", "2026-03-01T08:00")) == ["O-2", "O-4"]
    assert listed("--since", "2026-03-02") == []


def test_orders_are_counted(desk: Desk) -> None:
    three_orders(desk)
    assert output_of("orders", "list", "--attention", "--count", "--limit", "1") == "3\n"
    assert json_of("orders", "list", "--count") == {"count": 4}


@pytest.mark.parametrize(("option", "value"), [("--older-than", "2 weeks"), ("--since", "yesterday")])
def test_a_span_that_is_none_is_an_error(desk: Desk, option: str, value: str) -> None:
    assert f"{value} is no span of time" in " ".join(error_of("orders", "list", option, value).split())


def test_an_unknown_shop_is_an_error(desk: Desk) -> None:
    error = " ".join(error_of("orders", "list", "--shop", "alhpa").split())
    assert "alhpa is no shop; these are: alpha, beta" in error


def test_pages_follow_each_other_also_while_orders_change(desk: Desk) -> None:
    for number in range(7):
        desk.orders.apply([replace(snapshot_event(read("SHIPPING")), order_id=f"P-{number}", event_id=f"P-{number}")])
        desk.clock.advance(number % 2)  # some change at the same instant
    seen: list[str] = []
    after: tuple[str, ...] = ()
    while True:
        result = run("orders", "list", "--limit", "2", "--json", *after)
        seen += [one["order_id"] for one in json.loads(result.stdout)]
        if "--after" not in result.stderr:
            break
        after = ("--after", result.stderr.split("--after ")[1].split()[0])
        desk.orders.apply([replace(snapshot_event(read("SHIPPING")), order_id="P-9", event_id=f"{len(seen)}")])
        desk.clock.advance(1)
    assert seen == [f"P-{number}" for number in range(6, -1, -1)]


@pytest.mark.parametrize("after", ["P-1", "2026-03-01/x", "/1", "x/1"])
def test_a_place_that_no_page_named_is_wrong_use(desk: Desk, after: str) -> None:
    assert "is no place in this list" in " ".join(error_of("orders", "list", "--after", after).split())


def test_pages_need_the_order_by_change(desk: Desk) -> None:
    place = "2026-03-01T08:15:00.000000/4711"
    assert "--sort updated" in error_of("orders", "list", "--attention", "--after", place)
    assert json_of("orders", "list", "--attention", "--sort", "updated", "--after", place) == []
