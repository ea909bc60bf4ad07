"""Waves of orders with one plain life each, and how long the service takes from Mirakl to the shipment at Mirakl.

The life has no pauses of its own: the customer pays at once, and the OMS dispatches at once. So the time from the
order's creation to OR24 is the service's own time.
"""

import threading
import time
from collections.abc import Collection, Iterable, Mapping
from itertools import count

from kafka.partitioner.default import murmur2

from adapters.simulators.audit import audit
from adapters.simulators.books import Effect
from adapters.simulators.mirakl.model import SENT
from adapters.simulators.orders import KNOWN_SKUS, MARKETPLACES, Line, build_order
from adapters.simulators.serve import TICK_SECONDS, SimulatedWorld
from adapters.simulators.stage import Life, Script, Stage
from adapters.simulators.story import Story
from adapters.simulators.world import World
from adapters.store import orders as order_rows
from adapters.store.transaction import Store
from consumer.demo.journal_summaries import journal_summaries
from consumer.demo.settings import PARTITIONS
from tests.sick.service import Service
from tests.support import wait

_numbers = count(200_000)


def _steady(stage: Stage) -> Script:
    of, mirakl = stage.life, stage.mirakl
    yield of.arrives_at_seconds
    order = build_order(
        mirakl.marketplace,
        of.order_id,
        created=mirakl.now(),
        lines=of.lines,
        workflow=of.workflow,
        shipping_type=of.shipping_type,
        person=of.number,
    )
    with mirakl.lock:  # so that no request sees the order without its messages
        mirakl.add_order(order, ())
        for sender, body in of.messages:
            mirakl.post_message(of.order_id, body, sender)
    yield from stage.accepted()
    mirakl.advance_debit(of.order_id)
    mirakl.confirm_debit(of.order_id)
    yield from stage.imported()
    stage.dispatch(tracking=of.trackings[0])
    yield stage.is_in(*SENT)
    yield lambda: mirakl.tracking(of.order_id) == of.last_tracking


STORIES: Mapping[str, Story] = {"steady": Story(_steady)}


def life(shop: str, arrives_at_seconds: float) -> Life:
    """One order of a shop, with an id that no other order of this process has."""
    number = next(_numbers)
    order_id = f"{70_014_000 + number}-A" if shop == "alpha" else f"C{number:09d}FR-B"
    tracking = f"SICK{number}"
    return Life(
        marketplace=shop,
        order_id=order_id,
        story="steady",
        number=number,
        seed=1,
        arrives_at_seconds=arrives_at_seconds,
        workflow="PAY_ON_ACCEPTANCE",
        shipping_type=MARKETPLACES[shop].shipping_types[0].code,
        lines=(Line(KNOWN_SKUS[shop][number % 4]),),
        messages=(),
        trackings=(tracking,),
        ends="shipped",
        accepted_by="api",
        imported=True,
        shipped_by="api",
        last_tracking=tracking,
        goods=((f"{order_id}-1", 1),),
    )


def lives_of(shops: Iterable[str], seconds: float, every_seconds: float) -> list[Life]:
    """An order of each shop every `every_seconds`, for `seconds`."""
    rounds = range(max(1, round(seconds / every_seconds)))
    return [life(shop, number * every_seconds) for number in rounds for shop in shops]


class Wave:
    """Orders that arrive from now on. A thread plays their lives until all have ended, or until `stop`."""

    def __init__(self, simulated: SimulatedWorld, lives: Collection[Life]) -> None:
        self.lives = tuple(lives)
        self._simulated = simulated
        self._world = World(self.lives, simulated.mirakl, simulated.oms, stories=STORIES)
        self._began = time.monotonic()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._play, name="wave", daemon=True)
        self._thread.start()

    def settled(self, store: Store) -> bool:
        """Whether every order has ended: at the remotes, and in the store."""
        if not self._world.settled():
            return False
        states = order_rows.states(store)
        return all(states.get((one.marketplace, one.order_id)) == one.ends for one in self.lives)

    def waiting(self) -> list[str]:
        """The ids of the orders that have not ended at the remotes."""
        return [one.order_id for one in self._world.unsettled()]

    def stop(self) -> None:
        self._stopping.set()
        self._thread.join(10)

    def seconds(self) -> dict[str, float]:
        """How long each shipped order took from its creation to OR24, by order id."""
        return {one.order_id: took for one in self.lives if (took := took_of(self._effects(one.order_id))) is not None}

    def findings(self, store: Store) -> list[str]:
        """What the audit finds in these orders."""
        effects = [effect for one in self.lives for effect in self._effects(one.order_id)]
        return [*self._world.findings(), *audit(self.lives, effects, journal_summaries(store, {}))]

    def _effects(self, order_id: str) -> tuple[Effect, ...]:
        return self._simulated.books.effects(order_id=order_id)

    def _play(self) -> None:
        while not self._stopping.wait(TICK_SECONDS) and not self._world.settled():
            self._world.tick(time.monotonic() - self._began)


def play_beside(service: Service, one: Life) -> None:
    """Play one more life, which the part that is sick touches. It has to end within 90 s after the part was healed."""
    wave = Wave(service.simulated, [one])
    service.held.callback(wave.stop)
    service.held.callback(wait, lambda: wave.settled(service.store), f"{one.order_id} has ended", 90)


def took_of(effects: Iterable[Effect]) -> float | None:
    """Seconds from the order's creation at Mirakl to the effect of OR24; None if one of both is not in the books."""
    at = {one.kind: one.at for one in effects if one.kind in ("created", "shipped")}
    return (at["shipped"] - at["created"]).total_seconds() if len(at) == 2 else None


def snapshots_partition(life: Life) -> int:
    """The partition of the order's snapshots, as Kafka's default partitioner chooses it."""
    key = f"{life.marketplace}:{life.order_id}".encode()
    return int((murmur2(key) & 0x7FFFFFFF) % PARTITIONS["snapshots"])
