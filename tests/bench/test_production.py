"""The benchmarks run what the service runs, with its log lines and its outbox."""

import json
from datetime import UTC, datetime
from pathlib import Path

from adapters.messages.cloudevents import record_of
from adapters.messages.snapshots import decode_snapshot, snapshot_event, snapshot_of
from adapters.store import outbox as outbox_rows
from tests.bench.made import order_bytes
from tests.bench.production import log_pipe, opened, settings_of

READ_AT = datetime(2026, 3, 1, 12, 1, tzinfo=UTC)


def test_an_applied_event_is_logged_and_put_into_the_outbox(tmp_path: Path) -> None:
    raw = order_bytes(1, "WAITING_ACCEPTANCE", READ_AT)
    order_id, snapshot = snapshot_of(raw, READ_AT)
    record = record_of("bench", snapshot_event("alpha", order_id, raw, snapshot.digest, READ_AT))
    event = decode_snapshot(record.value, record.headers, frozenset({"alpha"}))
    assert event is not None
    with log_pipe(tmp_path / "lines.log") as lines:
        settings = settings_of(f"sqlite:///{tmp_path}/bench.db", ["alpha"])
        base = opened(settings, lines, ["consumer"])
        base.orders.apply([event])
        published = outbox_rows.oldest(base.store, 10)
        base.store.close()
    logged = [json.loads(line) for line in (tmp_path / "lines.log").read_text().splitlines()]
    assert [(one["event"], one["order_id"]) for one in logged] == [("transition", order_id)]
    assert [one.record.topic for one in published] == ["orderflow.transitions"]
