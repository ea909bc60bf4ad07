"""Texts, identifiers and instants of the outside world, made safe to store."""

import re
from collections.abc import Callable
from datetime import UTC, datetime, tzinfo
from functools import lru_cache
from hashlib import sha256
from typing import Final

#: A control character, as a pattern of a JSON Schema. It does not match surrogates, because a schema's regular
#: expressions may work on UTF-16, where each half of a valid character is a surrogate.
CONTROL_CHARACTER: Final = r"[\u0000-\u001f\u007f-\u009f]"
#: Marks that change the direction of a text. A person would read another id than the one that is stored.
DIRECTION_MARK: Final = r"[\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]"
#: Control characters and lone surrogates. JSON can write them. PostgreSQL refuses NUL and lone surrogates; the other
#: control characters would garble a line of a log or of a terminal. A printable text (`str.isprintable`) has none of
#: them. That is asked first, because the search takes longer; a property test holds that both agree.
_UNSTORABLE: Final = re.compile("[\x00-\x1f\x7f-\x9f\ud800-\udfff]")

#: The same, without the control characters that a text of more than one line may hold.
_NEVER_STORABLE: Final = re.compile("[\x00\ud800-\udfff]")


def storable(text: str, limit: int = 2000) -> str:
    """`text` on one line, trimmed, cut to `limit` characters, without control characters and lone surrogates."""
    if not text.isprintable():
        text = _UNSTORABLE.sub(" ", text)
    return text.strip()[:limit]


def whole_text(text: str) -> str:
    """`text` with its line breaks, at any length, without NUL and lone surrogates, which PostgreSQL refuses."""
    return _NEVER_STORABLE.sub("", text)


def is_storable(text: str) -> bool:
    """Whether `text` has neither a control character nor a lone surrogate."""
    return text.isprintable() or not _UNSTORABLE.search(text)


ID_RULE: Final = "has to be 1 to 200 characters, no control character, no mark of direction, and neither . nor .."


def usable_id(text: str) -> str:
    """Return `text`. Raises ValueError if it cannot be a key, a step of a URL's path, or a text in the database."""
    if not text.strip() or len(text) > 200 or text in (".", "..") or not is_storable(text):
        raise ValueError(ID_RULE)
    if not text.isascii() and re.search(DIRECTION_MARK, text):
        raise ValueError(ID_RULE)
    return text


def instant(value: object) -> datetime | None:
    """Read an ISO 8601 date-time, and convert it to UTC. A date-time without an offset is taken as UTC, and a date
    alone as its midnight.

    None for anything else, such as 0000-00-00.
    """
    read = local_instant(value)
    return None if read is None else in_zone(read, UTC)


#: `instant` of a text. The last answers are kept: the time of a snapshot's event is also that of its read, and all
#: orders of one page have the same.
instant_of_text: Final[Callable[[str], datetime | None]] = lru_cache(maxsize=16)(instant)


def local_instant(value: object) -> datetime | None:
    """Read an ISO 8601 date-time; a date alone is its midnight. Without an offset it has no time zone. Else None."""
    if not isinstance(value, str):
        return None
    try:
        return datetime.fromisoformat(value.strip())
    except ValueError:
        return None


def in_zone(at: datetime, zone: tzinfo) -> datetime | None:
    """Convert a date-time to UTC; without an offset it is a time of `zone`. None outside of Python's calendar."""
    try:
        return (at.replace(tzinfo=zone) if at.tzinfo is None else at).astimezone(UTC)
    except (ValueError, OverflowError):
        return None


def iso(at: datetime) -> str:
    """Write an instant as RFC 3339 in UTC, always with microseconds, so that the texts sort by time."""
    return at.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


def digest_of(raw: bytes) -> str:
    """The first 32 hexadecimal digits of the SHA-256 of `raw`."""
    return sha256(raw).hexdigest()[:32]


def web_url(text: str) -> str:
    """`text` if it begins with http:// or https://, else ""."""
    return text if text.lower().startswith(("http://", "https://")) else ""
