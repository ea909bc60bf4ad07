"""What a reason says: its meaning and cure, when a person has to act, which calls it holds, and what ends it.

reasons.py has a row for each reason.
"""

from dataclasses import dataclass
from enum import StrEnum

from statemachine.commands import CommandKind


class Urgency(StrEnum):
    """When a person has to act on a reason, the most urgent first. The list of orders shows these values."""

    NOW = "now"  # goods are made or on their way that must be stopped or changed
    BY_DEADLINE = "deadline"  # before the deadline that Mirakl or the policy names
    WAITS = "wait"  # a read ends it, and a person decides nothing

    @property
    def rank(self) -> int:
        """Its place, 0 for the most urgent. The store sorts by it."""
        return list(type(self)).index(self)


class EndsBy(StrEnum):
    """What ends a reason. `orders settle` ends those with SETTLE, and also `already_in_oms`."""

    FACT = "fact"  # Mirakl or the OMS shows something else
    SETTLE = "settle"  # a person marks it as seen
    RELEASE = "release"  # a person lets the calls be made
    RETRY = "retry"  # a person opens the call again
    SENT = "sent"  # all of the order was sent: the OMS reports it, or a person vouches
    UPGRADE = "upgrade"  # a version of orderflow that can read, plan or move the order


@dataclass(frozen=True, slots=True)
class About:
    """What a person has to know of one reason, what the reason does to the calls of its order, and what ends it."""

    meaning: str
    cure: str  # what a person does about it
    holds: frozenset[CommandKind] = frozenset()  # the calls that are not made while it stands
    ends_by: EndsBy = EndsBy.SETTLE
    urgency: Urgency = Urgency.BY_DEADLINE
    urgency_in_oms: Urgency | None = None  # if `urgent_if` is so; None: the same
    urgent_if: str = "the OMS has it"  # has the order, or may have it; urgency_of_order.py decides
    urgency_when_stopped: Urgency | None = None  # if the OMS canceled what is to be stopped there; None: the same
    cure_when_sent: str = ""  # what a person does instead if the goods have left; empty: the same
    detail: str = ""  # what the detail of the reason holds, for programs; empty: the lines, or what its meaning says
