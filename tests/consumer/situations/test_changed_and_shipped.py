"""What changed after the import stays on the list after the shipment, until a person settles it."""

from collections.abc import Callable
from dataclasses import replace

import pytest
import sqlalchemy as sa

from adapters.simulators.mirakl import changes
from adapters.store import schema as s
from adapters.store.facts_json import facts_to_json
from consumer.operations.changed import changed_values
from statemachine.facts import DecisionKind
from tests.consumer.rig import Rig
from tests.consumer.situations.in_oms_hands import decide, details, explained, tell


def moves(rig: Rig) -> None:
    changes.set_address(rig.mirakl["alpha"], "1-A", street_1="95 Canary Row")
    rig.poll()


def writes(rig: Rig) -> None:
    rig.mirakl["alpha"].post_message("1-A", "Canary asks for red.")
    changes.set_fields(rig.mirakl["alpha"], "1-A", "customer")
    rig.poll()


def imported_with_a_file(rig: Rig) -> None:
    rig.add("1-A", state="SHIPPING")
    rig.mirakl["alpha"].post_message("1-A", "Canary sends a picture.", attachments=["Canary.png"])
    rig.poll()
    rig.work()
    assert rig.state() == "imported"


def imported(rig: Rig) -> None:
    rig.imported()


def ships(rig: Rig) -> None:
    tell(rig, 8, shipping_carrier="DPD", shipping_tracking="T1")
    rig.poll(600)
    rig.work()
    assert (rig.state(), "shipped" in rig.effects()) == ("shipped", True)


def removed(rig: Rig) -> None:
    """Mirakl removes the customer's data, long after the shipment."""
    changes.set_address(rig.mirakl["alpha"], "1-A", street_1="removed", lastname="removed")
    changes.set_fields(rig.mirakl["alpha"], "1-A", customer_notification_email="removed")
    rig.poll()


def as_stored_before(rig: Rig) -> None:
    """Let the row be as the version before stored it."""
    row = rig.row()
    assert row.facts.snapshot is not None
    facts = replace(row.facts, last_open=None, snapshot=replace(row.facts.snapshot, is_compared=False))
    with rig.store.transaction() as tx:
        tx.execute(sa.update(s.orders).where(s.orders.c.id == row.key).values(facts=facts_to_json(facts)))
    rig.orders.replan([(row.shop, row.order_id)])


Step = Callable[[Rig], None]


@pytest.mark.parametrize(
    ("begins", "change", "reason"),
    [
        (imported, moves, "changed_after_import"),
        (imported, writes, "message_after_import"),
        (imported_with_a_file, lambda _: None, "attachment"),
    ],
    ids=["address", "message", "attachment"],
)
def test_it_stands_after_the_shipment_until_a_person_settles_it(
    rig: Rig, begins: Step, change: Step, reason: str
) -> None:
    begins(rig)
    change(rig)
    before = details(rig)
    assert list(before) == [reason]
    ships(rig)
    assert details(rig) == before
    removed(rig)
    assert details(rig) == before, "what Mirakl removes changes nothing"
    explanation = explained(rig)
    assert explanation.attention[0].cure.startswith("The goods have left.")
    decide(rig, DecisionKind.SETTLE)
    assert rig.attention() == []
    changes.put_in_state(rig.mirakl["alpha"], "1-A", "CLOSED")
    rig.poll()
    assert rig.attention() == []


def test_both_values_are_shown_also_after_mirakl_removed_them(rig: Rig) -> None:
    rig.imported()
    old = rig.mirakl["alpha"].order("1-A")["customer"]["shipping_address"]["street_1"]
    moves(rig)
    ships(rig)
    removed(rig)
    shown = [(one.field, one.oms, one.mirakl) for one in changed_values(rig.store, rig.row())]
    assert ("street_1", old, "95 Canary Row") in shown


def test_what_changes_only_after_the_shipment_needs_nobody(rig: Rig) -> None:
    rig.imported()
    ships(rig)
    for change in (moves, writes, removed):
        change(rig)
        assert rig.attention() == []


def test_a_settle_before_the_shipment_is_enough(rig: Rig) -> None:
    rig.imported()
    moves(rig)
    decide(rig, DecisionKind.SETTLE)
    ships(rig)
    removed(rig)
    assert rig.attention() == []


def test_an_order_in_shipping_again_is_compared_with_its_newest_read(rig: Rig) -> None:
    rig.imported()
    moves(rig)
    ships(rig)
    changes.put_in_state(rig.mirakl["alpha"], "1-A", "SHIPPING")
    decide(rig, DecisionKind.SETTLE, "changed_after_import")
    changes.set_address(rig.mirakl["alpha"], "1-A", street_1="96 Canary Row")
    rig.poll()
    assert "changed_after_import" in rig.attention()


def test_an_order_whose_shipment_an_earlier_version_stored_is_not_on_the_list(rig: Rig) -> None:
    """That version kept no read from before the shipment, and a user does not want all old orders on the list."""
    imported_with_a_file(rig)
    moves(rig)
    ships(rig)
    assert len(rig.attention()) == 2
    as_stored_before(rig)
    assert rig.attention() == []
    changes.put_in_state(rig.mirakl["alpha"], "1-A", "CLOSED")
    rig.poll()
    assert (rig.state(), rig.attention()) == ("shipped", [])
