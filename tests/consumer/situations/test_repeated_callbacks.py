"""Equal callbacks of the OMS: within ten hours a repeat, later or after another report something new."""

import json
from dataclasses import replace
from typing import Any

import pytest

from adapters.messages.cloudevents import record_of
from adapters.messages.oms_events import oms_event
from adapters.simulators.orders import COMPANIES
from adapters.store import journal as journal_rows
from statemachine.facts import DecisionKind
from statemachine.questions.receipts import MOST_REPEATS
from tests.consumer.rig import OMS_EVENTS, Rig
from tests.consumer.situations.in_oms_hands import decide, tell

HOUR = 3600


def canceled(rig: Rig) -> None:
    """The OMS cancels the order, and a person settles that: the people of the OMS make it again."""
    rig.imported()
    tell(rig, 128)
    assert rig.attention() == ["oms_canceled"]
    rig.clock.advance(60)
    decide(rig, DecisionKind.SETTLE, "oms_canceled")
    assert rig.attention() == []


def take(rig: Rig, body: bytes) -> None:
    rig.clock.advance(60)
    rig.take_callback("http://alpha", {}, body)
    rig.consume()


def take_unreadable(rig: Rig, **changed: Any) -> None:
    """The event of a callback whose order id cannot be read."""
    rig.clock.advance(60)
    event = oms_event(
        COMPANIES["alpha"], json.dumps({"id": 7, "external_ref": "1-A", "status": 4}).encode(), rig.clock.now()
    )
    event = replace(event, data=event.data.replace(b'"id": 7', b'"id": "x"'), **changed)
    rig.log.publish([record_of(OMS_EVENTS, event)])
    rig.consume()


def test_the_last_repeat_of_ten_hours_is_no_news_and_the_same_report_three_days_later_is(rig: Rig) -> None:
    canceled(rig)
    for _ in range(5):
        rig.clock.advance(2 * HOUR)
        tell(rig, 128)
        assert rig.attention() == []
    rig.clock.advance(3 * 24 * HOUR)
    tell(rig, 128)
    assert "oms_canceled" in rig.attention()


def test_a_repeat_counts_from_the_first_of_its_run(rig: Rig) -> None:
    """The third equal report comes 18 hours after the first. KornitX repeats for ten hours, so it is no repeat."""
    canceled(rig)
    rig.clock.advance(9 * HOUR)
    tell(rig, 128)
    assert rig.attention() == []
    rig.clock.advance(9 * HOUR)
    tell(rig, 128)
    assert rig.attention() == ["oms_canceled"]


@pytest.mark.parametrize("changed", [{}, {"id": "17"}], ids=["callback", "published by the OMS"])
def test_a_report_that_cannot_be_read_comes_between_two_equal_ones(rig: Rig, changed: dict[str, str]) -> None:
    """The OMS says that it makes the order again, in a report that cannot be read, and cancels it once more."""
    canceled(rig)
    take_unreadable(rig, **changed)
    assert rig.attention() == ["report_unreadable"]
    tell(rig, 128)
    assert rig.attention() == ["oms_canceled", "report_unreadable"]


def test_a_report_that_cannot_be_read_is_told_again_days_later_and_its_repeats_are_not(rig: Rig) -> None:
    rig.imported()
    take_unreadable(rig)
    rig.clock.advance(60)
    decide(rig, DecisionKind.SETTLE, "report_unreadable")
    take_unreadable(rig)
    assert rig.attention() == []
    rig.clock.advance(3 * 24 * HOUR)
    take_unreadable(rig)
    assert "report_unreadable" in rig.attention()


def test_a_sender_that_repeats_a_callback_without_end_makes_a_bounded_journal(rig: Rig) -> None:
    canceled(rig)
    body = json.dumps({"id": rig.row().facts.parts[0].oms_id, "external_ref": "1-A", "status": 128}).encode()
    for _ in range(3 * MOST_REPEATS):
        take(rig, body)
    assert len(rig.row().facts.receipts) == 1 + MOST_REPEATS
    events = [one for one in journal_rows.of_order(rig.store, rig.row().key) if one.event.trigger == "oms_event"]
    assert len(events) == 1 + MOST_REPEATS
    assert rig.attention() == []
    tell(rig, 4)
    take(rig, body)
    assert rig.attention() == ["oms_canceled"]
