"""Offset mismatches of store and log: the rule by itself, and what happens after a reset."""

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
from adapters.store import journal as journal_rows
from adapters.store import progress as progress_rows
from adapters.store import schema as s
from adapters.store.progress import Progress
from consumer.leases import poll_lease
from consumer.offsets import OffsetMismatch, mismatch
from consumer.operations import offsets as by_hand
from consumer.operations.errors import NothingToReset
from consumer.operations.offsets import IDS_SKIPPED, excused_commit, reset_position
from consumer.operations.verify import differences
from statemachine.facts import RESTORED, Attempt
from tests.consumer.rig import OMS_EVENTS, SNAPSHOTS, AfterPage, Rig

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
    ("stored", "offsets", "reason"),
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
def test_each_mismatch_has_its_reason(stored: Progress, offsets: PartitionOffsets, reason: str) -> None:
    assert mismatch(stored, offsets) == (reason or None)


@given(stored_ones, partition_offsets)
def test_offsets_without_a_mismatch_leave_no_gap(stored: Progress, offsets: PartitionOffsets) -> None:
    wrong = mismatch(stored, offsets)
    if wrong is not None:
        assert isinstance(wrong, OffsetMismatch)
        return
    assert stored.log_id == offsets.log_id
    assert offsets.first <= stored.position <= offsets.end
    assert offsets.committed is None or offsets.committed <= max(stored.position, stored.excused_commit)


@given(first=offsets, applied=offsets, waiting=offsets, deleted=offsets, behind=offsets, has_commit=st.booleans())
def test_a_partition_that_lost_nothing_has_no_mismatch(
    first: int, applied: int, waiting: int, deleted: int, behind: int, has_commit: bool
) -> None:
    """Records are applied in order, the commit is late or missing, and the log deletes only applied records."""
    position = first + applied
    committed = max(first, position - behind) if has_commit else None
    offsets = PartitionOffsets(min(first + deleted, position), position + waiting, "a", committed)
    assert mismatch(Progress(position, "a"), offsets) is None


@given(stored_ones, partition_offsets, st.sampled_from(["stored", "earliest", "latest"]))
def test_after_a_reset_there_is_no_mismatch_even_as_records_come(
    stored: Progress, offsets: PartitionOffsets, whence: str
) -> None:
    position = reset_position(stored, offsets, whence)  # type: ignore[arg-type]
    after = Progress(position, offsets.log_id, excused_commit(stored, offsets))
    # The group's commit may lie behind the end of a recreated topic: only the row counts.
    assert mismatch(after, offsets) is None
    later = PartitionOffsets(offsets.first, offsets.end + 10, offsets.log_id, offsets.committed)
    assert mismatch(after, later) is None
    if stored.log_id == offsets.log_id and stored.position <= offsets.end:
        # A consumer of a partition without a mismatch runs on, and commits what it applied before the reset.
        assert mismatch(after, replace(later, committed=max(offsets.committed or 0, stored.position))) is None


@given(stored_ones, partition_offsets)
def test_a_reset_of_a_log_that_lost_records_passes_none_that_came_after_the_loss(
    stored: Progress, offsets: PartitionOffsets
) -> None:
    """Such records have offsets below the stored position, and perhaps no consumer looked at the log meanwhile."""
    lost = offsets.end < stored.position or stored.was_shorter
    position = reset_position(stored, offsets, "stored")
    assert position == (
        offsets.first if lost or not stored.counts_in(offsets.log_id) else max(stored.position, offsets.first)
    )


def test_a_reset_does_not_set_back_a_partition_that_is_read_meanwhile(folders: Path) -> None:
    """The log is asked before the row is locked. Meanwhile the partition's consumer may apply more."""
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
        moved = rig.reset_offsets()
    assert len(asked) == 2
    assert [partition for partition, was, now in moved if was != now] == []


# -- What follows a reset -----------------------------------------------------------------------------------------


def post_again(before: Rig, rig: Rig) -> None:
    """Bring the first import that `before` posted into the OMS of `rig`."""
    company = (str(COMPANIES["alpha"]), "oms-key")
    posted = httpx.Client(transport=rig.oms_net, base_url="https://oms.example", auth=company)
    answer = posted.post("/order", content=before.oms_net.bodies[0], headers={"Content-Type": "application/json"})
    assert answer.status_code == 201


def restored_without_its_import(folder: Path) -> Rig:
    """The store is an older copy: it knows nothing of our own import of order 1-A, which the OMS holds."""
    rig, before = Rig(folder / "now"), Rig(folder / "before")
    for one in (rig, before):
        one.add("1-A", state="SHIPPING")
        one.poll()
    before.work()
    post_again(before, rig)
    return rig


def test_a_duplicate_after_a_reset_is_our_own_import_of_before(folders: Path) -> None:
    rig = restored_without_its_import(folders)
    rig.reset_offsets()
    assert Attempt("import_order", RESTORED) in rig.row().facts.attempts
    rig.work()
    assert rig.state() == "imported"
    assert rig.attention() == []
    assert rig.results == [("import_order", "already_done")]
    assert rig.effects() == ["imported"]


def test_without_a_reset_the_duplicate_counts_as_an_order_that_is_not_ours(folders: Path) -> None:
    rig = restored_without_its_import(folders)
    rig.work()
    assert rig.state() == "shipping"
    assert rig.attention() == ["already_in_oms"]


def forgotten(folder: Path) -> Rig:
    """The store is an older copy, of a time before order 1-A. The OMS holds our own import of it."""
    rig, before = Rig(folder / "now"), Rig(folder / "before")
    before.add("1-A", state="SHIPPING")
    before.poll()
    before.work()
    post_again(before, rig)
    rig.poll()
    return rig


def test_an_order_that_the_restored_store_does_not_know_counts_as_attempted(folders: Path) -> None:
    rig = forgotten(folders)
    rig.add("1-A", state="SHIPPING")
    rig.clock.advance(3600)
    rig.reset_offsets()
    rig.poll(120)
    rig.work()
    assert rig.attention() == []
    assert rig.state() == "imported"
    assert rig.effects() == ["imported"]
    assert differences(rig.row(), journal_rows.of_order(rig.store, rig.row().key)) == []


def test_an_order_that_was_created_after_the_reset_counts_as_new(folders: Path) -> None:
    """The OMS holds an order of its reference that is not ours."""
    rig = forgotten(folders)
    rig.reset_offsets()
    rig.clock.advance(60)
    rig.add("1-A", state="SHIPPING")
    rig.poll(120)
    rig.work()
    assert rig.attention() == ["already_in_oms"]


def test_a_canceled_order_that_the_restored_store_does_not_know_is_looked_at(folders: Path) -> None:
    """It may be in the OMS, which nobody has told."""
    rig = forgotten(folders)
    rig.add("1-A", state="CANCELED")
    rig.clock.advance(3600)
    rig.reset_offsets()
    rig.poll(120)
    assert rig.attention() == ["canceled_after_import"]


def test_a_reset_is_audited_and_every_shop_is_read_from_the_beginning(folders: Path) -> None:
    rig = restored_without_its_import(folders)
    assert cursor_rows.find(rig.store, "alpha") is not None
    moved = rig.reset_offsets()
    assert cursor_rows.find(rig.store, "alpha") is None
    with rig.store.reading() as connection:
        (row,) = connection.execute(sa.select(s.audit)).all()
    assert row.who == "ana"
    assert row.act == "offsets reset to stored"
    assert row.why == "restored from the copy of Sunday"
    assert all(f"{partition.topic}/{partition.number} {was}->{now}" in row.subject for partition, was, now in moved)
    before = rig.row()
    rig.poll(60)  # reads the whole shop again
    assert rig.row().state == before.state
    assert rig.row().facts.snapshot == before.facts.snapshot


def test_after_a_reset_no_id_of_a_transition_is_used_again(tmp_path: Path, postgres_store_url: str) -> None:
    """Readers drop an event whose id is not greater than the last one, and the store has forgotten the newest ids."""
    rig = Rig(tmp_path, store_url=postgres_store_url)
    rig.add("1-A", state="SHIPPING")
    rig.poll()
    before = max(_journal_ids(rig))
    rig.reset_offsets()
    assert min(one for one in _journal_ids(rig) if one > before) > before + IDS_SKIPPED
    rig.store.close()


def _journal_ids(rig: Rig) -> list[int]:
    with rig.store.reading() as connection:
        return list(connection.execute(sa.select(s.journal.c.id)).scalars())


def test_a_partition_that_does_not_exist_cannot_be_reset(folders: Path) -> None:
    with pytest.raises(NothingToReset, match=f"no such partition: {SNAPSHOTS}/99"):
        Rig(folders / "now").reset_offsets(99)


def test_a_poll_that_is_under_way_does_not_undo_a_reset(folders: Path) -> None:
    """At its end the poll would store a cursor later than the days that the restore lost: no poll would read them."""
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
    assert rig.leases.take(poll_lease("alpha")), "the same process may take it again"
    poller.run()
    assert cursor_rows.find(rig.store, "alpha") is not None


def _reset_once(rig: Rig) -> None:
    if cursor_rows.find(rig.store, "alpha") is not None:
        rig.reset_offsets()


def test_a_reset_counts_only_open_orders_of_its_shops_as_attempted(folders: Path) -> None:
    rig = Rig(folders / "now", shops=("alpha", "beta"))
    rig.add("1-A", state="SHIPPING")
    rig.add("2-A", state="SHIPPED")
    rig.add("9-B", "beta", sku="TASSE-33CL", state="SHIPPING")
    rig.poll()
    rig.reset_offsets()
    restored = Attempt("import_order", RESTORED)
    assert [restored in rig.row(order).facts.attempts for order in ("1-A", "2-A", "9-B")] == [True, False, False]
    rig.reset_offsets()
    assert rig.row("1-A").facts.attempts.count(restored) == 1


def test_partition_statuses_show_each_partition_with_lag_and_mismatch(folders: Path) -> None:
    rig = Rig(folders / "now")

    def partition_statuses() -> list[by_hand.PartitionStatus]:
        return by_hand.partition_statuses(rig.store, rig.log, "orderflow", [SNAPSHOTS])

    for one in partition_statuses():
        assert one.position is None
        assert one.lag == 0
        assert one.mismatch == ""
    for number in range(8):
        rig.add(f"{number}-A")
    rig.pollers["alpha"].run()
    assert sum(one.lag for one in partition_statuses()) == 8, "nothing is applied yet"
    rig.consume()
    whole = partition_statuses()
    assert [one.partition for one in whole] == [0, 1, 2, 3]
    for one in whole:
        assert one.position == one.end
        assert one.lag == 0
        assert one.mismatch == ""
    with rig.store.transaction() as tx:
        first = next(one for one in whole if one.end)
        partition = Partition(first.topic, first.partition)
        progress_rows.reset(tx, rig.log.cluster(), "orderflow", partition, Progress(first.end + 1))
    assert [one.partition for one in partition_statuses() if one.mismatch == "log_shorter"] == [first.partition]
    rig.reset_offsets(first.partition)
    assert not any(one.mismatch for one in partition_statuses())


def test_a_partition_that_the_log_does_not_show_is_listed(folders: Path) -> None:
    """Its topic was deleted, or this user may not see it: no list showed why its consumer stood still."""
    rig = Rig(folders / "now")
    gone = Partition(SNAPSHOTS, 9)
    with rig.store.transaction() as tx:
        progress_rows.lock_or_insert(tx, rig.log.cluster(), "orderflow", {gone: PartitionOffsets(0, 7)})
    listed = by_hand.partition_statuses(rig.store, rig.log, "orderflow", [SNAPSHOTS])
    assert [(one.partition, one.mismatch) for one in listed if one.mismatch] == [(9, "no_topic")]
    assert by_hand.partition_statuses(rig.store, rig.log, "orderflow", [OMS_EVENTS])[-1].mismatch == ""
    rig.reset_offsets(0)
    assert gone in progress_rows.of_group(rig.store, rig.log.cluster(), "orderflow")
    rig.reset_offsets()  # of the whole topic, which was recreated with fewer partitions
    assert not any(one.mismatch for one in by_hand.partition_statuses(rig.store, rig.log, "orderflow", [SNAPSHOTS]))


def test_records_that_are_read_again_have_no_second_effect(folders: Path) -> None:
    rig = Rig(folders / "now")
    rig.imported("1-A")
    versions = rig.row().version
    rig.reset_offsets(whence="earliest", shops=())
    rig.consumer = rig.new_consumer()
    rig.consume()
    assert rig.row().version == versions
    assert sum(entry.repeats for entry in rig.journal()) == 1


@pytest.fixture
def folders(tmp_path: Path) -> Path:
    for name in ("now", "before"):
        (tmp_path / name).mkdir()
    return tmp_path
