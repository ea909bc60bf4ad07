"""`orderflow simulate --config`: the simulators beside a service that runs already, and the audit at the end."""

import socket
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from rich.console import Console

from adapters.errors import ConfigError
from adapters.simulators.orders import MARKETPLACES
from adapters.simulators.serve import SimulatedWorld
from adapters.store import order_lists
from consumer import config
from consumer.config import Settings
from consumer.demo.desk import desk_of
from consumer.demo.report import STALLED_SECONDS, Outcome, watch_and_audit
from consumer.demo.settings import CALLBACK_SECRET, OMS_KEY
from consumer.stores import open_store

#: How long the processes of the service may take to start: a cluster fetches their images first.
START_SECONDS: Final = 600.0
_LOOK_SECONDS: Final = 0.5


def play_beside(
    path: Path, *, orders: int, speed: float, seed: int, host: str, callbacks: str, console: Console | None = None
) -> Outcome:
    """Play the marketplaces, the OMS and the person of the stories for the service with this configuration.

    The simulators listen at once, at the ports that the configuration names. The first order arrives when something
    listens at `callbacks`, the address of the service's `web`. A person wrote the configuration and its files, and the
    keys in them have to be those of the simulators. Raises ConfigError for a configuration that does not fit, for a
    store that holds orders already, and if nothing listens at `callbacks` after START_SECONDS.
    """
    console, settings = console or Console(), config.load(path)
    with ExitStack() as stack:
        store = open_store(settings)
        stack.callback(store.close)
        if order_lists.latest(store, limit=1):
            raise ConfigError("the database holds orders already; the simulators play for an empty one")
        world = SimulatedWorld.start(
            orders,
            seed=seed,
            speed=speed,
            callback_url=f"{callbacks.rstrip('/')}/oms/callbacks/{{shop}}",
            callback_secret=CALLBACK_SECRET,
            oms_api_key=OMS_KEY,
            ports=_ports(settings),
            host=host,
            begins_at_once=False,
        )
        stack.callback(world.stop)
        desk = desk_of(settings, store)
        world.world.use(desk)
        console.print(f"The simulators listen. The orders wait for {callbacks}.", soft_wrap=True)
        _wait_for(callbacks)
        world.begin()
        console.print(f"{orders} orders on two simulated marketplaces, speed {speed:g}, seed {seed}.")
        return watch_and_audit(world, store, desk, console, 4 * STALLED_SECONDS)


def _ports(settings: Settings) -> dict[str, int]:
    """The port of each simulator, as the configuration names it. Raises ConfigError."""
    if set(settings.shops) != set(MARKETPLACES):
        raise ConfigError(f"the shops have to be those that are simulated: {', '.join(MARKETPLACES)}")
    addresses = {name: shop.endpoint for name, shop in settings.shops.items()} | {"oms": settings.oms.base_url}
    found = {name: urlsplit(address) for name, address in addresses.items()}
    if wrong := [name for name, one in found.items() if one.scheme != "http" or one.port is None]:
        raise ConfigError(f"a simulator needs an address http://HOST:PORT; another one has {', '.join(wrong)}")
    return {name: one.port or 0 for name, one in found.items()}


def _wait_for(address: str) -> None:
    """Wait until something listens there. Raises ConfigError after START_SECONDS."""
    parts, ends_at = urlsplit(address), time.monotonic() + START_SECONDS
    while time.monotonic() < ends_at:
        try:
            socket.create_connection((parts.hostname or "", parts.port or 80), timeout=3).close()
        except OSError:
            time.sleep(_LOOK_SECONDS)
        else:
            return
    raise ConfigError(f"nothing listens at {address} after {START_SECONDS:.0f} s")
