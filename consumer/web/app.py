"""The one port: metrics and probes for whoever runs it, and the endpoint of the OMS's callbacks."""

import hashlib
import hmac
from base64 import b64encode
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

import structlog
from prometheus_client.exposition import choose_encoder
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from adapters.errors import ConfigError, LogUnavailable, StoreUnavailable, TooLarge, Unreadable
from adapters.messages.cloudevents import to_structured
from adapters.messages.oms_events import oms_event
from adapters.ports import Clock, LogWriter, NewRecord
from adapters.store.transaction import DeadLetter
from consumer.metrics.recorder import CALLBACK, Metrics
from consumer.poller import TOO_LARGE

log = structlog.get_logger("orderflow.web")

#: A status update has a few kilobytes.
MAX_CALLBACK_BYTES: Final = 1024 * 1024


@dataclass(frozen=True, slots=True)
class CallbackEndpoint:
    """Where callbacks of one shop's OMS company go. Without a secret the shop takes none."""

    company_ref_id: int
    secret: Callable[[], str] | None


def is_authentic(body: bytes, secret: str, headers: Mapping[str, str]) -> bool:
    """HMAC-SHA256 of the raw body, hex or base64, or the shared secret itself (docs/rules.md 32,
    docs/kornitx.md 8.2)."""
    given = headers.get("x-customgateway-hmac", "").strip()
    if given:
        digest = hmac.new(secret.encode(), body, hashlib.sha256).digest()
        hexadecimal = hmac.compare_digest(given.lower().encode(), digest.hex().encode())
        return hexadecimal or hmac.compare_digest(given.encode(), b64encode(digest))
    bearer = headers.get("authorization", "")
    return hmac.compare_digest(bearer.encode(), f"Bearer {secret}".encode())


def application(
    *,
    callback_endpoints: Mapping[str, CallbackEndpoint],
    writer: LogWriter,
    topic: str,
    set_aside: Callable[[DeadLetter], None],
    metrics: Metrics,
    clock: Clock,
    is_live: Callable[[], str],
    is_ready: Callable[[], str],
) -> Starlette:
    """`is_live` and `is_ready` return what is wrong, or an empty text."""

    async def callback(request: Request) -> Response:
        shop = request.path_params["shop"]
        endpoint = callback_endpoints.get(shop)
        if endpoint is None or endpoint.secret is None:
            metrics.callbacks.labels("other", "unknown_shop").inc()
            return JSONResponse({"error": "no such shop, or it has no callback_secret_file"}, 404)
        body = bytearray()
        async for chunk in request.stream():
            body += chunk
            if len(body) > MAX_CALLBACK_BYTES:
                metrics.callbacks.labels(shop, "too_large").inc()
                return JSONResponse({"error": f"more than {MAX_CALLBACK_BYTES} bytes"}, 413)
        return await take(shop, endpoint.company_ref_id, endpoint.secret, bytes(body), request.headers)

    async def take(
        shop: str, company_ref_id: int, read_secret: Callable[[], str], body: bytes, headers: Mapping[str, str]
    ) -> Response:
        try:
            secret = read_secret()
        except ConfigError as error:  # its file was emptied; the OMS sends the callback again
            metrics.callbacks.labels(shop, "no_secret").inc()
            log.error("callback_refused", shop=shop, reason="no_secret", error=str(error))
            return JSONResponse({"error": "the secret cannot be read here; send it again"}, 503)
        if not is_authentic(body, secret, headers):
            metrics.callbacks.labels(shop, "not_authentic").inc()
            log.warning("callback_refused", shop=shop, reason="not_authentic")
            return JSONResponse({"error": "the signature or the secret is wrong"}, 401)
        try:
            event = oms_event(company_ref_id, body, clock.now())
        except Unreadable as error:
            return await refuse(shop, body, error.reason, error.detail)
        value, attributes = to_structured(event)
        record = NewRecord(topic, event.extensions["partitionkey"].encode(), value, attributes)
        try:
            await run_in_threadpool(writer.publish, [record])
        except TooLarge as error:
            return await refuse(shop, body, TOO_LARGE, str(error))
        except LogUnavailable:
            metrics.callbacks.labels(shop, "log_unavailable").inc()
            return JSONResponse({"error": "not durable yet; send it again"}, 503)
        metrics.callbacks.labels(shop, "taken").inc()
        return JSONResponse({"id": event.id})

    async def refuse(shop: str, body: bytes, reason: str, detail: str) -> Response:
        """The OMS gives up after a while; then what is kept here is all there is."""
        metrics.callbacks.labels(shop, "unreadable").inc()
        log.warning("callback_refused", shop=shop, reason=reason, detail=detail)
        digest = hashlib.sha256(body).hexdigest()[:32]
        letter = DeadLetter(f"callback:{shop}", "PUT", reason, detail, digest, None, body)
        try:
            await run_in_threadpool(set_aside, letter)
        except StoreUnavailable:
            return JSONResponse({"error": "neither usable nor kept yet; send it again"}, 503)
        metrics.dead_letters.labels(CALLBACK, reason).inc()
        return JSONResponse({"error": f"{reason}: {detail}" if detail else reason}, 400)

    def exposition(request: Request) -> Response:
        encode, content_type = choose_encoder(request.headers.get("accept", ""))
        return Response(encode(metrics.registry), headers={"content-type": content_type})

    def probe(what_is_wrong: Callable[[], str]) -> Callable[[Request], Response]:
        def answer(_request: Request) -> Response:
            wrong = what_is_wrong()
            return JSONResponse({"ok": not wrong, "wrong": wrong}, 503 if wrong else 200)

        return answer

    return Starlette(
        routes=[
            Route("/metrics", exposition),
            Route("/live", probe(is_live)),
            Route("/ready", probe(is_ready)),
            Route("/oms/callbacks/{shop}", callback, methods=["PUT"]),
        ]
    )
