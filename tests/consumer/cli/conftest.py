"""A folder of its own for each test, and a store with the configuration of both shops."""

from pathlib import Path

import pytest

from adapters.store import shops as shop_rows
from consumer import config
from tests.consumer.cli.runner import FILE
from tests.consumer.operations.desk import Desk


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Commands look for orderflow.toml in the current folder."""
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    """The configuration of both shops, and a store that knows both and has no order yet."""
    (tmp_path / "orderflow.toml").write_text(FILE, encoding="utf-8")
    desk = Desk(tmp_path)
    desk.policies.update(config.policies(config.load(tmp_path / "orderflow.toml")))
    with desk.store.transaction() as tx:
        shop_rows.bind(tx, "beta", "https://beta.mirakl.net", 7, effects=False, now=desk.clock.now())
    return desk


@pytest.fixture
def publishing(desk: Desk, tmp_path: Path) -> Desk:
    """As `desk`. In addition the examples of docs/events belong to the shop beta, because of their company."""
    (tmp_path / "orderflow.toml").write_text(FILE.replace("company_ref_id = 2", "company_ref_id = 99999"))
    return desk
