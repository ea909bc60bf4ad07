"""Every way in which the service can fail.

OrderflowError
├── ConfigError                a setting is wrong; the text names file and key
├── Unreadable                 a message that can never be understood: it is dead-lettered, with its reason
├── Unimportable               an order that lacks what its import needs: a person has to complete it
├── StoreUnavailable           the store does not answer now: keep the batch, try again
├── LogUnavailable             the log does not answer now
├── TooLarge                   the log never takes this record
├── Fenced                     another process holds this range of offsets, or this lease
└── RemoteError                a call to Mirakl or the OMS did not succeed
    ├── Retryable              nothing was done; the same call may succeed later
    ├── OutcomeUnknown         the call may or may not have been carried out
    ├── Rejected               the remote refuses this request for good, in its own words
    │   └── Duplicate          the OMS holds an order with this external_ref already
    └── AccountFault           the account is refused, not the request: wrong key, no right, budget spent
"""

from collections.abc import Sequence
from enum import StrEnum


class UnreadableReason(StrEnum):
    """Why a message cannot be understood. A closed set, because it is the label of a metric (docs/rules.md 35)."""

    NOT_JSON = "not_json"
    NOT_CLOUDEVENT = "not_cloudevent"
    MISSING_FIELD = "missing_field"
    BAD_FIELD = "bad_field"
    BAD_ID = "bad_id"
    UNKNOWN_TYPE = "unknown_type"
    UNKNOWN_SHOP = "unknown_shop"
    UNKNOWN_COMPANY = "unknown_company"


class OrderflowError(Exception):
    """Every error of this service."""


class ConfigError(OrderflowError):
    """A setting is wrong. The text names the file and the key."""


class Unreadable(OrderflowError):
    """A message that can never be understood. `detail` names fields, never their values."""

    def __init__(self, reason: UnreadableReason, detail: str = "") -> None:
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
    """The store does not answer now. Nothing of the transaction was kept."""


class LogUnavailable(OrderflowError):
    """The log does not answer now. Some of the records may have been published."""


class TooLarge(OrderflowError):
    """The log never takes a record of this size. `number` is its index among the records that were to be published."""

    def __init__(self, number: int) -> None:
        super().__init__("a record is larger than the log takes")
        self.number = number


class Fenced(OrderflowError):
    """Another process has taken over a range of offsets, or a lease, that this process still claims."""


class RemoteError(OrderflowError):
    """A call to Mirakl or the OMS did not succeed.

    `outcome` is the metric's label (docs/rules.md 35), `status` the HTTP status or 0, `code` and `words` are the
    remote's own, `retry_after_seconds` is how long the remote asks us to wait, or None. `str()` never shows `words`:
    they may quote the request, which holds personal data.
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
    """Nothing was done (429, refused connection, 5xx of a read). The same call may succeed later."""


class OutcomeUnknown(RemoteError):
    """The call may have been carried out (time-out, lost connection, 5xx of a write)."""


class Rejected(RemoteError):
    """The remote refuses this request for good."""


class Duplicate(Rejected):
    """The OMS holds an order with this external_ref already (docs/kornitx.md 7)."""


class AccountFault(RemoteError):
    """The account is refused, not the request. All calls of the account pause, and the command loses no attempt."""
