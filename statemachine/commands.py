"""What is due for an order, and what needs a person: both are functions of the facts and the shop's policy.

Commands due = needed - done - rejected on this basis - given up. A command is one row for ever under its key
(kind, what it carries, round): the same need never yields two. The round grows with every outcome that did not end
the need: an answer that a later read disproved, a rejection, giving up, a retry by hand.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Final

from statemachine.facts import (
    AFTER_SHIPPING,
    DEBIT,
    EPOCH,
    PAY_ON_ACCEPTANCE,
    PAY_ON_SHIPMENT,
    Act,
    Answer,
    Facts,
    GiveUp,
    Rejection,
    Snapshot,
    Tracking,
)
from statemachine.states import (
    ACCEPT,
    CANCELED,
    CONFIRM,
    DISPATCHED,
    IMPORT,
    IMPORTED,
    REFUSED,
    SHIPPED,
    SHIPPING,
    TRACK,
    all_sent,
    is_pending,
    last_answer,
    sent_quantity,
    state_of,
    unsent_parts,
)

#: In the order of an order's life; (kind, the group that `shops pause --only` names, the remote's operation).
KINDS: Final = (
    (ACCEPT, "accept", "OR21"),
    (IMPORT, "import", "POST /order"),
    (TRACK, "ship", "OR23"),
    (CONFIRM, "ship", "OR24"),
)

#: So many yeses in a row that no read confirmed, then a person has to look.
MAX_DISPROVED: Final = 3

#: Code of a rejection by the OMS because it holds the order already, which no attempt of ours explains.
ALREADY_THERE: Final = "ALREADY_IN_OMS"


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


@dataclass(frozen=True, slots=True, order=True)
class Concern:
    """One reason why a person should look (docs/attention.md holds the cure of each)."""

    reason: str
    detail: str = ""

    @property
    def token(self) -> str:
        """What `settle` covers."""
        return f"{self.reason}:{self.detail}"


#: Every reason, with what it means. Reasons in HOLDS stop every command of the order.
REASONS: Final = {
    "no_edge": "the facts want a state that no row of the table leads to",
    "unknown_state": "Mirakl shows a state that this version does not know",
    "needs_decision": "the shop's policy leaves the acceptance of this order to a person",
    "nothing_to_accept": "Mirakl waits for a decision on an order that it shows without lines",
    "address_missing": "Mirakl shows SHIPPING without an address; the order is read again",
    "nothing_to_import": "Mirakl shows SHIPPING without any open line",
    "accept_rejected": "Mirakl refused the acceptance and still waits for it",
    "import_rejected": "the order cannot be imported as it is, or the OMS refused it",
    "already_in_oms": "the OMS holds this order, and no attempt of ours explains it",
    "tracking_rejected": "Mirakl refused the tracking",
    "shipment_rejected": "Mirakl refused to mark the order shipped, on the tracking that it holds",
    "gave_up": "a call was retried until its deadline",
    "not_applied": "Mirakl said yes several times and never did it",
    "oms_canceled": "the OMS canceled the order or a line; nothing is sent until a person settles it",
    "canceled_after_import": "Mirakl canceled an order that the OMS has, or may have",
    "canceled_after_dispatch": "Mirakl canceled or refused an order whose goods have left",
    "dead_in_mirakl": "Mirakl refused an order that the OMS works on",
    "lines_canceled_after_import": "Mirakl canceled lines that the OMS has",
    "partly_sent": "some of the order has left, the rest has not",
    "sent_before_shipping": "the goods left before Mirakl allowed it",
    "quantity_exceeds_order": "the OMS sent more of a line than was ordered",
    "foreign_tracking": "Mirakl shows a tracking that is not ours; it stays",
    "held_in_oms": "the OMS stored the order and holds it for an error",
    "held": "a person holds this order",
}
HOLDS: Final = frozenset({"no_edge", "oms_canceled", "held"})

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


# -- What is needed ----------------------------------------------------------------------------------------------


def last_act(facts: Facts, *kinds: str) -> Act | None:
    """The newest act of these kinds."""
    return max((act for act in facts.acts if act.act in kinds), default=None)


def acceptance(facts: Facts, policy: Policy) -> str:
    """What to answer Mirakl: "accept", "refuse", or "" where a person has to decide."""
    act = last_act(facts, "accept", "refuse")
    if act is not None:
        return act.act
    if facts.snapshot is None or policy.acceptance == "hold":
        return ""
    skus = {line.sku for line in facts.snapshot.lines}
    return "accept" if policy.acceptance == "all" or skus <= policy.known_skus else ""


def best_tracking(facts: Facts) -> Tracking:
    """The tracking to report: of the newest dispatch, one with a number before one without (rule 4).

    The same number told again without its URL (8, then 64) is no other tracking.
    """
    best = max(facts.dispatches, key=lambda d: (bool(d.tracking.number), d.at, d.tracking), default=None)
    if best is None:
        return Tracking()
    named = (best.tracking.carrier, best.tracking.number)
    same = [d.tracking for d in facts.dispatches if (d.tracking.carrier, d.tracking.number) == named]
    return max(same, key=lambda tracking: (bool(tracking.url), tracking))


def tracking_held(facts: Facts) -> Tracking:
    """The tracking that Mirakl holds, as far as we know: what it showed, or what it took from us since."""
    answer = last_answer(facts, TRACK)
    shown = facts.snapshot.tracking if facts.snapshot else Tracking()
    if is_pending(facts, answer) and answer is not None:
        return next((sent for sent in facts.sent if carried(sent) == answer.carries), shown)
    return shown


def carried(tracking: Tracking) -> str:
    """A tracking as part of a command's key."""
    return " | ".join((tracking.carrier, tracking.number, tracking.url))


#: Kind -> (what it carries, its basis).
Needs = dict[str, tuple[str, str]]


def _needs(facts: Facts, policy: Policy, state: str) -> Needs:
    """Every need of the present."""
    needs: Needs = {}
    snapshot = facts.snapshot
    if snapshot is None:
        return needs
    # Even for an order that the OMS has sent: Mirakl waits for a decision, whatever happened since.
    if snapshot.state == "WAITING_ACCEPTANCE" and snapshot.lines and not is_pending(facts, last_answer(facts, ACCEPT)):
        decision = acceptance(facts, policy)
        if decision:
            needs[ACCEPT] = (decision, snapshot.content)
    if state == SHIPPING and snapshot.has_address and snapshot.open_lines:
        needs[IMPORT] = ("", snapshot.content)
    if _tracking_needed(facts, snapshot):
        needs[TRACK] = (carried(best_tracking(facts)), "")
    if (
        snapshot.state == "SHIPPING"
        and not facts.shipped_seen
        and all_sent(facts)
        and not unsent_parts(facts)
        and not is_pending(facts, last_answer(facts, CONFIRM))
    ):
        held = tracking_held(facts)
        needs[CONFIRM] = ("", " | ".join((held.carrier_code or held.carrier, held.number, snapshot.workflow)))
    return needs


def _takes_tracking(snapshot: Snapshot) -> bool:
    """Mirakl takes tracking from SHIPPING on (mirakl-api 5.4: after SHIPPED it was observed); not in the end states."""
    if snapshot.state in DEBIT:
        return snapshot.workflow not in ("", PAY_ON_ACCEPTANCE)
    return snapshot.state == "SHIPPING" or (snapshot.state in AFTER_SHIPPING and snapshot.state != "CLOSED")


def _is_foreign(facts: Facts, shown: Tracking) -> bool:
    """Mirakl shows a number that we never tried to send. A carrier alone may be the operator's default."""
    return bool(shown.number) and not any(shown.shows(sent) for sent in facts.sent)


def _tracking_needed(facts: Facts, snapshot: Snapshot) -> bool:
    best, shown = best_tracking(facts), snapshot.tracking
    if not best or not all_sent(facts) or unsent_parts(facts) or not _takes_tracking(snapshot):
        return False
    if _is_foreign(facts, shown):
        return False
    answer = last_answer(facts, TRACK, carried(best))
    if answer is None:
        return True
    # Answered: due again only where a read begun later shows none, or an older one of ours (rules 23, 24).
    return not is_pending(facts, answer) and not shown.shows(best)


# -- The answers -------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Plan:
    """What the facts amount to: the state, the calls to make now, and what needs a person."""

    state: str
    due: tuple[Command, ...]
    concerns: tuple[Concern, ...]


def plan(facts: Facts, policy: Policy) -> Plan:
    """All at once: each answer rests on the same state and needs, and finding those is most of the work."""
    state = state_of(facts)
    needs = _needs(facts, policy, state)
    found = _concerns(facts, policy, state, needs)
    return Plan(state, _due(facts, policy, needs, found), found)


def due(facts: Facts, policy: Policy) -> tuple[Command, ...]:
    """The calls to make now."""
    return plan(facts, policy).due


def concerns(facts: Facts, policy: Policy) -> tuple[Concern, ...]:
    """What needs a person, less what a person has settled."""
    return plan(facts, policy).concerns


def _due(facts: Facts, policy: Policy, needs: Needs, found: tuple[Concern, ...]) -> tuple[Command, ...]:
    """A refused or given-up tracking does not stop the shipment; an open one does."""
    created_at = facts.snapshot.created_at if facts.snapshot else EPOCH
    if EPOCH < created_at < policy.not_before:  # one without a date is not known to be old
        return ()
    if any(concern.reason in HOLDS for concern in found):
        return ()
    commands = [
        Command(kind, carries, _round(facts, kind, carries), basis)
        for kind, (carries, basis) in needs.items()
        if not _blocked_by(facts, kind, carries, basis)
    ]
    if any(command.kind == TRACK for command in commands):
        commands = [command for command in commands if command.kind != CONFIRM]  # tracking first, in its own call
    return tuple(commands)


def _concerns(facts: Facts, policy: Policy, state: str, needs: Needs) -> tuple[Concern, ...]:
    settled = {token for act in facts.acts if act.act == "settle" for token in act.subject}
    found = {*_command_concerns(facts, needs), *_order_concerns(facts, policy, state)}
    return tuple(sorted(concern for concern in found if concern.token not in settled))


def _command_concerns(facts: Facts, needs: Needs) -> list[Concern]:
    names = {ACCEPT: "accept", IMPORT: "import", TRACK: "tracking", CONFIRM: "shipment"}
    found = []
    for kind, (carries, basis) in needs.items():
        blocked = _blocked_by(facts, kind, carries, basis)
        if not blocked:
            continue
        detail = f"{kind}#{_round(facts, kind, carries)}"
        if blocked == "rejected":
            last = max(r for r in facts.rejections if (r.kind, r.carries, r.basis) == (kind, carries, basis))
            # A 400 may only mean that the order had moved on: that shows at the next read (rule 19).
            looked = facts.snapshot is not None and facts.snapshot.read_at > last.at
            if last.code == ALREADY_THERE:
                found.append(Concern("already_in_oms"))
            elif kind in (IMPORT, TRACK) or looked:
                found.append(Concern(f"{names[kind]}_rejected", detail))
        else:
            found.append(Concern(blocked, detail))
    return found


def _order_concerns(facts: Facts, policy: Policy, state: str) -> list[Concern]:
    snapshot = facts.snapshot
    dead = state in (CANCELED, REFUSED)
    found = list(_oms_concerns(facts, state, dead))
    if facts.unknown is not None and facts.newest is facts.unknown:
        found.append(Concern("unknown_state", facts.unknown.state))
    held = last_act(facts, "hold", "settle", "accept", "refuse")
    if held is not None and held.act == "hold":
        found.append(Concern("held"))
    if snapshot is None:
        return found
    if dead:
        found.extend(_dead_concerns(facts, state))
    if snapshot.state == "WAITING_ACCEPTANCE" and not snapshot.lines:
        found.append(Concern("nothing_to_accept"))
    elif snapshot.state == "WAITING_ACCEPTANCE" and not acceptance(facts, policy):
        found.append(Concern("needs_decision"))
    if state == SHIPPING and not snapshot.has_address:
        found.append(Concern("address_missing"))
    if state == SHIPPING and not snapshot.open_lines:
        found.append(Concern("nothing_to_import"))
    too_early = snapshot.state == "WAITING_ACCEPTANCE" or (
        snapshot.state in DEBIT and snapshot.workflow != PAY_ON_SHIPMENT
    )
    if state == DISPATCHED and too_early:
        found.append(Concern("sent_before_shipping"))
    if (
        _is_foreign(facts, snapshot.tracking)
        and best_tracking(facts)
        and not snapshot.tracking.shows(best_tracking(facts))
    ):
        found.append(Concern("foreign_tracking"))
    if not dead and (canceled := _canceled_in_oms_hands(facts, snapshot)):
        found.append(Concern("lines_canceled_after_import", ",".join(canceled)))
    found.extend(
        Concern("quantity_exceeds_order", line.id)
        for line in snapshot.lines
        if sent_quantity(facts, line.id) > max(line.quantity, 1)
    )
    return found


def _oms_concerns(facts: Facts, state: str, dead: bool) -> list[Concern]:
    found: list[Concern] = []
    if not dead:
        found.extend(
            Concern("oms_canceled", ",".join([str(c.oms_id), *(f"{line}*{n}" for line, n in c.items)]))
            for c in facts.cancellations
        )
    some_sent = bool(facts.dispatches) and not all_sent(facts)
    if (state == IMPORTED and some_sent) or (state == DISPATCHED and unsent_parts(facts)):
        found.append(Concern("partly_sent"))
    if not facts.dispatches and not dead and any(part.has_error for part in facts.parts):
        found.append(Concern("held_in_oms"))
    return found


def _dead_concerns(facts: Facts, state: str) -> list[Concern]:
    """Mirakl ended the order. Nobody has to look where the OMS never had it, or ended it too."""
    if facts.dispatches:
        return [Concern("canceled_after_dispatch")]
    ended_in_oms = {c.oms_id for c in facts.cancellations if not c.items}
    alive_in_oms = {part.oms_id for part in facts.parts} - ended_in_oms
    tried = any(a.kind == IMPORT for a in facts.attempts) or last_answer(facts, IMPORT) is not None
    refused_there = any(r.kind == IMPORT for r in facts.rejections)
    if alive_in_oms or (tried and not facts.parts and not refused_there):
        return [Concern("dead_in_mirakl" if state == REFUSED else "canceled_after_import")]
    return []


def _canceled_in_oms_hands(facts: Facts, snapshot: Snapshot) -> list[str]:
    imported = {line for part in facts.parts for line in part.lines}
    return [line.id for line in snapshot.lines if not line.is_open and line.id in imported]


def read_after(facts: Facts) -> datetime | None:
    """A read that begins after this instant tells something, even where the order has not changed (rules 16, 17).

    None: only a changed order is news. The state sweep brings orders that wait; the rest are asked for by id.
    """
    snapshot = facts.snapshot
    if snapshot is None:
        return EPOCH if facts.parts else None
    waits: list[datetime] = []
    if snapshot.state == "WAITING_ACCEPTANCE":
        waits += [a.proof_after for a in facts.answers if a.kind == ACCEPT]
        waits += [r.at for r in facts.rejections if r.kind == ACCEPT]
    if snapshot.state == "SHIPPING" and not facts.shipped_seen:
        waits += [a.proof_after for a in facts.answers if a.kind == CONFIRM]
        waits += [r.at for r in facts.rejections if r.kind == CONFIRM]
    best = best_tracking(facts)
    if best and state_of(facts) in (IMPORTED, DISPATCHED, SHIPPED):
        waits += [a.proof_after for a in facts.answers if a.kind == TRACK and a.carries == carried(best)]
    # A read that shows a state which we do not know is a look all the same.
    last_read = max(snapshot.read_at, facts.unknown.read_at if facts.unknown else EPOCH)
    pending = [wait for wait in waits if last_read <= wait]
    return min(pending, default=None)
