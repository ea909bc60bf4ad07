"""Which build of orderflow runs."""

from pathlib import Path
from typing import Final

#: The Dockerfile writes the commit of the image into this file.
_FILE: Final = Path(__file__).with_name("REVISION")
#: The revision of an installation that was not made by the Dockerfile.
UNKNOWN: Final = "unknown"


def revision() -> str:
    """Return the commit from which the image was built, as the Dockerfile got it."""
    try:
        return _FILE.read_text(encoding="utf-8").strip() or UNKNOWN
    except OSError:
        return UNKNOWN
