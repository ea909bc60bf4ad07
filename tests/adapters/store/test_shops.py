"""Shops: a name is bound to its account, and switches turn its effects on or off."""

from dataclasses import dataclass
from typing import Any

import pytest

from adapters.errors import ConfigError
from adapters.store import cursors as cursor_rows
from adapters.store import orders as order_rows
from adapters.store import shops as shop_rows
from adapters.store.cursors import Cursor
from adapters.store.transaction import Store
from tests.adapters.store.support import NOW, leased
from tests.support import Meanwhile, OpenStore


def bind(store: Store, name: str, endpoint: str = "https://a", shop_id: int = 1, effects: bool | None = None) -> None:
    with store.transaction() as tx:
        shop_rows.bind(tx, name, endpoint, shop_id, effects=effects, now=NOW)


@pytest.mark.parametrize(
    ("name", "endpoint", "shop_id"),
    [("alpha", "https://b", 1), ("alpha", "https://a", 2), ("beta", "https://a", 1)],
    ids=["another host", "another shop", "the same account by another name"],
)
def test_a_name_with_orders_stays_bound_to_its_account(store: Store, name: str, endpoint: str, shop_id: int) -> None:
    bind(store, "alpha", effects=True)
    with store.transaction() as tx:
        order_rows.lock(tx, [("alpha", "O-1")], NOW)
    with pytest.raises(ConfigError, match=rf"shops\.{name}"):
        bind(store, name, endpoint, shop_id, True)
    (shop,) = shop_rows.list_all(store)
    assert shop.name == "alpha"
    assert shop.endpoint == "https://a"
    assert shop.shop_id == 1


def test_a_wrong_account_is_corrected_while_no_order_was_read(store: Store) -> None:
    bind(store, "alpha", "https://typo")
    lease = leased(store)
    with store.transaction() as tx:
        cursor_rows.save(tx, "alpha", Cursor(NOW, NOW, NOW), lease)
    bind(store, "alpha", "https://a", effects=True)
    (shop,) = shop_rows.list_all(store)
    assert shop.endpoint == "https://a"
    assert shop.effects
    assert cursor_rows.find(store, "alpha") is None, "the new account is read from its beginning"


def test_effects_begin_off_and_stay_as_stored_unless_the_configuration_sets_them(store: Store) -> None:
    seen = []
    for effects in (None, True, None, False, None):
        bind(store, "alpha", effects=effects)
        seen.append(shop_rows.list_all(store)[0].effects)
    assert seen == [False, True, True, False, False]


def test_pausing_groups_leaves_effects_as_they_are(store: Store) -> None:
    bind(store, "alpha", effects=True)
    with store.transaction() as tx:
        shop_rows.set_switches(tx, "alpha", paused=["ship", "import"])
    (shop,) = shop_rows.list_all(store)
    assert shop.effects
    assert shop.paused == ("import", "ship")


@dataclass(frozen=True)
class Bound:
    """What a second process raised, and the name, number and effects of each shop afterwards."""

    error: Any
    shops: list[tuple[str, int, bool]]


def bound_second(open_store: OpenStore, name: str, shop_id: int) -> Bound:
    """One process binds alpha to shop 1 and has not committed yet. At the same time a second one binds `name`."""
    one, other = open_store(), open_store()
    with one.transaction() as tx:
        shop_rows.bind(tx, "alpha", "https://a", 1, effects=True, now=NOW)
        late = Meanwhile(lambda: bind(other, name, shop_id=shop_id))
        assert late.waits()
    return Bound(late.result(), [(shop.name, shop.shop_id, shop.effects) for shop in shop_rows.list_all(one)])


def test_processes_that_start_at_once_bind_a_shop_once(open_store: OpenStore) -> None:
    assert bound_second(open_store, "alpha", 1) == Bound(None, [("alpha", 1, True)])


def test_a_process_that_starts_at_the_same_time_corrects_a_wrong_account(open_store: OpenStore) -> None:
    assert bound_second(open_store, "alpha", 2) == Bound(None, [("alpha", 2, True)])


def test_of_two_processes_that_start_at_once_one_names_an_account(open_store: OpenStore) -> None:
    found = bound_second(open_store, "beta", 1)
    assert isinstance(found.error, ConfigError)
    assert "shop 1 is called alpha in this store" in str(found.error)
    assert found.shops == [("alpha", 1, True)]
