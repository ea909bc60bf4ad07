"""Do stored offsets fit the log: the judgement alone, and what a worker does after a reset."""

from collections.abc import Collection, Mapping
from dataclasses import replace
from pathlib import Path

import httpx
import pytest
import sqlalchemy as sa
from hypothesis import given
from hypothesis import strategies as st

from adapters.errors import Fenced
from adapters.ports import Partition, PartitionOffsets
from adapters.simulators.orders import COMPANIES
from adapters.store import cursors as cursor_rows
from adapters.store import progress as progress_rows
from adapters.store import schema as s
from adapters.store.progress import Progress
from consumer.leases import poll_lease
from consumer.offsets import MISFITS, misfit
from consumer.operations import offsets as by_hand
from consumer.operations.offsets import _excused, _target
from statemachine.facts import RESTORED, Attempt
from tests.consumer.rig import SNAPSHOTS, AfterPage, Rig

offsets = st.integers(0, 40)
commits = st.none() | offsets
partition_offsets = st.builds(
    lambda first, length, log_id, committed: PartitionOffsets(first, first + length, log_id, committed),
    offsets,
    offsets,
    st.sampled_from("ab"),
    commits,
)
stored_ones = st.builds(Progress, offsets, st.sampled_from("ab"), offsets)


@pytest.mark.parametrize(
    ("stored", "extent", "reason"),
    [
        (Progress(5, "a"), PartitionOffsets(0, 9, "a", 5), ""),
        (Progress(5, "a"), PartitionOffsets(0, 9, "a"), ""),  # the group has committed nothing yet
        (Progress(5, "a"), PartitionOffsets(5, 5, "a", 3), ""),  # everything was applied, and deleted since
        (Progress(5, "a"), PartitionOffsets(0, 9, "b", 5), "topic_recreated"),
        (Progress(5, "a"), PartitionOffsets(6, 9, "a", 5), "offsets_gone"),
        (Progress(5, "a"), PartitionOffsets(0, 4, "a", 4), "log_shorter"),
        (Progress(5, "a", was_shorter=True), PartitionOffsets(0, 9, "a", 4), "log_shorter"),  # it has grown since
        (Progress(5, "a", was_shorter=True), PartitionOffsets(0, 9, "b", 4), "topic_recreated"),
        (Progress(5, "a"), PartitionOffsets(0, 9, "a", 6), "store_restored"),
        (Progress(0, "a"), PartitionOffsets(0, 9, "a", 6), "store_restored"),  # a new, empty store
        (Progress(5, "a", 6), PartitionOffsets(0, 9, "a", 6), ""),  # a person has reset it and knows
        (Progress(5, "a", 6), PartitionOffsets(0, 9, "a", 7), "store_restored"),  # and after that it was restored again
    ],
)
def test_each_way_in_which_store_and_log_part(stored: Progress, extent: PartitionOffsets, reason: str) -> None:
    assert misfit(stored, extent) == reason


@given(stored_ones, partition_offsets)
def test_what_fits_is_read_on_without_a_gap_and_without_a_guess(stored: Progress, extent: PartitionOffsets) -> None:
    wrong = misfit(stored, extent)
    if wrong:
        assert wrong in MISFITS
        return
    assert stored.log_id == extent.log_id
    assert extent.first <= stored.position <= extent.end
    assert extent.committed is None or extent.committed <= max(stored.position, stored.excused_commit)


@given(first=offsets, applied=offsets, waiting=offsets, deleted=offsets, behind=offsets, has_commit=st.booleans())
def test_a_life_without_loss_always_fits(
    first: int, applied: int, waiting: int, deleted: int, behind: int, has_commit: bool
) -> None:
    """Applied in order, committed late or never, and deleted only what was applied."""
    position = first + applied
    committed = max(first, position - behind) if has_commit else None
    extent = PartitionOffsets(min(first + deleted, position), position + waiting, "a", committed)
    assert misfit(Progress(position, "a"), extent) == ""


@given(stored_ones, partition_offsets, st.sampled_from(["stored", "earliest", "latest"]))
def test_after_a_reset_it_fits_and_stays_so_while_records_come(
    stored: Progress, extent: PartitionOffsets, whence: str
) -> None:
    position = _target(stored, extent, whence)  # type: ignore[arg-type]
    after = Progress(position, extent.log_id, _excused(stored, extent))
    # A group's commit may point behind the end of a topic that was made anew: nothing else but the row counts.
    assert misfit(after, extent) == ""
    later = PartitionOffsets(extent.first, extent.end + 10, extent.log_id, extent.committed)
    assert misfit(after, later) == ""
    if stored.log_id == extent.log_id and stored.position <= extent.end:
        # A consumer of a partition that fits runs on: what it had applied it commits behind our back.
        assert misfit(after, replace(later, committed=max(extent.committed or 0, stored.position))) == ""


def test_a_partition_that_is_read_on_meanwhile_is_not_set_back_to_an_older_end(folders: Path) -> None:
    """The log is asked before the row is locked; the consumers of partitions that fit do not wait for that."""
    rig = Rig(folders)
    rig.add("1-A", state="SHIPPING")
    rig.poll()
    plain, asked = rig.log.partition_offsets, []

    def partition_offsets(group: str, partitions: Collection[Partition]) -> Mapping[Partition, PartitionOffsets]:
        found = plain(group, partitions)
        asked.append(partitions)
        if len(asked) == 1:
            rig.add("2-A", state="SHIPPING")
            rig.poll()
        return found

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(rig.log, "partition_offsets", partition_offsets)
        moved = reset(rig)
    assert len(asked) == 2
    assert [partition for partition, was, now in moved if was != now] == []


# -- What follows a reset ----------------------------------------------------------------------------------------


def restored_without_its_import(folder: Path) -> Rig:
    """The OMS holds order 1-A by our own hand, of which this store knows nothing: it is an older copy."""
    rig, before = Rig(folder / "now"), Rig(folder / "before")
    for one in (rig, before):
        one.add("1-A", state="SHIPPING")
        one.poll()
    before.work()
    company = (str(COMPANIES["alpha"]), "oms-key")
    posted = httpx.Client(transport=rig.oms_net, base_url="https://oms.example", auth=company)
    answer = posted.post("/order", content=before.oms_net.bodies[0], headers={"Content-Type": "application/json"})
    assert answer.status_code == 201
    return rig


def reset(rig: Rig, partition: int | None = None) -> list[tuple[Partition, int, int]]:
    return by_hand.reset(
        rig.store,
        rig.orders,
        rig.log,
        "orderflow",
        SNAPSHOTS,
        partition=partition,
        whence="stored",
        who="ana",
        why="restored from the copy of Sunday",
        at=rig.clock.now(),
        shops=["alpha"],
    )


def test_a_duplicate_after_a_reset_is_our_own_import_of_before(folders: Path) -> None:
    rig = restored_without_its_import(folders)
    reset(rig)
    assert Attempt("import_order", RESTORED) in rig.row().facts.attempts
    rig.work()
    assert (rig.state(), rig.attention()) == ("imported", [])
    assert rig.results == [("import_order", "already_done")]
    assert rig.effects() == ["imported"]


def test_without_a_reset_it_would_be_somebody_elses(folders: Path) -> None:
    rig = restored_without_its_import(folders)
    rig.work()
    assert (rig.state(), rig.attention()) == ("shipping", ["already_in_oms"])


def test_a_reset_is_written_down_and_every_shop_is_read_anew(folders: Path) -> None:
    rig = restored_without_its_import(folders)
    assert cursor_rows.find(rig.store, "alpha") is not None
    moved = reset(rig)
    assert cursor_rows.find(rig.store, "alpha") is None
    with rig.store.reading() as connection:
        (row,) = connection.execute(sa.select(s.audit)).all()
    assert (row.who, row.act, row.why) == ("ana", "offsets reset to stored", "restored from the copy of Sunday")
    assert all(f"{partition.topic}/{partition.number} {was}->{now}" in row.subject for partition, was, now in moved)
    before = rig.row()
    rig.poll(60)  # the whole shop comes again
    assert (rig.row().state, rig.row().facts.snapshot) == (before.state, before.facts.snapshot)


def test_what_does_not_exist_cannot_be_reset(folders: Path) -> None:
    with pytest.raises(by_hand.NothingToReset, match=f"no such partition: {SNAPSHOTS}/99"):
        reset(Rig(folders / "now"), 99)


def test_a_run_that_is_under_way_does_not_undo_it(folders: Path) -> None:
    """At its end it would set the cursor again that it began with: the lost days would never be read."""
    rig = Rig(folders / "now")
    rig.add("1-A", state="SHIPPING")
    rig.poll()
    rig.clock.advance(60)
    poller = rig.new_poller(
        lease=lambda: rig.leases.kept(poll_lease("alpha")), hooks=AfterPage(lambda: _reset_once(rig))
    )
    with pytest.raises(Fenced):
        poller.run()
    assert cursor_rows.find(rig.store, "alpha") is None
    rig.clock.advance(rig.leases.renew_seconds)
    assert rig.leases.take(poll_lease("alpha")), "it goes on itself"
    poller.run()
    assert cursor_rows.find(rig.store, "alpha") is not None


def _reset_once(rig: Rig) -> None:
    if cursor_rows.find(rig.store, "alpha") is not None:
        reset(rig)


def test_open_orders_alone_count_as_attempted_and_only_of_these_shops(folders: Path) -> None:
    rig = Rig(folders / "now", shops=("alpha", "beta"))
    rig.add("1-A", state="SHIPPING")
    rig.add("2-A", state="SHIPPED")
    rig.add("9-B", "beta", sku="TASSE-33CL", state="SHIPPING")
    rig.poll()
    reset(rig)
    restored = Attempt("import_order", RESTORED)
    assert [restored in rig.row(order).facts.attempts for order in ("1-A", "2-A", "9-B")] == [True, False, False]
    reset(rig)
    assert rig.row("1-A").facts.attempts.count(restored) == 1


def test_standings_name_each_partition_with_its_lag_and_misfit(folders: Path) -> None:
    rig = Rig(folders / "now")

    def partition_statuses() -> list[by_hand.PartitionStatus]:
        return by_hand.partition_statuses(rig.store, rig.log, "orderflow", [SNAPSHOTS])

    assert {(one.position, one.lag, one.misfit) for one in partition_statuses()} == {(None, 0, "")}
    for number in range(8):
        rig.add(f"{number}-A")
    rig.pollers["alpha"].run()
    assert sum(one.lag for one in partition_statuses()) == 8, "nothing was applied of it yet"
    rig.consume()
    whole = partition_statuses()
    assert [one.partition for one in whole] == [0, 1, 2, 3]
    assert all((one.position, one.lag, one.misfit) == (one.end, 0, "") for one in whole)
    with rig.store.transaction() as tx:
        first = next(one for one in whole if one.end)
        partition = Partition(first.topic, first.partition)
        progress_rows.reset(tx, rig.log.cluster(), "orderflow", partition, Progress(first.end + 1))
    assert [one.partition for one in partition_statuses() if one.misfit == "log_shorter"] == [first.partition]
    reset(rig, first.partition)
    assert not any(one.misfit for one in partition_statuses())


def test_records_that_are_read_again_do_nothing_twice(folders: Path) -> None:
    rig = Rig(folders / "now")
    rig.imported("1-A")
    versions = rig.row().version
    by_hand.reset(
        rig.store,
        rig.orders,
        rig.log,
        "orderflow",
        SNAPSHOTS,
        partition=None,
        whence="earliest",
        who="ana",
        why="x",
        at=rig.clock.now(),
        shops=[],
    )
    rig.consumer = rig.new_consumer()
    rig.consume()
    assert rig.row().version == versions
    assert sum(entry.repeats for entry in rig.journal()) == 1


@pytest.fixture
def folders(tmp_path: Path) -> Path:
    for name in ("now", "before"):
        (tmp_path / name).mkdir()
    return tmp_path
