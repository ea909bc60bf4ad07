"""Last looks: checks just before calls that they may still be made (docs/rules.md 18), many in one transaction."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial

from adapters.errors import BrokenOrders, Cause, StoreUnavailable
from adapters.ports import Clock
from adapters.store import commands as command_rows
from adapters.store import orders as order_rows
from adapters.store.commands import Sending
from adapters.store.engine import SHARED_LOCK_SECONDS
from adapters.store.transaction import Store, Transaction
from consumer.applying.apply import OrderWriter
from consumer.applying.halving import halved
from consumer.calling import budget
from consumer.calling.accounts import AccountKey
from consumer.calling.budget import BudgetSpent, Shop
from consumer.calling.imports import Outgoing
from consumer.calling.tries import Claim, handover_events, recovery_events
from statemachine.events import Event
from statemachine.questions.troubles import MESSAGES


class LeaseLost(Exception):
    """The check just before the call failed: the lease is lost or ran out, or the command is not needed any more."""


class OrderHeld(StoreUnavailable):
    """Another transaction holds the order locked. Nothing was stored, and nothing waited."""

    def __init__(self) -> None:
        super().__init__("the order is locked", Cause.LOCKED)


@dataclass(frozen=True, slots=True)
class LastLook:
    """A call that is about to be made. `outgoing`: what an import sends."""

    claim: Claim
    outgoing: Outgoing | None = None

    @property
    def payload(self) -> bytes | None:
        return self.outgoing.payload if self.outgoing else None


class LastLooks:
    """Makes last looks: renews each lease, stores the payload of an import and the fact of what it contains, and takes
    the call from the budget.

    The budget is not charged at the claim: a read between claim and call may fail, and then no call is made.
    """

    def __init__(
        self, store: Store, orders: OrderWriter, shops: Mapping[str, Shop], clock: Clock, lease: timedelta
    ) -> None:
        self._store = store
        self._orders = orders
        self._shops = shops
        self._clock = clock
        self._lease = lease

    def look(self, looks: Sequence[LastLook]) -> list[Exception | None]:
        """Return for each call None, or why it must not be made: LeaseLost, BudgetSpent, OrderHeld, or the error that
        storing this look alone raises. Raises StoreUnavailable."""
        return halved(looks, self._look, self._store)

    def wait_and_look(self, one: LastLook) -> None:
        """Look once more after OrderHeld, and wait SHARED_LOCK_SECONDS for the lock: most are held for the time of a
        batch. The thread that calls waits alone. Raises LeaseLost, BudgetSpent, BrokenOrders, StoreUnavailable."""
        (error,) = halved([one], partial(self._look, waits=True), self._store)
        if error is not None:
            raise error

    def _look(self, looks: Sequence[LastLook], *, waits: bool = False) -> list[Exception | None]:
        now = self._clock.now()
        with self._store.transaction(SHARED_LOCK_SECONDS) as tx:
            keys = {one.claim.order.key for one in looks}
            found = order_rows.lock_only(tx, keys, skip_locked=not waits)  # before the commands
            mine = [one for one in looks if waits or one.claim.order.key in found]
            _refuse_quarantined(mine, found)
            sending = [Sending(one.claim.command.id, one.claim.token, one.payload) for one in mine]
            held = command_rows.held(tx, sending, now)
            spent = self._spend(tx, [one for one in mine if one.claim.command.id in held], now)
            sent = [one for one in sending if one.command_id in held and one.command_id not in spent]
            marked = command_rows.mark_sending(tx, sent, now, lease=self._lease)
            events = [event for one in mine if one.claim.command.id in marked for event in _events(one, now)]
            applied = self._orders.apply_in(tx, events)
        self._orders.report(applied)
        outcomes: dict[int, Exception | None] = {one.claim.command.id: LeaseLost() for one in mine}
        outcomes |= spent | dict.fromkeys(marked)
        return [outcomes.get(one.claim.command.id, OrderHeld()) for one in looks]

    def _spend(self, tx: Transaction, looks: Sequence[LastLook], now: datetime) -> dict[int, BudgetSpent]:
        """Take these calls from the budgets. Returns the calls that had none left, by the id of their command."""
        by_account: dict[AccountKey, list[LastLook]] = {}
        for one in looks:
            by_account.setdefault(one.claim.account, []).append(one)
        found: dict[int, BudgetSpent] = {}
        # In the order of the rows' names, so that two workers do not wait for each other.
        for account in sorted(by_account, key=lambda key: str(self._shops[key.shop].company_ref_id)):
            calls = by_account[account]
            left, ends_at = budget.spend(tx, self._shops[account.shop], account.remote, len(calls), now)
            if ends_at is not None:
                found |= {one.claim.command.id: BudgetSpent(account, ends_at) for one in calls[left:]}
        return found


def _refuse_quarantined(looks: Sequence[LastLook], found: Mapping[int, str | None]) -> None:
    """Raise BrokenOrders if one of these orders is quarantined, as `order_rows.lock_only` found them."""
    orders = {(order := one.claim.order).key: (order.shop, order.order_id) for one in looks}
    if quarantined := {orders[key]: kind for key, kind in found.items() if kind is not None}:
        raise BrokenOrders(quarantined)


def _events(one: LastLook, now: datetime) -> list[Event]:
    if one.outgoing is None:
        return []
    events = handover_events(one.claim, one.outgoing.payload, one.outgoing.notes, one.outgoing.left_out, now)
    if one.outgoing.messages_read:
        events += recovery_events(one.claim, MESSAGES, now)
    return events
