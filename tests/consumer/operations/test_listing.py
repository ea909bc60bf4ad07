"""`orders list --count` says how many orders the list has, whatever is asked for."""

from dataclasses import replace
from datetime import timedelta
from itertools import product
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from adapters.store import order_lists
from adapters.store import schema as s
from adapters.store.quarantine import quarantine
from consumer.operations import listing
from consumer.operations.listing import Wanted, count_orders, find_orders
from statemachine.commands import Policy
from tests.consumer.operations.desk import Desk
from tests.statemachine.lives import START, read, snapshot_event

POLICIES = {"alpha": Policy(acceptance="hold"), "beta": Policy(acceptance="hold")}


def add(desk: Desk, order_id: str, state: str, shop: str = "alpha", **more: Any) -> None:
    snapshot = read(state, updated=43_200, began=43_200, **more)
    desk.orders.apply([replace(snapshot_event(snapshot), shop=shop, order_id=order_id, event_id=f"{shop}{order_id}")])


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    """Orders of two shops: some need a person, one of them cannot be read, and each is an hour older than the next."""
    desk = Desk(tmp_path, Policy(acceptance="hold"))
    add(desk, "O-1", "WAITING_ACCEPTANCE", accept_by=START + timedelta(hours=16))
    for number, state in enumerate(("WAITING_ACCEPTANCE", "SHIPPING", "SHIPPED", "CANCELED", "SHIPPING"), 2):
        desk.clock.advance(3600)
        add(desk, f"O-{number}", state, has_address=number != 6)
    add(desk, "O-1", "WAITING_ACCEPTANCE", shop="beta")
    with desk.store.transaction() as tx:
        quarantine(tx, {("alpha", "O-3"): "ValueError"}, desk.clock.now())
    return desk


def counted(desk: Desk, wanted: Wanted) -> int:
    return count_orders(desk.store, wanted, POLICIES, desk.clock.now())


def listed(desk: Desk, wanted: Wanted) -> int:
    return len(find_orders(desk.store, wanted, POLICIES, desk.clock.now()))


def test_a_count_is_the_length_of_the_list_for_every_filter(desk: Desk) -> None:
    now = desk.clock.now()
    options: dict[str, tuple[Any, ...]] = dict(
        shop=(None, "alpha", "beta"),
        states=((), ("shipping", "waiting_acceptance")),
        attention=(False, True),
        reasons=((), ("quarantined", "address_missing")),
        text=("", "O-1", "mug", " "),
        older_than=(None, timedelta(hours=2)),
        deadline_within=(None, timedelta(0), timedelta(days=1)),
        changed_after=(None, now - timedelta(hours=2)),
    )
    numbers = set()
    for values in product(*options.values()):
        wanted = Wanted(**dict(zip(options, values, strict=True)))
        assert counted(desk, wanted) == listed(desk, wanted), wanted
        numbers.add(counted(desk, wanted))
    assert numbers == set(range(8)), "the filters differ in what they find"
    (third,) = order_lists.latest(desk.store, limit=1)
    assert counted(desk, Wanted(after=(third.updated_at, third.key))) == 6


def test_what_the_store_can_count_reads_no_order(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    def unreadable(row: sa.Row[Any]) -> None:
        raise AssertionError(f"{row} was read")

    monkeypatch.setattr(order_lists, "shown", unreadable)
    assert counted(desk, Wanted()) == 7
    assert counted(desk, Wanted(shop="alpha", states=["shipping"], older_than=timedelta(hours=1))) == 1
    assert counted(desk, Wanted(attention=True, text="O-")) == counted(desk, Wanted(attention=True)) == 4
    with pytest.raises(AssertionError, match="was read"):
        counted(desk, Wanted(deadline_within=timedelta(days=1)))


def test_orders_of_older_code_are_counted_and_listed_once(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """One has lost its names, the other has stored names of its versions before."""
    with desk.store.writing() as connection:
        connection.execute(sa.update(s.orders).values(named=0).where(s.orders.c.order_id.in_(["O-4", "O-5"])))
        connection.execute(sa.delete(s.names).where(s.names.c.order_key == 4))
    for many in (2, 100):
        monkeypatch.setattr(listing, "MANY", many)
        assert counted(desk, Wanted(text="mug")) == listed(desk, Wanted(text="mug")) == 7
        found = find_orders(desk.store, Wanted(text="mug"), POLICIES, desk.clock.now(), 6)
        assert len({(one.row.shop, one.row.order_id) for one in found}) == 6
