"""Spans of time and instants, as a person writes them in an option."""

import re
from datetime import UTC, datetime, timedelta
from typing import Final

import typer

_UNITS: Final = {"min": timedelta(minutes=1), "h": timedelta(hours=1), "d": timedelta(days=1)}


def span_of(option: str, text: str) -> timedelta | None:
    """A span such as 90min, 2h or 3d. None if the option is not given."""
    if not text:
        return None
    found = re.fullmatch(r"(\d{1,5}) ?(min|h|d)", text)
    if found is None:
        raise typer.BadParameter(f"{text} is no span of time; say 90min, 2h or 3d", param_hint=option)
    return int(found[1]) * _UNITS[found[2]]


def instant_of(option: str, text: str, now: datetime) -> datetime | None:
    """An instant in UTC, or the time that is a span ago. None if the option is not given."""
    if not text:
        return None
    try:
        instant = datetime.fromisoformat(text)
    except ValueError:
        ago = span_of(option, text)
        return None if ago is None else now - ago
    return instant if instant.tzinfo else instant.replace(tzinfo=UTC)
