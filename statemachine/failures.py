"""The facts of calls that failed: refused or given up for good, or to be tried again."""

from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True, slots=True, order=True)
class Rejection:
    """A remote said no, for good, to a command on this basis (docs/rules.md 22). `words` may quote the order."""

    kind: str
    carries: str
    round: int
    basis: str
    at: datetime
    code: str = ""
    words: str = ""
    maybe_there: bool = False  # an earlier try may have taken effect: this refusal says nothing about that try


@dataclass(frozen=True, slots=True, order=True)
class Doubt:
    """The remote gave several orders in a row the refusal that ended this round. So it was not about this order."""

    kind: str
    carries: str
    round: int


@dataclass(frozen=True, slots=True, order=True)
class GiveUp:
    """A command was retried until its deadline passed."""

    kind: str
    carries: str
    round: int
    words: str = ""


@dataclass(frozen=True, slots=True, order=True)
class Trouble:
    """An operation fails in a round of a command: its first failure since it last succeeded. The call is tried again.

    `operation` may be a read that the call needs. `words` are the remote's own text, and may quote the order.
    """

    kind: str
    carries: str
    round: int
    since: datetime
    operation: str
    code: str = ""  # of the remote's error, or how the call ended
    words: str = ""


@dataclass(frozen=True, slots=True, order=True)
class Recovery:
    """An operation that had failed in a round of a command succeeded. The operation's troubles until then are over."""

    kind: str
    carries: str
    round: int
    operation: str
    at: datetime
