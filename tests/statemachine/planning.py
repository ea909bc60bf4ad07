"""What the planner makes of facts, for tests."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce

from statemachine.commands import Command, CommandKey, CommandKind, Policy
from statemachine.events import Event, Trigger
from statemachine.facts import Decision, DecisionKind, Facts, Tracking
from statemachine.failures import Rejection
from statemachine.joining import join
from statemachine.plan import plan
from statemachine.reasons import Reason
from statemachine.states import State
from tests.statemachine.lives import at, event, read, snapshot_event

POLICY = Policy()
T1 = Tracking("DPD", "T1")
T1_KEY = "DPD | T1 | "
T2_KEY = "DPD | T2 | "


def known(*events: Event) -> Facts:
    """The facts of these events together."""
    return reduce(join, (one.new_facts for one in events), Facts())


def seen(state: str, **more: object) -> Event:
    """A read that shows this state."""
    return snapshot_event(read(state, **more))  # type: ignore[arg-type]


def said(**fields: object) -> Event:
    """An event that adds these fields of the facts."""
    return event(Trigger.CALL, f"call {fields}", Facts(**fields))  # type: ignore[arg-type]


def decided(kind: DecisionKind, *subject: str, when: float = 0) -> Event:
    return event(Trigger.DECISION, f"{kind}{when}", Facts(decisions=(Decision(at(when), kind, "ana", "why", subject),)))


def rejected(
    kind: str, carries: str = "", *, basis: str = "", round_: int = 0, when: float = 0, code: str = ""
) -> Event:
    return said(rejections=(Rejection(kind, carries, round_, basis, at(when), code, "no"),))


def due(facts: Facts, policy: Policy = POLICY) -> tuple[Command, ...]:
    return plan(facts, policy).due


def kinds(facts: Facts, policy: Policy = POLICY) -> list[CommandKind]:
    return [command.kind for command in due(facts, policy)]


def keys(facts: Facts, policy: Policy = POLICY) -> list[CommandKey]:
    return [command.key for command in due(facts, policy)]


def reasons(facts: Facts, policy: Policy = POLICY) -> list[Reason]:
    return [one.reason for one in plan(facts, policy).attention]


@dataclass(frozen=True)
class Planned:
    """A plan without its details: kinds of commands, reasons for attention."""

    state: State
    due: Sequence[CommandKind] = ()
    attention: Sequence[Reason] = ()


def planned(facts: Facts, policy: Policy = POLICY) -> Planned:
    return Planned(plan(facts, policy).state, tuple(kinds(facts, policy)), tuple(reasons(facts, policy)))
