"""The lines of the benchmark's table: each figure beside its peer or floor, of the same run, and what it has to reach.

A figure is a ratio wherever it can be: other work of the machine slows both sides alike.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

from rich.table import Table


@dataclass(frozen=True, slots=True)
class Line:
    """One figure. `ours` and `peers` have a value for each round. `to_reach`: what their ratio has to be, or `ours`."""

    figure: str  # P1 to P8
    what: str
    unit: str
    ours: Sequence[float]
    peer: str = ""
    peers: Sequence[float] = ()
    to_reach: str = ""

    @property
    def ratio(self) -> float | None:
        """Ours to the peer's; of rounds that were measured in turns, the median of the rounds' ratios."""
        if not self.peers:
            return None
        if len(self.peers) == len(self.ours):
            return median(mine / other for mine, other in zip(self.ours, self.peers, strict=True))
        return median(self.ours) / median(self.peers)

    def as_json(self) -> dict[str, object]:
        return {
            "figure": self.figure,
            "what": self.what,
            "unit": self.unit,
            "ours": list(self.ours),
            "peer": self.peer,
            "peers": list(self.peers),
            "ratio": self.ratio,
            "to_reach": self.to_reach,
        }


def spread(values: Sequence[float]) -> str:
    """The median of the rounds, and the least and the most."""
    if not values:
        return ""
    digits = 0 if median(values) >= 100 else 2
    least, middle, most = (f"{value:,.{digits}f}" for value in (min(values), median(values), max(values)))
    return middle if len(values) == 1 else f"{middle} ({least} to {most})"


def table(lines: Sequence[Line]) -> Table:
    shown = Table(
        "", "what", "unit", "ours", "peer or floor", "the same of it", "ratio", "to reach", title="Performance"
    )
    for line in lines:
        ratio = "" if line.ratio is None else f"{line.ratio:.2f}"
        shown.add_row(
            line.figure, line.what, line.unit, spread(line.ours), line.peer, spread(line.peers), ratio, line.to_reach
        )
    shown.caption = "Median (least to most) of the rounds. The to-reach of a line with a peer is that of the ratio."
    return shown
