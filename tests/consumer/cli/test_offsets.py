"""`orderflow offsets`: how far each partition was applied, and setting it by hand."""

import json

from adapters.ports import Partition
from adapters.store import cursors as cursor_rows
from adapters.store import leases as lease_rows
from adapters.store import progress as progress_rows
from adapters.store.cursors import Cursor
from adapters.store.progress import Progress
from consumer.cli.output import BAD_ANSWER
from statemachine.facts import RESTORED
from tests.consumer.cli.runner import GOOD, consume, error_of, json_of, output_of, run
from tests.consumer.operations.desk import Desk

#: The partition of the example of docs/events that is published here.
PARTITION = Partition("oms.order-events", 3)


def test_every_partition_that_the_consumer_reads_is_listed(publishing: Desk) -> None:
    listed = json_of("offsets", "list")
    assert {f"{one['topic']}/{one['partition']}" for one in listed} == {
        f"{topic}/{number}" for topic in ("mirakl.order-snapshots", "oms.order-events") for number in range(4)
    }
    for one in listed:
        assert one["position"] is None
        assert one["lag"] == 0
        assert one["mismatch"] == ""


def test_the_lag_falls_when_records_are_applied(publishing: Desk) -> None:
    output_of("events", "publish", str(GOOD), "--yes")
    assert sum(one["lag"] for one in json_of("offsets", "list")) == 1
    consume(publishing)
    assert sum(one["lag"] for one in json_of("offsets", "list")) == 0


def test_an_offset_mismatch_is_a_bad_answer(publishing: Desk) -> None:
    with publishing.store.transaction() as tx:
        progress_rows.reset(tx, "embedded", "orderflow", PARTITION, Progress(9))
    result = run("offsets", "list", "--json")
    assert result.exit_code == BAD_ANSWER
    (mismatched,) = [one for one in json.loads(result.stdout) if one["mismatch"]]
    assert mismatched["topic"] == PARTITION.topic
    assert mismatched["partition"] == PARTITION.number
    assert mismatched["mismatch"] == "log_shorter"
    result = run("offsets", "list")
    assert result.exit_code == BAD_ANSWER
    assert "log_shorter: the log ends before" in result.stdout


def test_offsets_are_reset_once_confirmed_and_every_shop_is_read_from_its_beginning(publishing: Desk) -> None:
    publishing.shows("SHIPPING")
    with publishing.store.transaction() as tx:
        progress_rows.reset(tx, "embedded", "orderflow", PARTITION, Progress(9))
        lease = lease_rows.take(tx, "poll/alpha", "x", publishing.clock.now(), publishing.clock.now())
        assert lease is not None
        now = publishing.clock.now()
        cursor_rows.save(tx, "alpha", Cursor(now, now, now), lease)
    reset = ("offsets", "reset", "oms.order-events", "--partition", "3", "--reason", "the disk was lost")
    question = run(*reset, answers="n\n").stderr
    assert "to stored (oms.order-events/3: 9 -> 0), and read 2 shops from their beginning?" in question
    assert cursor_rows.find(publishing.store, "alpha") is not None
    assert output_of(*reset, "--yes") == "oms.order-events/3: 9 -> 0\n"
    assert json_of("offsets", "list")
    assert cursor_rows.find(publishing.store, "alpha") is None
    assert [attempt.carries for attempt in publishing.row.facts.attempts] == [RESTORED]


def test_what_is_not_there_cannot_be_reset(publishing: Desk) -> None:
    assert "one of mirakl.order-snapshots, oms.order-events" in error_of(
        "offsets", "reset", "orders", "--reason", "x", "--yes"
    )
    assert "no such partition: oms.order-events/9" in error_of(
        "offsets", "reset", "oms.order-events", "--partition", "9", "--reason", "x", "--yes"
    )
    assert "--reason" in error_of("offsets", "reset", "oms.order-events", "--yes")
    error = error_of("offsets", "reset", "oms.order-events", "--reason", " ", "--yes", code=BAD_ANSWER)
    assert error == "orderflow: --reason is blank\n"
