"""OrderWriter with a real store and the real table of edges. test_decide_batch.py tests its pure functions."""

import hashlib
import itertools
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import reduce
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from adapters.errors import Fenced
from adapters.ports import Partition, PartitionOffsets
from adapters.store import commands as command_rows
from adapters.store import journal as journal_rows
from adapters.store import lanes as lane_rows
from adapters.store import orders as order_rows
from adapters.store import progress as progress_rows
from adapters.store import schema as s
from adapters.store import snapshots as snapshot_rows
from adapters.store.dead_letters import DeadLetter
from adapters.store.lanes import NewLease
from adapters.store.orders import OrderRow
from adapters.store.progress import Advance
from consumer.applying import apply
from consumer.applying.apply import OrderWriter
from consumer.hooks import Applied, Hooks
from statemachine import machine
from statemachine.commands import CommandKind, Policy
from statemachine.events import Event
from statemachine.facts import AFTER_SHIPPING, Cancellation, Decision, DecisionKind, Facts, Tracking
from statemachine.joining import join
from statemachine.machine import EventResult
from statemachine.plan import plan, read_after
from statemachine.reason_of_order import StandingAttention
from statemachine.reasons import Reason
from statemachine.states import state_of
from statemachine.table import TABLE
from tests.statemachine.lives import answered, read, sent, settled, snapshot_event, spoke
from tests.statemachine.test_confluence import histories
from tests.support import StillClock, new_store

PARTITION = Partition("topic", 0)
MOVE = Advance("c", "g", PARTITION, 0, 1)


class World(Hooks):
    """Orders over a store, and what was reported of them."""

    def __init__(self, folder: Path, policies: Mapping[str, Policy] | None = None) -> None:
        self.clock = StillClock()
        self.store = new_store(folder)
        self.reported: list[Applied] = []
        self.orders = OrderWriter(self.store, policies or {}, self.clock, self)

    def event_applied(self, applied: Applied) -> None:
        self.reported.append(applied)

    def apply(self, *events: Event) -> list[str]:
        return [one.result for one in self.orders.apply(events)]

    def order(self, shop: str = "alpha", order_id: str = "O-1") -> OrderRow:
        (row,) = order_rows.find(self.store, order_id, shop)
        return row

    def open_commands(self, order_key: int = 1) -> set[tuple[str, str, int]]:
        live = ("open", "leased")
        return {(c.kind, c.carries, c.round) for c in command_rows.of_order(self.store, order_key) if c.state in live}

    def states_of_commands(self) -> dict[str, str]:
        return {c.kind: c.state for c in command_rows.of_order(self.store, 1)}

    def begun(self, move: Advance) -> Advance:
        """Begin the partition of this move at the offset at which the move begins."""
        with self.store.transaction() as tx:
            progress_rows.lock_or_insert(
                tx, move.cluster, move.group, {move.partition: PartitionOffsets(move.held, move.held)}
            )
        return move

    def count(self, table: sa.Table) -> int:
        with self.store.reading() as connection:
            return connection.execute(sa.select(sa.func.count()).select_from(table)).scalar() or 0


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    world = World(tmp_path)
    yield world
    world.store.close()


def seen(state: str, step: float = 0, **more: object) -> Event:
    return snapshot_event(read(state, updated=step, began=step, **more))  # type: ignore[arg-type]


def reasons(order: OrderRow) -> list[str]:
    return [one.reason for one in order.attention]


# -- Failures -----------------------------------------------------------------------------------------------------


def test_a_failing_batch_stores_nothing_and_calls_no_hook(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    dead_letter = DeadLetter("topic", "topic/0/0", "not_json", "", "d", None, b"x")
    good = replace(spoke(), order_id="O-2")
    bad = replace(seen("SHIPPING"), raw=b"x", note={"bad": object()})  # type: ignore[dict-item]
    with pytest.raises(TypeError):
        world.orders.apply([good, bad], [world.begun(MOVE)], [dead_letter])
    tables = (s.orders, s.journal, s.commands, s.snapshots, s.dead_letters)
    assert [world.count(table) for table in tables] == [0] * 5
    assert world.begun(MOVE) == MOVE
    assert world.reported == []


def test_a_fenced_batch_leaves_nothing(world: World) -> None:
    world.orders.apply((), [world.begun(MOVE)])
    with pytest.raises(Fenced):
        world.orders.apply([spoke()], [replace(MOVE, position=2)])
    assert world.count(s.orders) == 0
    assert world.reported == []


def test_hooks_are_called_after_the_commit(tmp_path: Path) -> None:
    stored: list[int] = []
    clock, store = StillClock(), new_store(tmp_path)

    class Reads(Hooks):
        def event_applied(self, applied: Applied) -> None:
            stored.append(len(journal_rows.of_order(store, applied.order.key)))

    orders = OrderWriter(store, {}, clock, Reads())
    orders.apply([spoke(1), spoke(2)])
    assert stored == [2, 2]
    with store.transaction() as tx:
        applied = orders.apply_in(tx, [spoke(3)])
        assert len(stored) == 2  # the caller has not committed
    orders.report(applied)
    assert stored == [2, 2, 3]
    store.close()


def test_a_change_of_state_without_an_edge_keeps_the_state_and_needs_attention(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.apply(seen("WAITING_ACCEPTANCE"))
    assert world.open_commands() == {(CommandKind.ACCEPT, "accept", 0)}
    without = machine.machine_of(tuple(e for e in TABLE if (e.source, e.target) != ("waiting_acceptance", "shipping")))
    monkeypatch.setattr(apply, "decide", lambda state, facts, event: machine.decide(state, facts, event, without))
    world.clock.advance(60)
    assert world.apply(seen("SHIPPING", 1)) == [EventResult.NO_EDGE]
    order = world.order()
    assert order.state == "waiting_acceptance"
    assert order.version == 2
    assert state_of(order.facts) == "shipping"
    assert order.attention == (
        StandingAttention(Reason.NO_EDGE, "waiting_acceptance->shipping", since=world.clock.now()),
    )
    assert world.open_commands() == set()
    assert world.states_of_commands() == {CommandKind.ACCEPT: "obsolete"}
    assert [(e.result, e.before, e.after) for e in journal_rows.of_order(world.store, 1)][-1] == (
        "no_edge",
        "waiting_acceptance",
        "waiting_acceptance",
    )
    monkeypatch.undo()  # an upgrade brings the edge, and the next event takes it
    assert world.apply(seen("SHIPPING", 2)) == ["moved"]
    assert world.order().state == "shipping"
    assert world.order().attention == ()
    assert world.open_commands() == {(CommandKind.IMPORT, "", 0)}


def test_an_empty_batch_changes_nothing(world: World) -> None:
    assert world.apply() == []
    world.orders.replan([])
    assert world.count(s.orders) == 0


# -- States and commands ------------------------------------------------------------------------------------------


def test_an_order_from_its_first_read_to_shipped(world: World) -> None:
    steps: list[tuple[Event, str, set[tuple[str, str, int]]]] = [
        (seen("WAITING_ACCEPTANCE"), "waiting_acceptance", {(CommandKind.ACCEPT, "accept", 0)}),
        (answered(CommandKind.ACCEPT, carries="accept", answered=1), "accepted", set()),
        (seen("WAITING_DEBIT_PAYMENT", 2), "awaiting_payment", set()),
        (seen("SHIPPING", 3), "shipping", {(CommandKind.IMPORT, "", 0)}),
        (answered(CommandKind.IMPORT, answered=4), "imported", set()),
        (sent("T1", when=5), "dispatched", {(CommandKind.TRACK, "DPD | T1 | ", 0)}),
        (answered(CommandKind.TRACK, carries="DPD | T1 | ", answered=6), "dispatched", {(CommandKind.CONFIRM, "", 0)}),
        (answered(CommandKind.CONFIRM, answered=7), "dispatched", set()),
        (seen("SHIPPED", 8, tracking=Tracking("DPD", "T1")), "shipped", set()),
    ]
    path = ["new", *(state for _, state, _ in steps)]
    for version, (event, state, commands) in enumerate(steps, 1):
        world.clock.advance(10)
        world.apply(event)
        order = world.order()
        assert order.state == state
        assert order.version == version
        assert world.open_commands() == commands
        assert order.read_after == read_after(order.facts, Policy())
    journal = journal_rows.of_order(world.store, 1)
    assert [entry.version for entry in journal] == list(range(1, 10))  # docs/rules.md 11
    assert [(entry.before, entry.after) for entry in journal] == list(itertools.pairwise(path))
    assert [one.moved for one in world.reported] == [before != after for before, after in itertools.pairwise(path)]
    assert [one.seconds_in_before for one in world.reported][1:4] == [10, 10, 10]


def test_commands_open_and_end_in_the_transaction_of_their_event(world: World) -> None:
    """docs/rules.md 21: no claim can come between the cancellation and the end of the import command."""
    world.apply(seen("SHIPPING"))
    with world.store.transaction() as tx:
        world.orders.apply_in(tx, [seen("CANCELED", 1)])
        assert command_rows.lock_live(tx, [1]) == []
        assert world.open_commands() == {(CommandKind.IMPORT, "", 0)}  # what other transactions still see
    assert world.states_of_commands() == {CommandKind.IMPORT: "obsolete"}


def test_a_leased_command_that_is_not_needed_for_a_while_is_marked_and_revived(world: World) -> None:
    world.apply(seen("SHIPPING"))
    with world.store.transaction() as tx:
        lease = NewLease(1, "alpha", "", "t", world.clock.now(), world.clock.now())
        assert lane_rows.lease(tx, [lease], (), world.clock.now()) == {1}
    flags = []
    for event in (seen("WAITING_DEBIT", 1), seen("WAITING_DEBIT", 2), seen("SHIPPING", 3)):
        world.apply(event)
        with world.store.transaction() as tx:
            flags += [row.unwanted for row in command_rows.lock_live(tx, [1])]
    assert flags == [True, True, False]
    assert world.count(s.commands) == 1


def test_a_command_that_is_needed_again_opens_in_the_same_row(world: World) -> None:
    for event in (seen("SHIPPING"), seen("WAITING_DEBIT", 1), seen("SHIPPING", 2)):
        world.apply(event)
    assert [(c.kind, c.state) for c in command_rows.of_order(world.store, 1)] == [(CommandKind.IMPORT, "open")]


def test_a_command_of_a_newer_version_s_kind_is_not_due_here_and_is_kept(world: World) -> None:
    """docs/decisions/0016-two-versions.md: it opens again in its row when newer code plans the order."""
    world.apply(seen("SHIPPING"))
    newer = dict(kind="ask_stock", carries="", round=0, state="open", basis="", attempts=0)
    instants = dict.fromkeys(("opened_at", "next_at", "give_up_at"), world.clock.now())
    with world.store.writing() as connection:
        connection.execute(sa.insert(s.commands).values(order_key=1, **newer, **instants))
    retried = Facts(decisions=(Decision(world.clock.now(), DecisionKind.RETRY, "ana", "asked", ("ask_stock:1:",)),))
    world.apply(replace(seen("SHIPPING", 1), new_facts=retried))
    assert world.states_of_commands() == {CommandKind.IMPORT: "open", "ask_stock": "obsolete"}


def test_a_cancellation_by_the_oms_ends_open_commands_until_it_is_settled(world: World) -> None:
    world.apply(seen("SHIPPING"))
    world.apply(replace(spoke(), event_id="128", new_facts=Facts(cancellations=(Cancellation(1),))))
    assert reasons(world.order()) == ["oms_canceled"]
    assert world.states_of_commands() == {CommandKind.IMPORT: "obsolete"}
    world.apply(settled("oms_canceled:1"))
    assert world.states_of_commands() == {CommandKind.IMPORT: "open"}


# -- Repeats (docs/rules.md 10) -----------------------------------------------------------------------------------


def test_a_repeat_in_the_same_batch_is_counted_and_has_no_row(world: World) -> None:
    assert sorted(world.apply(spoke(), spoke(), spoke(2))) == ["noted", "noted", EventResult.REPEATED]
    assert [(e.event.event_id, e.repeats) for e in journal_rows.of_order(world.store, 1)] == [
        ("spoke1", 1),
        ("spoke2", 0),
    ]
    assert world.order().version == 2


def test_a_repeat_in_a_later_batch_is_counted_and_changes_nothing(world: World) -> None:
    world.apply(seen("WAITING_ACCEPTANCE"))
    before = world.order()
    world.clock.advance(60)
    assert world.apply(seen("WAITING_ACCEPTANCE"), seen("WAITING_ACCEPTANCE")) == [
        EventResult.REPEATED,
        EventResult.REPEATED,
    ]
    assert world.order() == before
    assert [e.repeats for e in journal_rows.of_order(world.store, 1)] == [2]
    assert [one.result for one in world.reported] == ["moved", EventResult.REPEATED, EventResult.REPEATED]


def test_the_same_event_id_of_another_source_is_no_repeat(world: World) -> None:
    assert world.apply(spoke(), replace(spoke(), source="/other")) == ["noted", "stale"]
    assert world.order().version == 2


# -- Many orders --------------------------------------------------------------------------------------------------


def test_two_shops_with_one_order_id_do_not_mix(world: World) -> None:
    other = replace(seen("SHIPPING"), shop="beta", event_id="b", raw=b"beta", digest="same")
    world.apply(replace(seen("WAITING_ACCEPTANCE"), raw=b"alpha", digest="same"), other)
    alpha, beta = world.order("alpha"), world.order("beta")
    assert alpha.state == "waiting_acceptance"
    assert beta.state == "shipping"
    assert world.open_commands(alpha.key) == {(CommandKind.ACCEPT, "accept", 0)}
    assert world.open_commands(beta.key) == {(CommandKind.IMPORT, "", 0)}
    assert [snapshot_rows.find(world.store, row.key, "same") for row in (alpha, beta)] == [b"alpha", b"beta"]
    assert {row.shop for row in order_rows.find(world.store, "O-1")} == {"alpha", "beta"}


def test_a_batch_takes_as_many_statements_for_many_orders_as_for_one(world: World) -> None:
    """BEGIN, six statements that load (one of them the policies, one `shops.attempted_before`), five that write."""
    counted: list[str] = []
    sa.event.listen(world.store.engine, "before_cursor_execute", lambda *call: counted.append(call[2]))

    def statements(count: int, first: int) -> int:
        counted.clear()
        events = [replace(seen("SHIPPING"), order_id=f"O-{n}", event_id=f"{n}") for n in range(first, first + count)]
        world.apply(*events, *events)
        return len(counted)

    assert statements(1, 0) == 12
    assert statements(200, 1) == 12


def test_no_statement_reads_a_table_from_end_to_end(world: World) -> None:
    """A batch must cost the same in a store with a million orders."""
    ran: list[tuple[str, Any]] = []
    listen = sa.event.listen
    listen(world.store.engine, "before_cursor_execute", lambda *c: ran.append((c[2], c[3][0] if c[5] else c[3])))
    for step in range(2):  # new events, then repeats
        world.apply(*(replace(seen("SHIPPING"), order_id=f"O-{n}", event_id=f"{n}", raw=b"x") for n in range(3 + step)))
    world.orders.replan([("alpha", "O-1"), ("alpha", "O-2")])
    order_rows.seen(world.store, "alpha", ["O-1", "O-2"])
    order_rows.find(world.store, "O-1")
    order_rows.waiting_for_a_read(world.store, "alpha", world.clock.now(), 10)
    plans = {}
    with world.store.engine.connect() as connection:
        for statement, parameters in [one for one in ran if one[0].startswith(("SELECT", "UPDATE"))]:
            rows = connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", parameters)
            plans[statement] = [row[3] for row in rows]
    assert len(plans) >= 8
    tables = ("orders", "journal", "commands", "snapshots")
    scan = tuple(f"SCAN {table}" for table in tables)
    scans = {sql: plan for sql, plan in plans.items() if any(step.startswith(scan) for step in plan)}
    assert scans == {}


# -- Attention and policies ---------------------------------------------------------------------------------------


def test_an_attention_reason_keeps_the_instant_since_which_it_stands(world: World) -> None:
    def without_address(step: float) -> Event:
        return seen("SHIPPING", step, has_address=False)

    world.apply(without_address(0))
    since = world.clock.now()
    world.clock.advance(60)
    world.apply(without_address(1))
    assert world.order().attention == (StandingAttention(Reason.ADDRESS_MISSING, since=since),)
    world.apply(seen("SHIPPING", 2))
    assert world.order().attention == ()
    world.apply(without_address(3))
    assert world.order().attention == (StandingAttention(Reason.ADDRESS_MISSING, since=world.clock.now()),)


def test_a_replan_applies_a_changed_policy_without_an_event(tmp_path: Path) -> None:
    policies = {"alpha": Policy("hold")}
    world = World(tmp_path, policies)
    world.apply(seen("WAITING_ACCEPTANCE"))
    assert reasons(world.order()) == ["needs_decision"]
    assert world.open_commands() == set()
    before = world.order()
    policies["alpha"] = Policy("all")
    world.clock.advance(60)
    world.orders.replan([("alpha", "O-1")])
    assert world.open_commands() == {(CommandKind.ACCEPT, "accept", 0)}
    assert world.order() == replace(before, attention=(), urgency=None, updated_at=world.clock.now())
    policies["alpha"] = Policy("known-skus", frozenset({"MUG"}))
    world.orders.replan([("alpha", "O-1")])
    assert reasons(world.order()) == ["needs_decision"]
    assert world.states_of_commands() == {CommandKind.ACCEPT: "obsolete"}
    assert len(journal_rows.of_order(world.store, 1)) == 1
    world.store.close()


def test_a_replan_that_changes_nothing_writes_nothing(world: World) -> None:
    """Every open order is planned again when a process takes the relay's lease, and every 6 hours."""
    world.apply(seen("WAITING_ACCEPTANCE"))
    written: list[str] = []
    sa.event.listen(world.store.engine, "before_cursor_execute", lambda *call: written.append(call[2]))
    world.orders.replan([("alpha", "O-1")])
    assert not [statement for statement in written if statement.startswith("UPDATE")]


def test_for_an_order_older_than_the_policy_s_date_no_command_is_opened(tmp_path: Path) -> None:
    world = World(tmp_path, {"alpha": Policy(not_before=read("SHIPPING").created_at.replace(year=2027))})
    world.apply(seen("WAITING_ACCEPTANCE"))
    assert world.order().state == "waiting_acceptance"
    assert world.open_commands() == set()
    world.store.close()


# -- The rows are the join of the journal, in any order of the events ----------------------------------------------


def distinguished(event: Event) -> Event:
    """Give the events ids that differ if the events differ, and digests that differ if the reads differ."""
    says = event.new_facts
    for name in ("snapshot", "unknown"):
        if (shown := getattr(says, name)) is not None:
            digest = hashlib.sha256(repr(replace(shown, digest="")).encode()).hexdigest()
            says = replace(says, **{name: replace(shown, digest=digest)})
    event_id = hashlib.sha256(repr(says).encode()).hexdigest()
    return replace(event, new_facts=says, event_id=event_id, raw=event_id.encode(), digest=event_id)


@st.composite
def batches(draw: st.DrawFn, events: Sequence[Event]) -> list[list[Event]]:
    cuts = sorted(draw(st.sets(st.integers(0, len(events)))) | {0, len(events)})
    return [list(events[start:end]) for start, end in itertools.pairwise(cuts)]


@st.composite
def two_runs(draw: st.DrawFn) -> tuple[list[list[Event]], list[list[Event]]]:
    """The same events twice, in different orders and batches, with repeats."""
    one, other = draw(histories())
    return (
        draw(batches([distinguished(event) for event in one])),
        draw(batches([distinguished(event) for event in other])),
    )


End = tuple[str, Facts, set[str], set[tuple[str, str, int]]]


def end_of(run: Sequence[Sequence[Event]]) -> End:
    with tempfile.TemporaryDirectory() as folder:
        world = World(Path(folder))
        try:
            for batch in run:
                world.clock.advance(1)
                world.apply(*batch)
            order, journal = world.order(), journal_rows.of_order(world.store, 1)
            assert order.facts == reduce(join, (entry.event.new_facts for entry in journal), Facts())
            assert order.state == state_of(order.facts) == journal[-1].after
            assert [entry.version for entry in journal] == list(range(1, order.version + 1))
            assert [entry.before for entry in journal] == ["new", *(entry.after for entry in journal[:-1])]
            total = sum(map(len, run))
            assert total == len(journal) + sum(entry.repeats for entry in journal)
            assert len({(entry.event.source, entry.event.event_id) for entry in journal}) == len(journal)
            wanted = plan(order.facts, Policy())
            assert world.open_commands() == {(c.kind, c.carries, c.round) for c in wanted.due}
            attention = {one.token for one in order.attention}
            assert attention == {one.token for one in wanted.attention}
            return order.state, order.facts, attention, world.open_commands()
        finally:
            world.store.close()


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(two_runs())
def test_any_order_any_batches_and_any_repeats_end_the_same(runs: tuple[list[list[Event]], list[list[Event]]]) -> None:
    one, other = runs
    assert end_of(one) == end_of(other)


def test_the_builders_reach_every_kind_of_command() -> None:
    """Otherwise the property above would prove nothing."""
    shown = [seen(state, step) for step, state in enumerate(("SHIPPING", *AFTER_SHIPPING))]
    state, facts, attention, _ = end_of([[sent()], shown, [settled("partly_sent:")]])
    assert state == "shipped"
    assert attention == set()
    assert facts.shipped_seen
