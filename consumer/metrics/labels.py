"""The closed sets that values of the metrics' labels come from (docs/rules.md 35), unless an enum is the set:
Invariant, State, Trigger and others, which definitions.py names."""

from collections.abc import Collection, Mapping
from typing import Final

from adapters.errors import UnreadableReason
from adapters.remotes.http import CallOutcome
from adapters.store.dead_letters import (
    CALLBACK,
    NOT_APPLICABLE,
    POLL,
    QUARANTINED,
    RECORD_UNREADABLE,
    REFUSED,
    SET_ASIDE,
    TOO_LARGE,
)
from consumer.hooks import LOOPS_OF, CallbackResult
from statemachine.commands import CommandKind, Remote
from statemachine.deadlines import DeadlineKind
from statemachine.objectives import Kept

#: Stands for a value that is not in the label's closed set.
OTHER: Final = "other"
#: How a call to a remote ended.
OUTCOMES: Final = tuple(CallOutcome)
#: The outcomes that alerts read, and BAD_REQUEST, which only the dashboard shows.
ALERTED_OUTCOMES: Final = (
    CallOutcome.BAD_REQUEST,
    CallOutcome.UNAUTHORIZED,
    CallOutcome.FORBIDDEN,
    CallOutcome.TOO_MANY_REQUESTS,
    CallOutcome.SERVER_ERROR,
    CallOutcome.TIMEOUT,
    CallOutcome.NETWORK,
)
#: Reads for which a key often lacks the right. The first refusal has to be seen.
SEPARATE_RIGHTS: Final = ("M11", "SH21", "SH12")
#: The calls of the service to each remote, as the adapters name them. Those of the command line are not counted.
OPERATIONS: Final[Mapping[str, tuple[str, ...]]] = {
    Remote.MIRAKL: ("OR11", "OR21", "OR23", "OR24", "M11", "SH21", "SH12", "PC01", "A01"),
    Remote.OMS: ("import_order",),
}
SYSTEMS: Final = tuple(Remote)
EVERY_OPERATION: Final = (*OPERATIONS[Remote.MIRAKL], *OPERATIONS[Remote.OMS], OTHER)
COMMANDS: Final = tuple(CommandKind)
DEADLINES: Final = tuple(DeadlineKind)
#: What a poll finds of an order (hooks.PollResult).
POLL_RESULTS: Final = ("new", "changed", "same")
ALERTED_CALLBACK_RESULTS: Final = (
    CallbackResult.TAKEN,
    CallbackResult.NOT_AUTHENTIC,
    CallbackResult.UNREADABLE,
    CallbackResult.UNVERIFIABLE,
    CallbackResult.TOO_LARGE,
    CallbackResult.LOG_UNAVAILABLE,
)
DEAD_LETTER_SOURCES: Final = ("a topic", POLL, CALLBACK)
DEAD_LETTER_REASONS: Final = (
    *sorted(UnreadableReason),
    NOT_APPLICABLE,
    TOO_LARGE,
    REFUSED,
    SET_ASIDE,
    RECORD_UNREADABLE,
    QUARANTINED,
)
ROLES: Final = tuple(LOOPS_OF)
LOOPS: Final = tuple(loop for loops in LOOPS_OF.values() for loop in loops)
#: The results of objectives that are counted.
COUNTED: Final = (Kept.GOOD, Kept.BAD)
LOG_LEVELS: Final = ("debug", "info", "warning", "error", "critical")


def known(value: str, values: Collection[str]) -> str:
    """Return the value if it is one of `values`, else OTHER."""
    return value if value in values else OTHER
