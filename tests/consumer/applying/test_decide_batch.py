"""`decide_batch` and `decide_replan`, without a store: orders, journal, commands, attention and reports of a batch."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta

from adapters.store.commands import CommandRow
from adapters.store.orders import OrderRow
from consumer.applying.apply import BatchDecision, Loaded, decide_batch, decide_replan
from consumer.applying.planning import GIVE_UP_AFTER
from statemachine.commands import CommandKind, CommandState, Policy
from statemachine.events import Event, Trigger
from statemachine.facts import Cancellation, Facts, Snapshot
from statemachine.machine import EventResult
from statemachine.reason_of_order import StandingAttention
from statemachine.reasons import Reason
from statemachine.states import State
from tests.statemachine.lives import START, at, read, snapshot_event, spoke

NOW = START + timedelta(hours=1)
KEY = ("alpha", "O-1")


def order(shop: str = "alpha", order_id: str = "O-1", key: int = 1) -> OrderRow:
    """An order without any facts."""
    return OrderRow(key, shop, order_id, State.NEW, Facts(), 0, (), "", None, START, START)


def loaded(*orders: OrderRow, known: Sequence[Event] = (), commands: Sequence[CommandRow] = ()) -> Loaded:
    rows = orders or (order(),)
    return Loaded({(row.shop, row.order_id): row for row in rows}, {(e.source, e.event_id) for e in known}, commands)


def command(
    kind: CommandKind,
    carries: str = "",
    *,
    id: int = 7,
    state: CommandState = CommandState.OPEN,
    unwanted: bool = False,
) -> CommandRow:
    return CommandRow(id, 1, kind, carries, 0, state, unwanted, "", START, NOW, 0, None, False, "")


def shown(state: str, step: float = 0) -> Event:
    return snapshot_event(read(state, updated=step, began=step))


def after(decision: BatchDecision) -> OrderRow:
    """The one order that the batch writes."""
    (change,) = decision.orders
    return change.row


def decided(*events: Event, policy: Policy = Policy()) -> OrderRow:
    """The order after its first batch."""
    return after(decide_batch(events, loaded(), {"alpha": policy}, NOW))


# -- Orders and journal -------------------------------------------------------------------------------------------


def test_each_event_of_an_order_is_a_version_and_a_journal_row_and_the_order_is_written_once() -> None:
    decision = decide_batch([shown("WAITING_ACCEPTANCE"), shown("SHIPPING", 1), spoke()], loaded(), {}, NOW)
    assert [(row.version, row.before, row.after) for row in decision.journal] == [
        (1, "new", "waiting_acceptance"),
        (2, "waiting_acceptance", "shipping"),
        (3, "shipping", "imported"),
    ]
    (change,) = decision.orders
    row = change.row
    assert row.version == 3
    assert change.replaced_version == 0
    assert row.state == "imported"
    assert row.facts.parts == spoke().new_facts.parts
    assert row.entered_at == NOW


def test_an_order_that_does_not_move_keeps_the_instant_at_which_it_entered_its_state() -> None:
    before = decided(shown("SHIPPING"))
    later = NOW + timedelta(hours=1)
    row = after(decide_batch([shown("SHIPPING", 1)], loaded(before), {}, later))
    assert row.entered_at == NOW


def with_digest(event: Event, digest: str) -> Event:
    read = event.new_facts.snapshot
    assert read is not None
    return replace(event, new_facts=replace(event.new_facts, snapshot=replace(read, digest=digest)))


def test_a_read_that_shows_nothing_new_is_no_change_and_a_read_that_does_is_one() -> None:
    """`orders list` shows the change last, and --since asks for it (OM 12)."""
    before = decided(with_digest(shown("SHIPPING"), "first"))
    later = NOW + timedelta(hours=1)
    same = after(decide_batch([with_digest(shown("SHIPPING", 1), "first")], loaded(before), {}, later))
    assert same.facts.snapshot != before.facts.snapshot
    assert same.updated_at == NOW
    changed = after(decide_batch([with_digest(shown("SHIPPING", 2), "second")], loaded(same), {}, later))
    assert changed.updated_at == later
    assert after(decide_batch([spoke()], loaded(same), {}, later)).updated_at == later


def test_a_reason_that_begins_with_a_read_or_by_the_clock_is_a_change() -> None:
    """The margin of the deadline is over. The event of the clock brings `shipping_due`, and the next one nothing."""
    before = decided(with_digest(shown("SHIPPING"), "first"))
    later = NOW + timedelta(days=30)
    passed = replace(spoke(), trigger=Trigger.CLOCK, new_facts=Facts(clock=later))
    due = after(decide_batch([passed], loaded(before), {}, later))
    assert Reason.SHIPPING_DUE in {one.reason for one in due.attention}
    assert due.updated_at == later
    again = replace(passed, event_id="again", new_facts=Facts(clock=later + timedelta(hours=1)))
    assert after(decide_batch([again], loaded(due), {}, later + timedelta(hours=1))).updated_at == later


def test_what_is_reported_holds_the_order_as_each_event_left_it() -> None:
    decision = decide_batch([shown("WAITING_ACCEPTANCE"), shown("SHIPPING", 1)], loaded(), {}, NOW)
    assert [(one.before, one.order.state, one.result) for one in decision.applied] == [
        ("new", "waiting_acceptance", "moved"),
        ("waiting_acceptance", "shipping", "moved"),
    ]
    assert [one.seconds_in_before for one in decision.applied] == [3600, 0]


def test_an_event_of_the_journal_and_a_second_one_of_the_batch_are_repeats_and_change_nothing() -> None:
    row = decided(spoke(1))
    decision = decide_batch([spoke(1), spoke(2), spoke(2)], loaded(row, known=[spoke(1)]), {}, NOW)
    assert [event.event_id for event in decision.repeats] == ["spoke1", "spoke2"]
    assert [entry.event.event_id for entry in decision.journal] == ["spoke2"]
    assert [one.result for one in decision.applied] == [EventResult.REPEATED, EventResult.REPEATED, "noted"]
    assert after(decision).version == row.version + 1


def test_a_batch_of_repeats_writes_no_order_and_no_command() -> None:
    row = decided(shown("SHIPPING"))
    decision = decide_batch([shown("SHIPPING")], loaded(row, known=[shown("SHIPPING")]), {}, NOW)
    assert decision.orders == []
    assert decision.journal == []
    assert decision.commands.opened == []


def test_orders_of_two_shops_with_one_id_are_two_orders() -> None:
    orders = loaded(order(), order("beta", key=2))
    decision = decide_batch([shown("WAITING_ACCEPTANCE"), replace(shown("SHIPPING"), shop="beta")], orders, {}, NOW)
    assert {one.row.shop: one.row.state for one in decision.orders} == {
        "alpha": "waiting_acceptance",
        "beta": "shipping",
    }
    assert {(new.order_key, new.command.kind) for new in decision.commands.opened} == {
        (1, CommandKind.ACCEPT),
        (2, CommandKind.IMPORT),
    }


def test_the_received_bytes_are_kept_by_order_and_digest() -> None:
    event = replace(shown("SHIPPING"), raw=b"received", digest="digest")
    assert decide_batch([event, spoke()], loaded(), {}, NOW).snapshots == {(1, "digest"): b"received"}


def test_a_decision_changes_nothing_of_what_was_loaded() -> None:
    before = loaded()
    events = [shown("WAITING_ACCEPTANCE"), shown("SHIPPING", 1)]
    assert decide_batch(events, before, {}, NOW) == decide_batch(events, before, {}, NOW)
    assert before == loaded()


# -- Commands -----------------------------------------------------------------------------------------------------


def test_a_command_is_opened_with_a_deadline_behind_that_of_the_order() -> None:
    ship_by = NOW + timedelta(days=2)
    snapshot = replace(read("SHIPPING"), ship_by=ship_by)
    (new,) = decide_batch([snapshot_event(snapshot)], loaded(), {}, NOW).commands.opened
    assert new.order_key == 1
    assert new.command.kind == CommandKind.IMPORT
    assert new.give_up_at == ship_by + GIVE_UP_AFTER


def test_a_deadline_that_has_passed_counts_from_now() -> None:
    snapshot: Snapshot = replace(read("SHIPPING"), ship_by=at(0))
    (new,) = decide_batch([snapshot_event(snapshot)], loaded(), {}, NOW).commands.opened
    assert new.give_up_at == NOW + GIVE_UP_AFTER


def test_a_command_that_is_open_already_is_not_opened_again() -> None:
    decision = decide_batch([shown("SHIPPING")], loaded(commands=[command(CommandKind.IMPORT)]), {}, NOW)
    assert decision.commands.opened == []
    assert decision.commands.obsolete == []


def test_a_command_that_is_no_longer_needed_becomes_obsolete_once() -> None:
    live = [
        command(CommandKind.IMPORT),
        command(CommandKind.ACCEPT, "accept", id=8, state=CommandState.LEASED, unwanted=True),
    ]
    decision = decide_batch([shown("CANCELED")], loaded(commands=live), {}, NOW)
    assert decision.commands.obsolete == [7]
    assert decision.commands.revived == []


def test_a_leased_command_that_is_needed_after_all_is_revived() -> None:
    live = [command(CommandKind.IMPORT, state=CommandState.LEASED, unwanted=True)]
    decision = decide_batch([shown("SHIPPING")], loaded(commands=live), {}, NOW)
    assert decision.commands.revived == [7]
    assert decision.commands.opened == []


# -- Attention and policies ---------------------------------------------------------------------------------------


def test_an_attention_reason_keeps_the_instant_since_which_it_stands() -> None:
    canceled = replace(spoke(), event_id="128", new_facts=Facts(cancellations=(Cancellation(1),)))
    before = decided(shown("SHIPPING"), canceled)
    assert before.attention == (StandingAttention(Reason.OMS_CANCELED, "1", since=NOW),)
    row = after(decide_batch([shown("SHIPPING", 1)], loaded(before), {}, NOW + timedelta(hours=1)))
    assert row.attention == before.attention


def test_the_policy_is_that_of_the_order_s_shop() -> None:
    assert decided(shown("WAITING_ACCEPTANCE")).attention == ()
    held = decided(shown("WAITING_ACCEPTANCE"), policy=Policy("hold"))
    assert [one.reason for one in held.attention] == ["needs_decision"]


def test_a_replan_writes_only_the_orders_that_look_different_and_no_journal() -> None:
    waiting = decided(shown("WAITING_ACCEPTANCE"))
    shipping = replace(decided(shown("SHIPPING")), key=2, order_id="O-2")
    live = [command(CommandKind.ACCEPT, "accept"), replace(command(CommandKind.IMPORT, id=8), order_key=2)]
    decision = decide_replan(loaded(waiting, shipping, commands=live), {"alpha": Policy("hold")}, NOW)
    assert [(one.row.order_id, one.replaced_version) for one in decision.orders] == [("O-1", 1)]
    assert after(decision).version == 1
    assert decision.commands.obsolete == [7]
    assert decision.commands.opened == []
    assert decision.journal == ()
    assert decision.applied == ()
