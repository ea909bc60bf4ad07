"""Finds the items of a batch that the store refuses, or that wait for a lock, and lets all others through."""

from collections.abc import Callable, Sequence
from typing import Final, TypeVar

from adapters.errors import Fenced, StoreUnavailable
from adapters.store.transaction import Store

Item = TypeVar("Item")
Outcome = TypeVar("Outcome")

#: After so many tries of one batch that waited for a lock, what waits is not halved any more: each try takes
#: SHARED_LOCK_SECONDS. One locked order in 128 needs eight.
MOST_WAITS: Final = 12


def halved(
    items: Sequence[Item], act: Callable[[Sequence[Item]], Sequence[Outcome]], store: Store
) -> list[Outcome | Exception]:
    """Call `act` with all items. If it raises, the items are halved until each that raises is alone.

    `act` is one transaction, and returns one outcome for each item. Returns the outcomes; for an item that raises alone
    the exception: StoreUnavailable if another transaction holds locked what the item needs. Raises StoreUnavailable if
    the store takes no other write either, and Fenced.
    """
    waits = 0

    def outcomes(some: Sequence[Item]) -> list[Outcome | Exception]:
        nonlocal waits
        try:
            return list(act(some))
        except Fenced:
            raise
        except StoreUnavailable as error:
            if not store.is_locked_in_part(error):
                raise
            waits += 1
            if len(some) == 1 or waits >= MOST_WAITS:
                return [error] * len(some)
        except Exception as error:
            if len(some) == 1:
                return [error]
        middle = len(some) // 2
        return [*outcomes(some[:middle]), *outcomes(some[middle:])]

    return outcomes(items) if items else []
