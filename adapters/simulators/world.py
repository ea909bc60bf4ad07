"""The simulated world: makes the lives of the orders, and plays their stories on the simulators."""

import logging
import random
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from itertools import cycle
from typing import Final

from adapters.simulators.mirakl.marketplace import MiraklSimulator
from adapters.simulators.mirakl.model import SENT, Marketplace
from adapters.simulators.oms.oms import OmsSimulator
from adapters.simulators.orders import ALPHA, BETA, COMPANIES, FRAMED, KNOWN_SKUS, Line
from adapters.simulators.stage import Desk, Life, Script, Stage
from adapters.simulators.stories import STORIES
from adapters.simulators.story import Story

log = logging.getLogger("orderflow.simulators")

BODIES = (
    'Please print the caption:<br />"Canary & Sons, est. 1987"',
    "One more thing: the Canary in blue, please.<br />Thank you",
    "Is it &lt;gift wrapped&gt;? It is for Canary's birthday.",
)


#: How many orders arrive a second: 200 orders within 35 s.
ORDERS_PER_SECOND: Final = 200 / 35


def make_lives(
    orders: int,
    seed: int,
    marketplaces: Sequence[Marketplace] = (ALPHA, BETA),
    stories: Mapping[str, Story] = STORIES,
    orders_per_second: float = ORDERS_PER_SECOND,
) -> list[Life]:
    """Make the lives. The same arguments give the same lives. From 150 orders on, every story occurs.

    Half of the lives are plain, or fewer if the other half has no room for every story. At least a fifth are plain.
    `stories`: those that occur, by name. The plain one is that of STORIES if it is not among them.
    """
    known = {**STORIES, **stories}
    chance = random.Random(seed)
    special = [name for name in stories if name != "plain"]
    chance.shuffle(special)
    turns = cycle(special)
    others = max(orders // 2, min(len(special), orders * 4 // 5))
    names = ["plain"] * (orders - others) + [next(turns) for _ in range(others)]
    chance.shuffle(names)
    lives = []
    for number, name in enumerate(names):
        # If none of these marketplaces has the story, the life is a plain one.
        fitting = [one for one in marketplaces if one.name in known[name].marketplaces]
        story, marketplace = (name, chance.choice(fitting)) if fitting else ("plain", chance.choice(marketplaces))
        at = chance.uniform(0, orders / orders_per_second)
        lives.append(_life(number, story, known[story], marketplace, seed=seed, arrives_at_seconds=at))
    return lives


def life_of(story: str, seed: int = 1, marketplaces: Sequence[Marketplace] = (ALPHA, BETA)) -> Life:
    """Make one life of this story, which arrives at once, on the first of these marketplaces that has the story."""
    marketplace = next(one for one in marketplaces if one.name in STORIES[story].marketplaces)
    return _life(1, story, STORIES[story], marketplace, seed=seed, arrives_at_seconds=0.0)


def _life(
    number: int, name: str, story: Story, marketplace: Marketplace, *, seed: int, arrives_at_seconds: float
) -> Life:
    chance = random.Random(f"{seed}/{number}/{name}")
    skus = KNOWN_SKUS[marketplace.name][:FRAMED]
    lines = [
        Line(chance.choice(skus), chance.choice((1, 1, 1, 2, 3)), chance.choice((9.5, 12.0, 24.9)))
        for _ in range(chance.randint(*story.lines))
    ]
    messages = []
    if story.messages:
        messages = [("CUSTOMER_USER", body) for body in BODIES[: chance.randint(1, 3)]]
        messages.insert(1, ("SHOP_USER", "Thank you, Canary, we will see to it."))
    prefix = "JD" if marketplace.name == "alpha" else "6A"
    trackings = tuple(f"{prefix}{number:06d}{chance.randint(1000, 9999)}{i}" for i in range(story.trackings))
    kinds = marketplace.shipping_types
    kind = kinds[story.shipping_type] if story.shipping_type is not None else chance.choice(kinds)
    keeps = story.keeps_tracking
    order_id, changed = _order_id(marketplace, number), tuple(story.adjust(marketplace.name, lines))
    goods = story.goods(changed) if story.imported else {}
    return Life(
        marketplace=marketplace.name,
        order_id=order_id,
        story=name,
        number=number,
        seed=seed,
        arrives_at_seconds=arrives_at_seconds,
        workflow=story.workflow,
        shipping_type=kind.code,
        lines=changed,
        messages=tuple(messages),
        trackings=trackings,
        ends=story.ends,
        accepted_by=story.accepted_by,
        imported=story.imported,
        shipped_by=story.shipped_by,
        last_tracking=trackings[keeps] if trackings and keeps is not None else None,
        goods=tuple((f"{order_id}-{index + 1}", pieces) for index, pieces in goods.items()),
        reasons=story.reasons,
        attributes=story.attributes,
        refused_by=story.refused_by,
    )


def _order_id(marketplace: Marketplace, number: int) -> str:
    """Make an order id. Each operator has its own form, and a client must not parse it (docs/mirakl.md 4.1)."""
    if marketplace.name == "alpha":
        return f"{70_014_000 + number}-A"
    return f"C{number:09d}FR-B"


class World:
    """Plays the stories. `speed` divides their delays."""

    def __init__(
        self,
        lives: Sequence[Life],
        simulators: Mapping[str, MiraklSimulator],
        oms: OmsSimulator,
        speed: float = 1.0,
        *,
        companies: Mapping[str, int] = COMPANIES,
        stories: Mapping[str, Story] = STORIES,
    ) -> None:
        """`stories` holds the story of each life by name, as for `make_lives`."""
        stories = {**STORIES, **stories}
        self.lives = tuple(lives)
        self._speed = speed
        self._oms = oms
        self._stages = [
            Stage(
                life,
                simulators[life.marketplace],
                oms,
                companies[life.marketplace],
                speed=speed,
                fields=stories[life.story].fields,
            )
            for life in lives
        ]
        # Stage, script, and what the script waits for: seconds since the start, or a condition.
        self._waiting: list[tuple[Stage, Script, float | Callable[[], bool]]] = [
            (stage, stories[stage.life.story].script(stage), 0.0) for stage in self._stages
        ]

    def use(self, desk: Desk) -> None:
        """Let this person act in the stories that need one. Without this call no person acts."""
        for stage in self._stages:
            stage.desk = desk

    def tick(self, elapsed_seconds: float) -> None:
        """Do everything that is due by now. An exception ends the story in which it occurs, and no other story."""
        waiting = []
        for stage, script, wait in self._waiting:
            try:
                left = self._run(script, wait, elapsed_seconds)
            except Exception as error:  # a person's decision may leave nothing of what the story acts on
                log.exception("the story %s of %s failed, and ends here", stage.life.story, stage.order_id)
                stage.failed(error)
                left = None
            if left is None:
                stage.finished = True
            else:
                waiting.append((stage, script, left))
        self._waiting = waiting

    def _run(
        self, script: Script, wait: float | Callable[[], bool], elapsed_seconds: float
    ) -> float | Callable[[], bool] | None:
        """Run a script until it has to wait. Returns the time or condition that it waits for, or None at its end."""
        while wait() if callable(wait) else wait <= elapsed_seconds:
            since = elapsed_seconds if callable(wait) else wait
            try:
                step = next(script)
            except StopIteration:
                return None
            # A delay starts when the step was due, and not at this tick, so that a late tick makes no life longer.
            wait = step if callable(step) else since + step / self._speed
        return wait

    def settled(self) -> bool:
        """Whether every story has ended, every order is in its last state, and no notification waits for delivery."""
        return not self._waiting and not self.unsettled() and self._oms.callbacks.pending() == 0

    def unsettled(self) -> list[Life]:
        return [stage.life for stage in self._stages if not (stage.finished and _at_end(stage))]

    def findings(self) -> list[str]:
        """Return what went wrong on the way of an order, as sentences."""
        return [f"{one.order_id} ({one.life.story}): {text}" for one in self._stages for text in one.findings]

    def progress(self) -> dict[str, int]:
        """Count the lives: all, the settled ones, and those in each of Mirakl's states. "to come" counts the lives that
        Mirakl does not show: they have not begun, or their order was removed."""
        counts = Counter("to come" if stage.state() is None else str(stage.state()).lower() for stage in self._stages)
        settled = len(self._stages) - len(self.unsettled())
        return {"lives": len(self._stages), "settled": settled, **counts}


def _at_end(stage: Stage) -> bool:
    life, state = stage.life, stage.state()
    if state is None:  # the marketplace removed the order
        return True
    if life.ends != "shipped":
        return state == ("SHIPPING" if life.ends in ("imported", "dispatched") else life.ends.upper())
    return state in SENT and stage.mirakl.tracking(life.order_id) == life.last_tracking
