"""What people call an order, for `orders list --text`: a row for each order, so that a search reads no facts.

`orders.named` is the version of the order whose names are stored. It is lower than `orders.version` if code of before
0020 wrote the order last, or if the order is older than the table. Housekeeping stores the names of such orders, and a
search looks at their facts until then.
"""

import re
from collections.abc import Collection, Iterable, Mapping
from typing import Any, Final

import sqlalchemy as sa

from adapters.messages.text import storable
from adapters.store import bulk
from adapters.store import schema as s
from adapters.store.transaction import Store, Transaction

#: The most characters of a name that count, of all names that one write adds, and of a row that gets more names.
#: PostgreSQL refuses a word of more than 2,046 bytes, and a row whose words have more than a megabyte.
LONGEST: Final = 200
_MOST_ADDED: Final = 50_000
_FULL: Final = 150_000
#: A shorter end of a name, as "-A" of an order's id, finds too many orders to be of use.
_SHORTEST_END: Final = 4
_LATER_WORD: Final = re.compile(r"(?<=[\W_])[^\W_]")


# -- Which text finds a name -------------------------------------------------------------------------------------


def holds(names: Iterable[str], text: str) -> bool:
    """Whether one of these names, or what follows from one of its words on, begins with the text. Case does not
    count."""
    wanted = _plain(text)
    return bool(wanted) and any(end.startswith(wanted) for name in names for end in _ends(_plain(name)))


def _plain(name: str) -> str:
    plain = storable(name, LONGEST).casefold()
    return (plain if plain.isascii() and " " not in plain else " ".join(plain.split()))[:LONGEST]


def _ends(name: str) -> list[str]:
    """Return the name, and its end from each of its later words on: "po-77-alpha", "77-alpha", "alpha"."""
    if name.isalnum():
        return [name]
    return [name, *(name[one.start() :] for one in _LATER_WORD.finditer(name, 1, len(name) - _SHORTEST_END + 1))]


def _lines(names: Collection[str]) -> str:
    """The names of an order as its row holds them."""
    lines = dict.fromkeys(end for name in names if (plain := _plain(name)) for end in _ends(plain))
    text = "\n".join(lines)
    if len(text) <= _MOST_ADDED:
        return text
    return "\n".join(sorted(lines, key=len))[:_MOST_ADDED].rpartition("\n")[0]  # the long ones are left out


# -- Writes ------------------------------------------------------------------------------------------------------


def add(tx: Transaction, names: Mapping[int, Collection[str]]) -> None:
    """Add names to those of orders, by row key. Old names stay: people may still call the order by them."""
    rows = [dict(order_key=key, names=lines) for key, mine in sorted(names.items()) if (lines := _lines(mine))]
    bulk.insert_rows(tx, s.names, rows, _append)


def _append(statement: Any) -> Any:
    stored, added = s.names.c.names, statement.excluded.names
    return statement.on_conflict_do_update(
        index_elements=["order_key"],
        set_={"names": stored + "\n" + added},
        where=sa.func.length(stored) < _FULL,
    )


def fill(tx: Transaction, names: Mapping[tuple[int, int], Collection[str]]) -> int:
    """Store the names of orders by (row key, version). Returns how many: orders that were written meanwhile, or that
    another transaction holds locked, are left for later."""
    o = s.orders.c
    mine = sa.select(o.id, o.version).where(bulk.among(o.id, is_sqlite=tx.is_sqlite), o.named != o.version)
    locked = mine.order_by(o.id).with_for_update(skip_locked=True)
    found = [tuple(row) for row in tx.execute(locked, bulk.numbers({key for key, _ in names}))]
    same = [row for row in found if row in names]
    rows = [dict(order_key=key, names=lines) for key, version in same if (lines := _lines(names[key, version]))]
    bulk.insert_rows(tx, s.names, rows, _instead)
    if same:
        named = sa.update(s.orders).where(bulk.among(o.id, is_sqlite=tx.is_sqlite)).values(named=o.version)
        tx.execute(named, bulk.numbers([key for key, _ in same]))
    return len(same)


def _instead(statement: Any) -> Any:
    return statement.on_conflict_do_update(index_elements=["order_key"], set_={"names": statement.excluded.names})


# -- Reads -------------------------------------------------------------------------------------------------------


def is_blank(text: str) -> bool:
    """Whether the text finds no name at all."""
    return not _plain(text)


def find(store: Store, text: str, limit: int | None) -> list[int]:
    """Return the row keys of at most `limit` orders with a name that the text finds (`holds`). None: of all."""
    if is_blank(text):
        return []
    statement = sa.select(s.names.c.order_key).where(matches(text, is_sqlite=store.is_sqlite)).limit(limit)
    with store.reading() as connection:
        return list(connection.execute(statement).scalars())


def matches(text: str, *, is_sqlite: bool) -> sa.ColumnElement[bool]:
    """The condition that the text finds a name of a row of `names`, if the text is not blank.

    One of the lines begins with it. PostgreSQL asks the index of all lines, SQLite reads every row.
    """
    names, plain = s.names.c.names, _plain(text)
    if is_sqlite:
        return holds_line(text, is_sqlite=True)
    from sqlalchemy.dialects.postgresql import TSQUERY  # noqa: PLC0415 - a command on SQLite need not wait for it

    lines = sa.func.array_to_tsvector(sa.func.string_to_array(names, sa.literal_column(r"E'\n'")))
    quoted = plain.replace("\\", "\\\\").replace("'", "''")
    return lines.op("@@", is_comparison=True)(sa.cast(f"'{quoted}':*", TSQUERY))


def holds_line(text: str, *, is_sqlite: bool) -> sa.ColumnElement[bool]:
    """As `matches`, for rows that are read anyway, without the index: it takes a tenth of the time for each."""
    find = sa.func.instr if is_sqlite else sa.func.strpos
    return find("\n" + s.names.c.names, f"\n{_plain(text)}") > 0
