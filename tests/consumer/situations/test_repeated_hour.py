"""The hour that clocks repeat in autumn: a time that the OMS reports in it without an offset is two instants."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.consumer.rig import Rig

#: Midnight UTC of the day on which London's clocks go back, and of a day in July.
AUTUMN, JULY = datetime(2027, 10, 31, tzinfo=UTC), datetime(2027, 7, 1, tzinfo=UTC)


class World:
    """An imported order of two pieces, whose OMS reports London's times."""

    def __init__(self, folder: Path, midnight: datetime) -> None:
        self.rig = Rig(folder, oms_table={"time_zone": "Europe/London"})
        self.midnight = midnight
        self.rig.clock.at = midnight - timedelta(hours=2)
        self.rig.imported(quantity=2)

    def tell(self, at: str, status: int, written: str, pieces: int, number: str = "") -> None:
        """The OMS reports a parcel at `at` (UTC), dated `written` (London)."""
        parcel: dict[str, Any] = {"dispatch_datetime": f"{self.midnight:%Y-%m-%d} {written}"}
        parcel["items"] = [{"external_ref": "1-A-1", "quantity": pieces}]
        oms_id = self.rig.row().facts.parts[0].oms_id
        body = {"id": oms_id, "external_ref": "1-A", "status": status, "shipping_carrier": "DPD UK"}
        body["new_shipments"] = [parcel | ({"tracking": number} if number else {})]
        hours, minutes = at.split(":")
        self.rig.clock.at = self.midnight + timedelta(hours=int(hours), minutes=int(minutes))
        self.rig.take_callback("http://alpha", {}, json.dumps(body).encode())
        self.rig.consume()
        self.rig.work()


@pytest.fixture(params=[AUTUMN, JULY], ids=["autumn", "july"])
def world(request: pytest.FixtureRequest, tmp_path: Path) -> World:
    return World(tmp_path, request.param)


@pytest.mark.parametrize("later_status", [4, 16], ids=["the same callback", "another status lists it again"])
def test_a_parcel_without_a_number_that_is_reported_again_hours_later_is_one_parcel(
    world: World, later_status: int
) -> None:
    world.tell("0:31", 4, "01:30:00", 1)
    world.tell("2:31", later_status, "01:30:00", 1)
    assert "partly_sent" in world.rig.attention()
    assert "shipped" not in world.rig.effects()


def test_a_repeat_of_the_first_tracking_does_not_replace_its_correction(tmp_path: Path) -> None:
    world = World(tmp_path, AUTUMN)
    world.tell("0:51", 8, "01:50:00", 2, "T1")
    world.tell("1:12", 8, "01:10:00", 2, "T2")
    world.tell("2:51", 8, "01:50:00", 2, "T1")
    assert [one.detail["tracking"] for one in world.rig.ours() if one.kind == "tracking"] == ["T1", "T2"]
