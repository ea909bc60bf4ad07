"""A store that the version 02993fc left in the middle of its life opens with this version and goes on.

tests/data/README.md says what the store holds and how it was made. The tests use the command line and SQL where they
can. `Service` has the parts of the code that they need.
"""

import json
import signal
import subprocess
import sys
import zlib
from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from adapters.store.transaction import Store
from consumer.hooks import NO_HOOKS
from consumer.housekeeping.retention import Retention
from statemachine.facts import Withdrawn
from tests.support import StillClock, wait
from tests.system.store_of_before import (
    COMPANIES,
    LEASES_OVER_SECONDS,
    LIVE,
    NO_BACKOFF_SECONDS,
    STATES,
    Service,
    Stored,
)

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
    assert "withdrawn_after_import" in before.reasons("ANSWER-LOST")
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


def test_snapshots_on_which_nothing_rests_are_removed_and_nothing_else_changes(before: Stored) -> None:
    _store_every_read(before)
    shown = [before.answer("orders", "show", one["order_id"], "--received") for one in _all_orders(before)]
    ended = "SELECT id FROM orders WHERE state IN ('shipped', 'refused', 'canceled') AND attention = '[]'"
    of_others = f"SELECT order_key, content FROM snapshots WHERE order_key NOT IN ({ended}) ORDER BY 1, 2"
    kept, count = before.sql(of_others), len(before.rows("snapshots"))
    clock, store = StillClock(before.killed_at() + timedelta(days=2)), Store(before.url)
    retention = Retention(store, clock, NO_HOOKS, timedelta(days=1))
    for _ in range(20):
        retention.turn(lambda: None)
        clock.advance(1)
    store.close()
    assert len(before.rows("snapshots")) < count
    assert before.sql(of_others) == kept
    assert [before.answer("orders", "show", one["order_id"], "--received") for one in shown] == shown
    assert [one for one in before.answer("orders", "verify", "--all", "--redecide") if not one["ok"]] == []


# -- Shared ------------------------------------------------------------------------------------------------------


def _store_every_read(before: Stored) -> None:
    """Store bytes for each read in the journal. The file of the store holds only those that its tests need."""
    of_orders = before.sql("SELECT order_key, says, recorded_at FROM journal WHERE trigger = 'snapshot' ORDER BY id")
    stored = {(key, content) for key, content in before.sql("SELECT order_key, content FROM snapshots")}
    missing = {
        (key, read["content"]): at
        for key, says, at in of_orders
        if (read := json.loads(says).get("snapshot")) and (key, read["content"]) not in stored
    }
    for (key, content), at in missing.items():
        before.sql(
            "INSERT INTO snapshots (order_key, content, body, received_at) VALUES (:key, :content, :body, :at)",
            key=key,
            content=content,
            body=zlib.compress(json.dumps({"order_id": content}).encode()),
            at=at,
        )


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
