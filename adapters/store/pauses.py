"""Who paused which effects of each shop, when and why, from the audit table."""

from dataclasses import dataclass
from datetime import datetime
from typing import Final

import sqlalchemy as sa

from adapters.store import schema as s
from adapters.store.transaction import Store

#: The acts of the audit table that change the switches of a shop.
_ACTS: Final = ("pause", "resume")


@dataclass(frozen=True, slots=True)
class Switched:
    """One act that paused or resumed effects of a shop. `group` "": every effect."""

    at: datetime
    who: str
    act: str
    shop: str
    group: str
    why: str


def switched(store: Store) -> list[Switched]:
    """Every pause and every resumption, the oldest first. Raises StoreUnavailable."""
    c = s.audit.c
    statement = sa.select(c.at, c.who, c.act, c.subject, c.why).where(c.act.in_(_ACTS)).order_by(c.at, c.id)
    with store.reading() as connection:
        rows = connection.execute(statement).all()
    return [Switched(row.at, row.who, row.act, *_parts(row.subject), row.why) for row in rows]


def _parts(subject: str) -> tuple[str, str]:
    """The shop and the group in the subject of an act: "alpha" or "alpha import"."""
    shop, _, group = subject.partition(" ")
    return shop, group
