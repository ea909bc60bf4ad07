"""Tables on a terminal of 80 columns are folded between words."""

from datetime import UTC, datetime

import pytest

from consumer.cli import output

CALLS = [
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


def test_words_and_dates_stay_whole(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    output.print_rows(CALLS)
    printed = capsys.readouterr().out
    assert max(len(line) for line in printed.splitlines()) <= 80
    words = printed.split()
    for word in ("confirm_shipment", "rejected", "2026-03-01", "12:00:00", "refused,", "remote", "attempts"):
        assert word in words
