"""The store does not make the last look of a call: the call is made a little later, and not when its lease runs out."""

from collections.abc import Iterator
from contextlib import ExitStack
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from adapters.errors import StoreUnavailable
from consumer.calling.last_looks import LastLook, LastLooks, OrderHeld
from consumer.calling.worker import LOOK_AGAIN_SECONDS
from tests.consumer.calling.test_locked_results import holding, transactions
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


# -- On PostgreSQL -------------------------------------------------------------------------------------------------


@pytest.fixture
def three(tmp_path: Path, postgres_store_url: str) -> Iterator[Rig]:
    """Three orders to accept."""
    rig = Rig(tmp_path, store_url=postgres_store_url)
    for order_id in ("1-A", "2-A", "3-A"):
        rig.add(order_id, state="WAITING_ACCEPTANCE")
    rig.poll(60)
    yield rig
    rig.store.close()


def test_a_locked_order_costs_its_own_last_look_alone_and_the_batch_waits_for_nothing(three: Rig) -> None:
    """The calls of its batch waited for up to 3 s with it."""
    rig = three
    lease = timedelta(seconds=rig.settings.worker.lease_seconds)
    looks = LastLooks(rig.store, rig.orders, rig.worker.shops, rig.clock, lease)
    claims = rig.worker.claims.claim(3)
    rig.clock.advance(1)
    with holding(rig, "2-A"), transactions(rig) as begun:
        found = looks.look([LastLook(claim) for claim in claims])
        assert {claim.order.order_id: type(error) for claim, error in zip(claims, found, strict=True)} == {
            "1-A": type(None),
            "2-A": OrderHeld,
            "3-A": type(None),
        }
        assert len(begun) == 1, "which was not halved"
    ends = {order_id: rig.command(order_id).lease_until - rig.clock.now() for order_id in ("1-A", "2-A", "3-A")}
    assert ends == {"1-A": lease, "2-A": lease - timedelta(seconds=1), "3-A": lease}


def test_a_call_whose_order_is_locked_for_a_moment_is_made_as_soon_as_the_lock_is_gone(three: Rig) -> None:
    rig = three
    claim = rig.worker.claim()
    assert claim is not None
    tries: list[str] = []
    with ExitStack() as lock:
        lock.enter_context(holding(rig, claim.order.order_id))

        def note(_connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
            if "FROM orders" in statement and "FOR UPDATE" in statement:
                tries.append("passes over" if "SKIP LOCKED" in statement else "waits")
                lock.close() if tries[-1] == "waits" else None

        sa.event.listen(rig.store.engine, "before_cursor_execute", note)
        rig.worker.call(claim)
        sa.event.remove(rig.store.engine, "before_cursor_execute", note)
    assert tries == ["passes over", "waits"]
    assert made(rig) == ["accepted"]
