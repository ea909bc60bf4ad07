"""The marketplace's HTTP API for its one seller: routes, authentication, limits, error bodies, faults
(docs/mirakl.md 2, 5)."""

import json
import math
from collections import deque
from collections.abc import Callable
from datetime import UTC, datetime
from email.utils import format_datetime

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from adapters.simulators.faults import respond, take_fault
from adapters.simulators.mirakl import catalog
from adapters.simulators.mirakl.marketplace import MiraklSimulator
from adapters.simulators.mirakl.model import ApiError, Call, Json

#: Answers one operation. Takes the request and its body.
_Handler = Callable[[Request, bytes], Response]


def mirakl_app(simulator: MiraklSimulator) -> Starlette:
    """Make the API of this marketplace. Its throttle counts only the requests to this app."""
    return _Api(simulator).app()


class _Api:
    def __init__(self, simulator: MiraklSimulator) -> None:
        self._simulator = simulator
        self._arrivals: dict[str, deque[datetime]] = {}  # of requests, by throttled operation

    def app(self) -> Starlette:
        simulator = self._simulator
        listing, threads, account = simulator.listing, simulator.threads, simulator.account

        def route(method: str, path: str, operation: str, handler: _Handler) -> Route:
            async def endpoint(request: Request) -> Response:
                return await self._answer(request, operation, handler)

            return Route(path, endpoint, methods=[method])

        def read(path: str, operation: str, answer: Callable[[MiraklSimulator], Json]) -> Route:
            return route("GET", path, operation, lambda *_: JSONResponse(answer(simulator)))

        order = "/api/orders/{order_id:path}"
        return Starlette(
            routes=[
                read("/api/version", "V01", lambda _: {"version": "simulated"}),
                read("/api/account", "A01", lambda _: account.a01(simulator.orders_count())),
                route("PUT", "/api/account", "A02", account.a02),
                route("GET", "/api/shops/documents", "S30", account.s30),
                route("GET", "/api/shops/documents/download", "S31", account.s31),
                route("DELETE", "/api/shops/documents/{document_id}", "S33", account.s33),
                read("/api/platform/configuration", "PC01", catalog.platform),
                read("/api/shipping/carriers", "SH21", catalog.carriers),
                read("/api/shipping/types", "SH12", catalog.shipping_types),
                route("GET", "/api/orders", "OR11", lambda request, _: listing.or11(request)),
                route("PUT", f"{order}/accept", "OR21", self._or21),
                route("PUT", f"{order}/tracking", "OR23", self._or23),
                route("PUT", f"{order}/ship", "OR24", self._or24),
                route("GET", "/api/inbox/threads", "M11", lambda request, _: threads.m11(request)),
                route("GET", "/api/inbox/threads/{thread_id}", "M10", lambda request, _: threads.m10(request)),
                # Multi-shipment is off, so each of its operations answers 404 (docs/mirakl.md 5.9).
                route("POST", "/api/shipments", "ST01", _not_found),
                route("GET", "/api/shipments", "ST11", _not_found),
                route("POST", "/api/shipments/tracking", "ST23", _not_found),
                route("PUT", "/api/shipments/ship", "ST24", _not_found),
            ],
            exception_handlers={404: _no_route, 405: _no_route},
        )

    # -- What all operations have in common ----------------------------------------------------------------------

    async def _answer(self, request: Request, operation: str, handler: _Handler) -> Response:
        simulator = self._simulator
        body = await request.body()
        at, status = simulator.now(), 0
        shape = "B" if operation.startswith("M") else simulator.knobs.error_shape
        try:
            with simulator.lock:
                simulator.requests[operation] += 1
                self._admit(request, operation, at)
                fault = take_fault(simulator.knobs.faults, operation, _order_of(request))

            def handle() -> Response:
                with simulator.lock:
                    try:
                        return handler(request, body)
                    except ApiError as error:
                        return _refusal(error, shape)

            response = await respond(request, fault, handle)
            status = response.status_code
        except ApiError as error:
            response, status = _refusal(error, shape), error.status
        finally:
            query = f"?{request.url.query}" if request.url.query else ""
            simulator.calls.append(Call(at, operation, request.url.path + query, status))
        response.headers["Date"] = format_datetime(simulator.now().astimezone(UTC), usegmt=True)
        return response

    def _admit(self, request: Request, operation: str, at: datetime) -> None:
        """Check the key, the shop and the throttle. Raises ApiError: 401, 400, 403, 429 (docs/mirakl.md 2.1, 2.3)."""
        if operation == "V01":
            return
        own_id = self._simulator.marketplace.shop_id
        if request.headers.get("authorization") != self._simulator.marketplace.api_key:
            raise ApiError(401, "Unauthorized")
        shop_id = request.query_params.get("shop_id", str(own_id))
        if not shop_id.isdecimal():
            raise ApiError(400, "shop_id is not a number", "VALIDATION_ERROR", "shop_id")
        if int(shop_id) != own_id:
            raise ApiError(403, "Forbidden")
        if operation in self._simulator.knobs.throttle:
            self._throttle(operation, at)

    def _throttle(self, operation: str, at: datetime) -> None:
        limit, window_seconds = self._simulator.knobs.throttle[operation]
        arrivals = self._arrivals.setdefault(operation, deque())
        while arrivals and (at - arrivals[0]).total_seconds() >= window_seconds:
            arrivals.popleft()
        if len(arrivals) >= limit:
            wait_seconds = math.ceil(window_seconds - (at - arrivals[0]).total_seconds())
            raise ApiError(429, "Too many requests", headers={"Retry-After": str(wait_seconds)})
        arrivals.append(at)

    # -- The writes (docs/mirakl.md 5.3 to 5.5) --------------------------------------------------------------------

    def _or21(self, request: Request, body: bytes) -> Response:
        self._simulator.accept(request.path_params["order_id"], _decisions(body))
        return Response(status_code=204)

    def _or23(self, request: Request, body: bytes) -> Response:
        tracking = _json_object(body)
        if any(value is not None and not isinstance(value, str) for value in tracking.values()):
            raise ApiError(400, "tracking fields are strings")
        self._simulator.set_tracking(request.path_params["order_id"], tracking)
        return Response(status_code=204)

    def _or24(self, request: Request, _body: bytes) -> Response:
        # uvicorn adds no Content-Length of its own, so this is the header that the client sent.
        if "content-length" not in request.headers:
            raise ApiError(411, "Length Required")
        self._simulator.ship(request.path_params["order_id"])
        return Response(status_code=204)


def _order_of(request: Request) -> str | None:
    """Return the order that a request is about, for faults of one order."""
    of_path: str | None = request.path_params.get("order_id")
    return of_path or request.query_params.get("entity_id") or request.query_params.get("order_ids")


def _not_found(_request: Request, _body: bytes) -> Response:
    raise ApiError(404, "Not Found")


async def _no_route(_request: Request, error: Exception) -> Response:
    status = error.status_code if isinstance(error, HTTPException) else 500
    return _refusal(ApiError(status, "Not Found" if status == 404 else "Method Not Allowed"))


def _refusal(error: ApiError, shape: str = "A") -> Response:
    """Make the answer of a refused request (docs/mirakl.md 2.4). Shape A is the classic body, B a list of errors."""
    body: Json = {"message": error.message, "status": error.status}
    if shape == "B":
        one = {"code": error.code or "VALIDATION_ERROR", "field": error.name, "message": error.message}
        body = {"errors": [one]}
    elif error.code is not None:
        body["code"] = error.code
    return JSONResponse(body, error.status, headers=error.headers)


def _json_object(body: bytes) -> Json:
    try:
        parsed = json.loads(body)
    except ValueError:
        parsed = None
    if not isinstance(parsed, dict):
        raise ApiError(400, "The body is not a JSON object.", "VALIDATION_ERROR")
    return parsed


def _decisions(body: bytes) -> dict[str, bool]:
    """Read OR21's body: for each line id, whether the line is accepted. Raises ApiError if the body is wrong."""
    lines = _json_object(body).get("order_lines")
    if not isinstance(lines, list):
        raise ApiError(400, "order_lines is required", "VALIDATION_ERROR", "order_lines")
    decisions: dict[str, bool] = {}
    for line in lines:
        if line is None:
            raise ApiError(400, "An order line is null.", "ORDER_LINE_NULL_ELEMENT")
        if not isinstance(line, dict):
            raise ApiError(400, "An order line is no object.", "VALIDATION_ERROR")
        line_id, accepted = line.get("id"), line.get("accepted")
        if not isinstance(line_id, str) or not isinstance(accepted, bool):
            raise ApiError(400, "id and accepted are required", "VALIDATION_ERROR", "order_lines")
        if line_id in decisions:
            raise ApiError(400, f"Order line '{line_id}' occurs twice.", "ORDER_LINE_DUPLICATE_ID")
        decisions[line_id] = accepted
    return decisions
