"""Snapshots: byte for byte."""

from adapters.store import orders as order_rows
from adapters.store import snapshots as snapshot_rows
from adapters.store.transaction import Store
from tests.adapters.store.support import NOW


def test_snapshots_are_kept_byte_for_byte_once_per_digest(store: Store) -> None:
    body = ' \n{ "a" :1.10,\r\n\t"ö":"\\u00e9 日本 \\u0000"  , "a": 2 }\r\n '.encode()
    with store.transaction() as tx:
        key = order_rows.lock(tx, [("alpha", "O-1")], NOW)["alpha", "O-1"].key
        snapshot_rows.add(tx, {}, NOW)
        snapshot_rows.add(tx, {(key, "c1"): body, (key, "c2"): b""}, NOW)
        snapshot_rows.add(tx, {(key, "c1"): b"other bytes under this hash"}, NOW)
        found = snapshot_rows.load(tx, [(key, "c1"), (key, "c2"), (key, "c3")])
        assert found == {(key, "c1"): body, (key, "c2"): b""}
    assert snapshot_rows.find(store, key, "c1") == body
    assert snapshot_rows.find(store, key, "c3") is None
