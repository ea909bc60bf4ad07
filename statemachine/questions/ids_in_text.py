"""Ids of lines in one text: the detail of an attention reason, and the settle that stores it.

Mirakl's ids are free texts. So a comma in an id, and whatever else could be taken for a part of the list, is written
with a backslash before it. Such a text of an earlier version holds the ids as they are.
"""

import re
from collections.abc import Iterable
from typing import Final

#: What could be taken for a separator, or for the beginning of a number of pieces such as ` (1 of 2)`.
_SPECIAL: Final = re.compile(r"[\\,]|(?<![^ ])\(|^ ")
_WRITTEN: Final = re.compile(r"\\([\\,( ])")
#: One entry of a list. A comma in the number of pieces, ` (2, now 3)`, separates nothing.
_ENTRY: Final = re.compile(r"(?:\\.| \([^)]*\)|[^,])+")


def written(line_id: str) -> str:
    """The id as it stands in a list."""
    return _SPECIAL.sub(r"\\\g<0>", line_id)


def read(text: str) -> str:
    """The text with its ids as they are."""
    return _WRITTEN.sub(r"\1", text)


def entries(text: str) -> list[str]:
    """The entries of a list, as they are written. They are separated by a comma, or by a comma and a space."""
    return [one.removeprefix(" ") for one in _ENTRY.findall(text)]


def named_in(text: str, ids: Iterable[str]) -> set[str]:
    """Those of these ids with which an entry of the list begins. Behind an id stand a space and what is said of it."""
    known = sorted((one for one in ids if one), key=len, reverse=True)
    found = (next((one for one in known if f"{read(entry)} ".startswith(f"{one} ")), None) for entry in entries(text))
    return {one for one in found if one is not None}
