"""The switches of a shop's effects: paused and resumed by a person, with a reason, and audited."""

from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import NamedTuple

import pytest

from adapters.ports import Clock
from adapters.store import shops as shop_rows
from adapters.store.shops import ShopRow
from adapters.store.transaction import Store
from consumer.operations.errors import NotPossible
from consumer.operations.shops import pause, resume
from tests.consumer.operations.audited import Audited, audited
from tests.consumer.operations.desk import Desk
from tests.support import Meanwhile, OpenStore, StillClock


class Switches(NamedTuple):
    effects: bool
    paused: tuple[str, ...] = ()


def switches(shop: ShopRow) -> Switches:
    return Switches(shop.effects, shop.paused)


def test_an_unknown_shop_is_not_possible(desk: Desk) -> None:
    with pytest.raises(NotPossible, match="there is no shop beta"):
        pause(desk.store, desk.clock, "beta", only=None, who="ana", why="x")
    with pytest.raises(NotPossible, match="there is no shop beta"):
        resume(desk.store, desk.clock, "beta", only=None, who="ana", why="x", configured=None)
    assert audited(desk.store) == []


def test_a_shop_that_the_configuration_switches_off_cannot_be_resumed(tmp_path: Path) -> None:
    desk = Desk(tmp_path, effects=False)
    with pytest.raises(NotPossible, match=r'shops\.alpha\.effects is "off" in the configuration'):
        resume(desk.store, desk.clock, "alpha", only=None, who="ana", why="x", configured="off")
    assert switches(shop_rows.list_all(desk.store)[0]) == Switches(effects=False)


def test_a_blank_reason_is_not_possible(desk: Desk) -> None:
    with pytest.raises(NotPossible, match="--reason is blank"):
        pause(desk.store, desk.clock, "alpha", only=None, who="ana", why=" ")
    with pytest.raises(NotPossible, match="--reason is blank"):
        resume(desk.store, desk.clock, "alpha", only=None, who="ana", why=" ", configured=None)
    assert audited(desk.store) == []


def test_pauses_add_up_and_end_one_by_one(desk: Desk) -> None:
    store, clock = desk.store, desk.clock
    assert pause(store, clock, "alpha", only="import", who="ana", why="x").paused == ("import",)
    assert pause(store, clock, "alpha", only="accept", who="ana", why="x").paused == ("accept", "import")
    resumed = resume(store, clock, "alpha", only="import", who="ana", why="x", configured="on")
    assert switches(resumed) == Switches(effects=True, paused=("accept",))
    assert pause(store, clock, "alpha", only=None, who="ana", why="x").paused == ("accept", "import", "ship")
    resumed = resume(store, clock, "alpha", only=None, who="ana", why="y", configured=None)
    assert switches(resumed) == Switches(effects=True)
    assert audited(store)[0] == Audited("ana", "pause", "alpha import", "x")
    assert audited(store)[-1] == Audited("ana", "resume", "alpha", "y")


class Interrupted(StillClock):
    """A clock that runs something else when it is read: after the switches are written, before the commit."""

    def __init__(self, meanwhile: Callable[[], None]) -> None:
        super().__init__()
        self._meanwhile = meanwhile

    def now(self) -> datetime:
        self._meanwhile()
        return super().now()


def switch(store: Store, clock: Clock, what: str) -> ShopRow:
    """`what` is "pause import" or the like."""
    verb, only = what.split()
    if verb == "pause":
        return pause(store, clock, "alpha", only=only, who="ana", why="x")
    return resume(store, clock, "alpha", only=only, who="ana", why="x", configured=None)


@pytest.mark.parametrize(
    ("first", "second", "paused"),
    [
        ("pause import", "pause accept", ("accept", "import", "ship")),
        ("resume ship", "pause accept", ("accept",)),
        ("pause accept", "resume ship", ("accept",)),
    ],
)
def test_two_people_who_switch_at_the_same_time_keep_what_the_other_did(
    open_store: OpenStore, first: str, second: str, paused: tuple[str, ...]
) -> None:
    """The second one comes when the first has written, and has not committed yet."""
    one, other = open_store(), open_store()
    with one.transaction() as tx:
        shop_rows.bind(tx, "alpha", "https://a", 1, effects=True, now=StillClock().now())
        shop_rows.set_switches(tx, "alpha", paused=["ship"])
    late: list[Meanwhile] = []

    def meanwhile() -> None:
        late.append(Meanwhile(lambda: switch(other, StillClock(), second)))
        assert late[0].waits()

    switch(one, Interrupted(meanwhile), first)
    assert switches(late[0].result()) == Switches(effects=True, paused=paused)
    assert switches(shop_rows.list_all(one)[0]) == Switches(effects=True, paused=paused)


def test_a_new_shop_begins_to_make_calls_once_resumed(tmp_path: Path) -> None:
    desk = Desk(tmp_path, effects=False)
    desk.shows("WAITING_ACCEPTANCE")
    assert desk.worker.claim() is None
    found = resume(desk.store, desk.clock, "alpha", only=None, who="ana", why="x", configured=None)
    assert switches(found) == Switches(effects=True)
    assert desk.worker.claim() is not None


def test_a_new_shop_begins_with_the_group_of_effects_that_is_resumed(tmp_path: Path) -> None:
    desk = Desk(tmp_path, effects=False)
    found = resume(desk.store, desk.clock, "alpha", only="accept", who="ana", why="x", configured=None)
    assert switches(found) == Switches(effects=True, paused=("import", "ship"))
