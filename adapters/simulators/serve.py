"""The simulators as servers on loopback, and a whole simulated world that runs in real time.

In addition to its API, each server has endpoints under /_sim, so that a person can act as operator, customer or OMS.
"""

import asyncio
import socket
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Mount, Route
from starlette.types import ASGIApp
from uvicorn.protocols.http.h11_impl import H11Protocol

from adapters.simulators.books import Books
from adapters.simulators.faults import Fault
from adapters.simulators.mirakl.api import mirakl_app
from adapters.simulators.mirakl.marketplace import MiraklSimulator
from adapters.simulators.mirakl.model import Marketplace
from adapters.simulators.oms.api import oms_app
from adapters.simulators.oms.callbacks import Send
from adapters.simulators.oms.model import OmsCompany, OmsKnobs
from adapters.simulators.oms.oms import OmsSimulator
from adapters.simulators.orders import ALPHA, BETA, COMPANIES, ROUTES
from adapters.simulators.publisher import company_url
from adapters.simulators.stories import STORIES
from adapters.simulators.story import Story
from adapters.simulators.world import ORDERS_PER_SECOND, World, make_lives

# The methods that POST /_sim/orders/{id}/{action} may call. The JSON body holds their named arguments.
MIRAKL_ACTIONS: Final[tuple[str, ...]] = (
    "release_staging",
    "advance_debit",
    "confirm_debit",
    "refuse_debit",
    "cancel",
    "cancel_line",
    "refuse_by_deadline",
    "accept_in_portal",
    "ship_in_portal",
    "set_tracking_in_portal",
    "mark_to_collect",
    "mark_received",
    "close",
    "post_message",
)
OMS_ACTIONS: Final[tuple[str, ...]] = ("dispatch", "cancel", "cancel_line", "progress", "remake")
TICK_SECONDS: Final = 0.05
#: HOST: where the servers listen by default. ALL: the addresses that stand for all addresses of this machine.
HOST: Final = "127.0.0.1"
ALL: Final = ("0.0.0.0", "::")  # noqa: S104 - compared


class _DroppingProtocol(H11Protocol):
    """Lets a fault drop the connection without an answer (faults.py), because ASGI has no way to do that."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self.app_state = {**self.app_state, "drop_connection": transport.abort}


@dataclass(frozen=True, slots=True)
class Server:
    """One app on one port, in a thread of its own."""

    url: str
    _server: uvicorn.Server = field(repr=False)
    _thread: threading.Thread = field(repr=False)

    def stop(self) -> None:
        self._server.should_exit = True
        self._thread.join(timeout=10)


def serve(app: ASGIApp, port: int = 0, host: str = HOST) -> Server:
    """Start a server. Port 0: any free port. A request that comes before the server is ready waits for it.

    The host `::` is every address of IPv6 and of IPv4.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.create_server((host, port), family=family, dualstack_ipv6=host == "::")
    config = uvicorn.Config(
        app,
        http=_DroppingProtocol,
        ws="none",
        lifespan="off",
        log_level="warning",
        access_log=False,
        date_header=False,  # a simulator writes the date of its own clock
        server_header=False,
        timeout_graceful_shutdown=1,
    )
    server = uvicorn.Server(config)
    name = f"simulator:{listener.getsockname()[1]}"
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, name=name, daemon=True)
    thread.start()
    shown = HOST if host in ALL else f"[{host}]" if ":" in host else host
    return Server(f"http://{shown}:{listener.getsockname()[1]}", server, thread)


def with_controls(simulator: MiraklSimulator | OmsSimulator) -> Starlette:
    """Make the app of a simulator: its API, and the endpoints under /_sim."""
    if isinstance(simulator, OmsSimulator):
        app, actions = oms_app(simulator), OMS_ACTIONS
    else:
        app, actions = mirakl_app(simulator), MIRAKL_ACTIONS

    async def books(_: Request) -> Response:
        return JSONResponse(simulator.books.as_json())

    async def orders(_: Request) -> Response:
        return JSONResponse(simulator.summary())

    async def act(request: Request) -> Response:
        name = request.path_params["action"]
        if name not in actions:
            return JSONResponse({"error": f"one of {', '.join(actions)}"}, 404)
        try:
            arguments = await _json_arguments(request)
            result = getattr(simulator, name)(request.path_params["order_id"], **arguments)
        except KeyError as error:
            return JSONResponse({"error": f"no order {error}"}, 404)
        except (TypeError, ValueError) as error:
            return JSONResponse({"error": str(error)}, 400)
        return JSONResponse({"done": result is None or bool(result)})

    async def faults(request: Request) -> Response:
        try:
            fault = Fault(**await _json_arguments(request))
        except (TypeError, ValueError) as error:
            return JSONResponse({"error": str(error)}, 400)
        with simulator.lock:
            simulator.knobs.faults.append(fault)
        return JSONResponse({"faults": len(simulator.knobs.faults)}, 201)

    return Starlette(
        routes=[
            Route("/_sim/books", books, methods=["GET"]),
            Route("/_sim/orders", orders, methods=["GET"]),
            Route("/_sim/orders/{order_id:path}/{action}", act, methods=["POST"]),
            Route("/_sim/faults", faults, methods=["POST"]),
            Mount("/", app),
        ]
    )


async def _json_arguments(request: Request) -> dict[str, Any]:
    arguments = await request.json() if await request.body() else {}
    if not isinstance(arguments, dict):
        raise ValueError("the body must be a JSON object")
    return arguments


def utc_now() -> datetime:
    return datetime.now(UTC)


@dataclass(frozen=True, slots=True)
class SimulatedWorld:
    """Marketplaces, the OMS, and the lives of their orders, running in real time until `stop`."""

    books: Books
    mirakl: Mapping[str, MiraklSimulator]
    oms: OmsSimulator
    world: World
    mirakl_urls: Mapping[str, str]
    oms_url: str
    _servers: tuple[Server, ...] = field(repr=False)
    _threads: tuple[threading.Thread, ...] = field(repr=False)
    _stopping: threading.Event = field(repr=False)
    _begun: threading.Event = field(repr=False)

    @classmethod
    def start(
        cls,
        orders: int = 200,
        *,
        seed: int = 1,
        speed: float = 1.0,
        orders_per_second: float = ORDERS_PER_SECOND,
        callback_url: str | None = None,
        callback_secret: str = "simulated-callback-secret",  # noqa: S107
        oms_api_key: str = "simulated-oms-key",
        marketplaces: tuple[Marketplace, ...] = (ALPHA, BETA),
        ports: Mapping[str, int] | None = None,
        host: str = HOST,
        retry_interval_seconds: float = 2.0,
        send: Send | None = None,
        stories: Mapping[str, Story] = STORIES,
        begins_at_once: bool = True,
    ) -> "SimulatedWorld":
        """Start the servers, the lives and the callbacks. Without `begins_at_once` the lives wait for `begin`.

        The OMS calls `callback_url`, with the shop's name in place of {shop}. `send` sends the notifications in place
        of HTTP; without `callback_url` their address is then `company_url`. Without both, the OMS reports nothing. The
        OMS signs each notification with `callback_secret`, a hyphen and the shop's name. `ports`: by marketplace's name
        and "oms"; by default any free ports. A notification that fails is sent again after `retry_interval_seconds`.
        After five retries it is lost. A story that waits for what it reports then never ends.
        """
        books = Books()
        mirakl = {one.name: MiraklSimulator(one, books, utc_now) for one in marketplaces}
        for one in mirakl.values():
            one.account.upload_papers()

        def receiver(shop: str) -> str | None:
            if callback_url:
                return callback_url.replace("{shop}", shop)
            return company_url(COMPANIES[shop]) if send else None

        companies = [
            OmsCompany(COMPANIES[shop], oms_api_key, receiver(shop), f"{callback_secret}-{shop}") for shop in mirakl
        ]
        knobs = OmsKnobs(routes=dict(ROUTES), retry_interval_seconds=retry_interval_seconds)
        oms = OmsSimulator(companies, books, utc_now, knobs, send)
        lives = make_lives(orders, seed, marketplaces, stories, orders_per_second)
        world = World(lives, mirakl, oms, speed, stories=stories)
        simulators: dict[str, MiraklSimulator | OmsSimulator] = {**mirakl, "oms": oms}
        servers = {
            name: serve(with_controls(one), (ports or {}).get(name, 0), host) for name, one in simulators.items()
        }
        urls = {name: server.url for name, server in servers.items()}
        oms_url = urls.pop("oms")
        stopping, begun = threading.Event(), threading.Event()
        threads = _threads(world, oms, stopping, begun)
        found = cls(books, mirakl, oms, world, urls, oms_url, tuple(servers.values()), threads, stopping, begun)
        if begins_at_once:
            found.begin()
        return found

    def begin(self) -> None:
        """Let the first orders arrive."""
        self._begun.set()

    def settled(self) -> bool:
        return self.world.settled()

    def stop(self) -> None:
        self._stopping.set()
        for thread in self._threads:
            thread.join(timeout=15)
        for server in self._servers:
            server.stop()


def _threads(
    world: World, oms: OmsSimulator, stopping: threading.Event, begun: threading.Event
) -> tuple[threading.Thread, ...]:
    """Start a thread for the world and another for the callbacks, so that a slow callback does not stop the world."""

    def play() -> None:
        while not begun.wait(TICK_SECONDS):
            if stopping.is_set():
                return
        started = time.monotonic()
        _repeat(lambda: world.tick(time.monotonic() - started), stopping)

    def deliver() -> None:
        _repeat(lambda: oms.callbacks.deliver_due(utc_now()), stopping)

    threads = tuple(
        threading.Thread(target=run, name=f"simulated {name}", daemon=True)
        for name, run in {"world": play, "callbacks": deliver}.items()
    )
    for thread in threads:
        thread.start()
    return threads


def _repeat(step: Callable[[], object], stopping: threading.Event) -> None:
    while not stopping.wait(TICK_SECONDS):
        step()
