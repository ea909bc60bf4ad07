"""PAY_ON_SHIPMENT: Mirakl debits the customer after the shipment, and somebody else may have shipped."""

from datetime import timedelta

import pytest

from adapters.simulators.mirakl import changes
from consumer.operations.causes import attention_reasons
from consumer.operations.explain import Explanation, explain
from consumer.operations.orders import explanation
from statemachine.commands import Policy
from statemachine.facts import DecisionKind
from tests.consumer.rig import Rig
from tests.consumer.situations.in_oms_hands import decide, details, tell

ON_SHIPMENT = "PAY_ON_SHIPMENT"


def debits(rig: Rig, *lines: str) -> None:
    """Mirakl debits the customer, and shows a `shipped_date` on these lines."""
    for line in lines:
        changes.set_line(rig.mirakl["alpha"], "1-A", line, shipped_date="2026-03-01T12:00:00Z")
    changes.put_in_state(rig.mirakl["alpha"], "1-A", "WAITING_DEBIT_PAYMENT")
    rig.poll(60)


def later(rig: Rig, **time: float) -> None:
    """So much later the shop is polled again. Polls in between would show the same, and take seconds."""
    rig.clock.advance(timedelta(**time).total_seconds())
    rig.pass_time(minutes=10)


def explained(rig: Rig) -> Explanation:
    return explain(rig.row(), rig.journal(), (), shop=None, policy=Policy(), now=rig.clock.now())


@pytest.mark.parametrize("lines", [(), ("1-A-1", "1-A-2")], ids=["no shipped_date", "shipped_date"])
def test_shipped_in_the_portal_while_the_oms_makes_it_is_told_at_the_debit(rig: Rig, lines: tuple[str, ...]) -> None:
    rig.imported(workflow=ON_SHIPMENT, lines=2)
    debits(rig, *lines)
    assert details(rig) == {"shipped_elsewhere": ""}
    (reason,) = attention_reasons(rig.row(), rig.journal(), Policy())
    assert reason.cause.startswith("Mirakl shows WAITING_DEBIT_PAYMENT")
    tell(rig, 8, shipping_tracking="T1")
    assert (rig.state(), rig.attention()) == ("dispatched", ["shipped_elsewhere"])  # perhaps two parcels left
    rig.work()
    changes.put_in_state(rig.mirakl["alpha"], "1-A", "SHIPPED")
    rig.poll(600)
    assert "tracking" in rig.effects()  # the number that Mirakl shows now comes from OR23, so it proves nothing
    assert (rig.state(), rig.attention()) == ("shipped", ["shipped_elsewhere"])
    decide(rig, DecisionKind.SETTLE)
    assert rig.attention() == []


def test_shipped_in_the_portal_after_an_import_whose_answer_was_lost_is_told_at_the_debit(rig: Rig) -> None:
    rig.fail("order", "timeout_after")
    rig.add("1-A", state="SHIPPING", workflow=ON_SHIPMENT)
    rig.poll()
    rig.work()
    debits(rig)
    assert (rig.state(), rig.attention()) == ("awaiting_payment", ["shipped_elsewhere"])


def test_a_settle_of_the_debit_covers_the_shipment_that_mirakl_shows_then(rig: Rig) -> None:
    rig.imported(workflow=ON_SHIPMENT)
    debits(rig, "1-A-1")
    decide(rig, DecisionKind.SETTLE, "shipped_elsewhere")
    assert rig.attention() == []
    changes.put_in_state(rig.mirakl["alpha"], "1-A", "SHIPPED")
    rig.poll(60)
    assert (rig.state(), rig.attention()) == ("shipped", [])


def test_one_parcel_shipped_and_debited_in_the_portal_names_its_lines_and_then_the_rest_goes_on(rig: Rig) -> None:
    rig.imported(workflow=ON_SHIPMENT, lines=2)
    debits(rig, "1-A-1")
    assert details(rig) == {"shipped_elsewhere": "1-A-1"}
    (reason,) = attention_reasons(rig.row(), rig.journal(), Policy())
    assert "shipped: 1-A-1" in reason.cause
    decide(rig, DecisionKind.SETTLE, "shipped_elsewhere")
    said = explanation(rig.store, rig.row(), Policy(), rig.clock.now())
    assert said.why_here.startswith("Mirakl debits a shipment (")
    assert said.waits_for.endswith("; then the OMS to send the rest: 1-A-2")
    assert said.happens_next.startswith("a read shows SHIPPING after the debit, and it waits for the rest")
    changes.put_in_state(rig.mirakl["alpha"], "1-A", "SHIPPING")
    rig.poll(60)
    assert (rig.state(), rig.attention()) == ("imported", [])


@pytest.mark.parametrize("more", [{}, {"order_line_state": "SHIPPED"}], ids=["shipped_date", "SHIPPED"])
def test_a_settle_of_the_debit_covers_the_same_line_in_shipping(rig: Rig, more: dict[str, str]) -> None:
    rig.imported(workflow=ON_SHIPMENT, lines=2)
    debits(rig, "1-A-1")
    changes.set_line(rig.mirakl["alpha"], "1-A", "1-A-1", **more)
    rig.poll(60)
    decide(rig, DecisionKind.SETTLE, "shipped_elsewhere")
    changes.set_fields(rig.mirakl["alpha"], "1-A", shipping_type_label="Other")
    rig.poll(60)  # another read of the debit
    changes.put_in_state(rig.mirakl["alpha"], "1-A", "SHIPPING")
    changes.set_line(rig.mirakl["alpha"], "1-A", "1-A-1", **more)
    rig.poll(60)
    assert (rig.state(), rig.attention()) == ("imported", [])


def test_an_order_that_was_debited_in_error_goes_on_in_the_oms(rig: Rig) -> None:
    rig.imported(workflow=ON_SHIPMENT, lines=2)
    rig.clock.advance(60)
    debits(rig)
    assert details(rig) == {"shipped_elsewhere": ""}
    changes.put_in_state(rig.mirakl["alpha"], "1-A", "SHIPPING")
    rig.poll(60)
    assert details(rig)["go_on_in_oms"].startswith("shipped until ")


def test_one_parcel_that_the_oms_sent_itself_is_not_told(rig: Rig) -> None:
    rig.imported(workflow=ON_SHIPMENT, lines=2)
    tell(rig, 512, new_shipments=[{"tracking": "T1", "items": [{"external_ref": "1-A-1", "quantity": 1}]}])
    debits(rig, "1-A-1")
    assert "shipped_elsewhere" not in rig.attention()


def test_a_debit_before_shipping_is_a_payment_that_is_awaited_and_no_shipment(rig: Rig) -> None:
    rig.add("1-A", state="WAITING_DEBIT_PAYMENT", workflow=ON_SHIPMENT)
    rig.poll()
    tell(rig, 4)  # somebody else sent it to the OMS
    assert (rig.state(), rig.attention()) == ("imported", ["payment_awaited_again"])


def test_the_debit_of_our_own_shipment_that_never_comes_is_told(rig: Rig) -> None:
    rig.imported(workflow=ON_SHIPMENT)
    tell(rig, 8, shipping_tracking="T1")
    debits(rig)
    assert (rig.state(), rig.attention()) == ("dispatched", [])
    later(rig, hours=47)
    assert rig.attention() == []
    later(rig, hours=2)
    assert rig.attention() == ["payment_late"]
    (reason,) = attention_reasons(rig.row(), rig.journal(), Policy())
    assert reason.cure.startswith("The goods have left. The customer has not paid for them yet")
    assert explained(rig).waits_for.startswith("Mirakl, which debits the customer")
    assert explained(rig).happens_next == "a read shows it shipped, or canceled if the debit fails"
    changes.put_in_state(rig.mirakl["alpha"], "1-A", "SHIPPED")
    rig.poll(60)
    assert rig.attention() == []


def test_a_payment_that_is_awaited_again_and_was_settled_is_told_when_it_takes_long(rig: Rig) -> None:
    rig.imported(workflow="PAY_ON_ACCEPTANCE")
    debits(rig)
    assert rig.attention() == ["payment_awaited_again"]
    decide(rig, DecisionKind.SETTLE)
    assert rig.attention() == []
    later(rig, hours=49)
    assert rig.attention() == ["payment_late"]


@pytest.mark.parametrize("workflow", ["PAY_ON_DELIVERY", "PAY_ON_DUE_DATE"])
def test_a_customer_who_pays_later_for_what_was_shipped_is_not_late(rig: Rig, workflow: str) -> None:
    rig.imported(workflow=workflow)
    tell(rig, 8, shipping_tracking="T1")
    debits(rig, "1-A-1")
    later(rig, days=10)
    assert (rig.state(), rig.attention()) == ("shipped", [])
    assert explained(rig).waits_for == "nothing: a read showed it shipped, and Mirakl debits the customer"


def test_what_explain_says_of_a_debit_of_a_shipment_is_true(rig: Rig) -> None:
    rig.imported(workflow=ON_SHIPMENT)
    debits(rig, "1-A-1")
    assert explained(rig).why_here.startswith("Mirakl debits a shipment (")


@pytest.mark.parametrize("workflow", ["PAY_ON_DELIVERY", "PAY_ON_DUE_DATE"])
@pytest.mark.parametrize("is_imported", [True, False])
def test_a_debit_of_one_parcel_leaves_the_line_that_is_still_to_be_sent_on_a_deadline(
    rig: Rig, workflow: str, is_imported: bool
) -> None:
    """The order was `shipped` then, and the other line waited for nobody."""
    if is_imported:
        rig.imported(workflow=workflow, lines=2)
    else:
        rig.add("1-A", state="STAGING", workflow=workflow, lines=2)
        rig.poll()
    debits(rig, "1-A-1")
    assert (rig.state(), details(rig)) == ("dispatched", {"shipped_elsewhere": "1-A-1"} if is_imported else {})
    if is_imported:
        decide(rig, DecisionKind.SETTLE)
    later(rig, days=10)
    assert "payment_late" in rig.attention()
    debits(rig, "1-A-1", "1-A-2")
    assert rig.state() == "shipped"
