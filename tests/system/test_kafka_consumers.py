"""Consumers over a real Kafka and a real PostgreSQL: groups, zombies, offset mismatches, outages.

Each member is what a process has: a client of its own and a thread that calls `turn`, as bootstrap does. The test of
every story is the same: each event stands in the journal once, and the progress rows are where the log ends.
"""

import threading
import time
from collections.abc import Callable, Iterator, Mapping

import pytest
import sqlalchemy as sa
from kafka.admin import MemberToRemove
from structlog.testing import capture_logs

from adapters.engines.kafka import Kafka
from adapters.engines.postgres import Postgres
from adapters.errors import LogUnavailable, StoreUnavailable
from adapters.log.kafka_client import METADATA_SECONDS
from adapters.log.kafka_reader import KafkaReader
from adapters.ports import Partition
from adapters.store import order_lists
from adapters.store import schema as s
from consumer.applying import loop
from statemachine.facts import RESTORED, Attempt
from tests.support import wait
from tests.system.fleet import OMS, PATIENCE_SECONDS, SNAPSHOTS, Fleet, Member


@pytest.fixture
def make_fleet(kafka_servers: list[str], postgres_module_url: str) -> Iterator[Callable[..., Fleet]]:
    made: list[Fleet] = []

    def make(
        partitions: Mapping[str, int], servers: list[str] = kafka_servers, url: str = postgres_module_url
    ) -> Fleet:
        made.append(Fleet(servers, url, partitions))
        return made[-1]

    yield make
    for fleet in made:
        fleet.close()


@pytest.fixture
def fleet(make_fleet: Callable[..., Fleet]) -> Fleet:
    return make_fleet({SNAPSHOTS: 5, OMS: 2})


# -- The group ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("count", [2, 3])
def test_members_come_and_go_while_records_flow_and_all_is_applied_once(fleet: Fleet, count: int) -> None:
    members = [fleet.member() for _ in range(count)]
    with fleet.flowing():
        wait(lambda: fleet.is_assigned(members), "each partition has one member")
        assignments = [len(member.assignments) for member in members]
        extra = fleet.member()
        wait(lambda: fleet.is_assigned([*members, extra]), "the new one has its share")
        wait(lambda: extra.records, "the new one applies")
        extra.close()
        wait(lambda: fleet.is_assigned(members), "its share went back to the others")
    fleet.drained()
    for member, before in zip(members, assignments, strict=True):
        assert len(member.assignments) >= before + 2
        assert member.metrics.registry.get_sample_value("orderflow_consumer_rebalances_total") == len(
            member.assignments
        )
        assert member.mismatches == {}
        assert max(map(len, [one.held for one in members])) - len(member.held) <= 1  # evenly over both topics


def test_a_zombie_is_fenced_and_goes_on_with_what_is_assigned_to_it(make_fleet: Callable[..., Fleet]) -> None:
    """The consumer is removed from the group during a batch, and its successor applies this batch."""
    fleet = make_fleet({SNAPSHOTS: 2})
    zombie = Member(fleet)
    fleet.members.append(zombie)
    partition = min(fleet.partitions)
    held_up = fleet.publish_to(partition, 20)[5]
    zombie.waits_at[held_up] = threading.Event()
    zombie.start()
    assert zombie.waiting.wait(PATIENCE_SECONDS)
    gone = fleet.admin.remove_group_members(fleet.group, [MemberToRemove(member_id=zombie.member_id())])
    assert [error.__name__ for error in gone.values()] == ["NoError"]
    successor = fleet.member()
    wait(lambda: fleet.is_assigned([successor]), "the successor has everything")
    fleet.drained()
    with capture_logs() as logged:
        zombie.waits_at[held_up].set()
        wait(lambda: any(line["event"] == "fenced" for line in logged), "the zombie is fenced")
    assert zombie.records == 0
    assert successor.records == 20
    wait(lambda: fleet.is_assigned([zombie, successor], at_least=1), "it has joined again")
    for one in fleet.partitions:
        fleet.publish_to(one, 10)
    fleet.drained()
    assert zombie.records == 10
    assert successor.records == 30


def test_with_a_late_commit_at_kafka_nothing_is_read_twice(
    make_fleet: Callable[..., Fleet], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Members stop between the commit to the store and the commit to Kafka, several times (docs/rules.md 8)."""
    monkeypatch.setattr(KafkaReader, "commit", lambda *_: None)  # each member stops before that
    fleet = make_fleet({SNAPSHOTS: 2})
    passed = 0
    for _ in range(3):
        fleet.publish(20)
        member = fleet.member()
        fleet.drained()
        fleet.members.pop().close()
        passed += member.records
        assert "repeated" not in member.results
    assert passed == 60
    assert set(fleet.committed().values()) == {None}


def test_a_commit_that_is_set_back_by_hand_changes_nothing(make_fleet: Callable[..., Fleet]) -> None:
    fleet = make_fleet({SNAPSHOTS: 2})
    fleet.publish(20)
    fleet.member()
    fleet.drained()
    fleet.members.pop().close()
    assert fleet.committed() == fleet.ends()
    fleet.commit(dict.fromkeys(fleet.partitions, 0))
    fleet.publish(20)
    member = fleet.member()
    fleet.drained()
    assert member.records == 20
    assert member.mismatches == {}
    wait(lambda: fleet.committed() == fleet.ends(), "the commit is where the rows are")


# -- Offset mismatches -----------------------------------------------------------------------------------------


def recreated_and_shorter(fleet: Fleet, partition: Partition) -> dict[Partition, str]:
    fleet.recreate(SNAPSHOTS, 2)
    for n in range(2):
        fleet.publish_to(Partition(partition.topic, n), 3)
    return {Partition(partition.topic, n): "topic_recreated" for n in range(2)}


def recreated_and_longer(fleet: Fleet, partition: Partition) -> dict[Partition, str]:
    fleet.recreate(SNAPSHOTS, 2)
    for n in range(2):
        fleet.publish_to(Partition(partition.topic, n), 25)
    return {Partition(partition.topic, n): "topic_recreated" for n in range(2)}


def deleted_by_retention(fleet: Fleet, partition: Partition) -> dict[Partition, str]:
    lost = fleet.publish_to(partition, 5)[:3]
    fleet.delete_below(partition, 13)
    fleet.published -= {value.decode().strip("x ") for value in lost}
    return {partition: "offsets_gone"}


def log_restored(fleet: Fleet, partition: Partition) -> dict[Partition, str]:
    fleet.set_row(partition, by=+4)
    return {partition: "log_shorter"}


def store_restored(fleet: Fleet, partition: Partition) -> dict[Partition, str]:
    fleet.set_row(partition, by=-4)
    return {partition: "store_restored"}


def store_is_new(fleet: Fleet, partition: Partition) -> dict[Partition, str]:
    with fleet.store.transaction() as tx:
        tx.execute(sa.delete(s.progress).where(s.progress.c.group_name == fleet.group))
    return dict.fromkeys(fleet.partitions, "store_restored")


def commit_is_ahead(fleet: Fleet, partition: Partition) -> dict[Partition, str]:
    fleet.commit({partition: 99})
    return {partition: "store_restored"}


@pytest.mark.parametrize(
    "breaks",
    [
        recreated_and_shorter,
        recreated_and_longer,
        deleted_by_retention,
        log_restored,
        store_restored,
        store_is_new,
        commit_is_ahead,
    ],
)
def test_only_partitions_with_a_mismatch_stop_until_they_are_reset(
    make_fleet: Callable[..., Fleet],
    monkeypatch: pytest.MonkeyPatch,
    breaks: Callable[[Fleet, Partition], dict[Partition, str]],
) -> None:
    monkeypatch.setattr(loop, "COMPARE_AGAIN_SECONDS", 0.3)
    fleet = make_fleet({SNAPSHOTS: 2, OMS: 1})
    for partition in fleet.partitions:
        fleet.publish_to(partition, 10)
    fleet.member()
    fleet.drained()
    fleet.members.pop().close()

    partition = Partition(fleet.topics[SNAPSHOTS], 1)
    wrong = breaks(fleet, partition)
    assert fleet.partition_statuses() == wrong
    before = fleet.progress()
    with capture_logs() as logged:
        member = fleet.member()
        wait(lambda: member.mismatches == wrong, "the mismatches are noticed")
        for other in fleet.partitions:
            fleet.publish_to(other, 5)
        good = fleet.partitions - wrong.keys()
        wait(lambda: all(fleet.progress()[one] == fleet.ends()[one] for one in good), "the others go on")
        for _ in range(3):
            last = member.consumer.compared_at
            wait(lambda: member.consumer.compared_at > last, "the partitions are compared again")  # noqa: B023 - at once
    assert {one: fleet.progress()[one] for one in wrong} == {one: before.get(one, 0) for one in wrong}
    assert member.held == good
    stopped = [line for line in logged if line["event"] == "partition_stopped"]
    assert {Partition(line["topic"], line["partition"]): line["reason"] for line in stopped} == wrong
    # Once for each rebalance, of which kafka-python may make several, not once for each comparison.
    assert len(stopped) <= len(wrong) * member.reader.generation
    assert len(member.assignments) <= member.reader.generation  # a comparison is no rebalance
    gauges = {one: member.stopped_gauge(one) for one in fleet.partitions}
    assert gauges == {one: float(one in wrong) for one in fleet.partitions}

    for topic in {one.topic for one in wrong}:
        fleet.reset(next(base for base, name in fleet.topics.items() if name == topic))
    restored = Attempt("import_order", RESTORED)
    orders = [order for order in order_lists.latest(fleet.store, shop=fleet.shop) if order.state != "shipped"]
    assert orders
    assert all(restored in order.facts.attempts for order in orders)
    wait(lambda: member.mismatches == {}, "the reset is noticed")
    wait(lambda: fleet.applied().keys() == fleet.published, "everything that the log has is applied")
    wait(fleet.is_drained, "the rows are where the log ends")
    assert {one: member.stopped_gauge(one) for one in fleet.partitions} == dict.fromkeys(fleet.partitions, 0.0)
    assert fleet.partition_statuses() == {}
    assert member.troubles == []


@pytest.mark.parametrize("length", [3, 25], ids=["shorter", "longer"])
def test_a_topic_that_is_recreated_under_a_running_consumer_stops(
    make_fleet: Callable[..., Fleet], monkeypatch: pytest.MonkeyPatch, length: int
) -> None:
    """The client goes on at its old offset in the new topic, and reports nothing."""
    monkeypatch.setattr(loop, "COMPARE_AGAIN_SECONDS", 0.3)
    fleet = make_fleet({SNAPSHOTS: 1, OMS: 1})
    for partition in fleet.partitions:
        fleet.publish_to(partition, 10)
    member = fleet.member()
    fleet.drained()
    partition = Partition(fleet.topics[SNAPSHOTS], 0)
    fleet.recreate(SNAPSHOTS, 1)
    fleet.publish_to(partition, length)
    # The client may go on with what it knew of the old topic for METADATA_SECONDS.
    wait(lambda: partition in member.mismatches, "it is noticed", METADATA_SECONDS + 30)
    fleet.publish_to(Partition(fleet.topics[OMS], 0), 5)
    wait(lambda: fleet.progress()[Partition(fleet.topics[OMS], 0)] == 15, "the other goes on")
    wait(lambda: member.mismatches == {partition: "topic_recreated"}, "and why")
    fleet.reset(SNAPSHOTS)
    wait(lambda: fleet.applied().keys() == fleet.published, "nothing of the new topic is lost")
    wait(fleet.is_drained, "the rows are where the log ends")


def test_a_partition_whose_records_are_deleted_under_a_running_consumer_stops(
    make_fleet: Callable[..., Fleet], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The client would go on behind the deleted records, and report nothing."""
    monkeypatch.setattr(loop, "COMPARE_AGAIN_SECONDS", 0.3)
    fleet = make_fleet({SNAPSHOTS: 1, OMS: 1})
    partition, other = Partition(fleet.topics[SNAPSHOTS], 0), Partition(fleet.topics[OMS], 0)
    member = Member(fleet, max_partition_fetch_bytes=4096)  # so that it does not fetch everything before the deletion
    fleet.members.append(member)
    values = fleet.publish_to(partition, 200, filler=1000)
    member.waits_at[values[0]] = threading.Event()
    member.start()
    assert member.waiting.wait(PATIENCE_SECONDS)
    fleet.delete_below(partition, 150)
    member.waits_at[values[0]].set()
    wait(lambda: member.mismatches == {partition: "offsets_gone"}, "it is noticed")
    at = fleet.progress()[partition]
    assert 0 < at < 150
    fleet.publish_to(other, 5)
    wait(lambda: fleet.progress()[other] == 5, "the other goes on")
    assert fleet.progress()[partition] == at
    fleet.reset(SNAPSHOTS)
    fleet.published -= {value.decode().split()[0] for value in values[at:150]}
    fleet.drained()


# -- Outages -----------------------------------------------------------------------------------------------------


def test_while_the_broker_is_unavailable_consumers_wait_and_then_go_on(
    make_fleet: Callable[..., Fleet], kafka_alone: Kafka
) -> None:
    fleet = make_fleet({SNAPSHOTS: 3}, kafka_alone.bootstrap_servers)
    members = [fleet.member() for _ in range(2)]
    fleet.publish(100)
    fleet.drained()
    kafka_alone.kill()
    with pytest.raises(LogUnavailable):
        fleet.publish(1)
    assert all(member.crash is None and not member.mismatches for member in members)
    kafka_alone.start_broker()
    # A record whose publication failed may be in the log or not. Its number may come again as another event.
    publish_until_taken(fleet, 20)
    wait(lambda: fleet.published <= fleet.applied().keys(), "it is applied", PATIENCE_SECONDS)
    assert set(fleet.applied().values()) <= {0}
    wait(fleet.is_drained, "the rows are where the log ends")
    wait(lambda: fleet.is_assigned(members), "each partition has one member")
    assert [one for member in members for one in member.troubles if not isinstance(one, LogUnavailable)] == []
    assert all(member.mismatches == {} for member in members)


def publish_until_taken(fleet: Fleet, count: int) -> None:
    ends_at = time.monotonic() + PATIENCE_SECONDS
    while True:
        try:
            fleet.publish(count)
            return
        except LogUnavailable:
            assert time.monotonic() < ends_at


def test_while_the_database_is_unavailable_nothing_is_passed_and_then_all_is_applied(
    make_fleet: Callable[..., Fleet], postgres_alone: Postgres
) -> None:
    fleet = make_fleet({SNAPSHOTS: 3}, url=postgres_alone.url)
    members = [fleet.member() for _ in range(2)]
    wait(lambda: fleet.is_assigned(members), "each partition has one member")
    fleet.publish(100)
    fleet.drained()
    postgres_alone.kill()
    fleet.publish(100)
    wait(lambda: any(member.troubles for member in members), "they notice")
    assert all(member.crash is None for member in members)
    before = sum(member.records for member in members)
    postgres_alone.start_again()
    fleet.drained()
    assert before == 100
    assert sum(member.records for member in members) == 200
    assert [one for member in members for one in member.troubles if not isinstance(one, StoreUnavailable)] == []


def test_one_of_three_brokers_dies_under_load_and_nothing_acknowledged_is_lost(
    make_fleet: Callable[..., Fleet], kafka_three: Kafka
) -> None:
    fleet = make_fleet({SNAPSHOTS: 5, OMS: 2}, kafka_three.bootstrap_servers)
    members = [fleet.member() for _ in range(2)]
    stop, failures = threading.Event(), []

    def load() -> None:
        while not stop.wait(0.01):
            try:
                fleet.publish(5)
                fleet.publish(2, OMS)
            except LogUnavailable as error:
                failures.append(error)

    thread = threading.Thread(target=load, name="load", daemon=True)
    thread.start()
    try:
        wait(lambda: sum(member.records for member in members) > 100, "records flow")
        kafka_three.kill(1)
        passed = sum(member.records for member in members)
        wait(lambda: sum(member.records for member in members) > passed + 300, "they flow with two brokers")
        kafka_three.start_broker(1)
        passed = sum(member.records for member in members)
        wait(lambda: sum(member.records for member in members) > passed + 100, "and with three again")
    finally:
        stop.set()
        thread.join(PATIENCE_SECONDS)
    # A record whose publication failed may still be in the log. Then it is applied once too.
    wait(lambda: fleet.published <= fleet.applied().keys(), "everything acknowledged is applied")
    assert set(fleet.applied().values()) <= {0}
    wait(fleet.is_drained, "the rows are where the log ends")
    assert all(member.crash is None and member.mismatches == {} for member in members)
