"""Lines and pieces that Mirakl shows and the OMS does not have: told, and covered by no status of the OMS."""

import pytest

from adapters.simulators.mirakl import changes
from statemachine.facts import DecisionKind
from tests.consumer.rig import Rig
from tests.consumer.situations.in_oms_hands import (
    IMPORTS,
    answer_with,
    decide,
    details,
    explained,
    lost_then_refused,
    lower,
    tell,
)


def dispatched_by_status_alone(rig: Rig) -> None:
    rig.clock.advance(60)
    rig.oms.dispatch("1-A", tracking="T1", shipments=[])
    rig.consume()
    rig.work()


def test_a_line_left_out_of_the_import_that_is_owed_later_is_told_and_no_status_covers_it(rig: Rig) -> None:
    rig.add("1-A", state="SHIPPING", lines=2)
    changes.set_line(rig.mirakl["alpha"], "1-A", "1-A-2", order_line_state="INCIDENT_OPEN")
    rig.poll()
    rig.work()
    assert [one.items for one in rig.row().facts.handovers] == [(("1-A-1", 1),)]
    changes.set_line(rig.mirakl["alpha"], "1-A", "1-A-2", order_line_state="SHIPPING")
    rig.poll()
    assert details(rig) == {"lines_added_after_import": "1-A-2 (0, now 1)"}
    decide(rig, DecisionKind.SETTLE)
    assert rig.attention() == []
    dispatched_by_status_alone(rig)
    assert (rig.state(), rig.attention()) == ("imported", ["partly_sent"])
    assert "shipped" not in rig.effects()
    tell(rig, 512, new_shipments=[{"tracking": "T2", "items": [{"external_ref": "1-A-2", "quantity": 1}]}])
    assert "shipped" in rig.effects()


@pytest.mark.parametrize("imported", IMPORTS)
def test_a_raised_quantity_is_told_however_the_import_ended(rig: Rig, imported) -> None:  # type: ignore[no-untyped-def]
    imported(rig)
    lower(rig, 5)
    assert details(rig) == {"lines_added_after_import": "1-A-1 (3, now 5)"}
    decide(rig, DecisionKind.SETTLE)
    assert rig.attention() == []
    tell(rig, 8)
    assert (rig.attention(), "shipped" in rig.effects()) == (["partly_sent"], False)


def test_a_quantity_that_goes_down_and_up_and_down_is_told_each_time_after_a_settle(rig: Rig) -> None:
    rig.imported(quantity=3)
    told = {1: "lines_canceled_after_import", 3: "lines_added_after_import"}
    for quantity in (1, 3, 1, 3):
        rig.clock.advance(60)
        lower(rig, quantity)
        assert rig.attention() == [told[quantity]]
        decide(rig, DecisionKind.SETTLE)
        assert rig.attention() == []
    dispatched_by_status_alone(rig)
    assert (rig.attention(), "shipped" in rig.effects()) == (["partly_sent"], False)


def test_a_change_that_goes_back_before_a_settle_is_told_and_holds_no_shipment(rig: Rig) -> None:
    rig.imported(quantity=3)
    for quantity in (1, 3):
        lower(rig, quantity)
    assert rig.attention() == ["lines_added_after_import"]
    dispatched_by_status_alone(rig)
    assert "shipped" in rig.effects()


def test_a_canceled_line_that_is_owed_again_after_a_settle_is_told(rig: Rig) -> None:
    rig.imported(lines=2)
    for state, told in (("CANCELED", "lines_canceled_after_import"), ("SHIPPING", "lines_added_after_import")) * 2:
        rig.clock.advance(60)
        changes.set_line(rig.mirakl["alpha"], "1-A", "1-A-2", order_line_state=state)
        rig.poll()
        assert rig.attention() == [told]
        decide(rig, DecisionKind.SETTLE)
        assert rig.attention() == []


def test_a_refund_of_a_part_that_is_taken_back_after_a_settle_is_told(rig: Rig) -> None:
    rig.imported(quantity=3)
    changes.refund(rig.mirakl["alpha"], "1-A", "1-A-1", 1)
    rig.poll()
    decide(rig, DecisionKind.SETTLE)
    rig.clock.advance(60)
    changes.set_line(rig.mirakl["alpha"], "1-A", "1-A-1", refunds=[])
    rig.poll()
    assert details(rig) == {"lines_added_after_import": "1-A-1 (part of 3, now 3)"}
    decide(rig, DecisionKind.SETTLE)
    assert rig.attention() == []
    dispatched_by_status_alone(rig)
    assert (rig.attention(), "shipped" in rig.effects()) == (["partly_sent"], False)


def test_an_address_that_changes_back_after_a_settle_is_told(rig: Rig) -> None:
    rig.imported()
    before = rig.mirakl["alpha"].order("1-A")["customer"]["shipping_address"]["street_1"]
    for street in ("95 Canary Row", before, "95 Canary Row"):
        rig.clock.advance(60)
        changes.set_address(rig.mirakl["alpha"], "1-A", street_1=street)
        rig.poll()
        assert rig.attention() == ["changed_after_import"]
        decide(rig, DecisionKind.SETTLE)
        assert rig.attention() == []


def test_what_the_answer_shows_fewer_pieces_of_no_status_covers(rig: Rig) -> None:
    answer_with(rig, ("1-A-1", 1))
    rig.imported(quantity=3)
    decide(rig, DecisionKind.SETTLE)
    dispatched_by_status_alone(rig)
    assert (rig.state(), rig.attention()) == ("imported", ["partly_sent"])
    assert "shipped" not in rig.effects()


def answer_lost_for_two_lines(rig: Rig) -> None:
    rig.fail("order", "timeout_after")
    rig.add("1-A", state="SHIPPING", lines=2)
    rig.poll()
    rig.work()
    rig.work(600)
    assert rig.results[-1] == ("import_order", "already_done")


def parcel(line: str) -> list[dict[str, object]]:
    return [{"tracking": f"T-{line}", "items": [{"external_ref": line, "quantity": 1}]}]


def test_a_status_that_lists_one_line_of_two_does_not_cover_the_other_after_a_lost_answer(rig: Rig) -> None:
    answer_lost_for_two_lines(rig)
    for status, parcels in ((8, parcel("1-A-1")), (64, [])):
        tell(rig, status, new_shipments=parcels)
        assert (rig.state(), rig.attention()) == ("imported", ["partly_sent"])
        assert "shipped" not in rig.effects()
    tell(rig, 8, new_shipments=parcel("1-A-2"))
    assert "shipped" in rig.effects()


def test_a_status_without_a_list_covers_every_line_after_a_lost_answer(rig: Rig) -> None:
    answer_lost_for_two_lines(rig)
    tell(rig, 512, new_shipments=parcel("1-A-1"))
    assert rig.attention() == ["partly_sent"]
    tell(rig, 8)
    assert "shipped" in rig.effects()


def test_what_landed_before_a_refusal_counts_and_not_what_was_refused_later(rig: Rig) -> None:
    lost_then_refused(rig, quantity=3)
    rig.clock.advance(60)
    lower(rig)
    assert "lines_canceled_after_import" in rig.attention()
    rig.work()  # the changed order is tried again, and the OMS has it
    assert [one.items for one in rig.row().facts.handovers] == [(("1-A-1", 3),), (("1-A-1", 1),)]
    assert details(rig) == {"already_in_oms": "", "lines_canceled_after_import": "1-A-1 (1 of 3)"}


def test_an_order_that_is_withdrawn_owed_again_and_withdrawn_is_held_again(rig: Rig) -> None:
    rig.imported()
    held = ["withdrawn_after_import"]
    for state, told in (("CANCELED", held), ("SHIPPING", ["lines_added_after_import"]), ("CANCELED", held)):
        if rig.attention():
            decide(rig, DecisionKind.SETTLE, *rig.attention())
        rig.clock.advance(60)
        changes.set_line(rig.mirakl["alpha"], "1-A", "1-A-1", order_line_state=state)
        rig.poll()
        assert rig.attention() == told
    tell(rig, 8)
    assert "shipped" not in rig.effects()


def test_a_status_that_lists_no_line_of_ours_covers_every_line_after_a_lost_answer(rig: Rig) -> None:
    answer_lost_for_two_lines(rig)
    tell(rig, 8, new_shipments=parcel("a number of the OMS's own"))
    assert "shipped" in rig.effects()


def test_a_line_that_is_owed_again_while_mirakl_does_not_apply_or24_keeps_the_order_on_the_list(rig: Rig) -> None:
    """The state is dispatched because Mirakl answered OR24. The rest is owed all the same."""
    rig.add("1-A", state="SHIPPING", lines=2)
    changes.set_line(rig.mirakl["alpha"], "1-A", "1-A-2", order_line_state="INCIDENT_OPEN")
    rig.poll()
    rig.work()
    decide(rig, DecisionKind.SETTLE)
    rig.fail("OR24", "204_not_applied")
    dispatched_by_status_alone(rig)
    assert (rig.state(), "shipped" in rig.effects()) == ("dispatched", False)
    changes.set_line(rig.mirakl["alpha"], "1-A", "1-A-2", order_line_state="SHIPPING")
    rig.poll()
    assert rig.attention() == ["lines_added_after_import"], "a later read has to show whether OR24 was applied"
    decide(rig, DecisionKind.SETTLE)
    rig.poll(600)
    assert (rig.state(), rig.attention()) == ("dispatched", ["partly_sent"])
    said = explained(rig)
    rest, settled = said.waits_for.split("; ", 1)
    assert (rest, said.happens_next) == (
        "the OMS to send the rest: 1-A-2",
        "Mirakl is notified as soon as the rest is sent",
    )
    assert settled.startswith("ana settled lines_added_after_import at 2026-03-01 12:01 UTC (seen)")
    tell(rig, 512, new_shipments=parcel("1-A-2"))
    assert "shipped" in rig.effects()


def incident(rig: Rig, state: str) -> None:
    rig.clock.advance(60)
    changes.set_line(rig.mirakl["alpha"], "1-A", "1-A-2", order_line_state=state)
    rig.poll()


def test_a_line_that_was_stopped_for_an_incident_and_is_owed_again_is_told_and_no_status_covers_it(rig: Rig) -> None:
    """The cure of `line_incident` is to stop the line in the OMS, and to settle."""
    rig.imported(lines=2)
    incident(rig, "INCIDENT_OPEN")
    decide(rig, DecisionKind.SETTLE)
    incident(rig, "SHIPPING")
    assert details(rig) == {"lines_added_after_import": "1-A-2 (0, now 1)"}
    decide(rig, DecisionKind.SETTLE)
    dispatched_by_status_alone(rig)
    assert (rig.attention(), "shipped" in rig.effects()) == (["partly_sent"], False)
    tell(rig, 512, new_shipments=parcel("1-A-2"))
    assert "shipped" in rig.effects()


def test_a_piece_that_left_before_its_incident_was_settled_counts_and_the_others_were_stopped(rig: Rig) -> None:
    rig.imported(lines=2, quantity=2)
    tell(rig, 512, new_shipments=parcel("1-A-2"))
    incident(rig, "INCIDENT_OPEN")
    decide(rig, DecisionKind.SETTLE, "line_incident")
    incident(rig, "SHIPPING")
    assert details(rig) == {"lines_added_after_import": "1-A-2 (1, now 2)", "partly_sent": ""}
    decide(rig, DecisionKind.SETTLE)
    tell(rig, 8, new_shipments=[])
    assert (rig.attention(), "shipped" in rig.effects()) == (["partly_sent"], False)
    tell(rig, 512, new_shipments=[{"tracking": "T3", "items": [{"external_ref": "1-A-2", "quantity": 2}]}])
    assert "shipped" in rig.effects()


def test_a_line_that_left_before_its_incident_was_settled_counts_as_sent_when_the_incident_ends(rig: Rig) -> None:
    rig.imported(lines=2)
    rig.switch(paused=("ship",))
    dispatched_by_status_alone(rig)
    incident(rig, "INCIDENT_OPEN")
    decide(rig, DecisionKind.SETTLE)
    incident(rig, "SHIPPING")
    assert (rig.state(), rig.attention()) == ("dispatched", [])
