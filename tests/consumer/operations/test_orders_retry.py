"""A retry that would change nothing is not possible."""

import pytest

from adapters.errors import Rejected
from adapters.store.orders import OrderRow
from consumer.operations.errors import NotPossible
from consumer.operations.orders import Act, decide
from statemachine.facts import DecisionKind
from tests.consumer.operations.desk import Desk


def do(desk: Desk, kind: DecisionKind) -> OrderRow:
    desk.clock.advance(1)
    return decide(desk.store, desk.orders, desk.row, Act(kind, "ana", "agreed", desk.clock.now()), shops=["alpha"])


@pytest.mark.parametrize(("state", "call"), [("SHIPPING", "POST /order"), ("WAITING_ACCEPTANCE", "OR21")])
def test_a_retry_of_a_call_that_a_person_handled_is_not_possible(desk: Desk, state: str, call: str) -> None:
    desk.shows(state)
    desk.work(Rejected(call, "400", status=400))
    desk.clock.advance(60)
    desk.shows(state)
    handled = do(desk, DecisionKind.HANDLED)
    with pytest.raises(NotPossible, match="nothing to retry"):
        do(desk, DecisionKind.RETRY)
    assert desk.row == handled


def test_a_retry_of_a_call_that_is_due_says_that_it_is_made_anyway(desk: Desk) -> None:
    desk.shows("WAITING_ACCEPTANCE")
    with pytest.raises(NotPossible, match="accept_order is due now, and is made without a retry"):
        do(desk, DecisionKind.RETRY)
    desk.worker.claim()
    with pytest.raises(NotPossible, match="accept_order is under way; wait for its outcome"):
        do(desk, DecisionKind.RETRY)


def test_a_retry_of_a_call_that_is_not_needed_any_more_is_not_possible(desk: Desk) -> None:
    desk.shows("WAITING_ACCEPTANCE")
    desk.work(Rejected("OR21", "400", status=400))
    desk.clock.advance(60)
    desk.shows("WAITING_DEBIT_PAYMENT")  # somebody accepted it in Mirakl's portal
    with pytest.raises(NotPossible, match="nothing to retry"):
        do(desk, DecisionKind.RETRY)
    desk.clock.advance(60)
    desk.shows("CANCELED")
    with pytest.raises(NotPossible, match="is canceled, which is final"):
        do(desk, DecisionKind.RETRY)
