"""The names of orders: which text finds which order, on both engines."""

import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from adapters.store import names as name_rows
from adapters.store import orders as order_rows
from adapters.store import schema as s
from adapters.store import unnamed as unnamed_rows
from adapters.store.transaction import Store
from tests.adapters.store.support import NOW


def order(store: Store, order_id: str = "1-A") -> int:
    with store.transaction() as tx:
        return order_rows.lock(tx, [("alpha", order_id)], NOW)["alpha", order_id].key


def named(store: Store, *names: str, order_id: str = "1-A") -> int:
    key = order(store, order_id)
    with store.transaction() as tx:
        name_rows.add(tx, {key: set(names)})
    return key


def stored(store: Store) -> dict[int, str]:
    with store.reading() as connection:
        return {row.order_key: row.names for row in connection.execute(sa.select(s.names))}


def finds(store: Store, text: str) -> bool:
    return bool(name_rows.find(store, text, 10))


def finds_in_row(store: Store, text: str) -> bool:
    found = sa.select(s.names.c.order_key).where(name_rows.holds_line(text, is_sqlite=store.is_sqlite))
    with store.reading() as connection:
        return connection.execute(found).first() is not None


@pytest.mark.parametrize("text", ["9f-1234-A", "9F-12", "1234-a", " 1234", "RED  mug", "mug_5", "Éa", "50% o'", "\\x"])
def test_a_name_is_found_by_how_it_or_a_word_of_it_begins(store: Store, text: str) -> None:
    names = ("9f-1234-A", "Red Mug_55", "éa", "50% O'Neill", r"\x & y")
    key = named(store, *names)
    assert name_rows.find(store, text, 10) == [key]
    assert name_rows.holds(names, text)


@pytest.mark.parametrize("text", ["", " ", "f-1234", "234", "-A", "mug 55", "%", "_", "'", "':*", "| 9f", "ug"])
def test_nothing_else_finds_it(store: Store, text: str) -> None:
    names = ("9f-1234-A", "Red Mug_55")
    named(store, *names)
    assert name_rows.find(store, text, 10) == []
    assert not name_rows.holds(names, text)


TEXTS = st.text(st.sampled_from("aB1-_' \\%:&|!*(<é\n\x00\ud800"), max_size=6)


@given(names=st.lists(TEXTS, min_size=1, max_size=3), more=st.lists(TEXTS, max_size=2), text=TEXTS)
@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
def test_the_store_finds_what_python_finds(store: Store, names: list[str], more: list[str], text: str) -> None:
    """Housekeeping may not have stored the names yet. Then Python looks at them, and finds the same orders."""
    key = order(store)
    with store.transaction() as tx:
        tx.execute(sa.delete(s.names))
        name_rows.add(tx, {key: names})
        name_rows.add(tx, {key: more})
    expected = name_rows.holds([*names, *more], text)
    assert finds(store, text) == expected
    if not name_rows.is_blank(text):
        assert finds_in_row(store, text) == expected, "without the index it finds the same"


def test_names_are_added_and_never_lost(store: Store) -> None:
    key = named(store, "1-A")
    named(store, "TRACK-1")
    assert finds(store, "1-a")
    assert finds(store, "track-1")
    assert len(stored(store)) == 1
    named(store)
    assert len(stored(store)[key].split("\n")) == 2


def test_an_order_with_very_many_or_very_long_names_is_stored(store: Store) -> None:
    """PostgreSQL refuses a word of more than 2,046 bytes, and more than a megabyte of words. Then no event would be
    applied any more."""
    for number in range(6):
        named(store, "1-A", *(f"{number}-{line}-\U0001f381" * 40 for line in range(3_000)))
    assert len(next(iter(stored(store).values()))) <= 200_000
    assert finds(store, "1-A")
    named(store, "\U0001f381" * 5_000, order_id="2-A")
    assert finds(store, "\U0001f381" * 300)


def test_the_names_of_a_deleted_order_go_with_it(store: Store) -> None:
    """Also if older code deletes it, which does not know the table."""
    key = named(store, "1-A")
    with store.transaction() as tx:
        tx.execute(sa.delete(s.orders).where(s.orders.c.id == key))
    assert stored(store) == {}


def test_at_most_so_many_are_found(store: Store) -> None:
    for number in range(5):
        named(store, "mug", order_id=f"{number}-A")
    assert len(name_rows.find(store, "mug", 3)) == 3


def test_the_names_of_an_order_that_was_written_meanwhile_are_left_for_later(store: Store) -> None:
    keys = [order(store, f"{number}-A") for number in range(2)]
    with store.transaction() as tx:
        tx.execute(sa.update(s.orders).values(version=2))
    with store.transaction() as tx:
        assert name_rows.fill(tx, {(keys[0], 1): {"0-A"}, (keys[1], 2): {"1-A"}}) == 1
    assert [row.order_id for row, _ in unnamed_rows.page(store, 0, 10)] == ["0-A"]
    assert not finds(store, "0-a")
    assert finds(store, "1-a")
