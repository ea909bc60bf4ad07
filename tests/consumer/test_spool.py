"""The pages of a poll before they are published."""

import tracemalloc
from contextlib import closing
from datetime import UTC, datetime

from consumer.spool import SPOOL_BYTES, Spool


def test_pages_that_take_more_than_eight_megabytes_are_in_a_file() -> None:
    spool, at = Spool(), datetime(2026, 3, 1, tzinfo=UTC)
    order = b"x" * (1024 * 1024)
    tracemalloc.start()
    with closing(spool):
        for _ in range(64):
            spool.add([order], at)
        assert tracemalloc.get_traced_memory()[1] < 2 * SPOOL_BYTES + 4 * len(order)
        assert [page == [order] for page, _ in spool.pages()] == [True] * 64
    tracemalloc.stop()
