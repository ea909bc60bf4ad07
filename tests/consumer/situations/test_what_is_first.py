"""Of several reasons of an order, what is done first is read first: in `explain`, `show` and `list`."""

from adapters.simulators.mirakl import changes
from consumer.operations.listing import listed, summary
from consumer.operations.what_first import in_turn
from tests.consumer.rig import Rig
from tests.consumer.situations.in_oms_hands import explained

DAY = 24 * 3600
FIRST = "First see to shipped_elsewhere: what is stopped in the OMS is not made. "


def read_first(rig: Rig) -> list[str]:
    """The reasons of the order as `explain` has them, which are the same in the list and in `show`."""
    row, found = rig.row(), [one.reason for one in explained(rig).attention]
    assert summary(listed(row, rig.policies["alpha"]))["attention"] == found
    assert [one.reason for one in in_turn(row)] == found
    return found


def cure(rig: Rig, name: str) -> str:
    found = explained(rig)
    return next(one.cure for one in found.attention if one.reason == name)


def shipped_by_somebody_else(rig: Rig, state: str) -> None:
    changes.put_in_state(rig.mirakl["alpha"], "1-A", state)
    rig.poll(60)


def test_the_most_urgent_reason_comes_before_one_that_a_read_ends(rig: Rig) -> None:
    rig.imported(workflow="PAY_ON_SHIPMENT")
    shipped_by_somebody_else(rig, "WAITING_DEBIT_PAYMENT")
    rig.clock.advance(4 * DAY)
    rig.pass_time(minutes=10)
    assert rig.attention() == ["payment_late", "shipped_elsewhere"], "stored by name"
    assert read_first(rig) == ["shipped_elsewhere", "payment_late"]
    assert cure(rig, "payment_late").startswith(FIRST)


def test_of_two_urgent_reasons_the_one_that_the_other_names_comes_first(rig: Rig) -> None:
    rig.imported()
    changes.set_address(rig.mirakl["alpha"], "1-A", street_1="7 Other Road")
    rig.poll()
    shipped_by_somebody_else(rig, "SHIPPED")
    assert rig.attention() == ["changed_after_import", "shipped_elsewhere"], "stored by name"
    assert read_first(rig) == ["shipped_elsewhere", "changed_after_import"]
    assert cure(rig, "changed_after_import").startswith(FIRST)
