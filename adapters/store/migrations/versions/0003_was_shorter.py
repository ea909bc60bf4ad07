"""Adds a column to `progress` which says that the log once ended before the stored position.

Until now the text " was shorter" at the end of `log_id` said so. Rows with this text lose it and get the column.

Runs before the new code starts. Processes of the previous version go on during and after it, with two limits:

- They do not read the column. If one of them takes over a partition that is stopped with `log_shorter`, it reads this
  partition again as soon as the log has grown past the position. So before the migration, reset such partitions
  (`orderflow offsets reset`) or stop the old processes.
- They still write the text. If one of them stops a partition, the new version shows this partition as
  `topic_recreated` and does not read it either.
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
