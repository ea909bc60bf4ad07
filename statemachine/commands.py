"""Commands: the calls that change something at Mirakl or at the OMS, and how their earlier rounds ended.

plan.py finds which calls are needed, from the facts and the shop's policy. A needed call is not due if its last round
was rejected on the same basis, was given up, or was not applied (`Obstacle`); or if an attention reason, the age of the
order or another call holds it (plan.py). A command has one row for its key (kind, what it carries, round). The row is
never deleted, so a round never has two commands. A call that is due again gets the next round: after an answer that a
later read disproved, after a rejection whose basis has changed, or when a person asks for a retry. A call that was
given up or not applied is due again only after a person's retry.
"""

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final

from statemachine.facts import EPOCH, RESTORED, Answer, DecisionKind, Facts
from statemachine.failures import GiveUp, Rejection
from statemachine.reads_kept import SHIPPED


class Remote(StrEnum):
    """The system that a command calls."""

    MIRAKL = "mirakl"
    OMS = "oms"


class Group(StrEnum):
    """Commands that are switched off and on together: `shops pause --only` names a group."""

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
        """The label `operation` of orderflow_api_requests_total.

        It is Mirakl's name for the call. For a call to KornitX, which has no short names, it is the name of the kind.
        """
        return self.value if self.remote is Remote.OMS else self.operation


class CommandState(StrEnum):
    """The state of a command's row. adapters/store/schema.py draws how one leads to another."""

    OPEN = "open"
    LEASED = "leased"
    DONE = "done"
    REJECTED = "rejected"
    GAVE_UP = "gave_up"
    OBSOLETE = "obsolete"

    @property
    def is_live(self) -> bool:
        """A worker has the command, or will take it."""
        return self in (CommandState.OPEN, CommandState.LEASED)


#: After this many answers that no read confirmed, the command is not tried again, and a person has to look.
MAX_DISPROVED: Final = 3


@dataclass(frozen=True, slots=True)
class Policy:
    """What is decided for every order of a shop."""

    acceptance: str = "all"  # "all"; "hold": a person decides; "known-skus": see `unknown_skus` if an SKU is not known
    known_skus: frozenset[str] = frozenset()
    unknown_skus: str = "hold"  # "hold": a person decides; "refuse": these lines are refused, the others accepted
    not_before: datetime = EPOCH  # see `leaves_alone`
    centres: frozenset[str] = frozenset({"", "DEFAULT"})  # fulfilment centres from which the seller ships
    accept_within: timedelta = timedelta(hours=48)  # from the order's creation, if Mirakl names no deadline for it
    accept_margin: timedelta = timedelta(hours=12)  # how long before its deadline a missing decision gets its reason
    payment_within: timedelta = timedelta(hours=48)  # a longer wait for the customer's money gives its reason
    ship_within: timedelta = timedelta(days=14)  # from the order's creation, if Mirakl names no deadline for it
    gone_after: timedelta = timedelta(days=1)  # an order that no read by id shows for this time is gone
    other_channels: bool = True  # the OMS may report on orders that are none of the shop's
    shipping_margin: timedelta = timedelta(hours=12)  # how long before `ship_by` a missing shipment gets its reason
    retrying_after: timedelta = timedelta(minutes=10)  # a call that fails for longer gets its reason
    messages_wait: timedelta = timedelta(hours=1)  # how long an import waits for messages that cannot be read
    left_out: frozenset[str] = frozenset()  # codes of custom fields that the shop's imports do not carry (by_field.py)
    without_messages: str = "hold"  # after that time: "import", or "hold" until a person releases the order
    tracking_holds_for: timedelta = timedelta(hours=1)  # how long an OR23 that fails holds OR24
    accept_target: timedelta = timedelta(hours=1)  # the objective `accept`, from the first read (objectives.py)
    ship_target: timedelta = timedelta(minutes=15)  # the objective `ship_confirm`, from the OMS's report
    version: int = 0  # of this policy in the store; an order keeps the version by which it was planned. 0: not stored

    def leaves_alone(self, facts: Facts) -> bool:
        """Whether orderflow does not touch this order: it was created before `not_before`, and it was not begun. An
        order that was begun goes on, also if `not_before` is set later.

        It was begun if a call of it was, or if a person said that a call was made by hand (`orders handled`). Also if
        the OMS has it from somebody else, and a read before `not_before` showed it ready for an import: the shop was
        with orderflow then. If no read did, another program brought the order there before the change-over, and goes
        on with it. An order without a date does not count as old.
        """
        created_at = facts.snapshot.created_at if facts.snapshot else EPOCH
        if not EPOCH < created_at < self.not_before:
            return False
        called = facts.answers or any(one.carries != RESTORED for one in facts.attempts)
        ready = facts.baseline is not None and facts.baseline.at < self.not_before
        return not (called or (facts.parts and ready))


@dataclass(frozen=True, slots=True)
class CommandKey:
    """Unique for each order. A call that is made again has the next round, and so another key."""

    kind: CommandKind
    #: Of accept_order: accept, refuse or accept:ID,ID (docs/rules.md 25). Of send_tracking: the tracking. Else empty. A
    #: text longer than readings.LONGEST_CARRIED, or with a comma in an id, has a short form: a digest, for lines with
    #: their places (readings.answers_of_lines).
    carries: str
    round: int

    def __str__(self) -> str:
        """The text that a decision (retry, handled) stores. `carries` comes last, because it may contain colons."""
        return f"{self.kind}:{self.round}:{self.carries}"

    @classmethod
    def parse(cls, text: str) -> "CommandKey":
        kind, round_, carries = text.split(":", 2)
        return cls(CommandKind(kind), carries, int(round_))  # type: ignore[call-arg]  # mypy takes __new__ for it

    @property
    def next_round(self) -> "CommandKey":
        return replace(self, round=self.round + 1)


@dataclass(frozen=True, slots=True)
class Need:
    """A call that the facts and the policy ask for. `basis` is what the call is made of: a rejection counts while the
    basis stays the same (docs/rules.md 22)."""

    kind: CommandKind
    carries: str
    basis: str


@dataclass(frozen=True, slots=True)
class Command:
    """One call that is due."""

    kind: CommandKind
    carries: str
    round: int
    basis: str

    @property
    def key(self) -> CommandKey:
        return CommandKey(self.kind, self.carries, self.round)


#: How every basis begins. Bases that earlier versions stored do not begin so: these are a digest of received bytes, or
#: the carrier as Mirakl named it.
_BASIS: Final = "of: "


def basis_of(*made_of: str) -> str:
    """The basis of a call that is made of these values."""
    return _BASIS + " | ".join(made_of)


# -- How earlier rounds ended ------------------------------------------------------------------------------------


class Obstacle(StrEnum):
    """How the earlier rounds of a needed call ended, so that it is not due."""

    REJECTED = "rejected"  # on the basis that still holds
    GAVE_UP = "gave_up"
    NOT_APPLIED = "not_applied"  # the remote said yes MAX_DISPROVED times, and no read showed the effect


def next_round(facts: Facts, need: Need) -> int:
    """The round of this need's next command: greater than that of every end, and at least that of a person's retry."""
    ends: tuple[Answer | Rejection | GiveUp, ...] = (*facts.answers, *facts.rejections, *facts.given_up)
    ended = [end.round + 1 for end in ends if _is_of(end, need)]
    return max([*ended, _reopened_at(facts, need)])


def obstacle(facts: Facts, need: Need) -> Obstacle | None:
    """Why the end of an earlier round keeps this need from being due. None: no end does."""
    if not (facts.rejections or facts.given_up or facts.answers):  # no round has ended yet; this saves time
        return None
    since = _reopened_at(facts, need)
    if any(no.round >= since for no in rejections_of(facts, need)):
        return Obstacle.REJECTED
    if any(end.round >= since for end in facts.given_up if _is_of(end, need)):
        return Obstacle.GAVE_UP
    answers = [yes for yes in answers_in_vain(facts, need.kind, need.carries) if yes.round >= since]
    if need.kind != CommandKind.IMPORT and len(answers) >= MAX_DISPROVED:
        return Obstacle.NOT_APPLIED
    return None


def answers_in_vain(facts: Facts, kind: CommandKind, carries: str) -> list[Answer]:
    """Every yes of the remote to this call since a read last showed the call applied. If the call is due, no read shows
    the effect of these.

    An OR24 was applied if a read that began after its answer showed the order shipped. If the order is to be sent now,
    somebody put it back since.
    """
    mine = [yes for yes in facts.answers if (yes.kind, yes.carries) == (kind, carries)]
    if kind is not CommandKind.CONFIRM:
        return mine
    applied_until = dict(facts.stops_read).get(SHIPPED, EPOCH)
    return [yes for yes in mine if yes.at > applied_until]


def rejections_of(facts: Facts, need: Need) -> list[Rejection]:
    """The rejections of this need on the basis that the need has now.

    If an earlier version stored a rejection, its basis cannot be compared: it counts until Mirakl changes the order. A
    rejection that several orders got in a row does not count (failures.Doubt).
    """
    changed_at = facts.snapshot.updated_at if facts.snapshot else EPOCH
    doubted = {(one.kind, one.carries, one.round) for one in facts.doubts}
    return [
        no
        for no in facts.rejections
        if _is_of(no, need)
        and (no.kind, no.carries, no.round) not in doubted
        and (no.basis == need.basis or (no.basis and not no.basis.startswith(_BASIS) and changed_at <= no.at))
    ]


def _is_of(end: Answer | Rejection | GiveUp, need: Need) -> bool:
    return (end.kind, end.carries) == (need.kind, need.carries)


def _reopened_at(facts: Facts, need: Need) -> int:
    """The highest round that a person's retry of this need names, or 0. Ends of earlier rounds are no obstacle."""
    if not facts.decisions:  # nearly every order has none; this saves time
        return 0
    retries = (decision for decision in facts.decisions if decision.kind == DecisionKind.RETRY)
    # Only keys of this kind are parsed: the kind of another may be that of a newer version.
    texts = [text for retry in retries for text in retry.subject if text.startswith(f"{need.kind}:")]
    retried = [CommandKey.parse(text) for text in texts]
    return max((key.round for key in retried if (key.kind, key.carries) == (need.kind, need.carries)), default=0)
