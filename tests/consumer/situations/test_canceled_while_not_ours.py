"""What the OMS canceled while nobody here was to send it, and what comes when it is to be sent again.

Somebody else ships it, Mirakl does not show it, a customer complained, or Mirakl took it back.
"""

from collections.abc import Callable

import pytest

from adapters.simulators.mirakl import changes
from statemachine.facts import DecisionKind
from tests.consumer.rig import Rig
from tests.consumer.situations.in_oms_hands import decide, explained, question, tell


def cure(rig: Rig, name: str) -> str:
    return next(one.cure for one in explained(rig).attention if one.reason == name)


def given_to(rig: Rig, centre: str) -> None:
    changes.set_centre(rig.mirakl["alpha"], "1-A", centre)
    rig.poll(600)


# -- Somebody else ships it --------------------------------------------------------------------------------------


def withheld(rig: Rig) -> None:
    changes.withhold(rig.mirakl["alpha"], "1-A")
    rig.poll(600)


@pytest.mark.parametrize("how", [lambda rig: given_to(rig, "ELSEWHERE"), withheld], ids=["centre", "withheld"])
def test_what_the_oms_stopped_of_an_order_of_another_centre_is_not_missing(
    rig: Rig, how: Callable[[Rig], None]
) -> None:
    rig.imported(lines=2)
    how(rig)
    tell(rig, 128)
    assert sorted(rig.attention()) == ["not_ours_to_ship", "oms_canceled"]
    assert "somebody else ships this order, so nothing is missing" in cure(rig, "oms_canceled")
    assert "somebody else ships the order, so nothing is missing" in question(rig, DecisionKind.SETTLE, "oms_canceled")
    assert "have the OMS make it again" not in question(rig, DecisionKind.SETTLE, "oms_canceled")
    decide(rig, DecisionKind.SETTLE, "oms_canceled")
    assert rig.attention() == ["not_ours_to_ship"]
    assert "somebody else ships the order, so nothing is missing" in explained(rig).waits_for
    assert "nobody makes it" not in explained(rig).waits_for


def test_when_the_other_centre_has_shipped_it_nothing_is_missing_either(rig: Rig) -> None:
    rig.imported()
    given_to(rig, "ELSEWHERE")
    tell(rig, 128)
    changes.put_in_state(rig.mirakl["alpha"], "1-A", "SHIPPED")
    rig.poll(600)
    assert rig.attention() == ["oms_canceled"]
    assert "so nothing is missing" in cure(rig, "oms_canceled")
    assert "make them again" not in cure(rig, "oms_canceled")


def test_an_order_that_comes_back_to_the_shop_is_missing_again(rig: Rig) -> None:
    rig.imported()
    given_to(rig, "ELSEWHERE")
    tell(rig, 128)
    given_to(rig, "DEFAULT")
    assert "oms_canceled" in rig.attention()
    assert "somebody else" not in cure(rig, "oms_canceled")


LINE_CANCELED = [{"items": [{"external_ref": "1-A-2", "quantity": 1}]}]


@pytest.mark.parametrize("is_settled", [True, False])
def test_what_the_oms_canceled_cannot_go_on_there(rig: Rig, is_settled: bool) -> None:
    rig.imported(lines=2)
    given_to(rig, "ELSEWHERE")
    tell(rig, 128)
    if is_settled:
        decide(rig, DecisionKind.SETTLE, "oms_canceled")
    given_to(rig, "DEFAULT")
    assert ("oms_canceled" in rig.attention()) is not is_settled
    said = cure(rig, "go_on_in_oms")
    assert said.startswith("The OMS canceled it")
    assert ("have it made again" if is_settled else "oms_canceled says what to do") in said
    assert "let" not in said.partition("settle")[0]


def test_of_what_the_oms_canceled_in_part_the_rest_goes_on(rig: Rig) -> None:
    rig.imported(lines=2)
    given_to(rig, "ELSEWHERE")
    tell(rig, 4, new_cancellations=LINE_CANCELED)
    decide(rig, DecisionKind.SETTLE, "oms_canceled")
    given_to(rig, "DEFAULT")
    said = cure(rig, "go_on_in_oms")
    assert said.startswith("The OMS canceled 1-A-2 (MUG-11OZ-WHT), so it does not go on there: have it made again")
    assert "let that go on" in said


def test_what_the_oms_makes_goes_on_there(rig: Rig) -> None:
    rig.imported(lines=2)
    given_to(rig, "ELSEWHERE")
    given_to(rig, "DEFAULT")
    assert cure(rig, "go_on_in_oms").startswith("If somebody stopped it in the OMS, let it go on there")


# -- Mirakl does not show it -------------------------------------------------------------------------------------


def gone_and_canceled(rig: Rig, *settled: str, days: int) -> None:
    """Mirakl does not show the order, the OMS cancels it, a person settles these reasons, and Mirakl shows it again."""
    rig.imported()
    changes.set_fields(rig.mirakl["alpha"], "1-A", shipping_deadline="2026-03-20T12:00:00Z")
    rig.poll(60)
    shown = rig.mirakl["alpha"]._records["1-A"]
    rig.mirakl["alpha"].remove("1-A")
    for _ in range(days):
        rig.poll(24 * 3600 + 60)
    tell(rig, 128)
    decide(rig, DecisionKind.SETTLE, *settled)
    assert not {*settled} & {*rig.attention()}
    rig.mirakl["alpha"]._records["1-A"] = shown
    changes.set_fields(rig.mirakl["alpha"], "1-A")
    rig.poll(24 * 3600 + 60)


@pytest.mark.parametrize("days", [2, 3])
def test_an_order_that_is_shown_again_and_that_nobody_makes_is_asked_for_again(rig: Rig, days: int) -> None:
    """`days`: after two of them one read by the order's id has missed it, after three it counts as gone."""
    gone_and_canceled(rig, "oms_canceled", days=days)
    assert rig.attention() == ["oms_canceled"]
    decide(rig, DecisionKind.SETTLE, "oms_canceled")
    assert rig.attention() == []
    rig.poll(600)
    assert rig.attention() == []


def test_an_order_that_is_shown_again_after_both_settles_is_asked_for_once(rig: Rig) -> None:
    gone_and_canceled(rig, "oms_canceled", "gone_from_mirakl", days=3)
    assert rig.attention() == ["go_on_in_oms"]


def test_what_the_oms_makes_again_is_not_asked_for_when_the_order_is_shown_again(rig: Rig) -> None:
    gone_and_canceled(rig, "oms_canceled", days=3)
    tell(rig, 1, id=99)
    assert rig.attention() == []


# -- A line is not to be sent ------------------------------------------------------------------------------------


def test_a_line_with_an_incident_that_the_oms_canceled_is_not_said_to_be_there(rig: Rig) -> None:
    rig.imported(lines=2)
    changes.set_line(rig.mirakl["alpha"], "1-A", "1-A-2", order_line_state="INCIDENT_OPEN")
    rig.poll(60)
    causes = {one.reason: one.cause for one in explained(rig).attention}
    assert causes["line_incident"] == "1-A-2 (MUG-11OZ-WHT) is INCIDENT_OPEN, the OMS has it"
    tell(rig, 4, new_cancellations=LINE_CANCELED)
    causes = {one.reason: one.cause for one in explained(rig).attention}
    assert causes["line_incident"] == "1-A-2 (MUG-11OZ-WHT) is INCIDENT_OPEN, the OMS canceled it"


def test_a_line_that_the_oms_did_not_cancel_is_to_be_made_too(rig: Rig) -> None:
    rig.imported(lines=2)
    changes.refund(rig.mirakl["alpha"], "1-A", "1-A-2")
    rig.poll(60)
    decide(rig, DecisionKind.SETTLE, "lines_canceled_after_import")
    changes.set_line(rig.mirakl["alpha"], "1-A", "1-A-2", refunds=[])
    rig.poll(60)
    assert cure(rig, "lines_added_after_import").startswith("Have the OMS make them too")
