"""The applications behind the ports of a process: metrics and probes at [web], callbacks of the OMS at [intake]."""

from collections.abc import Callable, Sequence

from prometheus_client import CollectorRegistry
from prometheus_client.exposition import choose_encoder
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route

from consumer.web.bounded import Bounded, Busy, Latest
from consumer.web.callbacks import Intake

#: How many scrapes one process answers at a time. Prometheus comes from one or two places.
MAX_SCRAPES = 4
#: How long /ready waits for the store. Then the latest answer counts, if it is not old.
FIRST_READY_SECONDS = 1.0
#: How long /ready waits while the store does not answer.
READY_SECONDS = 0.08


def application(routes: Sequence[BaseRoute]) -> Starlette:
    """Make the ASGI application with these routes.

    A path with a slash too much is not redirected: the address would be made of the client's header Host, and would
    begin with http:// where a proxy speaks TLS. A client that follows sends its secret along.
    """
    made = Starlette(routes=list(routes))
    made.router.redirect_slashes = False
    return made


def watch_routes(
    *, registry: CollectorRegistry, what_is_stuck: Callable[[], str], what_is_not_ready: Callable[[], str]
) -> list[BaseRoute]:
    """Return the routes of metrics and probes.

    `what_is_stuck` and `what_is_not_ready` answer /live and /ready: what is wrong, or an empty text if nothing is.
    `what_is_stuck` must not wait for anything. They share no thread with callbacks.
    """
    scrapes = Bounded(threads=MAX_SCRAPES, at_once=MAX_SCRAPES)
    readiness = Latest(
        what_is_not_ready,
        seconds=READY_SECONDS,
        first_seconds=FIRST_READY_SECONDS,
        otherwise="the store does not answer",
    )

    async def metrics(request: Request) -> Response:
        encode, content_type = choose_encoder(request.headers.get("accept", ""))
        try:
            return Response(await scrapes.run(encode, registry), headers={"content-type": content_type})
        except Busy:
            return JSONResponse({"error": f"{MAX_SCRAPES} scrapes are under way"}, 503)

    async def live(_request: Request) -> Response:
        return _probe(what_is_stuck())

    async def ready(_request: Request) -> Response:
        return _probe(await readiness.value())

    return [Route("/metrics", metrics), Route("/live", live), Route("/ready", ready)]


def callback_routes(intake: Intake) -> list[BaseRoute]:
    """Return the route of the OMS's callbacks."""
    return [Route("/oms/callbacks/{shop}", intake.answer, methods=["PUT"])]


def _probe(wrong: str) -> Response:
    return JSONResponse({"ok": not wrong, "wrong": wrong}, 503 if wrong else 200)
