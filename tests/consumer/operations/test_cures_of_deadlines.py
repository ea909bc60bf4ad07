"""What to do about a shipment that is due depends on where the order is."""

from consumer.operations.causes import AttentionReason
from statemachine.commands import CommandKind
from statemachine.events import Trigger
from statemachine.facts import Attempt, Cancellation, Facts, Part
from statemachine.failures import Trouble
from statemachine.reasons import Reason
from tests.consumer.operations.desk import Desk
from tests.statemachine.lives import answered, at, clock, event, settled, spoke

DAY = 86_400
ASK_THE_OMS = "Ask the OMS when the order leaves"


def due(desk: Desk) -> AttentionReason:
    """The reason of the deadline, which is over."""
    desk.apply(clock(15 * DAY))
    return next(one for one in desk.explain().attention if one.reason == Reason.SHIPPING_DUE)


def test_the_oms_is_asked_about_an_order_that_it_has(desk: Desk) -> None:
    desk.shows("SHIPPING")
    desk.apply(answered(CommandKind.IMPORT))
    found = due(desk)
    assert found.cure.startswith(ASK_THE_OMS)
    assert "the OMS does not have the order" not in found.cause


def test_an_order_that_is_not_imported_is_not_asked_of_the_oms(desk: Desk) -> None:
    desk.shows("SHIPPING")
    found = due(desk)
    assert found.cure.startswith(
        "The OMS does not have the order, so nobody makes it yet; `orderflow orders explain O-1 --shop alpha` says what"
    )
    assert found.cause.endswith("; the OMS does not have the order")


def test_what_holds_the_import_is_named_first(desk: Desk) -> None:
    desk.shows("SHIPPING", has_address=False)
    assert due(desk).cure.startswith("First see to address_missing. The OMS does not have the order")


def test_a_claim_that_waits_for_the_messages_brought_the_oms_nothing(desk: Desk) -> None:
    """Each try of the import is claimed before the messages are read."""
    desk.shows("SHIPPING", has_messages=True)
    trouble = Trouble("import_order", "", 0, at(0), "M11", "500")
    claimed = Facts(attempts=(Attempt(CommandKind.IMPORT, ""),), troubles=(trouble,))
    desk.apply(event(Trigger.CALL, "claimed", claimed))
    assert due(desk).cure.startswith("First see to messages_not_read and retrying. The OMS does not have the order")


def test_an_order_that_the_oms_canceled_is_to_be_made_again(desk: Desk) -> None:
    desk.shows("SHIPPING")
    canceled = Facts(parts=(Part(1),), cancellations=(Cancellation(1),))
    desk.apply(answered(CommandKind.IMPORT), spoke(), event(Trigger.OMS_EVENT, "canceled", canceled))
    desk.apply(settled(next(one.token for one in desk.row.attention if one.reason == "oms_canceled")))
    assert due(desk).cure.startswith("The OMS canceled all of it, so nobody there makes it. Have the OMS make it again")
