"""OrderWriter, the only writer of orders: load everything that a batch needs, decide in pure functions, write.

Every change of an order goes through it, in one transaction: a batch of the consumer, a claim or a result of the
worker, a decision of a person. Only forgetting.py works without it: it deletes orders.
"""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Final, TypeVar

import structlog

from adapters.errors import BrokenOrders, OrderflowError, OrdersWait, StoreUnavailable
from adapters.messages.transitions import (
    DEAD_LETTER_TYPE,
    TRANSITION_TYPE,
    OutboxTopics,
    dead_letter_record,
    transition_record,
)
from adapters.ports import Clock, NewRecord
from adapters.store import commands as command_rows
from adapters.store import dead_letters as dead_letter_rows
from adapters.store import journal as journal_rows
from adapters.store import names as name_rows
from adapters.store import objectives as objective_rows
from adapters.store import orders as order_rows
from adapters.store import outbox as outbox_rows
from adapters.store import progress as progress_rows
from adapters.store import shops as shop_rows
from adapters.store import snapshots as snapshot_rows
from adapters.store.commands import CommandRow
from adapters.store.dead_letters import DeadLetter
from adapters.store.engine import SHARED_LOCK_SECONDS
from adapters.store.journal import JournalRow
from adapters.store.objectives import ObjectiveResult
from adapters.store.orders import OrderChange, OrderRow
from adapters.store.outbox import OutboxRow
from adapters.store.policies import StoredPolicies
from adapters.store.progress import Advance
from adapters.store.quarantine import quarantine
from adapters.store.transaction import Store, Transaction
from consumer.applying.halving import halved
from consumer.applying.names import new_names
from consumer.applying.planning import CommandChanges, of_order, plan_of, plan_orders
from consumer.hooks import NO_HOOKS, Applied, Hooks
from statemachine.commands import CommandKind, Policy
from statemachine.events import Event, Sealed, Trigger
from statemachine.facts import EPOCH, RESTORED, Attempt, Facts
from statemachine.invariants import Invariant, broken_by
from statemachine.joining import join
from statemachine.machine import VERSION, EventResult, decide
from statemachine.questions.receipts import is_surplus

log = structlog.get_logger("orderflow")

T = TypeVar("T")

#: What is added to an order whose import a restored store may have forgotten.
LOST_ATTEMPT: Final = Facts(attempts=(Attempt(CommandKind.IMPORT, RESTORED),))


# -- Load, decide ------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Loaded:
    """Everything that the decision rests on, read once. The rows are locked."""

    orders: Mapping[tuple[str, str], OrderRow]  # by shop and order id
    known: AbstractSet[tuple[str, str]] = frozenset()  # source and id of the events that the journal holds already
    commands: Sequence[CommandRow] = ()  # the open and leased commands of the orders that may change
    #: An instant by shop. An order that is not known and was created before it may have been imported before a backup
    #: of the store was restored.
    attempted_before: Mapping[str, datetime] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class BatchDecision:
    """Everything that a batch writes, and what it reports to the hooks."""

    orders: Sequence[OrderChange]
    commands: CommandChanges
    journal: Sequence[JournalRow] = ()
    repeats: Sequence[Event] = ()
    snapshots: Mapping[tuple[int, str], bytes] = field(default_factory=dict)  # bytes by order key and digest
    names: Mapping[int, Collection[str]] = field(default_factory=dict)  # new ones, by order key
    applied: Sequence[Applied] = ()
    results: Sequence[ObjectiveResult] = ()


def load(
    tx: Transaction,
    events: Sequence[Event],
    now: datetime,
    locked: Iterable[OrderRow] = (),
    *,
    new_ids: bool = False,
) -> Loaded:
    """Lock the orders of these events, and the commands of those that may change.

    `locked`: orders that this transaction has locked and read already. They are used if every event is about one of
    them; else all orders are locked here. `new_ids`: the ids of the events were made in this transaction, so the
    journal holds none of them.
    """
    wanted, held = {(event.shop, event.order_id) for event in events}, {(row.shop, row.order_id): row for row in locked}
    orders = held if wanted <= held.keys() else order_rows.lock(tx, wanted, now)
    known = {} if new_ids else journal_rows.known(tx, events)
    _refuse_reused_ids(events, orders, known)
    fresh = {orders[e.shop, e.order_id].key for e in events if (e.source, e.event_id) not in known}
    new = {e.shop for e in events if _is_first_read(e, orders[e.shop, e.order_id])}
    marks = shop_rows.attempted_before(tx, new) if new else {}
    return Loaded(orders, known.keys(), command_rows.lock_live(tx, fresh), marks)


class EventIdReused(OrderflowError):
    """An event has the source and the id of an event of another order. As a repeat it would be dropped in silence."""


def _refuse_reused_ids(
    events: Sequence[Event], orders: Mapping[tuple[str, str], OrderRow], known: Mapping[tuple[str, str], int]
) -> None:
    """Raise EventIdReused if an event has the id of an event of another order, stored or of this batch."""
    order_of = dict(known)
    for event in events:
        key = orders[event.shop, event.order_id].key
        if order_of.setdefault((event.source, event.event_id), key) != key:
            raise EventIdReused(f"{event.shop}/{event.order_id}: the id of an event of another order")


def decide_batch(
    events: Sequence[Event], loaded: Loaded, policies: Mapping[str, Policy], now: datetime
) -> BatchDecision:
    """Join each event to its order, one after the other. Then plan each order that changed, once."""
    fresh, repeats = _repeats_apart(events, loaded.known)
    rows = dict(loaded.orders)
    journal: list[JournalRow] = []
    applied: list[Applied] = []
    for event in repeats:
        row = rows[event.shop, event.order_id]
        applied.append(Applied(event, row, EventResult.REPEATED, row.state, seconds_in_before=0))
    snapshots: dict[tuple[int, str], bytes] = {}
    names: dict[int, set[str]] = {}
    for one in fresh:
        before = rows[one.shop, one.order_id]
        if is_surplus(before.facts, one.new_facts):
            applied.append(Applied(one, before, EventResult.REPEATED, before.state, seconds_in_before=0))
            continue
        event = _with_lost_attempt(one, before, loaded.attempted_before.get(one.shop, EPOCH))
        with of_order(before):
            row, result = _after(before, event, now)
            broke = tuple(broken_by(event, before.state, before.facts))
        rows[event.shop, event.order_id] = row
        journal.append(JournalRow(row.key, row.version, event, result, before.state, row.state, VERSION, now))
        applied.append(
            Applied(event, row, result, before.state, (now - before.entered_at).total_seconds(), broken=broke)
        )
        if event.raw is not None:
            snapshots[row.key, event.digest] = event.raw
        if row.named == row.version and (new := new_names(before, row.facts, event)):
            names.setdefault(row.key, set()).update(new)

    changed = [row for key, row in rows.items() if row.version != loaded.orders[key].version]
    planned = plan_orders(changed, loaded.commands, policies, now)
    orders = [OrderChange(row, loaded.orders[row.shop, row.order_id].version) for row in planned.orders]
    opening = {new.order_key for new in planned.commands.opened}
    applied = [replace(one, opens=True) if one.order.key in opening else one for one in applied]
    applied = _with_lost(applied, planned.lost)
    return BatchDecision(orders, planned.commands, journal, repeats, snapshots, names, applied, planned.results)


def decide_replan(loaded: Loaded, policies: Mapping[str, Policy], now: datetime) -> BatchDecision:
    """Plan every loaded order again. An order that the plan does not change is not written."""
    before = list(loaded.orders.values())
    planned = plan_orders(before, loaded.commands, policies, now)
    changes = [
        OrderChange(after, row.version) for after, row in zip(planned.orders, before, strict=True) if after != row
    ]
    return BatchDecision(changes, planned.commands, results=planned.results)


def _with_lost(applied: list[Applied], lost: AbstractSet[int]) -> list[Applied]:
    """Mark the last event of each lost order: from this event on the order waits for nothing (Invariant.LOST)."""
    last = {one.order.key: number for number, one in enumerate(applied)}
    for key in lost & last.keys():
        one = applied[last[key]]
        applied[last[key]] = replace(one, broken=(*one.broken, Invariant.LOST))
    return applied


def _is_first_read(event: Event, order: OrderRow) -> bool:
    return event.new_facts.newest is not None and order.facts.newest is None


def _with_lost_attempt(event: Event, order: OrderRow, attempted_before: datetime) -> Event:
    """Return the event. If it is the first read of an order that was created before `attempted_before`, it also says
    that the import was attempted: a restored store may have forgotten the order and its import (docs/rules.md 28).
    """
    read = event.new_facts.newest
    if read is None or not _is_first_read(event, order) or read.created_at >= attempted_before:
        return event
    return replace(event, new_facts=join(event.new_facts, LOST_ATTEMPT))


def _repeats_apart(events: Sequence[Event], known: AbstractSet[tuple[str, str]]) -> tuple[list[Event], list[Event]]:
    """Return the events to apply, and the repeats (docs/rules.md 10).

    A repeat has the source and the id of an event that the journal holds already, or that came earlier in this batch.
    """
    seen = set(known)
    fresh: list[Event] = []
    repeats: list[Event] = []
    for event in events:
        identity = (event.source, event.event_id)
        (repeats if identity in seen else fresh).append(event)
        seen.add(identity)
    return fresh, repeats


def _after(row: OrderRow, event: Event, now: datetime) -> tuple[OrderRow, EventResult]:
    """The order after this event, not planned yet, and what the event did.

    A read or an instant that changes neither the state nor what Mirakl shows is no change of the order for a person,
    unless the plan then finds other reasons.
    """
    decision = decide(row.state, row.facts, event)
    newest = decision.facts.newest
    moved, digest = decision.state != row.state, newest.digest if newest else row.digest
    looked = event.trigger in (Trigger.SNAPSHOT, Trigger.CLOCK) and not moved and digest == row.digest
    after = replace(
        row,
        state=decision.state,
        facts=decision.facts,
        version=row.version + 1,
        named=row.version + 1 if row.named == row.version else row.named,  # else older code wrote the row
        digest=digest,
        entered_at=now if moved else row.entered_at,
        updated_at=row.updated_at if looked else now,
    )
    return after, decision.result


# -- Write -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Batch:
    """What one transaction applies. `repeats` are only counted; their orders are not read."""

    events: Sequence[Event] = ()
    dead_letters: Sequence[DeadLetter] = ()
    repeats: Sequence[Sealed] = ()


class OrderWriter:
    """Applies events to orders, each batch in one transaction. Any thread may call."""

    def __init__(
        self,
        store: Store,
        policies: Mapping[str, Policy],
        clock: Clock,
        hooks: Hooks = NO_HOOKS,
        outbox: OutboxTopics | None = None,
    ) -> None:
        """`policies`: the policy of each shop that has none in the store. `outbox` None: nothing is published, because
        the log is the embedded one, which no other process reads."""
        self._store = store
        self._policies = policies if isinstance(policies, StoredPolicies) else StoredPolicies(policies)
        self._clock = clock
        self._hooks = hooks
        self._outbox = outbox

    def apply(
        self, events: Sequence[Event], advances: Iterable[Advance] = (), dead_letters: Sequence[DeadLetter] = ()
    ) -> list[Applied]:
        """Apply a batch as `store` does, and report it to the hooks."""
        applied = self.store(events, advances, dead_letters)
        self.report(applied)
        return applied

    def store(
        self,
        events: Sequence[Event],
        advances: Iterable[Advance] = (),
        dead_letters: Sequence[DeadLetter] = (),
        *,
        lock_seconds: float | None = None,
    ) -> list[Applied]:
        """Apply a batch in one transaction. It also moves the progress rows (`advances`) and stores the dead letters.

        `lock_seconds`: see `Store.transaction`. The caller calls `report` afterwards.

        Raises Fenced if another consumer has moved one of the progress rows, BrokenOrders, EventIdReused and
        StoreUnavailable. Then nothing is stored.
        """
        batch = Batch(events, dead_letters)
        return self.store_batch(lambda _: batch, advances, lock_seconds=lock_seconds)

    def store_batch(
        self, batch_in: Callable[[Transaction], Batch], advances: Iterable[Advance], *, lock_seconds: float | None
    ) -> list[Applied]:
        """As `store`, for the batch that `batch_in` makes inside the transaction, where it can see what is locked."""
        with self._store.transaction(lock_seconds) as tx:
            for advance in advances:
                progress_rows.advance(tx, advance)
            batch = batch_in(tx)
            began = self._clock.monotonic()
            applied = self.apply_in(tx, batch.events)
            journal_rows.count_repeats(tx, batch.repeats)
            self.add_dead_letters(tx, batch.dead_letters)
        seconds = self._clock.monotonic() - began
        return [replace(one, seconds=seconds) for one in applied]

    def apply_in(
        self, tx: Transaction, events: Sequence[Event], locked: Iterable[OrderRow] = (), *, new_ids: bool = False
    ) -> list[Applied]:
        """Apply events in the caller's transaction, which has locked and read the orders in `locked` already.

        `new_ids`: see `load`. The caller calls `report` after the commit."""
        if not events:
            return []
        now = self._clock.now()
        loaded = load(tx, events, now, locked, new_ids=new_ids)
        policies = self._policies.read(tx, {event.shop for event in events})
        decision = decide_batch(events, loaded, policies, now)
        self._write(tx, decision, now)
        return list(decision.applied)

    def report(self, applied: Iterable[Applied]) -> None:
        """Call the hooks for these events. The caller has committed their transaction."""
        for one in applied:
            self._hooks.event_applied(one)

    def replan(self, keys: Sequence[tuple[str, str]]) -> None:
        """Plan these orders (shop and order id) again, because a change of a shop's policy is no event.

        An order that was quarantined goes on, if this version can read and plan it. An order that cannot be planned is
        quarantined. Raises OrdersWait and StoreUnavailable.
        """
        self._quarantine_failing(keys, lambda key: key, self._replan)

    def newest_policies(self, shops: Collection[str]) -> Mapping[str, Policy]:
        """Return the policy of each of these shops, as the store has it now. Raises StoreUnavailable."""
        with self._store.reading() as connection:
            return self._policies.read(connection, shops)

    def _replan(self, keys: Sequence[tuple[str, str]]) -> None:
        with self._store.transaction(SHARED_LOCK_SECONDS) as tx:
            now = self._clock.now()
            orders = order_rows.lock(tx, keys, now, also_quarantined=True)
            loaded = Loaded(orders, commands=command_rows.lock_live(tx, [row.key for row in orders.values()]))
            policies = self._policies.read(tx, {shop for shop, _ in keys})
            self._write(tx, decide_replan(loaded, policies, now), now)
            command_rows.put_back(tx, [row.key for row in orders.values() if row.quarantine is not None], now)

    # -- Orders that cannot be read or planned -------------------------------------------------------------------

    def apply_alone(self, events: Sequence[Event]) -> None:
        """Apply events that come from no log: in one transaction, or in several if that raises anything. An order that
        causes an error is quarantined, and the others are applied. Raises OrdersWait, StoreUnavailable and Fenced."""

        def apply(some: Sequence[Event]) -> None:
            self.report(self.store(some, lock_seconds=SHARED_LOCK_SECONDS))

        self._quarantine_failing(events, lambda event: (event.shop, event.order_id), apply)

    def keep(self, events: Sequence[Event], dead_letters: Sequence[DeadLetter]) -> None:
        """Store dead letters, with the events that add them to their orders' facts. Raises StoreUnavailable.

        If one of these orders cannot be read or planned, it is quarantined, and the dead letters are stored alone."""
        try:
            self.apply(events, dead_letters=dead_letters)
        except BrokenOrders as error:
            self.quarantine(error.orders)
            self.store_dead_letters(dead_letters)

    def quarantine(self, orders: Mapping[tuple[str, str], str]) -> None:
        """Take these orders out of every loop, until `replan` can plan them (docs/rules.md 36).

        `orders`: the kind of the error, by shop and order id.
        """
        with self._store.transaction() as tx:
            done = quarantine(tx, orders, self._clock.now())
        for shop, order_id in done:
            log.error("order_quarantined", shop=shop, order_id=order_id, error=orders[shop, order_id])

    def broken_of(self, keys: Iterable[tuple[str, str]]) -> dict[tuple[str, str], str]:
        """Return which of these orders cannot be read or planned as they are stored, with the kind of the error."""
        found: dict[tuple[str, str], str] = {}
        for key in keys:
            try:
                with self._store.transaction() as tx:
                    row = order_rows.lock(tx, [key], self._clock.now())[key]
                    plan_of(row, self._policies.get(row.shop, Policy()))
            except BrokenOrders as error:
                found |= error.orders
        return found

    def _quarantine_failing(
        self,
        items: Sequence[T],
        key_of: Callable[[T], tuple[str, str]],
        act: Callable[[Sequence[T]], None],
    ) -> None:
        """Call `act` with all items. If it raises because of an order, this order is quarantined, and the others go on.

        If the error names no order, the items are halved until the item that causes it is alone. An order that another
        transaction holds locked is left out, and named by OrdersWait, which is raised when all others are done.
        """

        def act_on_sound_ones(some: Sequence[T]) -> list[None]:
            left = list(some)
            while left:
                try:
                    act(left)
                except BrokenOrders as error:
                    self.quarantine(error.orders)
                    sound = [item for item in left if key_of(item) not in error.orders]
                    if len(sound) == len(left):  # never happens: the error names only orders of these items
                        raise
                    left = sound
                else:
                    break
            return [None] * len(some)

        waiting = set()
        for item, error in zip(items, halved(items, act_on_sound_ones, self._store), strict=True):
            if isinstance(error, StoreUnavailable):
                waiting.add(key_of(item))
            elif error is not None:
                self.quarantine({key_of(item): type(error).__name__})
        if waiting:
            raise OrdersWait(waiting)

    def store_dead_letters(self, dead_letters: Sequence[DeadLetter]) -> None:
        """Store dead letters that do not come from the consumer. Raises StoreUnavailable."""
        with self._store.transaction() as tx:
            self.add_dead_letters(tx, dead_letters)

    def add_dead_letters(self, tx: Transaction, dead_letters: Sequence[DeadLetter]) -> None:
        """Store and publish dead letters in the caller's transaction."""
        now = self._clock.now()
        dead_letter_rows.add(tx, dead_letters, now)
        if self._outbox is not None:
            records = [_dead_letter(self._outbox.dead_letters, one) for one in dead_letters]
            outbox_rows.add(tx, [OutboxRow(DEAD_LETTER_TYPE, record) for record in records], now)

    def _write(self, tx: Transaction, decision: BatchDecision, now: datetime) -> None:
        command_rows.mark_obsolete(tx, decision.commands.obsolete)
        command_rows.revive(tx, decision.commands.revived)
        command_rows.open_due(tx, decision.commands.opened, now)
        order_rows.save(tx, decision.orders)
        journal_rows.add(tx, decision.journal)
        self._publish_transitions(tx, decision, now)
        journal_rows.count_repeats(tx, decision.repeats)  # after the journal: an event of this batch may be repeated
        snapshot_rows.add(tx, decision.snapshots, now)
        name_rows.add(tx, decision.names)
        objective_rows.add(tx, decision.results)

    def _publish_transitions(self, tx: Transaction, decision: BatchDecision, now: datetime) -> None:
        """Write each change of state to the outbox. The id of the published event is that of its row in the journal."""
        if self._outbox is None:
            return
        moved = [row for row in decision.journal if row.moved]
        orders = {change.row.key: change.row for change in decision.orders}
        ids = journal_rows.ids(tx, moved)
        records = [
            _transition(self._outbox.transitions, ids[row.order_key, row.version], row, orders[row.order_key], now)
            for row in moved
        ]
        outbox_rows.add(tx, [OutboxRow(TRANSITION_TYPE, record) for record in records], now)


def _transition(topic: str, journal_id: int, row: JournalRow, order: OrderRow, now: datetime) -> NewRecord:
    return transition_record(
        topic,
        journal_id,
        row.event,
        before=row.before,
        after=row.after,
        version=row.version,
        attention=list(dict.fromkeys(one.reason for one in order.attention)),
        at=now,
    )


def _dead_letter(topic: str, one: DeadLetter) -> NewRecord:
    return dead_letter_record(
        topic,
        key=one.key,
        value=one.value,
        headers=one.headers,
        source=one.source,
        place=one.place,
        reason=one.reason,
        detail=one.detail,
    )
