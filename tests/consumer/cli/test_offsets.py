"""`orderflow offsets`."""

import json

from adapters.ports import Partition
from adapters.store import cursors as cursor_rows
from adapters.store import leases as lease_rows
from adapters.store import progress as progress_rows
from adapters.store.cursors import Cursor
from adapters.store.progress import Progress
from consumer.cli.output import BAD_ANSWER
from statemachine.facts import RESTORED
from tests.consumer.cli.runner import GOOD, answer, call, complaint, consume, good
from tests.consumer.operations.desk import Desk


def test_offsets_are_listed_and_a_misfit_is_a_bad_answer(publishing: Desk) -> None:
    listed = answer("offsets", "list")
    assert {(one["topic"], one["partition"]) for one in listed} == {
        (topic, n) for topic in ("mirakl.order-snapshots", "oms.order-events") for n in range(4)
    }
    assert {(one["position"], one["lag"], one["mismatch"]) for one in listed} == {(None, 0, "")}
    good("events", "publish", str(GOOD), "--yes")
    assert sum(one["lag"] for one in answer("offsets", "list")) == 1
    consume(publishing)
    assert sum(one["lag"] for one in answer("offsets", "list")) == 0
    partition = Partition("oms.order-events", 3)
    with publishing.store.transaction() as tx:
        progress_rows.reset(tx, "embedded", "orderflow", partition, Progress(9))
    result = call("offsets", "list", "--json")
    assert result.exit_code == BAD_ANSWER
    assert [(one["partition"], one["mismatch"]) for one in json.loads(result.stdout) if one["mismatch"]] == [
        (3, "log_shorter")
    ]
    result = call("offsets", "list")
    assert (result.exit_code, "log_shorter: the log ends before" in result.stdout) == (BAD_ANSWER, True)


def test_offsets_are_reset_after_a_yes_and_every_shop_is_read_anew(publishing: Desk) -> None:
    publishing.shows("SHIPPING")
    partition = Partition("oms.order-events", 3)
    with publishing.store.transaction() as tx:
        progress_rows.reset(tx, "embedded", "orderflow", partition, Progress(9))
        lease = lease_rows.take(tx, "poll/alpha", "x", publishing.clock.now(), publishing.clock.now())
        assert lease is not None
        now = publishing.clock.now()
        cursor_rows.save(tx, "alpha", Cursor(now, now, now), lease)
    reset = ("offsets", "reset", "oms.order-events", "--partition", "3", "--reason", "the disk was lost")
    assert "read 2 shops from their beginning?" in call(*reset, answers="n\n").stderr
    assert cursor_rows.find(publishing.store, "alpha") is not None
    assert good(*reset, "--yes") == "oms.order-events/3: 9 -> 0\n"
    assert answer("offsets", "list")
    assert cursor_rows.find(publishing.store, "alpha") is None
    assert [attempt.carries for attempt in publishing.row.facts.attempts] == [RESTORED]


def test_offsets_that_cannot_be_reset(publishing: Desk) -> None:
    assert "one of mirakl.order-snapshots, oms.order-events" in complaint(
        "offsets", "reset", "orders", "--reason", "x", "--yes"
    )
    assert "no such partition: oms.order-events/9" in complaint(
        "offsets", "reset", "oms.order-events", "--partition", "9", "--reason", "x", "--yes"
    )
    assert "--reason" in complaint("offsets", "reset", "oms.order-events", "--yes")
    said = complaint("offsets", "reset", "oms.order-events", "--reason", " ", "--yes", code=BAD_ANSWER)
    assert said == "orderflow: --reason says nothing\n"
