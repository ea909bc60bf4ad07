"""What `payment_late` says in each payment workflow, and what happens next then."""

import pytest

from adapters.simulators.mirakl import changes
from consumer.operations.explain import Explanation
from tests.consumer.rig import Rig
from tests.consumer.situations.in_oms_hands import explained

DAY = 24 * 3600
MADE = "what is still to be sent is made and sent all the same"
NOTHING_LEFT = "shows no line that is still to be sent: have nothing made for this"


def late(rig: Rig) -> Explanation:
    """The order in its debit for four days."""
    changes.put_in_state(rig.mirakl["alpha"], "1-A", "WAITING_DEBIT_PAYMENT")
    rig.poll(60)
    rig.clock.advance(4 * DAY)
    rig.pass_time(minutes=10)
    return explained(rig)


def words(found: Explanation) -> tuple[str, str]:
    one = next(one for one in found.attention if one.reason == "payment_late")
    return one.cause, one.cure


@pytest.mark.parametrize("shipped", [1, 0, 2])
def test_nothing_is_to_be_made_if_the_whole_order_is_in_its_debit(rig: Rig, shipped: int) -> None:
    rig.imported(workflow="PAY_ON_SHIPMENT", lines=2)
    for number in range(shipped):
        day = "2026-03-01T12:00:00Z"
        changes.set_line(rig.mirakl["alpha"], "1-A", f"1-A-{number + 1}", shipped_date=day)
    cause, cure = words(late(rig))
    assert cause.endswith("; PAY_ON_SHIPMENT: Mirakl debits after a shipment, and shows one")
    assert (MADE in cure, NOTHING_LEFT in cure) == (shipped == 1, shipped != 1)
    assert cure.startswith("First see to shipped_elsewhere: ")


def test_where_the_customer_pays_first_nothing_is_made(rig: Rig) -> None:
    rig.add("1-A", state="WAITING_ACCEPTANCE", workflow="PAY_ON_ACCEPTANCE")
    found = late(rig)
    cause, cure = words(found)
    assert cause.endswith("; PAY_ON_ACCEPTANCE: the customer pays before the shipment")
    assert cure.startswith("Do not make the goods before the customer has paid: in the payment workflow of this order")
    assert found.happens_next.startswith("a read shows that the customer paid, and it becomes shipping")


def test_a_debit_after_a_shipment_does_not_lead_to_shipping(rig: Rig) -> None:
    rig.add("1-A", state="WAITING_ACCEPTANCE", workflow="PAY_ON_SHIPMENT")
    found = late(rig)
    cause, cure = words(found)
    assert found.state == "awaiting_payment"
    assert cause.endswith("; PAY_ON_SHIPMENT: Mirakl debits after a shipment, and orderflow knows of none")
    assert "Do not make the goods before Mirakl shows SHIPPING" in cure
    assert found.happens_next.startswith("a read shows it shipped, or shipping if some of it is still to be sent")
