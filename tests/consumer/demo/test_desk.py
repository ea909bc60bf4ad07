"""The simulated person of the demo, while the store does not answer."""

import sqlite3
from pathlib import Path

from adapters.store import orders as order_rows
from adapters.store.transaction import Store
from consumer.demo.desk import LOOK_EVERY, Desk
from tests.consumer.rig import Rig


def test_the_list_stays_as_it_was_while_the_store_does_not_answer(tmp_path: Path) -> None:
    rig = Rig(tmp_path)
    rig.add("1-A")
    rig.poll()
    desk = Desk(rig.store, rig.orders, rig.clock, {"alpha"})
    assert desk.decide("alpha", "1-A", "hold") == ""
    assert set(desk.reasons("alpha", "1-A")) == {"held"}
    desk.store = Store(f"sqlite:///{tmp_path}/no-such-folder/orderflow.db")
    rig.clock.advance(LOOK_EVERY.total_seconds())
    assert set(desk.reasons("alpha", "1-A")) == {"held"}


def test_a_decision_is_made_when_the_store_answers_again(tmp_path: Path) -> None:
    rig = Rig(tmp_path, busy_seconds=0.05)
    rig.add("1-A")
    rig.poll()
    desk = Desk(rig.store, rig.orders, rig.clock, {"alpha"})
    other = sqlite3.connect(rig.path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    assert desk.decide("alpha", "1-A", "hold") == ""
    other.close()
    assert order_rows.attention(rig.store) == {}
    assert set(desk.reasons("alpha", "1-A")) == {"held"}
    rig.clock.advance(LOOK_EVERY.total_seconds())
    desk.decide("alpha", "1-A", "release")
    assert desk.decide("alpha", "1-A", "release") != "", "the hold was decided once"
