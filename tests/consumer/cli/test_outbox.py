"""The command line on PostgreSQL: a change of state that a person causes goes into the outbox."""

import json
from pathlib import Path

import httpx
import sqlalchemy as sa
from typer.testing import CliRunner

from adapters.store import schema as s
from adapters.store.copy import copy_to_postgresql
from adapters.store.transaction import Store
from consumer.cli.app import app
from consumer.cli.opening import Environment
from consumer.stores import GROUP
from statemachine.states import State
from tests.adapters.store.test_copy import FILE
from tests.consumer.calling.test_worker_imports import other_headers
from tests.consumer.rig import Rig
from tests.engines import store_lines


def test_a_change_of_state_by_a_decision_goes_into_the_outbox(postgres_url: str, tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    rig, other = Rig(tmp_path), Rig(tmp_path / "other")
    for one in (rig, other):
        one.add("1-A", state="SHIPPING")
    other.poll()
    other.work()
    posted = httpx.Client(transport=rig.oms_net, base_url="https://oms.example")
    posted.post("/order", content=other.oms_net.bodies[0], headers=other_headers())
    rig.poll()
    rig.work()
    assert rig.attention() == ["already_in_oms"]
    store = Store(postgres_url)
    copy_to_postgresql(f"sqlite:///{rig.path}", store, GROUP)
    (tmp_path / "production.toml").write_text(FILE.format(store=store_lines(tmp_path, postgres_url)))
    args = ["orders", "settle", "1-A", "--reason", "it is this one", "--yes"]
    args += ["--config", str(tmp_path / "production.toml")]
    result = CliRunner().invoke(app, args, obj=Environment(rig.clock, "ops"))
    assert result.exit_code == 0, result.output
    with store.reading() as connection:
        (row,) = connection.execute(sa.select(s.outbox)).all()
    assert row.aggregatetype == "orderflow.transitions"
    assert json.loads(row.payload)["data"]["to_state"] == State.IMPORTED
    store.close()
