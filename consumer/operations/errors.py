"""Why something that a person asked for is not done."""

from adapters.errors import OrderflowError


class NotPossible(OrderflowError):
    """What a person asked for is not possible now, or names something that is not there. The text says why."""


class NotUnique(OrderflowError):
    """Several shops have an order with the id that a person named."""


class NothingToReset(OrderflowError):
    """The log has no partition of the topic and number that a person named."""


class EventsRefused(OrderflowError):
    """A file to publish holds an event that the consumer would dead-letter, or that it does not read."""


def require_reason(why: str) -> None:
    """Raises NotPossible for a blank reason."""
    if not why.strip():
        raise NotPossible("--reason is blank")
