"""The work that one worker process does for all processes."""

from datetime import timedelta
from pathlib import Path

from adapters.store import commands as command_rows
from consumer.bootstrap import new_housekeeping
from statemachine.commands import Policy
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


def test_the_embedded_log_loses_applied_records_after_a_week(tmp_path: Path) -> None:
    """The last record of each partition is kept, so that new records do not get old offsets."""
    rig = Rig(tmp_path)
    rig.add("1-A")
    rig.poll()
    rig.mirakl["alpha"].accept_in_portal("1-A")
    rig.poll()
    housekeeping = new_housekeeping(rig.base)
    housekeeping.turn()
    assert len(rig.records()) == 2
    rig.clock.advance(timedelta(days=7, seconds=1).total_seconds())
    housekeeping.turn()
    assert len(rig.records()) == 1
