"""The pages that a poll reads before it publishes the first one."""

import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from typing import IO, Final

#: Pages of a run are kept in memory up to this size, then in a file.
SPOOL_BYTES: Final = 8 * 1024 * 1024
#: A run whose pages take more than this ends as one with too many pages does.
MAX_SPOOL_BYTES: Final = 1024 * 1024 * 1024


class Spool:
    """The pages that one run has read and has not published yet.

    Each method raises OSError, which names the folder, if the folder for temporary files has no space for them.
    """

    def __init__(self) -> None:
        self._file: IO[bytes] = tempfile.SpooledTemporaryFile(max_size=SPOOL_BYTES)  # noqa: SIM115 - closed by `close`
        self._pages: list[tuple[list[int], datetime]] = []  # lengths of the orders, and the start of the read
        self._size = 0  # bytes

    def close(self) -> None:
        with _naming_the_folder():
            self._file.close()

    @property
    def is_full(self) -> bool:
        """Whether the run has to end with what it has read."""
        return self._size > MAX_SPOOL_BYTES

    def add(self, orders: Sequence[bytes], read_at: datetime) -> None:
        self._pages.append(([len(raw) for raw in orders], read_at))
        with _naming_the_folder():
            self._file.writelines(orders)
        self._size += sum(map(len, orders))

    def pages(self) -> Iterator[tuple[list[bytes], datetime]]:
        with _naming_the_folder():
            self._file.seek(0)
        for lengths, read_at in self._pages:
            yield [self._file.read(length) for length in lengths], read_at


@contextmanager
def _naming_the_folder() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        error.filename = tempfile.gettempdir()
        raise
