"""A store that an earlier version wrote, opened by this version, and the service on it."""

import gzip
import json
import sqlite3
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple

import psycopg
import sqlalchemy as sa
from typer.testing import CliRunner, Result

from adapters.ports import NewRecord
from adapters.store.budgets import BudgetWindow
from adapters.store.facts_json import facts_from_json
from adapters.store.transaction import Store
from consumer import config
from consumer.applying.apply import OrderWriter
from consumer.calling.budget import Shop
from consumer.calling.worker import Worker
from consumer.cli.app import app
from consumer.housekeeping.imports_of_before import keep_what_was_sent
from consumer.leases import Leases, poll_lease
from consumer.relay import Relay
from consumer.retry import Backoff
from statemachine.events import Event, Trigger
from statemachine.joining import snapshot_facts
from tests.consumer.operations.desk import Remotes
from tests.engines import store_lines
from tests.support import StillClock

DATA = Path(__file__).resolve().parents[1] / "data"

CONFIG = """\
[web]
port = 0
[store]
{store}
[log]
kind = "{log}"
[kafka]
bootstrap_servers = ["127.0.0.1:9"]
[shops.alpha]
base_url = "http://127.0.0.1:9"
shop_id = 2104
api_key_file = "key"
effects = "on"
[shops.alpha.oms]
company_ref_id = 99001
api_key_file = "key"
[shops.beta]
base_url = "http://127.0.0.1:9"
shop_id = 31
api_key_file = "key"
effects = "on"
acceptance = "known-skus"
known_skus_file = "beta.skus"
[shops.beta.oms]
company_ref_id = 99002
api_key_file = "key"
"""
COMPANIES = {"alpha": 99001, "beta": 99002}
BETA_SKUS = ("TASSE-33CL", "TSHIRT-NOIR-M", "AFFICHE-A3", "COUSSIN-45", "FRAME-A4-CHENE")
STATES = {
    "new",
    "waiting_acceptance",
    "accepted",
    "awaiting_payment",
    "shipping",
    "imported",
    "dispatched",
    "shipped",
    "refused",
    "canceled",
}
LIVE = "c.state IN ('open', 'leased')"
#: After the kill. At this time no command of the store waits for its next try, and every lease still holds.
NO_BACKOFF_SECONDS = 10.0
#: After the kill. At this time every lease in the store has ended.
LEASES_OVER_SECONDS = 60.0
MANY_CALLS = 10_000


class StoredCommand(NamedTuple):
    """A row of `commands`. `unwanted`: it became obsolete while it was leased."""

    order_id: str
    kind: str
    carries: str
    round: int
    state: str
    unwanted: bool


class Stored:
    """A store in a database of its own, with a configuration for it."""

    def __init__(self, url: str, folder: Path) -> None:
        self.url = url
        self.is_sqlite = url.startswith("sqlite")
        self._database = sa.create_engine(url)
        self._folder = folder
        self.config = folder / "orderflow.toml"
        log = "embedded" if self.is_sqlite else "kafka"
        self.config.write_text(CONFIG.format(store=store_lines(folder, url), log=log))
        (folder / "key").write_text("secret")
        (folder / "key").chmod(0o600)
        (folder / "beta.skus").write_text("\n".join(BETA_SKUS))

    def load(self) -> None:
        """Fill the empty database with the rows that the version before left."""
        engine = "sqlite" if self.is_sqlite else "postgresql"
        text = gzip.decompress((DATA / f"store-02993fc.{engine}.sql.gz").read_bytes())
        if self.is_sqlite:
            connection = sqlite3.connect(self._folder / "orderflow.db")
            connection.executescript(text.decode())
            connection.close()
        else:
            plain = sa.make_url(self.url).set(drivername="postgresql").render_as_string(hide_password=False)
            with psycopg.connect(plain) as database:
                database.execute(text)

    def migrate(self) -> None:
        migrated = self.call("migrate")
        assert migrated.exit_code == 0, migrated.output

    def close(self) -> None:
        self._database.dispose()

    def sql(self, text: str, **values: object) -> Sequence[Any]:
        """The rows that a statement returns. None if the statement writes."""
        with self._database.begin() as connection:
            done = connection.execute(sa.text(text), values)
            return done.all() if done.returns_rows else ()

    # -- by the command line

    def call(self, *arguments: str) -> Result:
        return CliRunner().invoke(app, [*arguments, "--config", str(self.config)], catch_exceptions=False)

    def answer(self, *arguments: str) -> Any:
        result = self.call(*arguments, "--json")
        assert result.exit_code == 0, result.output
        return json.loads(result.stdout)

    def decide(self, kind: str, order_id: str) -> None:
        result = self.call("orders", kind, order_id, "--reason", "as agreed", "--who", "ops", "--yes")
        assert result.exit_code == 0, result.output

    # -- by SQL

    def killed_at(self) -> datetime:
        """When the processes were killed: the time of the last row that they wrote about an order."""
        ((at,),) = self.sql("SELECT max(recorded_at) FROM journal")
        read = datetime.fromisoformat(at) if isinstance(at, str) else at
        assert isinstance(read, datetime)
        return read if read.tzinfo else read.replace(tzinfo=UTC)

    def commands(self, where: str = LIVE) -> dict[int, StoredCommand]:
        """By id."""
        rows = self.sql(
            "SELECT c.id, o.order_id, c.kind, c.carries, c.round, c.state, c.unwanted"
            f" FROM commands c JOIN orders o ON o.id = c.order_key WHERE {where} ORDER BY c.id"
        )
        return {
            id_: StoredCommand(order_id, kind, carries, round_, state, bool(unwanted))
            for id_, order_id, kind, carries, round_, state, unwanted in rows
        }

    def live_keys(self, order_id: str) -> list[tuple[str, str, int]]:
        """Kind, content and round of each open or leased command of an order."""
        return [(one.kind, one.carries, one.round) for one in self.commands().values() if one.order_id == order_id]

    def reasons(self, order_id: str) -> list[str]:
        """Why an order needs attention."""
        ((attention,),) = self.sql("SELECT attention FROM orders WHERE order_id = :order_id", order_id=order_id)
        return [reason for reason, _, _ in json.loads(attention)]

    def state(self, order_id: str) -> str:
        ((state,),) = self.sql("SELECT state FROM orders WHERE order_id = :order_id", order_id=order_id)
        return str(state)

    def forget_decisions(self, order_id: str) -> None:
        """Change the store as if no person had decided anything about an order."""
        ((text,),) = self.sql("SELECT facts FROM orders WHERE order_id = :order_id", order_id=order_id)
        facts = json.loads(text)
        assert facts.pop("acts")
        self.sql(
            "UPDATE orders SET facts = :facts WHERE order_id = :order_id", facts=json.dumps(facts), order_id=order_id
        )

    def rows(self, table: str) -> list[tuple[object, ...]]:
        return [tuple(row) for row in self.sql(f"SELECT * FROM {table} ORDER BY 1, 2")]

    def orders_but_their_clock(self) -> list[dict[str, object]]:
        """The rows of all orders without deadlines, `wake_at` and urgency, which the version before did not have.

        Also without `read_after`: it is set for every open order now, which is read once a day.
        """
        of_the_clock = ("wake_at", "read_after", "deadline", "deadline_kind", "urgency", "needs_since", "urgency_of")
        rows = self.sql("SELECT * FROM orders ORDER BY id")
        return [{name: value for name, value in row._mapping.items() if name not in of_the_clock} for row in rows]

    def schema(self) -> list[tuple[object, ...]]:
        """Every table, column, index and constraint."""
        if self.is_sqlite:
            made = self.sql("SELECT name, sql FROM sqlite_master WHERE sql IS NOT NULL ORDER BY name")
            return [(name, " ".join(text.split())) for name, text in made]
        statements = (
            "SELECT table_name, ordinal_position, column_name, data_type, is_nullable, column_default"
            " FROM information_schema.columns WHERE table_schema = 'public' ORDER BY 1, 2",
            "SELECT indexname, indexdef FROM pg_indexes WHERE schemaname = 'public' ORDER BY 1",
            "SELECT conname, pg_get_constraintdef(oid) FROM pg_constraint"
            " WHERE connamespace = 'public'::regnamespace ORDER BY 1",
        )
        return [tuple(row) for statement in statements for row in self.sql(statement)]


class Service:
    """The parts of this version that go on with the store. Their clock stands at the moment of the kill."""

    def __init__(self, before: Stored, calls_an_hour: Mapping[str, int] | None = None) -> None:
        """`calls_an_hour`: how many calls to the OMS a shop may make in an hour, for tests of the budget."""
        self.clock = StillClock(before.killed_at())
        self.store = Store(before.url)
        policies = config.policies(config.load(before.config))
        self._orders = OrderWriter(self.store, policies, self.clock)
        self._leases = Leases(self.store, self.clock, "another-process", 30)
        remote = Remotes()  # it carries out every call
        shops = {
            name: Shop(
                name,
                remote,
                remote,
                company,
                oms_budget=(BudgetWindow("hour", timedelta(hours=1), (calls_an_hour or {}).get(name, MANY_CALLS)),),
            )
            for name, company in COMPANIES.items()
        }
        self._worker = Worker(
            self.store,
            self._orders,
            shops,
            policies,
            self.clock,
            grace=timedelta(seconds=120),
            backoff=Backoff(5, 900),
        )

    def plan_again(self, before: Stored) -> None:
        """Plan the commands and the attention of every order again, as each start of the service does."""
        self._orders.replan([(shop, order_id) for shop, order_id in before.sql("SELECT shop, order_id FROM orders")])

    def read_again(self, before: Stored) -> None:
        """Read every order again that waits to be imported. Mirakl shows each as the version before read it."""
        at, events = self.clock.now(), []
        for shop, order_id, text in before.sql("SELECT shop, order_id, facts FROM orders WHERE state = 'shipping'"):
            stored = facts_from_json(text).snapshot
            assert stored is not None
            facts = snapshot_facts(replace(stored, read_at=at, import_digest="of this version"))
            event_id = f"{order_id}:{at.isoformat()}"
            events.append(Event(f"/mirakl/{shop}", event_id, shop, order_id, Trigger.SNAPSHOT, at, facts))
        self._orders.apply(events)

    def keep_what_was_sent(self) -> None:
        """Make facts of the payloads that the version before sent, as each start of the service does."""
        for shop in COMPANIES:
            keep_what_was_sent(self.store, self._orders, shop, lambda: None)

    def change_line(self, before: Stored, order_id: str, **change: Any) -> None:
        """Read an order again, whose first line Mirakl has changed."""
        at = self.clock.now()
        ((shop, text),) = before.sql("SELECT shop, facts FROM orders WHERE order_id = :id", id=order_id)
        stored = facts_from_json(text).snapshot
        assert stored is not None
        lines = (replace(stored.lines[0], **change), *stored.lines[1:])
        facts = snapshot_facts(replace(stored, read_at=at, import_digest="of this version", lines=lines))
        event_id = f"{order_id}:{at.isoformat()}"
        self._orders.apply([Event(f"/mirakl/{shop}", event_id, shop, order_id, Trigger.SNAPSHOT, at, facts)])

    def claim_all(self) -> set[int]:
        """The ids of all commands that a worker claims now."""
        claimed: set[int] = set()
        while (claim := self._worker.claim()) is not None:
            assert claim.command.id not in claimed, "one command is claimed twice within its lease"
            claimed.add(claim.command.id)
        return claimed

    def work(self) -> None:
        """Make every call that is due now."""
        while self._worker.turn():
            pass

    def may_poll(self, shop: str) -> bool:
        """Whether a process other than the killed one gets the right to poll this shop now."""
        return self._leases.take(poll_lease(shop)) is not None

    def relay(self) -> list[NewRecord]:
        """Publish the outbox. Returns what was published, in this order."""
        published: list[NewRecord] = []
        log: Any = type("Log", (), {"publish": lambda _self, records: published.extend(records)})()
        relay = Relay(self.store, log, lambda: self._leases.kept("relay of this test"))
        assert self._leases.take("relay of this test") is not None
        while relay.turn():
            pass
        return published

    def close(self) -> None:
        self.store.close()
