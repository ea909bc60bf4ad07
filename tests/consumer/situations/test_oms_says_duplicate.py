"""The OMS says "duplicate": it has one of several payloads of ours, or the order from somebody else."""

import pytest

from adapters.simulators.faults import Fault
from adapters.simulators.mirakl import changes
from consumer.applying.apply import LOST_ATTEMPT
from consumer.operations import orders as operations
from consumer.operations.cases import Case
from consumer.operations.causes_of_orders import cause_of_order
from consumer.operations.changed import changed_values
from consumer.operations.errors import NotPossible
from consumer.operations.lines import lines_of
from statemachine.commands import Policy
from statemachine.events import Event, Trigger
from statemachine.facts import DecisionKind
from tests.consumer.rig import Rig
from tests.consumer.situations.in_oms_hands import decide, details, lost_then_refused, lower, tell

NO = '{"error": {"message": "no", "code": 0}}'
DUPLICATE = '{"error": {"message": "external_ref already exists", "code": 0}}'


def duplicate(rig: Rig, times: int = 1) -> None:
    rig.oms.knobs.faults.append(Fault("order", "answer", times, "1-A", status=400, content=DUPLICATE))


def two_payloads(rig: Rig) -> None:
    """The first payload (three pieces) landed and its answer was lost, its repeat was refused, and the answer to the
    second payload (one piece) was lost too."""
    lost_then_refused(rig, quantity=3)
    lower(rig)
    rig.fail("order", "timeout_after")
    rig.work(60)
    assert rig.results[-1] == ("import_order", "unknown")
    assert [one.items for one in rig.row().facts.handovers] == [(("1-A-1", 3),), (("1-A-1", 1),)]


def settle(rig: Rig, reason: str) -> None:
    rig.clock.advance(60)
    decide(rig, DecisionKind.SETTLE, reason)


# -- Which of several payloads -------------------------------------------------------------------------------------


def test_a_duplicate_while_an_earlier_payload_may_have_landed_asks_a_person(rig: Rig) -> None:
    two_payloads(rig)
    assert details(rig) == {"lines_canceled_after_import": "1-A-1 (1 of 3)"}, "the OMS may have the first payload"
    rig.work(900)
    assert rig.results[-1] == ("import_order", "rejected")
    assert details(rig) == {"already_in_oms": "", "lines_canceled_after_import": "1-A-1 (1 of 3)"}
    found = operations.explanation(rig.store, rig.row(), Policy(), rig.clock.now()).attention
    cause = next(one.cause for one in found if one.reason == "already_in_oms")
    assert "an earlier try of ours may have brought it there, as it was sent at 20" in cause
    settle(rig, "already_in_oms")
    assert (rig.state(), rig.attention()) == ("imported", ["lines_canceled_after_import"])
    facts = rig.row().facts
    assert "3 or 1 went to the OMS" in cause_of_order(Case(rig.row().attention[0], facts, Policy()))
    assert [one.to_oms for one in lines_of(facts, None)] == [None]
    settle(rig, "lines_canceled_after_import")
    tell(rig, 8, shipping_tracking="T1")
    assert "shipped" in rig.effects()


def test_a_piece_that_the_oms_cancels_is_perhaps_none_of_those_that_only_one_payload_has(rig: Rig) -> None:
    """The OMS has three pieces or two, and two are to be sent: after a cancellation of one it makes two or one."""
    lost_then_refused(rig, quantity=3)
    lower(rig, 2)
    rig.fail("order", "timeout_after")
    rig.work(60)
    tell(rig, 4)
    settle(rig, "lines_canceled_after_import")
    tell(rig, 5, new_cancellations=[{"items": [{"external_ref": "1-A-1", "quantity": 1}]}])
    assert rig.attention() == ["oms_canceled"]
    (one,) = operations.explanation(rig.store, rig.row(), Policy(), rig.clock.now()).attention
    assert "and of how many: ask the people of the OMS how many it makes now." in one.cure
    settle(rig, "oms_canceled")
    tell(rig, 8, shipping_tracking="T1")
    assert "shipped" in rig.effects()


@pytest.mark.parametrize("word", ["a report", "a person"])
def test_an_order_that_is_known_in_the_oms_is_compared_with_each_payload_that_may_be_there(rig: Rig, word: str) -> None:
    two_payloads(rig)
    if word == "a report":
        tell(rig, 4)
    else:
        decide(rig, DecisionKind.HANDLED)
    assert rig.state() == "imported"
    assert details(rig) == {"lines_canceled_after_import": "1-A-1 (1 of 3)"}


def test_pieces_that_only_the_newer_payload_has_may_not_be_made(rig: Rig) -> None:
    lost_then_refused(rig)
    lower(rig, 3)
    rig.fail("order", "timeout_after")
    rig.work(60)
    assert details(rig) == {"lines_added_after_import": "1-A-1 (1, now 3)"}
    tell(rig, 8, shipping_tracking="T1")
    assert rig.attention() == ["lines_added_after_import", "partly_sent"]
    assert "shipped" not in rig.effects(), "the OMS made one piece"


def test_a_new_address_that_only_the_newer_payload_has_is_told(rig: Rig) -> None:
    lost_then_refused(rig)
    changes.set_address(rig.mirakl["alpha"], "1-A", street_1="95 Canary Row")
    rig.poll(60)
    rig.fail("order", "timeout_after")
    rig.work(60)
    tell(rig, 4)
    assert list(details(rig)) == ["changed_after_import"]
    streets = [one for one in changed_values(rig.store, rig.row()) if one.mirakl == "95 Canary Row"]
    assert [one.oms not in (None, "95 Canary Row") for one in streets] == [True]


def test_a_confirmed_import_is_the_one_that_the_oms_has(rig: Rig) -> None:
    """The first payload did not land after all: the OMS takes the second one."""
    rig.fail("order", "timeout_before")
    rig.add("1-A", state="SHIPPING", quantity=3)
    rig.poll()
    rig.work()
    rig.fail("order", "answer", status=400, content=NO)
    rig.work(900)
    lower(rig)
    rig.work(60)
    assert (rig.state(), rig.attention()) == ("imported", [])
    tell(rig, 8, shipping_tracking="T1")
    assert "shipped" in rig.effects()


# -- After a backup of the store was restored ----------------------------------------------------------------------


def restored(rig: Rig, lines: int = 1, quantity: int = 1) -> None:
    """The OMS has an import of ours that the restored store does not know."""
    rig.switch(effects=False)
    rig.add("1-A", state="SHIPPING", lines=lines, quantity=quantity)
    rig.poll()
    rig.orders.apply([Event("/t", "reset", "alpha", "1-A", Trigger.CALL, rig.clock.now(), LOST_ATTEMPT)])
    duplicate(rig)


def test_a_duplicate_of_an_import_that_the_restored_store_forgot_is_our_own_order(rig: Rig) -> None:
    restored(rig, lines=2)
    rig.switch(effects=True)
    rig.work()
    assert (rig.state(), rig.attention()) == ("imported", [])


def test_what_mirakl_withdrew_since_an_import_that_the_store_forgot_is_told(rig: Rig) -> None:
    restored(rig, lines=2)
    changes.refund(rig.mirakl["alpha"], "1-A", "1-A-1")
    rig.poll(60)
    rig.switch(effects=True)
    rig.work()
    assert "already_in_oms" in rig.attention()
    settle(rig, "already_in_oms")
    assert (rig.state(), details(rig)) == ("imported", {"lines_canceled_after_import": "1-A-1"})


def test_a_lost_answer_after_a_restore_does_not_hide_what_was_withdrawn_before(rig: Rig) -> None:
    restored(rig, quantity=3)
    lower(rig)
    rig.oms.knobs.faults.clear()
    rig.fail("order", "timeout_after")
    rig.switch(effects=True)
    rig.work()
    tell(rig, 4)
    assert details(rig) == {"lines_canceled_after_import": "1-A-1 (1 of 3)"}


# -- From somebody else --------------------------------------------------------------------------------------------


def there_before(rig: Rig, lines: int = 1, quantity: int = 1) -> None:
    duplicate(rig, 9)
    rig.add("1-A", state="SHIPPING", lines=lines, quantity=quantity)
    rig.poll()
    rig.work()
    assert rig.attention() == ["already_in_oms"]


@pytest.mark.parametrize("word", ["settle", "handled", "a report"])
def test_what_was_withdrawn_before_a_person_says_that_the_order_is_in_the_oms_is_told(rig: Rig, word: str) -> None:
    there_before(rig, lines=2, quantity=3)
    changes.refund(rig.mirakl["alpha"], "1-A", "1-A-1")
    changes.set_line(rig.mirakl["alpha"], "1-A", "1-A-2", quantity=1)
    changes.set_address(rig.mirakl["alpha"], "1-A", street_1="95 Canary Row")
    rig.poll(60)
    rig.work()
    assert rig.attention() == ["already_in_oms"]
    if word == "settle":
        settle(rig, "already_in_oms")
    elif word == "handled":
        rig.clock.advance(60)
        decide(rig, DecisionKind.HANDLED)
    else:
        tell(rig, 4)
    assert rig.attention() == ["changed_after_import", "lines_canceled_after_import"]
    assert details(rig)["lines_canceled_after_import"] == "1-A-1,1-A-2 (1 of 3)"
    cause = cause_of_order(Case(rig.row().attention[1], rig.row().facts, Policy()))
    assert "somebody else sent it to the OMS, Mirakl showed 3 at 20" in cause


def test_an_order_that_a_person_makes_in_the_oms_is_compared_with_what_mirakl_shows_then(rig: Rig) -> None:
    rig.oms.knobs.faults.append(Fault("order", "answer", 9, "1-A", status=400, content=NO))
    rig.add("1-A", state="SHIPPING", lines=2)
    rig.poll()
    rig.work()
    changes.refund(rig.mirakl["alpha"], "1-A", "1-A-1")
    rig.poll(60)
    rig.work()
    rig.clock.advance(60)
    decide(rig, DecisionKind.HANDLED)
    assert (rig.state(), rig.attention()) == ("imported", [])


# -- A settle between two tries of one payload -----------------------------------------------------------------------


def stopped_and_owed_again(rig: Rig) -> None:
    """The import landed, its answer was lost. A person stops a refunded line in the OMS. The refund is taken back."""
    rig.fail("order", "timeout_after")
    rig.add("1-A", state="SHIPPING", lines=2)
    rig.poll()
    rig.work()
    changes.refund(rig.mirakl["alpha"], "1-A", "1-A-1")
    rig.poll()
    settle(rig, "lines_canceled_after_import")
    changes.set_line(rig.mirakl["alpha"], "1-A", "1-A-1", refunds=[])
    rig.poll()
    assert details(rig) == {"lines_added_after_import": "1-A-1 (0, now 1)"}


def test_a_settle_counts_if_the_repeat_shows_that_the_first_try_landed(rig: Rig) -> None:
    stopped_and_owed_again(rig)
    rig.work(900)
    assert (rig.results[-1], len(rig.row().facts.handovers)) == (("import_order", "already_done"), 2)
    assert details(rig) == {"lines_added_after_import": "1-A-1 (0, now 1)"}
    tell(rig, 8)
    assert "shipped" not in rig.effects()


def test_a_settle_counts_if_nobody_knows_which_of_two_tries_landed(rig: Rig) -> None:
    stopped_and_owed_again(rig)
    rig.fail("order", "timeout_before")
    rig.work(900)
    assert details(rig) == {"lines_added_after_import": "1-A-1 (0, now 1)"}
    rig.work(900)
    assert rig.results[-1] == ("import_order", "already_done")
    assert details(rig) == {"lines_added_after_import": "1-A-1 (0, now 1)"}


@pytest.mark.parametrize("reads", [0, 1], ids=["before the next read", "after it"])
def test_a_retry_after_a_person_said_that_the_order_is_there_is_refused_with_what_to_do(rig: Rig, reads: int) -> None:
    there_before(rig)
    settle(rig, "already_in_oms")
    for _ in range(reads):
        rig.poll(60)
    with pytest.raises(NotPossible, match=r"ana settled already_in_oms.*enter this one there by hand.*`orders sent`"):
        decide(rig, DecisionKind.RETRY)
    decide(rig, DecisionKind.SENT)
    assert rig.state() == "dispatched"
