"""Two web processes take the callbacks of one order. The log may hold them in any order."""

import json
from collections.abc import Sequence
from itertools import permutations
from pathlib import Path

import pytest

from adapters.ports import NewRecord
from consumer.config import shop_ids
from consumer.operations import orders as operations
from consumer.web.callbacks import CallbackEndpoint
from statemachine.facts import DecisionKind as Kind
from statemachine.facts import Dispatch, Facts, Tracking
from statemachine.questions.receipts import dispatches_once, repeats
from statemachine.questions.trackings import best_tracking
from tests.consumer.rig import OMS_EVENTS, Rig


class Taken:
    """A log that only keeps what is published. The test brings the records to the rig's log, in the order it wants."""

    def __init__(self) -> None:
        self.records: list[NewRecord] = []

    def publish(self, records: Sequence[NewRecord]) -> None:
        self.records += records


class Intakes:
    """Two endpoints of one shop, each as of a process of its own."""

    def __init__(self, rig: Rig) -> None:
        self.rig, self.taken = rig, Taken()
        self.processes = [self._endpoint() for _ in range(2)]

    def _endpoint(self) -> CallbackEndpoint:
        return CallbackEndpoint(
            "alpha",
            99001,
            lambda: ("secret",),
            writer=self.taken,
            topic=OMS_EVENTS,
            shops=shop_ids(self.rig.settings),
            keep=self.rig.orders.keep,
            hooks=self.rig.metrics,
            clock=self.rig.clock,
        )

    def take(self, process: int, **callback: object) -> NewRecord:
        """A process takes a callback a minute later. Returns the record."""
        self.rig.clock.advance(60)
        body = {"id": 46140204, "external_ref": "1-A", "status": 4} | callback
        assert self.processes[process].take(json.dumps(body).encode()).status_code == 200
        return self.taken.records[-1]

    def arrive(self, *records: NewRecord) -> Facts:
        self.rig.log.publish(records)
        self.rig.consume()
        return self.rig.row().facts


@pytest.fixture
def intakes(tmp_path: Path) -> Intakes:
    return Intakes(Rig(tmp_path))


def numbers(dispatches: Sequence[Dispatch]) -> list[str]:
    return [one.tracking.number for one in sorted(dispatches, key=lambda one: one.told_at)]


@pytest.mark.parametrize("arrival", [*permutations(range(3))], ids=str)
@pytest.mark.parametrize("third", [0, 1], ids=["taken by the first process", "taken by the second process"])
def test_tracking_a_then_b_then_a_ends_with_a(intakes: Intakes, arrival: tuple[int, ...], third: int) -> None:
    taken = [
        intakes.take(process, status=8, shipping_tracking=number)
        for process, number in ((0, "A"), (1, "B"), (third, "A"))
    ]
    facts = intakes.arrive(*(taken[n] for n in arrival))
    assert best_tracking(facts).number == "A"
    assert numbers(dispatches_once(facts)) == ["A", "B", "A"]


@pytest.mark.parametrize("arrival", [*permutations(range(3))], ids=str)
def test_a_repeat_that_another_process_takes_is_no_news(intakes: Intakes, arrival: tuple[int, ...]) -> None:
    taken = [
        intakes.take(process, status=8, shipping_tracking=number) for process, number in ((0, "A"), (0, "B"), (1, "B"))
    ]
    facts = intakes.arrive(*(taken[n] for n in arrival))
    assert best_tracking(facts).number == "B"
    assert numbers(dispatches_once(facts)) == ["A", "B"]
    assert repeats(facts) == {max(one.at for one in facts.receipts)}


def test_a_report_that_arrives_between_a_callback_and_its_repeat_makes_the_repeat_news(intakes: Intakes) -> None:
    first, other, again = (intakes.take(0, status=8, shipping_tracking=number) for number in "ABA")
    assert len(dispatches_once(intakes.arrive(first, again))) == 1
    facts = intakes.arrive(other)
    assert best_tracking(facts).number == "A"
    assert repeats(facts) == frozenset()


def settle(rig: Rig) -> None:
    act = operations.Act(Kind.SETTLE, "ana", "seen", rig.clock.now())
    operations.decide(rig.store, rig.orders, rig.row(), act, shops=("alpha",))


def test_a_cancelation_that_a_person_settled_stays_settled_when_another_process_takes_its_repeat(
    intakes: Intakes,
) -> None:
    rig = intakes.rig
    rig.add("1-A", state="SHIPPING")
    rig.poll()
    intakes.arrive(intakes.take(0, status=128))
    assert rig.attention() == ["oms_canceled"]
    settle(rig)
    intakes.arrive(intakes.take(1, status=128))
    assert rig.attention() == []
    intakes.arrive(intakes.take(0, status=4), intakes.take(1, status=128))
    assert rig.attention() == ["oms_canceled"], "the OMS made the order again, and canceled it again"


def test_a_tracking_that_a_person_named_stays_when_another_process_takes_a_repeat(intakes: Intakes) -> None:
    rig = intakes.rig
    rig.add("1-A", state="SHIPPING", quantity=2)
    rig.poll()
    parcel = {"tracking": "T1", "items": [{"external_ref": "1-A-1", "quantity": 1}]}
    intakes.arrive(intakes.take(0, status=512, new_shipments=[parcel]))
    rig.clock.advance(60)
    act = operations.Act(Kind.SENT, "ana", "seen", rig.clock.now(), tracking=Tracking("DPD", "BY-HAND"))
    operations.decide(rig.store, rig.orders, rig.row(), act, shops=("alpha",))
    assert best_tracking(rig.row().facts).number == "BY-HAND"
    facts = intakes.arrive(intakes.take(1, status=512, new_shipments=[parcel]))
    assert best_tracking(facts).number == "BY-HAND"


def test_an_event_that_the_oms_published_itself_is_never_a_repeat_by_its_content(intakes: Intakes) -> None:
    record = intakes.take(0, status=8)
    event = json.loads(record.value or b"")
    records = [
        NewRecord(record.topic, record.key, json.dumps(event | {"id": f"{n}"}).encode(), record.headers) for n in (1, 2)
    ]
    assert intakes.arrive(*records).receipts == ()
