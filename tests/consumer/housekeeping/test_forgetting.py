"""Orders that only the OMS knows are forgotten after a while: they are orders of its company's other sales channels."""

import json
from datetime import timedelta
from pathlib import Path

import pytest
import sqlalchemy as sa

from adapters.store import schema as s
from consumer import bootstrap
from consumer.housekeeping import forgetting
from consumer.housekeeping.housekeeping import Housekeeping
from consumer.operations import orders as operations
from statemachine.facts import DecisionKind
from tests.consumer.rig import Rig

DAY = timedelta(days=1).total_seconds()
DAYS = 30


def reports(rig: Rig, order_id: str, status: int = 4, oms_id: int = 1) -> None:
    body = json.dumps({"id": oms_id, "external_ref": order_id, "status": status}).encode()
    rig.take_callback("http://alpha", {}, body)
    rig.consume()


def days_pass(rig: Rig, days: int, keeper: Housekeeping | None = None, *, polls: bool = True) -> None:
    keeper = keeper or bootstrap.new_housekeeping(rig.base)
    for _ in range(days):
        rig.poll(DAY) if polls else rig.clock.advance(DAY)
        keeper.turn()


def known(rig: Rig) -> list[str]:
    with rig.store.reading() as connection:
        return list(connection.execute(sa.select(s.orders.c.order_id).order_by(s.orders.c.order_id)).scalars())


def forgotten(rig: Rig) -> float | None:
    return rig.metrics.registry.get_sample_value("orderflow_orders_forgotten_total", {"shop": "alpha"})


def test_an_order_that_only_the_oms_knows_is_forgotten_after_its_last_report(rig: Rig) -> None:
    reports(rig, "shop-b-7")
    days_pass(rig, DAYS - 1)
    reports(rig, "shop-b-7", status=8)
    days_pass(rig, DAYS)
    assert known(rig) == ["shop-b-7"]
    days_pass(rig, 1)
    assert known(rig) == []
    assert forgotten(rig) == 1
    with rig.store.reading() as connection:
        assert connection.execute(sa.select(sa.func.count()).select_from(s.journal)).scalar() == 0


def test_many_orders_are_forgotten_in_one_turn(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(forgetting, "BATCH", 2)
    for number in range(5):
        reports(rig, f"shop-b-{number}")
    days_pass(rig, DAYS + 1)
    assert known(rig) == []
    assert forgotten(rig) == 5


def test_an_order_that_a_read_showed_once_is_never_forgotten(rig: Rig) -> None:
    reports(rig, "1-A")
    rig.add("1-A", state="SHIPPING")
    rig.poll()
    rig.mirakl["alpha"].remove("1-A")
    days_pass(rig, DAYS + 3)
    assert known(rig) == ["1-A"]


def test_nothing_is_forgotten_while_polls_fail(rig: Rig) -> None:
    """Mirakl may have the order, and nobody asks."""
    rig.poll()
    reports(rig, "1-A")
    days_pass(rig, DAYS + 3, polls=False)
    assert known(rig) == ["1-A"]
    rig.add("1-A", state="SHIPPING")
    rig.poll()
    assert rig.state() == "imported"


def test_an_order_that_a_person_has_to_look_at_is_kept_until_it_is_settled(tmp_path: Path) -> None:
    rig = Rig(tmp_path, oms_table={"other_channels": False})
    reports(rig, "1-A")
    days_pass(rig, DAYS + 3)
    assert rig.attention() == ["unknown_to_mirakl"]
    act = operations.Act(DecisionKind.SETTLE, "ana", "of the shop in Leeds", rig.clock.now())
    operations.decide(rig.store, rig.orders, rig.row(), act, shops=("alpha",))
    days_pass(rig, DAYS)
    assert known(rig) == ["1-A"]
    days_pass(rig, 2)
    assert known(rig) == []


def test_an_order_that_is_forgotten_and_comes_after_all_is_as_any(rig: Rig) -> None:
    reports(rig, "1-A")
    days_pass(rig, DAYS + 1)
    assert known(rig) == []
    rig.add("1-A")
    rig.poll()
    assert rig.state() == "waiting_acceptance"


def test_what_the_oms_says_of_an_order_of_another_channel_needs_nobody_here(rig: Rig) -> None:
    """Once a read shows the order, it is this shop's, and each reason is told."""
    for status in (32, 256, 128):
        reports(rig, f"order-{status}", status=status, oms_id=status)
    assert [rig.attention(f"order-{status}") for status in (32, 256, 128)] == [[], [], []]
    for status in (32, 256, 128):
        rig.add(f"order-{status}", state="SHIPPING")
    rig.poll()
    reasons = [rig.attention(f"order-{status}") for status in (32, 256, 128)]
    assert reasons == [["oms_query"], ["oms_on_hold"], ["oms_canceled"]]
