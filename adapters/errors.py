"""Every way in which the service can fail.

OrderflowError
├── ConfigError                a setting is wrong; names file and key
├── Unreadable                 this message will never be understood: dead letter, with its reason
├── Unimportable               an order lacks what its import needs: a person completes it
├── StoreUnavailable           the store does not answer now: keep the batch, try again
├── LogUnavailable             the log does not answer now
├── TooLarge                   the log will never take this record
├── Fenced                     somebody else holds this range of offsets, or this lease
└── RemoteError                a remote's answer to a call of ours
    ├── Retryable              nothing was done; the same call may succeed later
    ├── OutcomeUnknown         it may or may not have been done
    ├── Rejected               no, for good, to this request; carries the remote's own words
    │   └── Duplicate          the OMS holds an order with this external_ref already
    └── AccountFault           the account, not the request: bad key, not allowed, budget spent
"""

from collections.abc import Sequence
from typing import Final

#: Why a message is a dead letter: a closed set, so that it can be a metric's label.
REASONS: Final = frozenset(
    {
        "not_json",
        "not_cloudevent",
        "missing_field",
        "bad_field",
        "bad_id",
        "unknown_type",
        "unknown_shop",
        "unknown_company",
    }
)


class OrderflowError(Exception):
    """Every error of this service."""


class ConfigError(OrderflowError):
    """A setting is wrong. The text names the file and the key."""


class Unreadable(OrderflowError):
    """A message that can never be understood.

    `reason` is one of a closed set (REASONS), safe as a metric label; `detail` names fields, never their values.
    """

    def __init__(self, reason: str, detail: str = "") -> None:
        super().__init__(f"{reason}: {detail}" if detail else reason)
        self.reason = reason
        self.detail = detail


class Unimportable(OrderflowError):
    """The order lacks values that the OMS requires and that cannot be derived.

    `missing` names fields, never their values.
    """

    def __init__(self, missing: Sequence[str]) -> None:
        super().__init__("missing: " + ", ".join(missing))
        self.missing = tuple(missing)


class StoreUnavailable(OrderflowError):
    """The store does not answer now; nothing of the transaction was kept."""


class LogUnavailable(OrderflowError):
    """The log does not answer now; some of the records may have been published."""


class TooLarge(OrderflowError):
    """The log will never take a record of this size. `number` is its place among those that were to be published."""

    def __init__(self, number: int) -> None:
        super().__init__("a record is larger than the log takes")
        self.number = number


class Fenced(OrderflowError):
    """Another process holds what this one believed to hold: a range of offsets, or a lease."""


class RemoteError(OrderflowError):
    """A call did not end in success.

    `outcome` is the metric's label (docs/rules.md 35), `status` the HTTP status or 0, `code` and `words` the remote's
    own, `retry_after_seconds` what the remote asked for, or None. `str()` never holds the remote's words: they
    may quote the request.
    """

    def __init__(
        self,
        operation: str,
        outcome: str,
        *,
        status: int = 0,
        code: str = "",
        words: str = "",
        retry_after_seconds: float | None = None,
    ) -> None:
        super().__init__(f"{operation}: {outcome}" + (f" {code}" if code else ""))
        self.operation = operation
        self.outcome = outcome
        self.status = status
        self.code = code
        self.words = words
        self.retry_after_seconds = retry_after_seconds


class Retryable(RemoteError):
    """Nothing was done (429, refused connection, 5xx of a read); the same call may succeed later."""


class OutcomeUnknown(RemoteError):
    """The call may have been carried out (timeout, lost connection, 5xx of a write)."""


class Rejected(RemoteError):
    """The remote said no to this request, for good."""


class Duplicate(Rejected):
    """The OMS holds an order with this external_ref already (docs/kornitx.md 7)."""


class AccountFault(RemoteError):
    """The account is at fault, not the request: it pauses as a whole and the command loses no attempt."""
