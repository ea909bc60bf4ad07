"""The errors of the service. An error that one module alone raises may be in that module, as EventIdReused is
(consumer/applying/apply.py).

OrderflowError
├── ConfigError                a setting is wrong; the text names the file and the key
├── Unreadable                 a message can never be understood; its record is dead-lettered with the reason
├── Unimportable               an order lacks values that its import needs; a person has to complete the order
├── StoreUnavailable           the store does not answer now; the caller keeps its batch and tries again
│   ├── PartitionsWait         only some partitions of a batch wait for a lock; all others were applied
│   └── OrdersWait             only some orders of a batch wait for a lock; all others were stored
├── LogUnavailable             the log does not answer now; the caller tries again
├── RecordUnreadable           a record of a partition cannot be read from the log; the partition stops there
├── RecordRefused              the log does not take one record, now and later
│   └── TooLarge               because it is too large
├── BrokenOrders               some orders cannot be read or planned; they are quarantined, and the others go on
├── Fenced                     another process has taken over this range of offsets, or this lease
└── RemoteError                a call to Mirakl or the OMS did not succeed
    ├── Retryable              the remote did nothing; the same call may succeed later
    ├── OutcomeUnknown         the remote may or may not have carried out the call
    ├── Rejected               the remote refuses this request, now and later
    │   └── Duplicate          the OMS already holds an order with this external_ref
    └── AccountFault           the remote refuses the account, not the request: wrong key, no right, budget spent
"""

import errno
from collections.abc import Collection, Mapping, Sequence
from enum import StrEnum
from typing import Final

#: Outcome of a call that was not made.
NOT_SENT: Final = "not_sent"
#: How many orders the text of an error names.
_MOST_NAMED: Final = 5
#: The errors of the operating system for a disk of this machine, or a quota of it, that is full.
_NO_SPACE: Final = (errno.ENOSPC, errno.EDQUOT)


class UnreadableReason(StrEnum):
    """Why a message cannot be understood.

    The set is closed, because the reasons are values of a metric's label (docs/rules.md 35).
    """

    NOT_JSON = "not_json"
    NOT_CLOUDEVENT = "not_cloudevent"
    MISSING_FIELD = "missing_field"
    BAD_FIELD = "bad_field"
    BAD_ID = "bad_id"
    UNKNOWN_TYPE = "unknown_type"
    UNKNOWN_SHOP = "unknown_shop"
    UNKNOWN_COMPANY = "unknown_company"


class Cause(StrEnum):
    """Why something cannot be done now. The set is closed, because the causes are values of a metric's label
    (docs/rules.md 35)."""

    DNS = "dns"  # the host's name is not known
    REFUSED = "refused"  # nobody listens at the address
    TLS = "tls"  # no secured connection: a certificate, its name or its date is wrong
    TIMEOUT = "timeout"  # no answer in time
    CONNECTION = "connection"  # the connection was lost, or the server starts or stops
    LOGIN = "login"  # user, password or a right is wrong
    TOO_LONG = "too_long"  # the answer is longer than we read
    DISK_FULL = "disk_full"
    READ_ONLY = "read_only"  # the server is no longer the primary, or the file may not be written
    LOCKED = "locked"  # another transaction holds what this one needs
    BUSY = "busy"  # no connection is free, or the server has no memory left
    FENCED = "fenced"  # another process has taken over
    CONFIG = "config"  # a setting is wrong
    REMOTE = "remote"  # a call to Mirakl or the OMS did not succeed
    UNEXPECTED = "unexpected"  # an error that the code does not foresee
    OTHER = "other"


def _some_of(names: Sequence[str]) -> str:
    """Return the first names in words, and how many more there are: a batch has hundreds of orders."""
    more = len(names) - _MOST_NAMED
    return ", ".join(names[:_MOST_NAMED]) + (f" and {more} more" if more > 0 else "")


class OrderflowError(Exception):
    """The base class of every error of this service."""


class ConfigError(OrderflowError):
    """A setting is wrong. The text names the file and the key."""


class Unreadable(OrderflowError):
    """A message can never be understood. `detail` names fields, never their values."""

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
    """The store does not answer now. The transaction changed nothing, unless the connection was lost during its commit
    (store/transaction.py)."""

    def __init__(self, text: str = "", cause: Cause = Cause.OTHER) -> None:
        super().__init__(text)
        self.cause = cause


class PartitionsWait(StoreUnavailable):
    """Some partitions of a batch wait for what another transaction holds locked. All others were applied."""

    def __init__(self) -> None:
        super().__init__("partitions wait for a lock", Cause.LOCKED)


class OrdersWait(StoreUnavailable):
    """Some orders of a batch wait for what another transaction holds locked. All others were stored.

    `orders`: their shops and order ids.
    """

    def __init__(self, orders: Collection[tuple[str, str]]) -> None:
        named = _some_of([f"{shop}/{order_id}" for shop, order_id in sorted(orders)])
        super().__init__(f"orders wait for a lock: {named}", Cause.LOCKED)
        self.orders = frozenset(orders)


class LogUnavailable(OrderflowError):
    """The log does not answer now. Some of the records may have been published."""

    def __init__(self, text: str = "", cause: Cause = Cause.OTHER) -> None:
        super().__init__(text)
        self.cause = cause


class RecordUnreadable(OrderflowError):
    """The client cannot read the record at `offset` of a partition: its codec is missing, its checksum or its form is
    wrong. `until` is the next offset that may be readable. `detail` names the kind of the error."""

    def __init__(self, topic: str, partition: int, offset: int, until: int, detail: str) -> None:
        super().__init__(f"{topic}/{partition}/{offset}: {detail}")
        self.topic = topic
        self.partition = partition
        self.offset = offset
        self.until = until
        self.detail = detail


class RecordRefused(OrderflowError):
    """The log accepts one record neither now nor later, for what it holds. `number` is the record's index among the
    records of the call, from 0. `kind` names the kind of the error."""

    def __init__(self, number: int, kind: str, text: str = "the log refuses a record") -> None:
        super().__init__(text)
        self.number = number
        self.kind = kind


class TooLarge(RecordRefused):
    """The log accepts no record of this size."""

    def __init__(self, number: int) -> None:
        super().__init__(number, "TooLarge", "a record is larger than the log takes")


class BrokenOrders(OrderflowError):
    """Some orders cannot be read or planned, or they are quarantined. Nothing was stored.

    `orders`: the kind of the error of each, by shop and order id.
    """

    def __init__(self, orders: Mapping[tuple[str, str], str]) -> None:
        named = _some_of([f"{shop}/{order_id} ({kind})" for (shop, order_id), kind in sorted(orders.items())])
        super().__init__(f"cannot be read or planned by this version: {named}; `orders replan ORDER` tries it again")
        self.orders = dict(orders)


class Fenced(OrderflowError):
    """Another process has taken over a range of offsets, or a lease, that this process believes it holds."""


class RemoteError(OrderflowError):
    """A call to Mirakl or the OMS did not succeed.

    `outcome` is the value of a metric's label (docs/rules.md 35). `status` is the HTTP status, or 0 without an answer.
    Without an answer `cause` says why; with one it is REMOTE. `code` and `words` are the code and the text of the
    remote's error. `retry_after_seconds` is how long the remote asks us to wait, or None. `str()` never shows `words`:
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
        cause: Cause = Cause.REMOTE,
    ) -> None:
        super().__init__(f"{operation}: {outcome}" + (f" {code}" if code else ""))
        self.operation = operation
        self.outcome = outcome
        self.status = status
        self.code = code
        self.words = words
        self.retry_after_seconds = retry_after_seconds
        self.cause = cause


class Retryable(RemoteError):
    """The call changed nothing at the remote (429, refused connection, a read that failed). It may succeed later."""


class OutcomeUnknown(RemoteError):
    """The remote may have carried out the call (time-out, lost connection, 5xx of a write)."""


class Rejected(RemoteError):
    """The remote refuses this request, and would refuse it again."""


class Duplicate(Rejected):
    """The OMS already holds an order with this external_ref (docs/kornitx.md 7)."""


class AccountFault(RemoteError):
    """The remote refuses the account, not the request.

    So all calls of the account pause, or only those of the operation if `is_of_operation`. The failed call does not
    count as an attempt of its command.
    """

    @property
    def is_of_operation(self) -> bool:
        """Whether only this operation is refused: the key is known, but lacks the right to it (docs/mirakl.md 2.3)."""
        return self.status == 403


def cause_of(error: BaseException) -> Cause:
    """Return the cause of an error. REMOTE for every RemoteError, whatever its `cause`.

    An error that is none of ours is UNEXPECTED, but for a disk of this machine that is full.
    """
    match error:
        case StoreUnavailable() | LogUnavailable():
            return error.cause
        case Fenced():
            return Cause.FENCED
        case ConfigError():
            return Cause.CONFIG
        case RemoteError():
            return Cause.REMOTE
        case OrderflowError():
            return Cause.OTHER
    is_full = isinstance(error, OSError) and error.errno in _NO_SPACE
    return Cause.DISK_FULL if is_full else Cause.UNEXPECTED
