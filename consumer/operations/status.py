"""What goes on now: each shop with its orders, calls and polls; the log; the leases; and what stands still.

Everything is read from the store and the log, and so holds for all processes together. Only loops, callbacks
and pauses of accounts are kept by each process for itself: those of the process on this machine are read from its
/metrics.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from adapters.errors import LogUnavailable
from adapters.store import backlog as backlog_rows
from adapters.store import shops as shop_rows
from adapters.store.backlog import Backlog
from adapters.store.counts import StoredCounts, Waiting, stored_counts
from adapters.store.shops import ShopRow
from adapters.store.transaction import Store
from consumer.config import Settings
from consumer.leases import poll_lease
from consumer.operations.offsets import Log, PartitionStatus, partition_statuses
from consumer.operations.pauses import Pause, read_pauses
from consumer.operations.process import Process
from consumer.operations.standstill import near_deadlines, of_callbacks, of_process, of_relay, of_shop, of_unconfigured


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
    still: list[str] = []
    for row, shop in zip(rows, shops, strict=True):
        if row.name in settings.shops:
            still += of_shop(row, shop.calls, settings, now, is_polled=bool(shop.poller))
            still += near_deadlines(row, shop.calls, shop.pauses, process, now)
    still += of_unconfigured(counts, settings.shops)
    known = {shop.name for shop in shops}
    still += [f"{name}: never polled" for name in sorted(settings.shops) if name not in known]
    partitions: list[PartitionStatus] = []
    try:
        partitions = partition_statuses(store, log, group, [settings.topics.snapshots, settings.topics.oms_events])
    except LogUnavailable as error:
        still.append(f"the log does not answer: {error}")
    still += [f"{one.topic}/{one.partition}: stops, {one.mismatch}" for one in partitions if one.mismatch]
    if settings.log.kind == "kafka":
        still += of_relay(counts, leases, now)
    if process is not None:
        still += of_process(process, now)
        still += of_callbacks(process, settings.shops.keys(), now)
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
