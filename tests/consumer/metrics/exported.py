"""What a recorder exports, and a life of orders that fills it."""

from collections import Counter
from collections.abc import Iterable

import pytest
from prometheus_client import Metric
from prometheus_client.exposition import generate_latest
from prometheus_client.openmetrics.exposition import generate_latest as openmetrics
from prometheus_client.openmetrics.parser import text_string_to_metric_families as openmetrics_families
from prometheus_client.parser import text_string_to_metric_families

from adapters.errors import Retryable
from adapters.store import dead_letters as dead_letter_rows
from adapters.store.dead_letters import DeadLetter
from consumer.metrics.recorder import Recorder
from consumer.metrics.stored import StoredGauges
from tests.consumer.rig import Rig
from tests.support import LONG


def families(metrics: Recorder) -> list[Metric]:
    return list(text_string_to_metric_families(generate_latest(metrics.registry).decode()))


def opened(metrics: Recorder) -> list[Metric]:
    return list(openmetrics_families(openmetrics(metrics.registry).decode()))  # type: ignore[no-untyped-call]


def series(found: Iterable[Metric]) -> Counter[str]:
    return Counter(family.name for family in found for _ in family.samples)


def labels_of(family: Metric) -> set[str]:
    return {label for sample in family.samples for label in sample.labels}


def value(metrics: Recorder, name: str, **labels: str) -> float | None:
    found: float | None = metrics.registry.get_sample_value(name, labels)
    return found


def watch(metrics: Recorder, rig: Rig) -> None:
    """Add the gauges of the rig's store and accounts."""
    metrics.watch_accounts(rig.worker.accounts.by_key)
    metrics.registry.register(StoredGauges(rig.store, rig.clock, rig.settings.shops, wait_seconds=LONG))


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
    rig.metrics.watch_loops(lambda _loop: rig.clock.now().timestamp())
    rig.metrics.command_tried("import_order", "done")
