"""What a story is: a kind of life that simulated orders have, and what has to be true at its end.

The stories themselves are in the modules `stories_...`.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from adapters.simulators.orders import Line
from adapters.simulators.stage import Script, Stage


def all_of(lines: Sequence[Line]) -> dict[int, int]:
    """Return all pieces of the lines that have the state of the order."""
    return {index: line.quantity for index, line in enumerate(lines) if line.state is None}


@dataclass(frozen=True, slots=True)
class Story:
    """How a kind of life differs from a plain one, whose values are the defaults."""

    script: Callable[[Stage], Script]
    marketplaces: tuple[str, ...] = ("alpha", "beta")
    workflow: str = "PAY_ON_ACCEPTANCE"
    lines: tuple[int, int] = (1, 1)  # at least, at most
    trackings: int = 1  # how many tracking numbers are reported
    keeps_tracking: int | None = -1  # the index of the number that Mirakl shows at the end; None: it shows none
    shipping_type: int | None = None  # index in the marketplace's list; None: any
    messages: bool = False
    ends: str = "shipped"
    accepted_by: str | None = "api"
    refused_by: str | None = None
    imported: bool = True
    shipped_by: str | None = "api"
    #: Returns the lines of this life, from the marketplace's name and the lines of a plain life.
    adjust: Callable[[str, list[Line]], list[Line]] = field(default=lambda _, lines: lines)
    #: Returns how many pieces of each line the OMS has to get, by the line's index. The default is all open lines.
    goods: Callable[[Sequence[Line]], Mapping[int, int]] = field(default=all_of)
    reasons: tuple[str, ...] = ()  # the reasons that orderflow has to give to a person at some time
    attributes: tuple[str, ...] = ()  # names of attributes that the OMS has to get
    fields: Mapping[str, Any] = field(default_factory=dict)  # fields of the order in OR11 that differ from a plain one


def all_but_first(lines: Sequence[Line]) -> dict[int, int]:
    return {index: pieces for index, pieces in all_of(lines).items() if index}


def three_pieces(_: str, lines: list[Line]) -> list[Line]:
    """Order three pieces of the first line."""
    return [replace(lines[0], quantity=3), *lines[1:]]


def unknown_first(_: str, lines: list[Line]) -> list[Line]:
    """Give the first line a SKU that the seller does not know."""
    return [Line("UNKNOWN-" + lines[0].sku, lines[0].quantity, lines[0].unit_price), *lines[1:]]


def until_packed(stage: Stage) -> Script:
    """Play the life until the parcel is packed: accepted, debited, imported, produced."""
    yield from stage.arrive()
    yield from stage.debit()
    yield from stage.produced()


def sends_all(stage: Stage) -> Script:
    """Dispatch all that the OMS has of the order, with its last tracking number; wait until Mirakl shows it shipped."""
    stage.dispatch(tracking=stage.life.trackings[-1])
    yield from stage.shipped()
