"""What processes share through the store: leases, budgets, the outbox, dead letters, and orders that one has locked."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from adapters.errors import ConfigError, Fenced
from adapters.ports import NewRecord
from adapters.store import budgets as budget_rows
from adapters.store import commands as command_rows
from adapters.store import cursors as cursor_rows
from adapters.store import dead_letters as dead_letter_rows
from adapters.store import leases as lease_rows
from adapters.store import orders as order_rows
from adapters.store import outbox as outbox_rows
from adapters.store import shops as shop_rows
from adapters.store.budgets import BudgetWindow
from adapters.store.commands import LEASE
from adapters.store.cursors import Cursor
from adapters.store.dead_letters import DeadLetter
from adapters.store.leases import Lease
from adapters.store.outbox import OutboxRow
from adapters.store.transaction import Store
from statemachine.commands import Command, CommandKind
from tests.adapters.store.test_commands import NOW, Desk, later, leased, taken
from tests.support import Meanwhile, OpenStore

HOUR, DAY = timedelta(hours=1), timedelta(days=1)


@pytest.fixture
def store(open_store: OpenStore) -> Store:
    return open_store()


#: For tests of two writers at a time, which SQLite never has.
on_postgresql = pytest.mark.parametrize("open_store", ["postgresql"], indirect=True)


# -- Leases ------------------------------------------------------------------------------------------------------


def check(store: Store, lease: Lease) -> None:
    with store.transaction() as tx:
        lease_rows.check(tx, lease)


def test_a_lease_that_another_holds_is_refused(open_store: OpenStore) -> None:
    one, other = open_store(), open_store()
    held = leased(one)
    assert taken(other, held.name, "two", later(30)) is None, "to the very end"
    check(other, held)
    assert taken(other, "poll:beta", "two", NOW) == Lease("poll:beta", "two", 1), "each name is a lease of its own"


def test_a_stale_token_is_fenced(open_store: OpenStore) -> None:
    one, other = open_store(), open_store()
    old = leased(one)
    new = leased(other, holder="two", now=later(31))
    assert new.token > old.token
    with pytest.raises(Fenced, match=r"poll:alpha has another holder"):
        check(one, old)
    check(other, new)
    back = leased(one, now=later(62))
    assert (back.holder, back.token) == (old.holder, new.token + 1)
    with pytest.raises(Fenced):
        check(one, old)  # the same holder by name: its earlier life has ended all the same


def test_a_lease_that_nobody_ever_took_is_nobodys(store: Store) -> None:
    with pytest.raises(Fenced):
        check(store, Lease("relay", "one", 1))


def test_its_holder_keeps_it_with_its_token_even_after_its_end(store: Store) -> None:
    held = leased(store)
    assert [leased(store, now=later(seconds)) for seconds in (0, 20, 90)] == [held] * 3
    assert taken(store, held.name, "two", later(119)) is None
    assert taken(store, held.name, "two", later(121)) is not None


def test_a_released_lease_is_the_next_ones_at_once(store: Store) -> None:
    held = leased(store)
    with store.transaction() as tx:
        lease_rows.release(tx, held)
    with pytest.raises(Fenced):
        check(store, held)
    assert leased(store, holder="two") == replace(held, holder="two", token=2)


def test_a_lease_is_ended_by_hand(store: Store) -> None:
    """Then what was begun under it comes to nothing, and its holder may begin anew."""
    held = leased(store)
    with store.transaction() as tx:
        lease_rows.revoke(tx, held.name)
        lease_rows.revoke(tx, "poll:none")
    with pytest.raises(Fenced):
        check(store, held)
    assert leased(store) == replace(held, token=2)


def test_a_late_release_takes_nothing_from_the_next_holder(store: Store) -> None:
    old = leased(store)
    new = leased(store, holder="two", now=later(31))
    with store.transaction() as tx:
        lease_rows.release(tx, old)
    check(store, new)
    assert taken(store, new.name, "three", later(31)) is None


def test_nobody_takes_a_lease_over_while_its_holder_writes_under_it(open_store: OpenStore) -> None:
    one, other = open_store(), open_store()
    held = leased(one)
    with one.transaction() as tx:
        lease_rows.check(tx, held)
        next_one = Meanwhile(lambda: taken(other, held.name, "two", later(31)))
        assert next_one.waits()
        cursor_rows.save(tx, "alpha", Cursor(NOW, NOW, NOW), held)
    assert next_one.result() == replace(held, holder="two", token=2)
    assert cursor_rows.find(one, "alpha") is not None


def test_leases_that_live_are_counted_by_their_prefix(store: Store) -> None:
    for name, now in (("poller:a", NOW), ("poller:b", later(20)), ("poll:a", NOW), ("pollers", NOW)):
        leased(store, name, now=now)
    assert [lease_rows.count(store, "poller:", later(seconds)) for seconds in (0, 30, 31, 51)] == [2, 2, 1, 0]


def test_a_cursor_is_moved_by_the_holder_alone(open_store: OpenStore) -> None:
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


# -- Shops -------------------------------------------------------------------------------------------------------


def bind(store: Store, name: str, shop_id: int = 1, effects: bool | None = None) -> None:
    with store.transaction() as tx:
        shop_rows.bind(tx, name, "https://a", shop_id, effects=effects, now=NOW)


def bound_second(open_store: OpenStore, name: str, shop_id: int) -> Any:
    """What comes of a process that binds a shop while another one, that binds alpha to shop 1, has not ended."""
    one, other = open_store(), open_store()
    with one.transaction() as tx:
        shop_rows.bind(tx, "alpha", "https://a", 1, effects=True, now=NOW)
        late = Meanwhile(lambda: bind(other, name, shop_id))
        assert late.waits()
    return late.result(), [(shop.name, shop.shop_id, shop.effects) for shop in shop_rows.list_all(one)]


def test_processes_that_start_at_once_bind_a_shop_once(open_store: OpenStore) -> None:
    assert bound_second(open_store, "alpha", 1) == (None, [("alpha", 1, True)])


def test_a_typo_is_corrected_also_by_one_that_starts_at_the_same_time(open_store: OpenStore) -> None:
    assert bound_second(open_store, "alpha", 2) == (None, [("alpha", 2, True)])


def test_an_account_has_one_name_also_where_two_start_at_once(open_store: OpenStore) -> None:
    error, shops = bound_second(open_store, "beta", 1)
    assert isinstance(error, ConfigError)
    assert "shop 1 is called alpha in this store" in str(error)
    assert shops == [("alpha", 1, True)]


# -- Budgets -----------------------------------------------------------------------------------------------------

Spans = Sequence[BudgetWindow]


class Spent(Exception):
    """Undoes the transaction, as the worker does."""


def spend(store: Store, budget: Spans, now: Any = NOW, account: str = "oms:1") -> Any:
    """None, or when the spent span ends."""
    ends_at = None
    try:
        with store.transaction() as tx:
            ends_at = budget_rows.spend(tx, account, budget, now)
            if ends_at is not None:
                raise Spent
    except Spent:
        pass
    return ends_at


def test_a_spent_budget_says_until_when_and_counts_no_further(open_store: OpenStore) -> None:
    one, other = open_store(), open_store()
    budget = [BudgetWindow("hour", HOUR, 3)]
    assert [spend(each, budget, later(n)) for n, each in enumerate((one, other, one))] == [None] * 3
    assert [spend(each, budget, later(60)) for each in (one, other)] == [NOW + HOUR] * 2
    assert budget_rows.used(one, later(60)) == {("oms:1", "hour"): 3}


def test_each_account_has_its_own(store: Store) -> None:
    budget = [BudgetWindow("hour", HOUR, 1)]
    assert [spend(store, budget, account=account) for account in ("oms:1", "oms:2", "oms:1")] == [
        None,
        None,
        NOW + HOUR,
    ]


def test_the_next_span_begins_with_its_first_call(store: Store) -> None:
    budget = [BudgetWindow("hour", HOUR, 2)]
    for now in (NOW, NOW, NOW + HOUR + timedelta(minutes=5)):
        assert spend(store, budget, now) is None
    assert budget_rows.used(store, later(4000)) == {("oms:1", "hour"): 1}
    assert spend(store, budget, NOW + HOUR + timedelta(minutes=6)) is None
    assert spend(store, budget, NOW + HOUR + timedelta(minutes=7)) == NOW + 2 * HOUR + timedelta(minutes=5)


def test_it_turns_at_its_end_to_the_moment(store: Store) -> None:
    budget = [BudgetWindow("hour", HOUR, 1)]
    spend(store, budget)
    assert spend(store, budget, later(3599.999)) == NOW + HOUR
    assert budget_rows.used(store, NOW + HOUR) == {}
    assert spend(store, budget, NOW + HOUR) is None


def test_a_spent_day_takes_nothing_from_the_hour(store: Store) -> None:
    budget = [BudgetWindow("hour", HOUR, 5), BudgetWindow("day", DAY, 2)]
    assert [spend(store, budget) for _ in range(3)] == [None, None, NOW + DAY]
    assert budget_rows.used(store, NOW) == {("oms:1", "hour"): 2, ("oms:1", "day"): 2}


def test_many_spenders_together_never_spend_too_much(open_store: OpenStore) -> None:
    each = [open_store(), open_store()]
    budget = [BudgetWindow("hour", HOUR, 30), BudgetWindow("day", DAY, 25)]
    spenders = [Meanwhile(lambda: [spend(each[k], budget) for k in (0, 1) * 5]) for _ in range(4)]
    outcomes = [ends_at for one in spenders for ends_at in one.result()]
    assert (outcomes.count(None), outcomes.count(NOW + DAY)) == (25, 15)
    assert budget_rows.used(each[0], NOW)["oms:1", "day"] == 25


# -- The outbox --------------------------------------------------------------------------------------------------


def record(n: int, key: bytes | None = b"k") -> OutboxRow:
    return OutboxRow("type", NewRecord("topic", key, b"%d" % n, (("h", b"\xff%d" % n),)))


def values(store: Store, limit: int = 100) -> list[bytes]:
    return [row.record.value for row in outbox_rows.oldest(store, limit)]


def test_the_outbox_comes_back_in_order_byte_for_byte(store: Store) -> None:
    with store.transaction() as tx:
        outbox_rows.add(tx, [], NOW)
        outbox_rows.add(tx, [record(1), record(2, None)], NOW)
        outbox_rows.add(tx, [record(3)], later(-9))
    assert [replace(row, id=0) for row in outbox_rows.oldest(store, 100)] == [record(1), record(2, None), record(3)]
    assert values(store, 2) == [b"1", b"2"]


def test_what_is_published_is_gone_and_nothing_else(store: Store) -> None:
    with store.transaction() as tx:
        outbox_rows.add(tx, [record(n) for n in range(4)], NOW)
    ids = [row.id for row in outbox_rows.oldest(store, 100)]
    with store.transaction() as tx:
        outbox_rows.delete(tx, [])
        outbox_rows.delete(tx, [ids[0], ids[2]])
    assert values(store) == [b"1", b"3"]


def test_an_undone_transaction_tells_nobody(store: Store) -> None:
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


# -- Dead letters ------------------------------------------------------------------------------------------------

LETTER = DeadLetter("topic", "topic/0/1", "not_json", "x", "digest", b"k", b"\xff", (("h", b"\xfe"),))


def set_aside(store: Store, letter: DeadLetter = LETTER) -> dead_letter_rows.StoredDeadLetter:
    with store.transaction() as tx:
        dead_letter_rows.add(tx, [letter], NOW)
    return next(one for one in dead_letter_rows.newest(store) if one.reason == letter.reason)


def close(store: Store, letter: dead_letter_rows.StoredDeadLetter, state: str = "replayed") -> bool:
    with store.transaction() as tx:
        return dead_letter_rows.close(tx, letter.id, letter.times, state)


def test_a_letter_is_closed_once(open_store: OpenStore) -> None:
    one, other = open_store(), open_store()
    letter, second = set_aside(one), set_aside(one, replace(LETTER, reason="bad_id"))
    assert [close(one, letter), close(other, letter, "discarded"), close(one, replace(letter, id=99))] == [
        True,
        False,
        False,
    ]
    assert {found.id: found.state for found in dead_letter_rows.newest(one)} == {
        letter.id: "replayed",
        second.id: "open",
    }


@pytest.mark.parametrize("state", ["replayed", "discarded"])
def test_a_letter_that_is_set_aside_again_is_open_again(store: Store, state: str) -> None:
    letter = set_aside(store)
    assert close(store, letter, state)
    again = set_aside(store, replace(LETTER, place="topic/0/7"))
    assert (again.id, again.state, again.times, again.place) == (letter.id, "open", 2, "topic/0/7")
    assert close(store, again)


def test_a_letter_that_came_back_before_it_was_closed_stays_open(store: Store) -> None:
    """A fast consumer sets a replayed letter aside again before the replay is marked: it must stay in sight."""
    letter = set_aside(store)
    set_aside(store)
    assert not close(store, letter)
    found = dead_letter_rows.find(store, letter.id)
    assert found is not None
    assert found.state == "open"


# -- Orders that another has locked ------------------------------------------------------------------------------


@on_postgresql
def test_claimers_never_wait_for_each_other(open_store: OpenStore) -> None:
    """One transaction holds the first order: the next claimer takes the second, and a third one finds nothing."""
    one, other = Desk(open_store()), open_store()
    need = Command(CommandKind.IMPORT, "", 0, "basis")
    (first,) = one.open(need)
    (second,) = one.open(need, order_id="O-2", at=later(1))

    def claim() -> list[int | None]:
        with other.transaction() as tx:
            found = command_rows.claimable(tx, later(1), (), ("alpha",))
            assert found is not None
            assert command_rows.lease(tx, found, basis="", token="t", until=later(1) + LEASE, now=later(1))
            return [found, command_rows.claimable(tx, later(1), (), ("alpha",))]

    with one.store.transaction() as tx:
        assert command_rows.claimable(tx, later(1), (), ("alpha",)) == first
        assert Meanwhile(claim).result() == [second, None]
        assert command_rows.lease(tx, first, basis="", token="u", until=later(1) + LEASE, now=later(1))


@on_postgresql
def test_a_claimer_passes_an_order_over_that_a_consumer_writes(open_store: OpenStore) -> None:
    desk, consumer = Desk(open_store()), open_store()
    need = Command(CommandKind.IMPORT, "", 0, "basis")
    (first,) = desk.open(need)
    (second,) = desk.open(need, order_id="O-2", at=later(1))
    with consumer.transaction() as tx:
        order_rows.lock(tx, [("alpha", "O-1")], NOW)
        assert Meanwhile(lambda: desk.claimable(later(1))).result() == second
    assert desk.claimable(later(1)) == first


@on_postgresql
def test_a_command_leased_between_look_and_lock_is_not_leased_again(open_store: OpenStore) -> None:
    """The look sees the row as it was: the lease looks again, once the order is its own."""
    desk, other = Desk(open_store()), open_store()
    (command,) = desk.open(Command(CommandKind.IMPORT, "", 0, "basis"))
    with other.transaction() as tx:
        order_rows.lock_by_key(tx, desk.row(command)["order_key"])
        assert command_rows.lease(tx, command, basis="", token="first", until=NOW + LEASE, now=NOW)
        late = Meanwhile(lambda: desk.lease(command, "second"))
        assert late.waits()
    assert late.result() is False
    assert desk.row(command)["lease_token"] == "first"
