"""The audit."""

from adapters.store import audit as audit_rows
from adapters.store import schema as s
from adapters.store.transaction import Store
from tests.adapters.store.support import NOW, rows


def test_a_row_says_who_did_what_to_what_when_and_why(store: Store) -> None:
    with store.transaction() as tx:
        audit_rows.add(tx, who="ana", act="pause", subject="alpha", why="stock", at=NOW)
    assert rows(store, s.audit) == [
        {"id": 1, "at": NOW, "who": "ana", "act": "pause", "subject": "alpha", "why": "stock"}
    ]
