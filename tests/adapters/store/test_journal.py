"""The journal: each event once, its repeats counted."""

from dataclasses import replace

import pytest
import sqlalchemy as sa

from adapters.store import journal as journal_rows
from adapters.store import orders as order_rows
from adapters.store import schema as s
from adapters.store.journal import JournalRow
from adapters.store.transaction import Store, Transaction
from statemachine.events import Event
from statemachine.machine import EventResult
from statemachine.states import State
from tests.adapters.store.support import NOW, rows
from tests.statemachine.lives import read, snapshot_event, spoke


def journaled(tx: Transaction, event: Event, version: int) -> None:
    row = order_rows.lock(tx, [(event.shop, event.order_id)], NOW)[event.shop, event.order_id]
    journal_rows.add(tx, [JournalRow(row.key, version, event, EventResult.NOTED, State.NEW, State.NEW, 1, NOW)])


@pytest.mark.parametrize(("second", "version"), [(spoke(1), 2), (spoke(2), 1)], ids=["same event", "same version"])
def test_the_journal_holds_an_event_once_and_a_version_once(store: Store, second: Event, version: int) -> None:
    with pytest.raises(sa.exc.IntegrityError), store.transaction() as tx:
        journaled(tx, spoke(1), 1)
        journaled(tx, second, version)
    assert rows(store, s.journal) == []


def test_known_events_are_found_and_their_repeats_counted(store: Store) -> None:
    elsewhere = replace(spoke(1), source="/elsewhere")
    with store.transaction() as tx:
        journaled(tx, spoke(1), 1)
        journaled(tx, spoke(2), 2)
        assert set(journal_rows.known(tx, [spoke(1), spoke(3), elsewhere])) == {(spoke(1).source, spoke(1).event_id)}
        assert journal_rows.known(tx, []) == {}
        journal_rows.count_repeats(tx, [])
        journal_rows.count_repeats(tx, [spoke(1), spoke(1), elsewhere])
    assert [row.repeats for row in journal_rows.of_order(store, 1)] == [2, 0]


def test_a_row_is_read_as_it_was_written_but_for_the_bytes_of_its_snapshot(store: Store) -> None:
    event = replace(snapshot_event(read("SHIPPING")), note={"step": "result", "status": 204})
    with store.transaction() as tx:
        journaled(tx, event, 1)
    (row,) = journal_rows.of_order(store, 1)
    assert row == JournalRow(
        order_key=1,
        version=1,
        event=replace(event, raw=None, digest=""),
        result=EventResult.NOTED,
        before=State.NEW,
        after=State.NEW,
        machine_version=1,
        recorded_at=NOW,
    )
