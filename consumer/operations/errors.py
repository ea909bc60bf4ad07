"""The errors of the operations: each says why something that a person asked for was not done."""

import shlex
from collections.abc import Collection

from adapters.errors import OrderflowError


class NotPossible(OrderflowError):
    """A person asked for something that is not possible now, or that does not exist. The text says why."""


class UnknownOrder(NotPossible):
    """No order has the id that a person named. The text names the command that looks for it.

    `other`: an order whose id differs in upper and lower case only; empty if none is known.
    """

    def __init__(self, order_id: str, where: str = "", options: str = "", other: str = "") -> None:
        look = f"`orderflow orders list --text {shlex.quote(order_id)}{options}`"
        found = f"there is an order {other}: upper and lower case count" if other else ""
        ways = found or f"{look} looks for it in longer ids and in references"
        super().__init__(f"there is no order {order_id}{where}; {ways}")
        self.order_id, self.where, self.other = order_id, where, other

    def with_options(self, options: str) -> "UnknownOrder":
        """The same error. The command in it gets these options too."""
        return UnknownOrder(self.order_id, self.where, options, self.other)


class NotUnique(OrderflowError):
    """Several shops have an order with the id that a person named."""


class NothingToReset(OrderflowError):
    """The log has no partition of the topic and number that a person named."""


class EventsRefused(OrderflowError):
    """A file to publish holds an event that the consumer would dead-letter, or that the consumer does not read."""


def require_shop(shop: str, known: Collection[str]) -> None:
    """Raise NotPossible if the shop is none of those that the store knows."""
    if shop not in known:
        raise NotPossible(f"there is no shop {shop}; these are: {', '.join(sorted(known)) or 'none'}")


def require_reason(why: str) -> None:
    """Raise NotPossible if the reason is blank, or if it is WHY, for which a person has to put a reason."""
    if not why.strip():
        raise NotPossible("--reason is blank")
    if why.strip() == "WHY":
        raise NotPossible("--reason WHY: put your own reason for the word WHY")
