"""The OMS has an order from somebody else, and cancels pieces of it before the order is accepted."""

from collections.abc import Callable
from pathlib import Path

import pytest

from adapters.simulators.mirakl import changes
from statemachine.facts import DecisionKind
from tests.consumer.rig import Rig
from tests.consumer.situations.in_oms_hands import decide, tell


@pytest.fixture
def rig(tmp_path: Path) -> Rig:
    rig = Rig(tmp_path)
    rig.switch(effects=False)
    rig.add("1-A", state="SHIPPING", quantity=2)
    rig.poll()
    tell(rig, 1, id=900)
    rig.switch(effects=True)
    return rig


def waits_with(rig: Rig, pieces: int) -> None:
    """Mirakl shows the order waiting for the acceptance, with so many pieces of those that the OMS got."""
    changes.put_in_state(rig.mirakl["alpha"], "1-A", "WAITING_ACCEPTANCE")
    changes.set_line(rig.mirakl["alpha"], "1-A", "1-A-1", quantity=pieces)
    rig.poll(60)


def oms_cancels_one(rig: Rig) -> None:
    tell(rig, 4, id=900, new_cancellations=[{"items": [{"external_ref": "1-A-1", "quantity": 1}]}])


@pytest.mark.parametrize("canceled_first", [True, False])
@pytest.mark.parametrize("pieces", [1, 2])
def test_a_person_looks_at_the_cancellation_before_the_order_is_accepted(
    rig: Rig, pieces: int, canceled_first: bool
) -> None:
    """Also if Mirakl shows as many pieces fewer."""
    acts: list[Callable[[Rig], None]] = [oms_cancels_one, lambda rig: waits_with(rig, pieces)]
    for act in acts if canceled_first else acts[::-1]:
        rig.switch(effects=False)
        act(rig)
    rig.switch(effects=True)
    rig.work()
    assert rig.effects() == []
    assert rig.attention() == ["oms_canceled"]
    decide(rig, DecisionKind.SETTLE)
    rig.work()
    assert rig.effects() == ["accepted"]
