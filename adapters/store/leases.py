"""At most one process at a time polls a shop, or relays the outbox: it holds the lease.

A row is never deleted while its name may be taken again, so the token of a name only grows.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

import sqlalchemy as sa

from adapters.errors import Fenced
from adapters.store import bulk
from adapters.store import schema as s
from adapters.store.transaction import Store, Transaction
from statemachine.facts import EPOCH

#: No lease lasts so long (the bounds of its settings in consumer/config/). A lease that ends later than this from now
#: was written while a clock was wrong, and is over.
LONGEST: Final = timedelta(hours=1)


@dataclass(frozen=True, slots=True)
class Lease:
    """A lease as it was taken."""

    name: str
    holder: str
    token: int


def take(tx: Transaction, name: str, holder: str, until: datetime, now: datetime) -> Lease | None:
    """Take a lease, or renew it. Returns None if another process holds it. A new holder gets a higher token."""
    c = s.leases.c
    insert = bulk.insert(tx, s.leases).values(name=name, holder=holder, token=1, until=until)
    taken = insert.on_conflict_do_update(
        index_elements=["name"],
        set_=dict(holder=holder, until=until, token=sa.case((c.holder == holder, c.token), else_=c.token + 1)),
        where=sa.or_(c.holder == holder, is_over(c.until, now)),
    )
    token = tx.execute(taken.returning(c.token)).scalar()
    return None if token is None else Lease(name, holder, token)


def is_over(until: sa.ColumnElement[datetime], now: datetime) -> sa.ColumnElement[bool]:
    """The condition that a lease with this end is over."""
    return sa.or_(until < now, until > now + LONGEST)


def check(tx: Transaction, lease: Lease) -> None:
    """Lock the lease's row until the end of the transaction, so that no other process can take the lease.

    Raises Fenced if the lease was taken by another process or revoked.
    """
    c = s.leases.c
    row = tx.execute(sa.select(c.holder, c.token).where(c.name == lease.name).with_for_update()).first()
    if row is None or (row.holder, row.token) != (lease.holder, lease.token):
        raise Fenced(f"the lease {lease.name} has another holder")


def release(tx: Transaction, lease: Lease) -> None:
    """End a lease now, so that the next holder need not wait until it runs out. The row stays, and keeps its token."""
    c = s.leases.c
    mine = (c.name == lease.name, c.holder == lease.holder, c.token == lease.token)
    tx.execute(sa.update(s.leases).where(*mine).values(holder="", until=EPOCH))


def revoke(tx: Transaction, name: str) -> None:
    """End a lease that another process holds. The next write of that process under the lease raises Fenced.

    The other process may take the lease again.
    """
    tx.execute(sa.update(s.leases).where(s.leases.c.name == name).values(holder="", until=EPOCH))


def delete_ended(tx: Transaction, prefix: str, before: datetime) -> None:
    """Delete the leases with this prefix that ended before `before`.

    Only for names that no process takes again, because the token of a deleted name would begin at 1 again.
    """
    c = s.leases.c
    tx.execute(sa.delete(s.leases).where(c.name.startswith(prefix, autoescape=True), c.until < before))


def count(store: Store, prefix: str, now: datetime) -> int:
    """Return how many leases with this prefix are held."""
    c = s.leases.c
    held = (c.name.startswith(prefix, autoescape=True), sa.not_(is_over(c.until, now)))
    with store.reading() as connection:
        return connection.execute(sa.select(sa.func.count()).select_from(s.leases).where(*held)).scalar_one()
