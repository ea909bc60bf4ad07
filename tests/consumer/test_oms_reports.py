"""What the OMS says, through the whole path: answers to the import, then its reports."""

import json
from pathlib import Path

import pytest

from tests.consumer.rig import Rig


@pytest.fixture
def rig(tmp_path: Path) -> Rig:
    return Rig(tmp_path)


@pytest.mark.parametrize(
    "content",
    [
        b"[]",
        b"false",
        b'{"success":false}',
        b'{"errors":["no"]}',
        b'[{"id":null,"external_ref":"1-A"}]',
        b'[{"id":7,"external_ref":"2-B"}]',
    ],
)
def test_a_success_that_shows_no_order_is_not_imported_but_sent_again(rig: Rig, content: bytes) -> None:
    rig.add("1-A", state="SHIPPING")
    rig.poll()
    rig.fail("order", "answer", status=201, content=content)
    rig.work()
    assert rig.state() == "shipping"
    assert rig.results[-1] == ("import_order", "unknown")
    assert rig.effects() == []
    rig.work(900)
    assert rig.state() == "imported"
    assert rig.effects() == ["imported"]


def test_an_answer_with_lines_and_quantities_is_kept(rig: Rig) -> None:
    rig.imported(lines=2)
    (part,) = rig.row().facts.parts
    assert part.quantities == tuple((line, 1) for line in part.lines)
    assert len(part.quantities) == 2
    assert [one.status for one in rig.row().facts.statuses] == [1]


def test_an_answer_that_shows_the_order_canceled_is_told(rig: Rig) -> None:
    rig.add("1-A", state="SHIPPING")
    rig.poll()
    content = json.dumps([{"id": 7, "external_ref": "1-A", "status": 128}]).encode()
    rig.fail("order", "answer", status=201, content=content)
    rig.work()
    assert "oms_canceled" in rig.attention()


def test_another_thing_that_exists_already_is_told_and_never_done(rig: Rig) -> None:
    rig.add("1-A", state="SHIPPING")
    rig.poll()
    rig.fail("order", "timeout_before")
    rig.work()
    content = b'{"error":{"message":"A customer with this email already exists","code":0}}'
    rig.fail("order", "answer", status=400, content=content)
    rig.work(900)
    assert rig.state() == "shipping"
    assert rig.results[-1] == ("import_order", "rejected")
    assert "import_rejected" in rig.attention()
