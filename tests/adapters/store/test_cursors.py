"""Cursors: moved under the lease of the shop's poll only."""

import pytest

from adapters.errors import Fenced
from adapters.store import cursors as cursor_rows
from adapters.store.cursors import Cursor
from tests.adapters.store.support import NOW, later, leased
from tests.support import OpenStore


def test_only_the_holder_of_the_lease_moves_a_cursor(open_store: OpenStore) -> None:
    one, other = open_store(), open_store()
    old = leased(one)
    cursor = Cursor(NOW, NOW, NOW)
    with one.transaction() as tx:
        cursor_rows.save(tx, "alpha", cursor, old)
    new = leased(other, holder="two", now=later(31))
    with pytest.raises(Fenced), one.transaction() as tx:
        cursor_rows.save(tx, "alpha", Cursor(later(99), NOW, NOW), old)
    assert cursor_rows.find(one, "alpha") == cursor
    with other.transaction() as tx:
        cursor_rows.save(tx, "alpha", Cursor(later(5), NOW, NOW), new)
    assert cursor_rows.find(one, "alpha") == Cursor(later(5), NOW, NOW)
