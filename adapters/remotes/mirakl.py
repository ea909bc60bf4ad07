"""Mirakl's seller API for one shop: `ports.Marketplace` (docs/mirakl.md 2, 5)."""

import json
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from threading import Event, Lock
from typing import Annotated, Final, TypeVar
from urllib.parse import quote

import httpx
import structlog
from pydantic import Field, OnErrorOmit, ValidationError

from adapters.errors import AccountFault, Rejected, RemoteError, Retryable, Unreadable
from adapters.messages.fields import Loose, Message, Text
from adapters.messages.json_slices import load_object
from adapters.messages.text import storable
from adapters.ports import Carrier, Catalog, Clock, CustomerMessages, OnCall, OrdersPage, OrdersQuery
from adapters.remotes.beside import Run, at_once
from adapters.remotes.http import (
    DIRECT,
    GATEWAY_STATUSES,
    CallOutcome,
    Network,
    Remote,
    Reply,
    ambiguous_failure,
    http_date,
    retry_after_seconds,
    safe_code,
)
from adapters.remotes.mirakl_carriers import DEFAULT_NAMES, CarrierNames, tracking_body
from adapters.remotes.mirakl_messages import Thread, Threads, written_by_customer
from statemachine.facts import Tracking

log = structlog.get_logger("orderflow.mirakl")

_CATALOG_SECONDS: Final = 24 * 3600.0  # Mirakl allows one call of SH21 and SH12 per day
#: How long a thread waits for the first read of the catalog.
CATALOG_WAIT_SECONDS: Final = 2.0
_UNREAD_SECONDS: Final = 600.0  # after this time a part of the catalog that could not be read is read again
_MAX_THREAD_PAGES: Final = 20
#: If several reads follow each other, none begins after this time. If Mirakl answers each of them just in time, they
#: would hold a worker longer than the lease of its command lasts, and longer than the liveness probe waits.
IN_A_ROW_SECONDS: Final = 20.0

T = TypeVar("T")
M = TypeVar("M", bound=Message)


# -- Errors ------------------------------------------------------------------------------------------------------


def failure(operation: str, reply: Reply, *, writes: bool) -> RemoteError:
    """The error for an answer other than 2xx (docs/mirakl.md 2.3 to 2.5)."""
    code, words = error_words(reply.body)
    kind: type[RemoteError]
    if reply.status in (401, 403) or reply.status < 400:
        kind = AccountFault  # also a redirect: base_url is wrong, or the marketplace is closed for maintenance
    elif reply.status == 429 or (reply.status in GATEWAY_STATUSES and code in ("", "0", str(reply.status))):
        kind = Retryable
    elif reply.status >= 500 or reply.status == 408:
        kind = ambiguous_failure(writes=writes)
    else:
        kind = Rejected
    return kind(
        operation,
        reply.outcome,
        status=reply.status,
        code=code,
        words=words,
        retry_after_seconds=retry_after_seconds(reply.headers),
    )


def error_words(body: bytes) -> tuple[str, str]:
    """The code and the message of an error's body, in either of Mirakl's forms (docs/mirakl.md 2.4).

    If the body is not a JSON object, the code is "" and the message is the start of the body, up to 300 characters.
    """
    try:
        top = load_object(body)
    except Unreadable:
        return "", storable(body[:1200].decode(errors="replace"), 300)
    errors = top.get("errors")
    first = errors[0] if isinstance(errors, list) and errors and isinstance(errors[0], dict) else {}
    code, message = top.get("code") or first.get("code"), top.get("message") or first.get("message")
    return safe_code(code), storable(message, 500) if isinstance(message, str) else ""


def _checked(operation: str, *, writes: bool) -> Callable[[Reply], Reply]:
    """Make a function that returns a 2xx answer unchanged, and raises RemoteError for any other answer."""

    def read(reply: Reply) -> Reply:
        if not 200 <= reply.status < 300:
            raise failure(operation, reply, writes=writes)
        return reply

    return read


def _parsed(operation: str, model: type[M]) -> Callable[[Reply], M]:
    """Make a function that reads the body of a 2xx answer as `model`, and raises RemoteError for any other answer.

    The function raises Retryable if a 2xx body does not fit `model`: then a proxy answered, and not Mirakl.
    """
    checked = _checked(operation, writes=False)

    def read(reply: Reply) -> M:
        try:
            return model.model_validate(load_object(checked(reply).body))
        except (Unreadable, ValidationError):
            raise Retryable(operation, CallOutcome.BODY_ERROR, status=reply.status) from None

    return read


# -- Answers -----------------------------------------------------------------------------------------------------


class _Carrier(Message):
    code: Annotated[str, Field(min_length=1)]
    label: Text = ""
    standard_code: Text = ""
    tracking_url: Text = ""


class _Carriers(Message):
    """SH21."""

    carriers: tuple[OnErrorOmit[_Carrier], ...]


class _ShippingType(Message):
    code: Annotated[str, Field(min_length=1)]
    mandatory_tracking: Annotated[bool, Loose(False)] = False


class _ShippingTypes(Message):
    """SH12."""

    shipping_types: tuple[OnErrorOmit[_ShippingType], ...]


class _Features(Message):
    disable_seller_alternative_carrier: Annotated[bool, Loose(False)] = False


class _Platform(Message):
    """PC01."""

    features: Annotated[_Features, Loose(_Features())] = _Features()


# -- Bodies ------------------------------------------------------------------------------------------------------


def acceptance_body(decisions: Mapping[str, bool]) -> bytes:
    """The body of OR21: for each line id, whether the line is accepted (docs/mirakl.md 5.3)."""
    lines = [{"id": line_id, "accepted": accepted} for line_id, accepted in decisions.items()]
    return json.dumps({"order_lines": lines}).encode()


# -- Calls -------------------------------------------------------------------------------------------------------


def _in_utc(at: datetime) -> str:
    """Write an instant with the offset Z, because Mirakl reads an unencoded + as a space (docs/mirakl.md 2.1)."""
    return at.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _order_path(order_id: str, action: str) -> str:
    return f"/api/orders/{quote(order_id, safe='')}/{action}"


class MiraklShop:
    """`ports.Marketplace` over HTTP, for one shop. Any thread may use it."""

    def __init__(
        self,
        *,
        base_url: str,
        shop_id: int | None,
        api_key: Callable[[], str],
        on_call: OnCall,
        clock: Clock,
        timeout_seconds: float = 20.0,
        order_tax_mode: str = "TAX_INCLUDED",
        carrier_names: CarrierNames = DEFAULT_NAMES,
        transport: httpx.BaseTransport | None = None,
        network: Network = DIRECT,
        beside: Run = at_once,
    ) -> None:
        """`beside` runs the reads of the catalog, in a thread that holds no lease."""
        self._remote = Remote("mirakl", base_url, on_call, timeout_seconds, transport, network=network)
        self._shop = {} if shop_id is None else {"shop_id": str(shop_id)}
        self._api_key = api_key
        self._clock = clock
        self._order_tax_mode = order_tax_mode
        self._carrier_names = carrier_names
        #: The parts of the catalog by operation: until when each is used, on the monotonic clock, and its answer.
        self._parts: dict[str, tuple[float, Message | None]] = {}
        self._beside = beside
        self._reading = Lock()  # held while a thread reads the catalog, or will
        self._was_read = Event()  # the first read of the catalog ended, or was waited for in vain
        self._silent_until = float("-inf")  # on the monotonic clock; after a read without an answer

    def close(self) -> None:
        self._remote.close()

    def orders(self, query: OrdersQuery, offset: int) -> OrdersPage:
        """OR11: read up to `query.most` orders from `offset` on, oldest order first, unparsed."""
        params = {
            "max": str(query.most),  # the default is 10
            "offset": str(offset),
            "sort": "dateCreated",
            "order": "asc",
            "order_tax_mode": self._order_tax_mode,
        }
        if query.states:
            params["order_state_codes"] = ",".join(query.states)
        if query.order_ids:
            params["order_ids"] = ",".join(query.order_ids)
        if query.updated_from:
            params["start_update_date"] = _in_utc(query.updated_from)
        if query.updated_to:
            params["end_update_date"] = _in_utc(query.updated_to)
        read_at = self._clock.now()
        reply = self._get("OR11", "/api/orders", _checked("OR11", writes=False), params)
        return OrdersPage(reply.body, read_at, http_date(reply.headers.get("Date")))

    def accept(self, order_id: str, decisions: Mapping[str, bool]) -> None:
        """OR21: accept or refuse each line. Mirakl's 204 means that it received the request, not that it applied it."""
        self._put("OR21", _order_path(order_id, "accept"), acceptance_body(decisions))

    def send_tracking(self, order_id: str, tracking: Tracking, catalog: Catalog) -> None:
        """OR23: replace the tracking that Mirakl holds.

        Raises what `tracking_body` raises, without a call. If SH21 could not be read, a refusal decides nothing:
        Mirakl may take the same tracking with the carrier's code. So it is raised as Retryable.
        """
        body = tracking_body(tracking, catalog, self._carrier_names)
        try:
            self._put("OR23", _order_path(order_id, "tracking"), body)
        except Rejected as error:
            if "SH21" not in catalog.unread:
                raise
            raise Retryable("OR23", error.outcome, status=error.status, code=error.code, words=error.words) from error

    def confirm_shipment(self, order_id: str) -> None:
        """OR24: confirm the shipment. The request has no body.

        httpx adds the header Content-Length: 0. Without this header Mirakl answers 411 (docs/mirakl.md 1.8).
        """
        self._put("OR24", _order_path(order_id, "ship"), None)

    def customer_messages(self, order_id: str) -> CustomerMessages:
        """M11: read what the customer wrote about this order, _MAX_THREAD_PAGES pages at most (docs/mirakl.md 5.10)."""
        params = {"entity_type": "MMP_ORDER", "entity_id": order_id, "with_messages": "true"}
        threads: list[Thread] = []
        ends_at = self._clock.monotonic() + IN_A_ROW_SECONDS
        for number in range(_MAX_THREAD_PAGES):
            if number and self._clock.monotonic() > ends_at:
                raise Retryable("M11", CallOutcome.TIMEOUT, words="several pages, each of them slow")
            page = self._get("M11", "/api/inbox/threads", _parsed("M11", Threads), params)
            threads += page.data
            if not page.next_page_token:
                break
            params["page_token"] = page.next_page_token
        return written_by_customer(threads)

    def catalog(self) -> Catalog:
        """The marketplace's settings for shipments: SH21, SH12 and PC01.

        Each is read at most once a day, or after a while again if it could not be read. What could not be read is in
        `Catalog.unread`: a carrier may then go out without its code, and the shipment is reported. The read is a task
        that `beside` runs. Meanwhile callers get what was read before. Only the first read is waited for, for
        CATALOG_WAIT_SECONDS at most.

        Raises AccountFault for a 401, if `beside` runs the task at once.
        """
        if self._is_due() and self._reading.acquire(blocking=False):  # the task releases it
            self._beside(self._read_catalog)
        self._was_read.wait(CATALOG_WAIT_SECONDS)
        self._was_read.set()  # later calls do not wait
        carriers = self._known("SH21", _Carriers)
        types = self._known("SH12", _ShippingTypes)
        platform = self._known("PC01", _Platform)
        unread = {"SH21": carriers, "SH12": types, "PC01": platform}
        return Catalog(
            carriers=tuple(
                Carrier(one.code, one.label, "{trackingId}" in one.tracking_url, one.standard_code)
                for one in (carriers.carriers if carriers else ())
            ),
            mandatory_tracking=frozenset(
                one.code for one in (types.shipping_types if types else ()) if one.mandatory_tracking
            ),
            alternative_carriers=not (platform or _Platform()).features.disable_seller_alternative_carrier,
            unread=frozenset(operation for operation, part in unread.items() if part is None),
        )

    def catalog_unread(self) -> int:
        """How many parts of the catalog could not be read so far, so that they are not known."""
        return sum(part is None for _, part in list(self._parts.values()))

    def _is_due(self) -> bool:
        now = self._clock.monotonic()
        ends = (self._parts.get(operation, (now, None))[0] for operation in ("SH21", "SH12", "PC01"))
        return any(now >= max(until, self._silent_until) for until in ends)

    def _read_catalog(self) -> None:
        """Read what is due of the catalog. The caller has acquired `_reading`."""
        try:
            ends_at = self._clock.monotonic() + IN_A_ROW_SECONDS
            self._side_read("SH21", "/api/shipping/carriers", _Carriers, ends_at)
            self._side_read("SH12", "/api/shipping/types", _ShippingTypes, ends_at)
            self._side_read("PC01", "/api/platform/configuration", _Platform, ends_at, if_forbidden=_Platform())
        finally:
            self._was_read.set()
            self._reading.release()

    def _known(self, operation: str, model: type[M]) -> M | None:
        """Return what was read of a part of the catalog, however long ago."""
        _, part = self._parts.get(operation, (0.0, None))
        return part if isinstance(part, model) else None

    def _side_read(
        self, operation: str, path: str, model: type[M], ends_at: float, *, if_forbidden: M | None = None
    ) -> None:
        """Read a setting of the marketplace, if it is time. If it cannot be read, what was read last stays; if the key
        lacks the role (403), and there is nothing, it is `if_forbidden`.

        If Mirakl gives no answer, nothing is read for a while: each part would take a whole time-out, and other shops
        wait for the thread. For the same reason nothing is read after `ends_at`, on the monotonic clock; the next call
        goes on.

        Raises AccountFault for a 401, because then no call of the account works.
        """
        now = self._clock.monotonic()
        until, _ = self._parts.get(operation, (now, None))
        part = self._known(operation, model)
        if now < max(until, self._silent_until) or now > ends_at:
            return
        try:
            part, seconds = self._get(operation, path, _parsed(operation, model)), _CATALOG_SECONDS
        except RemoteError as error:
            if error.status == 401:
                raise
            log.warning("catalog_not_read", operation=operation, outcome=error.outcome, code=error.code)
            seconds = _UNREAD_SECONDS
            if error.status == 0:
                self._silent_until = now + _UNREAD_SECONDS
            if error.status == 403 and if_forbidden is not None:
                part, seconds = part or if_forbidden, _CATALOG_SECONDS
        self._parts[operation] = (now + seconds, part)

    def _get(self, operation: str, path: str, read: Callable[[Reply], T], params: Mapping[str, str] | None = None) -> T:
        return self._remote.call(
            operation, "GET", path, read, authorization=self._api_key().strip(), params={**(params or {}), **self._shop}
        )

    def _put(self, operation: str, path: str, content: bytes | None) -> None:
        self._remote.call(
            operation,
            "PUT",
            path,
            _checked(operation, writes=True),
            authorization=self._api_key().strip(),
            params=self._shop,
            content=content,
        )
