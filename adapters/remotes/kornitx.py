"""KornitX, the OMS: the call that imports an order, and how its answers are read (docs/kornitx.md 3, 6)."""

import re
from base64 import b64encode
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, Literal

import httpx
import simplejson
import structlog

from adapters.errors import AccountFault, Duplicate, OutcomeUnknown, Rejected, RemoteError, Retryable
from adapters.messages.json_slices import has_too_many_values
from adapters.messages.text import storable
from adapters.ports import OmsOrder, OnCall
from adapters.remotes.http import (
    DIRECT,
    GATEWAY_STATUSES,
    CallOutcome,
    Network,
    Remote,
    Reply,
    http_date,
    outcome_of,
    retry_after_seconds,
    safe_code,
)
from adapters.remotes.kornitx_order import OrderRules, build_payload, id_of, tax_mode_of, text_of
from statemachine.facts import Part

log = structlog.get_logger("orderflow.kornitx")

_IMPORT: Final = "import_order"
_ASK: Final = "ask"
_NO_JSON: Final = b"{"
_NO_ORDER: Final = "the answer shows no order with our external_ref"
#: Error codes with which KornitX refuses the account, not the order. Its HTTP status is 400, so the outcome of the call
#: comes from the code: otherwise no alert on 401 and 403 could fire for the OMS (docs/kornitx.md 6).
_ACCOUNT_CODES: Final[Mapping[int | None, CallOutcome]] = {
    401: CallOutcome.UNAUTHORIZED,
    50000: CallOutcome.UNAUTHORIZED,
    50001: CallOutcome.FORBIDDEN,
}
#: How messages begin that say the same with the code 0, or without a code.
_ACCOUNT_WORDS: Final[Mapping[str, CallOutcome]] = {
    "authentication required": CallOutcome.UNAUTHORIZED,
    "permission denied": CallOutcome.FORBIDDEN,
}


@dataclass(frozen=True, slots=True)
class ErrorClassifier:
    """Decides from an error of KornitX whether the order is a duplicate, or the account is refused or over its budget.

    KornitX documents no codes for duplicates and spent budgets. So the codes, and patterns for the message, are
    settings (docs/kornitx.md 6).
    """

    duplicate_codes: frozenset[int]
    rate_limit_codes: frozenset[int]
    duplicate_message: re.Pattern[str]
    rate_limit_message: re.Pattern[str]

    def kind_of(
        self, status: int, code: int | None, message: str, external_ref: str
    ) -> tuple[type[RemoteError] | None, CallOutcome]:
        """AccountFault or Duplicate, by the error's status and code, then by its message. None for any other error.

        The second value is the outcome of the call. A refused key or a spent budget has the outcome of 401, 403 or 429,
        whatever the status is. A message proves a duplicate only if it names the field external_ref, or our reference
        as a whole. Otherwise it may be about something else that exists already: a customer.
        """
        answered = outcome_of(status)
        if (refused := self._refused(status, code)) is not None:
            return AccountFault, refused
        if code in self.duplicate_codes:
            return Duplicate, answered
        if status >= 500:
            return None, answered  # an internal error may contain "duplicate key" for a key of KornitX's database
        if self.duplicate_message.search(message) and _names(external_ref, message):
            return Duplicate, answered
        if (refused := self._refused_in_words(code, message)) is not None:
            return AccountFault, refused
        return None, answered

    def _refused(self, status: int, code: int | None) -> CallOutcome | None:
        """The outcome if code or status refuse the account. A redirect does: then base_url is not KornitX's address."""
        if code in self.rate_limit_codes:
            return CallOutcome.TOO_MANY_REQUESTS
        is_of_account = status in (401, 403, 429) or 300 <= status < 400
        return _ACCOUNT_CODES.get(code) or (outcome_of(status) if is_of_account else None)

    def _refused_in_words(self, code: int | None, message: str) -> CallOutcome | None:
        """The outcome if the message says that the account is refused or over its budget. None: it says neither."""
        if code in (None, 0):
            for words, outcome in _ACCOUNT_WORDS.items():
                if message.lower().startswith(words):
                    return outcome
        return CallOutcome.TOO_MANY_REQUESTS if self.rate_limit_message.search(message) else None


def _names(external_ref: str, message: str) -> bool:
    """Whether the message names the field external_ref or our reference, which must not be a part of a longer one."""
    ours = rf"(?<![\w-]){re.escape(external_ref)}(?![\w-])" if external_ref else r"(?!)"
    return re.search(rf"external[ _]?ref|{ours}", message, re.IGNORECASE) is not None


class KornitX:
    """`ports.Oms` over HTTP, for one company and one shop. Any thread may use it."""

    def __init__(
        self,
        *,
        base_url: str,
        rules: OrderRules,
        api_key: Callable[[], str],
        on_call: OnCall,
        auth_encoding: Literal["base64", "raw"] = "base64",
        duplicate_codes: Collection[int] = (),
        rate_limit_codes: Collection[int] = (),
        duplicate_message_regex: str = "duplicate|already exist",
        rate_limit_message_regex: str = "rate limit|too many|limit exceeded",
        rate_limit_pause_seconds: float = 60.0,
        timeout_seconds: float = 20.0,
        transport: httpx.BaseTransport | None = None,
        network: Network = DIRECT,
    ) -> None:
        self._remote = Remote("oms", base_url, on_call, timeout_seconds, transport, network=network)
        self._rules = rules
        self._tax_mode_logged = False
        self._api_key = api_key
        self._auth_encoding = auth_encoding
        self._rate_limit_pause_seconds = rate_limit_pause_seconds
        self._classifier = ErrorClassifier(
            duplicate_codes=frozenset(duplicate_codes),
            rate_limit_codes=frozenset(rate_limit_codes),
            duplicate_message=re.compile(duplicate_message_regex, re.IGNORECASE),
            rate_limit_message=re.compile(rate_limit_message_regex, re.IGNORECASE),
        )

    def close(self) -> None:
        self._remote.close()

    @property
    def left_out(self) -> frozenset[str]:
        return self._rules.left_out

    def payload(
        self, order: bytes, messages: Sequence[str], quantities: Mapping[str, int | None], external_ref: str = ""
    ) -> bytes:
        """Build the body of POST /order for an order of OR11 (docs/kornitx.md 10).

        Logs the first order whose amounts are in another tax mode than asked for. Raises Unimportable, Unreadable.
        """
        payload = build_payload(order, messages, quantities, self._rules, external_ref)
        if not self._tax_mode_logged and (mode := tax_mode_of(order)) not in ("", self._rules.tax_mode):
            self._tax_mode_logged = True
            log.warning(
                "tax_mode_differs",
                company=self._rules.company_ref_id,
                prefix=self._rules.external_ref_prefix,
                asked=self._rules.tax_mode,
                answered=mode,
            )
        return payload

    def import_order(self, payload: bytes) -> tuple[OmsOrder, ...]:
        """Send POST /order with exactly these bytes. Returns the orders that the OMS made of the order, usually one.

        Raises RemoteError: Duplicate if the OMS already holds the order, OutcomeUnknown if the answer shows no order
        with our external_ref (docs/kornitx.md 3).
        """
        sent = _json(payload)
        external_ref = text_of(sent, "external_ref") if isinstance(sent, dict) else ""
        return self._remote.call(
            _IMPORT,
            "POST",
            "/order",
            lambda reply: self._read(reply, external_ref),
            authorization=self._authorization(),
            content=payload,
        )

    def ask_who_we_are(self) -> datetime | None:
        """Ask whether the OMS knows the company and its key. Returns the time of its answer, if it names one.

        The body is no JSON, so no order can be made of it: the OMS refuses it with 400, after it has looked at the key
        (inferred, docs/kornitx.md 2.1). Raises AccountFault if the OMS refuses the company, and another RemoteError if
        no OMS answers.
        """
        return self._remote.call(
            _ASK, "POST", "/order", self._known, authorization=self._authorization(), content=_NO_JSON
        )

    def _known(self, reply: Reply) -> datetime | None:
        failure = self._failure(_ASK, reply, _json(reply.body), "")
        if isinstance(failure, Rejected) and reply.status == 400:
            return http_date(reply.headers.get("Date"))
        raise failure

    def _authorization(self) -> str:
        """The value of the header Authorization.

        KornitX documents the form without base64, but every client whose source we read uses base64, so that is the
        default (docs/kornitx.md 2.1).
        """
        pair = f"{self._rules.company_ref_id}:{self._api_key().strip()}"
        return "Basic " + (b64encode(pair.encode()).decode() if self._auth_encoding == "base64" else pair)

    def _read(self, reply: Reply, external_ref: str) -> tuple[OmsOrder, ...]:
        answer = _json(reply.body)
        orders = _orders(answer, external_ref) if 200 <= reply.status < 300 else ()
        if orders:
            # The order is stored, even if has_error is true: then people correct it in the OMS (docs/kornitx.md 3).
            return orders
        raise self._failure(_IMPORT, reply, answer, external_ref)

    def _failure(self, operation: str, reply: Reply, answer: object, external_ref: str) -> RemoteError:
        code, message = _error_of(answer)
        kind, outcome = self._classifier.kind_of(reply.status, code, message, external_ref)
        is_success = reply.outcome is CallOutcome.SUCCESS
        if kind is None:
            # The order may be stored after any 5xx, after a 2xx that shows no order, and after any answer that is not
            # JSON, which a gateway may have sent (docs/kornitx.md 6).
            is_certain = 400 <= reply.status < 500 and reply.status != 408 and answer is not None
            kind = Rejected if is_certain else OutcomeUnknown
            if reply.status in GATEWAY_STATUSES and code in (None, 0, reply.status):
                kind = Retryable
        if not message:
            # A 2xx may show another order, with the data of its customer: it is not quoted.
            message = _NO_ORDER if is_success else storable(reply.body[:1200].decode(errors="replace"), 300)
        pause = retry_after_seconds(reply.headers)
        refused = outcome in (CallOutcome.UNAUTHORIZED, CallOutcome.FORBIDDEN)
        if pause is None and kind is AccountFault and not refused:
            pause = self._rate_limit_pause_seconds
        return kind(
            operation,
            CallOutcome.BODY_ERROR if outcome is CallOutcome.SUCCESS else outcome,
            status=reply.status,
            code=safe_code(code),
            words=message,
            retry_after_seconds=pause,
        )


def _json(body: bytes) -> object:
    """Parse the body. None if it is not JSON, or has more values than an answer about an order can have."""
    if has_too_many_values(body):
        return None
    try:
        return simplejson.loads(body.decode())
    except (ValueError, RecursionError):
        return None


def _error_of(answer: object) -> tuple[int | None, str]:
    """The code and the message in `{"error": {"message": ..., "code": ...}}`. None and "" in any other answer."""
    error = answer.get("error") if isinstance(answer, dict) else None
    if not isinstance(error, dict):
        return None, ""
    message = error.get("message")
    return _integer(error.get("code")), storable(message, 500) if isinstance(message, str) else ""


def _integer(value: object) -> int | None:
    if isinstance(value, bool):
        return None
    if isinstance(value, str) and re.fullmatch("[0-9]{1,18}", value):
        return int(value)
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return value if isinstance(value, int) and abs(value) < 2**63 else None


def _orders(answer: object, external_ref: str) -> tuple[OmsOrder, ...]:
    """The orders in the answer that have an id, which is above 0, and our reference.

    A single object with an id and a ref, and nothing else, counts too, as in the vendor's older sample. With other
    members it may report an error, so it counts only if it has our reference.
    """
    if isinstance(answer, dict):
        has_more = any(value is not None for name, value in answer.items() if name not in ("id", "ref"))
        orders = [answer] if not has_more or id_of(answer, "external_ref") == external_ref else []
    else:
        orders = [order for order in (answer if isinstance(answer, list) else []) if isinstance(order, dict)]
        orders = [order for order in orders if id_of(order, "external_ref") == external_ref != ""]
    found = ((_integer(order.get("id")) or 0, order) for order in orders)
    return tuple(_order(oms_id, order) for oms_id, order in found if oms_id > 0)


def _order(oms_id: int, order: Mapping[str, Any]) -> OmsOrder:
    listed = order.get("items")
    items = [item for item in (listed if isinstance(listed, list) else []) if isinstance(item, dict)]
    pieces: Counter[str] = Counter()
    lines, unclear = set(), set()
    for item in items:
        line, quantity = id_of(item, "external_ref"), _integer(item.get("quantity"))
        lines.add(line)
        if quantity is None or quantity < 0:
            unclear.add(line)
        else:
            pieces[line] += quantity
    quantities = tuple(sorted((line, count) for line, count in pieces.items() if line and line not in unclear))
    has_error = order.get("has_error") not in (None, False, 0, "", "0", "false")  # true in any spelling
    part = Part(oms_id, text_of(order, "ref"), tuple(sorted(lines - {""})), has_error, quantities)
    return OmsOrder(part, _integer(order.get("status")))
