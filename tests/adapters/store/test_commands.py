"""Commands: when one opens, which one a worker claims, and how one ends. The tests run on both engines."""

import threading
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
import sqlalchemy as sa

from adapters.store import commands as command_rows
from adapters.store import orders as order_rows
from adapters.store import schema as s
from adapters.store import shops as shop_rows
from adapters.store.commands import LEASE, NewCommand
from adapters.store.lanes import Lane
from adapters.store.transaction import Store
from statemachine.commands import Command, CommandKind, CommandState
from statemachine.states import State
from tests.adapters.store.support import CONFIRM, IMPORT, NOW, TRACK, Desk, claimable, later, lease, on_postgresql, rows
from tests.support import Meanwhile, OpenStore

# -- Opening, ending, and opening again -------------------------------------------------------------------------------


def test_a_command_that_became_obsolete_opens_again_in_its_old_row(desk: Desk) -> None:
    (first,) = desk.open(IMPORT)
    desk.open(IMPORT)
    assert [row["id"] for row in rows(desk.store, s.commands)] == [first]
    desk.mark_obsolete(first)
    desk.mark_obsolete()
    assert desk.row(first)["state"] == "obsolete"
    again = desk.open(replace(IMPORT, basis="new"), at=later(5))
    assert again == [first]
    row = desk.row(first)
    assert row["state"] == "open"
    assert row["next_at"] == later(5)
    assert row["basis"] == "new"
    assert row["opened_at"] == later(5)


@pytest.mark.parametrize("end", [CommandState.DONE, CommandState.REJECTED, CommandState.GAVE_UP])
def test_a_command_that_ended_otherwise_never_opens_again(desk: Desk, end: CommandState) -> None:
    (command,) = desk.open(IMPORT)
    assert desk.lease(command)
    assert desk.settle(command, state=end)
    assert desk.open(IMPORT) == []
    assert desk.row(command)["state"] == end
    assert desk.claimable(later(9999)) is None


def test_a_leased_command_that_becomes_obsolete_still_belongs_to_its_holder(desk: Desk) -> None:
    """docs/rules.md 12: no other command of an order is claimed while a call of it may be under way."""
    first, second = desk.open(TRACK, replace(TRACK, carries="T2"))
    desk.lease(first)
    desk.mark_obsolete(first, second)
    row = desk.row(first)
    assert row["state"] == "leased"
    assert row["unwanted"]
    assert row["lease_token"] == "t"
    assert desk.row(second)["state"] == "obsolete"
    desk.open(replace(TRACK, carries="T2"))
    assert desk.claimable() is None
    assert not desk.mark_sending(first)
    assert desk.requeue(first)
    assert desk.row(first)["state"] == "obsolete"
    assert desk.claimable() == second


def test_a_leased_command_is_revived(desk: Desk) -> None:
    (command,) = desk.open(TRACK)
    desk.lease(command)
    desk.mark_obsolete(command)
    with desk.store.transaction() as tx:
        command_rows.revive(tx, [])
        command_rows.revive(tx, [command])
    assert desk.mark_sending(command)


@pytest.mark.parametrize("release", ["settle", "requeue"])
def test_a_command_that_ended_as_obsolete_is_wanted_when_it_opens_again(desk: Desk, release: str) -> None:
    """If the mark stayed, workers would claim the command again and again, each time without a call."""
    (command,) = desk.open(TRACK)
    desk.lease(command)
    desk.mark_obsolete(command)
    assert desk.settle(command, state=CommandState.OBSOLETE) if release == "settle" else desk.requeue(command)
    assert desk.open(TRACK) == [command]
    assert desk.lease(command)
    assert desk.mark_sending(command)


def test_the_index_lets_one_command_of_an_order_be_leased(desk: Desk) -> None:
    first, second = desk.open(TRACK, CONFIRM)
    desk.lease(first)
    with pytest.raises(sa.exc.IntegrityError), desk.store.writing() as connection:
        connection.execute(
            sa.update(s.commands).where(s.commands.c.id == second).values(state="leased", lease_token="x")
        )


@pytest.mark.parametrize(
    "values",
    [{"state": "lost"}, {"state": "leased", "lease_token": None}, {"state": "open", "lease_token": "t"}],
    ids=["unknown state", "leased by nobody", "open with a holder"],
)
def test_the_checks_refuse_an_impossible_state(desk: Desk, values: dict[str, Any]) -> None:
    (command,) = desk.open(TRACK)
    with pytest.raises(sa.exc.IntegrityError), desk.store.writing() as connection:
        connection.execute(sa.update(s.commands).where(s.commands.c.id == command).values(**values))


def test_a_command_needs_its_order(desk: Desk) -> None:
    with pytest.raises(sa.exc.IntegrityError), desk.store.transaction() as tx:
        command_rows.open_due(tx, [NewCommand(99, "alpha", TRACK, NOW)], NOW)


# -- Which command a worker claims ------------------------------------------------------------------------------------


def test_a_command_is_not_claimable_before_it_is_due(desk: Desk) -> None:
    (command,) = desk.open(IMPORT, at=later(10))
    assert desk.claimable(later(9)) is None
    assert desk.claimable(later(10)) == command


def test_the_longest_due_goes_first_and_of_each_order_the_oldest(desk: Desk) -> None:
    track, confirm = desk.open(TRACK, CONFIRM)
    (other,) = desk.open(IMPORT, order_id="O-2", at=later(-5))
    assert desk.claimable() == other
    desk.lease(other)
    assert desk.claimable() == track
    desk.lease(track)
    assert desk.claimable() is None  # another command of its order is leased
    desk.settle(track)
    assert desk.claimable() == confirm


def test_a_command_in_back_off_keeps_younger_ones_of_its_kind_waiting(desk: Desk) -> None:
    first, second = desk.open(TRACK, replace(TRACK, carries="T2"))
    desk.lease(first)
    desk.requeue(first, next_at=later(60))
    assert desk.claimable(later(30)) is None
    assert not desk.lease(second, now=later(30))
    assert desk.claimable(later(60)) == first


def test_an_older_command_of_another_kind_holds_nothing_while_it_cannot_go(desk: Desk) -> None:
    """The plan decides which calls wait for each other: the shipment is due only if it may go before the tracking."""
    first, second = desk.open(TRACK, CONFIRM)
    assert desk.claimable() == first
    assert not desk.lease(second)
    assert desk.claimable(paused=(Lane("alpha", CommandKind.TRACK),)) == second
    assert desk.claimable(paused=(Lane("beta", CommandKind.TRACK),)) == first
    desk.lease(first)
    assert desk.claimable() is None, "its call may be under way"
    desk.requeue(first, next_at=later(60))
    assert desk.claimable(later(30)) == second
    assert desk.claimable(later(60)) == first, "it is the oldest, and can go"
    assert desk.lease(second, now=later(30))


def test_a_person_ends_a_back_off(desk: Desk) -> None:
    (track,) = desk.open(TRACK, at=later(60))
    (other,) = desk.open(TRACK, order_id="O-2", at=later(60))
    with desk.store.transaction() as tx:
        command_rows.retry_now(tx, desk.row(track)["order_key"], NOW)
    assert desk.claimable() == track
    assert desk.row(other)["next_at"] == later(60)


def test_an_expired_lease_is_claimable_and_its_old_holder_changes_nothing(desk: Desk) -> None:
    (command,) = desk.open(IMPORT)
    desk.lease(command, "old")
    after = NOW + LEASE + timedelta(seconds=1)
    assert desk.claimable(NOW + LEASE) is None
    assert desk.claimable(after) == command
    assert desk.lease(command, "new", after)
    assert not desk.mark_sending(command, "old", after)
    assert not desk.settle(command, "old")
    assert not desk.requeue(command, "old")
    row = desk.row(command)
    assert row["state"] == "leased"
    assert row["lease_token"] == "new"
    assert row["attempts"] == 2
    assert desk.mark_sending(command, "new", after)
    assert desk.settle(command, "new")


def test_a_lease_that_a_clock_a_day_ahead_wrote_is_over(desk: Desk) -> None:
    (command,) = desk.open(IMPORT)
    desk.lease(command, "wrong", NOW + timedelta(days=1))
    assert desk.claimable() == command
    assert desk.lease(command, "right")
    assert desk.claimable() is None
    assert not desk.mark_sending(command, "wrong", NOW + timedelta(days=1))


def test_an_older_command_that_opens_again_waits_for_the_younger_one_that_is_leased(desk: Desk) -> None:
    """A person accepts, then refuses, and the refusal is leased; then the person accepts again. This opens the first
    row again. It is the oldest row of its order, but the refusal is still leased.

    If the first row were claimable, its lease would break the index that allows one leased command for each order.
    Every claim of every shop would then fail until the refusal ended.
    """
    accept, refuse = Command(CommandKind.ACCEPT, "accept", 0, ""), Command(CommandKind.ACCEPT, "refuse", 0, "")
    (first,) = desk.open(accept)
    desk.mark_obsolete(first)
    (second,) = desk.open(refuse)
    desk.lease(second, "old")
    desk.mark_obsolete(second)
    desk.open(accept)
    (other,) = desk.open(IMPORT, order_id="O-2", at=later(1))
    assert desk.claimable(later(1)) == other
    assert not desk.lease(first)
    # The holder died, and its lease runs out. The leased command is claimed first; at the end both commands have ended.
    after = NOW + LEASE + timedelta(seconds=1)
    assert not desk.lease(first, "new", after)
    assert desk.claimable(after) == second
    assert desk.lease(second, "new", after)
    desk.settle(second, "new", CommandState.OBSOLETE)
    assert desk.claimable(after) == first
    assert desk.lease(first, "new", after)


def test_one_of_two_workers_leases_a_command(desk: Desk) -> None:
    (command,) = desk.open(IMPORT)
    assert desk.claimable() == desk.claimable() == command
    assert [desk.lease(command, "one"), desk.lease(command, "two")] == [True, False]
    assert desk.row(command)["lease_token"] == "one"


def test_a_command_that_ended_between_read_and_lease_is_not_leased(desk: Desk) -> None:
    """docs/rules.md 13: a claim finds a command, the command becomes obsolete, and `lease` refuses it."""
    (command,) = desk.open(IMPORT)
    assert desk.claimable() == command
    desk.mark_obsolete(command)
    assert not desk.lease(command)


def test_many_workers_claim_each_command_once(open_store: OpenStore) -> None:
    each = [Desk(open_store()), Desk(open_store())]
    wanted = {each[0].open(IMPORT, order_id=f"O-{n}")[0] for n in range(20)}
    taken: list[int] = []

    def claim(desk: Desk, token: str) -> None:
        while True:
            with desk.store.transaction() as tx:
                command = claimable(tx, NOW)
                if command is None:
                    return
                # False: another transaction committed between the read and the lock, so read again.
                won = lease(tx, command, token, NOW)
            taken.extend([command] if won else [])

    threads = [threading.Thread(target=claim, args=(desk, f"{n}")) for n, desk in enumerate((*each, *each))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(taken) == sorted(wanted)


def test_a_claim_respects_the_switches_of_the_shops(desk: Desk) -> None:
    (alpha,) = desk.open(IMPORT)
    (beta,) = desk.open(TRACK, shop="beta", at=later(1))

    def switch(shop: str, *paused: str, effects: bool = True) -> None:
        with desk.store.transaction() as tx:
            shop_rows.set_switches(tx, shop, paused=paused, effects=effects)

    assert desk.claimable(later(1)) == alpha
    switch("alpha", effects=False)
    assert desk.claimable(later(1)) == beta
    switch("alpha", "accept", "ship")
    assert desk.claimable(later(1)) == alpha
    switch("alpha", "import")
    assert desk.claimable(later(1)) == beta
    switch("beta", "ship")
    assert desk.claimable(later(1)) is None
    switch("alpha")
    assert desk.claimable(later(1), paused=(Lane("alpha", CommandKind.IMPORT),)) is None
    assert (
        desk.claimable(later(1), paused=(Lane("beta", CommandKind.IMPORT), Lane("alpha", CommandKind.TRACK))) == alpha
    )
    assert desk.claimable(later(1), shops=("beta",)) is None
    assert desk.claimable(later(1), shops=()) is None


def test_a_claim_reads_the_index_of_live_commands_and_not_the_history(sqlite: Store) -> None:
    """With a million ended commands, a claim that read the history took a third of a second."""
    desk = Desk(sqlite)
    statements: list[tuple[str, Any]] = []

    def note(_connection: Any, _cursor: Any, statement: str, parameters: Any, *_: Any) -> None:
        statements.append((statement, parameters))

    sa.event.listen(desk.store.engine, "before_cursor_execute", note)
    desk.claimable()
    statement, parameters = next(pair for pair in statements if "FROM commands" in pair[0])
    with desk.store.engine.connect() as connection:
        plan = [row[3] for row in connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", parameters)]
    assert any("commands USING INDEX ix_commands_lane" in step for step in plan), plan
    assert not any("SCAN" in step or "TEMP B-TREE" in step for step in plan), plan


@on_postgresql
def test_workers_that_claim_never_wait_for_each_other(open_store: OpenStore) -> None:
    """While one transaction holds the first order, another transaction claims the second, and then finds no third."""
    one, other = Desk(open_store()), open_store()
    (first,) = one.open(IMPORT)
    (second,) = one.open(IMPORT, order_id="O-2", at=later(1))

    def claim() -> list[int | None]:
        with other.transaction() as tx:
            found = claimable(tx, later(1))
            assert found is not None
            assert lease(tx, found, "t", later(1))
            return [found, claimable(tx, later(1))]

    with one.store.transaction() as tx:
        assert claimable(tx, later(1)) == first
        assert Meanwhile(claim).result() == [second, None]
        assert lease(tx, first, "u", later(1))


@on_postgresql
def test_a_claim_skips_an_order_that_a_consumer_has_locked(open_store: OpenStore) -> None:
    desk, consumer = Desk(open_store()), open_store()
    (first,) = desk.open(IMPORT)
    (second,) = desk.open(IMPORT, order_id="O-2", at=later(1))
    with consumer.transaction() as tx:
        order_rows.lock(tx, [("alpha", "O-1")], NOW)
        assert Meanwhile(lambda: desk.claimable(later(1))).result() == second
    assert desk.claimable(later(1)) == first


@on_postgresql
def test_a_command_leased_between_read_and_lock_is_not_leased_again(open_store: OpenStore) -> None:
    """A claim may read the command before another worker leases it, so `lease` checks it under the order's lock."""
    desk, other = Desk(open_store()), open_store()
    (command,) = desk.open(IMPORT)
    with other.transaction() as tx:
        order_rows.lock_by_keys(tx, [desk.row(command)["order_key"]])
        assert lease(tx, command, "first", NOW)
        late = Meanwhile(lambda: desk.lease(command, "second"))
        assert late.waits()
    assert late.result() is False
    assert desk.row(command)["lease_token"] == "first"


# -- Before the call, and the end -------------------------------------------------------------------------------------


def test_mark_sending_stores_the_payload_and_that_the_call_may_arrive(desk: Desk) -> None:
    (command,) = desk.open(IMPORT)
    assert not desk.mark_sending(command)  # not leased
    desk.lease(command)
    assert not desk.mark_sending(command, "another")
    assert not desk.mark_sending(command, now=NOW + LEASE)
    assert desk.row(command)["maybe_sent"] is False
    assert desk.mark_sending(command, payload=b"\x00 bytes")
    assert desk.row(command)["payload"] == b"\x00 bytes"
    assert desk.row(command)["maybe_sent"] is True
    assert desk.mark_sending(command)
    assert desk.row(command)["payload"] == b"\x00 bytes"


def test_requeue_keeps_the_attempts_and_whether_a_call_may_have_arrived(desk: Desk) -> None:
    (command,) = desk.open(IMPORT)
    desk.lease(command)
    assert desk.requeue(command, next_at=later(7), maybe_sent=True)
    row = desk.row(command)
    assert row["state"] == "open"
    assert row["attempts"] == 1
    assert row["maybe_sent"] is True
    assert row["next_at"] == later(7)
    assert row["lease_token"] is None
    assert row["lease_until"] is None
    assert row["last_outcome"] == "retry"
    desk.lease(command)
    assert desk.requeue(command, attempt_counts=False)
    assert desk.row(command)["attempts"] == 1
    assert not desk.requeue(command), "it is open already"


def test_settle_ends_a_command_once(desk: Desk) -> None:
    (command,) = desk.open(IMPORT)
    assert not desk.settle(command)
    desk.lease(command)
    assert not desk.settle(command, "another")
    assert desk.settle(command)
    assert not desk.settle(command)
    (row,) = command_rows.of_order(desk.store, 1)
    assert row.kind == CommandKind.IMPORT
    assert row.state == CommandState.DONE
    assert row.last_outcome == "result"


def test_the_payloads_that_the_oms_has_or_may_have_are_found_by_how_they_begin(desk: Desk) -> None:
    """Of each order the newest payload counts, and only those that begin otherwise are read."""
    states = {
        "SENT": State.DISPATCHED,
        "IN": State.IMPORTED,
        "LOST": State.SHIPPING,
        "REFUSED": State.SHIPPING,
        "DONE": State.SHIPPED,
    }
    o, c = s.orders.c, s.commands.c
    for order_id, state in states.items():
        for number in range(2):
            (command,) = desk.open(replace(IMPORT, round=number), order_id=order_id)
            desk.lease(command)
            desk.mark_sending(command, payload=b"%d" % number + b"-" * 1000)
            desk.settle(command)
        with desk.store.transaction() as tx:
            tx.execute(sa.update(s.orders).where(o.order_id == order_id).values(state=state))
            if order_id == "REFUSED":
                key = sa.select(o.id).where(o.order_id == order_id).scalar_subquery()
                tx.execute(sa.update(s.commands).where(c.order_key == key).values(maybe_sent=False))

    def found(begins: bytes) -> list[tuple[str, bytes]]:
        return sorted(command_rows.payloads_in_oms(desk.store, "alpha", lambda order_id: [begins]))

    assert found(b"0") == [(order_id, b"1" + b"-" * 1000) for order_id in ("IN", "LOST", "SENT")]
    assert found(b"1") == []
    assert list(command_rows.payloads_in_oms(desk.store, "beta", lambda order_id: [])) == []
