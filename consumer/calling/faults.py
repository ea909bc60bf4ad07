"""What a failed call says of its account: whether the order or the remote is at fault, and what has to pause."""

from adapters.errors import NOT_SENT, AccountFault, Duplicate, Rejected, RemoteError, Retryable
from consumer.calling.accounts import AccountKey, Accounts
from consumer.calling.circuit import RefusedCall
from consumer.calling.imports import NOTHING_SHOWN
from consumer.calling.tries import BROKEN, Claim, operation_of
from consumer.retry import Verdict
from statemachine.commands import Remote
from statemachine.questions.troubles import MESSAGES


def judged(accounts: Accounts, claim: Claim, error: RemoteError) -> tuple[RemoteError, list[RefusedCall]]:
    """Return the error of a call, and earlier refused calls that are in doubt because of it.

    A refusal that several orders got in a row is about none of them, so all their calls are tried again (docs/mirakl.md
    2.3).
    """
    if not isinstance(error, Rejected) or isinstance(error, Duplicate) or not error.status:
        return error, []  # without a status the remote was not asked
    order, no = claim.order, f"{error.status} {error.code} {error.words}"
    call = RefusedCall(order.shop, order.order_id, claim.command.id, claim.command.key)
    others = accounts.refused(claim.account, operation_of(claim, error), order.key, no, call)
    if others is None:
        return error, []
    error = Retryable(error.operation, error.outcome, status=error.status, code=error.code, words=error.words)
    return error, others


def account_failed(accounts: Accounts, claim: Claim, verdict: Verdict, error: RemoteError) -> None:
    """Pause the account or the refused operation, or count the failure towards the operation's circuit.

    A duplicate, and a refusal to read messages (imports._messages), are answers: they close the circuit.
    """
    operation = operation_of(claim, error)
    if operation == MESSAGES and error.outcome == NOT_SENT and error.retry_after_seconds:
        return  # the messages were not read (imports.py), because their operation pauses already
    account = AccountKey(claim.order.shop, Remote.MIRAKL) if operation == MESSAGES else claim.account
    if verdict.pause_until is not None:
        of_operation = isinstance(error, AccountFault) and error.is_of_operation
        accounts.pause(account, verdict.pause_until, operation if of_operation else "")
    elif isinstance(error, Duplicate) or isinstance(error.__cause__, Rejected):
        accounts.answered(account, operation)
    elif not isinstance(error, Rejected) and error.outcome not in (BROKEN, NOTHING_SHOWN, NOT_SENT):
        accounts.failed(account, operation, claim.order.key)
