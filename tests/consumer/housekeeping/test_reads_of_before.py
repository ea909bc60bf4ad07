"""A version before read an order in another way: what is missing of its read is added when this version starts."""

import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import sqlalchemy as sa

from adapters.simulators.mirakl import changes
from adapters.store import journal as journal_rows
from adapters.store import schema as s
from adapters.store.facts_json import facts_from_json, facts_to_json
from consumer import bootstrap
from consumer.operations.verify import differences
from statemachine.facts import DecisionKind, Snapshot, Withdrawn
from tests.consumer.rig import Rig
from tests.consumer.situations.in_oms_hands import decide, tell

ADDRESS = "changed_after_import"


def stored(rig: Rig, change: Callable[[str], str]) -> None:
    """Change the stored facts and the journal of the order, as if another version had written them."""
    j, o = s.journal, s.orders
    with rig.store.transaction() as tx:
        for table, column in ((o, o.c.facts), (j, j.c.says)):
            for key, text in tx.execute(sa.select(table.c.id, column)).all():
                values = {column.name: change(text)}
                tx.execute(sa.update(table).where(table.c.id == key).values(values))


def by_another_formula(text: str) -> str:
    """The facts with other digests of the contents, which have the number of another formula."""
    in_contents = r'(?<=",")([0-9a-f]{8})(?="\])'
    in_other_values = r'(?<="value":")([0-9a-f]{8})(?=")'
    in_settles = r"(?<=address )([0-9a-f]{8})\b"
    return re.sub(f"{in_contents}|{in_other_values}|{in_settles}", lambda found: f"7_{found[0][::-1]}", text)


def start(rig: Rig) -> None:
    bootstrap.new_housekeeping(rig.base).turn()


def set_street(rig: Rig, street: str) -> None:
    changes.set_address(rig.mirakl["alpha"], "1-A", street_1=street)


def is_what_its_journal_adds_up_to(rig: Rig) -> bool:
    return differences(rig.row(), journal_rows.of_order(rig.store, rig.row().key)) == []


@pytest.fixture
def rig(tmp_path: Path) -> Rig:
    rig = Rig(tmp_path)
    rig.imported(lines=2)
    return rig


# -- Digests by another formula ----------------------------------------------------------------------------------


def test_nothing_changed_so_no_order_comes_to_the_list(rig: Rig) -> None:
    stored(rig, by_another_formula)
    start(rig)
    rig.poll(60)
    rig.poll(90_000)  # the order is read again after a day
    assert rig.attention() == []
    assert is_what_its_journal_adds_up_to(rig)
    tell(rig, 8)
    rig.poll(60)
    assert (rig.state(), rig.attention()) == ("shipped", [])


def test_an_order_that_is_read_before_this_version_has_started_does_not_come_to_the_list(rig: Rig) -> None:
    stored(rig, by_another_formula)
    rig.poll(90_000)
    start(rig)
    rig.poll(90_000)
    assert rig.attention() == []


def test_the_first_change_after_the_start_is_told(rig: Rig) -> None:
    stored(rig, by_another_formula)
    start(rig)
    set_street(rig, "77 Canary Row")
    rig.poll(60)
    assert rig.attention() == [ADDRESS]
    decide(rig, DecisionKind.SETTLE, ADDRESS)
    rig.poll(60)
    assert rig.attention() == []
    set_street(rig, "78 Canary Row")
    rig.poll(60)
    assert rig.attention() == [ADDRESS]
    assert is_what_its_journal_adds_up_to(rig)


def test_a_change_that_was_told_before_stays_until_a_settle(rig: Rig) -> None:
    set_street(rig, "77 Canary Row")
    rig.poll(60)
    stored(rig, by_another_formula)
    start(rig)
    rig.poll(90_000)
    assert rig.attention() == [ADDRESS]
    decide(rig, DecisionKind.SETTLE, ADDRESS)
    rig.poll(90_000)
    assert rig.attention() == []


def test_a_change_that_a_person_settled_before_does_not_come_back(rig: Rig) -> None:
    set_street(rig, "77 Canary Row")
    rig.poll(60)
    decide(rig, DecisionKind.SETTLE, ADDRESS)
    stored(rig, by_another_formula)
    start(rig)
    rig.poll(90_000)
    assert rig.attention() == []
    set_street(rig, "78 Canary Row")
    rig.poll(60)
    assert rig.attention() == [ADDRESS]


def test_without_the_stored_bytes_no_alarm_wins_and_the_next_change_is_told(rig: Rig) -> None:
    stored(rig, by_another_formula)
    with rig.store.transaction() as tx:
        tx.execute(sa.delete(s.snapshots))
    start(rig)
    rig.poll(90_000)
    assert rig.attention() == []
    set_street(rig, "77 Canary Row")
    rig.poll(60)
    assert rig.attention() == [ADDRESS]


def test_an_order_that_ships_before_this_version_has_started_does_not_come_to_the_list(rig: Rig) -> None:
    """The first read after OR24 is compared with the newest one before it (questions/before_shipment.py)."""
    stored(rig, by_another_formula)
    tell(rig, 8)
    rig.poll(60)
    assert (rig.state(), rig.attention()) == ("shipped", [])


# -- What stopped the order --------------------------------------------------------------------------------------


def without_stops(text: str) -> str:
    """The facts as a version left them that kept no stops."""
    facts = facts_from_json(text)
    read = facts.snapshot and replace(facts.snapshot, is_remembered=False)
    return facts_to_json(replace(facts, snapshot=read, stops=(), stops_read=()))


@pytest.mark.parametrize("state", ["INCIDENT_OPEN", "CANCELED"])
def test_a_line_that_a_version_before_saw_stopped_goes_on_in_the_oms(rig: Rig, state: str) -> None:
    changes.set_line(rig.mirakl["alpha"], "1-A", "1-A-2", order_line_state=state)
    rig.poll(60)
    assert len(rig.attention()) == 1
    stored(rig, without_stops)
    assert rig.row().facts.stops == ()
    start(rig)
    changes.set_line(rig.mirakl["alpha"], "1-A", "1-A-2", order_line_state="SHIPPING")
    rig.poll(600)
    assert rig.attention() == ["go_on_in_oms"]
    assert is_what_its_journal_adds_up_to(rig)


def test_a_second_start_adds_nothing(rig: Rig) -> None:
    changes.set_line(rig.mirakl["alpha"], "1-A", "1-A-2", order_line_state="INCIDENT_OPEN")
    rig.poll(60)
    stored(rig, lambda text: by_another_formula(without_stops(text)))
    start(rig)
    events = journal_rows.of_order(rig.store, rig.row().key)
    start(rig)
    assert journal_rows.of_order(rig.store, rig.row().key) == events


def test_a_start_with_the_same_version_adds_nothing(tmp_path: Path) -> None:
    """Of a line whose refund covers the pieces that are left, an earlier read tells that a part was refunded."""
    rig = Rig(tmp_path)
    rig.imported(quantity=3)
    refunds = [{"id": "r", "amount": 12.0}]
    changes.set_line(rig.mirakl["alpha"], "1-A", "1-A-1", quantity=1, price=12.0, refunds=refunds)
    rig.poll(60)
    assert [line.withdrawn for line in shown(rig).lines] == [Withdrawn.PART]
    events = journal_rows.of_order(rig.store, rig.row().key)
    start(rig)
    assert journal_rows.of_order(rig.store, rig.row().key) == events


def shown(rig: Rig) -> Snapshot:
    snapshot = rig.row().facts.snapshot
    assert snapshot is not None
    return snapshot
