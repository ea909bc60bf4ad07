"""Leases of processes: how they are lost and taken over, and how the shops are shared. Time moves by hand."""

import socket
from collections import Counter
from collections.abc import Sequence
from datetime import timedelta
from functools import partial

import pytest
import sqlalchemy as sa

from adapters.errors import Cause, Fenced, StoreUnavailable
from adapters.store import schema as s
from adapters.store.transaction import Store
from consumer.leases import RELAY, Leases, poll_lease
from tests.support import Meanwhile, OpenStore, StillClock

SECONDS = 30.0
SHOPS = ("alpha", "beta", "gamma", "delta", "epsilon")


class Processes:
    """Processes over one database, each with a store of its own and one clock for all."""

    def __init__(self, open_store: OpenStore) -> None:
        self.clock = StillClock()
        self._open = open_store

    def start(self, holder: str) -> Leases:
        return Leases(self._open(), self.clock, holder, SECONDS)


@pytest.fixture
def processes(open_store: OpenStore) -> Processes:
    return Processes(open_store)


def statements(store: Store) -> list[str]:
    """Return a list to which every statement that this store executes from now on is added."""
    asked: list[str] = []
    sa.event.listen(store.engine, "before_cursor_execute", lambda *call: asked.append(call[2]))
    return asked


def test_a_lease_that_was_never_taken_is_not_kept(processes: Processes) -> None:
    with pytest.raises(Fenced, match=RELAY):
        processes.start("one").kept(RELAY)


def test_a_lost_lease_is_fenced(processes: Processes) -> None:
    one, other = processes.start("one"), processes.start("two")
    old = one.take(RELAY)
    processes.clock.advance(SECONDS + 1)
    assert not one.holds(RELAY)
    new = other.take(RELAY)
    assert new is not None
    assert old is not None
    assert new.token > old.token
    for _ in range(2):
        with pytest.raises(Fenced):
            one.kept(RELAY)
    assert one.take(RELAY) is None
    assert other.kept(RELAY) == new


def test_a_lease_that_was_lost_and_taken_again_is_another_one(processes: Processes) -> None:
    """Work that began under the first lease must not go on: another process worked in between."""
    one, other = processes.start("one"), processes.start("two")
    first = one.take(RELAY)
    processes.clock.advance(SECONDS + 1)
    other.take(RELAY)
    other.release(RELAY)
    with pytest.raises(Fenced):
        one.kept(RELAY)
    second = one.take(RELAY)
    assert second is not None
    assert first != second
    assert one.kept(RELAY) == second


def test_a_lease_that_ended_is_kept_if_no_other_process_took_it(processes: Processes) -> None:
    one = processes.start("one")
    lease = one.take(RELAY)
    processes.clock.advance(10 * SECONDS)
    assert one.kept(RELAY) == lease
    assert one.holds(RELAY)


def test_a_lease_is_renewed_once_a_third_of_its_time_has_passed(open_store: OpenStore, processes: Processes) -> None:
    store = open_store()
    one = Leases(store, processes.clock, "one", SECONDS)
    lease = one.take(RELAY)
    asked = statements(store)
    processes.clock.advance(SECONDS / 3 - 1)
    assert one.take(RELAY) == lease
    assert one.kept(RELAY) == lease
    assert asked == []
    processes.clock.advance(1)
    assert one.kept(RELAY) == lease
    assert asked
    processes.clock.advance(SECONDS - 1)
    assert processes.start("two").take(RELAY) is None, "its time counts from the renewal"


def test_a_process_that_died_is_replaced_when_its_lease_ends_and_not_before(processes: Processes) -> None:
    processes.start("one").take(RELAY)
    other = processes.start("two")
    waited = 0
    while other.take(RELAY) is None:
        processes.clock.advance(1)
        waited += 1
    assert waited == SECONDS + 1


def test_leases_that_a_clock_a_day_ahead_wrote_are_over(processes: Processes) -> None:
    """The clock of all processes was wrong and is set right: nobody waits for the ends that were written before."""
    processes.clock.advance(86_400)
    dead = processes.start("dead")
    assert dead.take(RELAY)
    assert all(dead.take_share(shop, len(SHOPS)) for shop in SHOPS)
    processes.clock.advance(-86_400)
    one = processes.start("one")
    assert one.take(RELAY)
    assert all(one.take_share(shop, len(SHOPS)) for shop in SHOPS), "it is the only member, and polls all shops"
    assert not processes.start("two").take(RELAY)


def test_a_released_lease_can_be_taken_at_once(processes: Processes) -> None:
    one, other = processes.start("one"), processes.start("two")
    for shop in SHOPS:
        assert one.take_share(shop, len(SHOPS))
    assert one.take(RELAY)
    one.release("never taken")
    one.release_all()
    assert not one.holds(RELAY)
    assert all(other.take_share(shop, len(SHOPS)) for shop in SHOPS), "the other process is no member any more"
    assert other.take(RELAY)
    one.release_all()
    assert other.kept(RELAY)


def test_threads_that_wait_for_an_unavailable_store_fail_with_the_first_one() -> None:
    """If fifty pollers each waited five seconds in turn, the liveness probe would fail, and restart the process."""
    asked: list[str] = []

    def password() -> str:  # asked for each connection
        asked.append("once more")
        return ""

    with socket.create_server(("127.0.0.1", 0)) as silent:  # it accepts connections and never answers
        url = f"postgresql+psycopg://u@127.0.0.1:{silent.getsockname()[1]}/db?sslmode=disable"
        store = Store(url, password=password)
        leases = Leases(store, StillClock(), "one", SECONDS)
        pollers = [Meanwhile(partial(leases.take_share, shop, len(SHOPS))) for shop in SHOPS]
        pollers.append(Meanwhile(partial(leases.kept, RELAY)))
        assert all(one.waits() for one in pollers)
        assert Meanwhile(partial(leases.holds, RELAY)).waits() is False, "this asks no store"
    errors = [one.result() for one in pollers]
    assert [type(one) for one in errors] == [StoreUnavailable] * len(pollers)
    assert {one.cause for one in errors} == {Cause.CONNECTION}, "the alert names the cause"
    assert len(asked) == 1
    with pytest.raises(StoreUnavailable):
        leases.take(RELAY)
    assert len(asked) == 2, "a thread that comes later asks again"
    store.close()


# -- Sharing the shops --------------------------------------------------------------------------------------------


def settle(processes: Processes, living: Sequence[Leases], seconds: float = 3 * SECONDS) -> list[int]:
    """Let every process ask for every shop from time to time, as its threads do. Returns how many each one polls.

    At no step is a shop held by two processes.
    """
    for _ in range(int(seconds / (SECONDS / 3))):
        processes.clock.advance(SECONDS / 3)
        for leases in living:
            for shop in SHOPS:
                leases.take_share(shop, len(SHOPS))
        assert max(holders(living).values()) == 1
    return [sum(leases.holds(poll_lease(shop)) for shop in SHOPS) for leases in living]


def holders(living: Sequence[Leases]) -> Counter[str]:
    return Counter(shop for leases in living for shop in SHOPS if leases.holds(poll_lease(shop)))


def all_are_held_once(living: Sequence[Leases]) -> bool:
    return holders(living) == Counter(SHOPS)


@pytest.mark.parametrize(("count", "shares"), [(1, [5]), (2, [2, 3]), (3, [1, 2, 2]), (6, [0, 1, 1, 1, 1, 1])])
def test_processes_share_the_shops_out(processes: Processes, count: int, shares: list[int]) -> None:
    living = [processes.start(f"p{n}") for n in range(count)]
    assert sorted(settle(processes, living)) == shares
    assert all_are_held_once(living)


def test_a_process_that_starts_later_gets_its_share_and_then_nothing_moves(processes: Processes) -> None:
    living = [processes.start("one")]
    assert settle(processes, living) == [5]
    living.append(processes.start("two"))
    assert sorted(settle(processes, living, SECONDS)) == [2, 3], "well before any lease runs out"
    living.append(processes.start("three"))
    assert sorted(settle(processes, living, SECONDS)) == [1, 2, 2]
    before = [[leases.kept(poll_lease(shop)) for shop in SHOPS if leases.holds(poll_lease(shop))] for leases in living]
    settle(processes, living)
    after = [[leases.kept(poll_lease(shop)) for shop in SHOPS if leases.holds(poll_lease(shop))] for leases in living]
    assert after == before


def test_the_shops_of_a_process_that_died_go_to_the_others(processes: Processes) -> None:
    living = [processes.start(f"p{n}") for n in range(3)]
    settle(processes, living)
    dead = living.pop()
    held_by_dead = [shop for shop in SHOPS if dead.holds(poll_lease(shop))]
    assert held_by_dead
    assert sorted(settle(processes, living)) == [2, 3]
    assert all_are_held_once(living)
    for shop in held_by_dead:
        with pytest.raises(Fenced):
            dead.kept(poll_lease(shop))


def test_a_process_that_stops_is_replaced_without_a_wait(processes: Processes) -> None:
    living = [processes.start(f"p{n}") for n in range(2)]
    settle(processes, living)
    living.pop().release_all()
    assert settle(processes, living, SECONDS / 3) == [5]


def test_members_that_ended_are_deleted_a_day_later_and_tokens_of_shops_are_not(
    open_store: OpenStore, processes: Processes
) -> None:
    """Each start of a process makes a row with a new name. Without the deletion the table would only grow."""
    store = open_store()

    def started(holder: str) -> tuple[Leases, set[str]]:
        leases = processes.start(holder)
        assert leases.take_share("alpha", 1)
        assert leases.take(RELAY)
        with store.reading() as connection:
            names = connection.execute(sa.select(s.leases.c.name)).scalars().all()
        assert {RELAY, "poll/alpha"} <= set(names)
        return leases, {name for name in names if name.startswith("member/poller/")}

    started("killed")
    processes.clock.advance(SECONDS + 1)
    stopped, _ = started("stopped")
    stopped.release_all()
    processes.clock.advance(86_400 - 1)  # the lease of the killed process ended exactly a day ago
    third, members = started("third")
    assert members == {"member/poller/killed", "member/poller/third"}
    assert third.kept(RELAY).token == third.kept("poll/alpha").token == 3
    third.release(RELAY)
    third.release("poll/alpha")
    processes.clock.advance(1)
    assert started("fourth")[1] == {"member/poller/third", "member/poller/fourth"}, "a living member stays"


def test_a_process_that_is_no_member_polls_nothing(open_store: OpenStore, processes: Processes) -> None:
    """Another process holds its member lease. It is not counted, so it has no share."""
    store = open_store()
    with store.writing() as connection:
        until = processes.clock.now() + timedelta(seconds=SECONDS)
        connection.execute(sa.insert(s.leases).values(name="member/poller/one", holder="another", token=1, until=until))
    assert processes.start("one").take_share("alpha", 1) is None
