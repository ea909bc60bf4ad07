"""The store does not make the last look of a call: the call is made a little later, and not when its lease runs out."""

from pathlib import Path
from typing import Any

import pytest

from adapters.errors import StoreUnavailable
from consumer.worker import LOOK_AGAIN_SECONDS
from tests.consumer.rig import Rig
from tests.consumer.test_not_now import refusing


def made(rig: Rig) -> list[str]:
    return [effect.kind for effect in rig.books.effects() if effect.by == "api"]


def is_last_look(statement: str, _parameters: Any) -> bool:
    return statement.startswith("UPDATE commands") and "maybe_sent=" in statement and "payload=" in statement


@pytest.mark.parametrize("sqlstate", ["55P03", "57014"])
def test_a_call_whose_order_is_locked_at_its_last_look_is_made_a_second_later(tmp_path: Path, sqlstate: str) -> None:
    rig = Rig(tmp_path)
    rig.add("1-A", state="WAITING_ACCEPTANCE")
    rig.poll(60)
    with refusing(rig, sqlstate, is_last_look), pytest.raises(StoreUnavailable):
        rig.worker.turn()
    assert made(rig) == []
    rig.clock.advance(LOOK_AGAIN_SECONDS)
    assert rig.work() == 1
    assert made(rig) == ["accepted"]


def test_while_the_store_answers_nothing_the_call_waits_for_the_store_alone(tmp_path: Path) -> None:
    rig = Rig(tmp_path)
    rig.add("1-A", state="WAITING_ACCEPTANCE")
    rig.poll(60)
    looked: list[str] = []

    def from_the_last_look_on(statement: str, parameters: Any) -> bool:
        looked.extend(["look"] if is_last_look(statement, parameters) else [])
        return bool(looked)

    with refusing(rig, "08006", from_the_last_look_on):
        for _ in range(3):
            with pytest.raises(StoreUnavailable):
                rig.worker.turn()
    rig.clock.advance(LOOK_AGAIN_SECONDS)
    rig.work()
    assert made(rig) == ["accepted"]
