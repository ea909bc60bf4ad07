"""`orderflow events`."""

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
    answer,
    call,
    complaint,
    consume,
    good,
    published,
)
from tests.consumer.operations.desk import Desk


def test_events_that_cannot_be_checked(tmp_path: Path) -> None:
    (tmp_path / "empty").write_bytes(b" \n")
    assert complaint("events", "check", "gone") == "orderflow: gone cannot be read (FileNotFoundError)\n"
    assert complaint("events", "check", str(GOOD), ".") == "orderflow: . cannot be read (IsADirectoryError)\n"
    assert complaint("events", "check", "empty") == "orderflow: empty holds no event\n"
    assert complaint("events", "check", "-", answers="") == "orderflow: - holds no event\n"
    assert "there is no such file" in complaint("events", "check", str(GOOD), "--config", "gone.toml")


def test_the_exit_code_of_checked_events() -> None:
    assert call("events", "check", str(GOOD)).exit_code == 0
    assert call("events", "check", str(GOOD), "--strict").exit_code == 0
    assert call("events", "check", str(WARNED)).exit_code == 0
    assert call("events", "check", str(WARNED), "--strict").exit_code == BAD_ANSWER
    assert call("events", "check", str(GOOD), str(WRONG)).exit_code == BAD_ANSWER


def test_checked_events() -> None:
    result = call("events", "check", str(WRONG), "-", answers=GOOD.read_text())
    assert result.stdout.splitlines() == [
        f"{WRONG} 1: wrong, oms.order-events: data.status: is missing or empty [missing_field]",
        "- 1: ok, oms.order-events: order_id LX-20417-A, shop not looked up, status 8, all_sent yes, parcels 1, "
        "tracking yes, cancellations 0",
        "checked: 2, wrong: 1, with warnings: 0",
    ]


@pytest.mark.usefixtures("desk")
def test_checked_events_by_a_configuration(tmp_path: Path) -> None:
    (tmp_path / "orderflow.toml").write_text(FILE + '[topics]\noms_events = "parcels"\n', encoding="utf-8")
    result = call("events", "check", "--json", "--config", "orderflow.toml", str(GOOD))
    assert result.exit_code == BAD_ANSWER
    (found,) = json.loads(result.stdout)
    assert (found["file"], found["event"], found["topic"], found["ok"]) == (str(GOOD), 1, "parcels", False)
    assert found["error"]["reason"] == "unknown_company"
    (tmp_path / "orderflow.toml").write_text(FILE.replace("company_ref_id = 2", "company_ref_id = 99999"))
    assert answer("events", "check", "--config", "orderflow.toml", str(GOOD))[0]["understood"]["shop"] == "beta"


def test_one_wrong_event_keeps_a_whole_file_from_the_log(publishing: Desk, tmp_path: Path) -> None:
    (tmp_path / "events.json").write_text(f"[{GOOD.read_text()}, {WRONG.read_text()}]")
    said = complaint("events", "publish", "events.json", "--yes")
    assert said == "orderflow: event 2: missing_field; `orderflow events check` says more\n"
    said = complaint("events", "publish", str(GOOD), str(WRONG), "--yes")
    assert "event 1: missing_field" in said
    transition = EXAMPLES / "valid/transition-accepted.json"
    assert "is no event that orderflow reads" in complaint("events", "publish", str(transition), "--yes")
    assert "gone cannot be read" in complaint("events", "publish", str(GOOD), "gone", "--yes")
    (tmp_path / "tombstone").write_text("null")
    assert "event 1: " in complaint("events", "publish", "tombstone", "--yes")
    assert published(publishing) == []


def test_an_event_of_nobodys_company_is_not_published(desk: Desk) -> None:
    assert "event 1: unknown_company" in complaint("events", "publish", str(GOOD), "--yes")
    assert published(desk) == []


def test_a_no_publishes_nothing(publishing: Desk) -> None:
    assert "publish 1 events?" in call("events", "publish", str(GOOD), answers="n\n").stderr
    assert published(publishing) == []


def test_published_events_are_applied_once_however_often_they_are_published(publishing: Desk) -> None:
    for _ in range(2):
        assert good("events", "publish", str(GOOD), "--yes") == "published: 1\n"
        consume(publishing)
    assert [record.record_key for record in published(publishing)] == [b"99999:LX-20417-A"] * 2
    assert json.loads(published(publishing)[0].value) == json.loads(GOOD.read_text())
    (order,) = order_rows.find(publishing.store, "LX-20417-A")
    assert (order.shop, order.version, bool(order.facts.dispatches)) == ("beta", 1, True)
    assert [entry.repeats for entry in journal_rows.of_order(publishing.store, order.key)] == [1]
