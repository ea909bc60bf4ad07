"""What can happen to an order. consumer/applying/ applies every event, also the events of workers and of people."""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

from statemachine.facts import Facts


class Trigger(StrEnum):
    """The kinds of event. The table says which kind may move an order along which edge."""

    SNAPSHOT = "snapshot"  # Mirakl was read
    OMS_EVENT = "oms_event"  # the OMS reported
    CALL = "call"  # our worker claimed a command, or brings its result
    DECISION = "act"  # a person decided
    CLOCK = "clock"  # an instant of deadlines.py has passed; made by consumer/housekeeping/housekeeping.py


@dataclass(frozen=True, slots=True)
class Event:
    """One event of one order.

    `source` and `event_id` together are unique for ever: a second event with both is a repeat (docs/rules.md 10).
    `new_facts` is all that the event adds to the facts, without personal data. `raw` is an order's bytes as received,
    and `digest` is the digest that its snapshot has. `references` are texts by which the customer, the seller and the
    marketplace call an order that was read; they may be personal data. `note` is shown in the timeline: words of closed
    sets and numbers, no personal data.
    """

    source: str
    event_id: str
    shop: str
    order_id: str
    trigger: Trigger
    at: datetime
    new_facts: Facts = field(default_factory=Facts)
    raw: bytes | None = None
    digest: str = ""
    references: tuple[str, ...] = ()
    note: dict[str, str | int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, eq=False)
class Sealed:
    """An event of which only its envelope was read: enough to count a repeat. `open` reads the rest, or raises."""

    source: str
    event_id: str
    shop: str
    order_id: str
    trigger: Trigger
    open: Callable[[], Event]
