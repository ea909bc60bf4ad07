"""The state, the due commands and the attention of an order, all from its facts and the shop's policy."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime

from statemachine import deadlines, objectives
from statemachine.asked_once import asked_once
from statemachine.attention.attention import standing
from statemachine.commands import Command, CommandKind, Need, Policy, basis_of, next_round, obstacle
from statemachine.facts import EPOCH, Answer, Facts, Snapshot, Tracking
from statemachine.objectives import Kept, Objective
from statemachine.questions.in_oms import is_shipped_by_another
from statemachine.questions.missing import not_found_since_read
from statemachine.questions.readings import (
    acceptance,
    all_sent,
    carried,
    has_no_baseline,
    is_foreign_tracking,
    is_pending,
    is_shown,
    last_answer,
    takes_tracking,
    tracking_held,
    unsent_parts,
    was_read_by_earlier_version,
)
from statemachine.questions.trackings import best_tracking
from statemachine.questions.troubles import shipped_regardless_at
from statemachine.reason_of_order import Attention
from statemachine.states import State, state_of


@dataclass(frozen=True, slots=True)
class Plan:
    """What follows from the facts of an order: its state, the calls to make now, and what needs a person.

    `wakes_at`: the next instant at which due calls or attention change by time alone. `results`: the objectives whose
    result is known. `limits`: for each objective that still runs, when its result becomes `bad`.
    """

    state: State
    due: tuple[Command, ...]
    attention: tuple[Attention, ...]
    wakes_at: datetime | None = None
    results: tuple[tuple[Objective, Kept], ...] = ()
    limits: tuple[tuple[Objective, datetime], ...] = ()


@asked_once
def plan(facts: Facts, policy: Policy) -> Plan:
    """Return an order's state, due calls, what needs a person, when these change by time alone, and its objectives.

    One function finds all of it: the due calls and the attention both depend on the state and on the needed calls, and
    most of the work is to find these.
    """
    state = state_of(facts)
    needs = tuple(_needs(facts, policy, state))
    attention = standing(facts, policy, state, needs)
    begun = tuple(objectives.running(facts, policy))
    return Plan(
        state,
        _due(facts, policy, needs, attention),
        attention,
        deadlines.wakes_at(facts, policy),
        tuple(objectives.results(facts, begun)),
        tuple(objectives.limits(facts, begun)),
    )


# -- What is needed ----------------------------------------------------------------------------------------------


def needed(facts: Facts, policy: Policy, kind: CommandKind) -> Need | None:
    """The call of this kind that the facts and the policy ask for now, due or not. None: they ask for none."""
    return next((need for need in _needs(facts, policy, state_of(facts)) if need.kind is kind), None)


def _needs(facts: Facts, policy: Policy, state: State) -> Iterator[Need]:
    """Yield every call that the facts and the policy ask for, in the order of an order's life.

    A rejection or a give-up does not end the need: `_due` leaves out such a call, and `standing` shows it to a person.
    """
    snapshot = facts.snapshot
    if snapshot is None:
        return
    if decision := _answer_needed(facts, policy, snapshot):
        lines = [f"{line.id} {line.state}" for line in snapshot.lines]
        yield Need(CommandKind.ACCEPT, decision, basis_of(*lines))
    # If goods left, a person says what of the rest the OMS has to make: an import would make all of it.
    if state == State.SHIPPING and snapshot.has_address and snapshot.owed_lines and not facts.dispatches:
        yield Need(CommandKind.IMPORT, "", basis_of(snapshot.import_digest or snapshot.digest))
    if _is_tracking_needed(facts, snapshot) and not is_shipped_by_another(facts, policy):
        yield Need(CommandKind.TRACK, carried(best_tracking(facts)), "")
    if _is_shipment_needed(facts, snapshot):
        held = tracking_held(facts)
        yield Need(CommandKind.CONFIRM, "", basis_of(carried(held), snapshot.workflow))


def _answer_needed(facts: Facts, policy: Policy, snapshot: Snapshot) -> str | None:
    """What to answer Mirakl, or None if no answer is needed.

    An order that the OMS has already sent needs the answer too, because Mirakl still waits for the answer.
    """
    if snapshot.state != "WAITING_ACCEPTANCE" or not snapshot.lines:
        return None
    if is_pending(facts, last_answer(facts, CommandKind.ACCEPT)):
        return None
    return acceptance(facts, policy)


def _is_tracking_needed(facts: Facts, snapshot: Snapshot) -> bool:
    best, shown = best_tracking(facts), snapshot.tracking
    if not best or not all_sent(facts) or unsent_parts(facts) or not takes_tracking(snapshot):
        return False
    if is_foreign_tracking(facts, shown):
        return False
    answer = last_answer(facts, CommandKind.TRACK, carried(best))
    if answer is None:
        return True
    # Mirakl took this tracking. It is needed again only if Mirakl took or may have taken another one of ours later, or
    # if a later read shows no tracking or an older one of ours (docs/rules.md 23, 24).
    if last_answer(facts, CommandKind.TRACK) != answer or _may_have_replaced(facts, answer, best):
        return True
    return not is_pending(facts, answer) and not is_shown(facts, shown, best)


def _may_have_replaced(facts: Facts, answer: Answer, best: Tracking) -> bool:
    """Whether a call that failed after this answer may have changed the carrier or the URL of the same number. A read
    does not tell that: Mirakl shows its registered carrier for the OMS's name."""
    same = {carried(one) for one in facts.sent if one.bare_number == best.bare_number} - {answer.carries}
    operation = CommandKind.TRACK.operation
    return any(one.operation == operation and one.carries in same and one.since > answer.at for one in facts.troubles)


def _is_shipment_needed(facts: Facts, snapshot: Snapshot) -> bool:
    return (
        snapshot.state == "SHIPPING"
        and all_sent(facts)
        and not unsent_parts(facts)
        and not is_pending(facts, last_answer(facts, CommandKind.CONFIRM))
    )


# -- What is due -------------------------------------------------------------------------------------------------


def _due(facts: Facts, policy: Policy, needs: Sequence[Need], attention: Sequence[Attention]) -> tuple[Command, ...]:
    """The needed calls that may be made now. A call is left out if an attention reason holds it or it has an obstacle.

    An import is left out until a read by this version has come. OR24 is left out while OR23 is due, for a limited time.
    Every call is left out if the order is left alone because of the shop's `not_before`.
    """
    if policy.leaves_alone(facts):
        return ()
    held = frozenset[CommandKind]().union(*(one.about.holds for one in attention))
    open_needs = [need for need in needs if need.kind not in held and obstacle(facts, need) is None]
    if was_read_by_earlier_version(facts):
        open_needs = [need for need in open_needs if need.kind != CommandKind.IMPORT]
    regardless = shipped_regardless_at(facts, policy)
    wait_is_over = regardless is not None and deadlines.has_come(facts, regardless)
    if not wait_is_over and any(need.kind == CommandKind.TRACK for need in open_needs):
        # The tracking goes first, in a call of its own: OR24 waits while OR23 is due. A tracking that was refused or
        # given up is not due any more, so OR24 goes out. While OR23 keeps failing, OR24 waits for a limited time.
        open_needs = [need for need in open_needs if need.kind != CommandKind.CONFIRM]
    return tuple(Command(need.kind, need.carries, next_round(facts, need), need.basis) for need in open_needs)


# -- When a read is news -----------------------------------------------------------------------------------------


def read_after(facts: Facts, policy: Policy) -> datetime | None:
    """A read that begins after this instant is news, even if the order has not changed (docs/rules.md 16, 17).

    None: only a changed order is news. The poller reads waiting orders in its sweep, and the others by their ids. An
    order that is not at its end has news at least once in `gone_after`. So orderflow notices if Mirakl no longer shows
    the order.
    """
    awaited, newest, state = awaits_read_after(facts), facts.newest, state_of(facts)
    if newest is None or state.is_at_its_end:
        return awaited
    look = max([newest.read_at, *not_found_since_read(facts)[:1]]) + policy.gone_after
    return look if awaited is None else min(awaited, look)


def awaits_read_after(facts: Facts) -> datetime | None:
    """A read that begins after this instant shows what became of a call or of a report of the OMS, or what an earlier
    version of orderflow did not read. None: no such read is awaited."""
    snapshot, newest = facts.snapshot, facts.newest
    if snapshot is None or newest is None:
        return EPOCH if facts.parts else None
    state = state_of(facts)
    # An earlier version of orderflow read less of an order. The next read shows whether the goods are still owed.
    lacks_fields = was_read_by_earlier_version(facts) or has_no_baseline(facts)
    waits = [snapshot.read_at] if lacks_fields and not state.is_at_its_end else []
    if snapshot.state == "WAITING_ACCEPTANCE":
        waits += [a.proof_after for a in facts.answers if a.kind == CommandKind.ACCEPT]
        waits += [r.at for r in facts.rejections if r.kind == CommandKind.ACCEPT]
    if snapshot.state == "SHIPPING":
        waits += [a.proof_after for a in facts.answers if a.kind == CommandKind.CONFIRM]
        waits += [r.at for r in facts.rejections if r.kind == CommandKind.CONFIRM]
    best = best_tracking(facts)
    if best and state in (State.IMPORTED, State.DISPATCHED, State.SHIPPED):
        waits += [a.proof_after for a in facts.answers if a.kind == CommandKind.TRACK and a.carries == carried(best)]
    # The newest read ends a wait, also if it shows a state that we do not know. A late read of an old state does not.
    pending = [wait for wait in waits if newest.read_at <= wait]
    return min(pending, default=None)
