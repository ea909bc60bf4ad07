"""Prometheus with our rules sees alerts of `demo --chaos` fire and resolve: on Kafka and PostgreSQL, in many processes.

A process is killed every six seconds meanwhile. For OrdersLoopFailing a loop has to fail for a minute in one process.
So while it is waited for, a process is killed every 20 seconds only.
"""

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import psycopg
import pytest
import sqlalchemy as sa
from rich.console import Console

from adapters.simulators.faults import Fault
from adapters.simulators.serve import SimulatedWorld
from adapters.simulators.stories_ordinary import ORDINARY
from adapters.store import orders as order_rows
from adapters.store.transaction import Store
from consumer import config
from consumer.config import ENV_PREFIX
from consumer.demo import full
from consumer.demo.desk import Desk, desk_of
from consumer.demo.fleet import Fleet
from consumer.demo.full import CHAOS_EVERY_SECONDS, full_demo
from tests.engines import needs
from tests.watch.prometheus import Prometheus, is_installed
from tests.watch.scene import MANY, call_back_garbage
from tests.watch.test_fires import FACTOR, FIRST

#: They fire until the order that a person holds is released.
OF_HELD: Final = frozenset({"OrdersNeedAttention", "OrdersAcceptanceDeadlineNear"})
#: Mirakl refuses what was not accepted within this time. The scaled limit of 240 s is longer, so it is always near.
ACCEPT_WITHIN_SECONDS: Final = 235
#: Fires when another session locks the orders.
LOOP: Final = "OrdersLoopFailing"
SLOW_CHAOS_SECONDS: Final = 20.0
#: Far beyond the end of the topic.
TOO_FAR: Final = 1_000_000


class Night:
    """What goes wrong during the demo, and what Prometheus sees of it."""

    def __init__(
        self, folder: Path, store: Store, other: "psycopg.Connection[Any]", pace: Callable[[float], None]
    ) -> None:
        """`other`: another session at the database. `pace` sets how often a process is killed."""
        self.folder, self.store, self._other, self._pace = folder, store, other, pace
        self.fired: set[str] = set()
        self.resolved: set[str] = set()
        self.prometheus: Prometheus | None = None
        self._todo = [self._harm, self._all_fired, self._loop_failed, self._others_resolved, self._held_resolved]
        self._world: SimulatedWorld
        self._fleet: Fleet
        self._desk: Desk
        self._held = self._snapshots = ""

    def begin(self, world: SimulatedWorld, fleet: Fleet) -> None:
        self._world, self._fleet = world, fleet
        settings = config.load(self.folder / "orderflow.toml")
        self._desk, self._snapshots = desk_of(settings, self.store), settings.topics.snapshots
        world.mirakl["alpha"].knobs.faults.append(Fault("OR21", "503", count=MANY))
        targets = {name: member.port for name, member in fleet.members.items()}
        self.prometheus = Prometheus.start(self.folder / "prometheus", targets, factor=FACTOR)

    def look(self, _seconds: float, _fleet: Fleet) -> None:
        """Take the next step, if the one before has shown what it had to show."""
        if self._todo and self._todo[0]():
            del self._todo[0]

    @property
    def is_over(self) -> bool:
        return not self._todo

    def _firing(self) -> set[str]:
        """Which of FIRST fire now. Of the orders that need a person only the held one counts: stories have others."""
        assert self.prometheus is not None
        labels = [one["labels"] for one in self.prometheus.ask("alerts")["alerts"] if one["state"] == "firing"]
        of_others = [one for one in labels if one["alertname"] == "OrdersNeedAttention" and one["reason"] != "held"]
        return {one["alertname"] for one in labels if one not in of_others} & FIRST

    def _harm(self) -> bool:
        """When an order that no story cancels waits for its acceptance, a person holds it, and all else goes wrong."""
        plain = {("alpha", life.order_id) for life in self._world.world.lives if life.story == "plain"}
        states = order_rows.states(self.store)
        held = next((key[1] for key in plain & states.keys() if states[key] == "waiting_acceptance"), "")
        if not held or self._desk.decide("alpha", held, "hold"):
            return False
        self._held = held
        self._world.mirakl["alpha"].knobs.faults.append(Fault("OR11", "503", count=MANY))
        self._world.mirakl["beta"].knobs.faults.append(
            Fault("OR11", "answer", count=MANY, status=401, content='{"message": "no", "status": 401}')
        )
        call_back_garbage(self._fleet.members["web-0"].port, "alpha")
        # A consumer notices at its next assignment; each kill makes one.
        self._sql("UPDATE progress SET position = position + :far WHERE topic = :topic AND partition = 0")
        return True

    def _all_fired(self) -> bool:
        """When all have fired, another session locks the orders: consumers and workers stand still."""
        self.fired |= self._firing()
        if not self.fired >= FIRST:
            return False
        self._other.execute("LOCK TABLE orders IN SHARE MODE")
        self._pace(SLOW_CHAOS_SECONDS)
        return True

    def _loop_failed(self) -> bool:
        """When a loop has failed, all is cured but for the order that is held: it keeps the demo from its end."""
        if LOOP not in self._names():
            return False
        self.fired.add(LOOP)
        self._other.rollback()
        self._pace(CHAOS_EVERY_SECONDS)
        for simulator in self._world.mirakl.values():
            simulator.knobs.faults.clear()
        self._sql("UPDATE dead_letters SET state = 'discarded'")
        self._sql(
            "UPDATE progress SET position = position - :far, was_shorter = false WHERE topic = :topic AND partition = 0"
        )
        return True

    def _others_resolved(self) -> bool:
        self.resolved |= (FIRST | {LOOP}) - self._firing() - (self._names() & {LOOP}) - OF_HELD
        return self.resolved == (FIRST | {LOOP}) - OF_HELD and not self._desk.decide("alpha", self._held, "release")

    def _held_resolved(self) -> bool:
        self.resolved |= FIRST - self._firing()
        return self.resolved == FIRST | {LOOP}

    def _names(self) -> set[str]:
        assert self.prometheus is not None
        return self.prometheus.firing()

    def _sql(self, statement: str) -> None:
        with self.store.transaction() as tx:
            tx.execute(sa.text(statement), {"far": TOO_FAR, "topic": self._snapshots} if ":far" in statement else {})


@pytest.mark.minutes
def test_alerts_fire_and_resolve_while_processes_are_killed(
    tmp_path: Path, kafka_servers: list[str], postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    needs("" if is_installed() else "prometheus, Debian's package")
    monkeypatch.setenv(f"{ENV_PREFIX}SHOPS__ALPHA__DEADLINES__ACCEPT_WITHIN_HOURS", str(ACCEPT_WITHIN_SECONDS / 3600))
    store, out = Store(postgres_url), io.StringIO()
    other = psycopg.connect(postgres_url.replace("+psycopg", ""))
    night = Night(tmp_path, store, other, lambda seconds: monkeypatch.setattr(full, "CHAOS_EVERY_SECONDS", seconds))
    try:
        outcome = full_demo(
            orders=40,
            folder=tmp_path,
            console=Console(file=out, width=120),
            kafka_at=kafka_servers,
            postgres_at=postgres_url,
            chaos=True,
            stories=ORDINARY,  # the others depend on what happens within seconds, and orders are locked for a minute
            stalled_seconds=300,
            on_started=night.begin,
            on_look=night.look,
        )
    finally:
        other.close()
        store.close()
        if night.prometheus is not None:
            night.prometheus.stop()
    assert night.fired == FIRST | {LOOP}, out.getvalue()
    assert night.is_over, f"resolved: {night.resolved}\n{out.getvalue()}"
    assert outcome.passed, out.getvalue()
    assert "had died and was started again" in out.getvalue()
