"""What goes on now: each shop with its orders, calls and polls; the log; the leases; and what stands still.

Everything is read from the store and the log, and so holds for all processes together. Only loops and pauses of
accounts are kept by each process for itself: those of the process on this machine are read from its /metrics.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from adapters.errors import LogUnavailable
from adapters.store import backlog as backlog_rows
from adapters.store import shops as shop_rows
from adapters.store.backlog import Backlog
from adapters.store.counts import StoredCounts, Waiting, stored_counts, unconfigured
from adapters.store.shops import WRONG_ACCOUNT, ShopRow
from adapters.store.transaction import Store
from consumer.config import Settings
from consumer.hooks import BEAT_SECONDS
from consumer.leases import RELAY, poll_lease
from consumer.operations.offsets import Log, PartitionStatus, partition_statuses
from consumer.operations.pauses import Pause, read_pauses
from consumer.operations.process import Process

#: A shop stands still if its last successful poll ended more than so many of its intervals ago.
STALE_INTERVALS: Final = 10
#: A call that may be made stands still if it was not made for this time.
DUE_FOR: Final = timedelta(minutes=15)
#: A record of the outbox stands still if it was not published for this time.
UNPUBLISHED_FOR: Final = timedelta(minutes=5)


@dataclass(frozen=True, slots=True)
class ShopStatus:
    """One shop of the store. A configured shop that the store does not know yet is named in `Status.still` only."""

    name: str
    endpoint: str
    shop_id: int
    effects: bool
    paused: tuple[str, ...]
    pauses: tuple[Pause, ...]  # who paused which effects, since when and why
    polled_at: datetime | None
    watermark: datetime | None
    poller: str  # the process that polls the shop; "": none
    states: Mapping[str, Waiting]
    attention: Mapping[str, Waiting]
    calls: tuple[Backlog, ...]


@dataclass(frozen=True, slots=True)
class Status:
    """All shops, the log and the processes. `still`: what stands still, one sentence each."""

    at: datetime
    shops: tuple[ShopStatus, ...]
    dead_letters: tuple[tuple[str, str, int], ...]  # source, reason, how many
    outbox: Mapping[str, Waiting]
    partitions: tuple[PartitionStatus, ...]
    leases: Mapping[str, str]
    process: Process | None  # None: no orderflow answers at the port of [web]
    still: tuple[str, ...]


def status(settings: Settings, store: Store, log: Log, group: str, *, now: datetime, process: Process | None) -> Status:
    """Read what goes on. Raises StoreUnavailable. If the log does not answer, `still` says so."""
    counts, leases = stored_counts(store), backlog_rows.holders(store, now)
    calls, rows = backlog_rows.backlogs(store, now), shop_rows.list_all(store)
    pauses = read_pauses(store, rows, {name: shop.effects for name, shop in settings.shops.items()})
    shops = tuple(_shop(row, counts, calls, leases, pauses.get(row.name, ())) for row in rows)
    still = [one for shop in shops if shop.name in settings.shops for one in _of_shop(shop, settings, now)]
    still += _of_unconfigured(counts, settings)
    known = {shop.name for shop in shops}
    still += [f"{name}: never polled" for name in sorted(settings.shops) if name not in known]
    partitions: list[PartitionStatus] = []
    try:
        partitions = partition_statuses(store, log, group, [settings.topics.snapshots, settings.topics.oms_events])
    except LogUnavailable as error:
        still.append(f"the log does not answer: {error}")
    still += [f"{one.topic}/{one.partition}: stops, {one.mismatch}" for one in partitions if one.mismatch]
    if settings.log.kind == "kafka":
        still += _of_relay(counts, leases, now)
    if process is not None:
        still += _of_process(process, now)
    return Status(
        at=now,
        shops=shops,
        dead_letters=tuple((*key, count) for key, count in sorted(counts.dead_letters.items())),
        outbox=counts.outbox,
        partitions=tuple(partitions),
        leases=leases,
        process=process,
        still=tuple(still),
    )


def _shop(
    row: ShopRow, counts: StoredCounts, calls: Sequence[Backlog], leases: Mapping[str, str], pauses: Sequence[Pause]
) -> ShopStatus:
    def of(found: Mapping[tuple[str, str], Waiting]) -> dict[str, Waiting]:
        return {str(key): waiting for (shop, key), waiting in sorted(found.items()) if shop == row.name}

    return ShopStatus(
        name=row.name,
        endpoint=row.endpoint,
        shop_id=row.shop_id,
        effects=row.effects,
        paused=row.paused,
        pauses=tuple(pauses),
        polled_at=row.polled_at,
        watermark=row.watermark,
        poller=leases.get(poll_lease(row.name), ""),
        states=of(counts.in_state),
        attention=of(counts.attention),
        calls=tuple(one for one in calls if one.shop == row.name),
    )


# -- What stands still -------------------------------------------------------------------------------------------


def _of_shop(shop: ShopStatus, settings: Settings, now: datetime) -> Iterator[str]:
    if WRONG_ACCOUNT in shop.paused:
        yield f"{shop.name}: every call waits, because its key belongs to another shop"
    longest = STALE_INTERVALS * timedelta(seconds=settings.shops[shop.name].poll_interval_seconds)
    if shop.polled_at is None:
        yield f"{shop.name}: never polled"
    elif now - shop.polled_at > longest:
        yield f"{shop.name}: no poll has succeeded for {_minutes(now - shop.polled_at)}"
    if not shop.poller:
        yield f"{shop.name}: no process polls it"
    for one in shop.calls:
        is_on = shop.effects and one.kind.group not in shop.paused
        if is_on and one.oldest_due is not None and now - one.oldest_due > DUE_FOR:
            yield f"{shop.name}: {one.kind} has been due for {_minutes(now - one.oldest_due)}"


def _of_unconfigured(counts: StoredCounts, settings: Settings) -> Iterator[str]:
    orders: dict[str, int] = {}
    for (shop, _), waiting in unconfigured(counts, settings.shops).items():
        orders[shop] = orders.get(shop, 0) + waiting.count
    for shop, count in sorted(orders.items()):
        orders_are = "order of it is" if count == 1 else "orders of it are"
        yield f"{shop}: is not in the configuration, and {count} {orders_are} open"


def _of_relay(counts: StoredCounts, leases: Mapping[str, str], now: datetime) -> Iterator[str]:
    if RELAY not in leases:
        yield "no process publishes the outbox"
    for topic, waiting in counts.outbox.items():
        if waiting.oldest is not None and now - waiting.oldest > UNPUBLISHED_FOR:
            yield f"{topic}: {waiting.count} records are not published, the oldest for {_minutes(now - waiting.oldest)}"


def _of_process(process: Process, now: datetime) -> Iterator[str]:
    for loop, beat in sorted(process.beats.items()):
        if now.timestamp() - beat > BEAT_SECONDS:
            yield f"a thread of the loop {loop} of this machine has had no turn for {now.timestamp() - beat:.0f} s"
    yield from (f"the loop {one} of this machine fails" for one in process.failing)
    yield from (f"{shop}: {why} at {system}, in the process of this machine" for system, shop, why in process.resting)


def _minutes(span: timedelta) -> str:
    return f"{span / timedelta(minutes=1):.0f} min"
