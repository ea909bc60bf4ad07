"""Reading instants of messages."""

from datetime import UTC, datetime

from adapters.messages.text import instant


def test_an_instant_without_an_offset_is_utc_and_an_impossible_one_is_none() -> None:
    assert instant("2023-02-27 12:04:19") == datetime(2023, 2, 27, 12, 4, 19, tzinfo=UTC)
    for none in ("0000-00-00", "0000-00-00 00:00:00", "", None, 1, "0001-01-01T00:00:00+23:00"):
        assert instant(none) is None
