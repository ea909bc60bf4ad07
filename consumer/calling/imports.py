"""What an import sends: the payload, and what a person should know of it."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

import structlog

from adapters.errors import (
    NOT_SENT,
    AccountFault,
    ConfigError,
    OrderflowError,
    Rejected,
    RemoteError,
    Retryable,
    Unimportable,
)
from adapters.ports import CustomerMessages, Marketplace, Oms
from consumer.calling.accounts import AccountKey, Accounts
from consumer.calling.tries import Claim
from statemachine.commands import Policy, Remote
from statemachine.facts import ATTACHMENT, MESSAGES_NOT_FOUND, Snapshot
from statemachine.questions.troubles import MESSAGES, NO_MESSAGE, imports_without_messages, troubles_of

log = structlog.get_logger("orderflow.worker")

#: If the shop's account at Mirakl has as many reads of messages under way as it may, the import is tried again after
#: this time.
READ_AGAIN_SECONDS: Final = 10.0
#: Outcome of a read of messages that shows none, although the order says that the customer wrote.
NOTHING_SHOWN: Final = "nothing_shown"


class ReadsBusy(OrderflowError):
    """This process has as many reads of messages under way at the account as it may. Mirakl was not asked, so this is
    no trouble of the order."""


@dataclass(frozen=True, slots=True)
class Outgoing:
    """The bytes that an import sends, the notes that are kept with it (facts.Handover), and whether Mirakl showed the
    customer's messages for it. `left_out`: codes of custom fields that the bytes leave out, if they are new."""

    payload: bytes
    notes: tuple[str, ...] = ()
    messages_read: bool = False
    left_out: frozenset[str] = frozenset()


def outgoing(
    claim: Claim,
    snapshot: Snapshot,
    mirakl: Marketplace,
    oms: Oms,
    *,
    accounts: Accounts,
    policy: Policy,
    now: datetime,
) -> Outgoing:
    """Return what an import sends.

    If an earlier try may have reached the OMS, the import sends the same bytes again (docs/kornitx.md 7). If not, the
    bytes are made from the newest snapshot and the customer's messages, under the external_ref of an earlier import
    that may have landed: the OMS knows a repeat by it. Messages that cannot be read are left out in two cases: a person
    released the import, or the wait for them is over and the shop's policy allows it (troubles.py).

    Raises RemoteError, Unimportable, Unreadable, ReadsBusy.
    """
    if claim.command.maybe_sent and claim.command.payload is not None:
        return Outgoing(claim.command.payload)
    if claim.received is None:
        raise Unimportable(["the order as received"])
    pieces, ref = {line.id: line.quantity for line in snapshot.owed_lines}, claim.external_ref
    if not snapshot.has_messages:
        return Outgoing(oms.payload(claim.received, (), pieces, ref), left_out=oms.left_out)
    try:
        written = _messages(claim, mirakl, accounts)
    except RemoteError:
        facts = claim.order.facts
        failing = [one for one in troubles_of(facts, claim.command.key) if one.operation == MESSAGES]
        if not any(imports_without_messages(facts, policy, one, now) for one in failing):
            raise
        payload = oms.payload(claim.received, (), pieces, ref)
        return Outgoing(payload, (MESSAGES_NOT_FOUND,), left_out=oms.left_out)
    notes = (ATTACHMENT,) if written.has_attachments else ()
    payload = oms.payload(claim.received, written.texts, pieces, ref)
    return Outgoing(payload, notes, messages_read=True, left_out=oms.left_out)


def next_try_at(claim: Claim, next_at: datetime, policy: Policy, now: datetime, longest: timedelta) -> datetime:
    """When an import whose messages could not be read is tried again. `next_at`: when the retry rule says.

    While the import waits for the messages: when the wait ends, at the latest. After the wait, if a person has to
    release the import, the messages are read at the slowest pace (`longest`): the import goes out once they are shown.
    """
    since = [one.since for one in troubles_of(claim.order.facts, claim.command.key) if one.operation == MESSAGES]
    until = min(since, default=now) + policy.messages_wait
    if now < until:
        return min(next_at, until)
    return max(next_at, now + longest) if policy.without_messages == "hold" else next_at


def _messages(claim: Claim, mirakl: Marketplace, accounts: Accounts) -> CustomerMessages:
    """Return the customer's messages. Raises RemoteError, also if Mirakl shows none although the customer wrote, and
    ReadsBusy.

    No RemoteError is a Rejected, because a rejection would end the import.
    """
    account = AccountKey(claim.order.shop, Remote.MIRAKL)
    if seconds := accounts.seconds_paused(account, MESSAGES):
        raise AccountFault(MESSAGES, NOT_SENT, retry_after_seconds=seconds)
    try:
        with accounts.reading(account) as may_read:
            if not may_read:
                raise ReadsBusy
            accounts.claimed(account, MESSAGES)
            found = mirakl.customer_messages(claim.order.order_id)
    except Rejected as error:
        raise Retryable(error.operation, error.outcome, status=error.status, words=error.words) from error
    except ConfigError as error:  # Mirakl's key, and not the OMS's
        log.warning("account_not_usable", shop=claim.order.shop, error=str(error))
        raise AccountFault(MESSAGES, NOT_SENT) from error
    accounts.answered(account, MESSAGES)
    if not found.texts and not found.has_attachments:
        raise Retryable(MESSAGES, NOTHING_SHOWN, code=NO_MESSAGE)
    return found
