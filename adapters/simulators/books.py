"""The books: a list of everything that the simulated remotes really did to each order."""

import threading
from collections import defaultdict
from dataclasses import dataclass
from datetime import datetime
from typing import Any


@dataclass(frozen=True, slots=True)
class Effect:
    """One change of an order at a remote.

    A request that the remote refuses has no effect. OR23 has one each time, also with the same tracking.
    """

    at: datetime
    place: str  # the marketplace's name, or "oms"
    order_id: str  # Mirakl's order id; at the OMS the external_ref
    kind: str  # created accepted refused debited tracking shipped ... imported part_created dispatched ...
    by: str  # api (the shop's key), person (portal), marketplace (operator, deadline), customer, oms
    detail: dict[str, str]

    def as_json(self) -> dict[str, Any]:
        return {
            "at": self.at.isoformat(),
            "place": self.place,
            "order_id": self.order_id,
            "kind": self.kind,
            "by": self.by,
            "detail": self.detail,
        }


class Books:
    """All effects, in the order in which they happened. The audit compares them with orderflow's journal."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._effects: list[Effect] = []
        self._by_order: defaultdict[str, list[Effect]] = defaultdict(list)

    def record(self, at: datetime, place: str, order_id: str, kind: str, by: str, **detail: str) -> None:
        effect = Effect(at, place, order_id, kind, by, detail)
        with self._lock:
            self._effects.append(effect)
            self._by_order[order_id].append(effect)

    def effects(self, place: str | None = None, order_id: str | None = None) -> tuple[Effect, ...]:
        with self._lock:
            found = list(self._effects if order_id is None else self._by_order.get(order_id, ()))
        return tuple(effect for effect in found if place in (None, effect.place))

    def as_json(self) -> list[dict[str, Any]]:
        return [effect.as_json() for effect in self.effects()]
