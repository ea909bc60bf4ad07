"""The OMS's callbacks of one shop: PUT /oms/callbacks/SHOP (docs/kornitx.md 8).

A callback is answered with 200 once it is durable in the log. If KornitX gets another answer, it repeats the callback
for ten hours.
"""

import hashlib
import hmac
from base64 import b64encode
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Final

import structlog
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from adapters.errors import ConfigError, LogUnavailable, StoreUnavailable, TooLarge, Unreadable
from adapters.messages.cloudevents import record_of
from adapters.messages.oms_events import ShopIds, callback_of, oms_event, unread_callback
from adapters.messages.text import digest_of
from adapters.ports import Clock, LogWriter
from adapters.store.dead_letters import CALLBACK, TOO_LARGE, DeadLetter, source_of
from consumer.hooks import CallbackResult, Hooks
from consumer.secrets import Secret
from statemachine.events import Event

log = structlog.get_logger("orderflow.web")

#: The largest callback that is read. A status update has a few kilobytes.
MAX_CALLBACK_BYTES: Final = 1024 * 1024


def is_authentic(body: bytes, secret: str, headers: Mapping[str, str]) -> bool:
    """Whether the sender knows the secret (docs/rules.md 32, docs/kornitx.md 8.2).

    Accepted are an HMAC-SHA256 of the body, in hexadecimal or base64, or the secret itself as a bearer token.
    """
    given = headers.get("x-customgateway-hmac", "").strip()
    if given:
        digest = hmac.new(secret.encode(), body, hashlib.sha256).digest()
        is_hexadecimal = hmac.compare_digest(given.lower().encode(), digest.hex().encode())
        return is_hexadecimal or hmac.compare_digest(given.encode(), b64encode(digest))
    bearer = headers.get("authorization", "")
    return hmac.compare_digest(bearer.encode(), f"Bearer {secret}".encode())


class _Refused(Exception):
    """The callback is answered with this status and text."""

    def __init__(self, result: CallbackResult, status: int, text: str) -> None:
        super().__init__(text)
        self.result = result
        self.status = status
        self.text = text


class Receipts:
    """The latest callback of each order, so that its repeat is the same event (docs/rules.md 32).

    KornitX repeats a callback for ten hours. A repeat can be recognised by its content only. If another callback of the
    order came in between, the same content is no repeat: tracking A, then B, then A again. A receipt is forgotten when
    the process restarts, or when too many orders came since. Then a repeat counts as a new event. It is applied once
    more, which changes only the time of the report.
    """

    def __init__(self, size: int = 10_000) -> None:
        self._size = size
        self._latest: OrderedDict[str, tuple[str, datetime]] = OrderedDict()  # digest and time of the first receipt

    def first_receipt(self, external_ref: str, body: bytes, now: datetime) -> datetime:
        """Return when this callback was first received: before `now` if it repeats the order's latest callback."""
        digest = digest_of(body)
        latest, received_at = self._latest.pop(external_ref, ("", now))
        if latest != digest:
            received_at = now
        self._latest[external_ref] = (digest, received_at)
        if len(self._latest) > self._size:
            self._latest.popitem(last=False)
        return received_at


class CallbackEndpoint:
    """Takes the callbacks of one shop's company at the OMS."""

    def __init__(
        self,
        shop: str,
        company_ref_id: int,
        secret: Secret,
        *,
        writer: LogWriter,
        topic: str,
        shops: Sequence[ShopIds],
        keep: Callable[[Sequence[Event], Sequence[DeadLetter]], object],
        hooks: Hooks,
        clock: Clock,
    ) -> None:
        """`keep` stores a callback that cannot be read, with an event for its order. It raises StoreUnavailable.
        `shops` are all shops of the configuration, because several may have the same company."""
        self._shop = shop
        self._company_ref_id = company_ref_id
        self._secret = secret
        self._writer = writer
        self._topic = topic
        self._shops = shops
        self._receipts = Receipts()
        self._keep = keep
        self._hooks = hooks
        self._clock = clock

    async def answer(self, request: Request) -> Response:
        """Authenticate the callback, and publish it as an event."""
        try:
            body = await _body(request)
            self._authenticate(body, request.headers)
            event_id = await self._publish(body)
        except _Refused as refused:
            self._hooks.callback_answered(self._shop, refused.result)
            return JSONResponse({"error": refused.text}, refused.status)
        except Unreadable as error:
            unread = unread_callback(self._shops, self._company_ref_id, body, error.reason, self._clock.now())
            return await self._dead_letter(body, error.reason, error.detail, [unread] if unread else [])
        except TooLarge as error:
            return await self._dead_letter(body, TOO_LARGE, str(error))
        self._hooks.callback_answered(self._shop, CallbackResult.TAKEN)
        return JSONResponse({"id": event_id})

    def _authenticate(self, body: bytes, headers: Mapping[str, str]) -> None:
        try:
            secret = self._secret()
        except ConfigError as error:  # the secret's file is unusable, so the OMS has to send the callback again
            log.error("callback_refused", shop=self._shop, reason="no_secret", error=str(error))
            text = "the secret cannot be read here; send it again"
            raise _Refused(CallbackResult.UNVERIFIABLE, 503, text) from error
        if not is_authentic(body, secret, headers):
            log.warning("callback_refused", shop=self._shop, reason="not_authentic")
            raise _Refused(CallbackResult.NOT_AUTHENTIC, 401, "the signature or the secret is wrong")

    async def _publish(self, body: bytes) -> str:
        """Publish the callback. Returns the event's id.

        Raises Unreadable and TooLarge if the callback can never be published, and _Refused if the log is unavailable.
        """
        now = self._clock.now()
        received_at = self._receipts.first_receipt(callback_of(body).external_ref, body, now)
        event = oms_event(self._company_ref_id, body, received_at)
        try:
            await run_in_threadpool(self._writer.publish, [record_of(self._topic, event)])
        except LogUnavailable as error:
            raise _Refused(CallbackResult.LOG_UNAVAILABLE, 503, "not durable yet; send it again") from error
        return event.id

    async def _dead_letter(self, body: bytes, reason: str, detail: str, events: Sequence[Event] = ()) -> Response:
        """Store the body as a dead letter, because the OMS stops sending it after ten hours, and then it is lost."""
        self._hooks.callback_answered(self._shop, CallbackResult.UNREADABLE)
        log.warning("callback_refused", shop=self._shop, reason=reason, detail=detail)
        source = source_of(CALLBACK, self._shop)
        dead_letter = DeadLetter(source, "PUT", reason, detail, digest_of(body), None, body)
        try:
            await run_in_threadpool(self._keep, events, [dead_letter])
        except StoreUnavailable:
            return JSONResponse({"error": "neither usable nor kept yet; send it again"}, 503)
        self._hooks.callback_dead_lettered(reason)
        return JSONResponse({"error": f"{reason}: {detail}" if detail else reason}, 400)


async def _body(request: Request) -> bytes:
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > MAX_CALLBACK_BYTES:
            raise _Refused(CallbackResult.TOO_LARGE, 413, f"more than {MAX_CALLBACK_BYTES} bytes")
    return bytes(body)
