"""A carrier or a number that the OMS corrects, and corrects back: Mirakl ends with what was reported last."""

from datetime import datetime, timedelta
from pathlib import Path

import pytest

from consumer.operations import orders as operations
from statemachine.facts import DecisionKind, Tracking
from tests.consumer.rig import Rig
from tests.consumer.situations.in_oms_hands import tell


@pytest.fixture
def rig(tmp_path: Path) -> Rig:
    rig = Rig(tmp_path)
    rig.imported()
    return rig


def parcel(rig: Rig, number: str, carrier: str) -> None:
    """Report the parcel under this number and carrier, and read the order twice after the calls."""
    tell(rig, 8, shipping_carrier=carrier, new_shipments=[{"tracking": number}])
    for _ in range(2):
        rig.poll(600)
        rig.work()


def shown(rig: Rig) -> tuple[str, str]:
    order = rig.mirakl["alpha"].order("1-A")
    return order["shipping_company"], order["shipping_tracking"]


def test_a_carrier_that_is_corrected_back_under_the_same_number_is_sent_again(rig: Rig) -> None:
    for carrier in ("DPD", "UPS", "DPD"):
        parcel(rig, "T1", carrier)
        assert shown(rig) == (carrier, "T1")
    assert rig.effects() == ["imported", "tracking", "shipped", "tracking", "tracking"]
    assert rig.attention() == []


def test_a_carrier_whose_correction_landed_without_an_answer_is_sent_again(rig: Rig) -> None:
    parcel(rig, "T1", "DPD")
    rig.fail("OR23", "timeout_after")
    tell(rig, 8, shipping_carrier="UPS", new_shipments=[{"tracking": "T1"}])
    assert shown(rig) == ("UPS", "T1")
    parcel(rig, "T1", "DPD")
    assert shown(rig) == ("DPD", "T1")
    assert rig.attention() == []


def test_a_number_that_mirakl_shows_is_not_sent_again_after_a_failure_of_another(rig: Rig) -> None:
    parcel(rig, "T1", "DPD")
    rig.fail("OR23", "answer", status=503, content="")
    tell(rig, 8, shipping_carrier="DPD", new_shipments=[{"tracking": "T2"}])
    parcel(rig, "T1", "DPD")
    assert rig.effects() == ["imported", "tracking", "shipped"]


# -- Reports with a time of the dispatch, and without ----------------------------------------------------------------


def report(rig: Rig, status: int, number: str, left: datetime | None = None) -> None:
    """Report the number, in a parcel that left at this time or, without one, as that of the order."""
    at = {"dispatch_datetime": f"{left:%Y-%m-%d %H:%M:%S}"} if left else {}
    parcels = [{"tracking": number, **at, "items": [{"external_ref": "1-A-1", "quantity": 1}]}]
    tell(rig, status, shipping_carrier="DPD", shipping_tracking=number, new_shipments=parcels if left else [])
    for _ in range(2):
        rig.poll(300)
        rig.work()


def vouch(rig: Rig, number: str) -> None:
    rig.clock.advance(60)
    act = operations.Act(DecisionKind.SENT, "ana", "left", rig.clock.now(), tracking=Tracking("DPD", number))
    operations.decide(rig.store, rig.orders, rig.row(), act, shops=("alpha",))
    rig.work()


@pytest.mark.parametrize("status", [64, 516])
def test_a_number_that_comes_with_the_time_of_its_parcel_replaces_one_that_came_without(rig: Rig, status: int) -> None:
    left = rig.clock.now()
    report(rig, 8, "A1")
    report(rig, status, "B2", left)
    assert (shown(rig), rig.attention()) == (("DPD", "B2"), [])


def test_a_number_that_comes_without_a_time_replaces_one_that_came_with_it_before(rig: Rig) -> None:
    report(rig, 8, "A1", rig.clock.now())
    report(rig, 64, "B2")
    assert (shown(rig), rig.attention()) == (("DPD", "B2"), [])


@pytest.mark.parametrize("ahead", [1, 3600])
def test_a_parcel_dated_after_its_report_counts_as_of_then_and_not_as_without_a_time(rig: Rig, ahead: int) -> None:
    left = rig.clock.now()
    report(rig, 8, "T2", left + timedelta(seconds=60 + ahead))
    report(rig, 64, "T1", left)
    assert (shown(rig), rig.attention()) == (("DPD", "T2"), [])


def test_a_correction_within_the_second_of_a_report_that_was_dated_ahead_wins(rig: Rig) -> None:
    """The first report came at .1 of a second and counted as of then; the OMS dates the correction by that second."""
    begin = rig.clock.now().replace(microsecond=0) + timedelta(seconds=60)  # `tell` lets a minute pass
    for number, after, dated in (("T1", 0.1, begin + timedelta(days=1)), ("T2", 0.6, begin)):
        rig.clock.at = begin + timedelta(seconds=after - 60)
        parcels = [{"tracking": number, "dispatch_datetime": f"{dated:%Y-%m-%d %H:%M:%S}", "items": []}]
        tell(rig, 8, shipping_carrier="DPD", shipping_tracking=number, new_shipments=parcels)
    assert shown(rig) == ("DPD", "T2")


@pytest.mark.parametrize("dated", [True, False])
def test_a_number_that_a_person_named_stays_when_the_oms_reports_the_earlier_one_again(rig: Rig, dated: bool) -> None:
    left = rig.clock.now() if dated else None
    report(rig, 8, "T1", left)
    vouch(rig, "T9")
    report(rig, 64, "T1", left)
    assert (shown(rig), rig.attention()) == (("DPD", "T9"), [])
    report(rig, 516, "T2", left)
    assert (shown(rig), rig.attention()) == (("DPD", "T2"), [])
