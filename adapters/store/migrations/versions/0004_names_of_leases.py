"""Renames the leases of pollers: poll:SHOP becomes poll/SHOP, and poller:ID becomes member/poller/ID.

If the lease of a shop had two names, two processes could poll the shop at the same time. So the rows are renamed, and
from then on a constraint refuses the old names. A poller of the previous version fails when it next renews its lease
(`loop_broken`, IntegrityError), and its run ends without a new cursor. A new poller takes the lease over when it runs
out, after 30 s by default. Processes of the previous version with other roles go on, but are not ready any more:
`/ready` compares the revision.
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
        op.execute("LOCK TABLE leases IN ACCESS EXCLUSIVE MODE")  # no lease is renewed before the constraint exists
    leases = sa.table("leases", sa.column("name", sa.Text()))
    name = leases.c.name
    for old, new in RENAMED.items():
        rest = sa.func.substr(name, len(old) + 1)
        op.execute(sa.update(leases).where(sa.func.substr(name, 1, len(old)) == old).values(name=new + rest))
    # SQLite cannot add a constraint to a table, so the table is recreated there. SQLite serves one process, so no other
    # process is disturbed.
    recreate: Literal["always", "never"] = "always" if is_sqlite else "never"
    with op.batch_alter_table("leases", recreate=recreate) as batch:
        batch.create_check_constraint(
            op.f("ck_leases_name_is_new"), "substr(name, 1, 5) <> 'poll:' AND substr(name, 1, 7) <> 'poller:'"
        )
