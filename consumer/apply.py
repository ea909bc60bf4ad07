"""The only writer of orders: merge what events say, decide, and plan the calls that are due, in one transaction.

Everybody comes through here: the consumer with a batch, the worker with a claim or a result, a person with an act.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Final

from adapters.ports import Clock
from adapters.store.transaction import DeadLetter, JournalRow, Move, OrderRow, Store, Transaction
from consumer.hooks import NO_HOOKS, Applied, Hooks
from consumer.outbox import Outbox
from statemachine.attention import Concern
from statemachine.commands import Policy
from statemachine.events import Event
from statemachine.machine import VERSION, decide
from statemachine.plan import plan, read_after

#: How an event that the journal holds already is counted.
REPEATED: Final = "repeated"

#: Commands are retried until this long after the order's deadline, or after they became due where it has none.
GIVE_UP_AFTER: Final = timedelta(hours=72)


class OrderWriter:
    """Apply, bound to a store and to what each shop wants decided."""

    def __init__(
        self,
        store: Store,
        policies: Mapping[str, Policy],
        clock: Clock,
        hooks: Hooks = NO_HOOKS,
        outbox: Outbox | None = None,
    ) -> None:
        """`outbox` None: nobody but this process can read the log, so nothing is told there."""
        self.store = store
        self.policies = policies
        self.clock = clock
        self._hooks = hooks
        self._outbox = outbox

    def apply(
        self, events: Sequence[Event], moves: Iterable[Move] = (), letters: Sequence[DeadLetter] = ()
    ) -> list[Applied]:
        """Apply a batch whole or not at all, with the consumer's step over the log and its dead letters.

        Raises Fenced where another consumer has made that step, StoreUnavailable where nothing was kept.
        """
        with self.store.transaction() as tx:
            for move in moves:
                tx.advance(move)
            applied = self.apply_in(tx, events)
            self._set_aside(tx, letters)
        self.report(applied)
        return applied

    def set_aside(self, letters: Sequence[DeadLetter]) -> None:
        """Keep what cannot be used and came by no consumer. Raises StoreUnavailable."""
        with self.store.transaction() as tx:
            self._set_aside(tx, letters)

    def _set_aside(self, tx: Transaction, letters: Sequence[DeadLetter]) -> None:
        now = self.clock.now()
        tx.set_aside(letters, now)
        if self._outbox is not None:
            tx.add_outbox([self._outbox.letter(letter) for letter in letters], now)

    def report(self, applied: Iterable[Applied]) -> None:
        """Call the hooks, after the commit and only then."""
        for one in applied:
            self._hooks.event_applied(one)

    def apply_in(self, tx: Transaction, events: Sequence[Event]) -> list[Applied]:
        """Apply inside a transaction of the caller's; the caller calls `report` once it is committed."""
        if not events:
            return []
        now = self.clock.now()
        locked = tx.lock_orders({(event.shop, event.order_id) for event in events}, now)
        fresh, repeats = _repeats_apart(events, tx.known_events(events))

        rows = dict(locked)
        journal: list[JournalRow] = []
        applied = [Applied(e, rows[e.shop, e.order_id], REPEATED, rows[e.shop, e.order_id].state, 0) for e in repeats]
        bodies: dict[tuple[int, str], bytes] = {}
        for event in fresh:
            before = rows[event.shop, event.order_id]
            row, result = _after(before, event, now)
            rows[event.shop, event.order_id] = row
            journal.append(JournalRow(row.key, row.version, event, result, before.state, row.state, VERSION))
            applied.append(Applied(event, row, result, before.state, (now - before.entered_at).total_seconds()))
            if event.raw is not None:
                bodies[row.key, event.content] = event.raw

        changed = [row for key, row in rows.items() if row.version != locked[key].version]
        planned = self._plan(tx, changed, now)
        tx.save_orders([(row, locked[row.shop, row.order_id].version) for row in planned])
        tx.add_journal(journal, now)
        self._announce(tx, [row for row in journal if row.moved], planned, now)
        tx.count_repeats(repeats)  # after the journal: the first may be of this very batch
        tx.add_snapshots(bodies, now)
        return applied

    def _announce(
        self, tx: Transaction, moved: Sequence[JournalRow], planned: Sequence[OrderRow], now: datetime
    ) -> None:
        """Have each change of state published, in the transaction that made it."""
        if self._outbox is None:
            return
        attention = {row.key: row.attention for row in planned}
        ids = tx.journal_ids(moved)
        tx.add_outbox(
            [
                self._outbox.transition(ids[row.order_key, row.version], row, attention[row.order_key], now)
                for row in moved
            ],
            now,
        )

    def replan(self, keys: Sequence[tuple[str, str]]) -> None:
        """Plan the calls of these orders anew: a changed policy is no event."""
        with self.store.transaction() as tx:
            now = self.clock.now()
            rows = list(tx.lock_orders(keys, now).values())
            planned = zip(rows, self._plan(tx, rows, now), strict=True)
            tx.save_orders([(after, row.version) for row, after in planned if after != row])

    def _plan(self, tx: Transaction, rows: Sequence[OrderRow], now: datetime) -> list[OrderRow]:
        """Open what is due, drop what no longer is, and mark who needs attention (docs/rules.md 21)."""
        live: dict[int, list[tuple[int, tuple[str, str, int], str, bool]]] = {}
        for command in tx.live_commands([row.key for row in rows]):
            live.setdefault(command.order_key, []).append((command.id, command.key, command.state, command.unwanted))
        opened, dropped, wanted_again, planned = [], [], [], []
        for row in rows:
            policy = self.policies.get(row.shop, Policy())
            wanted = plan(row.facts, policy)
            lost = wanted.state != row.state  # no row of the table leads to what the facts are
            needed = {} if lost else {command.key: command for command in wanted.due}
            mine = live.get(row.key, [])
            dropped += [id_ for id_, key, _, unwanted in mine if key not in needed and not unwanted]
            wanted_again += [id_ for id_, key, _, unwanted in mine if key in needed and unwanted]
            have = {key for _, key, _, _ in mine}
            deadline = max(now, row.facts.snapshot.ship_by if row.facts.snapshot else now)
            opened += [
                (row.key, command, deadline + GIVE_UP_AFTER) for key, command in needed.items() if key not in have
            ]
            found = list(wanted.concerns)
            if lost:
                found.append(Concern("no_edge", f"{row.state}->{wanted.state}"))
            planned.append(replace(row, attention=_attention(row, found, now), read_after=read_after(row.facts)))
        tx.mark_obsolete(dropped)
        tx.revive(wanted_again)
        tx.open_commands(opened, now)
        return planned


def _repeats_apart(events: Sequence[Event], known: set[tuple[str, str]]) -> tuple[list[Event], list[Event]]:
    """Events to apply, and repeats of known ones or of others in the same batch (docs/rules.md 10)."""
    seen = set(known)
    fresh: list[Event] = []
    repeats: list[Event] = []
    for event in events:
        identity = (event.source, event.event_id)
        (repeats if identity in seen else fresh).append(event)
        seen.add(identity)
    return fresh, repeats


def _after(row: OrderRow, event: Event, now: datetime) -> tuple[OrderRow, str]:
    decision = decide(row.state, row.facts, event)
    newest = decision.facts.newest
    moved = decision.state != row.state
    after = replace(
        row,
        state=decision.state,
        facts=decision.facts,
        version=row.version + 1,
        content=newest.content if newest else row.content,
        entered_at=now if moved else row.entered_at,
        updated_at=now,
    )
    return after, decision.result


def _attention(row: OrderRow, found: Iterable[Concern], now: datetime) -> tuple[tuple[str, str, datetime], ...]:
    """Each concern with the moment since which it stands."""
    since = {(reason, detail): when for reason, detail, when in row.attention}
    return tuple((c.reason, c.detail, since.get((c.reason, c.detail), now)) for c in found)
