"""Fair turns: what one shop has to do does not hold another shop's calls, and what rests costs nothing."""

from pathlib import Path

import httpx
from hypothesis import given
from hypothesis import strategies as st

from adapters.store.lanes import Lane
from consumer.calling.imports import READ_AGAIN_SECONDS
from consumer.calling.lanes import Turns
from consumer.config import WorkerTable
from statemachine.commands import CommandKind
from tests.consumer.rig import Rig

ACCEPT, IMPORT, TRACK = (Lane("alpha", kind) for kind in (CommandKind.ACCEPT, CommandKind.IMPORT, CommandKind.TRACK))
BETA = Lane("beta", CommandKind.ACCEPT)


def test_lanes_have_their_turn_one_after_another() -> None:
    turns = Turns(16)
    assert [list(turns.share([ACCEPT, BETA], 1, under_way={})) for _ in range(4)] == [[ACCEPT], [BETA]] * 2
    assert [list(turns.share([ACCEPT, IMPORT, BETA], 1, under_way={})) for _ in range(3)] == [
        [IMPORT],
        [ACCEPT],
        [BETA],
    ], "who had no turn yet goes first, then whose turn was longest ago"


def test_a_backlog_of_one_shop_takes_its_share_and_what_others_leave() -> None:
    assert Turns(16).share([ACCEPT, BETA], 10, under_way={}) == {ACCEPT: 5, BETA: 5}
    assert Turns(16).share([ACCEPT], 10, under_way={}) == {ACCEPT: 10}


def test_an_account_has_no_more_calls_under_way_than_it_may() -> None:
    turns = Turns(4)
    assert turns.share([ACCEPT, TRACK], 10, under_way={}) == {ACCEPT: 2, TRACK: 2}
    assert turns.share([ACCEPT, BETA], 10, under_way={TRACK: 3}) == {ACCEPT: 1, BETA: 4}
    assert turns.share([ACCEPT, IMPORT], 10, under_way={TRACK: 5}) == {IMPORT: 4}, "the OMS is another account"


def test_reads_of_messages_leave_room_at_their_account_and_threads_to_others(tmp_path: Path) -> None:
    """An import takes its turn at the OMS, and reads the messages at Mirakl before it. With a Mirakl that hangs, these
    reads held the second half of the threads."""
    rig = Rig(tmp_path, shops=("alpha", "beta"))
    for number in range(6):
        rig.add(f"{number}-A", state="SHIPPING")
        rig.mirakl["alpha"].post_message(f"{number}-A", "Hello")
    rig.add("1-B", shop="beta", state="SHIPPING")
    rig.poll()
    most_reads = rig.settings.worker.most_calls // 2
    under_way: list[int] = [0]
    room: list[dict[Lane, int]] = []

    def hangs(request: httpx.Request) -> httpx.Response | None:
        """While a thread reads, the next thread has a turn."""
        if request.url.path == "/api/inbox/threads":
            under_way.append(under_way[-1] + 1)
            turns = Turns(rig.settings.worker.most_calls)
            room.append(turns.share([ACCEPT], 64, under_way=rig.worker.accounts.with_reads({})))
            while rig.worker.turn():
                pass
            under_way.append(under_way[-1] - 1)
        return None

    rig.nets["alpha"].hook = hangs
    rig.worker.turn()
    assert max(under_way) == most_reads == 2
    assert room == [{ACCEPT: 3}, {ACCEPT: 2}]
    assert rig.state("1-B") == "imported"
    assert [rig.row(f"{number}-A").facts.troubles for number in range(6)] == [()] * 6, "Mirakl refused no read"
    assert [rig.attention(f"{number}-A") for number in range(6)] == [[]] * 6
    rig.nets["alpha"].hook = lambda _request: None
    rig.work(READ_AGAIN_SECONDS)
    assert [rig.state(f"{number}-A") for number in range(6)] == ["imported"] * 6
    assert rig.attention("5-A") == []
    assert sum(rig.worker.accounts.with_reads({}).values()) == 0


def test_reads_of_messages_of_all_workers_are_no_more_than_imports_may_be(tmp_path: Path) -> None:
    """Each read is made for one leased import, and leases count over all workers."""
    rig = Rig(tmp_path)
    for number in range(20):
        rig.add(f"{number}-A", state="SHIPPING")
        rig.mirakl["alpha"].post_message(f"{number}-A", "Hello")
    rig.poll()
    workers = [rig.new_worker() for _ in range(4)]
    under_way: list[int] = [0]

    def hangs(request: httpx.Request) -> httpx.Response | None:
        """While a thread reads, threads of all workers have a turn."""
        if request.url.path == "/api/inbox/threads":
            under_way.append(under_way[-1] + 1)
            while sum(worker.turn() for worker in workers):
                pass
            under_way.append(under_way[-1] - 1)
        return None

    rig.nets["alpha"].hook = hangs
    workers[0].turn()
    assert max(under_way) == rig.settings.worker.most_calls == 4


def test_an_account_may_have_half_of_the_threads_unless_the_settings_say_more() -> None:
    assert [WorkerTable(threads=threads).most_calls for threads in (1, 8, 64)] == [1, 4, 32]
    assert WorkerTable(calls_per_account=9).most_calls == 9


def test_a_lane_whose_circuit_is_open_is_tested_by_one_call() -> None:
    assert Turns(16).share([ACCEPT, BETA], 10, under_way={}, tested=[ACCEPT]) == {ACCEPT: 1, BETA: 9}


lanes = st.builds(Lane, st.sampled_from(["alpha", "beta", "gamma"]), st.sampled_from(CommandKind))


@given(st.lists(lanes, unique=True), st.integers(0, 70), st.integers(1, 20), st.dictionaries(lanes, st.integers(1, 9)))
def test_what_is_shared_out_fills_the_room_and_no_more(
    due: list[Lane], most: int, per_account: int, under_way: dict[Lane, int]
) -> None:
    shared = Turns(per_account).share(due, most, under_way=under_way)
    assert set(shared) <= set(due)
    room = 0
    for account in {(lane.shop, lane.kind.remote) for lane in due}:
        mine = [lane for lane in {*due, *under_way} if (lane.shop, lane.kind.remote) == account]
        busy = sum(under_way.get(lane, 0) for lane in mine)
        room += max(0, per_account - busy)
        assert sum(shared.get(lane, 0) for lane in mine) <= max(0, per_account - busy)
    assert sum(shared.values()) == min(most, room)
