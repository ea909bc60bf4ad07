"""What is due for an order, and what needs a person: both are functions of the facts and the shop's policy.

Commands due = needed - done - rejected on this basis - given up. A command is one row for ever under its key
(kind, what it carries, round): the same need never yields two. The round grows with every outcome that did not end
the need: an answer that a later read disproved, a rejection, giving up, a retry by hand.
"""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Final

from statemachine.facts import EPOCH, Answer, Facts, GiveUp, Rejection


class Remote(StrEnum):
    """Whom a command calls."""

    MIRAKL = "mirakl"
    OMS = "oms"


class Group(StrEnum):
    """The groups of effects that `shops pause --only` names."""

    ACCEPT = "accept"
    IMPORT = "import"
    SHIP = "ship"


class CommandKind(StrEnum):
    """The calls that change something at a remote, in the order of an order's life."""

    group: Group
    remote: Remote
    operation: str  # the remote's own name for the call

    ACCEPT = "accept_order", Group.ACCEPT, Remote.MIRAKL, "OR21"
    IMPORT = "import_order", Group.IMPORT, Remote.OMS, "POST /order"
    TRACK = "send_tracking", Group.SHIP, Remote.MIRAKL, "OR23"
    CONFIRM = "confirm_shipment", Group.SHIP, Remote.MIRAKL, "OR24"

    def __new__(cls, name: str, group: Group, remote: Remote, operation: str) -> "CommandKind":
        kind = str.__new__(cls, name)
        kind._value_ = name
        kind.group, kind.remote, kind.operation = group, remote, operation
        return kind

    @property
    def call(self) -> str:
        """The label `operation` of orderflow_api_requests_total. KornitX has no short name for its call, we have."""
        return self.value if self.remote is Remote.OMS else self.operation


class CommandState(StrEnum):
    """What becomes of a command's row (adapters/store/schema.py has the picture)."""

    OPEN = "open"
    LEASED = "leased"
    DONE = "done"
    REJECTED = "rejected"
    GAVE_UP = "gave_up"
    OBSOLETE = "obsolete"

    @property
    def is_live(self) -> bool:
        """Not ended: a worker has it, or will."""
        return self in (CommandState.OPEN, CommandState.LEASED)


#: So many yeses in a row that no read confirmed, then a person has to look.
MAX_DISPROVED: Final = 3


@dataclass(frozen=True, slots=True)
class Policy:
    """What one shop wants decided for it."""

    acceptance: str = "all"  # "all", "hold" (a person decides), "known-skus" (the rest is a person's)
    known_skus: frozenset[str] = frozenset()
    not_before: datetime = EPOCH  # older orders are left alone


@dataclass(frozen=True, slots=True)
class Command:
    """One call that is due. `basis` is what it rests on: a rejection counts while the basis stays the same."""

    kind: CommandKind
    carries: str
    round: int
    basis: str

    @property
    def key(self) -> tuple[str, str, int]:
        return self.kind, self.carries, self.round


# -- What became of earlier rounds -------------------------------------------------------------------------------


def _reopened_at(facts: Facts, kind: str, carries: str) -> int:
    """The round from which on a person's retry wants outcomes to count again."""
    rounds = [0]
    for act in facts.acts:
        if act.act == "retry":
            for subject in act.subject:
                of_kind, of_round, of_carries = subject.split(":", 2)
                if (of_kind, of_carries) == (kind, carries):
                    rounds.append(int(of_round))
    return max(rounds)


def retry_subject(command: tuple[str, str, int]) -> str:
    """How a `retry` names the command that it opens again."""
    kind, carries, round_ = command
    return f"{kind}:{round_ + 1}:{carries}"


def _round(facts: Facts, kind: str, carries: str) -> int:
    outcomes: tuple[Answer | Rejection | GiveUp, ...] = (*facts.answers, *facts.rejections, *facts.given_up)
    closed = [o.round + 1 for o in outcomes if (o.kind, o.carries) == (kind, carries)]
    return max([*closed, _reopened_at(facts, kind, carries)])


def _blocked_by(facts: Facts, kind: str, carries: str, basis: str) -> str:
    """Why this need is not due: "rejected", "gave_up", "not_applied", or "" where nothing stands in the way."""
    since = _reopened_at(facts, kind, carries)

    def counts(outcome_kind: str, outcome_carries: str, outcome_round: int) -> bool:
        return (outcome_kind, outcome_carries) == (kind, carries) and outcome_round >= since

    if any(counts(r.kind, r.carries, r.round) and r.basis == basis for r in facts.rejections):
        return "rejected"
    if any(counts(g.kind, g.carries, g.round) for g in facts.given_up):
        return "gave_up"
    if (
        kind != CommandKind.IMPORT
        and len([a for a in facts.answers if counts(a.kind, a.carries, a.round)]) >= MAX_DISPROVED
    ):
        return "not_applied"
    return ""


#: Kind -> (what it carries, its basis).
Needs = dict[CommandKind, tuple[str, str]]
