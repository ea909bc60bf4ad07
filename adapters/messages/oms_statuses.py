"""The statuses of the OMS that settings name. A module of its own, so that settings need not import the events."""

from typing import Final

#: KornitX's statuses that mean "everything was dispatched". A shop may configure others (docs/kornitx.md 8.1).
DISPATCHED_STATUSES: Final = frozenset({8, 64, 516})
