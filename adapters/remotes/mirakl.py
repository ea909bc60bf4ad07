"""Mirakl's seller API for one shop: `ports.Marketplace` (docs/mirakl.md 2, 5)."""

import json
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Annotated, Final, TypeVar
from urllib.parse import quote

import httpx
from pydantic import Field, OnErrorOmit, ValidationError

from adapters.errors import AccountFault, Rejected, RemoteError, Retryable, Unreadable
from adapters.messages.fields import Loose, Message, Text
from adapters.messages.json_slices import load_object
from adapters.messages.text import storable
from adapters.ports import Carrier, Catalog, Clock, CustomerMessages, OnCall, OrdersPage, OrdersQuery
from adapters.remotes.beside import Run, at_once
from adapters.remotes.daily import Daily
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
        """`beside` runs the reads of the marketplace's settings, in a thread that holds no lease."""
        self._remote = Remote("mirakl", base_url, on_call, timeout_seconds, transport, network=network)
        self._shop = {} if shop_id is None else {"shop_id": str(shop_id)}
        self._api_key = api_key
        self._clock = clock
        self._order_tax_mode = order_tax_mode
        self._carrier_names = carrier_names
        self._carriers = Daily("SH21", self._read_carriers, clock, beside)
        self._mandatory = Daily("SH12", self._read_mandatory, clock, beside)
        self._alternatives = Daily("PC01", self._read_alternatives, clock, beside, if_forbidden=True)

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
            if catalog.carriers is not None:
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
        """SH21 and PC01, as `Daily` reads each of them. If PC01 is not known, free text counts as allowed.

        Raises AccountFault for a 401, if `beside` runs the reads at once.
        """
        return Catalog(self._carriers.value(), self._alternatives.value() is not False)

    def mandatory_tracking(self) -> frozenset[str]:
        """SH12, as `Daily` reads it: the codes of the shipping types that need a tracking. Empty if not known.

        Raises AccountFault for a 401, if `beside` runs the read at once.
        """
        return self._mandatory.value() or frozenset()

    def catalog_unread(self) -> int:
        """How many of SH21, SH12 and PC01 could not be read so far, so that they are not known."""
        return sum(one.is_unread() for one in (self._carriers, self._mandatory, self._alternatives))

    def _read_carriers(self) -> tuple[Carrier, ...]:
        found = self._get("SH21", "/api/shipping/carriers", _parsed("SH21", _Carriers)).carriers
        return tuple(
            Carrier(one.code, one.label, "{trackingId}" in one.tracking_url, one.standard_code) for one in found
        )

    def _read_mandatory(self) -> frozenset[str]:
        found = self._get("SH12", "/api/shipping/types", _parsed("SH12", _ShippingTypes)).shipping_types
        return frozenset(one.code for one in found if one.mandatory_tracking)

    def _read_alternatives(self) -> bool:
        found = self._get("PC01", "/api/platform/configuration", _parsed("PC01", _Platform)).features
        return not found.disable_seller_alternative_carrier

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
