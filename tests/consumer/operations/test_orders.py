"""What a person may not do, and what an act does; on orders that really went through apply and the worker."""

from collections.abc import Callable, Collection
from datetime import datetime
from pathlib import Path

import pytest
import sqlalchemy as sa

from adapters.errors import Rejected, Retryable
from adapters.ports import Clock
from adapters.store import commands as command_rows
from adapters.store import schema
from adapters.store import shops as shop_rows
from adapters.store.orders import OrderRow
from adapters.store.shops import ShopRow
from adapters.store.transaction import Store
from consumer.operations.errors import NotPossible
from consumer.operations.orders import ACTS, act
from consumer.operations.shops import pause, resume
from statemachine.attention import ALREADY_THERE
from statemachine.commands import CommandKind, Policy
from statemachine.events import Trigger
from statemachine.facts import DecisionKind, Facts, Rejection
from tests.consumer.operations.test_explain import Desk
from tests.statemachine.lives import event, parcel
from tests.support import Meanwhile, OpenStore, StillClock


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(tmp_path)


def do(desk: Desk, kind: DecisionKind, why: str = "agreed", shops: Collection[str] = ("alpha",)) -> OrderRow:
    desk.clock.advance(1)
    now = desk.clock.now()
    return act(desk.store, desk.orders, desk.row, kind, shops=shops, who="ana", why=why, at=now)


def reasons(row: OrderRow) -> list[str]:
    return [one.reason for one in row.attention]


def calls(desk: Desk) -> list[tuple[str, str, int, str]]:
    return [(c.kind, c.carries, c.round, c.state) for c in command_rows.of_order(desk.store, desk.row.key)]


# -- Refused -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ACTS)
@pytest.mark.parametrize("state", ["REFUSED", "CANCELED"])
def test_a_final_order_takes_no_act(desk: Desk, kind: DecisionKind, state: str) -> None:
    desk.shows(state)
    with pytest.raises(NotPossible, match=r"alpha O-1( is |: nothing to )"):
        do(desk, kind)
    assert desk.row.version == 1


@pytest.mark.parametrize("kind", [DecisionKind.ACCEPT, DecisionKind.REFUSE])
@pytest.mark.parametrize("state", ["WAITING_DEBIT_PAYMENT", "SHIPPING", "SHIPPED"])
def test_a_decision_comes_too_late_after_the_acceptance(desk: Desk, kind: DecisionKind, state: str) -> None:
    desk.shows(state)
    with pytest.raises(NotPossible, match="waits for no decision any more"):
        do(desk, kind)


def test_a_decision_comes_too_late_once_mirakl_has_the_answer(desk: Desk) -> None:
    desk.shows("WAITING_ACCEPTANCE")
    desk.works()
    with pytest.raises(NotPossible, match="Mirakl has our answer already"):
        do(desk, DecisionKind.REFUSE)


def test_nothing_to_settle_is_told(desk: Desk) -> None:
    desk.shows("WAITING_ACCEPTANCE")
    with pytest.raises(NotPossible, match=r"alpha O-1: nothing to settle$"):
        do(desk, DecisionKind.SETTLE)


def test_a_missing_row_of_the_table_cannot_be_settled(desk: Desk) -> None:
    desk.shows("WAITING_ACCEPTANCE")
    with desk.store.writing() as connection:
        connection.execute(sa.update(schema.orders).values(attention='[["no_edge", "", "2026-03-01T00:00:00+00:00"]]'))
    with pytest.raises(NotPossible, match="nothing to settle but no_edge, which only an upgrade ends"):
        do(desk, DecisionKind.SETTLE)


def test_a_held_order_is_not_held_twice(desk: Desk) -> None:
    desk.shows("SHIPPING")
    do(desk, DecisionKind.HOLD)
    with pytest.raises(NotPossible, match="is held already"):
        do(desk, DecisionKind.HOLD)


def test_nothing_to_retry_is_told(desk: Desk) -> None:
    desk.shows("WAITING_ACCEPTANCE")  # its call is due: the worker needs no retry_now
    with pytest.raises(NotPossible, match="nothing to retry"):
        do(desk, DecisionKind.RETRY)


@pytest.mark.parametrize("why", ["", "  "])
def test_a_reason_has_to_say_something(desk: Desk, why: str) -> None:
    desk.shows("WAITING_ACCEPTANCE")
    with pytest.raises(NotPossible, match="--reason says nothing"):
        do(desk, DecisionKind.ACCEPT, why)


def test_an_order_of_an_unknown_shop_takes_no_act(desk: Desk) -> None:
    desk.shows("WAITING_ACCEPTANCE")
    with pytest.raises(NotPossible, match="its shop is not in the configuration"):
        do(desk, DecisionKind.ACCEPT, shops=["beta"])


# -- Acts --------------------------------------------------------------------------------------------------------


def test_an_acceptance_overrules_the_policy(tmp_path: Path) -> None:
    desk = Desk(tmp_path, Policy("hold"))
    desk.shows("WAITING_ACCEPTANCE")
    assert do(desk, DecisionKind.ACCEPT).attention == ()
    assert calls(desk) == [("accept_order", "accept", 0, "open")]
    made = desk.row.facts.decisions[0]
    assert (made.kind, made.who, made.why, made.at) == ("accept", "ana", "agreed", desk.clock.now())


def test_a_refusal_replaces_the_acceptance_that_was_due(desk: Desk) -> None:
    desk.shows("WAITING_ACCEPTANCE")
    do(desk, DecisionKind.REFUSE)
    assert calls(desk) == [("accept_order", "accept", 0, "obsolete"), ("accept_order", "refuse", 0, "open")]


def test_the_last_decision_counts(desk: Desk) -> None:
    desk.shows("WAITING_ACCEPTANCE")
    do(desk, DecisionKind.REFUSE)
    do(desk, DecisionKind.ACCEPT)
    assert calls(desk) == [("accept_order", "accept", 0, "open"), ("accept_order", "refuse", 0, "obsolete")]


def test_a_hold_stops_every_call_until_it_is_settled_and_can_come_again(desk: Desk) -> None:
    desk.shows("SHIPPING")
    for _ in range(2):
        assert reasons(do(desk, DecisionKind.HOLD)) == ["held"]
        assert calls(desk) == [("import_order", "", 0, "obsolete")]
        assert do(desk, DecisionKind.SETTLE).attention == ()
        assert calls(desk) == [("import_order", "", 0, "open")]


def test_settle_covers_all_that_needs_attention_now_and_nothing_later(desk: Desk) -> None:
    desk.shows("SHIPPING")
    assert reasons(desk.tell(parcel("L1", 3))) == ["partly_sent", "quantity_exceeds_order"]
    settled = do(desk, DecisionKind.SETTLE)
    assert settled.attention == ()
    assert settled.facts.decisions[0].subject == ("partly_sent:", "quantity_exceeds_order:L1")
    assert reasons(desk.tell(parcel("L2", 2))) == ["quantity_exceeds_order"]


def test_an_order_that_the_oms_has_already_counts_as_imported_once_settled(desk: Desk) -> None:
    content = desk.shows("SHIPPING").digest
    no = Rejection(CommandKind.IMPORT, "", 0, content, desk.clock.now(), ALREADY_THERE)
    assert reasons(desk.tell(event(Trigger.CALL, "no", Facts(rejections=(no,))))) == ["already_in_oms"]
    assert do(desk, DecisionKind.SETTLE).state == "imported"


def test_acts_of_one_moment_are_each_kept(desk: Desk) -> None:
    desk.shows("SHIPPING")
    for kind in (DecisionKind.HOLD, DecisionKind.SETTLE, DecisionKind.HOLD):
        act(desk.store, desk.orders, desk.row, kind, shops=["alpha"], who="ana", why="agreed", at=desk.clock.now())
    assert desk.row.version == 4


def test_retry_opens_a_refused_call_again(desk: Desk) -> None:
    desk.shows("WAITING_ACCEPTANCE")
    desk.works(Rejected("OR21", "400", status=400))
    assert do(desk, DecisionKind.RETRY).facts.decisions[0].subject == ("accept_order:1:accept",)
    assert calls(desk) == [("accept_order", "accept", 0, "rejected"), ("accept_order", "accept", 1, "open")]


def test_retry_opens_a_given_up_call_again(desk: Desk) -> None:
    desk.shows("WAITING_ACCEPTANCE")
    for _ in range(2):  # it is tried for 72 hours from the first try on
        desk.works(Retryable("OR21", "5xx", status=503))
        desk.clock.advance(72 * 3600)
    assert reasons(desk.row) == ["gave_up"]
    assert do(desk, DecisionKind.RETRY).attention == ()
    assert calls(desk)[-1] == ("accept_order", "accept", 1, "open")
    desk.works()
    assert desk.row.state == "accepted"


def test_retry_opens_a_call_again_that_mirakl_never_applied(desk: Desk) -> None:
    desk.shows("WAITING_ACCEPTANCE")
    for _ in range(3):
        desk.works()
        desk.clock.advance(121)
        desk.shows("WAITING_ACCEPTANCE")
    assert reasons(desk.row) == ["not_applied"]
    assert do(desk, DecisionKind.RETRY).facts.decisions[0].subject == ("accept_order:3:accept",)
    assert desk.row.attention == ()
    assert calls(desk)[-1] == ("accept_order", "accept", 3, "open")


def test_retry_hurries_a_call_in_back_off(desk: Desk) -> None:
    desk.shows("WAITING_ACCEPTANCE")
    desk.works(Retryable("OR21", "429", status=429, retry_after_seconds=3600))
    assert desk.worker.claim() is None
    assert do(desk, DecisionKind.RETRY).facts.decisions[0].subject == ()
    assert desk.worker.claim() is not None


# -- Shops -------------------------------------------------------------------------------------------------------


def switched(shop: ShopRow) -> tuple[bool, tuple[str, ...]]:
    return shop.effects, shop.paused


def test_an_unknown_shop_is_told(desk: Desk) -> None:
    with pytest.raises(NotPossible, match="the store knows no shop beta"):
        pause(desk.store, desk.clock, "beta", only=None, who="ana", why="x")
    with pytest.raises(NotPossible, match="the store knows no shop beta"):
        resume(desk.store, desk.clock, "beta", only=None, who="ana", why="x", configured=None)
    assert audited(desk) == []


def test_what_the_configuration_switches_off_is_not_resumed(tmp_path: Path) -> None:
    desk = Desk(tmp_path, effects=False)
    with pytest.raises(NotPossible, match=r'shops\.alpha\.effects is "off" in the configuration'):
        resume(desk.store, desk.clock, "alpha", only=None, who="ana", why="x", configured="off")
    assert switched(shop_rows.list_all(desk.store)[0]) == (False, ())


def test_a_switch_needs_a_reason_too(desk: Desk) -> None:
    with pytest.raises(NotPossible, match="--reason says nothing"):
        pause(desk.store, desk.clock, "alpha", only=None, who="ana", why=" ")
    with pytest.raises(NotPossible, match="--reason says nothing"):
        resume(desk.store, desk.clock, "alpha", only=None, who="ana", why=" ", configured=None)
    assert audited(desk) == []


def test_pauses_add_up_and_end_one_by_one(desk: Desk) -> None:
    store, clock = desk.store, desk.clock
    assert switched(pause(store, clock, "alpha", only="import", who="ana", why="x")) == (True, ("import",))
    assert switched(pause(store, clock, "alpha", only="accept", who="ana", why="x")) == (True, ("accept", "import"))
    one = resume(store, clock, "alpha", only="import", who="ana", why="x", configured="on")
    assert switched(one) == (True, ("accept",))
    assert switched(pause(store, clock, "alpha", only=None, who="ana", why="x")) == (True, ("accept", "import", "ship"))
    every = resume(store, clock, "alpha", only=None, who="ana", why="y", configured=None)
    assert switched(every) == (True, ())
    assert audited(desk)[0] == ("ana", "pause", "alpha import", "x")
    assert audited(desk)[-1] == ("ana", "resume", "alpha", "y")


class Busy(StillClock):
    """A clock that is asked between a change of the switches and its end, and then lets something else happen."""

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
    ("first", "second", "rest"),
    [
        ("pause import", "pause accept", ("accept", "import", "ship")),
        ("resume ship", "pause accept", ("accept",)),
        ("pause accept", "resume ship", ("accept",)),
    ],
)
def test_two_who_switch_at_once_keep_what_the_other_did(
    open_store: OpenStore, first: str, second: str, rest: tuple[str, ...]
) -> None:
    """The second one comes when the first has written, and not yet ended."""
    one, other = open_store(), open_store()
    with one.transaction() as tx:
        shop_rows.bind(tx, "alpha", "https://a", 1, effects=True, now=StillClock().now())
        shop_rows.set_switches(tx, "alpha", paused=["ship"])
    late: list[Meanwhile] = []

    def meanwhile() -> None:
        late.append(Meanwhile(lambda: switch(other, StillClock(), second)))
        assert late[0].waits()

    switch(one, Busy(meanwhile), first)
    assert switched(late[0].result()) == switched(shop_rows.list_all(one)[0]) == (True, rest)


def test_a_shop_that_began_without_effects_begins_to_work(tmp_path: Path) -> None:
    desk = Desk(tmp_path, effects=False)
    desk.shows("WAITING_ACCEPTANCE")
    assert desk.worker.claim() is None
    found = resume(desk.store, desk.clock, "alpha", only=None, who="ana", why="x", configured=None)
    assert switched(found) == (True, ())
    assert desk.worker.claim() is not None


def test_a_shop_that_began_without_effects_begins_with_those_that_were_named(tmp_path: Path) -> None:
    desk = Desk(tmp_path, effects=False)
    found = resume(desk.store, desk.clock, "alpha", only="accept", who="ana", why="x", configured=None)
    assert switched(found) == (True, ("import", "ship"))


def audited(desk: Desk) -> list[tuple[str, str, str, str]]:
    c = schema.audit.c
    with desk.store.reading() as connection:
        rows = connection.execute(sa.select(c.who, c.act, c.subject, c.why).order_by(c.id))
        return [(row.who, row.act, row.subject, row.why) for row in rows]
