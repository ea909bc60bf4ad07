"""The pages of a poll before they are published."""

import tempfile
import tracemalloc
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import pytest

from adapters.errors import Cause, cause_of
from consumer.polling.spool import SPOOL_BYTES, Spool
from tests.consumer.polling.polling import fill
from tests.consumer.rig import Rig


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


def test_a_poll_whose_folder_is_full_names_the_folder_and_goes_on_when_there_is_space(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rig = Rig(tmp_path)
    fill(rig, 3)
    with monkeypatch.context() as full:
        full.setattr("consumer.polling.spool.SPOOL_BYTES", 1)
        full.setattr(tempfile, "TemporaryFile", lambda **_: Path("/dev/full").open("w+b"))  # noqa: SIM115
        with pytest.raises(OSError, match=f"'{tempfile.gettempdir()}'") as raised:
            rig.pollers["alpha"].run()
    assert cause_of(raised.value) == Cause.DISK_FULL
    assert rig.pollers["alpha"].run().new == 3
