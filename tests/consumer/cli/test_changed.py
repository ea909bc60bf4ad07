"""`orders show` and `orders explain` of an order that Mirakl changed after the import: both values, field by field."""

import json
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
import structlog

from adapters.simulators.mirakl import changes
from adapters.store import schema, snapshots
from consumer.operations import orders as operations
from statemachine.facts import DecisionKind
from tests.consumer.cli.runner import FILE, output_of, run
from tests.consumer.rig import Rig


@pytest.fixture
def rig(tmp_path: Path) -> Rig:
    (tmp_path / "orderflow.toml").write_text(FILE, encoding="utf-8")
    rig = Rig(tmp_path)
    rig.imported()
    return rig


def move(rig: Rig, street: str) -> None:
    changes.set_address(rig.mirakl["alpha"], "1-A", street_1=street)
    rig.poll()


def write_on_goods(rig: Rig, text: str) -> None:
    fields = [{"code": "personalisation-text", "type": "STRING", "value": text}]
    changes.set_line(rig.mirakl["alpha"], "1-A", "1-A-1", order_line_additional_fields=fields)
    rig.poll()


def changed(command: str = "explain") -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(output_of("orders", command, "1-A", "--json"))["changed"]
    return found


@pytest.mark.parametrize("command", ["explain", "show"])
def test_both_values_of_a_changed_field_are_shown(rig: Rig, command: str) -> None:
    before = rig.mirakl["alpha"].order("1-A")["customer"]["shipping_address"]["street_1"]
    move(rig, "95 Canary Row")
    row = {"changed": "shipping address", "line": "", "sku": "", "field": "street_1"}
    assert changed(command) == [row | {"oms": before, "mirakl": "95 Canary Row"}]
    shown = output_of("orders", command, "1-A").partition("Changed after the import\n")[2].splitlines()
    assert shown[0].split() == ["changed", "field", "oms", "mirakl"]
    assert before in shown[1]
    assert "95 Canary Row" in shown[1]


def test_a_changed_text_names_the_line_and_its_sku_and_a_new_text_was_empty(rig: Rig) -> None:
    write_on_goods(rig, "For Canary")
    first = changed()
    assert [(one["line"], one["field"], one["mirakl"]) for one in first] == [
        ("1-A-1", "personalisation-text", "For Canary")
    ]
    assert first[0]["sku"] == rig.mirakl["alpha"].order("1-A")["order_lines"][0]["offer_sku"]
    changes.set_fields(rig.mirakl["alpha"], "1-A", shipping_pudo_id="PUDO-7")
    rig.poll()
    pudo = next(one for one in changed() if one["changed"] == "pick-up point")
    assert (pudo["oms"], pudo["mirakl"]) == ("", "PUDO-7")
    assert "(empty)" in output_of("orders", "explain", "1-A")


def test_after_a_settle_the_oms_has_what_was_settled(rig: Rig) -> None:
    move(rig, "95 Canary Row")
    act = operations.Act(DecisionKind.SETTLE, "ana", "told the OMS", rig.clock.now())
    operations.decide(rig.store, rig.orders, rig.row(), act, shops=("alpha",))
    assert changed() == []
    move(rig, "96 Canary Row")
    assert [(one["oms"], one["mirakl"]) for one in changed()] == [("95 Canary Row", "96 Canary Row")]


def test_a_version_that_is_not_stored_any_more_is_said(rig: Rig) -> None:
    move(rig, "95 Canary Row")
    move(rig, "96 Canary Row")
    with rig.store.transaction() as tx:
        tx.execute(sa.delete(schema.snapshots).where(schema.snapshots.c.content != rig.row().digest))
    found = changed()
    assert {one["oms"] for one in found} == {None}
    assert {one["field"]: one["mirakl"] for one in found}["street_1"] == "96 Canary Row"
    assert "(not stored)" in output_of("orders", "explain", "1-A")


def test_the_values_are_in_no_log(rig: Rig) -> None:
    with structlog.testing.capture_logs() as lines:
        move(rig, "95 Canary Row")
        run("orders", "explain", "1-A")
    assert "Canary" not in json.dumps(lines, default=str)


def test_an_order_that_did_not_change_has_no_such_table(rig: Rig) -> None:
    assert changed() == []
    assert "Changed after the import" not in output_of("orders", "show", "1-A")


@pytest.mark.parametrize("body", [b"[]", b'{"order_id": ', b"[" * 2000])
def test_a_stored_version_that_cannot_be_read_is_passed_over(rig: Rig, body: bytes) -> None:
    before = rig.mirakl["alpha"].order("1-A")["customer"]["shipping_address"]["street_1"]
    move(rig, "95 Canary Row")
    with rig.store.transaction() as tx:
        snapshots.add(tx, {(rig.row().key, "odd"): body}, rig.clock.now())
    assert [one["oms"] for one in changed()] == [before]
