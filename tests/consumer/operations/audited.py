"""What the table `audit` holds, for tests."""

from typing import NamedTuple

import sqlalchemy as sa

from adapters.store import schema
from adapters.store.transaction import Store


class Audited(NamedTuple):
    """One row of the table."""

    who: str
    act: str
    subject: str
    why: str


def audited(store: Store) -> list[Audited]:
    """Every row, the oldest first."""
    c = schema.audit.c
    with store.reading() as connection:
        rows = connection.execute(sa.select(c.who, c.act, c.subject, c.why).order_by(c.id))
        return [Audited(row.who, row.act, row.subject, row.why) for row in rows]
