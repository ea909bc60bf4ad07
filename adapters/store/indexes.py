"""The indexes of the tables. Alembic's revisions in migrations/ create them; a test compares both.

They stand apart from the tables because no statement needs them, and each command would wait for them: for a partial
index SQLAlchemy imports the dialect of PostgreSQL, also on SQLite.
"""

from typing import Final

import sqlalchemy as sa

from adapters.store import schema as s


def _partial(name: str, *columns: sa.Column[object] | sa.TextClause, where: str, unique: bool = False) -> sa.Index:
    """An index of the rows for which `where` holds. SQLAlchemy has an argument for each engine."""
    return sa.Index(name, *columns, unique=unique, sqlite_where=sa.text(where), postgresql_where=sa.text(where))


_o, _c, _d, _w = s.orders.c, s.commands.c, s.dead_letters.c, s.names.c

ORDERS: Final = (
    sa.Index("ix_orders_state", _o.shop, _o.state, _o.entered_at),
    _partial("ix_orders_read_after", _o.shop, _o.read_after, where="read_after IS NOT NULL"),
    _partial("ix_orders_wake_at", _o.wake_at, where="wake_at IS NOT NULL"),
    _partial("ix_orders_planned_by", _o.shop, _o.planned_by, where="state NOT IN ('shipped', 'refused', 'canceled')"),
    _partial("ix_orders_deadline", _o.shop, _o.deadline_kind, _o.deadline, where="deadline IS NOT NULL"),
    _partial("ix_orders_attention", _o.shop, where="attention != '[]'"),
    _partial(
        "ix_orders_urgency",
        _o.urgency,
        sa.text("(deadline IS NULL)"),
        _o.deadline,
        _o.needs_since,
        _o.id,
        where="attention != '[]' AND urgency_of = CAST(version AS TEXT) || attention",
    ),
    _partial(
        "ix_orders_no_urgency", _o.id, where="attention != '[]' AND urgency_of != CAST(version AS TEXT) || attention"
    ),
    sa.Index("ix_orders_updated_at", _o.updated_at, _o.id),
    _partial("ix_orders_unnamed", _o.id, where="named <> version"),
)

#: Of the words of the names. SQLite has no such index.
WORDS: Final = sa.Index(
    "ix_names_words",
    sa.func.array_to_tsvector(sa.func.string_to_array(_w.names, sa.literal_column(r"E'\n'"))),
    postgresql_using="gin",
).ddl_if(dialect="postgresql")

COMMANDS: Final = (
    _partial("uq_commands_one_leased", _c.order_key, unique=True, where="state = 'leased'"),
    _partial("ix_commands_lane", _c.shop, _c.kind, _c.next_at, _c.id, where="state IN ('open', 'leased')"),
)

DEAD_LETTERS: Final = _partial("ix_dead_letters_open", _d.source, _d.reason, where="state = 'open'")

OUTBOX: Final = sa.Index("ix_outbox_topic", s.outbox.c.aggregatetype, s.outbox.c.id)
