"""Makes the next version of the code: what tests run beside this one, on one store."""

import re
import shutil
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
PACKAGES = ("statemachine", "adapters", "consumer")


def _replaced(file: Path, old: str, new: str) -> None:
    text = file.read_text()
    assert text.count(old) == 1, f"{file}: {old}"
    file.write_text(text.replace(old, new))


def make_next_version(folder: Path) -> Path:
    """Copy the code into this folder, with one fact, one member of a line, and one column more. Returns the folder."""
    for package in PACKAGES:
        shutil.copytree(REPOSITORY / package, folder / package, ignore=shutil.ignore_patterns("__pycache__"))
    facts = folder / "statemachine/facts.py"
    _replaced(facts, "    dispatches: tuple[", "    gifts: tuple[str, ...] = ()\n    dispatches: tuple[")
    shown = "    shipped: bool = False  # Mirakl shows a shipped_date\n"
    _replaced(facts, shown, f"{shown}    gift: bool = False\n")
    versions = folder / "adapters/store/migrations/versions"
    head = max(re.findall(r"^\d{4}", "\n".join(file.name for file in versions.iterdir()), re.MULTILINE))
    number = f"{int(head) + 1:04}"
    (versions / f"{number}_gifts.py").write_text(MIGRATION.format(number=number, head=head, oldest=head))
    _replaced(folder / "adapters/store/migrating.py", f'NEEDED: Final = "{head}"', f'NEEDED: Final = "{number}"')
    column = '    sa.Column("wake_at", Instant),\n'
    added = '    sa.Column("gift", sa.Boolean, nullable=False, server_default=sa.false()),\n'
    _replaced(folder / "adapters/store/schema.py", column, column + added)
    return folder


MIGRATION = """\
import sqlalchemy as sa
from alembic import op

revision = "{number}"
down_revision = "{head}"
branch_labels = None
depends_on = None
oldest = "{oldest}"


def upgrade() -> None:
    op.add_column("orders", sa.Column("gift", sa.Boolean, nullable=False, server_default=sa.false()))
"""
