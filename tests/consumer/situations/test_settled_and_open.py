"""After a settle `explain` still says what is left to do, and when a person is asked again."""

from adapters.simulators.mirakl import changes
from consumer.operations.lines import lines_of
from statemachine.facts import DecisionKind
from tests.consumer.rig import Rig
from tests.consumer.situations.in_oms_hands import decide, explained, tell


def waits_for(rig: Rig) -> str:
    return explained(rig).waits_for


def happens_next(rig: Rig) -> str:
    return explained(rig).happens_next


def one_line_canceled(rig: Rig) -> None:
    """The OMS cancels the second of two lines, and a person settles that."""
    rig.imported(lines=2)
    tell(rig, 4, new_cancellations=[{"items": [{"external_ref": "1-A-2", "quantity": 1}]}])
    assert "settled" not in waits_for(rig)
    decide(rig, DecisionKind.SETTLE, "oms_canceled")


def test_a_line_that_the_oms_canceled_and_that_would_be_reported_shipped_is_named_until_its_refund(rig: Rig) -> None:
    one_line_canceled(rig)
    assert waits_for(rig) == (
        "the OMS to report that it sent the goods; ana settled oms_canceled at 2026-03-01 12:01 UTC (seen): Mirakl "
        "still shows 1-A-2 to be sent, which the OMS canceled: OR24 reports it shipped with the rest, so cancel or "
        "refund it in Mirakl's portal first"
    )
    changes.refund(rig.mirakl["alpha"], "1-A", "1-A-2")
    rig.poll()
    assert "settled" not in waits_for(rig)


def test_the_call_that_reports_a_canceled_line_shipped_names_it(rig: Rig) -> None:
    one_line_canceled(rig)
    rig.fail("OR24", "503", 100)
    tell(rig, 8)
    assert "OR24 tells Mirakl that the order is shipped, also 1-A-2, which the OMS canceled" in happens_next(rig)


def test_a_line_that_a_person_stopped_is_not_shown_as_sent_with_the_rest(rig: Rig) -> None:
    """The OMS reports its order sent, and names no parcel. Our OR24 marks every line shipped."""
    rig.imported(lines=2)
    changes.set_line(rig.mirakl["alpha"], "1-A", "1-A-2", order_line_state="INCIDENT_OPEN")
    rig.poll()
    assert rig.attention() == ["line_incident"]
    decide(rig, DecisionKind.SETTLE)
    tell(rig, 8)
    rig.poll(600)
    assert "shipped" in rig.effects()
    assert [one.sent for one in lines_of(rig.row().facts, None)] == ["all", "not known"]


def test_pieces_that_the_oms_makes_too_are_named_until_they_left(rig: Rig) -> None:
    rig.imported(quantity=1)
    changes.set_line(rig.mirakl["alpha"], "1-A", "1-A-1", quantity=3)
    rig.poll()
    decide(rig, DecisionKind.SETTLE, "lines_added_after_import")
    assert (
        "; ana settled lines_added_after_import at 2026-03-01 12:00 UTC (seen): the OMS makes what was added of 1-A-1; "
        "that counts as sent when parcels hold it, or by `orders sent`"
    ) in waits_for(rig)
    decide(rig, DecisionKind.SENT)
    assert "settled" not in waits_for(rig)


def test_lines_that_the_oms_canceled_one_by_one_do_not_wait_for_a_rest(rig: Rig) -> None:
    one_line_canceled(rig)
    tell(rig, 4, new_cancellations=[{"items": [{"external_ref": "1-A-1", "quantity": 1}]}])
    decide(rig, DecisionKind.SETTLE, "oms_canceled")
    said = waits_for(rig)
    assert said.startswith("a person: the OMS canceled all of it, so nobody there makes it; ana settled oms_canceled ")
    assert "Mirakl still shows 1-A-1, 1-A-2 to be sent, and nobody makes it: cancel or refund it" in said
    assert "the rest" not in said
