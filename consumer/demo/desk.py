"""Plays the person of the demo: reads the list of orders that need a person, and decides as `orderflow orders` does."""

from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Final

from adapters.clock import SystemClock
from adapters.errors import StoreUnavailable
from adapters.ports import Clock
from adapters.store import orders as order_rows
from adapters.store.transaction import Store
from consumer import config, stores
from consumer.applying.apply import OrderWriter
from consumer.config import Settings
from consumer.operations import orders as operations
from consumer.operations.errors import NotPossible
from statemachine.facts import EPOCH, DecisionKind

#: The list is read again after this time at the earliest.
LOOK_EVERY: Final = timedelta(seconds=0.25)


@dataclass(slots=True)
class Desk:
    """Reads the list and decides. `seen` keeps for the audit every reason that a look found on the list.

    While the store does not answer, the list stays as it was, and decisions are applied when it answers again.
    """

    store: Store
    writer: OrderWriter
    clock: Clock
    shops: Collection[str]
    seen: dict[tuple[str, str], set[str]] = field(default_factory=dict)
    _now: Mapping[tuple[str, str], frozenset[str]] = field(default_factory=dict)
    _looked_at: datetime = EPOCH
    _to_decide: list[tuple[str, str, str, Sequence[str]]] = field(default_factory=list)  # the arguments of `decide`

    def reasons(self, shop: str, order_id: str, /) -> Collection[str]:
        now = self.clock.now()
        if now - self._looked_at >= LOOK_EVERY:
            self._looked_at = now
            with suppress(StoreUnavailable):
                self._look()
        return self._now.get((shop, order_id), frozenset())

    def _look(self) -> None:
        while self._to_decide:
            self._decide(*self._to_decide[0])
            del self._to_decide[0]
        self._now = order_rows.attention(self.store)
        for key, found in self._now.items():
            self.seen.setdefault(key, set()).update(found)

    def decide(self, shop: str, order_id: str, act: str, only: Sequence[str] = (), /) -> str:
        try:
            return self._decide(shop, order_id, act, only)
        except StoreUnavailable:
            self._to_decide.append((shop, order_id, act, only))
            return ""

    def _decide(self, shop: str, order_id: str, act: str, only: Sequence[str]) -> str:
        try:
            operations.decide(
                self.store,
                self.writer,
                operations.find(self.store, order_id, shop),
                _act(DecisionKind(act), only, self.clock.now()),
                shops=self.shops,
            )
        except NotPossible as error:
            return str(error)
        return ""


def _act(kind: DecisionKind, only: Sequence[str], now: datetime) -> operations.Act:
    names_lines = kind in (DecisionKind.ACCEPT, DecisionKind.REFUSE)
    act = operations.Act(kind, "demo", "as the story goes", now)
    return replace(act, lines=only) if names_lines else replace(act, only=only)


def desk_of(settings: Settings, store: Store) -> Desk:
    """Make a desk with a writer of its own, as each command of the command line has one."""
    clock = SystemClock()
    writer = OrderWriter(store, config.policies(settings), clock, outbox=stores.outbox_of(settings))
    return Desk(store, writer, clock, settings.shops)
