"""One attention reason of one order: which reason of the table (reasons.py), what it is about, and since when."""

from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

from statemachine.commands import CommandKind
from statemachine.occurrences import Begun
from statemachine.reasons import REASONS, Reason
from statemachine.urgency import About, EndsBy

_NOT_KNOWN: Final = About("", "", ends_by=EndsBy.UPGRADE)


@dataclass(frozen=True, slots=True, order=True)
class Attention:
    """One reason for one order.

    `detail`: what it is about: a line, a cancellation, a deadline, a round of a call. It tells apart two reasons of one
    kind. `command`: the kind of the call, if `detail` names a round of a call (`of_command`).
    """

    reason: Reason
    detail: str = ""
    command: CommandKind | None = field(default=None, kw_only=True, compare=False)  # follows from `detail`
    #: The time of the newest fact that the reason is about. A settle that an earlier version of orderflow stored
    #: names no detail: it ends the reason if it was made then or later. None: no such settle ends it.
    newest: datetime | None = field(default=None, kw_only=True, compare=False)
    #: What this occurrence of the reason came after. A decision ends the reason only if the person could know all
    #: of it.
    after: Begun = field(default=Begun(), kw_only=True, compare=False)

    @classmethod
    def of_command(cls, reason: Reason, kind: CommandKind, round_: int, more: str = "") -> "Attention":
        """Make the reason for a call that ended without success, or did not end yet."""
        return cls(reason, f"{kind}#{round_} {more}".rstrip(), command=kind)

    @property
    def round(self) -> int | None:
        """The round in the detail of a reason about a call (`of_command`). None if the detail names no round."""
        return int(self.detail.partition("#")[2].split(" ")[0]) if self.command else None

    @property
    def about(self) -> About:
        """Its row in the table; an empty one for a reason that only a newer version of orderflow knows."""
        return REASONS.get(self.reason, _NOT_KNOWN)

    @property
    def token(self) -> str:
        """The name of the reason in a person's decision to settle."""
        return f"{self.reason}:{self.detail}"


@dataclass(frozen=True, slots=True)
class StandingAttention(Attention):
    """A reason as it is stored with its order: with the instant from which on the order has it."""

    since: datetime = field(kw_only=True)
