"""When a person has to act on an order."""

from enum import StrEnum


class Urgency(StrEnum):
    """When a person has to act on a reason. A name is what the list of orders shows, from the most urgent down."""

    NOW = "now"  # goods are made or on their way that must be stopped or changed
    BY_DEADLINE = "deadline"  # before the deadline that Mirakl or the policy names
    WAITS = "wait"  # a read ends it, and a person decides nothing
