"""Calls that keep failing: when they become an attention reason, how long imports wait for messages and OR24 for OR23.

A call that fails is tried again. Its first failure since its last success is a fact (`Trouble`). Everything here counts
from that instant, not from the number of tries or the pauses between them.
"""

from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Final

from statemachine.commands import CommandKey, CommandKind, Need, Policy, next_round
from statemachine.facts import EPOCH, DecisionKind, Facts, Snapshot
from statemachine.failures import Trouble
from statemachine.questions.readings import last_answer
from statemachine.reasons import Reason

#: The operation that reads the customer's messages, which an import carries.
MESSAGES: Final = "M11"
#: The code of a read of messages that shows none although Mirakl says that the customer wrote.
NO_MESSAGE: Final = "NO_MESSAGE"
_TOO_MANY_REQUESTS: Final = "429"
#: An order is shipped this long before its deadline, even if its tracking cannot be sent.
SHIPPED_BEFORE_DEADLINE: Final = timedelta(minutes=30)


def troubles_of(facts: Facts, key: CommandKey) -> list[Trouble]:
    """The troubles that this command has now: of each operation, the first failure since its last success.

    A result of the command ends all of them, because the next round is another command. Messages that the order does
    not have any more are no trouble.
    """
    if not facts.troubles:  # nearly every order has none; this saves time
        return []
    wanted = (key.kind, key.carries, key.round)
    over: dict[str, datetime] = {}
    for one in facts.recoveries:
        if (one.kind, one.carries, one.round) == wanted:
            over[one.operation] = max(one.at, over.get(one.operation, one.at))
    first: dict[str, Trouble] = {}
    for trouble in sorted(facts.troubles, key=lambda trouble: trouble.since, reverse=True):
        is_mine = (trouble.kind, trouble.carries, trouble.round) == wanted
        if is_mine and trouble.since > over.get(trouble.operation, EPOCH):
            first[trouble.operation] = trouble
    if facts.snapshot is not None and not facts.snapshot.has_messages:
        first.pop(MESSAGES, None)
    return list(first.values())


def troubles_of_need(facts: Facts, need: Need) -> list[Trouble]:
    """The troubles of the call that this need asks for now."""
    return troubles_of(facts, CommandKey(need.kind, need.carries, next_round(facts, need))) if facts.troubles else []


def reason_from(facts: Facts, policy: Policy, trouble: Trouble) -> datetime:
    """When the trouble becomes an attention reason: after `retrying_after`, or when half of the time to the order's
    deadline has passed, if that is earlier.

    If the customer's messages cannot be read, that is an attention reason from the start, unless Mirakl only asked to
    call later.
    """
    if trouble.operation == MESSAGES and trouble.code != _TOO_MANY_REQUESTS:
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


def is_released(facts: Facts, trouble: Trouble) -> bool:
    """Whether a person let the import go out without the messages since they cannot be read.

    The release names since when they could not be read. So one that is about an earlier trouble, and that a clock which
    was ahead dated later, does not count. Earlier versions named no time.
    """
    releases = (one for one in facts.decisions if one.kind == DecisionKind.RELEASE and one.at >= trouble.since)
    since = (detail for one in releases for detail in one.details_of(Reason.MESSAGES_NOT_READ))
    return any(not one or one >= named_since(trouble) for one in since)


def named_since(trouble: Trouble) -> str:
    """How the reason `messages_not_read` names this trouble."""
    return f"since {trouble.since:%Y-%m-%d %H:%M:%S}"


def imports_without_messages(facts: Facts, policy: Policy, trouble: Trouble, now: datetime) -> bool:
    """Whether the import goes out although the customer's messages cannot be read. Asked when a read failed again.

    It does if a person released it, whatever the policy is. It also does if the shop's policy is `import` and the wait
    is over.
    """
    until = messages_waited_until(policy, trouble)
    is_over = until is not None and now >= until
    return is_released(facts, trouble) or (is_over and policy.without_messages == "import")


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
    """Every instant, past or not, at which a failing call changes the plan, or OR24 no longer waits for OR23."""
    keys = {CommandKey.parse(f"{one.kind}:{one.round}:{one.carries}") for one in facts.troubles}
    for one in [one for key in keys for one in troubles_of(facts, key)]:
        yield reason_from(facts, policy, one)
        if (until := messages_waited_until(policy, one)) is not None:
            yield until
    if (released := shipped_regardless_at(facts, policy)) is not None:
        yield released
