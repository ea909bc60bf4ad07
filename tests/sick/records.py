"""Sicknesses of what lies in the log and in the store: one record, one row, one topic, one shop at rest."""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import psycopg
from kafka import KafkaAdminClient, KafkaProducer
from kafka.admin import ConfigResource, ConfigResourceType
from kafka.record.memory_records import MemoryRecordsBuilder
from kafka.record.util import calc_crc32c

from adapters.messages.cloudevents import record_of
from adapters.messages.oms_events import oms_event
from adapters.simulators.orders import COMPANIES
from adapters.store import dead_letters as dead_letter_rows
from adapters.store import order_lists
from adapters.store import orders as order_rows
from adapters.store.dead_letters import QUARANTINED, RECORD_UNREADABLE, SET_ASIDE, StoredDeadLetter
from consumer.config import TopicsTable
from tests.sick.service import Service
from tests.sick.sickness import Sickness, Sign, Touch, grows, logged, metric
from tests.sick.watch import Seen
from tests.sick.waves import life, play_beside, snapshots_partition

_TOPICS = TopicsTable()
UNREADABLE_PARTITION = 3
HELD_PARTITION = 5
#: A longer text is cut (adapters/messages/text.py).
LONGEST_TEXT = 2_000
#: How many calls of the shop at rest are due.
AT_REST = 20_000


def _dead_letter(reason: str, times: int = 1) -> Sign:
    def is_meant(one: StoredDeadLetter) -> bool:
        """An earlier sickness may have brought the shop beyond its limit."""
        return one.reason == reason or (one.reason == SET_ASIDE and one.detail.startswith(f"{reason}:"))

    def seen(_: object, service: Service) -> bool:
        return sum(is_meant(one) for one in dead_letter_rows.newest(service.store, 1000)) >= times

    return Sign(f"dead letter {reason}", seen)


# -- Records -----------------------------------------------------------------------------------------------------


@contextmanager
def _producer(service: Service) -> Iterator[KafkaProducer]:
    producer = KafkaProducer(bootstrap_servers=service.kafka.bootstrap_servers)
    yield producer
    producer.flush()
    producer.close()


def _unusable(count: int) -> Callable[[Service], None]:
    """Publish records of alpha's company that are no JSON."""

    def begin(service: Service) -> None:
        with _producer(service) as producer:
            for number in range(count):
                key = f"{COMPANIES['alpha']}:X{number}".encode()
                producer.send(_TOPICS.oms_events, key=key, value=b"\xff no JSON")

    return begin


def _unreadable_record(service: Service) -> None:
    """Publish a record with a header whose name is no UTF-8. The broker does not look into records."""
    close, name = MemoryRecordsBuilder.close, b"broken-name"

    def with_a_broken_header(builder: MemoryRecordsBuilder) -> None:
        close(builder)
        batch = builder._buffer
        if name in batch:
            batch[batch.index(name)] = 0xFF
            batch[17:21] = calc_crc32c(bytes(batch[21:])).to_bytes(4)

    MemoryRecordsBuilder.close = with_a_broken_header
    try:
        with _producer(service) as producer:
            headers = [(name.decode(), b"1")]
            producer.send(_TOPICS.snapshots, value=b"{}", headers=headers, partition=UNREADABLE_PARTITION)
    finally:
        MemoryRecordsBuilder.close = close


def _pass_the_record(service: Service) -> None:
    why = ["--reason", "the publisher wrote a broken header", "--yes"]
    service.orderflow("offsets", "skip", _TOPICS.snapshots, "--partition", str(UNREADABLE_PARTITION), *why)


def _is_shown_as_unreadable(_: object, service: Service) -> bool:
    return "record_unreadable" in service.orderflow("offsets", "list", statuses=(0, 1))


def _long_tracking(service: Service) -> None:
    """Let an order of alpha be dispatched with a tracking number of 6,000 bytes: the longest text that is kept."""
    long = "\u8ffd" * LONGEST_TEXT
    play_beside(service, replace(life("alpha", 0.0), trackings=(long,), last_tracking=long))


def _reused_id(service: Service) -> None:
    """Publish two events of the OMS with one id, about two orders."""
    known = order_lists.latest(service.store, shop="alpha", states=["shipped"], limit=2)
    body = {"id": 1, "status": 1, "ref": "1", "external_ref": ""}
    with _producer(service) as producer:
        for row in known:
            data = json.dumps(body | {"external_ref": row.order_id}).encode()
            event = replace(oms_event(COMPANIES["alpha"], data, datetime.now(UTC)), id=f"one-id-{known[0].order_id}")
            record = record_of(_TOPICS.oms_events, event)
            producer.send(record.topic, key=record.key, value=record.value, headers=list(record.headers))


def _open_transaction(service: Service) -> None:
    """Publish a record in a transaction that stays open. Readers of committed records stop before it."""
    producer = KafkaProducer(
        bootstrap_servers=service.kafka.bootstrap_servers, transactional_id="sick", transaction_timeout_ms=120_000
    )
    service.held.callback(producer.close)
    producer.init_transactions()
    producer.begin_transaction()
    producer.send(_TOPICS.snapshots, value=b"{}", partition=HELD_PARTITION).get(timeout=10)
    service.held.callback(producer.abort_transaction)


def _lags(seen: Seen, _: object) -> bool:
    return any(
        value >= 1
        for (_, series), value in seen.highest.items()
        if series.startswith("orderflow_consumer_lag_records{")
        and f'partition="{HELD_PARTITION}"' in series
        and _TOPICS.snapshots in series
    )


# -- Topics ------------------------------------------------------------------------------------------------------


def _set_topic(service: Service, topic: str, name: str, value: str) -> None:
    admin = KafkaAdminClient(bootstrap_servers=service.kafka.bootstrap_servers)
    admin.alter_configs([ConfigResource(ConfigResourceType.TOPIC, topic, configs={name: value})])
    admin.close()


def _takes_nothing(service: Service) -> None:
    _set_topic(service, _TOPICS.transitions, "max.message.bytes", "10")
    service.held.callback(_set_topic, service, _TOPICS.transitions, "max.message.bytes", "1048588")


# -- Rows --------------------------------------------------------------------------------------------------------


class _BrokenRow:
    """A shipped order whose facts no version can read. Mirakl then shows a change of it."""

    def __init__(self) -> None:
        self._order_id, self._facts = "", ""

    def begin(self, service: Service) -> None:
        row = next(one for one in order_lists.latest(service.store, shop="alpha", states=["shipped"]))
        self._order_id = row.order_id
        with service.database() as connection:
            found = connection.execute("SELECT facts FROM orders WHERE id = %s", (row.key,)).fetchone()
            assert found
            self._facts = found[0]
            connection.execute("UPDATE orders SET facts = '{\"broken' WHERE id = %s", (row.key,))
        service.simulated.mirakl["alpha"].mark_received(self._order_id)

    def heal(self, service: Service) -> None:
        with service.database() as connection:
            connection.execute(
                "UPDATE orders SET facts = %s WHERE order_id = %s AND shop = 'alpha'", (self._facts, self._order_id)
            )
        service.orderflow("orders", "replan", self._order_id, "--shop", "alpha")

    def is_told(self, _: object, service: Service) -> bool:
        return QUARANTINED in order_rows.attention(service.store).get(("alpha", self._order_id), ())

    def is_well(self, _: object, service: Service) -> bool:
        return not self.is_told(_, service)


_ROW = _BrokenRow()


def _at_rest(service: Service) -> None:
    """Pause alpha, and give it many orders whose acceptance is due."""
    service.orderflow("shops", "pause", "alpha", "--reason", "a test", "--yes")
    with service.database() as connection:
        like = connection.execute(
            "SELECT order_key FROM commands c JOIN orders o ON o.id = c.order_key WHERE o.shop = 'alpha' LIMIT 1"
        ).fetchone()
        assert like
        _copy(connection, "orders", like[0], id="900000000 + n", order_id="'REST-' || n", wake_at="NULL")
        _copy(
            connection,
            "commands",
            like[0],
            id="900000000 + n",
            order_key="900000000 + n",
            state="'open'",
            lease_token="NULL",
            lease_until="NULL",
            next_at="now()",
            give_up_at="now() + interval '1 day'",
        )
        connection.execute("ANALYZE orders, commands")


def _copy(connection: psycopg.Connection[Any], table: str, like: int, **columns: str) -> None:
    """Insert AT_REST rows like one of this order, with these expressions in place of its values."""
    names = [
        name
        for (name,) in connection.execute(
            "SELECT column_name FROM information_schema.columns WHERE table_name = %s AND is_generated = 'NEVER'",
            (table,),
        )
    ]
    key = "id" if table == "orders" else "order_key"
    values = ", ".join(columns.get(name, f"one.{name}") for name in names)
    connection.execute(
        f"INSERT INTO {table} ({', '.join(names)}) SELECT {values} FROM generate_series(1, {AT_REST}) AS n,"
        f" (SELECT * FROM {table} WHERE {key} = {like} LIMIT 1) AS one".encode()
    )


def _works_again(service: Service) -> None:
    with service.database() as connection:
        for table, key in (("commands", "order_key"), ("orders", "id")):
            connection.execute(f"DELETE FROM {table} WHERE {key} > 900000000".encode())
    service.orderflow("shops", "resume", "alpha", "--reason", "a test", "--yes")


RECORDS = (
    Sickness(
        "record-unusable",
        "a record of alpha that is no JSON",
        "an event that cannot be read: this record alone is a dead letter",
        _unusable(1),
        seconds=10.0,
        short_seconds=6.0,
        signs=(grows("orderflow_dead_letters_total"), _dead_letter("not_json")),
    ),
    Sickness(
        "records-unusable",
        "200 records of alpha that are no JSON",
        "a broken publisher of one shop: its unusable records are set aside, and all orders go on",
        _unusable(200),
        seconds=12.0,
        signs=(grows("orderflow_dead_letters_total"), _dead_letter("set_aside", 100)),
    ),
    Sickness(
        "partition-unreadable",
        f"partition {UNREADABLE_PARTITION} of the snapshots",
        "a record that the client cannot read: its partition stops alone, and a person can pass the record",
        _unreadable_record,
        _pass_the_record,
        touches=Touch("orders of this partition", lambda life: snapshots_partition(life) == UNREADABLE_PARTITION),
        signs=(metric("orderflow_progress_stopped{"), Sign("offsets list: record_unreadable", _is_shown_as_unreadable)),
        cured=(_dead_letter(RECORD_UNREADABLE),),
    ),
    Sickness(
        "record-long-tracking",
        "a tracking number of 6,000 bytes",
        "a valid event that no index could hold: it is applied as any other, and its tracking is sent",
        _long_tracking,
        seconds=10.0,
        unseen="nothing fails, so nothing has to be shown",
    ),
    Sickness(
        "record-reused-id",
        "two events of alpha with one id",
        "an event whose id is that of an event of another order: it is a dead letter, and not dropped in silence",
        _reused_id,
        seconds=10.0,
        signs=(grows("orderflow_dead_letters_total"), _dead_letter("not_applicable")),
    ),
    Sickness(
        "transaction-left-open",
        f"partition {HELD_PARTITION} of the snapshots",
        "a publisher leaves a transaction open: records behind it wait, those of other partitions do not",
        _open_transaction,
        touches=Touch("orders of this partition", lambda life: snapshots_partition(life) == HELD_PARTITION),
        signs=(Sign("metric orderflow_consumer_lag_records of this partition", _lags),),
    ),
    Sickness(
        "topic-takes-nothing",
        "the topic of the transitions",
        "Kafka refuses the records for other teams: they wait in the outbox, and orders go on",
        _takes_nothing,
        seconds=14.0,
        signs=(metric("orderflow_outbox_unpublished{"), logged("loop_failed", loop="relay")),
    ),
    Sickness(
        "row-unreadable",
        "the row of one order",
        "an order that no version can read: it is quarantined, and a person can plan it again",
        _ROW.begin,
        _ROW.heal,
        seconds=12.0,
        signs=(
            logged("order_quarantined"),
            Sign("attention: quarantined", _ROW.is_told),
        ),
        cured=(Sign("the order is planned again", _ROW.is_well),),
    ),
    Sickness(
        "shop-at-rest",
        f"alpha is paused, and {AT_REST:,} of its calls are due",
        "a shop at rest costs the others nothing",
        _at_rest,
        _works_again,
        shops=("beta",),
        signs=(metric('orderflow_commands_open{command="', AT_REST / 2),),
        recovery_seconds=60.0,
    ),
)
