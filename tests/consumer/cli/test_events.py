"""`orderflow events`: checking events in files, and publishing them."""

import json
from pathlib import Path

import pytest

from adapters.store import journal as journal_rows
from adapters.store import orders as order_rows
from consumer.cli.output import BAD_ANSWER
from tests.consumer.cli.runner import (
    EXAMPLES,
    FILE,
    GOOD,
    WARNED,
    WRONG,
    consume,
    error_of,
    json_of,
    output_of,
    published,
    run,
)
from tests.consumer.operations.desk import Desk


def test_a_file_without_an_event_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "empty").write_bytes(b" \n")
    assert error_of("events", "check", "gone") == "orderflow: gone cannot be read (FileNotFoundError)\n"
    assert error_of("events", "check", str(GOOD), ".") == "orderflow: . cannot be read (IsADirectoryError)\n"
    assert error_of("events", "check", "empty") == "orderflow: empty holds no event\n"
    assert error_of("events", "check", "-", answers="") == "orderflow: - holds no event\n"
    assert "there is no such file" in error_of("events", "check", str(GOOD), "--config", "gone.toml")


def test_the_exit_code_of_checked_events() -> None:
    assert run("events", "check", str(GOOD)).exit_code == 0
    assert run("events", "check", str(GOOD), "--strict").exit_code == 0
    assert run("events", "check", str(WARNED)).exit_code == 0
    assert run("events", "check", str(WARNED), "--strict").exit_code == BAD_ANSWER
    assert run("events", "check", str(GOOD), str(WRONG)).exit_code == BAD_ANSWER


def test_each_checked_event_is_a_line() -> None:
    result = run("events", "check", str(WRONG), "-", answers=GOOD.read_text())
    assert result.stdout.splitlines() == [
        f"{WRONG} 1: wrong, oms.order-events: data.status: is missing or empty [missing_field]",
        "- 1: ok, oms.order-events: order_id LX-20417-A, shop not looked up, status 8, all_sent yes, parcels 1, "
        "tracking yes, cancellations 0",
        "checked: 2, wrong: 1, with warnings: 0",
    ]


@pytest.mark.usefixtures("desk")
def test_topics_and_shops_of_checked_events_come_from_the_configuration(tmp_path: Path) -> None:
    (tmp_path / "orderflow.toml").write_text(FILE + '[topics]\noms_events = "parcels"\n', encoding="utf-8")
    result = run("events", "check", "--json", "--config", "orderflow.toml", str(GOOD))
    assert result.exit_code == BAD_ANSWER
    (found,) = json.loads(result.stdout)
    assert found["file"] == str(GOOD)
    assert found["event"] == 1
    assert found["topic"] == "parcels"
    assert found["ok"] is False
    assert found["error"]["reason"] == "unknown_company"
    (tmp_path / "orderflow.toml").write_text(FILE.replace("company_ref_id = 2", "company_ref_id = 99999"))
    assert json_of("events", "check", "--config", "orderflow.toml", str(GOOD))[0]["understood"]["shop"] == "beta"


def test_if_one_event_is_wrong_none_is_published(publishing: Desk, tmp_path: Path) -> None:
    (tmp_path / "events.json").write_text(f"[{GOOD.read_text()}, {WRONG.read_text()}]")
    error = error_of("events", "publish", "events.json", "--yes")
    assert error == "orderflow: event 2: missing_field; `orderflow events check` says more\n"
    assert "event 1: missing_field" in error_of("events", "publish", str(GOOD), str(WRONG), "--yes")
    transition = EXAMPLES / "valid/transition-accepted.json"
    assert "is no event that orderflow reads" in error_of("events", "publish", str(transition), "--yes")
    assert "gone cannot be read" in error_of("events", "publish", str(GOOD), "gone", "--yes")
    (tmp_path / "null.json").write_text("null")
    assert "event 1: " in error_of("events", "publish", "null.json", "--yes")
    assert published(publishing) == []


def test_an_event_of_an_unknown_company_is_not_published(desk: Desk) -> None:
    assert "event 1: unknown_company" in error_of("events", "publish", str(GOOD), "--yes")
    assert published(desk) == []


def test_events_are_published_only_once_confirmed(publishing: Desk) -> None:
    assert "publish 1 events?" in run("events", "publish", str(GOOD), answers="n\n").stderr
    assert published(publishing) == []


def test_an_event_that_is_published_twice_is_applied_once(publishing: Desk) -> None:
    for _ in range(2):
        assert output_of("events", "publish", str(GOOD), "--yes") == "published: 1\n"
        consume(publishing)
    assert [record.record_key for record in published(publishing)] == [b"99999:LX-20417-A"] * 2
    assert json.loads(published(publishing)[0].value) == json.loads(GOOD.read_text())
    (order,) = order_rows.find(publishing.store, "LX-20417-A")
    assert order.shop == "beta"
    assert order.version == 1
    assert order.facts.dispatches
    (applied,) = journal_rows.of_order(publishing.store, order.key)
    assert applied.repeats == 1
