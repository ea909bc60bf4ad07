"""What to do after a call that failed: pure functions of the failure and the command."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from adapters.errors import AccountFault, Duplicate, OutcomeUnknown, Rejected, RemoteError

# How a command's try ended: the `result` label of orderflow_commands_total (docs/rules.md 35).
DONE: Final = "done"
ALREADY_DONE: Final = "already_done"
RETRY: Final = "retry"
UNKNOWN: Final = "unknown"
REJECTED: Final = "rejected"
ACCOUNT_FAULT: Final = "account_fault"
GAVE_UP: Final = "gave_up"
OBSOLETE: Final = "obsolete"
RESULTS: Final = (DONE, ALREADY_DONE, RETRY, UNKNOWN, REJECTED, ACCOUNT_FAULT, GAVE_UP, OBSOLETE)


#: A bad key or a spent budget is tried again after this, where the remote names no time (nor "at once").
ACCOUNT_REST_SECONDS: Final = 60.0
SHORTEST_REST_SECONDS: Final = 1.0


@dataclass(frozen=True, slots=True)
class Backoff:
    """Waiting between tries, in seconds: doubled each time, jittered down to half, capped."""

    first_seconds: float = 5
    longest_seconds: float = 900

    def seconds(self, attempts: int, jitter: float) -> float:
        """The wait after the `attempts`-th try; `jitter` is from 0 to 1."""
        wait = min(self.first_seconds * 2.0 ** min(attempts - 1, 20), self.longest_seconds)
        return wait * (1 - jitter / 2)


@dataclass(frozen=True, slots=True)
class Verdict:
    """What becomes of the command."""

    result: str
    next_at: datetime | None = None  # where it is tried again
    rest_until: datetime | None = None  # where its whole account pauses


def after_failure(
    error: RemoteError,
    *,
    attempts: int,
    maybe_sent_before: bool,
    give_up_at: datetime,
    now: datetime,
    backoff: Backoff,
    jitter: float,
) -> Verdict:
    """The retry rule.

    A duplicate is done only after an earlier try of ours whose outcome nobody knows, else somebody else's order.
    Giving up goes by the order's deadline, not by count. A fault of the account costs no attempt.
    """
    if isinstance(error, Duplicate):
        return Verdict(ALREADY_DONE if maybe_sent_before else REJECTED)
    if isinstance(error, Rejected):
        return Verdict(REJECTED)
    asked = error.retry_after_seconds
    if isinstance(error, AccountFault):
        until = now + timedelta(seconds=max(asked or ACCOUNT_REST_SECONDS, SHORTEST_REST_SECONDS))
        return Verdict(ACCOUNT_FAULT, next_at=until, rest_until=until)
    wait = backoff.seconds(attempts, jitter)
    next_at = now + timedelta(seconds=max(wait, asked or 0))
    if next_at > give_up_at:
        return Verdict(GAVE_UP)
    return Verdict(UNKNOWN if isinstance(error, OutcomeUnknown) else RETRY, next_at=next_at)
