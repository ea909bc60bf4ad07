"""Metrics: their names and labels, how many series there are, which exist from the start, and what is counted."""

import socket
import sqlite3
import threading
import time
from collections import Counter
from collections.abc import Iterable
from contextlib import ExitStack, closing
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from prometheus_client import Metric
from prometheus_client.exposition import generate_latest
from prometheus_client.openmetrics.exposition import generate_latest as openmetrics
from prometheus_client.openmetrics.parser import text_string_to_metric_families as openmetrics_families
from prometheus_client.parser import text_string_to_metric_families

from adapters.errors import Retryable, UnreadableReason
from adapters.ports import Partition, Record
from adapters.store import dead_letters as dead_letter_rows
from adapters.store import shops as shop_rows
from adapters.store.dead_letters import DeadLetter
from adapters.store.transaction import Store
from consumer.accounts import Account, AccountKey
from consumer.circuit import CIRCUIT_OPENS_AFTER
from consumer.hooks import Applied, PollResult
from consumer.metrics.definitions import ALERTED_OUTCOMES, METRICS, OPERATIONS, OUTCOMES, Type, markdown
from consumer.metrics.recorder import Recorder
from consumer.metrics.stored import FIRST_WAIT_SECONDS, StoredGauges
from consumer.retry import TryResult
from statemachine.commands import CommandKind, Remote
from statemachine.events import Trigger
from statemachine.invariants import Invariant
from statemachine.machine import EventResult
from statemachine.states import State
from statemachine.table import TABLE
from tests.consumer.rig import ALPHA_OMS, OMS_EVENTS, SNAPSHOTS, Rig
from tests.statemachine.lives import read, snapshot_event
from tests.support import LONG, StillClock

DOCS = Path(__file__).resolve().parents[3] / "docs" / "metrics.md"

#: Names, types and labels of metrics that other people's dashboards and alerts use (docs/rules.md 34).
CONTRACT = {
    "orderflow_budget_left": ("gauge", "system shop window"),
    "orderflow_consumer_assigned_partitions": ("gauge", ""),
    "orderflow_consumer_lag_records": ("gauge", "topic partition"),
    "orderflow_next_deadline_timestamp_seconds": ("gauge", "shop deadline"),
    "orderflow_overdue": ("gauge", "shop deadline"),
    "orderflow_slo_total": ("counter", "shop slo result"),
    "orderflow_consumer_applied_until_timestamp_seconds": ("gauge", "topic partition"),
    "orderflow_transition_seconds": ("histogram", "trigger"),
    "orderflow_state_max_age_seconds": ("gauge", "state"),
    "orderflow_event_seconds": ("histogram", "topic"),
    "orderflow_api_retry_after_seconds_total": ("counter", "system shop"),
    "orderflow_invariant_violations_total": ("counter", "invariant"),
    "orderflow_consumer_rebalances_total": ("counter", ""),
    "orderflow_leader": ("gauge", "role shop"),
    "orderflow_outbox_oldest_timestamp_seconds": ("gauge", "topic"),
    "orderflow_outbox_unpublished": ("gauge", "topic"),
    "orderflow_progress_stopped": ("gauge", "topic partition"),
    "orderflow_transitions_total": ("counter", "shop from_state to_state trigger"),
    "orderflow_decisions_total": ("counter", "shop decision"),
    "orderflow_transitions_rejected_total": ("counter", "from_state trigger reason"),
    "orderflow_state_duration_seconds": ("histogram", "state"),
    "orderflow_in_state": ("gauge", "shop state"),
    "orderflow_oldest_entered_timestamp_seconds": ("gauge", "shop state"),
    "orderflow_events_total": ("counter", "topic type result"),
    "orderflow_event_delay_seconds": ("histogram", "topic"),
    "orderflow_commands_total": ("counter", "command result"),
    "orderflow_commands_open": ("gauge", "command"),
    "orderflow_commands_oldest_due_timestamp_seconds": ("gauge", "command"),
    "orderflow_attention": ("gauge", "shop reason"),
    "orderflow_attention_oldest_timestamp_seconds": ("gauge", "shop reason"),
    "orderflow_effects_enabled": ("gauge", "shop command"),
    "orderflow_circuit_open": ("gauge", "system shop"),
    "orderflow_account_paused": ("gauge", "system shop"),
    "orderflow_api_requests_total": ("counter", "system shop operation outcome"),
    "orderflow_api_request_seconds": ("histogram", "system operation"),
    "orderflow_poll_last_success_timestamp_seconds": ("gauge", "shop"),
    "orderflow_poll_interval_seconds": ("gauge", "shop"),
    "orderflow_poll_seconds": ("histogram", ""),
    "orderflow_poll_orders_total": ("counter", "shop result"),
    "orderflow_poll_watermark_timestamp_seconds": ("gauge", "shop"),
    "orderflow_dead_letters_total": ("counter", "source reason"),
    "orderflow_dead_letters_open": ("gauge", "source reason"),
    "orderflow_loop_beat_timestamp_seconds": ("gauge", "loop"),
    "orderflow_store_scrape_timestamp_seconds": ("gauge", ""),
    "orderflow_log_messages_total": ("counter", "level"),
}
#: Metrics that were added later.
OWN = {
    "orderflow_topic_stopped": ("gauge", "topic"),
    "orderflow_poll_failures_total": ("counter", "shop reason"),
    "orderflow_callbacks_total": ("counter", "shop result"),
    "orderflow_build_info": ("info", "version revision python"),
    "orderflow_log_lines_lost_total": ("counter", ""),
    "orderflow_loop_failing": ("gauge", "loop cause"),
    "orderflow_catalog_unread": ("gauge", "shop"),
    "orderflow_orders_forgotten_total": ("counter", "shop"),
    "orderflow_clock_skew_seconds": ("gauge", ""),
    "orderflow_poller_late_seconds": ("gauge", ""),
}
FORBIDDEN = {"order", "order_id", "line", "line_id", "customer", "sku", "tracking", "event_id", "path", "url"}
FORBIDDEN |= {"exception", "error", "pod", "instance", "message"}


def families(metrics: Recorder) -> list[Metric]:
    return list(text_string_to_metric_families(generate_latest(metrics.registry).decode()))


def opened(metrics: Recorder) -> list[Metric]:
    return list(openmetrics_families(openmetrics(metrics.registry).decode()))  # type: ignore[no-untyped-call]


def series(found: Iterable[Metric]) -> Counter[str]:
    return Counter(family.name for family in found for _ in family.samples)


def value(metrics: Recorder, name: str, **labels: str) -> float | None:
    found: float | None = metrics.registry.get_sample_value(name, labels)
    return found


def watch(metrics: Recorder, rig: Rig) -> None:
    """Add the gauges of the rig's store and accounts."""
    metrics.watch_accounts(rig.worker.accounts.by_key)
    metrics.registry.register(StoredGauges(rig.store, rig.clock, wait_seconds=LONG))


@pytest.fixture
def rig(tmp_path: Path) -> Rig:
    made = Rig(tmp_path, busy_seconds=0.05)
    watch(made.metrics, made)
    return made


# -- The contract ------------------------------------------------------------------------------------------------


def test_names_types_and_labels_are_those_of_the_contract() -> None:
    found = {one.name: (one.type.value, " ".join(one.labels)) for one in METRICS.values()}
    assert found == CONTRACT | OWN


def test_the_output_has_the_metrics_of_the_table_and_no_other(rig: Rig) -> None:
    live(rig)
    shown = {
        family.name + ("_total" if family.type == "counter" else "_info" if family.type == "info" else "")
        for family in opened(rig.metrics)
    }
    of_the_client = {name for name in shown if name.startswith(("process_", "python_"))}
    assert {"process_resident_memory_bytes", "process_open_fds", "python_info"} <= of_the_client
    assert shown - of_the_client == set(METRICS)


def live(rig: Rig) -> None:
    """Make everything happen that a metric shows."""
    rig.imported("1-A")
    rig.add("2-A", state="SHIPPING", sku="")
    rig.fail("OR11", "503")
    with pytest.raises(Exception, match="OR11"):
        rig.poll()
    rig.poll()
    rig.work()
    rig.clock.advance(5)
    with rig.store.transaction() as tx:
        dead_letter_rows.add(
            tx,
            [
                DeadLetter("poll:alpha", "", "missing_field", "", "a", None, b""),
                DeadLetter("poll:beta", "", "missing_field", "", "b", None, b""),
                DeadLetter("oms.order-events", "", "a reason of tomorrow", "", "c", None, b""),
            ],
            rig.clock.now(),
        )
    rig.metrics.poll_failed("alpha", Retryable("OR11", "5xx"))
    rig.metrics.loop_turned("consumer")
    rig.metrics.command_tried("import_order", "done")


def labels_of(family: Metric) -> set[str]:
    return {label for sample in family.samples for label in sample.labels}


def test_no_label_can_name_an_order_a_person_or_a_text(rig: Rig) -> None:
    live(rig)
    for family in families(rig.metrics):
        assert not labels_of(family) & FORBIDDEN, family.name
    assert not {label for one in METRICS.values() for label in one.labels} & FORBIDDEN


def test_every_value_of_a_label_is_of_a_closed_set(rig: Rig) -> None:
    live(rig)
    rig.metrics.remote_called("alpha", "mirakl", "ZZ99", "teapot", 0.1)
    configured = {"alpha", "beta", "poll", "callback", SNAPSHOTS, OMS_EVENTS}
    for family in [one for one in families(rig.metrics) if one.name.startswith("orderflow_")]:
        name = family.name + ("_total" if family.type == "counter" else "")
        for sample in family.samples:
            for label, shown in sample.labels.items():
                if label in ("shop", "topic", "source"):
                    assert shown in configured, (name, label)
                elif label not in ("le", "version", "revision", "python", "partition"):
                    values = METRICS[name].labels[label]
                    assert values is not None, (name, label)
                    assert shown in values, (name, label)
    assert value(
        rig.metrics, "orderflow_api_requests_total", system="mirakl", shop="alpha", operation="other", outcome="other"
    )


def test_shop_is_no_label_of_a_histogram() -> None:
    histograms = [one for one in METRICS.values() if one.type is Type.HISTOGRAM]
    assert histograms
    assert [one.name for one in histograms if "shop" in one.labels] == []


def test_the_docs_say_what_the_code_exports() -> None:
    assert DOCS.read_text() == markdown(), "run `make docs`"
    for one in METRICS.values():
        assert f"| `{one.name}` | {one.type} |" in markdown()
        assert one.meaning


# -- Before anything has happened --------------------------------------------------------------------------------


def test_what_alerts_read_exists_from_the_start() -> None:
    """`increase()` misses the first event of a series that starts at 1."""
    metrics = Recorder({"alpha": 60, "beta": 900}, "1", StillClock())
    expected: list[tuple[str, dict[str, str]]] = [
        ("orderflow_transitions_rejected_total", {"from_state": state, "trigger": trigger, "reason": "no_edge"})
        for state in State
        for trigger in Trigger
    ]
    expected += [
        ("orderflow_dead_letters_total", {"source": source, "reason": reason})
        for source in (SNAPSHOTS, OMS_EVENTS, "poll", "callback")
        for reason in (*UnreadableReason, "not_applicable")
    ]
    expected += [("orderflow_commands_total", {"command": k, "result": r}) for k in CommandKind for r in TryResult]
    for shop in ("alpha", "beta"):
        expected += [
            (
                "orderflow_transitions_total",
                {"shop": shop, "from_state": edge.source, "to_state": edge.target, "trigger": trigger},
            )
            for edge in TABLE
            for trigger in edge.on
        ]
        expected += [
            (
                "orderflow_api_requests_total",
                {"system": system, "shop": shop, "operation": operation, "outcome": outcome},
            )
            for system, operation in (
                *(("mirakl", one) for one in ("OR11", "OR21", "OR23", "OR24")),
                ("oms", "import_order"),
            )
            for outcome in ALERTED_OUTCOMES
        ]
        expected += [("orderflow_poll_last_success_timestamp_seconds", {"shop": shop})]
        expected += [("orderflow_poll_orders_total", {"shop": shop, "result": r}) for r in ("new", "changed", "same")]
    assert [(name, labels) for name, labels in expected if value(metrics, name, **labels) != 0.0] == []
    assert value(metrics, "orderflow_poll_interval_seconds", shop="beta") == 900


def test_the_adapters_spell_their_operations_as_the_table_does(rig: Rig) -> None:
    """A series with another spelling would have no preset, and would start at 1."""
    rig.imported()
    rig.oms.dispatch("1-A", tracking="T1", carrier="DPD UK")
    rig.consume()
    rig.add("2-A")
    rig.mirakl["alpha"].post_message("2-A", "Hello")
    rig.poll()
    rig.mirakl["alpha"].accept_in_portal("2-A")
    rig.mirakl["alpha"].confirm_debit("2-A")
    rig.poll()
    rig.work()
    (counted,) = [one for one in families(rig.metrics) if one.name == "orderflow_api_requests"]
    called = {(one.labels["system"], one.labels["operation"]) for one in counted.samples if one.value}
    assert called == {
        *(("mirakl", one) for one in ("OR11", "OR23", "OR24", "M11", "SH21", "SH12", "PC01")),
        ("oms", "import_order"),
    }
    assert all(operation in OPERATIONS[system] for system, operation in called)


def test_fifty_shops_stay_within_the_budget(tmp_path: Path) -> None:
    shops = [f"shop-{number}" for number in range(50)]
    rig = Rig(tmp_path)
    metrics = Recorder(dict.fromkeys(shops, 60.0), "1", rig.clock)
    with rig.store.transaction() as tx:
        for number, name in enumerate(shops):
            shop_rows.bind(tx, name, f"https://{name}", number, effects=True, now=rig.clock.now())
    metrics.watch_accounts({AccountKey(name, remote): Account() for name in shops for remote in Remote})
    metrics.registry.register(StoredGauges(rig.store, rig.clock, wait_seconds=LONG))
    # After use, every histogram has its series: of both topics, and of each state that an order has left.
    rig.imported()
    event = snapshot_event(read("SHIPPING"))
    for state in State:
        after = replace(rig.row(), state=State.REFUSED if state != State.REFUSED else State.CANCELED)
        metrics.event_applied(Applied(event, after, EventResult.MOVED, state, 1))
    applied = Applied(event, rig.row(), EventResult.MOVED, State.NEW, 1)
    metrics.batch_applied([], [applied, replace(applied, event=replace(event, trigger=Trigger.OMS_EVENT))], [])
    for name in shops:
        for operation in ("OR11", "OR21", "OR23", "OR24"):
            metrics.remote_called(name, "mirakl", operation, "2xx", 0.1)
        metrics.remote_called(name, "oms", "import_order", "2xx", 0.1)
        metrics.poll_ended(name, PollResult(new=1), 1)
    found = families(metrics)
    counted = series(found)
    assert counted.total() < 10_000
    for family in found:
        if "shop" not in labels_of(family) and family.type != "histogram":
            assert counted[family.name] <= 100, family.name


# -- What the hooks count ----------------------------------------------------------------------------------------


def test_a_403_of_pc01_does_not_count_as_a_fault_of_the_account(rig: Rig) -> None:
    rig.metrics.remote_called("alpha", "mirakl", "PC01", "403", 0.1)
    rig.metrics.remote_called("alpha", "mirakl", "OR21", "403", 0.1)
    (counted,) = [one for one in families(rig.metrics) if one.name == "orderflow_api_requests"]
    refused = {s.labels["operation"]: s.value for s in counted.samples if s.labels["outcome"] == "403" and s.value}
    assert refused == {"OR21": 1}


def test_outcomes_of_calls_are_kept_and_unknown_ones_are_other(rig: Rig) -> None:
    for outcome in OUTCOMES:
        rig.metrics.remote_called("alpha", "oms", "import_order", outcome, 0.1)
        assert value(
            rig.metrics,
            "orderflow_api_requests_total",
            system="oms",
            shop="alpha",
            operation="import_order",
            outcome=outcome,
        )


def test_records_without_a_value_are_counted_for_their_own_topic(rig: Rig) -> None:
    """A batch of one dead letter, and two records without a value of the other topic."""
    at = rig.clock.now()
    records = [
        Record(Partition(topic, 0), offset, b"k", None, (), at)
        for offset, topic in enumerate((SNAPSHOTS, OMS_EVENTS, OMS_EVENTS))
    ]
    dead_letter = DeadLetter(SNAPSHOTS, "", "not_json", "", "", None, b"")
    rig.metrics.batch_applied(records, [], [dead_letter])
    skipped = {
        topic: value(rig.metrics, "orderflow_events_total", topic=topic, type="tombstone", result="skipped")
        for topic in (SNAPSHOTS, OMS_EVENTS)
    }
    assert skipped == {SNAPSHOTS: 0, OMS_EVENTS: 2}
    assert value(rig.metrics, "orderflow_dead_letters_total", source=SNAPSHOTS, reason="not_json") == 1


def test_dead_letters_of_a_poll_are_counted_without_the_shop(rig: Rig) -> None:
    rig.metrics.poll_ended("alpha", PollResult(dead_letters=Counter(missing_field=2)), 1)
    assert value(rig.metrics, "orderflow_dead_letters_total", source="poll", reason="missing_field") == 2


def test_transitions_are_counted_with_the_time_spent_before(rig: Rig) -> None:
    rig.add("1-A")
    rig.poll()
    rig.clock.advance(100)
    rig.work()
    edge = {"shop": "alpha", "from_state": "waiting_acceptance", "to_state": "accepted", "trigger": "call"}
    assert value(rig.metrics, "orderflow_transitions_total", **edge) == 1
    assert value(rig.metrics, "orderflow_state_duration_seconds_sum", state="waiting_acceptance") == 100


def test_openmetrics_has_exemplars_that_name_the_event(rig: Rig) -> None:
    """A person finds the order of a slow event with them. They are no labels: the other format does not have them."""
    rig.imported("1-A")
    found = {
        family.name: sample.exemplar for family in opened(rig.metrics) for sample in family.samples if sample.exemplar
    }
    assert found.keys() == {
        "orderflow_event_seconds",
        "orderflow_event_delay_seconds",
        "orderflow_transition_seconds",
        "orderflow_state_duration_seconds",
    }
    assert found["orderflow_event_seconds"].labels["event_id"].startswith("1-A:")
    assert "event_id" not in generate_latest(rig.metrics.registry).decode()


def test_the_longest_event_id_still_makes_an_exemplar(rig: Rig) -> None:
    """Prometheus refuses exemplars of more than 128 characters, and the client of Python raises."""
    rig.imported("1-A")
    event = replace(snapshot_event(read("SHIPPING")), event_id="é" * 1_000)
    rig.metrics.event_applied(Applied(event, rig.row(), EventResult.MOVED, State.NEW, 1, seconds=0.1))
    assert any("é" * 50 in str(s.exemplar) for family in opened(rig.metrics) for s in family.samples)


def test_broken_invariants_are_counted(rig: Rig) -> None:
    assert value(rig.metrics, "orderflow_invariant_violations_total", invariant="lost") == 0
    rig.imported("1-A")
    broken = (Invariant.LOST, Invariant.SHIPPED_TWICE)
    event = snapshot_event(read("SHIPPING"))
    rig.metrics.event_applied(Applied(event, rig.row(), EventResult.NOTED, State.IMPORTED, 1, broken=broken))
    counted = {one: value(rig.metrics, "orderflow_invariant_violations_total", invariant=one) for one in Invariant}
    assert counted == dict.fromkeys(Invariant, 0) | dict.fromkeys(broken, 1)


def test_the_pauses_that_a_remote_asks_for_are_summed(rig: Rig) -> None:
    name = "orderflow_api_retry_after_seconds_total"
    assert value(rig.metrics, name, system="mirakl", shop="alpha") == 0
    rig.add("1-A")
    rig.fail("OR11", "429", retry_after_seconds=30)
    with pytest.raises(Retryable, match="OR11"):
        rig.poll()
    rig.poll()
    assert value(rig.metrics, name, system="mirakl", shop="alpha") == 30
    assert value(rig.metrics, name, system="oms", shop="alpha") == 0


def test_settings_of_the_marketplace_that_cannot_be_read_show(rig: Rig) -> None:
    rig.metrics.watch_catalogs({name: shop.mirakl.catalog_unread for name, shop in rig.worker.shops.items()})
    rig.imported("1-A")
    assert value(rig.metrics, "orderflow_catalog_unread", shop="alpha") == 0
    rig.fail("SH21", "500", count=5)
    rig.oms.dispatch("1-A", tracking="T1", carrier="DPD UK")
    rig.consume()
    rig.work()
    assert value(rig.metrics, "orderflow_catalog_unread", shop="alpha") == 1


def test_the_limit_of_each_state_shows(rig: Rig) -> None:
    assert value(rig.metrics, "orderflow_state_max_age_seconds", state="imported") == 120 * 3600
    assert value(rig.metrics, "orderflow_state_max_age_seconds", state="shipped") is None


def test_a_record_that_waits_stops_the_instant_until_which_all_are_applied(rig: Rig) -> None:
    """Its age goes on growing if the consumer dies. An age that the consumer writes would stand still."""
    name = "orderflow_consumer_applied_until_timestamp_seconds"

    def oldest() -> float:
        rig.metrics.lag_measured(*rig.consumer.lag())
        (family,) = [one for one in families(rig.metrics) if one.name == name]
        return min(sample.value for sample in family.samples)

    rig.poll()
    assert oldest() == rig.clock.now().timestamp(), "nothing waits"
    rig.clock.advance(100)
    at = rig.clock.now().timestamp()
    assert oldest() == at
    rig.add("1-A")
    rig.clock.advance(50)
    rig.pollers["alpha"].run()
    rig.clock.advance(400)
    assert oldest() == at, "the record waits, and the instant stands still"
    rig.consume()
    assert oldest() == rig.clock.now().timestamp()


# -- What is read from the store ---------------------------------------------------------------------------------


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
        metrics.registry.register(StoredGauges(store, rig.clock))
        seconds = []
        for _ in range(5):
            began = time.monotonic()
            assert value(metrics, "orderflow_store_scrape_timestamp_seconds") == 0
            seconds.append(time.monotonic() - began)
        assert sum(seconds) < FIRST_WAIT_SECONDS + 2
        assert len([one for one in threading.enumerate() if one.name == "stored gauges"]) == 1


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
