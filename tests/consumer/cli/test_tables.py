"""Tables on a terminal of 80 columns are folded between words."""

from datetime import UTC, datetime

import pytest

from consumer.cli import output

CALLS: list[dict[str, object]] = [
    {
        "kind": "confirm_shipment",
        "round": 0,
        "state": "rejected",
        "attempts": 12,
        "next_at": datetime(2026, 3, 1, 12, tzinfo=UTC),
        "give_up_at": datetime(2026, 3, 4, 12, tzinfo=UTC),
        "what": "refused, and the words of the remote go on and on",
    }
]


ORDERS: list[dict[str, object]] = [
    {
        "shop": "alpha",
        "order_id": "5f4dcc3b5aa765d61d83-A",
        "state": "waiting_acceptance",
        "do": "deadline",
        "deadline": "in 119 min",
        "since": "119 min",
        "attention": ["lines_canceled_after_import", "message_after_import"],
    }
]


def on_a_terminal(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], rows: list[dict[str, object]]
) -> list[str]:
    """The lines of this table on a terminal of 80 columns."""
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    output.print_rows(rows)
    lines = capsys.readouterr().out.splitlines()
    assert max(len(line) for line in lines) <= 80
    return lines


def test_names_are_folded_behind_their_underscores_only(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    lines = on_a_terminal(monkeypatch, capsys, ORDERS)
    assert "5f4dcc3b5aa765d61d83-A" in lines[1], "an id that a person copies stays whole"
    names = ("order_id", "waiting_acceptance", "lines_canceled_after_import", "message_after_import")
    parts = {part for name in names for part in name.replace("_", "_ ").split()}
    printed = {part for line in lines for word in line.split() for part in word.replace("_", "_ ").split()}
    assert parts <= printed
    assert {word for word in printed if "_" in word} <= parts


def test_words_and_dates_stay_whole(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    words = " ".join(on_a_terminal(monkeypatch, capsys, CALLS)).split()
    for word in ("confirm_shipment", "rejected", "2026-03-01", "12:00:00", "refused,", "remote", "attempts"):
        assert word in words
