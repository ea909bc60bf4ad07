"""A person vouches for goods or ends a hold, and does not know what came meanwhile."""

from datetime import timedelta
from typing import Any

import httpx
import pytest

from adapters.simulators.mirakl import changes
from consumer.operations import orders as operations
from consumer.operations.errors import NotPossible
from statemachine.facts import DecisionKind
from tests.consumer.rig import Rig
from tests.consumer.situations.in_oms_hands import explained, tell

NO = '{"error": {"message": "Reference in use", "code": 0}}'
DUPLICATE = '{"error": {"message": "external_ref already exists", "code": 0}}'


def act(rig: Rig, kind: DecisionKind, **more: Any) -> None:
    one = operations.Act(kind, "ana", "seen", rig.clock.now(), **more)
    operations.decide(rig.store, rig.orders, rig.row(), one, shops=("alpha",))


def import_without_an_answer(rig: Rig) -> None:
    """The import reaches the OMS, and its answer is lost."""
    rig.fail("order", "timeout_after", 1)
    rig.add("1-A", state="SHIPPING")
    rig.poll()
    rig.work()


def hold(rig: Rig) -> None:
    act(rig, DecisionKind.HOLD)


def another_centre(rig: Rig) -> None:
    changes.withhold(rig.mirakl["alpha"], "1-A")
    rig.poll()


def give_up(rig: Rig) -> None:
    rig.oms_net.hook = lambda _: httpx.Response(503)
    for _ in range(5):
        rig.poll(timedelta(days=1).total_seconds())
        rig.work()


def refuse_the_repeat(rig: Rig) -> None:
    rig.fail("order", "answer", 1, status=400, content=NO)
    rig.work(900)


def test_a_duplicate_of_what_an_earlier_try_of_ours_sent_is_our_import(rig: Rig) -> None:
    """The try landed, its answer was lost, and the OMS refused the repeat with a no that is no duplicate."""
    import_without_an_answer(rig)
    refuse_the_repeat(rig)
    act(rig, DecisionKind.RETRY)
    rig.work()
    assert (rig.state(), rig.attention()) == ("imported", [])
    assert rig.effects() == ["imported"]


def test_a_duplicate_after_a_refusal_alone_is_not_our_import(rig: Rig) -> None:
    rig.fail("order", "answer", 1, status=400, content=NO)
    rig.add("1-A", state="SHIPPING")
    rig.poll()
    rig.work()
    rig.fail("order", "answer", 1, status=400, content=DUPLICATE)
    act(rig, DecisionKind.RETRY)
    rig.work()
    assert rig.attention() == ["already_in_oms"]


def test_a_duplicate_of_an_order_that_changed_since_our_earlier_try_asks_a_person_and_names_that_try(rig: Rig) -> None:
    import_without_an_answer(rig)
    refuse_the_repeat(rig)
    changes.set_line(rig.mirakl["alpha"], "1-A", "1-A-1", quantity=2)
    rig.poll()
    rig.work()
    found = explained(rig)
    causes = {one.reason: one.cause for one in found.attention}
    assert causes.keys() == {"already_in_oms", "lines_added_after_import"}
    assert "an earlier try of ours may have brought it there, as it was sent at 20" in causes["already_in_oms"]


def test_a_settle_of_an_order_that_was_there_before_does_not_hide_a_refunded_piece(rig: Rig) -> None:
    rig.fail("order", "answer", 1, status=400, content=DUPLICATE)
    rig.add("1-A", state="SHIPPING", quantity=3)
    rig.poll()
    rig.work()
    changes.refund(rig.mirakl["alpha"], "1-A", "1-A-1", 1)
    rig.poll()
    act(rig, DecisionKind.SETTLE, only=["already_in_oms"])
    assert rig.attention() == ["lines_canceled_after_import"]


def test_a_person_does_not_hide_what_changed_since_an_earlier_try_landed(rig: Rig) -> None:
    import_without_an_answer(rig)
    refuse_the_repeat(rig)
    rig.poll(900)
    changes.set_address(rig.mirakl["alpha"], "1-A", street_1="95 New")
    rig.oms_net.hook = lambda _: httpx.Response(400, content=NO.encode())
    rig.poll()
    rig.work(10)
    act(rig, DecisionKind.HANDLED)
    assert rig.state() == "imported"
    assert rig.attention() == ["changed_after_import"]


@pytest.mark.parametrize("then", [hold, another_centre, give_up, refuse_the_repeat])
def test_nobody_vouches_for_goods_that_the_oms_may_send_again(rig: Rig, then: Any) -> None:
    import_without_an_answer(rig)
    then(rig)
    with pytest.raises(NotPossible, match="an import may have reached the OMS"):
        act(rig, DecisionKind.SENT)


def test_goods_of_an_import_that_the_oms_refused_can_be_vouched_for(rig: Rig) -> None:
    rig.fail("order", "answer", 1, status=400, content=NO)
    rig.add("1-A", state="SHIPPING")
    rig.poll()
    rig.work()
    act(rig, DecisionKind.SENT)
    assert rig.state() == "dispatched"


def test_a_release_of_a_hold_does_not_release_a_refund_that_came_meanwhile(rig: Rig) -> None:
    rig.switch(effects=False)
    rig.add("1-A", state="SHIPPING", quantity=3)
    rig.poll()
    act(rig, DecisionKind.HOLD)
    changes.refund(rig.mirakl["alpha"], "1-A", "1-A-1", 1)
    rig.poll()
    assert rig.attention() == ["held", "partly_withdrawn"]
    with pytest.raises(NotPossible, match="say which, --only held --only partly_withdrawn"):
        act(rig, DecisionKind.RELEASE)
    with pytest.raises(NotPossible, match="a release does not end gave_up; it ends: held, partly_withdrawn"):
        act(rig, DecisionKind.RELEASE, only=["gave_up"])
    act(rig, DecisionKind.RELEASE, only=["held"])
    assert rig.attention() == ["partly_withdrawn"]


def line(rig: Rig, line_id: str, **fields: Any) -> None:
    changes.set_line(rig.mirakl["alpha"], "1-A", line_id, **fields)
    rig.poll(60)


def vouch(rig: Rig) -> None:
    """A person says that the goods left. No call is made before Mirakl changes the order."""
    rig.switch(paused=("import", "ship"))
    rig.clock.advance(60)
    act(rig, DecisionKind.SENT)


def go_on(rig: Rig) -> None:
    rig.switch(paused=())
    for _ in range(2):
        rig.work()
        rig.poll(300)


def test_a_vouch_covers_no_line_that_is_owed_later(rig: Rig) -> None:
    rig.add("1-A", state="SHIPPING", lines=2)
    line(rig, "1-A-2", order_line_state="INCIDENT_OPEN")
    rig.work()
    assert rig.effects() == ["imported"]
    vouch(rig)
    line(rig, "1-A-2", order_line_state="SHIPPING")
    go_on(rig)
    assert rig.attention() == ["lines_added_after_import", "partly_sent"]
    assert rig.effects() == ["imported"]

    act(rig, DecisionKind.SENT)
    go_on(rig)
    assert rig.effects() == ["imported", "shipped"]


def test_a_vouch_covers_no_pieces_that_are_added_later(rig: Rig) -> None:
    rig.imported(quantity=1)
    vouch(rig)
    line(rig, "1-A-1", quantity=3)
    go_on(rig)
    assert "partly_sent" in rig.attention()
    assert rig.effects() == ["imported"]


def test_the_rest_of_an_order_that_left_without_the_oms_is_not_imported_with_what_left(rig: Rig) -> None:
    rig.switch(paused=("import",))
    rig.add("1-A", state="SHIPPING", lines=2)
    line(rig, "1-A-2", order_line_state="INCIDENT_OPEN")
    vouch(rig)
    line(rig, "1-A-2", order_line_state="SHIPPING")
    go_on(rig)
    assert rig.attention() == ["partly_sent"]
    assert rig.effects() == []

    act(rig, DecisionKind.SENT)
    go_on(rig)
    assert rig.effects() == ["shipped"]


def test_a_vouch_of_a_line_without_a_number_covers_it(rig: Rig) -> None:
    rig.switch(paused=("import",))
    rig.add("1-A", state="SHIPPING")
    line(rig, "1-A-1", quantity=None)
    vouch(rig)
    line(rig, "1-A-1", quantity=2)
    go_on(rig)
    assert rig.effects() == ["shipped"]


@pytest.mark.parametrize("status", [4, 32])
def test_the_oms_works_on_goods_for_which_a_person_vouched_before_or24_went_out(rig: Rig, status: int) -> None:
    rig.imported(lines=2)
    rig.switch(paused=("ship",))
    act(rig, DecisionKind.SENT)
    assert (rig.state(), rig.attention()) == ("dispatched", [])
    tell(rig, status)
    goes_on = status == 4
    assert ("shipped_elsewhere" in rig.attention()) is goes_on
    if goes_on:
        (one,) = explained(rig).attention
        assert "a person said that the goods left" in one.cause
        rig.clock.advance(60)
        act(rig, DecisionKind.SETTLE)
        assert rig.attention() == []


def test_the_oms_works_on_goods_of_a_shipped_order_for_which_a_person_vouched(rig: Rig) -> None:
    """Seen before: the person was wrong, or shipped others, and nobody was told that the OMS makes them."""
    rig.imported(lines=2)
    act(rig, DecisionKind.SENT)
    rig.work()
    rig.poll(600)
    assert (rig.state(), rig.attention()) == ("shipped", [])
    tell(rig, 4)
    assert rig.attention() == ["shipped_elsewhere"]
    (one,) = explained(rig).attention
    assert "a person said that the goods left" in one.cause
    rig.clock.advance(60)
    act(rig, DecisionKind.SETTLE)
    assert rig.attention() == []
    tell(rig, 64)
    assert rig.attention() == ["shipped_elsewhere"], "it was not stopped"
    rig.clock.advance(60)
    act(rig, DecisionKind.SETTLE)
    tell(rig, 8)
    assert rig.attention() == []
