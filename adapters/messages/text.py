"""Texts, identifiers and instants of the outside world, made safe to store."""

import re
from datetime import UTC, datetime
from hashlib import sha256
from typing import Final

# -- Text and instants -------------------------------------------------------------------------------------------

#: As a pattern of a JSON Schema. Surrogates are left out of it: there they are halves of good characters.
CONTROL_CHARACTER: Final = r"[\u0000-\u001f\u007f-\u009f]"
#: Control characters and lone surrogates: they parse as JSON, and PostgreSQL refuses them.
_UNSTORABLE: Final = re.compile("[\x00-\x1f\x7f-\x9f\ud800-\udfff]")


def storable(text: str, limit: int = 2000) -> str:
    """`text` trimmed, on one line, cut to `limit` characters, without what a database refuses."""
    if not text.isprintable():
        text = _UNSTORABLE.sub(" ", text)
    return text.strip()[:limit]


ID_RULE: Final = "has to be 1 to 200 characters, none of them a control character, and neither . nor .."


def usable_id(text: str) -> str:
    """`text` itself if it can be a key, a part of a URL's path and a database's text; else ValueError."""
    if not text.strip() or len(text) > 200 or text in (".", "..") or _UNSTORABLE.search(text):
        raise ValueError(ID_RULE)
    return text


def instant(value: object) -> datetime | None:
    """An ISO 8601 date-time as aware UTC; without an offset it is UTC. None if it cannot be read, as 0000-00-00."""
    if not isinstance(value, str):
        return None
    try:
        read = datetime.fromisoformat(value.strip())
        return read.replace(tzinfo=UTC) if read.tzinfo is None else read.astimezone(UTC)
    except (ValueError, OverflowError):
        return None


def iso(at: datetime) -> str:
    """RFC 3339 in UTC, to the microsecond: as text in the order of time."""
    return at.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


def content_of(raw: bytes) -> str:
    """What identifies these bytes: 32 hexadecimal digits."""
    return sha256(raw).hexdigest()[:32]


def _web_url(text: str) -> str:
    return text if text.lower().startswith(("http://", "https://")) else ""
