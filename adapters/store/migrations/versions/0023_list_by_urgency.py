"""Adds the index of the list of orders that need a person, and the index of those whose urgency is not stored.

Runs before the new code starts, and does not disturb the processes of the previous version. At first the second index
holds every order that needs a person.
"""

import sqlalchemy as sa

from adapters.store.migrations.online import create_index

revision = "0023"
down_revision = "0022"
branch_labels = None
depends_on = None
oldest = "0008"

_NEEDS_A_PERSON = "attention != '[]'"


def upgrade() -> None:
    columns: list[str | sa.TextClause] = ["urgency", sa.text("(deadline IS NULL)"), "deadline", "needs_since", "id"]
    known = f"{_NEEDS_A_PERSON} AND urgency_of = CAST(version AS TEXT) || attention"
    create_index("ix_orders_urgency", "orders", columns, known)
    unknown = f"{_NEEDS_A_PERSON} AND urgency_of != CAST(version AS TEXT) || attention"
    create_index("ix_orders_no_urgency", "orders", ["id"], unknown)
