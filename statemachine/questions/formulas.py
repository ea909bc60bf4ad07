"""With which formula a digest of a content was made.

`contents_of` (adapters/messages/contents.py) makes the digests. If a later version makes the digest of a content in
another way, the stored one and the one of the next read differ, though nothing changed at Mirakl. So a digest names its
formula, and two digests of different formulas say nothing about each other.
"""

import re
from typing import Final

_NUMBERED: Final = re.compile(r"([0-9]+)_")
#: The formula of a digest without a number.
FIRST: Final = 1


def numbered(digest: str, formula: int) -> str:
    """The digest with the number of its formula. That of the first formula has none: earlier versions wrote none."""
    return digest if formula == FIRST else f"{formula}_{digest}"


def formula_of(digest: str) -> int:
    found = _NUMBERED.match(digest)
    return int(found[1]) if found else FIRST


def differ(one: str, other: str) -> bool:
    """Whether the digests show that two values differ. Those of different formulas do not."""
    return one != other and formula_of(one) == formula_of(other)
