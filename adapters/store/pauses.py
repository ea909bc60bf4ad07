"""Who paused which effects of a shop, when and why, from the audit table."""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime

import sqlalchemy as sa

from adapters.store import schema as s
from adapters.store.transaction import Store


@dataclass(frozen=True, slots=True)
class PauseAct:
    """One act that paused effects of a shop. `id`: its row in the audit table."""

    id: int
    at: datetime
    who: str
    why: str


def began(store: Store, shop: str, groups: Collection[str]) -> dict[str, PauseAct]:
    """Return the act with which the present pause of each of these groups began: the first one since the last
    resumption. A group without such an act has no entry.

    Acts of every effect name the shop alone ("alpha"), others the group too ("alpha import"). Only one row of each
    group is read, because the table keeps every act. Raises StoreUnavailable.
    """
    c = s.audit.c
    found: dict[str, PauseAct] = {}
    with store.reading() as connection:
        for group in groups:
            mine = c.subject.in_((shop, f"{shop} {group}"))
            resumed = sa.select(sa.func.coalesce(sa.func.max(c.id), 0)).where(mine, c.act == "resume")
            first = sa.select(c.id, c.at, c.who, c.why).where(mine, c.act == "pause", c.id > resumed.scalar_subquery())
            row = connection.execute(first.order_by(c.id).limit(1)).first()
            if row is not None:
                found[group] = PauseAct(*row)
    return found
