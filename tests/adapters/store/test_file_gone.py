"""The file of a SQLite store is deleted or replaced under the running service."""

from pathlib import Path

import pytest

from adapters.errors import Cause, StoreUnavailable
from tests.support import new_store


@pytest.mark.parametrize("is_replaced", [False, True])
def test_a_store_whose_file_is_gone_is_not_ready(tmp_path: Path, *, is_replaced: bool) -> None:
    """What is written goes into a file that cannot be opened any more: it is lost with the end of the process."""
    store = new_store(tmp_path)
    store.try_a_write()
    (file,) = tmp_path.glob("*.db")
    if is_replaced:
        (tmp_path / "other").write_bytes(file.read_bytes())
        (tmp_path / "other").replace(file)
    else:
        file.unlink()
    with pytest.raises(StoreUnavailable, match="restart the service") as caught:
        store.try_a_write()
    assert caught.value.cause is Cause.READ_ONLY
    store.close()
