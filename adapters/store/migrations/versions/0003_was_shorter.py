"""Progress notes in a column of its own that the log was seen to be shorter than what was applied of it.

Until now the text " was shorter" behind `log_id` said so. Rows that have it get the column instead.

Runs before the new code: processes of the version before go on beside it, with two limits. They do not read the column:
where one of them takes over a partition that is stopped with `log_shorter`, it reads on as soon as the log has grown
behind the position. So reset such partitions (`orderflow offsets reset`), or stop the old processes, before the
migration. And where one of them stops a partition it still writes the text: the new version shows that partition as
`topic_recreated`, and does not read it either.
"""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

SUFFIX = " was shorter"


def upgrade() -> None:
    op.add_column("progress", sa.Column("was_shorter", sa.Boolean(), server_default=sa.false(), nullable=False))
    progress = sa.table("progress", sa.column("log_id", sa.Text()), sa.column("was_shorter", sa.Boolean()))
    log_id = progress.c.log_id
    op.execute(
        sa.update(progress)
        .where(log_id.endswith(SUFFIX))
        .values(was_shorter=True, log_id=sa.func.substr(log_id, 1, sa.func.length(log_id) - len(SUFFIX)))
    )
