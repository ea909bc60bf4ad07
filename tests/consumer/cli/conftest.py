"""A folder of its own for each test, and a store with the configuration of both shops."""

from datetime import timedelta
from pathlib import Path

import pytest

from adapters.store import leases as lease_rows
from adapters.store import shops as shop_rows
from consumer import config
from consumer.leases import RELAY
from tests.consumer.cli.runner import FILE
from tests.consumer.operations.desk import Desk


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Commands look for orderflow.toml in the current folder."""
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    """The configuration of both shops, and a store that knows both and has no order yet. A worker runs."""
    (tmp_path / "orderflow.toml").write_text(FILE, encoding="utf-8")
    desk = Desk(tmp_path)
    desk.policies.update(config.policies(config.load(tmp_path / "orderflow.toml")))
    with desk.store.transaction() as tx:
        now = desk.clock.now()
        shop_rows.bind(tx, "beta", "https://beta.mirakl.net", 7, effects=False, now=now)
        lease_rows.take(tx, RELAY, "worker-1", now + timedelta(seconds=30), now)
    return desk


@pytest.fixture
def publishing(desk: Desk, tmp_path: Path) -> Desk:
    """As `desk`. In addition the examples of docs/events belong to the shop beta, because of their company."""
    (tmp_path / "orderflow.toml").write_text(FILE.replace("company_ref_id = 2", "company_ref_id = 99999"))
    return desk
