"""Each story of the demo, played alone and without threads: poller, log, consumer, worker and the person at the desk.

The audit must find nothing wrong. tests/adapters/simulators/test_audit_of_stories.py shows what the audit finds.
"""

from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from adapters.simulators.audit import audit
from adapters.simulators.faults import Fault
from adapters.simulators.mirakl.model import Marketplace
from adapters.simulators.orders import ALPHA, BETA, KNOWN_SKUS, MAPPED_CARRIER, MARKETPLACES, ROUTES
from adapters.simulators.stories import STORIES
from adapters.simulators.stories_ordinary import ORDINARY
from adapters.simulators.world import World, life_of
from consumer import bootstrap
from consumer.demo.desk import Desk
from consumer.demo.journal_summaries import journal_summaries
from statemachine.commands import Policy
from tests.consumer.rig import Rig

STEP_SECONDS = 0.5
STEPS_BETWEEN_POLLS = 3
#: As in consumer/demo/settings.py, waits that take minutes or hours in a real shop take seconds in a story. They are
#: longer here, because the retries of the rig wait longer.
QUICK = Policy(
    gone_after=timedelta(seconds=5),
    retrying_after=timedelta(seconds=15),
    tracking_holds_for=timedelta(seconds=20),
    messages_wait=timedelta(seconds=45),
)
POLICIES = {
    "alpha": QUICK,
    "beta": replace(QUICK, acceptance="known-skus", known_skus=frozenset(KNOWN_SKUS["beta"])),
}
LIMIT_SECONDS = 120.0
#: The answer is held in real time until the story goes on, which needs a thread of its own.
NEEDS_THREADS = {"dispatch_before_answer"}


def play(
    folder: Path,
    story: str,
    marketplaces: Sequence[Marketplace] = (ALPHA, BETA),
    faults: Sequence[Fault] = (),
    seed: int = 1,
) -> list[str]:
    """Play one story to its end, or for two minutes of its clock. Returns the findings of the audit.

    `faults`: of the OMS, beside those of the story.
    """
    life = life_of(story, seed, marketplaces)
    carriers = {MAPPED_CARRIER: MARKETPLACES[life.marketplace].carriers[0].label}
    rig = Rig(folder, shops=(life.marketplace,), policies=POLICIES, shop_table={"carriers": carriers})
    rig.oms.knobs.routes = dict(ROUTES)
    rig.oms.knobs.faults += faults
    desk = Desk(rig.store, rig.orders, rig.clock, (life.marketplace,))
    world = World([life], rig.mirakl, rig.oms)
    world.use(desk)
    housekeeping = bootstrap.new_housekeeping(rig.base)
    step = 0
    while not world.settled() and step * STEP_SECONDS < LIMIT_SECONDS:
        step += 1
        world.tick(step * STEP_SECONDS)
        if step % STEPS_BETWEEN_POLLS:
            rig.clock.advance(STEP_SECONDS)
            rig.consume()
        else:
            rig.poll(STEP_SECONDS)
        if rig.is_something_due():
            rig.work()
            rig.consume()
            housekeeping.turn()
    for _ in range(3):
        rig.poll(1)
        rig.work()
    findings = world.findings() + audit(world.lives, rig.books.effects(), journal_summaries(rig.store, desk.seen))
    if not world.settled():
        findings.append(f"stalled in {rig.state(life.order_id)}, attention {rig.attention(life.order_id)}")
    return findings


@pytest.mark.parametrize("story", sorted(STORIES.keys() - NEEDS_THREADS))
def test_a_story_ends_as_it_should(tmp_path: Path, story: str) -> None:
    assert play(tmp_path, story) == []


@pytest.mark.parametrize(
    "story", [name for name, one in STORIES.items() if len(one.marketplaces) == 2 and name not in ORDINARY]
)
def test_a_story_of_trouble_ends_as_it_should_on_the_other_marketplace(tmp_path: Path, story: str) -> None:
    assert play(tmp_path, story, (BETA, ALPHA)) == []


def test_a_person_vouches_again_while_the_outcome_of_the_import_is_not_known(tmp_path: Path) -> None:
    """The OMS has the order, its answer is lost, and the goods leave before the import is tried again.

    With this seed the OMS reports nothing before.
    """
    faults = [Fault("order", "500_after")]
    assert play(tmp_path, "sent_without_report", faults=faults, seed=10) == []
