"""The worker: claims a command, makes its call, stores the result. No transaction is open while a remote is called.

A claim adds the fact that the call was attempted, and a result is an event like any other; OrderWriter applies both. So
the answer to a call is kept as a fact even if the lease was lost meanwhile. Only a change of the command's row needs
the lease.
"""

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Final

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
from adapters.store.commands import LEASE
from adapters.store.orders import OrderRow
from adapters.store.transaction import Store
from consumer.applying.apply import OrderWriter
from consumer.calling import budget
from consumer.calling.accounts import Accounts
from consumer.calling.budget import BudgetSpent, Shop
from consumer.calling.claims import Claims
from consumer.calling.faults import account_failed, judged
from consumer.calling.imports import READ_AGAIN_SECONDS, Outgoing, ReadsBusy, next_try_at, outgoing
from consumer.calling.last_looks import LastLook, LastLooks, LeaseLost, OrderHeld
from consumer.calling.resting import Resting
from consumer.calling.results import Results
from consumer.calling.together import Together
from consumer.calling.tries import (
    Claim,
    answer_facts,
    as_remote_error,
    doubt_events,
    duplicate_is_ours,
    maybe_sent_before,
    not_called,
    operation_of,
    requeued,
    settled,
)
from consumer.hooks import NO_HOOKS, Hooks
from consumer.retry import Backoff, TryResult, after_failure
from statemachine.attention.attention import ALREADY_THERE
from statemachine.commands import CommandKind, CommandState, Policy
from statemachine.facts import EPOCH, Answer, Facts
from statemachine.failures import GiveUp, Rejection
from statemachine.questions.readings import answers_of_lines, tracking_held
from statemachine.questions.trackings import best_tracking
from statemachine.questions.troubles import MESSAGES

log = structlog.get_logger("orderflow.worker")


#: The most claims, and the most last looks, of one transaction.
BATCH: Final = 64
#: When a call is claimed again whose last look the store did not make, for example because its order was locked.
LOOK_AGAIN_SECONDS: Final = 1.0


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
        command belongs to its worker. `calls_per_account`: how many calls to one account all workers make at a time.
        `jitter`: see bootstrap.new_worker, which makes the worker."""
        self._orders = orders
        self.shops = shops
        self._policies = policies
        self._clock = clock
        self._grace = grace
        self._backoff = backoff
        self._lease = lease
        self._hooks = hooks
        self._jitter = jitter
        self.accounts = Accounts(shops, clock, most_reads=max(1, calls_per_account // 2))
        self.claims = Claims(
            store,
            orders,
            shops,
            policies,
            clock,
            accounts=self.accounts,
            lease=lease,
            per_account=calls_per_account,
        )
        self._claims = Together(self._claim, BATCH)
        last_looks = LastLooks(store, orders, shops, clock, lease)
        self._last_looks = Together(last_looks.look, BATCH)
        self._wait_and_look = last_looks.wait_and_look
        self._results = Results(store, orders, clock, hooks)
        self._resting = Resting(store, orders, self.accounts, clock)

    def turn(self) -> bool:
        """Make one call that is due and store its result. Returns False if none is due that may be called now.

        Raises StoreUnavailable. A result that could not be stored is kept, and stored before the next claim. An order
        that cannot be read or planned, or whose result the store refuses, is quarantined (docs/rules.md 36).
        """
        try:
            return self._turn()
        except BrokenOrders as error:
            self._orders.quarantine(error.orders)
            return True

    def _turn(self) -> bool:
        self._results.store_kept()
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
        except ReadsBusy:
            self.not_called(claim, after_seconds=READ_AGAIN_SECONDS)
        except BrokenOrders:
            raise
        except StoreUnavailable:  # at the last look, so no call was made; else the lease would hold the order
            self.not_called(claim, after_seconds=LOOK_AGAIN_SECONDS)
            raise
        except Exception as error:
            self.failed(claim, as_remote_error(claim, error))
        else:
            self.succeeded(claim, made)
        return True

    def rests(self, longest: float) -> float:
        """Return for how many seconds a thread rests that has nothing to do: `longest`, or less if it is the one that
        comes back for the results that wait for a lock."""
        return self._results.rests(longest)

    def _policy(self, order: OrderRow) -> Policy:
        return self._policies.get(order.shop, Policy())

    # -- claim ---------------------------------------------------------------------------------------------------

    def claim(self) -> Claim | None:
        """Claim the next command. None if no command is due that may be called now."""
        return self._claims.do(None)

    def _claim(self, asked: Sequence[None]) -> list[Claim | None]:
        """Claim for each thread that asks, as far as commands are due."""
        found = self.claims.claim(len(asked))
        return [*found, *[None] * (len(asked) - len(found))]

    # -- call ----------------------------------------------------------------------------------------------------

    def call(self, claim: Claim) -> tuple[OmsOrder, ...]:
        """Make the call of this command. For an import, returns the orders that the OMS created, else nothing.

        Raises RemoteError, Unimportable, Unreadable, ConfigError, ReadsBusy, LeaseLost, BudgetSpent,
        StoreUnavailable.
        """
        shop, order_id = self.shops[claim.order.shop], claim.order.order_id
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
                has_number = bool(tracking_held(facts).number)
                if not has_number and snapshot.shipping_type in shop.mirakl.mandatory_tracking():
                    words = "this shipping method requires a tracking number (SH12), and Mirakl took none from the OMS"
                    raise Rejected(CommandKind.CONFIRM.operation, NOT_SENT, code="TRACKING_MANDATORY", words=words)
                self._about_to_send(claim)
                shop.mirakl.confirm_shipment(order_id)
        return ()

    def _about_to_send(self, claim: Claim, sending: Outgoing | None = None) -> None:
        """Check just before the call that it may still be made, and renew the lease. Raises LeaseLost, BudgetSpent,
        StoreUnavailable."""
        look = LastLook(claim, sending)
        try:
            self._last_looks.do(look)
        except OrderHeld:
            self._wait_and_look(look)

    # -- settle --------------------------------------------------------------------------------------------------

    def succeeded(self, claim: Claim, made: tuple[OmsOrder, ...]) -> None:
        """Store the result of a call that the remote confirmed."""
        self.accounts.answered(claim.account, claim.command.kind.operation)
        self._done(claim, made, TryResult.DONE)

    def failed(self, claim: Claim, error: RemoteError) -> None:
        """Settle the command of a call that failed, or try it again later, as the retry rule says."""
        command, now = claim.command, self._clock.now()
        error, refused = judged(self.accounts, claim, error)
        verdict = after_failure(
            error,
            attempts=command.attempts,
            duplicate_is_ours=duplicate_is_ours(claim, self.shops[claim.order.shop].oms.left_out),
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
                maybe_there = maybe_sent_before(claim)
                rejection = Rejection(*key, command.basis, now, code, error.words, maybe_there=maybe_there)
                ending = settled(
                    claim, Facts(rejections=(rejection,)), verdict.result, CommandState.REJECTED, now=now, error=error
                )
                self._results.store(ending)
            case TryResult.GAVE_UP:
                given_up = Facts(given_up=(GiveUp(*key, error.words),))
                ending = settled(claim, given_up, verdict.result, CommandState.GAVE_UP, now=now, error=error)
                self._results.store(ending)
            case _:
                self._results.store(replace(requeued(claim, verdict, error, now), doubts=doubt_events(refused, now)))

    def not_called(self, claim: Claim, *, after_seconds: float = 0) -> None:
        """Store that no call was made: the check before it failed, the budget is spent, or too many reads run.

        The command is due again after so many seconds."""
        self._results.store(not_called(claim, self._clock.now() + timedelta(seconds=after_seconds)))

    def _done(self, claim: Claim, made: tuple[OmsOrder, ...], result: TryResult) -> None:
        command, now = claim.command, self._clock.now()
        is_repeat = result is TryResult.ALREADY_DONE
        before = max((one.at for one in claim.order.facts.handovers if is_repeat), default=EPOCH)
        answer = Answer(command.kind, command.carries, command.round, now, now + self._grace, before)
        self._results.store(settled(claim, answer_facts(made, answer), result, CommandState.DONE, now=now))
