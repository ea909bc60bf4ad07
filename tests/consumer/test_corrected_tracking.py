"""A carrier or a number that the OMS corrects, and corrects back: Mirakl ends with what was reported last."""

from pathlib import Path

import pytest

from tests.consumer.in_oms_hands import tell
from tests.consumer.rig import Rig


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
