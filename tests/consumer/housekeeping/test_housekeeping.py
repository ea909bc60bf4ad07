"""The work that one worker process does for all processes."""

from datetime import timedelta
from pathlib import Path

import pytest
import sqlalchemy as sa

from adapters.store import commands as command_rows
from adapters.store import orders as order_rows
from adapters.store import policies as policy_rows
from adapters.store import schema as s
from consumer.bootstrap import new_housekeeping
from consumer.housekeeping import housekeeping
from statemachine.commands import Policy
from statemachine.events import Trigger
from tests.consumer.rig import Rig


def test_orders_are_planned_again_after_the_policy_changed_while_nothing_ran(tmp_path: Path) -> None:
    rig = Rig(tmp_path, policies={"alpha": Policy("hold")})
    rig.add("1-A")
    rig.poll()
    assert rig.attention() == ["needs_decision"]
    rig.policies["alpha"] = Policy("all")
    new_housekeeping(rig.base).turn()
    assert [command.kind for command in command_rows.of_order(rig.store, rig.row().key)] == ["accept_order"]
    assert rig.attention() == []


def test_an_answer_that_mirakl_has_leaves_nothing_to_decide_though_the_policy_changed_meanwhile(tmp_path: Path) -> None:
    """`orders accept` and `orders refuse` would not be possible: Mirakl has the answer, and a read has to show it."""
    rig = Rig(tmp_path, policies={"alpha": Policy("all")})
    rig.add("1-A")
    rig.poll()
    rig.fail("OR21", "204_not_applied")
    rig.work()
    rig.policies["alpha"] = Policy("hold")
    keeper = new_housekeeping(rig.base)
    keeper.turn()
    assert rig.state() == "accepted"
    assert rig.attention() == []
    rig.poll(600)
    assert rig.state() == "waiting_acceptance", "the answer was never applied"
    assert rig.attention() == ["needs_decision"]


def test_every_process_plans_by_the_policy_that_the_last_start_stored(tmp_path: Path) -> None:
    """The rig's own settings say "all", as those of a process that was not restarted yet."""
    rig = Rig(tmp_path)
    stored(rig, Policy("hold"))
    rig.add("1-A")
    rig.poll()
    assert rig.attention() == ["needs_decision"]
    assert rig.work() == 0
    assert rig.row().planned_by == 1


def test_open_orders_behind_the_newest_policy_are_planned_again_at_once(tmp_path: Path) -> None:
    rig = Rig(tmp_path)
    stored(rig, Policy("hold"))
    for number in range(3):
        rig.add(f"{number}-A")
    rig.add("4-A", state="SHIPPED")
    rig.poll()
    keeper = new_housekeeping(rig.base)
    keeper.turn()
    stored(rig, Policy("all"))
    rig.clock.advance(housekeeping.BEHIND_EVERY_SECONDS)
    keeper.turn()
    assert {rig.row(f"{number}-A").planned_by for number in range(3)} == {2}
    assert [rig.attention(f"{number}-A") for number in range(3)] == [[], [], []]
    assert rig.row("4-A").planned_by == 1, "an order that has ended is not planned again"
    assert order_rows.behind(rig.store, "alpha", 2, 100) == []


def test_an_order_that_older_code_planned_is_planned_again(tmp_path: Path) -> None:
    rig = Rig(tmp_path)
    stored(rig, Policy("all"))
    rig.add("1-A")
    rig.poll()
    keeper = new_housekeeping(rig.base)
    keeper.turn()
    with rig.store.writing() as connection:
        connection.execute(sa.update(s.orders).values(planned_by=0, attention="[]"))
    rig.clock.advance(housekeeping.BEHIND_EVERY_SECONDS)
    keeper.turn()
    assert rig.row().planned_by == 1


def stored(rig: Rig, policy: Policy) -> None:
    """A process with this policy starts."""
    with rig.store.transaction() as tx:
        policy_rows.store(tx, {"alpha": policy}, rig.clock.now())


def test_the_embedded_log_loses_applied_records_after_a_week(tmp_path: Path) -> None:
    """The last record of each partition is kept, so that new records do not get old offsets."""
    rig = Rig(tmp_path)
    rig.add("1-A")
    rig.poll()
    rig.mirakl["alpha"].accept_in_portal("1-A")
    rig.poll()
    keeper = new_housekeeping(rig.base)
    keeper.turn()
    assert len(rig.records()) == 2
    rig.clock.advance(timedelta(days=7, seconds=1).total_seconds())
    keeper.turn()
    assert len(rig.records()) == 1


# -- The clock -----------------------------------------------------------------------------------------------------


def test_an_order_whose_shipping_deadline_comes_near_is_told_by_an_event_of_the_clock(tmp_path: Path) -> None:
    """The simulator's order has to be shipped within three days of its creation."""
    rig = Rig(tmp_path)
    rig.imported()
    due_at = rig.row().wake_at
    assert due_at is not None
    keeper = new_housekeeping(rig.base)
    keeper.turn()
    rows = len(rig.journal())

    rig.clock.advance((due_at - rig.clock.now()).total_seconds() - 1)
    keeper.turn()
    assert rig.attention() == []
    rig.clock.advance(1)
    keeper.turn()
    keeper.turn()
    assert rig.attention() == ["shipping_due"]
    assert rig.row().wake_at is None
    (told,) = rig.journal()[rows:]
    assert (told.event.trigger, told.event.source) == (Trigger.CLOCK, "/orderflow/clock")
    assert told.event.new_facts.clock == rig.row().facts.clock == rig.clock.now()


def test_a_decision_that_nobody_makes_is_told_before_mirakl_refuses_the_order(tmp_path: Path) -> None:
    rig = Rig(tmp_path, policies={"alpha": Policy("hold")})
    rig.add("1-A")
    rig.poll()
    keeper = new_housekeeping(rig.base)
    rig.clock.advance(timedelta(hours=36).total_seconds())
    keeper.turn()
    assert rig.attention() == ["acceptance_due", "needs_decision"]


def test_a_payment_that_takes_long_is_told_until_it_comes(tmp_path: Path) -> None:
    rig = Rig(tmp_path)
    rig.add("1-A", state="WAITING_DEBIT")
    rig.poll()
    keeper = new_housekeeping(rig.base)
    rig.clock.advance(timedelta(hours=48).total_seconds())
    keeper.turn()
    assert rig.attention() == ["payment_late"]
    rig.mirakl["alpha"].confirm_debit("1-A")
    rig.poll()
    assert rig.attention() == []


def test_orders_are_woken_in_bounded_batches_without_a_pause(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(housekeeping, "WAKE_BATCH", 2)
    rig = Rig(tmp_path)
    for number in range(5):
        rig.add(f"{number}-A", state="SHIPPING")
    rig.poll()
    keeper = new_housekeeping(rig.base)
    keeper.turn()
    rig.clock.advance(timedelta(days=3).total_seconds())
    waits = [keeper.turn() for _ in range(3)]
    told = [rig.attention(f"{number}-A") for number in range(5)]
    assert told == [["shipping_due"]] * 5
    assert waits == [0.0, 0.0, housekeeping.IDLE_SECONDS]


def test_an_order_that_a_version_before_stored_without_its_instant_gets_one(tmp_path: Path) -> None:
    """If a process of the version before still writes rows, such an order gets its instant within six hours."""
    rig = Rig(tmp_path)
    rig.imported()
    wake_at = rig.row().wake_at
    keeper = new_housekeeping(rig.base)
    for seconds in (0, housekeeping.REPLAN_EVERY.total_seconds() + 1):
        rig.clock.advance(seconds)
        with rig.store.writing() as connection:
            connection.execute(s.orders.update().values(wake_at=None))
        keeper.turn()
        assert rig.row().wake_at == wake_at is not None
