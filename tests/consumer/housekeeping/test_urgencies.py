"""`orders list --attention` comes from the store with the most urgent first, also beside orders of older code."""

import pytest
import sqlalchemy as sa

from adapters.errors import Fenced
from adapters.store import order_lists
from consumer.housekeeping import urgencies
from consumer.housekeeping.urgencies import Urgencies
from consumer.operations.listing import Sort, Wanted, find_orders, listed
from statemachine.urgency import Urgency
from tests.consumer.rig import Rig
from tests.consumer.situations.in_oms_hands import tell


def sql(rig: Rig, statement: str) -> None:
    with rig.store.writing() as connection:
        connection.execute(sa.text(statement))


def written_by_older_code(rig: Rig, *only: str) -> None:
    """What code of before 0022 leaves of an order that it wrote first."""
    which = f" WHERE order_id IN ({', '.join(map(repr, only))})" if only else ""
    sql(rig, f"UPDATE orders SET urgency = NULL, needs_since = NULL, urgency_of = ''{which}".replace('"', "'"))


def found(rig: Rig, limit: int | None = None, **wanted: object) -> list[str]:
    asked = Wanted(attention=True, **wanted)  # type: ignore[arg-type]
    return [one.row.order_id for one in find_orders(rig.store, asked, rig.policies, rig.clock.now(), limit)]


def without_urgency(rig: Rig) -> list[str]:
    return sorted(row.order_id for row in order_lists.latest(rig.store, urgency=False))


def three_in_need(rig: Rig) -> None:
    """1-A waits for a read, 2-A is to be stopped now, 3-A is to be decided before its deadline."""
    rig.imported("2-A")
    rig.mirakl["alpha"].cancel("2-A")
    rig.fail("order", "answer", status=400, content='{"error": {"message": "No such SKU", "code": 0}}')
    rig.add("3-A", state="SHIPPING")
    rig.poll()
    rig.work()
    rig.switch(paused=("accept",))
    rig.add("1-A", state="WAITING_ACCEPTANCE")
    rig.poll(400)
    tell(rig, 8, shipping_tracking="T1")
    urgency = {order_id: rig.row(order_id).urgency for order_id in ("1-A", "2-A", "3-A")}
    assert urgency == {"1-A": Urgency.WAITS, "2-A": Urgency.NOW, "3-A": Urgency.BY_DEADLINE}


def test_a_plan_stores_how_urgent_the_order_is(rig: Rig) -> None:
    rig.imported()
    assert rig.row().urgency is None, "it needs nobody"
    rig.mirakl["alpha"].cancel("1-A")
    rig.poll(400)
    assert rig.attention() == ["canceled_after_import"]
    assert rig.row().urgency is Urgency.NOW
    assert listed(rig.row(), rig.policies["alpha"]).urgency is Urgency.NOW
    assert found(rig) == ["1-A"]
    assert without_urgency(rig) == []


def test_the_page_of_the_list_is_the_beginning_of_the_whole_list(rig: Rig) -> None:
    three_in_need(rig)
    assert found(rig) == ["2-A", "3-A", "1-A"]
    assert [found(rig, limit) for limit in (1, 2, 3)] == [["2-A"], ["2-A", "3-A"], ["2-A", "3-A", "1-A"]]
    assert found(rig, 1, states=[rig.state("1-A")]) == ["1-A"]
    assert found(rig, 1, shop="beta") == []
    assert found(rig, 1, sort=Sort.UPDATED) == ["1-A"]


@pytest.mark.parametrize("older", [("1-A",), ("2-A",), ("3-A",), ("1-A", "2-A", "3-A")])
def test_orders_of_older_code_have_their_place_before_and_after_housekeeping(rig: Rig, older: tuple[str, ...]) -> None:
    three_in_need(rig)
    written_by_older_code(rig, *older)
    assert without_urgency(rig) == sorted(older)
    assert [found(rig, limit) for limit in (1, 3)] == [["2-A"], ["2-A", "3-A", "1-A"]]
    Urgencies(rig.store, rig.clock).turn(lambda: None)
    assert without_urgency(rig) == []
    assert [found(rig, limit) for limit in (1, 3)] == [["2-A"], ["2-A", "3-A", "1-A"]]


def test_the_first_round_corrects_what_a_version_with_other_reasons_stored(rig: Rig) -> None:
    three_in_need(rig)
    sql(rig, "UPDATE orders SET urgency = 2 WHERE order_id = '2-A'")
    assert found(rig, 1) == ["3-A"]
    Urgencies(rig.store, rig.clock).turn(lambda: None)
    assert found(rig, 1) == ["2-A"]


def test_some_orders_at_a_time_and_the_next_look_after_a_minute(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(urgencies, "BATCH", 2)
    three_in_need(rig)
    written_by_older_code(rig)
    keeper, left, kept = Urgencies(rig.store, rig.clock), [], []
    for _ in range(3):
        keeper.turn(lambda: kept.append(True))
        left.append(len(without_urgency(rig)))
    assert left == [1, 0, 0]
    assert len(kept) == 2
    written_by_older_code(rig)
    keeper.turn(lambda: None)
    assert len(without_urgency(rig)) == 3
    rig.clock.advance(urgencies.EVERY_SECONDS)
    keeper.turn(lambda: None)
    assert len(without_urgency(rig)) == 1


def test_nothing_is_stored_by_a_process_that_lost_the_lease(rig: Rig) -> None:
    three_in_need(rig)
    written_by_older_code(rig)

    def lost() -> None:
        raise Fenced("relay")

    with pytest.raises(Fenced):
        Urgencies(rig.store, rig.clock).turn(lost)
    assert len(without_urgency(rig)) == 3
