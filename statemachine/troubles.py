"""Calls that keep failing: when they become an attention reason, and how long they hold what comes after them.

A call that fails is tried again. Its first failure is a fact (`Trouble`). Everything here counts from that instant, not
from the number of tries or the pauses between them.
"""

from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Final

from statemachine.commands import CommandKind, Need, Policy, next_round
from statemachine.facts import EPOCH, DecisionKind, Facts, Snapshot, Trouble
from statemachine.readings import last_answer

#: The operation that reads the customer's messages, which an import carries.
MESSAGES: Final = "M11"
#: How a decision to release names the reason `messages_not_read` (reasons.py, Attention.token).
RELEASED: Final = "messages_not_read:"
#: An order is shipped this long before its deadline, even if its tracking cannot be sent.
SHIPPED_BEFORE_DEADLINE: Final = timedelta(minutes=30)


def troubles_of(facts: Facts, need: Need) -> list[Trouble]:
    """The troubles of the call that this need asks for now. A result of the call ends them."""
    if not facts.troubles:
        return []
    key = (need.kind, need.carries, next_round(facts, need))
    return [one for one in facts.troubles if (one.kind, one.carries, one.round) == key]


def told_at(facts: Facts, policy: Policy, trouble: Trouble) -> datetime:
    """When the trouble becomes an attention reason: after `retrying_after`, or when half of the time to the order's
    deadline has passed, if that is earlier.

    If the customer's messages cannot be read, that is an attention reason from the start.
    """
    if trouble.operation == MESSAGES:
        return EPOCH
    deadline = _deadline(facts, trouble)
    latest = trouble.since + policy.retrying_after
    return min(latest, trouble.since + (deadline - trouble.since) / 2) if deadline > trouble.since else latest


def _deadline(facts: Facts, trouble: Trouble) -> datetime:
    """Until when Mirakl waits for the call. EPOCH: Mirakl names no deadline."""
    if facts.snapshot is None:
        return EPOCH
    return facts.snapshot.accept_by if trouble.kind == CommandKind.ACCEPT else facts.snapshot.ship_by


def messages_waited_until(policy: Policy, trouble: Trouble) -> datetime | None:
    """Until when the import waits for the customer's messages. None: the trouble is not about messages."""
    return trouble.since + policy.messages_wait if trouble.operation == MESSAGES else None


def imports_without_messages(facts: Facts, policy: Policy) -> bool:
    """Whether the import goes out although the customer's messages cannot be read.

    It does if a person released it, whatever the policy is. It also does if the shop's policy is `import` and the wait
    is over.
    """
    if any(RELEASED in one.subject for one in facts.decisions if one.kind == DecisionKind.RELEASE):
        return True
    ends = [until for one in facts.troubles if (until := messages_waited_until(policy, one)) is not None]
    return policy.without_messages == "import" and any(facts.clock >= until for until in ends)


def shipped_regardless_at(facts: Facts, policy: Policy) -> datetime | None:
    """From this instant on OR24 goes out although the newest tracking was not sent. None: no such instant is known."""
    snapshot = facts.snapshot
    if snapshot is None or snapshot.state != "SHIPPING" or not facts.dispatches:
        return None
    answer = last_answer(facts, CommandKind.TRACK)
    since = [one.since for one in facts.troubles if one.kind == CommandKind.TRACK]
    since = [one for one in since if answer is None or one > answer.at]
    ends = [one + policy.tracking_holds_for for one in since] + _before_deadline(snapshot)
    return min(ends, default=None)


def _before_deadline(snapshot: Snapshot) -> list[datetime]:
    return [snapshot.ship_by - SHIPPED_BEFORE_DEADLINE] if snapshot.ship_by > EPOCH else []


def instants(facts: Facts, policy: Policy) -> Iterator[datetime]:
    """Every instant at which the plan changes because a call has kept failing until then."""
    yield from (told_at(facts, policy, one) for one in facts.troubles)
    yield from (until for one in facts.troubles if (until := messages_waited_until(policy, one)) is not None)
    if (released := shipped_regardless_at(facts, policy)) is not None:
        yield released
