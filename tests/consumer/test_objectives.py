"""The objectives through the whole path: each order counts once, whatever dies, and what the metrics show survives."""

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

import pytest
import sqlalchemy as sa

from adapters.errors import StoreUnavailable
from adapters.store import objectives as objective_rows
from adapters.store import schema as s
from consumer import bootstrap
from consumer.metrics.recorder import Recorder
from consumer.metrics.stored import StoredGauges
from statemachine.deadlines import DeadlineKind
from statemachine.objectives import Kept, Objective
from tests.consumer.rig import Rig
from tests.support import LONG

ACCEPT, SHIP = Objective.ACCEPT, Objective.SHIP_CONFIRM
GOOD, BAD = Kept.GOOD, Kept.BAD


def shown(rig: Rig, name: str = "orderflow_slo_total") -> Mapping[tuple[str, ...], float]:
    """What a process that has just started exports of the shop alpha, without series that are 0."""
    fresh = Recorder({"alpha": 60}, "1", rig.clock)
    fresh.registry.register(StoredGauges(rig.store, rig.clock, ["alpha"], wait_seconds=LONG))
    return {
        tuple(value for label, value in sample.labels.items() if label != "shop"): sample.value
        for family in fresh.registry.collect()
        for sample in family.samples
        if sample.name == name and sample.labels["shop"] == "alpha" and sample.value
    }


def keep_house(rig: Rig) -> None:
    bootstrap.new_housekeeping(rig.base).turn()


def test_every_series_is_there_from_the_start(rig: Rig) -> None:
    fresh = Recorder({"alpha": 60}, "1", rig.clock)
    fresh.registry.register(StoredGauges(rig.store, rig.clock, ["alpha"], wait_seconds=LONG))
    for slo in Objective:
        for result in (GOOD, BAD):
            labels = {"shop": "alpha", "slo": slo.value, "result": result.value}
            assert fresh.registry.get_sample_value("orderflow_slo_total", labels) == 0
    for kind in DeadlineKind:
        for name in ("orderflow_next_deadline_timestamp_seconds", "orderflow_overdue"):
            assert fresh.registry.get_sample_value(name, {"shop": "alpha", "deadline": kind.value}) == 0


def test_an_order_that_is_accepted_and_shipped_in_time_counts_as_good_once(rig: Rig) -> None:
    rig.add("1-A")
    rig.poll()
    rig.work()
    keep_house(rig)
    assert shown(rig) == {("accept", "good"): 1}
    rig.mirakl["alpha"].confirm_debit("1-A")
    rig.pass_time(minutes=10)
    assert rig.state("1-A") == "imported"
    rig.oms.dispatch("1-A", tracking="T1", carrier="DPD UK")
    rig.consume()
    rig.pass_time(minutes=10)
    assert rig.state("1-A") == "shipped"
    for _ in range(3):
        rig.orders.replan([("alpha", "1-A")])
        rig.pass_time(minutes=6)
    assert shown(rig) == {("accept", "good"): 1, ("ship_confirm", "good"): 1}


def test_an_order_whose_acceptance_fails_counts_as_bad_by_the_clock_and_never_again(rig: Rig) -> None:
    rig.add("1-A")
    rig.fail("OR21", "503", count=1_000)
    rig.pass_time(minutes=58)
    assert shown(rig) == {}
    rig.pass_time(minutes=4)
    assert shown(rig) == {("accept", "bad"): 1}
    rig.mirakl["alpha"].knobs.faults.clear()
    rig.pass_time(minutes=30)
    assert rig.state("1-A") != "waiting_acceptance"
    rig.pass_time(minutes=5)
    assert shown(rig) == {("accept", "bad"): 1}


def test_a_shipment_that_mirakl_does_not_take_counts_as_bad_by_the_clock(rig: Rig) -> None:
    rig.imported("1-A")
    rig.fail("OR24", "503", count=1_000)
    rig.oms.dispatch("1-A", tracking="", carrier="")
    rig.consume()
    rig.pass_time(minutes=13)
    assert shown(rig) == {}
    rig.pass_time(minutes=4)
    assert shown(rig) == {("ship_confirm", "bad"): 1}


def test_an_order_that_is_canceled_in_time_does_not_count(rig: Rig) -> None:
    rig.add("1-A")
    rig.poll()
    rig.mirakl["alpha"].cancel("1-A")
    rig.pass_time(minutes=70)
    assert rig.state("1-A") == "canceled"
    assert shown(rig) == {}


def test_a_death_between_the_results_and_the_totals_loses_and_doubles_nothing(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(5):
        rig.add(f"{number}-A")
    rig.poll()
    rig.work()
    update = sa.update

    def dies(table: sa.Table) -> sa.Update:
        if table is s.objective_totals:
            raise StoreUnavailable("the process dies")
        return update(table)

    with monkeypatch.context() as patch:
        patch.setattr("adapters.store.objectives.sa.update", dies)
        with pytest.raises(StoreUnavailable):
            objective_rows.fold(rig.store)
    assert shown(rig) == {}
    assert objective_rows.fold(rig.store) == 5
    assert objective_rows.fold(rig.store) == 0
    assert shown(rig) == {("accept", "good"): 5}


def test_results_that_a_transaction_takes_back_do_not_count(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    rig.add("1-A")
    rig.poll()

    def dies(*_: object) -> None:
        raise StoreUnavailable("the process dies")

    with monkeypatch.context() as patch:
        patch.setattr("consumer.applying.apply.journal_rows.add", dies)
        with pytest.raises(StoreUnavailable):
            rig.worker.turn()
    rig.clock.advance(200)
    rig.work()
    keep_house(rig)
    assert shown(rig) == {("accept", "good"): 1}


# -- Deadlines ---------------------------------------------------------------------------------------------------


def test_the_nearest_deadline_and_the_orders_past_theirs_show(rig: Rig) -> None:
    now = rig.clock.now()
    rig.fail("OR21", "503", count=1_000)
    rig.add("1-A")
    rig.clock.advance(3600)
    rig.add("2-A")
    rig.poll()
    nearest = "orderflow_next_deadline_timestamp_seconds"
    assert shown(rig, nearest) == {("accept",): (now + timedelta(hours=48)).timestamp()}
    assert shown(rig, "orderflow_overdue") == {}
    rig.clock.advance(47.5 * 3600)
    assert shown(rig, "orderflow_overdue") == {("accept",): 1}
    rig.mirakl["alpha"].knobs.faults.clear()
    rig.pass_time(minutes=30)
    assert shown(rig, "orderflow_overdue") == {}


def test_an_order_that_is_shipped_has_no_deadline(rig: Rig) -> None:
    rig.imported("1-A")
    assert set(shown(rig, "orderflow_next_deadline_timestamp_seconds")) == {("ship",)}
    rig.oms.dispatch("1-A", tracking="T1", carrier="DPD UK")
    rig.consume()
    rig.pass_time(minutes=10)
    assert rig.state("1-A") == "shipped"
    assert shown(rig, "orderflow_next_deadline_timestamp_seconds") == {}


def test_a_scrape_reads_entries_of_the_index_and_no_order(rig: Rig) -> None:
    statements: list[tuple[str, Any]] = []
    engine = rig.store.engine
    sa.event.listen(
        engine, "before_cursor_execute", lambda _c, _cur, text, values, *_: statements.append((text, values))
    )
    objective_rows.deadlines(rig.store, rig.clock.now())
    ((statement, values),) = [one for one in statements if one[0].startswith("SELECT")]
    with rig.store.reading() as connection:
        plan = [row[3] for row in connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", values)]
    reads = [line for line in plan if "orders" in line]
    assert len(reads) == 4
    assert all("USING COVERING INDEX ix_orders_deadline (shop=? AND deadline_kind=?" in line for line in reads), reads
