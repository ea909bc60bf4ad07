"""Metrics are a contract: their names, their labels, how many there are, and that they exist before they count."""

import sqlite3
from collections import Counter
from collections.abc import Iterable
from datetime import timedelta
from pathlib import Path

import pytest
from prometheus_client import Metric
from prometheus_client.exposition import generate_latest
from prometheus_client.openmetrics.exposition import generate_latest as openmetrics
from prometheus_client.openmetrics.parser import text_string_to_metric_families as openmetrics_families
from prometheus_client.parser import text_string_to_metric_families

from adapters.errors import UnreadableReason
from adapters.ports import Partition, Record
from adapters.store.transaction import DeadLetter
from consumer.accounts import CIRCUIT_OPENS_AFTER
from consumer.hooks import PollResult
from consumer.metrics.recorder import (
    ALERTED_OUTCOMES,
    OPERATIONS,
    OUTCOMES,
    TOPICS,
    VALUES,
    Metrics,
    described,
    markdown,
)
from consumer.retry import RESULTS
from statemachine.commands import KINDS
from statemachine.events import TRIGGERS
from statemachine.states import STATES
from statemachine.table import TABLE
from tests.consumer.rig import Rig
from tests.support import StillClock

DOCS = Path(__file__).resolve().parents[2] / "docs" / "metrics.md"

#: Names, types and labels of the metrics, which other people's dashboards and alerts use (docs/rules.md 34).
CONTRACT = {
    "orderflow_budget_left": ("gauge", "system shop window"),
    "orderflow_consumer_assigned_partitions": ("gauge", ""),
    "orderflow_consumer_lag_records": ("gauge", "topic partition"),
    "orderflow_consumer_oldest_lag_seconds": ("gauge", "topic partition"),
    "orderflow_consumer_rebalances_total": ("counter", ""),
    "orderflow_leader": ("gauge", "role shop"),
    "orderflow_outbox_oldest_timestamp_seconds": ("gauge", "topic"),
    "orderflow_outbox_unpublished": ("gauge", "topic"),
    "orderflow_progress_stopped": ("gauge", "topic partition"),
    "orderflow_transitions_total": ("counter", "shop from_state to_state trigger"),
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
#: Ours, and in no list.
OWN = {
    "orderflow_topic_stopped": ("gauge", "topic"),
    "orderflow_poll_failures_total": ("counter", "shop reason"),
    "orderflow_callbacks_total": ("counter", "shop result"),
    "orderflow_build_info": ("info", "version python"),
}
FORBIDDEN = {"order", "order_id", "line", "line_id", "customer", "sku", "tracking", "event_id", "path", "url"}
FORBIDDEN |= {"exception", "error", "pod", "instance", "message"}


def families(metrics: Metrics) -> list[Metric]:
    return list(text_string_to_metric_families(generate_latest(metrics.registry).decode()))


def opened(metrics: Metrics) -> list[Metric]:
    return list(openmetrics_families(openmetrics(metrics.registry).decode()))  # type: ignore[no-untyped-call]


def series(found: Iterable[Metric]) -> Counter[str]:
    return Counter(family.name for family in found for _ in family.samples)


def value(metrics: Metrics, name: str, **labels: str) -> float | None:
    return metrics.registry.get_sample_value(name, labels)


@pytest.fixture
def rig(tmp_path: Path) -> Rig:
    made = Rig(tmp_path, busy_seconds=0.05)
    made.metrics.watch(made.store, made.worker.accounts)
    return made


# -- The contract ------------------------------------------------------------------------------------------------


def test_names_types_and_labels_are_those_of_the_contract() -> None:
    found = {one.name: (one.kind, " ".join(one.labels)) for one in described()}
    assert found == CONTRACT | OWN


def test_the_live_output_has_the_metrics_that_are_described_and_no_other(rig: Rig) -> None:
    live(rig)
    shown = {
        family.name + ("_total" if family.type == "counter" else "_info" if family.type == "info" else "")
        for family in opened(rig.metrics)
    }
    assert shown == {one.name for one in described()}


def live(rig: Rig) -> None:
    """Something of everything has happened."""
    rig.imported("1-A")
    rig.add("2-A", state="SHIPPING", sku="")
    rig.fail("OR11", "503")
    with pytest.raises(Exception, match="OR11"):
        rig.poll()
    rig.poll()
    rig.work()
    rig.clock.advance(5)
    with rig.store.transaction() as tx:
        tx.set_aside(
            [
                DeadLetter("poll:alpha", "", "missing_field", "", "a", None, b""),
                DeadLetter("poll:beta", "", "missing_field", "", "b", None, b""),
                DeadLetter("oms.order-events", "", "a reason of tomorrow", "", "c", None, b""),
            ],
            rig.clock.now(),
        )
    rig.metrics.poll_failed("alpha", "5xx")
    rig.metrics.loop_turned("consumer")
    rig.metrics.command_tried("import_order", "done")


def labels_of(family: Metric) -> set[str]:
    return {label for sample in family.samples for label in sample.labels}


def test_no_label_can_name_an_order_a_person_or_a_text(rig: Rig) -> None:
    live(rig)
    for family in families(rig.metrics):
        assert not labels_of(family) & FORBIDDEN, family.name
    assert not {label for one in described() for label in one.labels} & FORBIDDEN


def test_every_value_of_a_label_is_of_a_closed_set(rig: Rig) -> None:
    live(rig)
    rig.metrics.remote_called("alpha", "mirakl", "ZZ99", "teapot", 0.1)
    configured = {"alpha", "beta", "poll", "callback", *TOPICS}
    for family in families(rig.metrics):
        name = family.name + ("_total" if family.type == "counter" else "")
        for sample in family.samples:
            for label, shown in sample.labels.items():
                if label in ("shop", "topic", "source"):
                    assert shown in configured, (name, label)
                elif label not in ("le", "version", "python", "partition"):
                    assert shown in VALUES[name][label], (name, label)
    assert value(
        rig.metrics, "orderflow_api_requests_total", system="mirakl", shop="alpha", operation="other", outcome="other"
    )


def test_shop_is_no_label_of_a_histogram() -> None:
    assert [one.name for one in described() if one.kind == "histogram" and "shop" in one.labels] == []


def test_the_docs_say_what_the_code_exports() -> None:
    assert DOCS.read_text() == markdown(), "run `make docs`"
    for one in described():
        assert f"| `{one.name}` | {one.kind} |" in markdown()
        assert one.meaning


# -- Before anything has happened --------------------------------------------------------------------------------


def test_what_alerts_read_exists_from_the_start() -> None:
    """A counter that is born at 1 shows no increase."""
    metrics = Metrics({"alpha": 60, "beta": 900}, "1", StillClock())
    expected: list[tuple[str, dict[str, str]]] = [
        ("orderflow_transitions_rejected_total", {"from_state": state, "trigger": trigger, "reason": "no_edge"})
        for state in STATES
        for trigger in TRIGGERS
    ]
    expected += [
        ("orderflow_dead_letters_total", {"source": source, "reason": reason})
        for source in (*TOPICS, "poll", "callback")
        for reason in (*UnreadableReason, "not_applicable")
    ]
    expected += [("orderflow_commands_total", {"command": k, "result": r}) for k, _, _ in KINDS for r in RESULTS]
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


def test_the_calls_that_are_counted_are_those_that_were_made_ready(rig: Rig) -> None:
    """The adapters name their operations; a name of another spelling would be born at 1."""
    rig.metrics.api_requests.clear()
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
    called = {(sample.labels["system"], sample.labels["operation"]) for sample in counted.samples}
    assert called == {
        *(("mirakl", one) for one in ("OR11", "OR23", "OR24", "M11", "SH21", "SH12", "PC01")),
        ("oms", "import_order"),
    }
    assert all(operation in OPERATIONS[system] for system, operation in called)


def test_fifty_shops_stay_within_the_budget(tmp_path: Path) -> None:
    shops = [f"shop-{number}" for number in range(50)]
    rig = Rig(tmp_path)
    metrics = Metrics(dict.fromkeys(shops, 60.0), "1", rig.clock)
    with rig.store.transaction() as tx:
        for number, name in enumerate(shops):
            tx.bind_shop(name, f"https://{name}", number, True, rig.clock.now())
    accounts = {(name, system): rig.worker.accounts["alpha", system] for name in shops for system in OPERATIONS}
    metrics.watch(rig.store, accounts)
    for topic in TOPICS:  # in use: every histogram and every loop
        metrics.event_delay.labels(topic).observe(1)
    for state in STATES:
        metrics.state_duration.labels(state).observe(1)
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


# -- What the loops tell -----------------------------------------------------------------------------------------


def test_a_refusal_of_pc01_is_tolerated_and_looks_like_no_fault_of_the_account(rig: Rig) -> None:
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


def test_records_that_say_nothing_are_counted_for_their_own_topic(rig: Rig) -> None:
    """A batch of one order's letter, and two tombstones of the other topic."""
    at = rig.clock.now()
    records = [
        Record(Partition(TOPICS[topic], 0), offset, b"k", None, (), at) for offset, topic in enumerate((0, 1, 1))
    ]
    letter = DeadLetter(TOPICS[0], "", "not_json", "", "", None, b"")
    rig.metrics.batch_applied(records, [], [letter])
    tombstones = {
        topic: value(rig.metrics, "orderflow_events_total", topic=topic, type="tombstone", result="skipped")
        for topic in TOPICS
    }
    assert tombstones == {TOPICS[0]: None, TOPICS[1]: 2}
    assert value(rig.metrics, "orderflow_dead_letters_total", source=TOPICS[0], reason="not_json") == 1


def test_what_a_poll_set_aside_is_counted_without_the_shop_in_the_source(rig: Rig) -> None:
    rig.metrics.poll_ended("alpha", PollResult(set_aside=Counter(missing_field=2)), 1)
    assert value(rig.metrics, "orderflow_dead_letters_total", source="poll", reason="missing_field") == 2


def test_transitions_are_counted_with_the_time_spent_before(rig: Rig) -> None:
    rig.add("1-A")
    rig.poll()
    rig.clock.advance(100)
    rig.work()
    edge = {"shop": "alpha", "from_state": "waiting_acceptance", "to_state": "accepted", "trigger": "call"}
    assert value(rig.metrics, "orderflow_transitions_total", **edge) == 1
    assert value(rig.metrics, "orderflow_state_duration_seconds_sum", state="waiting_acceptance") == 100


# -- What is stored ----------------------------------------------------------------------------------------------


def test_stored_numbers_survive_a_restart(rig: Rig) -> None:
    live(rig)
    entered = rig.row("1-A").entered_at.timestamp()
    fresh = Metrics({"alpha": 60}, "1", rig.clock)
    fresh.watch(rig.store, rig.new_worker().accounts)
    assert value(fresh, "orderflow_in_state", shop="alpha", state="imported") == 1
    assert value(fresh, "orderflow_in_state", shop="alpha", state="new") == 0
    assert value(fresh, "orderflow_oldest_entered_timestamp_seconds", shop="alpha", state="imported") == entered
    assert value(fresh, "orderflow_attention", shop="alpha", reason="import_rejected") == 1
    assert value(fresh, "orderflow_dead_letters_open", source="poll", reason="missing_field") == 2, "of two shops"
    assert value(fresh, "orderflow_dead_letters_open", source="oms.order-events", reason="other") == 1
    assert value(fresh, "orderflow_effects_enabled", shop="alpha", command="import_order") == 1


def test_a_switch_shows(rig: Rig) -> None:
    rig.switch(paused=("ship",))
    shown = {kind: value(rig.metrics, "orderflow_effects_enabled", shop="alpha", command=kind) for kind, _, _ in KINDS}
    assert shown == {"accept_order": 1, "import_order": 1, "send_tracking": 0, "confirm_shipment": 0}


def test_accounts_at_rest_show(rig: Rig) -> None:
    account = rig.worker.accounts["alpha", "oms"]
    account.rest(rig.clock.now() + timedelta(seconds=60))
    assert value(rig.metrics, "orderflow_account_paused", system="oms", shop="alpha") == 1
    assert value(rig.metrics, "orderflow_account_paused", system="mirakl", shop="alpha") == 0
    for order in range(CIRCUIT_OPENS_AFTER):
        account.failed(order, rig.clock.now())
    assert value(rig.metrics, "orderflow_circuit_open", system="oms", shop="alpha") == 1


def test_a_store_that_does_not_answer_leaves_the_scrape_working_and_its_time_old(tmp_path: Path) -> None:
    rig = Rig(tmp_path, busy_seconds=0.05)
    rig.metrics.watch(rig.store, rig.worker.accounts)
    with sqlite3.connect(rig.path) as connection:
        connection.execute("ALTER TABLE dead_letters RENAME TO gone")
    connection.close()
    name = "orderflow_store_scrape_timestamp_seconds"
    assert value(rig.metrics, name) == 0, "never read yet, and an alert can see it"
    assert value(rig.metrics, "orderflow_poll_interval_seconds", shop="alpha") == 60

    with sqlite3.connect(rig.path) as connection:
        connection.execute("ALTER TABLE gone RENAME TO dead_letters")
    connection.close()
    read_at = rig.clock.now().timestamp()
    assert value(rig.metrics, name) == read_at
    assert value(rig.metrics, "orderflow_in_state", shop="alpha", state="new") == 0

    with sqlite3.connect(rig.path) as connection:
        connection.execute("ALTER TABLE dead_letters RENAME TO gone")
    connection.close()
    rig.clock.advance(600)
    assert value(rig.metrics, name) == read_at
    assert value(rig.metrics, "orderflow_in_state", shop="alpha", state="new") == 0, "as it was"


def test_stored_numbers_are_read_at_most_every_few_seconds(rig: Rig) -> None:
    name = "orderflow_store_scrape_timestamp_seconds"
    first = value(rig.metrics, name)
    rig.clock.advance(4)
    assert value(rig.metrics, name) == first
    rig.clock.advance(1)
    assert value(rig.metrics, name) == rig.clock.now().timestamp()


def test_both_formats_come_back_from_their_parsers_as_they_went(rig: Rig) -> None:
    live(rig)
    text = {(s.name, *sorted(s.labels.items())): s.value for family in families(rig.metrics) for s in family.samples}
    other = {(s.name, *sorted(s.labels.items())): s.value for family in opened(rig.metrics) for s in family.samples}
    assert text == other
    assert not [one.name for family in opened(rig.metrics) for one in family.samples if one.name.endswith("_created")]
