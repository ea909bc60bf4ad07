"""The outbox: in order, byte for byte, and deleted by id."""

from dataclasses import replace

import pytest

from adapters.ports import NewRecord
from adapters.store import outbox as outbox_rows
from adapters.store.outbox import OutboxRow
from adapters.store.transaction import Store
from tests.adapters.store.support import NOW, later, on_postgresql
from tests.support import OpenStore


def record(n: int, key: bytes | None = b"k") -> OutboxRow:
    return OutboxRow("type", NewRecord("topic", key, b"%d" % n, (("h", b"\xff%d" % n),)))


def values(store: Store, limit: int = 100) -> list[bytes]:
    return [row.record.value for row in outbox_rows.oldest(store, limit)]


def test_records_are_read_in_order_byte_for_byte(store: Store) -> None:
    with store.transaction() as tx:
        outbox_rows.add(tx, [], NOW)
        outbox_rows.add(tx, [record(1), record(2, None)], NOW)
        outbox_rows.add(tx, [record(3)], later(-9))
    assert [replace(row, id=0) for row in outbox_rows.oldest(store, 100)] == [record(1), record(2, None), record(3)]
    assert values(store, 2) == [b"1", b"2"]


def test_delete_removes_the_published_records_and_no_other(store: Store) -> None:
    with store.transaction() as tx:
        outbox_rows.add(tx, [record(n) for n in range(4)], NOW)
    ids = [row.id for row in outbox_rows.oldest(store, 100)]
    with store.transaction() as tx:
        outbox_rows.delete(tx, [])
        outbox_rows.delete(tx, [ids[0], ids[2]])
    assert values(store) == [b"1", b"3"]


def test_a_rolled_back_transaction_leaves_no_record(store: Store) -> None:
    with pytest.raises(ZeroDivisionError), store.transaction() as tx:
        outbox_rows.add(tx, [record(1)], NOW)
        _ = 1 / 0
    assert values(store) == []


@on_postgresql
def test_a_lower_id_that_is_committed_late_is_found_late_and_not_skipped(open_store: OpenStore) -> None:
    one, other = open_store(), open_store()
    with one.transaction() as slow:
        outbox_rows.add(slow, [record(1)], NOW)
        with other.transaction() as fast:
            outbox_rows.add(fast, [record(2)], NOW)
        (second,) = outbox_rows.oldest(one, 100)
        assert second.record.value == b"2"
        with other.transaction() as relay:
            outbox_rows.delete(relay, [second.id])
    (first,) = outbox_rows.oldest(one, 100)
    assert first.record.value == b"1"
    assert first.id < second.id
