"""Metrics that are read from the store at a scrape, also while the store does not answer."""

import socket
import sqlite3
import threading
from collections.abc import Callable, Iterable
from contextlib import ExitStack, closing
from datetime import timedelta
from pathlib import Path

import pytest
import sqlalchemy as sa
from prometheus_client import Metric

from adapters.store.transaction import Store
from consumer.calling.circuit import CIRCUIT_OPENS_AFTER
from consumer.metrics.recorder import Recorder
from consumer.metrics.stored import READ_EVERY_SECONDS, SLOW_SECONDS, StoredGauges
from statemachine.commands import CommandKind
from tests.consumer.metrics.exported import families, live, opened, value, watch
from tests.consumer.rig import ALPHA_OMS, Rig
from tests.support import LONG, Meanwhile


@pytest.fixture
def rig(tmp_path: Path) -> Rig:
    made = Rig(tmp_path, busy_seconds=0.05)
    watch(made.metrics, made)
    return made


def test_stored_numbers_survive_a_restart(rig: Rig) -> None:
    live(rig)
    entered = rig.row("1-A").entered_at.timestamp()
    fresh = Recorder({"alpha": 60}, "1", rig.clock)
    watch(fresh, rig)
    assert value(fresh, "orderflow_in_state", shop="alpha", state="imported") == 1
    assert value(fresh, "orderflow_in_state", shop="alpha", state="new") == 0
    assert value(fresh, "orderflow_oldest_entered_timestamp_seconds", shop="alpha", state="imported") == entered
    assert value(fresh, "orderflow_attention", shop="alpha", reason="import_rejected") == 1
    assert value(fresh, "orderflow_dead_letters_open", source="poll", reason="missing_field") == 2, (
        "the sum over two shops"
    )
    assert value(fresh, "orderflow_dead_letters_open", source="oms.order-events", reason="other") == 1
    assert value(fresh, "orderflow_effects_enabled", shop="alpha", command="import_order") == 1


def test_a_group_of_effects_that_is_switched_off_shows(rig: Rig) -> None:
    rig.switch(paused=("ship",))
    shown = {kind: value(rig.metrics, "orderflow_effects_enabled", shop="alpha", command=kind) for kind in CommandKind}
    assert shown == {"accept_order": 1, "import_order": 1, "send_tracking": 0, "confirm_shipment": 0}


def test_the_age_of_a_call_that_is_switched_off_does_not_hide_that_of_another_shop(tmp_path: Path) -> None:
    """A new shop begins with its effects off. Its calls may wait for days."""
    rig = Rig(tmp_path, shops=("alpha", "beta"))
    watch(rig.metrics, rig)
    rig.switch("alpha", effects=False)
    rig.add("1-A", "alpha")
    rig.poll()
    off = [value(rig.metrics, name, command="accept_order") for name in OF_COMMANDS]
    rig.add("1-B", "beta")
    rig.poll(seconds=10)  # the numbers are read anew after some seconds
    opened_at = rig.clock.now().timestamp()
    on = [value(rig.metrics, name, command="accept_order") for name in OF_COMMANDS]
    assert (off, on) == ([1, 0], [2, opened_at])


OF_COMMANDS = ("orderflow_commands_open", "orderflow_commands_oldest_due_timestamp_seconds")


def test_paused_accounts_and_open_circuits_show(rig: Rig) -> None:
    account = rig.worker.accounts.by_key[ALPHA_OMS]
    account.pause(rig.clock.now() + timedelta(seconds=60))
    assert value(rig.metrics, "orderflow_account_paused", system="oms", shop="alpha") == 1
    assert value(rig.metrics, "orderflow_account_paused", system="mirakl", shop="alpha") == 0
    for order in range(CIRCUIT_OPENS_AFTER):
        account.circuits["POST /order"].failed(order, rig.clock.now())
    assert value(rig.metrics, "orderflow_circuit_open", system="oms", shop="alpha") == 1


def break_store(rig: Rig) -> None:
    """Rename a table that the gauges count, so that every read of them fails."""
    with closing(sqlite3.connect(rig.path)) as connection, connection:
        connection.execute("ALTER TABLE dead_letters RENAME TO gone")


def mend_store(rig: Rig) -> None:
    with closing(sqlite3.connect(rig.path)) as connection, connection:
        connection.execute("ALTER TABLE gone RENAME TO dead_letters")


def test_a_scrape_works_without_the_store_and_shows_how_old_its_numbers_are(tmp_path: Path) -> None:
    rig = Rig(tmp_path, busy_seconds=0.05)
    watch(rig.metrics, rig)
    break_store(rig)
    name = "orderflow_store_scrape_timestamp_seconds"
    assert value(rig.metrics, name) == 0, "it was never read, and an alert can see that"
    assert value(rig.metrics, "orderflow_poll_interval_seconds", shop="alpha") == 60

    mend_store(rig)
    read_at = rig.clock.now().timestamp()
    assert value(rig.metrics, name) == read_at
    assert value(rig.metrics, "orderflow_in_state", shop="alpha", state="new") == 0

    break_store(rig)
    rig.clock.advance(600)
    assert value(rig.metrics, name) == read_at
    assert value(rig.metrics, "orderflow_in_state", shop="alpha", state="new") == 0, "the last numbers stay"


def test_a_scrape_does_not_wait_for_a_store_that_hangs(rig: Rig) -> None:
    """A database that takes connections and never answers. Neither do scrapes wait for each other."""
    with ExitStack() as stack:
        silent = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
        store = Store(f"postgresql+psycopg://orderflow@127.0.0.1:{silent.getsockname()[1]}/orderflow")
        stack.callback(store.close)
        metrics = Recorder({"alpha": 60.0}, "1", rig.clock)
        metrics.registry.register(StoredGauges(store, rig.clock, ["alpha"]))
        reads = []
        for _ in range(5):
            assert value(metrics, "orderflow_store_scrape_timestamp_seconds") == 0
            reads.append([one for one in threading.enumerate() if one.name == "stored gauges"])
        assert [len(one) for one in reads] == [1] * 5
        assert reads[0] == reads[4], "the first read was still under way when the last scrape ended"


def test_a_scrape_waits_for_a_slow_store_once(rig: Rig) -> None:
    """After a read that was slow, scrapes show the numbers of the read before."""
    go, name = threading.Event(), "orderflow_store_scrape_timestamp_seconds"
    statements: list[Callable[[], object]] = [lambda: rig.clock.advance(SLOW_SECONDS + 0.1)]
    sa.event.listen(rig.store.engine, "before_cursor_execute", lambda *_: statements[0]())
    metrics = Recorder({"alpha": 60.0}, "1", rig.clock)
    metrics.registry.register(StoredGauges(rig.store, rig.clock, ["alpha"], wait_seconds=10 * LONG))
    first = value(metrics, name)
    assert first
    statements[0] = lambda: go.wait(10 * LONG)
    rig.clock.advance(READ_EVERY_SECONDS)
    assert Meanwhile(lambda: value(metrics, name)).result() == first
    go.set()


def test_stored_numbers_are_read_at_most_every_few_seconds(rig: Rig) -> None:
    name = "orderflow_store_scrape_timestamp_seconds"
    first = value(rig.metrics, name)
    rig.clock.advance(4)
    assert value(rig.metrics, name) == first
    rig.clock.advance(1)
    assert value(rig.metrics, name) == rig.clock.now().timestamp()


def test_both_formats_have_the_same_series_and_values(rig: Rig) -> None:
    live(rig)

    def ours(found: Iterable[Metric]) -> dict[object, float]:
        """Without the series of the client library: these change while they are read."""
        samples = [one for family in found for one in family.samples if one.name.startswith("orderflow_")]
        return {(one.name, *sorted(one.labels.items())): one.value for one in samples}

    assert ours(families(rig.metrics)) == ours(opened(rig.metrics))
    assert not [one.name for family in opened(rig.metrics) for one in family.samples if one.name.endswith("_created")]


def test_a_shop_that_left_the_configuration_has_no_series_and_its_open_orders_are_counted(tmp_path: Path) -> None:
    """Otherwise its alerts would fire for ever: nothing reads the shop, and no decision ends its orders."""
    rig = Rig(tmp_path, shops=("alpha", "beta"))
    for shop, letter in (("alpha", "A"), ("beta", "B")):
        rig.add(f"1-{letter}", shop)
        rig.add(f"2-{letter}", shop, state="SHIPPING", sku="")
        rig.add(f"3-{letter}", shop, state="CANCELED")
    rig.poll()
    rig.work()
    smaller = Recorder({"alpha": 60}, "1", rig.clock)
    smaller.registry.register(StoredGauges(rig.store, rig.clock, ["alpha"], wait_seconds=LONG))
    shown = {
        sample.labels["shop"] for family in families(smaller) for sample in family.samples if "shop" in sample.labels
    }
    assert shown == {"alpha"}
    assert value(smaller, "orderflow_unconfigured_orders") == 2
    whole = Recorder({"alpha": 60, "beta": 60}, "1", rig.clock)
    watch(whole, rig)
    assert value(whole, "orderflow_unconfigured_orders") == 0


def test_calls_of_a_shop_that_left_the_configuration_are_not_due(tmp_path: Path) -> None:
    rig = Rig(tmp_path, shops=("alpha", "beta"))
    rig.add("1-B", "beta")
    rig.poll()
    smaller = Recorder({"alpha": 60}, "1", rig.clock)
    smaller.registry.register(StoredGauges(rig.store, rig.clock, ["alpha"], wait_seconds=LONG))
    assert [value(smaller, name, command="accept_order") for name in OF_COMMANDS] == [0, 0]
