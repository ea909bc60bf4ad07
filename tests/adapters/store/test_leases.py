"""Leases: one holder at a time, and a token that only grows."""

from dataclasses import replace

import pytest

from adapters.errors import Fenced
from adapters.store import cursors as cursor_rows
from adapters.store import leases as lease_rows
from adapters.store.cursors import Cursor
from adapters.store.leases import Lease
from adapters.store.transaction import Store
from tests.adapters.store.support import NOW, later, leased, taken
from tests.support import Meanwhile, OpenStore


def check(store: Store, lease: Lease) -> None:
    with store.transaction() as tx:
        lease_rows.check(tx, lease)


def test_a_lease_that_another_holds_is_refused(open_store: OpenStore) -> None:
    one, other = open_store(), open_store()
    held = leased(one)
    assert taken(other, held.name, "two", later(30)) is None, "it holds until its end, inclusive"
    check(other, held)
    assert taken(other, "poll/beta", "two", NOW) == Lease("poll/beta", "two", 1), "each name is a lease of its own"


def test_a_stale_token_is_fenced(open_store: OpenStore) -> None:
    one, other = open_store(), open_store()
    old = leased(one)
    new = leased(other, holder="two", now=later(31))
    assert new.token > old.token
    with pytest.raises(Fenced, match=r"poll/alpha has another holder"):
        check(one, old)
    check(other, new)
    back = leased(one, now=later(62))
    assert back.holder == old.holder
    assert back.token == new.token + 1
    with pytest.raises(Fenced):
        check(one, old)  # the same holder name, but an old token


def test_a_lease_that_was_never_taken_is_fenced(store: Store) -> None:
    with pytest.raises(Fenced):
        check(store, Lease("relay", "one", 1))


def test_a_holder_keeps_its_lease_and_token_even_after_the_end(store: Store) -> None:
    held = leased(store)
    assert [leased(store, now=later(seconds)) for seconds in (0, 20, 90)] == [held] * 3
    assert taken(store, held.name, "two", later(119)) is None
    assert taken(store, held.name, "two", later(121)) is not None


def test_a_released_lease_can_be_taken_at_once(store: Store) -> None:
    held = leased(store)
    with store.transaction() as tx:
        lease_rows.release(tx, held)
    with pytest.raises(Fenced):
        check(store, held)
    assert leased(store, holder="two") == replace(held, holder="two", token=2)


def test_a_revoked_lease_fences_its_holder_who_may_take_it_again(store: Store) -> None:
    """A write under the revoked lease raises Fenced. A write under its next lease is allowed."""
    held = leased(store)
    with store.transaction() as tx:
        lease_rows.revoke(tx, held.name)
        lease_rows.revoke(tx, "poll/none")
    with pytest.raises(Fenced):
        check(store, held)
    assert leased(store) == replace(held, token=2)


def test_a_late_release_does_not_end_the_lease_of_the_next_holder(store: Store) -> None:
    old = leased(store)
    new = leased(store, holder="two", now=later(31))
    with store.transaction() as tx:
        lease_rows.release(tx, old)
    check(store, new)
    assert taken(store, new.name, "three", later(31)) is None


def test_a_lease_is_not_taken_over_while_its_holder_writes_under_it(open_store: OpenStore) -> None:
    one, other = open_store(), open_store()
    held = leased(one)
    with one.transaction() as tx:
        lease_rows.check(tx, held)
        next_one = Meanwhile(lambda: taken(other, held.name, "two", later(31)))
        assert next_one.waits()
        cursor_rows.save(tx, "alpha", Cursor(NOW, NOW, NOW), held)
    assert next_one.result() == replace(held, holder="two", token=2)
    assert cursor_rows.find(one, "alpha") is not None


def test_held_leases_are_counted_by_prefix(store: Store) -> None:
    for name, now in (
        ("member/poller/a", NOW),
        ("member/poller/b", later(20)),
        ("poll/a", NOW),
        ("member/pollers", NOW),
    ):
        leased(store, name, now=now)
    assert [lease_rows.count(store, "member/poller/", later(seconds)) for seconds in (0, 30, 31, 51)] == [2, 2, 1, 0]
