"""Why due calls are not made now, of all orders at once: no worker runs, or a shop is paused."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Final

from adapters.store import backlog as backlog_rows
from adapters.store import shops as shop_rows
from adapters.store.backlog import Backlog
from adapters.store.shops import WRONG_ACCOUNT, ShopRow
from adapters.store.transaction import Store
from consumer.leases import RELAY
from consumer.operations.pauses import Pause, read_pauses

#: What a person reads while no worker runs. Every worker process takes or awaits the lease RELAY for the housekeeping.
NO_WORKER: Final = (
    "No worker runs now: no call is made until `orderflow run` runs again. `orderflow status` says what stands still."
)


def no_worker(store: Store, now: datetime) -> bool:
    """Whether no process holds the lease of the workers' housekeeping. After a kill that is known when its lease ends
    (`[leases] seconds`); for some seconds it is also so while one worker process takes the lease over from another.

    Raises StoreUnavailable.
    """
    return RELAY not in backlog_rows.holders(store, now)


def paused_shops(store: Store, configured: Mapping[str, str | None], shop: str | None, now: datetime) -> Iterator[str]:
    """A sentence for each shop of which people paused calls, or of which calls wait because they are switched off.

    `configured`: the setting `effects` of each configured shop. `shop`: only this shop. Raises StoreUnavailable.
    """
    rows = [row for row in shop_rows.list_all(store) if shop in (None, row.name) and (row.paused or not row.effects)]
    if not rows:  # as nearly always; this saves the other reads
        return
    pauses, calls = read_pauses(store, rows, configured), backlog_rows.backlogs(store, now)
    for row in rows:
        waiting = [one for one in calls if one.shop == row.name and not _is_on(row, one)]
        if waiting or row.effects:
            yield _sentence(row, pauses.get(row.name, ()), waiting)


def _is_on(row: ShopRow, call: Backlog) -> bool:
    return row.effects and call.kind.group not in row.paused


def _sentence(row: ShopRow, pauses: Sequence[Pause], waiting: Sequence[Backlog]) -> str:
    why = "its key belongs to another shop" if WRONG_ACCOUNT in row.paused else "; ".join(map(str, pauses))
    calls = ", ".join(f"{one.live} {one.kind}" for one in waiting) or "no call"
    return f"{row.name} is paused ({why}). Waiting: {calls}."
