"""Orders that the OMS may have although it reported nothing: the answer to the import was lost, or a person said so."""

from collections.abc import Callable
from dataclasses import replace

import httpx
import pytest
import sqlalchemy as sa

from adapters.simulators.faults import Fault
from adapters.simulators.mirakl import changes
from adapters.store import schema as s
from adapters.store.facts_json import facts_to_json
from consumer.housekeeping.imports_of_before import keep_what_was_sent
from consumer.operations.errors import NotPossible
from statemachine.facts import DecisionKind
from tests.consumer.rig import Rig
from tests.consumer.situations.in_oms_hands import decide, details, explained, lower

NO = '{"error": {"message": "no", "code": 0}}'


def refused_once(rig: Rig, *order_ids: str) -> None:
    for order_id in order_ids:
        rig.oms.knobs.faults.append(Fault("order", "answer", 1, order_id, status=400, content=NO))
        rig.add(order_id, state="SHIPPING")


def changed(rig: Rig) -> None:
    changes.set_address(rig.mirakl["alpha"], "1-A", street_1="95 Canary Row")
    rig.poll(60)


def retried(rig: Rig) -> None:
    rig.clock.advance(60)
    decide(rig, DecisionKind.RETRY)


# -- A refusal says nothing of a later payload ---------------------------------------------------------------------


@pytest.mark.parametrize("goes_again", [changed, retried])
@pytest.mark.parametrize(
    ("state", "reason"), [("CANCELED", "canceled_after_import"), ("WAITING_DEBIT_PAYMENT", "payment_awaited_again")]
)
def test_a_refusal_does_not_hide_that_the_next_import_may_have_landed(
    rig: Rig, goes_again: Callable[[Rig], None], state: str, reason: str
) -> None:
    refused_once(rig, "1-A")
    rig.poll()
    rig.work()
    assert rig.attention() == ["import_rejected"]
    rig.fail("order", "timeout_after")
    goes_again(rig)
    rig.work()
    assert rig.effects() == ["imported"], "the OMS makes the goods, and its answer was lost"
    changes.put_in_state(rig.mirakl["alpha"], "1-A", state)
    rig.poll(60)
    assert reason in rig.attention()


def test_an_import_whose_every_payload_was_refused_is_not_in_the_oms(rig: Rig) -> None:
    refused_once(rig, "1-A")
    rig.poll()
    rig.work()
    rig.oms.knobs.faults.append(Fault("order", "answer", 1, "1-A", status=400, content=NO))
    changed(rig)
    rig.work()
    assert rig.attention() == ["import_rejected"]
    rig.mirakl["alpha"].cancel("1-A")
    rig.poll(60)
    assert (rig.state(), rig.attention()) == ("canceled", [])


def test_a_refusal_that_was_given_to_many_orders_hides_no_import_that_landed_later(rig: Rig) -> None:
    order_ids = [f"{number}-A" for number in range(5)]
    refused_once(rig, *order_ids)
    rig.fail("order", "timeout_after", 20)
    rig.poll()
    for seconds in (0, 60, 60):
        rig.work(seconds)
    landed = [order_id for order_id in order_ids if "imported" in rig.effects(order_id)]
    assert landed, "the same refusal of five orders is doubted, so they go again"
    for order_id in order_ids:
        rig.mirakl["alpha"].cancel(order_id)
    rig.poll(60)
    assert [order_id for order_id in landed if "canceled_after_import" not in rig.attention(order_id)] == []


def test_a_payload_that_was_given_up_and_then_refused_does_not_go_out_again(rig: Rig) -> None:
    """The OMS refused the address. The customer mends it: the next import carries the new one."""
    rig.oms_net.hook = lambda _: httpx.Response(503)
    rig.add("1-A", state="SHIPPING")
    for _ in range(30):
        rig.poll(86_400)
        rig.work()
    assert rig.attention() == ["gave_up"]
    rig.oms_net.hook = lambda _: None
    rig.oms.knobs.faults.append(Fault("order", "answer", 1, "1-A", status=400, content=NO))
    retried(rig)
    rig.work()
    assert rig.attention() == ["import_rejected"]
    changed(rig)
    rig.work()
    assert "95 Canary Row" in rig.oms_net.bodies[-1].decode()
    assert (rig.state(), rig.attention()) == ("imported", [])


# -- Refusals that the version 02993fc stored ----------------------------------------------------------------------


def as_of_before(rig: Rig) -> None:
    """Take from the stored facts what that version did not keep, and start this version on them."""
    facts = rig.row().facts
    old = replace(facts, rejections=tuple(replace(no, maybe_there=False) for no in facts.rejections), handovers=())
    old = replace(old, baseline=None, not_shown=(), seen=(), receipts=(), pieces=())
    with rig.store.transaction() as tx:
        tx.execute(sa.update(s.orders).where(s.orders.c.id == rig.row().key).values(facts=facts_to_json(old)))
    keep_what_was_sent(rig.store, rig.orders, "alpha", lambda: None)


def test_a_refused_repeat_that_a_version_before_stored_says_nothing_of_the_first_try(rig: Rig) -> None:
    rig.fail("order", "timeout_after")
    refused_once(rig, "1-A")
    rig.poll()
    rig.work()
    rig.work(600)
    assert rig.results[-1] == ("import_order", "rejected")
    assert rig.effects() == ["imported"]
    as_of_before(rig)
    rig.mirakl["alpha"].cancel("1-A")
    rig.poll(60)
    assert rig.attention() == ["canceled_after_import"]


def test_both_payloads_of_a_version_before_count(rig: Rig) -> None:
    """The first landed, and the OMS refused its repeat and the second one."""
    rig.oms.knobs.faults.append(Fault("order", "timeout_after", 1, "1-A"))
    rig.oms.knobs.faults.append(Fault("order", "answer", 2, "1-A", status=400, content=NO))
    rig.add("1-A", state="SHIPPING", quantity=3)
    rig.poll()
    rig.work()
    rig.work(600)
    lower(rig)
    rig.work()
    assert [one.items for one in rig.row().facts.handovers] == [(("1-A-1", 3),), (("1-A-1", 1),)]
    as_of_before(rig)
    rig.poll(60)
    assert details(rig)["lines_canceled_after_import"] == "1-A-1 (1 of 3)"


def test_a_first_try_that_was_refused_under_a_version_before_did_not_land(rig: Rig) -> None:
    refused_once(rig, "1-A")
    rig.poll()
    rig.work()
    as_of_before(rig)
    rig.mirakl["alpha"].cancel("1-A")
    rig.poll(60)
    assert (rig.state(), rig.attention()) == ("canceled", [])


# -- Shipped by somebody else --------------------------------------------------------------------------------------


@pytest.mark.parametrize("centre", ["", "ELSEWHERE"])
def test_an_order_that_somebody_else_ships_while_the_answer_of_the_oms_is_lost(rig: Rig, centre: str) -> None:
    rig.fail("order", "timeout_after")
    rig.add("1-A", state="SHIPPING")
    rig.poll()
    rig.work()
    assert rig.effects() == ["imported"]
    if centre:
        changes.set_centre(rig.mirakl["alpha"], "1-A", centre)
    changes.put_in_state(rig.mirakl["alpha"], "1-A", "SHIPPED")
    rig.poll(60)
    assert rig.state() == "shipped"
    assert "shipped_elsewhere" in rig.attention()


def test_an_order_that_somebody_else_ships_after_a_person_imported_it(rig: Rig) -> None:
    refused_once(rig, "1-A")
    rig.poll()
    rig.work()
    rig.clock.advance(60)
    decide(rig, DecisionKind.HANDLED)
    assert rig.state() == "imported"
    changes.set_centre(rig.mirakl["alpha"], "1-A", "ELSEWHERE")
    changes.put_in_state(rig.mirakl["alpha"], "1-A", "SHIPPED")
    rig.poll(60)
    assert "shipped_elsewhere" in rig.attention()


def test_an_order_that_the_oms_never_had_is_not_told(rig: Rig) -> None:
    rig.add("1-A")
    rig.poll()
    changes.put_in_state(rig.mirakl["alpha"], "1-A", "SHIPPED")
    rig.poll(60)
    assert (rig.state(), rig.attention()) == ("shipped", [])


# -- While nobody knows whether the import landed --------------------------------------------------------------------


def test_a_changed_address_and_a_first_message_are_told_while_the_answer_to_the_import_is_lost(rig: Rig) -> None:
    rig.fail("order", "timeout_after")
    rig.add("1-A", state="SHIPPING")
    rig.poll()
    rig.work()
    decide(rig, DecisionKind.HOLD)
    said = explained(rig)
    assert said.waits_for.endswith("; the OMS may have the order, and goes on with it then")
    changes.set_address(rig.mirakl["alpha"], "1-A", street_1="95 Canary Row")
    rig.mirakl["alpha"].post_message("1-A", "Canary asks for red.")
    rig.poll()
    assert (rig.state(), rig.attention()) == ("shipping", ["changed_after_import", "held", "message_after_import"])


def test_a_changed_address_of_an_order_that_the_oms_refused_is_no_change_in_the_oms(rig: Rig) -> None:
    refused_once(rig, "1-A")
    rig.poll()
    rig.work()
    changed(rig)
    assert rig.attention() == []


def test_nothing_is_settled_while_an_import_is_under_way(rig: Rig) -> None:
    """The OMS does not have the order yet, so a person who looks there finds nothing to change."""

    def meanwhile(_request: httpx.Request) -> None:
        rig.oms_net.hook = lambda _: None
        changes.set_address(rig.mirakl["alpha"], "1-A", street_1="95 New")
        rig.poll()
        assert rig.attention() == ["changed_after_import"]
        with pytest.raises(NotPossible, match="import_order is under way; wait for its outcome, then look in the OMS"):
            decide(rig, DecisionKind.SETTLE)

    rig.oms_net.hook = meanwhile
    rig.imported()
    assert rig.attention() == ["changed_after_import"]
    decide(rig, DecisionKind.SETTLE)
    assert rig.attention() == []
