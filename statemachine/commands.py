"""What is due for an order, and what needs a person: both are functions of the facts and the shop's policy.

Commands due = needed - done - rejected on this basis - given up. A command is one row for ever under its key
(kind, what it carries, round): the same need never yields two. The round grows with every outcome that did not end
the need: an answer that a later read disproved, a rejection, giving up, a retry by hand.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Final

from statemachine.facts import EPOCH, Answer, Facts, GiveUp, Rejection

ACCEPT: Final = "accept_order"
IMPORT: Final = "import_order"
TRACK: Final = "send_tracking"
CONFIRM: Final = "confirm_shipment"

#: In the order of an order's life; (kind, the group that `shops pause --only` names, the remote's operation).
KINDS: Final = (
    (ACCEPT, "accept", "OR21"),
    (IMPORT, "import", "POST /order"),
    (TRACK, "ship", "OR23"),
    (CONFIRM, "ship", "OR24"),
)

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

    kind: str
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
    if kind != IMPORT and len([a for a in facts.answers if counts(a.kind, a.carries, a.round)]) >= MAX_DISPROVED:
        return "not_applied"
    return ""


#: Kind -> (what it carries, its basis).
Needs = dict[str, tuple[str, str]]
