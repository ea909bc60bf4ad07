"""One try of a command: its claim, what its error means, and what the store keeps of it."""

import traceback
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final

import structlog

from adapters.errors import (
    NOT_SENT,
    AccountFault,
    ConfigError,
    OutcomeUnknown,
    Rejected,
    RemoteError,
    Unimportable,
    Unreadable,
)
from adapters.messages.oms_events import CANCELLED_STATUS
from adapters.ports import OmsOrder
from adapters.store import commands as command_rows
from adapters.store.commands import CommandRow, Release
from adapters.store.orders import OrderRow
from consumer.calling.accounts import AccountKey
from consumer.calling.circuit import RefusedCall
from consumer.retry import TryResult, Verdict
from statemachine.commands import CommandKind, CommandState
from statemachine.events import Event, Trigger
from statemachine.facts import (
    EPOCH,
    RESTORED,
    Answer,
    Attempt,
    Cancellation,
    Facts,
    Handover,
    OmsStatus,
    Snapshot,
    age_of,
)
from statemachine.failures import Doubt, Recovery, Trouble
from statemachine.questions.by_field import carried, handed
from statemachine.questions.payloads import possible_imports
from statemachine.questions.settled import change_settled_at
from statemachine.questions.trackings import best_tracking
from statemachine.questions.troubles import troubles_of

log = structlog.get_logger("orderflow.worker")

SOURCE: Final = "/orderflow/worker"
#: In the note of an event: a refusal was not about its order.
DOUBTED: Final = "doubted"
#: Outcome of a call that raised an unexpected exception in our own code.
BROKEN: Final = "broken"


@dataclass(frozen=True, slots=True)
class Claim:
    """A leased command, with its order as it was at the claim."""

    command: CommandRow
    token: str  # of the lease
    order: OrderRow
    received: bytes | None  # the order as Mirakl sent it; only for an import
    external_ref: str = ""  # that of an earlier import which may have landed; empty: there is none

    @property
    def account(self) -> AccountKey:
        return AccountKey(self.order.shop, self.command.kind.remote)


def as_remote_error(claim: Claim, error: Exception) -> RemoteError:
    """Return what an error of a call means for the command, as a RemoteError.

    An exception of our own code becomes one too, because a bug must not make the worker repeat one order for ever.
    """
    operation = claim.command.kind.operation
    match error:
        case RemoteError():
            return error
        case Unimportable():
            return Rejected(operation, NOT_SENT, code="INCOMPLETE", words=str(error))
        case Unreadable():
            words = f"the order as received cannot be read ({error.reason})"
            return Rejected(operation, NOT_SENT, code="UNREADABLE", words=words)
        case ConfigError():  # for example an empty key file
            log.warning("account_not_usable", shop=claim.order.shop, error=str(error))
            return AccountFault(operation, NOT_SENT)
    frame = traceback.extract_tb(error.__traceback__)[-1]
    log.error(
        "call_raised",
        shop=claim.order.shop,
        order_id=claim.order.order_id,
        error=type(error).__name__,
        where=f"{frame.filename}:{frame.lineno}",
    )
    return OutcomeUnknown(operation, BROKEN)


# -- What a try leaves in the store ------------------------------------------------------------------------------


def claimed_event(order: OrderRow, command: CommandRow, token: str, now: datetime) -> Event:
    """Return the event that adds the attempt of a call. From then on the call may have been made (docs/rules.md 20)."""
    sent = (best_tracking(order.facts),) if command.kind == CommandKind.TRACK else ()
    facts = Facts(attempts=(Attempt(command.kind, command.carries),), sent=sent)
    event_id, note = f"{command.id}:{token}:claimed", _note(command, "claimed")
    return Event(SOURCE, event_id, order.shop, order.order_id, Trigger.CALL, now, facts, note=note)


def handover_events(
    claim: Claim, payload: bytes, notes: tuple[str, ...], left_out: frozenset[str], now: datetime
) -> list[Event]:
    """Return the event that an import sends this payload. It keeps the lines and notes that the payload contains, and
    which codes of custom fields it leaves out (`left_out`).

    Normally returns no event for the payload of an earlier try, whose event is stored already. One exception: a person
    settled a change of Mirakl since that try. The OMS may not have had the order when the person looked there, and gets
    it now without the change. So the change becomes a reason again (settled.py).
    """
    snapshot, command = claim.order.facts.snapshot, claim.command
    if snapshot is None:
        return []
    if payload == command.payload:
        earlier = max(claim.order.facts.handovers, default=None)
        settled_at = change_settled_at(claim.order.facts, earlier.at) if earlier else None
        if earlier is None or settled_at is None:
            return []
        # After the settle, also if the clock of the process that stored it is ahead of ours.
        handover = replace(earlier, at=max(now, settled_at + datetime.resolution))
    else:
        handover = _handover(snapshot, notes, left_out, now)
    event_id, note = f"{command.id}:{claim.token}:handover", _note(command, "handover")
    facts = Facts(handovers=(handover,))
    return [Event(SOURCE, event_id, claim.order.shop, claim.order.order_id, Trigger.CALL, now, facts, note=note)]


def _handover(snapshot: Snapshot, notes: tuple[str, ...], left_out: frozenset[str], now: datetime) -> Handover:
    """What an import of this read carries, if it leaves out these codes of custom fields."""
    return Handover(now, _items(snapshot), handed(snapshot.contents, left_out), notes, age_of(snapshot)[0])


def _items(snapshot: Snapshot) -> tuple[tuple[str, int], ...]:
    """The lines and pieces that an import of this read carries."""
    return tuple(sorted((line.id, line.quantity) for line in snapshot.owed_lines if line.quantity is not None))


def maybe_sent_before(claim: Claim) -> bool:
    """Whether an earlier try of this call may have reached the remote. Of an import: in this round, or before a backup
    of the store was restored."""
    command = claim.command
    return command.maybe_sent or Attempt(command.kind, RESTORED) in claim.order.facts.attempts


def duplicate_is_ours(claim: Claim, left_out: frozenset[str]) -> bool:
    """Whether the OMS has what this import carries, if it calls the order a duplicate. `left_out`: codes of custom
    fields that an import leaves out now.

    It has, if an import of ours may have landed, and each of these imports carried the same lines and contents. If they
    differ, a person has to compare, because nobody knows which of them the OMS has.
    """
    facts, snapshot, command = claim.order.facts, claim.order.facts.snapshot, claim.command
    possible = [(one.items, carried(one, left_out)) for one in possible_imports(facts)]
    if not possible or snapshot is None:
        return maybe_sent_before(claim)
    repeats = command.maybe_sent and command.payload is not None and facts.handovers
    newest = _handover(snapshot, (), left_out, EPOCH)
    now = possible[-1] if repeats else (newest.items, carried(newest))
    return all(one == now for one in possible)


def recovery_events(claim: Claim, operation: str, now: datetime) -> list[Event]:
    """Return the event that an operation succeeded which had failed for this call before. No event if it had not."""
    command = claim.command
    if all(one.operation != operation for one in troubles_of(claim.order.facts, command.key)):
        return []
    facts = Facts(recoveries=(Recovery(command.kind, command.carries, command.round, operation, now),))
    event_id, note = f"{command.id}:{claim.token}:recovery", _note(command, "recovery")
    return [Event(SOURCE, event_id, claim.order.shop, claim.order.order_id, Trigger.CALL, now, facts, note=note)]


def answer_facts(made: Sequence[OmsOrder], answer: Answer) -> Facts:
    """Return the facts of an answer to a call. An order of the OMS that the answer shows canceled is a cancellation."""
    seen = [(one.part.oms_id, one.status) for one in made if one.status is not None]
    canceled = {Cancellation(oms_id, told_at=answer.at) for oms_id, status in seen if status == CANCELLED_STATUS}
    return Facts(
        answers=(answer,),
        parts=tuple(sorted({one.part for one in made})),
        statuses=tuple(sorted({OmsStatus(oms_id, answer.at, status) for oms_id, status in seen})),
        cancellations=tuple(sorted(canceled)),
    )


@dataclass(frozen=True, slots=True)
class Ending:
    """How a try ended, as it is stored: events for the order, and what becomes of the command's row.

    `doubts`: events for other orders, whose refused calls are tried again because of this try.
    """

    claim: Claim
    events: tuple[Event, ...]
    release: Release
    result: TryResult
    error: RemoteError | None = None
    doubts: tuple[Event, ...] = ()

    @property
    def order(self) -> tuple[str, str]:
        """Shop and id of the order."""
        return self.claim.order.shop, self.claim.order.order_id

    @property
    def all_events(self) -> tuple[Event, ...]:
        return (*self.events, *self.doubts)

    @property
    def written(self) -> set[tuple[str, str]]:
        """Shop and id of each order that the events change."""
        return {(event.shop, event.order_id) for event in self.all_events}


def doubt_events(calls: Sequence[RefusedCall], now: datetime) -> tuple[Event, ...]:
    """Return the events that the refusals of these calls were not about their orders (failures.Doubt)."""
    return tuple(
        Event(
            SOURCE,
            f"{one.command_id}:doubted",
            one.shop,
            one.order_id,
            Trigger.CALL,
            now,
            Facts(doubts=(Doubt(one.key.kind, one.key.carries, one.key.round),)),
            note={
                "command": one.key.kind,
                "operation": one.key.kind.operation,
                "step": DOUBTED,
                "result": DOUBTED,
                "attempt": 0,
                "round": one.key.round,
            },
        )
        for one in calls
    )


def settled(
    claim: Claim,
    facts: Facts,
    result: TryResult,
    state: CommandState,
    *,
    now: datetime,
    error: RemoteError | None = None,
) -> Ending:
    """Return the ending of a command that is not tried again.

    The facts are stored even if the lease was lost. The row is settled only if this worker still has the lease.
    """
    release = command_rows.settled(claim.command.id, claim.token, state, result)
    return Ending(claim, (_result_event(claim, facts, result, error, now),), release, result, error)


def operation_of(claim: Claim, error: RemoteError) -> str:
    """Return the remote's own name of the operation that failed: the command's call, or a read before it."""
    kind = claim.command.kind
    return kind.operation if error.operation == kind.call else error.operation


def trouble_facts(claim: Claim, error: RemoteError, now: datetime) -> Facts:
    """Return the fact that this operation fails, if it is the first failure in this round of the command since the
    operation last succeeded."""
    command = claim.command
    operation = operation_of(claim, error)
    one = Trouble(
        command.kind,
        command.carries,
        command.round,
        now,
        operation,
        code=error.code or (str(error.status) if error.status else error.outcome),
        words=error.words,
    )
    known = any(old.operation == operation for old in troubles_of(claim.order.facts, command.key))
    return Facts() if known else Facts(troubles=(one,))


def requeued(claim: Claim, verdict: Verdict, error: RemoteError, now: datetime) -> Ending:
    """Return the ending of a try after which the command is tried again later."""
    release = command_rows.requeued(
        claim.command.id,
        claim.token,
        verdict.result,
        verdict.next_at or now,
        maybe_sent=claim.command.maybe_sent or verdict.result == TryResult.UNKNOWN,
        attempt_counts=verdict.result != TryResult.ACCOUNT_FAULT,
    )
    event = _result_event(claim, trouble_facts(claim, error, now), verdict.result, error, now)
    return Ending(claim, (event,), release, verdict.result, error)


def not_called(claim: Claim, next_at: datetime) -> Ending:
    """Return the ending of a try that made no call. The command is due again at `next_at`, unless another worker has
    leased it."""
    command = claim.command
    release = command_rows.requeued(
        command.id, claim.token, TryResult.OBSOLETE, next_at, maybe_sent=command.maybe_sent, attempt_counts=False
    )
    return Ending(claim, (), release, TryResult.OBSOLETE)


def _result_event(claim: Claim, facts: Facts, result: TryResult, error: RemoteError | None, now: datetime) -> Event:
    order, command, note = claim.order, claim.command, _note(claim.command, "result")
    note["result"] = result
    if error is not None:
        note |= {"outcome": error.outcome, "status": error.status, "code": error.code}
        if (failed := operation_of(claim, error)) != command.kind.operation:
            note["failed"] = failed  # a read before the call, which was not made
    event_id = f"{command.id}:{claim.token}:result"
    return Event(SOURCE, event_id, order.shop, order.order_id, Trigger.CALL, now, facts, note=note)


def _note(command: CommandRow, step: str) -> dict[str, str | int]:
    return {
        "command": command.kind,
        "operation": command.kind.operation,
        "step": step,
        "attempt": command.attempts,
        "round": command.round,
    }


# -- What a try leaves in the log ----------------------------------------------------------------------------------


def log_failure(claim: Claim, result: TryResult, outcome: str) -> None:
    """Log that a try failed. `outcome`: that of the call, or an empty text if no call was made."""
    log.warning(
        "command_failed",
        shop=claim.order.shop,
        order_id=claim.order.order_id,
        command=claim.command.kind,
        attempt=claim.command.attempts,
        result=result,
        outcome=outcome,
    )


def log_not_stored(ending: Ending, error: Exception) -> None:
    """Log that the store refuses the result of a try, and always will."""
    log.error("result_not_stored", **_names(ending), result=ending.result, error=type(error).__name__)


def log_held(ending: Ending, seconds: float) -> None:
    """Log that the result of a try still waits after so many seconds, because somebody holds a lock."""
    log.warning("result_waits_for_lock", **_names(ending), result=ending.result, seconds=round(seconds))


def _names(ending: Ending) -> dict[str, str]:
    order, operation = ending.claim.order, ending.claim.command.kind.operation
    return {"shop": order.shop, "order_id": order.order_id, "operation": operation}
