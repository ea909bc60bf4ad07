"""The worker: claims a command, makes its call, stores the result. No transaction is open while a remote is called.

A claim adds the fact that the call was attempted, and a result is an event like any other; OrderWriter applies both. So
the answer to a call is kept as a fact even if the lease was lost meanwhile. Only a change of the command's row needs
the lease.
"""

import random
import threading
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import timedelta

import structlog

from adapters.errors import (
    NOT_SENT,
    BrokenOrders,
    Duplicate,
    Rejected,
    RemoteError,
    StoreUnavailable,
)
from adapters.ports import Clock, OmsOrder
from adapters.store import commands as command_rows
from adapters.store import orders as order_rows
from adapters.store.commands import LEASE
from adapters.store.orders import OrderRow
from adapters.store.transaction import Store
from consumer import budget
from consumer.accounts import Accounts
from consumer.apply import OrderWriter, broken
from consumer.budget import BudgetSpent, Shop
from consumer.claims import Claims
from consumer.faults import account_failed, judged
from consumer.hooks import NO_HOOKS, Hooks
from consumer.imports import Outgoing, next_try_at, outgoing
from consumer.resting import Resting
from consumer.retry import Backoff, TryResult, after_failure
from consumer.tries import (
    Claim,
    Ending,
    as_remote_error,
    doubt_events,
    handover_events,
    import_facts,
    log_failure,
    log_not_stored,
    operation_of,
    recovery_events,
    requeued,
    settled,
)
from statemachine.attention import ALREADY_THERE
from statemachine.commands import CommandKind, CommandState, Policy
from statemachine.facts import RESTORED, Answer, Attempt, Facts, GiveUp, Rejection
from statemachine.readings import answers_of_lines, best_tracking, tracking_held
from statemachine.troubles import MESSAGES

log = structlog.get_logger("orderflow.worker")


class LeaseLost(Exception):
    """The check just before the call failed: the lease is lost or ran out, or the command is not needed any more."""


class Worker:
    """Makes the calls that are due. Any number of threads may call `turn`.

    `turn` is `claim`, `call`, and then one of `succeeded`, `failed` and `not_called`.
    """

    def __init__(
        self,
        store: Store,
        orders: OrderWriter,
        shops: Mapping[str, Shop],
        policies: Mapping[str, Policy],
        clock: Clock,
        *,
        grace: timedelta,
        backoff: Backoff,
        lease: timedelta = LEASE,
        calls_per_account: int = 16,
        hooks: Hooks = NO_HOOKS,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        """`grace`: how long Mirakl may take to show a change that it confirmed with 204. `lease`: how long a claimed
        command belongs to its worker. `calls_per_account`: how many calls to one account all workers make at a time."""
        self._store = store
        self._orders = orders
        self._shops = shops
        self._policies = policies
        self._clock = clock
        self._grace = grace
        self._backoff = backoff
        self._lease = lease
        self._hooks = hooks
        self._jitter = jitter
        self._lock = threading.Lock()
        self._claiming = threading.Lock()
        self._unstored: deque[Ending] = deque()  # at most one for each thread
        self.accounts = Accounts(shops, clock)
        self._claims = Claims(
            store,
            orders,
            shops,
            policies,
            clock,
            accounts=self.accounts,
            lease=lease,
            per_account=calls_per_account,
        )
        self._resting = Resting(store, orders, self.accounts, clock)

    def turn(self) -> bool:
        """Make one call that is due and store its result. Returns False if none is due.

        Raises StoreUnavailable. A result that could not be stored is kept, and stored before the next claim. An order
        that cannot be read or planned, or whose result the store refuses, is quarantined (docs/rules.md 36).
        """
        try:
            return self._turn()
        except BrokenOrders as error:
            self._orders.quarantine(error.orders)
            return True

    def _turn(self) -> bool:
        self._store_kept()
        self._resting.turn()
        claim = self.claim()
        if claim is None:
            return False
        try:
            made = self.call(claim)
        except LeaseLost:
            self.not_called(claim)
        except BudgetSpent as spent:
            budget.pause_spent(self.accounts, spent.account, spent.ends_at)
            self.not_called(claim)
        except (StoreUnavailable, BrokenOrders):
            raise
        except Exception as error:
            self.failed(claim, as_remote_error(claim, error))
        else:
            self.succeeded(claim, made)
        return True

    def _policy(self, order: OrderRow) -> Policy:
        return self._policies.get(order.shop, Policy())

    # -- claim ---------------------------------------------------------------------------------------------------

    def claim(self) -> Claim | None:
        """Claim the next command. None if none is due."""
        with self._claiming:
            return next(iter(self._claims.claim(1)), None)

    # -- call ----------------------------------------------------------------------------------------------------

    def call(self, claim: Claim) -> tuple[OmsOrder, ...]:
        """Make the call of this command. For an import, returns the orders that the OMS created, else nothing.

        Raises RemoteError, Unimportable, Unreadable, ConfigError, LeaseLost, BudgetSpent, StoreUnavailable.
        """
        shop, order_id = self._shops[claim.order.shop], claim.order.order_id
        facts, snapshot = claim.order.facts, claim.order.facts.snapshot
        if snapshot is None:
            raise LeaseLost
        match claim.command.kind:
            case CommandKind.ACCEPT:
                self._about_to_send(claim)
                shop.mirakl.accept(order_id, answers_of_lines(claim.command.carries, snapshot.lines))
            case CommandKind.IMPORT:
                policy = self._policy(claim.order)
                sending = outgoing(
                    claim,
                    snapshot,
                    shop.mirakl,
                    shop.oms,
                    accounts=self.accounts,
                    policy=policy,
                    now=self._clock.now(),
                )
                self._about_to_send(claim, sending)
                return shop.oms.import_order(sending.payload)
            case CommandKind.TRACK:
                catalog = shop.mirakl.catalog()
                self._about_to_send(claim)
                shop.mirakl.send_tracking(order_id, best_tracking(facts), catalog)
            case CommandKind.CONFIRM:
                mandatory = snapshot.shipping_type in shop.mirakl.catalog().mandatory_tracking
                if mandatory and not tracking_held(facts).number:
                    words = "this shipping method requires a tracking number (SH12), and Mirakl took none from the OMS"
                    raise Rejected(CommandKind.CONFIRM.operation, NOT_SENT, code="TRACKING_MANDATORY", words=words)
                self._about_to_send(claim)
                shop.mirakl.confirm_shipment(order_id)
        return ()

    def _about_to_send(self, claim: Claim, sending: Outgoing | None = None) -> None:
        """Check just before the call that it may still be made (docs/rules.md 18), and renew the lease.

        For an import, store also the payload, and the fact of what the payload contains. The call is taken from the
        budget here, and not at the claim: a call that a read before it stopped costs nothing. Raises LeaseLost,
        BudgetSpent.
        """
        now, payload = self._clock.now(), sending.payload if sending else None
        with self._store.transaction() as tx:
            order_rows.lock_by_keys(tx, [claim.order.key])  # before the command
            if not command_rows.mark_sending(
                tx, claim.command.id, claim.token, now, payload=payload, lease=self._lease
            ):
                raise LeaseLost
            budget.spend(tx, self._shops[claim.order.shop], claim.account.remote, now)
            events = handover_events(claim, payload, sending.notes if sending else (), now)
            if sending and sending.messages_read:
                events += recovery_events(claim, MESSAGES, now)
            applied = self._orders.apply_in(tx, events)
        self._orders.report(applied)

    # -- settle --------------------------------------------------------------------------------------------------

    def succeeded(self, claim: Claim, made: tuple[OmsOrder, ...]) -> None:
        """Store the result of a call that the remote confirmed."""
        self.accounts.answered(claim.account, claim.command.kind.operation)
        self._done(claim, made, TryResult.DONE)

    def failed(self, claim: Claim, error: RemoteError) -> None:
        """Settle the command of a call that failed, or try it again later, as the retry rule says."""
        command, now = claim.command, self._clock.now()
        error, refused = judged(self.accounts, claim, error)
        maybe_sent = command.maybe_sent or Attempt(command.kind, RESTORED) in claim.order.facts.attempts
        verdict = after_failure(
            error,
            attempts=command.attempts,
            maybe_sent_before=maybe_sent,
            give_up_at=command.give_up_at,
            now=now,
            backoff=self._backoff,
            jitter=self._jitter(),
        )
        if verdict.next_at is not None and operation_of(claim, error) == MESSAGES:
            policy, longest = self._policy(claim.order), timedelta(seconds=self._backoff.longest_seconds)
            verdict = replace(verdict, next_at=next_try_at(claim, verdict.next_at, policy, now, longest))
        account_failed(self.accounts, claim, verdict, error)
        key = (command.kind, command.carries, command.round)
        match verdict.result:
            case TryResult.ALREADY_DONE:
                self._done(claim, (), TryResult.ALREADY_DONE)
            case TryResult.REJECTED:
                code = ALREADY_THERE if isinstance(error, Duplicate) else error.code
                rejection = Rejection(*key, command.basis, now, code, error.words, maybe_there=maybe_sent)
                ending = settled(
                    claim, Facts(rejections=(rejection,)), verdict.result, CommandState.REJECTED, now=now, error=error
                )
                self._store_ending(ending)
            case TryResult.GAVE_UP:
                given_up = Facts(given_up=(GiveUp(*key, error.words),))
                ending = settled(claim, given_up, verdict.result, CommandState.GAVE_UP, now=now, error=error)
                self._store_ending(ending)
            case _:
                self._store_ending(replace(requeued(claim, verdict, error, now), doubts=doubt_events(refused, now)))

    def not_called(self, claim: Claim) -> None:
        """Store that the check before the call failed, or that the budget is spent, so that no call was made.

        The command is opened again, unless another worker has leased it.
        """
        command = claim.command
        with self._store.transaction() as tx:
            command_rows.requeue(
                tx,
                command.id,
                claim.token,
                TryResult.OBSOLETE,
                self._clock.now(),
                maybe_sent=command.maybe_sent,
                attempt_counts=False,
            )
        self._report(claim, TryResult.OBSOLETE, None)

    def _done(self, claim: Claim, made: tuple[OmsOrder, ...], result: TryResult) -> None:
        command, now = claim.command, self._clock.now()
        answer = Answer(command.kind, command.carries, command.round, now, now + self._grace)
        self._store_ending(settled(claim, import_facts(made, answer), result, CommandState.DONE, now=now))

    def _store_ending(self, ending: Ending) -> None:
        try:
            with self._store.transaction() as tx:
                applied = self._orders.apply_in(tx, [ending.event, *ending.doubts])
                ending.release(tx)
        except StoreUnavailable:
            with self._lock:
                self._unstored.append(ending)
            raise
        except Exception as error:  # the store refuses what this result says: tried again, it would stop every thread
            log_not_stored(ending, error)
            raise broken(ending.claim.order, error) from error
        self._orders.report(applied)
        self._report(ending.claim, ending.result, ending.error)

    def _store_kept(self) -> None:
        """Store the results that came while the store was unavailable.

        If the failed transaction was committed after all, the event is a repeat, and changes nothing.
        """
        while True:
            with self._lock:
                if not self._unstored:
                    return
                ending = self._unstored.popleft()
            self._store_ending(ending)

    def _report(self, claim: Claim, result: TryResult, error: RemoteError | None) -> None:
        self._hooks.command_tried(claim.command.kind, result)
        if result not in (TryResult.DONE, TryResult.ALREADY_DONE, TryResult.OBSOLETE):
            log_failure(claim, result, error.outcome if error else "")
