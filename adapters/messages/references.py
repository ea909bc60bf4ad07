"""The references of an order of OR11: texts by which customer, seller and marketplace call it."""

from collections.abc import Mapping
from hashlib import sha256
from typing import Any, Final

from adapters.messages.text import storable

#: The most references of an order, and the most characters of one.
_MOST_REFERENCES: Final = 10
_LONGEST_REFERENCE: Final = 200


def references_of(order_id: str, order: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the references of customer, seller and marketplace in an order of OR11. They may hold personal data.

    One with which the order's id begins is left out, as `commercial_id` mostly is: the id says the same.
    """
    references = order.get("references")
    named = [order.get("commercial_id"), *(references.values() if isinstance(references, dict) else ())]
    texts = (storable(one, _LONGEST_REFERENCE) for one in named if isinstance(one, str))
    return tuple(dict.fromkeys(one for one in texts if not order_id.startswith(one)))[:_MOST_REFERENCES]


def digest_of(order_id: str, references: tuple[str, ...]) -> str:
    """A digest of 32 bits, salted with the order's id, so that no reference can be found from it."""
    return sha256("\n".join((order_id, *references)).encode()).hexdigest()[:8] if references else ""
