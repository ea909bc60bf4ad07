"""An order that cannot be read costs itself alone: the housekeeping goes on with all others (docs/rules.md 36)."""

import pytest
import sqlalchemy as sa

from adapters.store import schema as s
from consumer.bootstrap import new_housekeeping
from consumer.housekeeping import retention, urgencies
from consumer.operations import orders
from consumer.operations.audit import acts
from consumer.operations.orders import Act
from statemachine.attention.urgency_of_order import most_urgent
from statemachine.events import Trigger
from statemachine.facts import DecisionKind, Facts
from statemachine.reason_of_order import Attention
from statemachine.urgency import Urgency
from tests.consumer.housekeeping.test_decision_count import LATER, Seen, decide, keeper_of
from tests.consumer.housekeeping.test_reads_of_before import by_another_formula, stored
from tests.consumer.housekeeping.test_urgencies import written_by_older_code
from tests.consumer.rig import Rig

NO_FACTS = '{"snapshot": 5}'


def quarantined(rig: Rig) -> list[str]:
    c = s.orders.c
    with rig.store.reading() as connection:
        return list(connection.execute(sa.select(c.order_id).where(c.quarantine.is_not(None))).scalars())


def goes_on(rig: Rig) -> None:
    """A process begins with the housekeeping, and comes to what its turn does last: it wakes an order."""
    keeper = new_housekeeping(rig.base)
    keeper.turn()
    with rig.store.transaction() as tx:
        tx.execute(sa.update(s.orders).where(s.orders.c.order_id == "2-A").values(wake_at=rig.clock.now()))
    version = rig.row("2-A").version
    rig.clock.advance(61)
    keeper.turn()
    assert rig.row("2-A").version == version + 1


def broken(rig: Rig, order_id: str = "1-A") -> None:
    with rig.store.transaction() as tx:
        tx.execute(sa.update(s.orders).where(s.orders.c.order_id == order_id).values(facts=NO_FACTS))


def bytes_broken(rig: Rig, order_id: str = "1-A") -> None:
    with rig.store.transaction() as tx:
        mine = s.snapshots.c.order_key == rig.row(order_id).key
        tx.execute(sa.update(s.snapshots).where(mine).values(body=b"no zlib"))


def test_an_import_that_was_tried_twice(rig: Rig) -> None:
    """What an earlier version sent is kept from the payload and the facts; these cannot be read."""
    rig.fail("order", "answer", status=503)
    rig.add("1-A", state="SHIPPING")
    rig.poll()
    rig.work()
    rig.work(900)
    rig.imported("2-A")
    broken(rig)
    goes_on(rig)
    assert quarantined(rig) == ["1-A"]


def test_the_stored_bytes_of_a_read_by_a_version_before(rig: Rig) -> None:
    rig.imported("1-A")
    rig.imported("2-A")
    stored(rig, by_another_formula)
    bytes_broken(rig)
    version = rig.row("2-A").version
    goes_on(rig)
    assert quarantined(rig) == []
    assert rig.row("2-A").version == version + 2, "it was read again, and woken"


def test_names(rig: Rig) -> None:
    rig.imported("1-A")
    rig.imported("2-A")
    bytes_broken(rig)
    with rig.store.transaction() as tx:
        tx.execute(sa.update(s.orders).values(named=0))
    goes_on(rig)
    assert {rig.row(one).named == rig.row(one).version for one in ("1-A", "2-A")} == {True}


def test_urgencies(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    """A reason of a closed order is not planned again, so nothing quarantines it."""
    for order_id in ("1-A", "2-A"):
        rig.imported(order_id)
        rig.mirakl["alpha"].cancel(order_id)
    rig.poll(400)
    written_by_older_code(rig)

    def raises(reasons: tuple[Attention, ...], facts: Facts | None) -> Urgency | None:
        if facts and facts.snapshot and facts.snapshot.lines[0].id.startswith("1-A"):
            raise OverflowError
        return most_urgent(reasons, facts)

    monkeypatch.setattr(urgencies, "most_urgent", raises)
    goes_on(rig)
    assert [rig.row(one).urgency for one in ("1-A", "2-A")] == [Urgency.NOW, Urgency.NOW]


def test_decisions(rig: Rig) -> None:
    """The row of one decision cannot be read, and another row of the order whose decision can."""
    seen = Seen()
    keeper_of(rig, seen).turn()
    began = rig.clock.now()
    rig.imported("1-A")
    decide(rig, DecisionKind.HOLD)
    decide(rig, DecisionKind.RELEASE)
    j = s.journal.c
    with rig.store.transaction() as tx:
        first = sa.select(sa.func.min(j.id)).where(j.trigger == Trigger.DECISION).scalar_subquery()
        tx.execute(sa.update(s.journal).where(j.id <= first).values(says=NO_FACTS))
    rig.clock.advance(LATER)
    keeper_of(rig, seen).turn()
    assert [one.event.note["act"] for one in seen.decided] == ["release"]
    assert [one.act for one in acts(rig.store, began)] == ["order release"]


def test_retention(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    """An order that cannot be judged keeps its snapshots. The housekeeping comes to its end."""
    rig.imported("1-A")
    rig.mirakl["alpha"].cancel("1-A")
    rig.poll(400)
    act = Act(DecisionKind.SETTLE, "ana", "seen", rig.clock.now())
    orders.decide(rig.store, rig.orders, rig.row(), act, shops=("alpha",))
    assert rig.attention() == []
    rig.imported("2-A")
    rig.clock.advance(90 * 86_400)

    def raises(*_: object) -> frozenset[str]:
        raise OverflowError

    monkeypatch.setattr(retention, "surplus_reads", raises)
    goes_on(rig)
