"""Orders that the OMS split: OR24 ships the whole order, so it waits for every piece in every part."""

import json
from pathlib import Path
from typing import Any

import pytest

from adapters.simulators.faults import Fault
from adapters.simulators.mirakl import changes
from tests.consumer.rig import Rig

L1, L2 = "1-A-1", "1-A-2"


def answer(rig: Rig, parts: dict[int, tuple[str, int]]) -> None:
    """Let the OMS answer the import with these parts: their ids, each with a line and its pieces."""
    shown = [
        {"id": oms_id, "ref": str(oms_id), "external_ref": "1-A", "status": 1, "items": [item(line, pieces)]}
        for oms_id, (line, pieces) in parts.items()
    ]
    rig.oms.knobs.faults.append(Fault("order", "answer_after", 1, "1-A", status=201, content=json.dumps(shown)))


def item(line: str, pieces: int) -> dict[str, Any]:
    return {"id": 1, "external_ref": line, "quantity": pieces}


def tell(rig: Rig, oms_id: int, status: int, *parcels: tuple[str, int]) -> None:
    rig.clock.advance(60)
    shipments = [{"tracking": f"T{oms_id}-{pieces}", "items": [item(line, pieces)]} for line, pieces in parcels]
    body = {"id": oms_id, "external_ref": "1-A", "status": status, "new_shipments": shipments}
    rig.take_callback("http://alpha", {}, json.dumps(body).encode())
    rig.consume()
    rig.work()


def waits_for_the_rest(rig: Rig) -> bool:
    return rig.attention() == ["partly_sent"] and "shipped" not in rig.effects()


def test_a_parcel_with_some_pieces_of_a_line_does_not_end_the_wait_for_its_part(tmp_path: Path) -> None:
    rig = Rig(tmp_path)
    answer(rig, {7: (L1, 3), 8: (L2, 1)})
    rig.add("1-A", state="SHIPPING", lines=2)
    changes.set_line(rig.mirakl["alpha"], "1-A", L1, quantity=3)
    rig.poll()
    rig.work()
    tell(rig, 7, 512, (L1, 1))
    tell(rig, 8, 8)
    assert waits_for_the_rest(rig)
    tell(rig, 7, 512, (L1, 2))
    assert "shipped" in rig.effects()


@pytest.mark.parametrize("may_split", [False, True])
@pytest.mark.parametrize("rest", [(8, 8), (8, 512, (L1, 2))], ids=["status", "parcel"])
def test_a_line_of_two_parts_is_sent_when_both_have_sent_it(
    tmp_path: Path, may_split: bool, rest: tuple[Any, ...]
) -> None:
    rig = Rig(tmp_path, oms_table={"may_split": may_split})
    answer(rig, {7: (L1, 2), 8: (L1, 2)})
    rig.imported(quantity=4)
    tell(rig, 7, 8, (L1, 2))
    assert waits_for_the_rest(rig)
    tell(rig, *rest)
    assert "shipped" in rig.effects()


def test_parcels_with_all_that_a_part_has_end_the_wait_for_it_without_a_status(tmp_path: Path) -> None:
    rig = Rig(tmp_path)
    answer(rig, {7: (L1, 2), 8: (L1, 2)})
    rig.imported(quantity=4)
    tell(rig, 7, 512, (L1, 2))
    assert waits_for_the_rest(rig)
    tell(rig, 8, 8)
    assert "shipped" in rig.effects()
