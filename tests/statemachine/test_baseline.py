"""The baseline: what the oldest read shows of an order that is ready for an import."""

from dataclasses import replace
from itertools import permutations

import pytest

from statemachine.commands import Policy
from statemachine.facts import Handover, Line, Snapshot, Withdrawn
from statemachine.joining import join, snapshot_facts
from statemachine.plan import awaits_read_after, plan
from tests.statemachine.lives import at, read, snapshot_event, spoke
from tests.statemachine.planning import known

PRICES = (("prices", "0c8a"),)
LINE = Line("L1", "", "MUG", 1)


def test_the_oldest_read_counts_in_any_order_of_arrival() -> None:
    """The first of these reads may arrive last, after the OMS's report and after the change."""
    first = read("SHIPPING", updated=1, began=10, contents=PRICES)
    changed = read("SHIPPING", updated=2, began=20, lines=(Line("L1", "", "MUG", 1), Line("L2", "CANCELED", "TEE")))
    waiting = read("WAITING_ACCEPTANCE", updated=0, began=0, lines=(Line("L1", "", "MUG", 9),))
    events = [*map(snapshot_event, (waiting, first, changed)), spoke()]
    ends = [known(*order) for order in permutations(events)]
    assert all(one == ends[0] for one in ends)
    assert ends[0].baseline == Handover(at(10), (("L1", 2), ("L2", 1)), PRICES)
    assert [one.token for one in plan(ends[0], Policy()).attention] == ["lines_canceled_after_import:L1 (1 of 2),L2"]


@pytest.mark.parametrize(
    "one",
    [
        read("WAITING_ACCEPTANCE"),
        read("SHIPPING", has_address=False),
        read("SHIPPED"),
        replace(read("SHIPPING"), import_digest=""),
    ],
    ids=["before the payment", "without an address", "shipped", "read by a version before"],
)
def test_a_read_of_an_order_that_is_not_ready_for_an_import_is_none(one: Snapshot) -> None:
    assert snapshot_facts(one).baseline is None


def test_what_was_withdrawn_before_counts_as_in_the_oms() -> None:
    lines = (
        Line("L1", "", "MUG", 2, Withdrawn.PART),
        Line("L2", "REFUNDED", "TEE", 1, Withdrawn.WHOLE),
        Line("L3", "REFUSED", "CUP", 1),
        Line("L4", "", "CAP", None),
        Line("L5", "INCIDENT_OPEN", "PEN", 2),
        Line("L6", "CANCELED", "BAG", 0),
        Line("L7", "SHIPPED", "HAT", 1, Withdrawn.WHOLE),
    )
    contents = (*PRICES, ("withdrawn of L1", "0d"))
    assert snapshot_facts(read("SHIPPING", lines=lines, contents=contents)).baseline == Handover(
        at(0),
        (("L1", 2), ("L2", 1), ("L5", 2), ("L6", 1)),
        (*PRICES, ("unclear L2", ""), ("unclear L5", ""), ("unclear L6", "")),
    )


def test_a_line_that_somebody_else_may_have_left_out_is_told_when_it_ends_and_when_it_is_owed() -> None:
    """The first read shows an incident of the line, and the OMS has the order from somebody else."""
    first = read("SHIPPING", updated=1, began=10, lines=(LINE, Line("L2", "INCIDENT_OPEN", "TEE", 2)))
    found = {}
    for state in ("CANCELED", ""):
        later = read("SHIPPING", updated=2, began=20, lines=(LINE, Line("L2", state, "TEE", 2)))
        events = (*map(snapshot_event, (first, later)), spoke())
        (attention,) = {plan(known(*order), Policy()).attention for order in permutations(events)}
        found[state] = [one.token for one in attention]
    assert found == {
        "CANCELED": ["lines_canceled_after_import:L2"],
        "": ["lines_added_after_import:L2 (0, now 2)"],
    }


def test_an_order_that_a_version_before_read_waits_for_one_read() -> None:
    """That version kept no baseline, and the poller does not publish an order that has not changed."""
    stored = replace(known(snapshot_event(read("SHIPPING", began=10)), spoke()), baseline=None)
    assert awaits_read_after(stored) == at(10)
    again = join(stored, snapshot_facts(read("SHIPPING", began=20)))
    assert again.baseline is not None
    assert awaits_read_after(again) is None
