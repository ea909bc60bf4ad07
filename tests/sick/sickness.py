"""What a sickness is: how one part is made sick and healed, whom it may touch, and what has to be seen of it."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from adapters.simulators.stage import Life
from tests.sick.service import Service
from tests.sick.watch import Seen

#: How much longer than usual the orders of others may take.
LATER_SECONDS: Final = 2.0


@dataclass(frozen=True, slots=True)
class Sign:
    """Something that has to be seen, so that a person can act: what it is, and a check that it was seen."""

    text: str
    seen: Callable[[Seen, Service], object]


def _nothing(_service: Service) -> None:
    pass


@dataclass(frozen=True, slots=True)
class Touch:
    """Which orders may have to wait until the part is healed: in words, and a check of one life."""

    text: str
    holds: Callable[[Life], bool]


ALL_ORDERS = Touch("all orders", lambda _: True)
NO_ORDER = Touch("none", lambda _: False)


def before(seconds: float) -> Touch:
    """The orders that arrive before this time of the sickness."""
    return Touch(f"orders of the first {seconds:.0f} s", lambda life: life.arrives_at_seconds < seconds)


def shop(name: str) -> Touch:
    return Touch(f"orders of {name}", lambda life: life.marketplace == name)


@dataclass(frozen=True, slots=True)
class Sickness:
    """`row`: what happens and what is right then, as docs/guarantees.md shows it (column "what is right").

    `touches`: the orders that may have to wait until the part is healed. All others have to take their usual time.
    `quiet`: the processes whose probes may be silent, because they themselves are stopped.
    `signs`: what has to be seen while the part is sick; `cured`: what has to be so after it was healed.
    """

    name: str
    part: str
    row: str
    begin: Callable[[Service], None]
    heal: Callable[[Service], None] = _nothing
    seconds: float = 20.0
    touches: Touch = NO_ORDER
    quiet: tuple[str, ...] = ()
    signs: tuple[Sign, ...] = ()
    cured: tuple[Sign, ...] = ()
    shops: tuple[str, ...] = field(default=("alpha", "beta"))
    recovery_seconds: float = 45.0
    brokers: int = 1  # how many it needs
    unseen: str = ""  # why nothing has to be seen
    short_seconds: float = 0.0  # how long it lasts in the short form; 0: it is not in it
    cannot_play: str = ""  # why this user cannot play it on this machine


# -- Signs ---------------------------------------------------------------------------------------------------------


def logged(event: str, **fields: str) -> Sign:
    shown = " ".join([event, *(f"{name}={value}" for name, value in fields.items())])
    return Sign(f"log {shown}", lambda seen, _: seen.logged(event, **fields))


def metric(series: str, at_least: float = 1.0) -> Sign:
    return Sign(f"metric {series}", lambda seen, _: seen.metric(series) >= at_least)


def grows(series: str) -> Sign:
    return Sign(f"metric {series} grows", lambda seen, _: seen.grew(series) > 0)


def not_ready(text: str = "") -> Sign:
    return Sign(f"/ready: {text}", lambda seen, _: any(text in wrong for wrong in seen.wrong()))
