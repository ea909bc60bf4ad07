"""Leases of pollers have the names poll/SHOP and member/poller/ID, where they had poll:SHOP and poller:ID.

Under two names two processes would poll one shop. So the rows are renamed, and the old names are refused from here on:
a poller of the version before fails at its next renewal (loop_broken, IntegrityError), and its run ends without a new
cursor. The new pollers take the leases over when they end, after 30 s by default. Other roles of the version before
go on.
"""

from typing import Literal

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

RENAMED = {"poll:": "poll/", "poller:": "member/poller/"}


def upgrade() -> None:
    is_sqlite = op.get_context().dialect.name == "sqlite"
    if not is_sqlite:
        op.execute("LOCK TABLE leases IN ACCESS EXCLUSIVE MODE")  # no renewal between the update and the constraint
    leases = sa.table("leases", sa.column("name", sa.Text()))
    name = leases.c.name
    for old, new in RENAMED.items():
        rest = sa.func.substr(name, len(old) + 1)
        op.execute(sa.update(leases).where(sa.func.substr(name, 1, len(old)) == old).values(name=new + rest))
    # SQLite adds no constraint to a table: there the table is made again, which one process alone does.
    recreate: Literal["always", "never"] = "always" if is_sqlite else "never"
    with op.batch_alter_table("leases", recreate=recreate) as batch:
        batch.create_check_constraint(
            op.f("ck_leases_name_is_new"), "substr(name, 1, 5) <> 'poll:' AND substr(name, 1, 7) <> 'poller:'"
        )
