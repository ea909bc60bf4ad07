"""A store that the version 02993fc left in the middle of its life opens with this version and goes on.

tests/data/README.md says what the store holds and how it was made. The tests use the command line and SQL where they
can. `Service` has the parts of the code that they need.
"""

import gzip
import json
import signal
import sqlite3
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple

import psycopg
import pytest
import sqlalchemy as sa
from typer.testing import CliRunner, Result

from adapters.ports import NewRecord
from adapters.store.budgets import BudgetWindow
from adapters.store.facts_json import facts_from_json
from adapters.store.transaction import Store
from consumer import config
from consumer.apply import OrderWriter
from consumer.budget import Shop
from consumer.cli.app import app
from consumer.imports_of_before import keep_what_was_sent
from consumer.leases import Leases, poll_lease
from consumer.relay import Relay
from consumer.retry import Backoff
from consumer.worker import Worker
from statemachine.events import Event, Trigger
from statemachine.facts import Withdrawn
from statemachine.joining import snapshot_facts
from tests.consumer.operations.desk import Remotes
from tests.engines import store_lines
from tests.support import StillClock, wait

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

#: Orders whose attention a person settled, with the reason that would come back without this decision.
SETTLED = {
    "FOREIGN-SETTLED": "already_in_oms",
    "OMS-CANCELED-SETTLED": "oms_canceled",
    "OTHER-TRACKING-SETTLED": "foreign_tracking",
    "GAVE-UP-SETTLED": "gave_up",
    "MANDATORY-SETTLED": "shipment_rejected",
}
#: Orders whose call was given up, and made once more because a person asked: what the call carries, and its round.
RETRIED = {
    "GAVE-UP-RETRIED": ("import_order", "", 1),
    "TRACKING-RETRIED": ("send_tracking", "Evri | T-9 | https://track.example/evri/T-9", 1),
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
        """The rows of all orders without the deadlines and `wake_at`, which the version before did not have.

        Also without `read_after`: it is set for every open order now, which is read once a day.
        """
        of_the_clock = ("wake_at", "read_after", "deadline", "deadline_kind")
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


@pytest.fixture(params=["sqlite", "postgresql"])
def before(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Stored]:
    """The store of before, opened by this version: `orderflow migrate` has run."""
    yield from _opened(request.param, request, tmp_path)


@pytest.fixture
def before_on_sqlite(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Stored]:
    yield from _opened("sqlite", request, tmp_path)


@pytest.fixture
def before_on_postgresql(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Stored]:
    yield from _opened("postgresql", request, tmp_path)


def _opened(engine: str, request: pytest.FixtureRequest, folder: Path) -> Iterator[Stored]:
    url = f"sqlite:///{folder}/orderflow.db" if engine == "sqlite" else request.getfixturevalue("postgres_url")
    before = Stored(url, folder)
    before.load()
    before.migrate()
    yield before
    before.close()


@pytest.fixture
def service(before: Stored) -> Iterator[Service]:
    service = Service(before)
    yield service
    service.close()


# -- It opens, and everything can be read ------------------------------------------------------------------------


def test_the_store_holds_what_these_tests_are_about(before: Stored) -> None:
    """Without these rows the tests below would show nothing."""
    assert {state for (state,) in before.sql("SELECT DISTINCT state FROM orders")} == STATES
    leased = {(one.kind, one.unwanted) for one in before.commands("c.state = 'leased'").values()}
    assert leased == {("accept_order", False), ("import_order", False), ("import_order", True)}
    assert {one.kind for one in before.commands("c.state = 'open'").values()} == {"import_order", "send_tracking"}
    assert {"done", "rejected", "gave_up"} <= {state for (state,) in before.sql("SELECT DISTINCT state FROM commands")}
    decided = Counter(
        act["act"] for (facts,) in before.sql("SELECT facts FROM orders") for act in json.loads(facts).get("acts", ())
    )
    assert decided == {"accept": 1, "refuse": 1, "hold": 2, "settle": 6, "retry": 4}
    assert Counter(state for (state,) in before.sql("SELECT state FROM dead_letters")) == {"open": 4, "discarded": 1}
    assert len(before.rows("outbox")) == (0 if before.is_sqlite else 3)


def test_its_schema_becomes_that_of_a_new_store(
    before: Stored, request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("new")
    url = f"sqlite:///{folder}/orderflow.db" if before.is_sqlite else request.getfixturevalue("postgres_module_url")
    new = Stored(url, folder)
    new.migrate()
    assert before.schema() == new.schema()
    new.close()


def test_every_order_is_listed_as_it_was_stored(before: Stored) -> None:
    listed = {one["order_id"]: (one["shop"], one["state"], one["attention"]) for one in _all_orders(before)}
    stored = before.sql("SELECT order_id, shop, state FROM orders")
    assert listed == {order: (shop, state, _once(before.reasons(order))) for order, shop, state in stored}


def test_an_order_of_every_kind_can_be_shown_and_explained(before: Stored) -> None:
    """One order for each state with each set of reasons. Each reason is shown with its cure."""
    one_of_each = {(one["state"], *one["attention"]): one["order_id"] for one in _all_orders(before)}
    assert len(one_of_each) > 20
    for order_id in one_of_each.values():
        shown = before.answer("orders", "show", order_id)
        of_order = f"order_key = (SELECT id FROM orders WHERE order_id = '{order_id}')"
        notes = [json.loads(note) for (note,) in before.sql(f"SELECT note FROM journal WHERE {of_order}")]
        told = [note for note in notes if note.get("step") not in ("claimed", "handover")]
        # The timeline leaves out the begin of a try whose result is known, and counts an event that came again.
        assert sum(one["times"] for one in shown["timeline"]) >= len(told), order_id
        assert len(shown["commands"]) == len(before.sql(f"SELECT id FROM commands WHERE {of_order}")), order_id
        explained = before.answer("orders", "explain", order_id)
        assert _once([one["reason"] for one in explained["attention"]]) == _once(before.reasons(order_id)), order_id
        assert all(one["meaning"] and one["cure"] for one in explained["attention"]), order_id
        assert explained["why_here"], order_id
        assert explained["waits_for"], order_id


def test_every_journal_folds_to_its_order_and_is_decided_alike(before: Stored) -> None:
    """`--redecide`: this version takes each edge that the version before took, and finds the same attention."""
    verified = before.answer("orders", "verify", "--all", "--redecide")
    assert [one for one in verified if not one["ok"]] == []
    assert len(verified) == len(before.rows("orders"))

    before.sql("UPDATE orders SET state = 'shipped' WHERE order_id = 'HELD'")
    result = before.call("orders", "verify", "--all", "--json")
    assert result.exit_code == 1
    assert [one["order_id"] for one in json.loads(result.stdout) if not one["ok"]] == ["HELD"]


def test_shops_keep_their_switches_and_how_far_they_were_read(before: Stored) -> None:
    shops = {one["name"]: one for one in before.answer("shops", "list")}
    assert {name: (one["effects"], one["paused"]) for name, one in shops.items()} == {
        "alpha": (True, []),
        "beta": (True, ["ship"]),
    }
    for shop, watermark, succeeded_at in before.sql("SELECT shop, watermark, succeeded_at FROM cursors"):
        assert _instant(shops[shop]["watermark"]) == _instant(watermark)
        assert _instant(shops[shop]["polled_at"]) == _instant(succeeded_at)


def test_dead_letters_can_be_read_and_discarded(before: Stored) -> None:
    letters = before.answer("dead-letters", "list")
    assert len(letters) == 5
    letter = next(str(one["id"]) for one in letters if one["reason"] == "not_cloudevent" and one["state"] == "open")
    assert "specversion" in before.answer("dead-letters", "show", letter)["detail"]
    discarded = before.call("dead-letters", "discard", letter, "--reason", "a test", "--who", "ops", "--yes")
    assert discarded.exit_code == 0, discarded.output
    assert Counter(one["state"] for one in before.answer("dead-letters", "list")) == {"open": 3, "discarded": 2}


# -- It goes on --------------------------------------------------------------------------------------------------


def test_planning_again_makes_the_imports_wait_for_a_read_and_changes_nothing_else(
    before: Stored, service: Service
) -> None:
    """A need that has a command gets no second command, and no reason begins or ends.

    The version before read neither refunds nor the fulfilment centre. So it is not known whether the goods are owed.
    """
    live, orders, commands = before.commands(), before.orders_but_their_clock(), before.rows("commands")
    service.plan_again(before)
    imports = {id_: one for id_, one in live.items() if one.kind == "import_order"}
    leased = {id_: one._replace(unwanted=True) for id_, one in imports.items() if one.state == "leased"}
    assert imports.keys() > leased.keys() > set()
    assert before.commands() == {id_: one for id_, one in live.items() if id_ not in imports} | leased
    assert before.orders_but_their_clock() == orders
    ((waiting,),) = before.sql("SELECT count(*) FROM orders WHERE state = 'shipping' AND read_after IS NULL")
    assert waiting == 0
    planned = before.rows("orders")
    service.plan_again(before)
    assert before.rows("orders") == planned

    service.read_again(before)
    assert before.commands() == live
    assert len(before.rows("commands")) == len(commands)


def test_orders_get_the_instant_of_their_next_deadline_when_they_are_planned_again(
    before: Stored, service: Service
) -> None:
    """The version before did not know `wake_at`."""
    assert before.sql("SELECT id FROM orders WHERE wake_at IS NOT NULL") == []
    service.plan_again(before)
    due = before.sql("SELECT state, facts FROM orders WHERE wake_at IS NOT NULL")
    assert {state for state, _ in due} >= {"shipping", "imported"}
    assert all(json.loads(facts)["snapshot"]["ship_by"] for state, facts in due if state == "imported")


def test_leased_commands_of_the_killed_processes_are_claimed_again_after_their_lease(
    before: Stored, service: Service
) -> None:
    leased = before.commands("c.state = 'leased'")
    needed = {id_ for id_, one in leased.items() if not one.unwanted}
    service.read_again(before)
    paused = set(before.commands("c.state = 'open' AND o.order_id = 'WAITS-FOR-SHIP'"))
    others = set(before.commands("c.state = 'open'")) - paused
    calls = _calls(before)

    service.clock.advance(NO_BACKOFF_SECONDS)
    assert service.claim_all() == others, "while the leases hold: what is open, but for beta's paused shipments"
    service.clock.advance(LEASES_OVER_SECONDS)
    assert service.claim_all() == needed, "after the leases: what was leased and is still needed"

    ended = {id_: one.state for id_, one in before.commands("c.state <> 'open'").items() if id_ in leased}
    assert ended == {id_: "leased" if id_ in needed else "obsolete" for id_ in leased}
    for id_, (token, attempts, payload, maybe_sent) in _calls(before).items():
        if id_ in needed:
            was_token, was_attempts, was_payload, was_maybe_sent = calls[id_]
            assert token != was_token
            assert attempts == was_attempts + 1
            assert payload == was_payload, "the payload stays as the killed process may have sent it"
            assert was_maybe_sent
            assert maybe_sent


def test_calls_of_the_hour_that_began_before_count(before: Stored) -> None:
    """The store says how many calls the OMS had from alpha in this hour. Two imports of alpha are due."""
    ((used,),) = before.sql("SELECT used FROM budgets WHERE account = 'oms:99001' AND span = 'hour'")
    due = set(before.commands(f"{LIVE} AND c.kind = 'import_order' AND o.shop = 'alpha' AND NOT c.unwanted"))
    assert len(due) == 2
    nothing_left = Service(before, {"alpha": used})
    nothing_left.read_again(before)
    nothing_left.clock.advance(LEASES_OVER_SECONDS)
    nothing_left.work()
    assert len(due & set(before.commands("c.state = 'done'"))) == 0
    nothing_left.close()
    one_left = Service(before, {"alpha": used + 1})
    one_left.clock.advance(LEASES_OVER_SECONDS)
    one_left.work()
    assert len(due & set(before.commands("c.state = 'done'"))) == 1
    one_left.clock.advance(3600)
    one_left.work()
    assert due <= set(before.commands("c.state = 'done'")), "the hour is over"
    one_left.close()


def test_what_a_person_settled_stays_settled(before: Stored, service: Service) -> None:
    service.plan_again(before)
    assert {order: reason in before.reasons(order) for order, reason in SETTLED.items()} == dict.fromkeys(
        SETTLED, False
    )

    for order in SETTLED:
        before.forget_decisions(order)
    service.plan_again(before)
    assert {order: reason in before.reasons(order) for order, reason in SETTLED.items()} == dict.fromkeys(SETTLED, True)


def test_what_a_person_retried_stays_open(before: Stored, service: Service) -> None:
    service.read_again(before)
    service.plan_again(before)
    assert {order: before.live_keys(order) for order in RETRIED} == {order: [key] for order, key in RETRIED.items()}
    assert {order: before.reasons(order) for order in RETRIED} == {order: [] for order in RETRIED}

    for order in RETRIED:
        before.forget_decisions(order)
    service.plan_again(before)
    assert {order: before.live_keys(order) for order in RETRIED} == {order: [] for order in RETRIED}
    assert {order: before.reasons(order) for order in RETRIED} == {order: ["gave_up"] for order in RETRIED}


def test_what_a_person_holds_stays_held(before: Stored, service: Service) -> None:
    service.read_again(before)
    service.plan_again(before)
    assert before.live_keys("HELD") == []
    assert before.reasons("HELD") == ["held"]

    before.forget_decisions("HELD")
    service.plan_again(before)
    assert before.live_keys("HELD") == [("import_order", "", 0)]
    assert before.reasons("HELD") == []


@pytest.mark.parametrize("change", [{"quantity": 0}, {"withdrawn": Withdrawn.WHOLE}, {"state": "CANCELED"}])
def test_what_mirakl_withdraws_of_an_order_that_the_version_before_imported_is_told(
    before: Stored, service: Service, change: dict[str, Any]
) -> None:
    """ANSWER-LOST: the OMS's answer never came, and its \"duplicate\" names no line."""
    service.keep_what_was_sent()
    events = before.rows("journal")
    service.keep_what_was_sent()
    assert before.rows("journal") == events
    service.change_line(before, "ANSWER-LOST", **change)
    assert "lines_canceled_after_import" in before.reasons("ANSWER-LOST")
    assert [one for one in before.answer("orders", "verify", "--all", "--redecide") if not one["ok"]] == []


def test_a_person_can_go_on_deciding(before: Stored, service: Service) -> None:
    service.read_again(before)
    before.decide("settle", "OMS-CANCELED")
    assert before.reasons("OMS-CANCELED") == []
    before.decide("retry", "GAVE-UP")
    assert before.live_keys("GAVE-UP") == [("import_order", "", 1)]
    before.decide("retry", "MANDATORY-RETRIED")
    assert before.live_keys("MANDATORY-RETRIED") == [("confirm_shipment", "", 2)]
    before.decide("accept", "UNDECIDED")
    assert before.live_keys("UNDECIDED") == [("accept_order", "accept", 0)]
    before.decide("release", "HELD")
    assert before.live_keys("HELD") == [("import_order", "", 0)]


def test_another_process_polls_a_shop_when_the_lease_of_the_killed_one_is_over(
    before: Stored, service: Service
) -> None:
    """The name of a lease is stored. A version with another name would poll beside the version before."""
    assert {shop: service.may_poll(shop) for shop in COMPANIES} == dict.fromkeys(COMPANIES, False)
    service.clock.advance(LEASES_OVER_SECONDS)
    assert {shop: service.may_poll(shop) for shop in COMPANIES} == dict.fromkeys(COMPANIES, True)


def test_the_outbox_is_published_as_it_was_written(before_on_postgresql: Stored, tmp_path: Path) -> None:
    before = before_on_postgresql
    stored = before.sql("SELECT aggregatetype, aggregateid, payload FROM outbox ORDER BY id")
    service = Service(before)
    published = service.relay()
    service.close()
    assert [(one.topic, one.key, one.value) for one in published] == [tuple(row) for row in stored]
    assert before.rows("outbox") == []
    (tmp_path / "events.jsonl").write_bytes(b"\n".join(one.value for one in published))
    checked = before.call("events", "check", str(tmp_path / "events.jsonl"), "--strict", "--json")
    assert checked.exit_code == 0, checked.output
    assert [one["topic"] for one in json.loads(checked.stdout)] == ["orderflow.transitions"] * 3


def test_the_service_starts_and_applies_what_its_log_had_taken(before_on_sqlite: Stored) -> None:
    """The OMS reported HELD-IN-OMS dispatched. The embedded log had this event, and no consumer had applied it yet."""
    before = before_on_sqlite
    assert sum(one["lag"] for one in before.answer("offsets", "list")) == 1
    assert before.state("HELD-IN-OMS") == "imported"
    command = [str(Path(sys.executable).with_name("orderflow")), "run", "--config", str(before.config)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    try:
        wait(lambda: before.state("HELD-IN-OMS") == "dispatched", "the event is applied")
        process.send_signal(signal.SIGTERM)
        said, _ = process.communicate(timeout=30)
    finally:
        process.kill()
        process.wait()
    assert process.returncode == 0, said
    assert sum(one["lag"] for one in before.answer("offsets", "list")) == 0
    assert [one for one in before.answer("orders", "verify", "--all") if not one["ok"]] == []


# -- Shared ------------------------------------------------------------------------------------------------------


def _all_orders(before: Stored) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = before.answer("orders", "list", "--limit", "1000")
    return found


def _once(reasons: Sequence[str]) -> list[str]:
    """Each reason once: an order may have a reason several times, with different details."""
    return list(dict.fromkeys(reasons))


def _calls(before: Stored) -> dict[int, tuple[str, int, bytes, bool]]:
    """By id of the command: its lease's token, tries, payload, whether a try may have arrived."""
    rows = before.sql("SELECT id, lease_token, attempts, payload, maybe_sent FROM commands")
    return {id_: (token, attempts, payload, maybe_sent) for id_, token, attempts, payload, maybe_sent in rows}


def _instant(value: object) -> datetime:
    """In UTC. SQLite stores texts without a zone."""
    read = value if isinstance(value, datetime) else datetime.fromisoformat(str(value))
    return read if read.tzinfo else read.replace(tzinfo=UTC)
