"""A service in which nothing is wrong, for the doctor: its folder, its store, and simulated remotes."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
from typer.testing import CliRunner, Result

from adapters.engines.processes import free_port
from adapters.ports import Clock
from adapters.simulators.books import Books
from adapters.simulators.mirakl.api import mirakl_app
from adapters.simulators.mirakl.marketplace import MiraklSimulator
from adapters.simulators.oms.api import oms_app
from adapters.simulators.oms.model import OmsCompany
from adapters.simulators.oms.oms import OmsSimulator
from adapters.simulators.orders import COMPANIES, MARKETPLACES
from adapters.store import shops as shop_rows
from adapters.store.transaction import Store
from consumer.cli.app import app
from consumer.cli.opening import Environment
from tests.consumer.rig import InProcess
from tests.support import StillClock, new_store

SHOPS = ("alpha", "beta")
OMS_KEY = "oms-key"
#: (check, what it looked at).
Where = tuple[str, str]


class Net(httpx.BaseTransport):
    """Carries each request to the simulator of its host. `hook` gets it first, and may answer it or raise."""

    def __init__(self, apps: dict[str, Any]) -> None:
        self._apps = {host: InProcess(one) for host, one in apps.items()}
        self.hook: Callable[[httpx.Request], httpx.Response | None] = lambda _request: None

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        return self.hook(request) or self._apps[request.url.host].handle_request(request)


class Ward:
    """The folder of a service with two shops, and what `orderflow doctor` finds in it."""

    def __init__(self, folder: Path, clock: Clock | None = None) -> None:
        self.folder = folder
        self.clock = clock or StillClock()
        self.file = folder / "orderflow.toml"
        self.mirakl = {name: MiraklSimulator(MARKETPLACES[name], Books(), self.clock.now) for name in SHOPS}
        companies = [OmsCompany(COMPANIES[name], OMS_KEY) for name in SHOPS]
        self.oms = OmsSimulator(companies, Books(), self.clock.now)
        self.net: Net | None = Net(
            {"oms.example": oms_app(self.oms)}
            | {f"{name}.example": mirakl_app(one) for name, one in self.mirakl.items()}
        )
        self.port = free_port()
        self.file.write_text(self._text())
        for name in SHOPS:
            self.write(f"{name}.key", MARKETPLACES[name].api_key)
            self.write(f"{name}-callback.key", f"a-long-secret-of-{name}\n")
        self.write("oms.key", OMS_KEY)
        store = new_store(folder)
        self.know_shops(store)
        store.close()
        (folder / "orderflow.db").chmod(0o600)

    def know_shops(self, store: Store) -> None:
        """Make the shops known to a store, as `run` does."""
        with store.transaction() as tx:
            for name in SHOPS:
                shop_id = MARKETPLACES[name].shop_id
                shop_rows.bind(tx, name, f"https://{name}.example", shop_id, effects=True, now=self.clock.now())

    def write(self, name: str, text: str, mode: int = 0o600) -> Path:
        path = self.folder / name
        path.write_text(text)
        path.chmod(mode)
        return path

    def set(self, table: str, lines: str) -> None:
        """Add lines to a table of the configuration, which may be new."""
        text = self.file.read_text()
        head = f"[{table}]\n"
        if head in text:
            self.file.write_text(text.replace(head, f"{head}{lines}\n"))
        else:
            self.file.write_text(f"{text}\n{head}{lines}\n")

    def change(self, old: str, new: str) -> None:
        text = self.file.read_text()
        assert old in text
        self.file.write_text(text.replace(old, new, 1))

    def ask(self, *arguments: str) -> Result:
        """Run `orderflow doctor` in this folder."""
        environment = Environment(self.clock, "ops", self.net)
        words = ["doctor", "--config", str(self.file), *arguments]
        return CliRunner().invoke(app, words, obj=environment, catch_exceptions=False)

    def lines(self) -> list[dict[str, str]]:
        """What the doctor says, line by line."""
        result = self.ask("--json")
        found: list[dict[str, str]] = json.loads(result.stdout)
        assert result.exit_code == (1 if any(one["result"] == "fail" for one in found) else 0)
        assert all(one["cure"] for one in found if one["result"] in ("warn", "fail"))
        return found

    def found(self, *results: str) -> dict[Where, str]:
        """The lines with one of these results, with what they say."""
        return {(one["check"], one["of"]): one["found"] for one in self.lines() if one["result"] in results}

    def _text(self) -> str:
        tables = [
            '[store]\nurl = "sqlite:///orderflow.db"\n[oms]\nbase_url = "https://oms.example"\n'
            f"[web]\nport = {self.port}\n"
        ]
        for name in SHOPS:
            tables.append(
                f'[shops.{name}]\nbase_url = "https://{name}.example"\nshop_id = {MARKETPLACES[name].shop_id}\n'
                f'api_key_file = "{name}.key"\n'
                f'[shops.{name}.oms]\ncompany_ref_id = {COMPANIES[name]}\napi_key_file = "oms.key"\n'
                f'callback_secret_file = "{name}-callback.key"\n'
            )
        return "".join(tables)
