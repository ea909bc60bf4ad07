"""The service in one process, with simulated remotes, as `orderflow demo` runs it, and what a test breaks in it."""

import sqlite3
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import httpx

from adapters.engines.processes import free_port
from adapters.simulators.faults import Fault
from adapters.simulators.orders import KNOWN_SKUS, MARKETPLACES, Line, build_order
from adapters.simulators.serve import SimulatedWorld
from consumer import bootstrap, config
from consumer.demo.settings import CALLBACK_SECRET, OMS_KEY, write_settings
from consumer.service import Service

MANY: Final = 1_000_000


@dataclass
class Scene:
    """`service` runs until the scene ends."""

    world: SimulatedWorld
    service: Service
    port: int
    path: Path  # of the SQLite file

    @classmethod
    @contextmanager
    def play(cls, folder: Path, **shop_settings: str) -> Iterator["Scene"]:
        """`shop_settings`: lines for the table [shops.alpha.deadlines]."""
        with ExitStack() as stack:
            port = free_port()
            world = SimulatedWorld.start(
                0,
                callback_url=f"http://127.0.0.1:{port}/oms/callbacks/{{shop}}",
                callback_secret=CALLBACK_SECRET,
                oms_api_key=OMS_KEY,
            )
            stack.callback(world.stop)
            file = write_settings(folder, world.mirakl_urls, world.oms_url, port)
            lines = "".join(f"{name} = {value}\n" for name, value in shop_settings.items())
            table = "[shops.alpha.deadlines]\n"
            file.write_text(file.read_text().replace(table, table + lines))
            service = bootstrap.build(config.load(file))
            stack.callback(service.stop)
            service.start()
            yield cls(world, service, port, folder / "orderflow.db")

    # -- Harm, and its cure --------------------------------------------------------------------------------------

    def add(self, shop: str, order_id: str, *, known: bool = True) -> None:
        """An order waits for the seller. The shop beta accepts only what it knows."""
        sku = KNOWN_SKUS[shop][0] if known else "NO-SUCH-SKU"
        order = build_order(MARKETPLACES[shop], order_id, created=datetime.now(UTC), lines=[Line(sku, 1)])
        self.world.mirakl[shop].add_order(order)

    def fail(self, shop: str, operation: str, kind: str, *, status: int = 200) -> None:
        """From now on every call of this operation fails."""
        faults = self.world.mirakl[shop].knobs.faults
        faults.append(Fault(operation, kind, count=MANY, status=status, content='{"message": "no", "status": 401}'))

    def heal_remotes(self) -> None:
        for simulator in self.world.mirakl.values():
            simulator.knobs.faults.clear()

    def sql(self, statement: str, *values: object) -> None:
        with closing(sqlite3.connect(self.path, timeout=30)) as connection, connection:
            connection.execute(statement, values)


def call_back_garbage(port: int, shop: str) -> None:
    """The OMS sends a callback that nobody can read. It becomes a dead letter."""
    url = f"http://127.0.0.1:{port}/oms/callbacks/{shop}"
    httpx.put(url, content=b"{garbage", headers={"Authorization": f"Bearer {CALLBACK_SECRET}-{shop}"})
