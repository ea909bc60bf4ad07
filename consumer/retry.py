"""The retry rule: what becomes of a command and of its account after a call that failed. Pure functions."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final

from adapters.errors import AccountFault, Duplicate, OutcomeUnknown, Rejected, RemoteError


class TryResult(StrEnum):
    """How a try of a command ended: the label `result` of orderflow_commands_total (docs/rules.md 35)."""

    DONE = "done"
    ALREADY_DONE = "already_done"  # the remote had it before this try: an earlier one of ours did it
    RETRY = "retry"
    UNKNOWN = "unknown"  # as RETRY, but the call may have been carried out
    REJECTED = "rejected"
    ACCOUNT_FAULT = "account_fault"
    GAVE_UP = "gave_up"
    OBSOLETE = "obsolete"  # not called: no longer needed, or leased by another worker by now


#: The pause of an account after a fault, where the remote does not name one.
ACCOUNT_PAUSE_SECONDS: Final = 60.0
#: The shortest pause of an account, where the remote names one.
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
    """What becomes of the command, and of its account."""

    result: TryResult
    next_at: datetime | None = None  # when the command is tried again
    pause_until: datetime | None = None  # how long its account pauses


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

    - A duplicate is our own order only where an earlier try of ours may have reached the OMS (`maybe_sent_before`).
      Else the order there is not ours, and the command is rejected.
    - A command is given up at its deadline, however many tries it had.
    - A fault of the account pauses the account. The command is neither given up nor charged an attempt.
    """
    if isinstance(error, Duplicate):
        return Verdict(TryResult.ALREADY_DONE if maybe_sent_before else TryResult.REJECTED)
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
