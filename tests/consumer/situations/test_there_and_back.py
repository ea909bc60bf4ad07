"""A value changes after the import, and back again before a person settles the change: the OMS may have either."""

from collections.abc import Callable

import pytest

from adapters.simulators.mirakl import changes
from adapters.simulators.mirakl.marketplace import MiraklSimulator
from statemachine.facts import DecisionKind
from tests.consumer.rig import Rig
from tests.consumer.situations.in_oms_hands import decide, details, explained, tell

LINE = "1-A-1"
Change = Callable[[MiraklSimulator], None]


def street(name: str) -> Change:
    return lambda mirakl: changes.set_address(mirakl, "1-A", street_1=name)


def quantity(number: int) -> Change:
    return lambda mirakl: changes.set_line(mirakl, "1-A", LINE, quantity=number)


def shows(rig: Rig, change: Change) -> dict[str, str]:
    change(rig.mirakl["alpha"])
    rig.poll(60)
    return details(rig)


def street_now(rig: Rig) -> str:
    return str(rig.mirakl["alpha"].order("1-A")["customer"]["shipping_address"]["street_1"])


def cause(rig: Rig) -> str:
    explanation = explained(rig)
    return str(explanation.attention[0].cause)


def test_an_address_that_is_again_as_it_was_imported_stays_on_the_list_until_a_settle(rig: Rig) -> None:
    rig.imported()
    first = street_now(rig)
    there = shows(rig, street("95 Canary Row"))
    back = shows(rig, street(first))
    assert list(there) == list(back) == ["changed_after_import"]
    assert there != back
    assert cause(rig).startswith("changed, and now again as the OMS got it: shipping address")
    rig.poll(600)
    assert details(rig) == back
    decide(rig, DecisionKind.SETTLE)
    assert rig.attention() == []
    rig.poll(600)
    assert rig.attention() == []
    assert list(shows(rig, street("95 Canary Row"))) == ["changed_after_import"]
    assert list(shows(rig, street(first))) == ["changed_after_import"], "nobody settled this change"


def test_it_stays_after_the_shipment(rig: Rig) -> None:
    rig.imported()
    first = street_now(rig)
    shows(rig, street("95 Canary Row"))
    shows(rig, street(first))
    tell(rig, 8, shipping_carrier="DPD", shipping_tracking="T1")
    rig.poll(600)
    assert (rig.state(), rig.attention()) == ("shipped", ["changed_after_import"])
    assert list(shows(rig, street("removed"))) == ["changed_after_import"]
    decide(rig, DecisionKind.SETTLE)
    assert rig.attention() == []


def test_a_settle_of_the_first_change_is_about_that_change_alone(rig: Rig) -> None:
    rig.imported()
    first = street_now(rig)
    shows(rig, street("95 Canary Row"))
    decide(rig, DecisionKind.SETTLE)
    assert list(shows(rig, street(first))) == ["changed_after_import"], "the OMS has the other street"
    decide(rig, DecisionKind.SETTLE)
    assert rig.attention() == []


@pytest.mark.parametrize(
    ("between", "reason", "text", "shown"),
    [
        (1, "lines_added_after_import", "(1, now 3)", "Mirakl shows 3, and showed 1 since the import"),
        (5, "lines_canceled_after_import", "(3 of 5)", "Mirakl shows 3 SHIPPING, and showed 5 since the import"),
    ],
    ids=["fewer", "more"],
)
def test_pieces_that_are_again_as_they_were_imported_stay_on_the_list_until_a_settle(
    rig: Rig, between: int, reason: str, text: str, shown: str
) -> None:
    rig.imported(quantity=3)
    assert len(shows(rig, quantity(between))) == 1
    assert shows(rig, quantity(3)) == {reason: f"{LINE} {text}"}
    assert shown in cause(rig)
    decide(rig, DecisionKind.SETTLE)
    rig.poll(600)
    assert rig.attention() == []
    assert len(shows(rig, quantity(between))) == 1


def test_a_line_that_one_read_left_out_is_asked_for_when_a_read_shows_it_again(rig: Rig) -> None:
    rig.imported(lines=2)
    second = rig.mirakl["alpha"].order("1-A")["order_lines"][1]

    def leave_out(mirakl: MiraklSimulator) -> None:
        mirakl.change("1-A", "edited", "marketplace", lambda order: order["order_lines"].pop(1))

    def show_again(mirakl: MiraklSimulator) -> None:
        mirakl.change("1-A", "edited", "marketplace", lambda order: order["order_lines"].append(second))

    assert shows(rig, leave_out)["lines_canceled_after_import"] == "1-A-2"
    assert shows(rig, show_again)["lines_added_after_import"] == "1-A-2 (0, now 1)"
    decide(rig, DecisionKind.SETTLE, "lines_added_after_import", "changed_after_import")
    assert rig.attention() == []


def test_what_changed_and_changed_back_before_the_import_needs_nobody(rig: Rig) -> None:
    rig.switch(paused=("import",))
    rig.add("1-A", state="SHIPPING", quantity=3)
    rig.poll()
    first = street_now(rig)
    for change in (street("95 Canary Row"), quantity(1), street(first), quantity(3)):
        shows(rig, change)
    rig.switch()
    rig.work()
    rig.poll(60)
    assert (rig.state(), rig.attention()) == ("imported", [])


def test_an_order_whose_address_comes_late_or_is_not_shown_once_keeps_nothing_and_needs_nobody(rig: Rig) -> None:
    rig.add("1-A", state="WAITING_ACCEPTANCE")
    changes.set_address(rig.mirakl["alpha"], "1-A", street_1="", lastname="", firstname="", city="")
    rig.poll()
    rig.work()
    changes.set_address(rig.mirakl["alpha"], "1-A", street_1="1 Canary Row", lastname="Canary", city="Monterey")
    changes.put_in_state(rig.mirakl["alpha"], "1-A", "SHIPPING")
    rig.poll(600)
    rig.work()
    assert rig.state() == "imported"
    assert rig.row().facts.other_values == ()
    assert shows(rig, street("")) == {}
    assert shows(rig, street("1 Canary Row")) == {}
