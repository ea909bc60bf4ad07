"""The names of orders are stored with what gives them, and `orders list --text` finds them through the whole path."""

import json
from dataclasses import replace
from itertools import product
from typing import Any

import pytest
import sqlalchemy as sa

from adapters.errors import Fenced
from adapters.store import names as name_rows
from consumer import bootstrap
from consumer.applying import names
from consumer.applying.names import Naming
from consumer.operations import listing
from consumer.operations.listing import Wanted, find_orders
from tests.consumer.rig import Rig


def found(rig: Rig, text: str, limit: int | None = None) -> list[str]:
    return [one.row.order_id for one in find_orders(rig.store, Wanted(text=text), {}, rig.clock.now(), limit)]


def by_index(rig: Rig, text: str) -> bool:
    return bool(name_rows.find(rig.store, text, 10))


def sql(rig: Rig, statement: str) -> list[tuple[object, ...]]:
    with rig.store.writing() as connection:
        done = connection.execute(sa.text(statement))
        return [tuple(row) for row in done] if done.returns_rows else []


def unnamed(rig: Rig) -> int:
    return len(sql(rig, "SELECT id FROM orders WHERE named <> version"))


def written_by_older_code(rig: Rig) -> None:
    """What the version before 0020 leaves: it does not know the column, nor the table."""
    sql(rig, "DELETE FROM names")
    sql(rig, "UPDATE orders SET named = 0")


def shipped(rig: Rig) -> None:
    """Order 1-A, from its first read to its shipment, with a tracking."""
    rig.add("1-A", state="SHIPPING")
    rig.poll()
    rig.work(200)
    rig.oms.dispatch("1-A", tracking="TRACK-77", carrier="DPD UK")
    rig.consume()
    rig.work(200)
    rig.poll()


def order_at_mirakl(rig: Rig) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(rig.mirakl["alpha"].listing.body("1-A"))
    return found


def names_in_life(rig: Rig) -> list[str]:
    part = rig.row("1-A").facts.parts[0]
    body = order_at_mirakl(rig)
    reference = next(one for one in body["references"].values() if one)
    line = body["order_lines"][0]
    return ["1-A", line["order_line_id"], line["offer_sku"], str(part.oms_id), "TRACK-77", reference]


def test_an_order_is_found_by_what_it_was_called_in_each_step_of_its_life(rig: Rig) -> None:
    shipped(rig)
    assert unnamed(rig) == 0
    for name in names_in_life(rig):
        assert by_index(rig, name), name
        assert found(rig, name) == ["1-A"], name


def test_nothing_is_written_for_events_without_a_new_name(rig: Rig) -> None:
    """A row is written three times or so in a life of twenty events: each write costs an index of words."""
    shipped(rig)
    before = sql(rig, "SELECT names FROM names")
    sql(rig, "CREATE TRIGGER no_write BEFORE UPDATE ON names BEGIN SELECT RAISE(ABORT, 'written again'); END")
    version = rig.row("1-A").version
    rig.mirakl["alpha"].listing.set_body("1-A", json.dumps(order_at_mirakl(rig) | {"total_price": 7}).encode())
    rig.poll(400)
    assert rig.row("1-A").version == version + 1
    assert sql(rig, "SELECT names FROM names") == before
    assert unnamed(rig) == 0


def test_a_reference_that_changes_later_is_found_and_the_old_one_too(rig: Rig) -> None:
    rig.add("1-A")
    rig.poll()
    old = names_of_references(rig)[0]
    body = order_at_mirakl(rig)
    body["references"]["order_reference_for_seller"] = "SELLER-5"
    rig.mirakl["alpha"].listing.set_body("1-A", json.dumps(body).encode())
    rig.poll(400)
    assert found(rig, "seller-5") == ["1-A"]
    assert found(rig, old) == ["1-A"]


def names_of_references(rig: Rig) -> list[str]:
    return [one for one in order_at_mirakl(rig)["references"].values() if one]


# -- Beside older code ---------------------------------------------------------------------------------------------


def test_orders_of_older_code_are_found_before_and_after_housekeeping_names_them(rig: Rig) -> None:
    shipped(rig)
    written_by_older_code(rig)
    every = names_in_life(rig)
    for name in every:
        assert not by_index(rig, name)
        assert found(rig, name) == ["1-A"], name
    bootstrap.new_housekeeping(rig.base).turn()
    assert unnamed(rig) == 0
    for name in every:
        assert by_index(rig, name)
        assert found(rig, name) == ["1-A"], name


def test_an_order_that_older_code_wrote_last_stays_without_names_until_housekeeping_reads_it_whole(rig: Rig) -> None:
    """The next event of this version adds only its own names: they would hide that the others are missing."""
    rig.add("1-A", state="SHIPPING")
    rig.poll()
    written_by_older_code(rig)
    rig.work(200)
    assert unnamed(rig) == 1
    reference = names_of_references(rig)[0]
    assert found(rig, reference) == ["1-A"]
    bootstrap.new_housekeeping(rig.base).turn()
    assert unnamed(rig) == 0
    assert by_index(rig, reference)
    assert by_index(rig, str(rig.row("1-A").facts.parts[0].oms_id))


def test_housekeeping_names_some_orders_at_a_time(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(names, "BATCH", 2)
    for number in range(5):
        rig.add(f"{number}-A")
    rig.poll()
    written_by_older_code(rig)
    keeper, left, kept = Naming(rig.store, rig.clock), [], []
    for _ in range(4):
        keeper.turn(lambda: kept.append(True))
        left.append(unnamed(rig))
    assert left == [3, 1, 0, 0]
    assert len(kept) == 3
    written_by_older_code(rig)
    keeper.turn(lambda: None)
    assert unnamed(rig) == 5, "it looks again after a minute"
    rig.clock.advance(names.EVERY_SECONDS)
    keeper.turn(lambda: None)
    assert unnamed(rig) == 3


def test_nothing_is_named_by_a_process_that_lost_the_lease(rig: Rig) -> None:
    rig.add("1-A")
    rig.poll()
    written_by_older_code(rig)

    def lost() -> None:
        raise Fenced("relay")

    with pytest.raises(Fenced):
        Naming(rig.store, rig.clock).turn(lost)
    assert unnamed(rig) == 1


def test_orders_that_cannot_be_read_hold_up_no_other(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(names, "BATCH", 2)
    for number in range(4):
        rig.add(f"{number}-A")
    rig.poll()
    written_by_older_code(rig)
    sql(rig, "UPDATE orders SET facts = '[' WHERE order_id IN ('0-A', '1-A')")
    keeper = Naming(rig.store, rig.clock)
    for _ in range(3):
        keeper.turn(lambda: None)
    assert unnamed(rig) == 2
    assert found(rig, "0-A") == ["0-A"]
    assert found(rig, "3-A") == ["3-A"]


# -- Lists -----------------------------------------------------------------------------------------------------------


def test_a_name_of_very_many_orders_is_listed_with_the_last_changed_first(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(6):
        rig.add(f"{number}-A")
        rig.poll()
    sku = order_at_mirakl(rig)["order_lines"][0]["offer_sku"]
    by_keys = found(rig, sku), found(rig, sku, 2)
    sql(rig, "UPDATE orders SET named = 0 WHERE order_id IN ('2-A', '5-A')")
    sql(rig, "DELETE FROM names WHERE order_key IN (SELECT id FROM orders WHERE named = 0)")
    some_by_facts = found(rig, sku), found(rig, sku, 2)
    expected = ([f"{number}-A" for number in (5, 4, 3, 2, 1, 0)], ["5-A", "4-A"])
    assert by_keys == some_by_facts == expected
    for newest, many, few, window in product((1, 2, 4), (3, 100), (1, 100), (1, 4)):
        monkeypatch.setattr(listing, "NEWEST", newest)
        monkeypatch.setattr(listing, "MANY", many)
        monkeypatch.setattr(listing, "FEW", few)
        monkeypatch.setattr(listing, "WINDOW", window)
        assert (found(rig, sku), found(rig, sku, 2)) == expected, (newest, many, few, window)
    assert found(rig, " ", 2) == []


def test_a_text_and_a_state_are_asked_for_together(rig: Rig) -> None:
    rig.add("1-A")
    rig.add("2-A", state="SHIPPING")
    rig.poll()
    sku = order_at_mirakl(rig)["order_lines"][0]["offer_sku"]
    wanted = replace(Wanted(text=sku), states=["shipping"])
    assert [one.row.order_id for one in find_orders(rig.store, wanted, {}, rig.clock.now(), 9)] == ["2-A"]
