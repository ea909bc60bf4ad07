"""The retry rule: what happens to a command and to its account after a call that failed. Pure functions."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final

from adapters.errors import AccountFault, Duplicate, OutcomeUnknown, Rejected, RemoteError


class TryResult(StrEnum):
    """How a try of a command ended: the label `result` of orderflow_commands_total (docs/rules.md 35)."""

    DONE = "done"
    ALREADY_DONE = "already_done"  # an earlier try of ours had reached the remote
    RETRY = "retry"
    UNKNOWN = "unknown"  # as RETRY, but the call may have been carried out (remotes/http.py: ambiguous_failure)
    REJECTED = "rejected"
    ACCOUNT_FAULT = "account_fault"
    GAVE_UP = "gave_up"
    OBSOLETE = "obsolete"  # no call was made: no longer due, the lease was lost, or no budget was left


#: The pause of an account after a fault, if the remote does not say how long.
ACCOUNT_PAUSE_SECONDS: Final = 60.0
#: The shortest pause of an account, if the remote says how long.
SHORTEST_PAUSE_SECONDS: Final = 1.0


@dataclass(frozen=True, slots=True)
class Backoff:
    """The wait between tries, in seconds: doubled with each try, at most `longest_seconds`, shortened by the jitter."""

    first_seconds: float = 5
    longest_seconds: float = 900

    def seconds(self, attempts: int, jitter: float) -> float:
        """The wait after the `attempts`-th try. `jitter` from 0 to 1 shortens it by up to a half."""
        wait = min(self.first_seconds * 2.0 ** min(attempts - 1, 20), self.longest_seconds)
        return wait * (1 - jitter / 2)


@dataclass(frozen=True, slots=True)
class Verdict:
    """What happens to the command and to its account."""

    result: TryResult
    next_at: datetime | None = None  # when the command is tried again
    pause_until: datetime | None = None  # until when its account pauses


def after_failure(
    error: RemoteError,
    *,
    attempts: int,
    duplicate_is_ours: bool,
    give_up_at: datetime,
    now: datetime,
    backoff: Backoff,
    jitter: float,
) -> Verdict:
    """Decide by the retry rule what happens after a failed call.

    - A duplicate that is our own order (`duplicate_is_ours`) ends the command as done. Else the command is rejected.
    - A command is given up if its next try would be after its deadline. The number of tries does not matter.
    - A fault of the account pauses the account. The command is not given up, and the attempt does not count.
    """
    if isinstance(error, Duplicate):
        return Verdict(TryResult.ALREADY_DONE if duplicate_is_ours else TryResult.REJECTED)
    if isinstance(error, Rejected):
        return Verdict(TryResult.REJECTED)
    asked_seconds = error.retry_after_seconds
    if isinstance(error, AccountFault):
        pause_until = now + timedelta(seconds=max(asked_seconds or ACCOUNT_PAUSE_SECONDS, SHORTEST_PAUSE_SECONDS))
        return Verdict(TryResult.ACCOUNT_FAULT, next_at=pause_until, pause_until=pause_until)
    next_at = now + timedelta(seconds=max(backoff.seconds(attempts, jitter), asked_seconds or 0))
    if next_at > give_up_at:
        return Verdict(TryResult.GAVE_UP)
    return Verdict(TryResult.UNKNOWN if isinstance(error, OutcomeUnknown) else TryResult.RETRY, next_at=next_at)
