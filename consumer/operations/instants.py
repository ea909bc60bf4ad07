"""How sentences for people write an instant: with its date, and in UTC."""

from datetime import datetime


def to_the_second(instant: datetime) -> str:
    """Such as 2026-03-01 12:00:00 UTC."""
    return f"{instant:%Y-%m-%d %H:%M:%S} UTC"


def to_the_minute(instant: datetime) -> str:
    """Such as 2026-03-01 12:00 UTC."""
    return f"{instant:%Y-%m-%d %H:%M} UTC"
