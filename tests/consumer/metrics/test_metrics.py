"""Metrics: their names and labels, which series exist from the start, and what is counted."""

from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest
from prometheus_client.exposition import generate_latest

from adapters.errors import Retryable, UnreadableReason
from adapters.ports import Partition, Record
from adapters.store.dead_letters import DeadLetter
from consumer.hooks import Applied, PollResult
from consumer.metrics.definitions import METRICS, Type, markdown
from consumer.metrics.labels import ALERTED_OUTCOMES, OPERATIONS, OUTCOMES
from consumer.metrics.recorder import Recorder, new_recorder
from consumer.retry import TryResult
from statemachine.commands import CommandKind
from statemachine.events import Trigger
from statemachine.invariants import Invariant
from statemachine.machine import EventResult
from statemachine.states import State
from statemachine.table import TABLE
from tests.consumer.metrics.exported import families, labels_of, live, opened, value, watch
from tests.consumer.rig import OMS_EVENTS, SNAPSHOTS, Rig, rig_settings
from tests.statemachine.lives import read, snapshot_event
from tests.support import StillClock

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
    "orderflow_callback_last_timestamp_seconds": ("gauge", "shop result"),
    "orderflow_callbacks_total": ("counter", "shop result"),
    "orderflow_build_info": ("info", "version revision python"),
    "orderflow_log_lines_lost_total": ("counter", ""),
    "orderflow_loop_failing": ("gauge", "loop cause"),
    "orderflow_catalog_unread": ("gauge", "shop"),
    "orderflow_orders_forgotten_total": ("counter", "shop"),
    "orderflow_snapshots_removed_total": ("counter", ""),
    "orderflow_clock_skew_seconds": ("gauge", ""),
    "orderflow_poller_late_seconds": ("gauge", ""),
    "orderflow_role_running": ("gauge", "role"),
    "orderflow_unconfigured_orders": ("gauge", ""),
}
FORBIDDEN = {"order", "order_id", "line", "line_id", "customer", "sku", "tracking", "event_id", "path", "url"}
FORBIDDEN |= {"exception", "error", "pod", "instance", "message"}


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
        expected += [
            (
                "orderflow_api_requests_total",
                {"system": "mirakl", "shop": shop, "operation": operation, "outcome": "403"},
            )
            for operation in ("M11", "SH21", "SH12")
        ]
        expected += [("orderflow_poll_last_success_timestamp_seconds", {"shop": shop})]
        expected += [("orderflow_poll_orders_total", {"shop": shop, "result": r}) for r in ("new", "changed", "same")]
    assert [(name, labels) for name, labels in expected if value(metrics, name, **labels) != 0.0] == []
    assert value(metrics, "orderflow_poll_interval_seconds", shop="beta") == 900


def roles(metrics: Recorder) -> dict[str, float]:
    (family,) = [one for one in families(metrics) if one.name == "orderflow_role_running"]
    return {sample.labels["role"]: sample.value for sample in family.samples}


def test_every_process_says_which_roles_it_has_and_which_it_has_not(tmp_path: Path) -> None:
    """So a role that no process has is seen as long as any process runs."""
    calls_back = rig_settings("sqlite://", ["alpha"], oms_table={"callback_secret_file": tmp_path / "secret"})
    shown = roles(new_recorder(calls_back, StillClock(), ["worker"]))
    assert shown == {"poller": 0, "consumer": 0, "worker": 1, "web": 0}


def test_without_callbacks_no_process_needs_the_web() -> None:
    """An OMS may publish its reports itself. Then nobody is called at night because no process has the role."""
    publishes = rig_settings("sqlite://", ["alpha"])
    assert roles(new_recorder(publishes, StillClock(), ["worker"])) == {"poller": 0, "consumer": 0, "worker": 1}
    assert roles(new_recorder(publishes, StillClock(), ["web"])) == {"poller": 0, "consumer": 0, "worker": 0, "web": 1}


def test_the_adapters_spell_their_operations_as_the_table_does(rig: Rig) -> None:
    """A series with another spelling would have no preset, and would start at 1."""
    rig.imported()
    rig.imported("3-A")
    rig.oms.dispatch("1-A", tracking="T1", carrier="DPD UK")
    rig.oms.dispatch("3-A")  # without tracking, so SH12 is asked whether the shipping method needs one
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
    """A batch of two dead letters, one of which also told its order, and two records without a value."""
    at = rig.clock.now()
    records = [
        Record(Partition(topic, 0), offset, b"k", content, (), at)
        for offset, (topic, content) in enumerate(
            ((SNAPSHOTS, b"x"), (OMS_EVENTS, b"x"), (OMS_EVENTS, None), (OMS_EVENTS, None))
        )
    ]
    rig.imported()
    report = replace(snapshot_event(read("SHIPPING")), trigger=Trigger.OMS_EVENT)
    told = Applied(report, rig.row(), EventResult.MOVED, State.NEW, 1)
    letters = [DeadLetter(topic, "", "not_json", "", "", None, b"x") for topic in (SNAPSHOTS, OMS_EVENTS)]
    rig.metrics.batch_applied(records, [told], letters)
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
