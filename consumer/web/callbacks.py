"""The OMS's callbacks: PUT /oms/callbacks/SHOP (docs/kornitx.md 8).

A callback is answered with 200 once it is durable in the log. If KornitX gets another answer, it repeats the callback
for ten hours. docs/limits.md lists what a stranger without a secret can hold, and for how long.
"""

import asyncio
import secrets as random_secrets
from collections.abc import Callable, Mapping, Sequence
from typing import Final

import structlog
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response

from adapters.errors import ConfigError, LogUnavailable, RecordRefused, StoreUnavailable, Unreadable
from adapters.messages.cloudevents import record_of
from adapters.messages.oms_events import ShopIds, oms_event, unread_callback
from adapters.messages.text import digest_of
from adapters.ports import Clock, LogWriter
from adapters.store.dead_letters import CALLBACK, DeadLetter, reason_of, source_of
from consumer.config.secrets import Secrets
from consumer.hooks import CallbackResult, Hooks
from consumer.web.bounded import Bounded, Busy
from consumer.web.credentials import Proof
from consumer.web.seldom import Seldom
from statemachine.events import Event

log = structlog.get_logger("orderflow.web")

#: The largest callback that is read. A status update has a few kilobytes.
MAX_CALLBACK_BYTES: Final = 64 * 1024
#: How long a client may take to send the body.
BODY_SECONDS: Final = 30.0
#: How many callbacks may wait until they are durable. Further ones are refused at once, and KornitX repeats them.
MAX_UNDER_WAY: Final = 64
#: How many of them are published at a time.
PUBLISHING_THREADS: Final = 16
#: The header Retry-After of an answer 503: after how many seconds the client should send the callback again.
AGAIN_SECONDS: Final = 30


class _Refused(Exception):
    """The callback is answered with this status and text."""

    def __init__(self, result: CallbackResult, status: int, text: str) -> None:
        super().__init__(text)
        self.result = result
        self.status = status
        self.text = text


def _not_authentic(result: CallbackResult = CallbackResult.NOT_AUTHENTIC) -> _Refused:
    """The one answer for a wrong proof and for an unknown shop, so that nobody can find out which shops there are."""
    return _Refused(result, 401, "the signature or the secret is wrong")


class Intake:
    """Takes the callbacks of all shops, with bounds that they share."""

    def __init__(
        self, endpoints: Mapping[str, "CallbackEndpoint"], hooks: Hooks, *, body_seconds: float = BODY_SECONDS
    ) -> None:
        """`endpoints`: the endpoint of each shop that takes callbacks."""
        self._body_seconds = body_seconds
        self._endpoints = endpoints
        self._hooks = hooks
        self._work = Bounded(threads=PUBLISHING_THREADS, at_once=MAX_UNDER_WAY)
        self._seldom = Seldom()
        self._secrets_of_unknown = [random_secrets.token_hex()]  # of shops that are not configured

    async def answer(self, request: Request) -> Response:
        """Authenticate the callback, and publish it as an event."""
        shop = request.path_params["shop"]
        endpoint = self._endpoints.get(shop)
        try:
            body = await self._authentic_body(request, endpoint)
            if endpoint is None:
                raise _not_authentic()
            return await self._taken(endpoint, body)
        except ClientDisconnect:
            return Response(status_code=400)  # the sender has gone
        except _Refused as refused:
            result = refused.result if endpoint else CallbackResult.UNKNOWN_SHOP
            self._hooks.callback_answered(shop, result)
            name = shop if endpoint else "other"
            if times := self._seldom.times(name, result):
                log.warning("callback_refused", shop=name, reason=result, times=times)
            again = {"Retry-After": str(AGAIN_SECONDS)} if refused.status == 503 else None
            return JSONResponse({"error": refused.text}, refused.status, headers=again)

    async def _authentic_body(self, request: Request, endpoint: "CallbackEndpoint | None") -> bytes:
        """Read the body, unless the head shows already that the sender does not know the secret."""
        proof = Proof(request.headers, endpoint.secrets() if endpoint else self._secrets_of_unknown)
        if not proof.is_possible:
            raise _not_authentic()
        length = request.headers.get("content-length", "0")
        if not length.isdecimal() or int(length) > MAX_CALLBACK_BYTES:
            raise _too_large()
        body = bytearray()
        try:
            async with asyncio.timeout(self._body_seconds):
                async for piece in request.stream():
                    body += piece
                    if len(body) > MAX_CALLBACK_BYTES:
                        raise _too_large()
                    proof.update(piece)
        except TimeoutError as error:
            raise _Refused(CallbackResult.TOO_SLOW, 408, f"no whole body in {self._body_seconds:g} s") from error
        if not proof.is_authentic():
            raise _not_authentic()
        return bytes(body)

    async def _taken(self, endpoint: "CallbackEndpoint", body: bytes) -> Response:
        try:
            return await self._work.run(endpoint.take, body)
        except Busy as error:
            text = f"{MAX_UNDER_WAY} callbacks are under way; send it again"
            raise _Refused(CallbackResult.BUSY, 503, text) from error


def _too_large() -> _Refused:
    return _Refused(CallbackResult.TOO_LARGE, 413, f"more than {MAX_CALLBACK_BYTES} bytes")


class CallbackEndpoint:
    """Takes the callbacks of one shop's company at the OMS."""

    def __init__(
        self,
        shop: str,
        company_ref_id: int,
        secrets: Secrets,
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
        self._secrets = secrets
        self._writer = writer
        self._topic = topic
        self._shops = shops
        self._keep = keep
        self._hooks = hooks
        self._clock = clock
        self._seldom = Seldom()

    def secrets(self) -> Sequence[str]:
        """Return the secrets that are valid now. Raises _Refused if their file is unusable."""
        try:
            return self._secrets()
        except ConfigError as error:  # so the OMS has to send the callback again
            if times := self._seldom.times():
                log.error("callback_secret_not_read", shop=self._shop, error=str(error), times=times)
            text = "the secret cannot be read here; send it again"
            raise _Refused(CallbackResult.UNVERIFIABLE, 503, text) from error

    def take(self, body: bytes) -> Response:
        """Publish an authentic callback as an event. Any thread may call it."""
        try:
            event_id = self._publish(body)
        except Unreadable as error:
            unread = unread_callback(self._shops, self._company_ref_id, body, error, self._clock.now())
            return self._dead_letter(body, error.reason, error.detail, [unread] if unread else [])
        except RecordRefused as error:
            return self._dead_letter(body, reason_of(error), str(error))
        self._hooks.callback_answered(self._shop, CallbackResult.TAKEN)
        return JSONResponse({"id": event_id})

    def _publish(self, body: bytes) -> str:
        """Publish the callback. Returns the event's id.

        Raises Unreadable and RecordRefused if the callback can never be published, and _Refused if the log is
        unavailable.
        """
        event = oms_event(self._company_ref_id, body, self._clock.now())
        try:
            self._writer.publish([record_of(self._topic, event)])
        except LogUnavailable as error:
            raise _Refused(CallbackResult.LOG_UNAVAILABLE, 503, "not durable yet; send it again") from error
        return event.id

    def _dead_letter(self, body: bytes, reason: str, detail: str, events: Sequence[Event] = ()) -> Response:
        """Store the body as a dead letter, because the OMS stops sending it after ten hours, and then it is lost."""
        self._hooks.callback_answered(self._shop, CallbackResult.UNREADABLE)
        log.warning("callback_refused", shop=self._shop, reason=reason, detail=detail)
        source = source_of(CALLBACK, self._shop)
        dead_letter = DeadLetter(source, "PUT", reason, detail, digest_of(body), None, body)
        try:
            self._keep(events, [dead_letter])
        except StoreUnavailable:
            return JSONResponse({"error": "neither usable nor kept yet; send it again"}, 503)
        self._hooks.callback_dead_lettered(reason)
        return JSONResponse({"error": f"{reason}: {detail}" if detail else reason}, 400)
