"""An order that cannot be read or planned: it is quarantined, every other order goes on, and it can go on later."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from structlog.testing import capture_logs

from adapters.errors import BrokenOrders
from adapters.messages.cloudevents import record_of
from adapters.messages.oms_events import oms_event
from adapters.simulators.orders import COMPANIES
from adapters.store import dead_letters as dead_letter_rows
from adapters.store import order_lists
from adapters.store import orders as order_rows
from adapters.store import schema as s
from adapters.store.commands import NEVER
from consumer.bootstrap import new_housekeeping
from consumer.config import shop_ids
from consumer.housekeeping.housekeeping import Housekeeping
from consumer.operations.errors import NotPossible
from consumer.operations.orders import find, replan
from consumer.web.callbacks import CallbackEndpoint
from statemachine.commands import Policy
from statemachine.facts import RESTORED, Attempt, Facts, Snapshot
from statemachine.machine import decide
from statemachine.plan import Plan, plan
from tests.consumer.rig import OMS_EVENTS, Rig

#: How an order can be broken, and what the column then says.
BREAKS = {"unreadable": "ValidationError", "unplannable": "OverflowError"}


@pytest.fixture
def rig(tmp_path: Path) -> Rig:
    """Three orders that wait for their acceptance."""
    rig = Rig(tmp_path)
    for order_id in ("1-A", "2-A", "3-A"):
        rig.add(order_id)
    rig.poll()
    return rig


def snapshot_of(rig: Rig, order_id: str) -> Snapshot:
    snapshot = rig.row(order_id).facts.snapshot
    assert snapshot
    return snapshot


def damage(rig: Rig, how: str, monkeypatch: pytest.MonkeyPatch, order_id: str = "2-A") -> str:
    """Break an order. Returns the facts that its row had."""
    with rig.store.transaction() as tx:
        mine = s.orders.c.order_id == order_id
        stored = str(tx.execute(sa.select(s.orders.c.facts).where(mine)).scalar())
        if how == "unreadable":
            tx.execute(sa.update(s.orders).where(mine).values(facts='{"attempts": 7}'))
    if how == "unplannable":
        broken = {line.id for line in snapshot_of(rig, order_id).lines}

        def raises(facts: Facts, policy: Policy) -> Plan:
            if facts.snapshot and broken & {line.id for line in facts.snapshot.lines}:
                raise OverflowError
            return plan(facts, policy)

        monkeypatch.setattr("consumer.applying.planning.plan", raises)
    return stored


def mend(rig: Rig, stored: str, monkeypatch: pytest.MonkeyPatch, order_id: str = "2-A") -> None:
    monkeypatch.undo()
    with rig.store.transaction() as tx:
        tx.execute(sa.update(s.orders).where(s.orders.c.order_id == order_id).values(facts=stored))


def quarantined(rig: Rig) -> dict[str, str]:
    with rig.store.reading() as connection:
        rows = connection.execute(sa.select(s.orders.c.order_id, s.orders.c.quarantine))
        return {row.order_id: row.quarantine for row in rows if row.quarantine is not None}


def an_event(rig: Rig, _keeper: Housekeeping | None = None) -> None:
    for order_id in ("1-A", "2-A", "3-A"):
        rig.mirakl["alpha"].accept_in_portal(order_id)
    rig.poll()


def a_deadline(rig: Rig, keeper: Housekeeping) -> None:
    with rig.store.transaction() as tx:
        tx.execute(sa.update(s.orders).values(wake_at=rig.clock.now()))
    keeper.turn()


def a_replan(rig: Rig, _keeper: Housekeeping | None = None) -> None:
    rig.orders.replan([("alpha", order_id) for order_id in ("1-A", "2-A", "3-A")])


@pytest.mark.parametrize("how", BREAKS)
@pytest.mark.parametrize("loop", [an_event, a_deadline, a_replan])
def test_an_order_that_cannot_be_read_or_planned_stops_no_other_order(
    rig: Rig, how: str, loop: Callable[[Rig, Housekeeping], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    keeper = new_housekeeping(rig.base)
    keeper.turn()
    damage(rig, how, monkeypatch)
    versions = {order_id: rig.row(order_id).version for order_id in ("1-A", "3-A")}
    with capture_logs() as logged:
        loop(rig, keeper)
    assert quarantined(rig) == {"2-A": BREAKS[how]}
    assert rig.attention("2-A") == ["quarantined"]
    assert [command.next_at for command in rig.commands("2-A")] == [NEVER]
    lines = [line for line in logged if line["event"] == "order_quarantined"]
    assert [(line["log_level"], line["order_id"], line["error"]) for line in lines] == [("error", "2-A", BREAKS[how])]
    if loop is not a_replan:
        assert {order_id: rig.row(order_id).version > before for order_id, before in versions.items()} == {
            "1-A": True,
            "3-A": True,
        }


@pytest.mark.parametrize("how", BREAKS)
def test_its_events_become_dead_letters_and_its_calls_are_not_made(
    rig: Rig, how: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    damage(rig, how, monkeypatch)
    an_event(rig)
    assert {(one.reason, one.detail) for one in dead_letter_rows.newest(rig.store)} == {("quarantined", BREAKS[how])}
    rig.poll()
    rig.work()
    assert rig.effects("2-A") == []
    assert rig.state("1-A") == rig.state("3-A") != rig.state("2-A")


def test_what_mirakl_shows_of_a_quarantined_order_is_one_dead_letter_and_is_read_when_it_can_go_on(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    stored, version = damage(rig, "unreadable", monkeypatch), rig.row("1-A").version
    for order_id in ("1-A", "2-A"):
        rig.mirakl["alpha"].change(order_id, "edited", "customer", lambda order: order.update(price=1))
    for _ in range(6):
        rig.poll(660)
    (letter,) = dead_letter_rows.newest(rig.store)
    assert (letter.key, letter.times) == (b"alpha:2-A", 1)
    assert rig.row("1-A").version == version + 1
    mend(rig, stored, monkeypatch)
    replan(rig.store, rig.orders, find(rig.store, "2-A"))
    published = len(rig.records())
    rig.poll(60)
    assert [record.record_key for record in rig.records()[published:]] == [b"alpha:2-A"]


@pytest.mark.parametrize("how", BREAKS)
@pytest.mark.parametrize("by", ["worker's start", "person"])
def test_an_order_that_can_be_planned_again_goes_on(
    rig: Rig, how: str, by: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    stored = damage(rig, how, monkeypatch)
    a_replan(rig)
    row = find(rig.store, "2-A")
    with pytest.raises(NotPossible, match=BREAKS[how]):
        replan(rig.store, rig.orders, row)
    mend(rig, stored, monkeypatch)
    if by == "person":
        assert replan(rig.store, rig.orders, row).quarantine is None
    else:
        new_housekeeping(rig.base).turn()
    assert quarantined(rig) == {}
    assert rig.attention("2-A") == []
    rig.work()
    assert rig.effects("2-A") == ["accepted"]


def test_a_quarantined_order_can_be_looked_at_and_not_decided_about(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    damage(rig, "unreadable", monkeypatch)
    assert [row.order_id for row in order_lists.latest(rig.store)] == ["3-A", "2-A", "1-A"]
    assert rig.attention("2-A") == ["quarantined"], "also before anything tried to plan it"
    a_replan(rig)
    with pytest.raises(BrokenOrders, match="alpha/2-A"), rig.store.transaction() as tx:
        order_rows.lock(tx, [("alpha", "2-A")], rig.clock.now())


@pytest.mark.parametrize("how", BREAKS)
def test_an_unreadable_callback_about_a_quarantined_order_is_kept(
    rig: Rig, how: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    damage(rig, how, monkeypatch)
    endpoint = CallbackEndpoint(
        "alpha",
        99001,
        lambda: ("secret",),
        writer=rig.log,
        topic=OMS_EVENTS,
        shops=shop_ids(rig.settings),
        keep=rig.orders.keep,
        hooks=rig.metrics,
        clock=rig.clock,
    )
    for _ in range(2):
        assert endpoint.take(b'{"id": 46140204, "external_ref": "2-A", "status": "eight"}').status_code == 400
    (letter,) = dead_letter_rows.newest(rig.store)
    assert (letter.source, letter.times) == ("callback:alpha", 2)
    assert quarantined(rig) == {"2-A": BREAKS[how]}


@pytest.mark.parametrize("how", BREAKS)
def test_an_unreadable_report_about_a_quarantined_order_is_one_dead_letter(
    rig: Rig, how: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    damage(rig, how, monkeypatch)
    event = oms_event(COMPANIES["alpha"], b'{"id": 7, "external_ref": "2-A", "status": 8}', rig.clock.now())
    record = record_of(OMS_EVENTS, event)
    rig.log.publish([replace(record, value=record.value.replace(b'"status": 8', b'"status": "eight"'))])
    rig.consume()
    (letter,) = dead_letter_rows.newest(rig.store)
    assert (letter.reason, letter.times) == ("quarantined", 1)


@pytest.mark.parametrize("how", BREAKS)
def test_offsets_are_reset_although_an_order_is_quarantined(
    rig: Rig, how: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    damage(rig, how, monkeypatch)
    a_replan(rig)
    rig.reset_offsets()
    restored = Attempt("import_order", RESTORED)
    assert [restored in rig.row(order_id).facts.attempts for order_id in ("1-A", "3-A")] == [True, True]
    assert quarantined(rig) == {"2-A": BREAKS[how]}


def test_a_poison_event_quarantines_no_order(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    """The order can be planned as it is stored, so the record is the cause."""

    def raises(state: Any, facts: Any, event: Any) -> Any:
        if event.order_id == "2-A":
            raise ArithmeticError
        return decide(state, facts, event)

    monkeypatch.setattr("consumer.applying.apply.decide", raises)
    an_event(rig)
    assert quarantined(rig) == {}
    assert [(one.reason, one.detail) for one in dead_letter_rows.newest(rig.store)] == [
        ("not_applicable", "ArithmeticError")
    ]
    assert rig.row("1-A").version > rig.row("2-A").version


@pytest.mark.parametrize("how", BREAKS)
def test_a_worker_that_meets_a_broken_order_makes_the_calls_of_the_others(
    rig: Rig, how: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Seen before: eight threads made 13 of 200 calls."""
    damage(rig, how, monkeypatch)
    rig.work()
    assert [rig.effects(order_id) for order_id in ("1-A", "2-A", "3-A")] == [["accepted"], [], ["accepted"]]
    assert quarantined(rig) == {"2-A": BREAKS[how]}
