"""State, commands due and attention of an order, at once."""

from dataclasses import dataclass
from datetime import datetime

from statemachine.attention import HOLDS, Concern, _command_concerns, _order_concerns
from statemachine.commands import Command, CommandKind, Needs, Policy, _blocked_by, _round
from statemachine.facts import EPOCH, Facts, Snapshot
from statemachine.readings import (
    _is_foreign,
    _takes_tracking,
    acceptance,
    all_sent,
    best_tracking,
    carried,
    is_pending,
    last_answer,
    tracking_held,
    unsent_parts,
)
from statemachine.states import State, state_of


def _needs(facts: Facts, policy: Policy, state: str) -> Needs:
    """Every need of the present."""
    needs: Needs = {}
    snapshot = facts.snapshot
    if snapshot is None:
        return needs
    # Even for an order that the OMS has sent: Mirakl waits for a decision, whatever happened since.
    if (
        snapshot.state == "WAITING_ACCEPTANCE"
        and snapshot.lines
        and not is_pending(facts, last_answer(facts, CommandKind.ACCEPT))
    ):
        decision = acceptance(facts, policy)
        if decision:
            needs[CommandKind.ACCEPT] = (decision, snapshot.content)
    if state == State.SHIPPING and snapshot.has_address and snapshot.open_lines:
        needs[CommandKind.IMPORT] = ("", snapshot.content)
    if _tracking_needed(facts, snapshot):
        needs[CommandKind.TRACK] = (carried(best_tracking(facts)), "")
    if (
        snapshot.state == "SHIPPING"
        and not facts.shipped_seen
        and all_sent(facts)
        and not unsent_parts(facts)
        and not is_pending(facts, last_answer(facts, CommandKind.CONFIRM))
    ):
        held = tracking_held(facts)
        needs[CommandKind.CONFIRM] = (
            "",
            " | ".join((held.carrier_code or held.carrier, held.number, snapshot.workflow)),
        )
    return needs


def _tracking_needed(facts: Facts, snapshot: Snapshot) -> bool:
    best, shown = best_tracking(facts), snapshot.tracking
    if not best or not all_sent(facts) or unsent_parts(facts) or not _takes_tracking(snapshot):
        return False
    if _is_foreign(facts, shown):
        return False
    answer = last_answer(facts, CommandKind.TRACK, carried(best))
    if answer is None:
        return True
    # Answered: due again only where a read begun later shows none, or an older one of ours (docs/rules.md 23, 24).
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
    if any(command.kind == CommandKind.TRACK for command in commands):
        commands = [
            command for command in commands if command.kind != CommandKind.CONFIRM
        ]  # tracking first, in its own call
    return tuple(commands)


def _concerns(facts: Facts, policy: Policy, state: str, needs: Needs) -> tuple[Concern, ...]:
    settled = {token for act in facts.acts if act.act == "settle" for token in act.subject}
    found = {*_command_concerns(facts, needs), *_order_concerns(facts, policy, state)}
    return tuple(sorted(concern for concern in found if concern.token not in settled))


def read_after(facts: Facts) -> datetime | None:
    """A read that begins after this instant tells something, even where the order has not changed
    (docs/rules.md 16, 17).

    None: only a changed order is news. The state sweep brings orders that wait; the rest are asked for by id.
    """
    snapshot = facts.snapshot
    if snapshot is None:
        return EPOCH if facts.parts else None
    waits: list[datetime] = []
    if snapshot.state == "WAITING_ACCEPTANCE":
        waits += [a.proof_after for a in facts.answers if a.kind == CommandKind.ACCEPT]
        waits += [r.at for r in facts.rejections if r.kind == CommandKind.ACCEPT]
    if snapshot.state == "SHIPPING" and not facts.shipped_seen:
        waits += [a.proof_after for a in facts.answers if a.kind == CommandKind.CONFIRM]
        waits += [r.at for r in facts.rejections if r.kind == CommandKind.CONFIRM]
    best = best_tracking(facts)
    if best and state_of(facts) in (State.IMPORTED, State.DISPATCHED, State.SHIPPED):
        waits += [a.proof_after for a in facts.answers if a.kind == CommandKind.TRACK and a.carries == carried(best)]
    # A read that shows a state which we do not know is a look all the same.
    last_read = max(snapshot.read_at, facts.unknown.read_at if facts.unknown else EPOCH)
    pending = [wait for wait in waits if last_read <= wait]
    return min(pending, default=None)
