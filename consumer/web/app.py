"""The application behind the one port of a process: metrics, probes, and the callbacks of the OMS."""

from collections.abc import Callable, Mapping

from prometheus_client import CollectorRegistry
from prometheus_client.exposition import choose_encoder
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from consumer.hooks import CallbackResult, Hooks
from consumer.web.callbacks import CallbackEndpoint


def application(
    *,
    endpoints: Mapping[str, CallbackEndpoint],
    registry: CollectorRegistry,
    hooks: Hooks,
    what_is_stuck: Callable[[], str],
    what_is_not_ready: Callable[[], str],
) -> Starlette:
    """Make the ASGI application. `endpoints`: the endpoint of each shop that takes callbacks.

    `what_is_stuck` and `what_is_not_ready` answer /live and /ready: what is wrong, or an empty text if nothing is.
    """

    async def callback(request: Request) -> Response:
        shop = request.path_params["shop"]
        if shop not in endpoints:
            hooks.callback_answered(shop, CallbackResult.UNKNOWN_SHOP)
            return JSONResponse({"error": "no such shop, or it has no callback_secret_file"}, 404)
        return await endpoints[shop].answer(request)

    def metrics(request: Request) -> Response:
        encode, content_type = choose_encoder(request.headers.get("accept", ""))
        return Response(encode(registry), headers={"content-type": content_type})

    return Starlette(
        routes=[
            Route("/metrics", metrics),
            Route("/live", _probe(what_is_stuck)),
            Route("/ready", _probe(what_is_not_ready)),
            Route("/oms/callbacks/{shop}", callback, methods=["PUT"]),
        ]
    )


def _probe(what_is_wrong: Callable[[], str]) -> Callable[[Request], Response]:
    def answer(_request: Request) -> Response:
        wrong = what_is_wrong()
        return JSONResponse({"ok": not wrong, "wrong": wrong}, 503 if wrong else 200)

    return answer
