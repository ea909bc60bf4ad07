"""What a runbook says under "Do" ends its alert: each series that the alert reads is well again afterwards.

The harm is done to a service with simulated remotes. The commands are those of docs/runbooks.md.
"""

from dataclasses import replace
from pathlib import Path
from typing import Final

import pytest
import sqlalchemy as sa
from typer.testing import CliRunner

from adapters.errors import AccountFault
from adapters.ports import NewRecord
from adapters.simulators.orders import COMPANIES
from adapters.store import dead_letters as dead_letter_rows
from adapters.store import schema as s
from consumer.cli.app import app
from consumer.cli.opening import Environment
from tests.consumer.metrics.exported import value, watch
from tests.consumer.rig import OMS_EVENTS, Rig

RUNBOOKS: Final = (Path(__file__).resolve().parents[3] / "docs/runbooks.md").read_text()
FILE: Final = f"""\
[store]
url = "sqlite:///orderflow.db"
[shops.alpha]
hostname = "alpha.mirakl.net"
shop_id = 2104
api_key_file = "alpha.key"
effects = "on"
acceptance = "hold"
[shops.alpha.oms]
company_ref_id = {COMPANIES["alpha"]}
api_key_file = "oms.key"
"""


@pytest.fixture
def rig(tmp_path: Path) -> Rig:
    """A service whose acceptances wait for a person."""
    made = Rig(tmp_path, shop_table={"acceptance": "hold"})
    (tmp_path / "orderflow.toml").write_text(FILE)
    watch(made.metrics, made)
    return made


def do(rig: Rig, alert: str, command: str, **places: str) -> None:
    """Run a command that the section of this alert names, with values in its places."""
    section = RUNBOOKS.partition(f"\n## {alert}\n")[2].partition("\n## ")[0]
    assert f"`orderflow {command}`" in section, f"{alert} does not name: {command}"
    places["WHY"] = "the cause is mended"
    words = [places.get(word, word) for word in command.split()] + ["--yes"]
    done = CliRunner().invoke(app, words, obj=Environment(rig.clock, "ops"), catch_exceptions=False)
    assert done.exit_code == 0, done.output


def shown(rig: Rig, metric: str, **labels: str) -> float | None:
    """The value at a scrape now. Numbers of the store are kept for a few seconds, so some time passes."""
    rig.clock.advance(60)
    return value(rig.metrics, metric, **labels)


def test_an_acceptance_that_waits_for_a_person(rig: Rig) -> None:
    rig.add("1-A")
    rig.poll()
    assert shown(rig, "orderflow_attention", shop="alpha", reason="needs_decision") == 1
    assert shown(rig, "orderflow_next_deadline_timestamp_seconds", shop="alpha", deadline="accept") != 0
    do(rig, "OrdersAcceptanceDeadlineNear", "orders accept ORDER --reason WHY", ORDER="1-A")
    rig.work()
    rig.poll()
    assert not shown(rig, "orderflow_attention", shop="alpha", reason="needs_decision")
    assert shown(rig, "orderflow_next_deadline_timestamp_seconds", shop="alpha", deadline="accept") == 0
    assert rig.effects("1-A") == ["accepted"]


def test_a_key_that_somebody_replaced_at_mirakl(rig: Rig) -> None:
    """The present key in its file is the whole cure: nothing is done by hand with the orders that waited."""
    rig.imported("1-A")
    shop = rig.mirakl["alpha"]
    shop.marketplace = replace(shop.marketplace, api_key="the present key")
    rig.add("2-A", state="SHIPPING")
    rig.oms.dispatch("1-A", tracking="T-1", carrier="DPD UK")
    rig.consume()
    rig.work()
    with pytest.raises(AccountFault):
        rig.poll()
    of_shop = {"system": "mirakl", "shop": "alpha"}
    assert value(rig.metrics, "orderflow_api_requests_total", **of_shop, operation="OR11", outcome="401") == 1
    assert value(rig.metrics, "orderflow_account_paused", **of_shop) == 1
    rig.keys["alpha"] = "the present key"
    for _ in range(3):
        rig.poll(60)
        rig.work()
    assert shown(rig, "orderflow_account_paused", **of_shop) == 0
    assert (rig.state("1-A"), rig.state("2-A")) == ("shipped", "imported")


def test_effects_that_somebody_paused(rig: Rig) -> None:
    rig.switch(paused=("import",))
    rig.add("1-A", state="SHIPPING")
    rig.poll()
    rig.work()
    assert shown(rig, "orderflow_effects_enabled", shop="alpha", command="import_order") == 0
    do(rig, "OrdersEffectsOff", "shops resume SHOP --reason WHY", SHOP="alpha")
    rig.work()
    assert shown(rig, "orderflow_effects_enabled", shop="alpha", command="import_order") == 1
    assert rig.state("1-A") == "imported"


def test_a_report_that_nobody_can_read(rig: Rig) -> None:
    """The OMS reports again in the right form; then the dead letter is closed."""
    rig.imported("1-A")
    rig.log.publish([NewRecord(OMS_EVENTS, b"k", b'{"status": "8 - Dispatched"}', ())])
    rig.consume()
    letter = dead_letter_rows.find(rig.store, 1)
    assert letter is not None
    of_events = {"source": OMS_EVENTS, "reason": letter.reason}
    assert shown(rig, "orderflow_dead_letters_open", **of_events) == 1
    rig.oms.dispatch("1-A", tracking="T-1", carrier="DPD UK")
    rig.consume()
    assert rig.state("1-A") == "dispatched"
    do(rig, "OrdersDeadLettersOpen", "dead-letters discard ID --reason WHY", ID="1")
    assert not shown(rig, "orderflow_dead_letters_open", **of_events)


def test_a_log_that_lost_records(rig: Rig) -> None:
    """A reset reads what came after the loss, also after a restart; the OMS sends again what was lost."""
    for order_id in ("1-A", "2-A", "3-A"):
        rig.imported(order_id)
    rig.oms.dispatch("1-A", tracking="T-1", carrier="DPD UK")
    rig.consume()
    with rig.store.transaction() as tx:
        tx.execute(sa.delete(s.log_records).where(s.log_records.c.topic == OMS_EVENTS))
        tx.execute(sa.update(s.progress).where(s.progress.c.topic == OMS_EVENTS).values(position=1))
    rig.consumer = rig.new_consumer()
    rig.consume()
    rig.oms.dispatch("3-A", tracking="T-3", carrier="DPD UK")
    rig.consume()  # the record has the offset 0, so the log does not end before the stored position any more
    rig.consumer = rig.new_consumer()
    rig.consume()
    stopped = {"topic": OMS_EVENTS, "partition": str(rig.records(OMS_EVENTS)[0].partition)}
    assert value(rig.metrics, "orderflow_progress_stopped", **stopped) == 1
    assert rig.state("3-A") == "imported"
    do(rig, "OrdersProgressStopped", "offsets reset TOPIC --reason WHY", TOPIC=OMS_EVENTS)
    rig.consumer = rig.new_consumer()
    rig.consume()
    assert value(rig.metrics, "orderflow_progress_stopped", **stopped) == 0
    assert (rig.state("2-A"), rig.state("3-A")) == ("imported", "dispatched")
    rig.oms.dispatch("2-A", tracking="T-2", carrier="DPD UK")
    rig.consume()
    assert rig.state("2-A") == "dispatched"
