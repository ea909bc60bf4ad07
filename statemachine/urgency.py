"""When a person has to act on an order, and what ends the reason for it.

Which reason has which urgency is in reasons.py.
"""

from enum import StrEnum


class Urgency(StrEnum):
    """When a person has to act on a reason, the most urgent first. The list of orders shows these values."""

    NOW = "now"  # goods are made or on their way that must be stopped or changed
    BY_DEADLINE = "deadline"  # before the deadline that Mirakl or the policy names
    WAITS = "wait"  # a read ends it, and a person decides nothing


class EndsBy(StrEnum):
    """What ends a reason. `orders settle` ends those with SETTLE, and also `already_in_oms`."""

    FACT = "fact"  # Mirakl or the OMS shows something else
    SETTLE = "settle"  # a person marks it as seen
    RELEASE = "release"  # a person lets the calls be made
    RETRY = "retry"  # a person opens the call again
    SENT = "sent"  # all of the order was sent: the OMS reports it, or a person vouches
    UPGRADE = "upgrade"  # a version of orderflow that can read, plan or move the order
