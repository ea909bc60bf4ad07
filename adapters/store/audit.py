"""Who changed a switch, an offset, a dead letter or an account at Mirakl, when and why. Rows are never deleted."""

from dataclasses import dataclass
from datetime import datetime

import sqlalchemy as sa

from adapters.store import schema as s
from adapters.store.transaction import Store, Transaction


@dataclass(frozen=True, slots=True)
class AuditRow:
    """One change that a person, or orderflow itself, made."""

    at: datetime
    who: str
    act: str
    subject: str
    why: str


def add(tx: Transaction, *, who: str, act: str, subject: str, why: str, at: datetime) -> None:
    """Add a row: who did what (`act`) to what (`subject`), when and why."""
    tx.execute(sa.insert(s.audit).values(at=at, who=who, act=act, subject=subject, why=why))


def since(store: Store, instant: datetime) -> list[AuditRow]:
    """Return the rows since this instant, the newest first."""
    c = s.audit.c
    statement = (
        sa.select(c.at, c.who, c.act, c.subject, c.why).where(c.at >= instant).order_by(c.at.desc(), c.id.desc())
    )
    with store.reading() as connection:
        return [AuditRow(*row) for row in connection.execute(statement)]
