"""Who changed a switch, an offset, a dead letter or an account at Mirakl, when and why. Rows are never deleted."""

from datetime import datetime

import sqlalchemy as sa

from adapters.store import schema as s
from adapters.store.transaction import Transaction


def add(tx: Transaction, *, who: str, act: str, subject: str, why: str, at: datetime) -> None:
    """Add a row: who did what (`act`) to what (`subject`), when and why."""
    tx.execute(sa.insert(s.audit).values(at=at, who=who, act=act, subject=subject, why=why))
