"""Commands to calls: claim, call, settle. No transaction is open while a remote is called.

A claim is an apply that leaves the fact *attempted*; a result is an event like any other, so that the answer of a
lease that was lost is still a fact. Only the command's row is fenced by the lease's token.
"""

import random
import threading
import traceback
import uuid
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Final

import structlog

from adapters.errors import (
    AccountFault,
    ConfigError,
    Duplicate,
    OutcomeUnknown,
    Rejected,
    RemoteError,
    Retryable,
    StoreUnavailable,
    Unimportable,
    Unreadable,
)
from adapters.ports import Clock, Marketplace, Oms
from adapters.store import budgets as budget_rows
from adapters.store import commands as command_rows
from adapters.store import orders as order_rows
from adapters.store import snapshots as snapshot_rows
from adapters.store.budgets import BudgetWindow
from adapters.store.commands import LEASE, CommandRow
from adapters.store.orders import OrderRow
from adapters.store.transaction import Store, Transaction
from consumer.accounts import AccountKey, Accounts
from consumer.apply import GIVE_UP_AFTER, OrderWriter
from consumer.hooks import NO_HOOKS, Hooks
from consumer.retry import Backoff, TryResult, Verdict, after_failure
from statemachine.attention import ALREADY_THERE
from statemachine.commands import CommandKind, CommandState, Policy, Remote
from statemachine.events import Event, Trigger
from statemachine.facts import RESTORED, Answer, Attempt, Facts, GiveUp, Part, Rejection
from statemachine.plan import due
from statemachine.readings import best_tracking, tracking_held

log = structlog.get_logger("orderflow.worker")

SOURCE: Final = "/orderflow/worker"
#: The one call to Mirakl that an import makes before its own.
MESSAGES: Final = "M11"
#: Outcome of a call that our own code did not survive.
BROKEN: Final = "broken"


@dataclass(frozen=True, slots=True)
class Shop:
    """One shop as the worker sees it: its accounts at both remotes."""

    name: str
    mirakl: Marketplace
    oms: Oms
    company_ref_id: int
    oms_budget: tuple[BudgetWindow, ...] = ()  # over all workers


@dataclass(frozen=True, slots=True)
class Claim:
    """A leased command, with its order as it was then."""

    command: CommandRow
    token: str
    order: OrderRow
    snapshot: bytes | None  # only an import reads the order itself

    @property
    def account(self) -> AccountKey:
        return AccountKey(self.order.shop, self.command.kind.remote)


class BudgetSpent(Exception):
    """The account may make no more calls until `ends_at`."""

    def __init__(self, account: AccountKey, ends_at: datetime) -> None:
        super().__init__(account)
        self.account = account
        self.ends_at = ends_at


class LeaseLost(Exception):
    """The last look before the call said no: somebody else holds the command, nobody needs it, or time runs out."""


@dataclass(frozen=True, slots=True)
class _Ending:
    """How one try ended, as it goes into the store: the event, and what becomes of the command's row."""

    claim: Claim
    event: Event
    release: Callable[[Transaction], bool]
    result: TryResult
    error: RemoteError | None


class Worker:
    """Any number of threads may call `turn`."""

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
        hooks: Hooks = NO_HOOKS,
        jitter: Callable[[], float] = random.random,
    ) -> None:
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
        self._unstored: deque[_Ending] = deque()  # at most one a thread
        self.accounts = Accounts(shops, clock)

    def turn(self) -> bool:
        """Carry out one command. False where none is due.

        Raises StoreUnavailable. An answer that could not be stored is kept, and stored before anything else is done.
        """
        self._store_kept()
        claim = self.claim()
        if claim is None:
            return False
        try:
            parts = self.call(claim)
        except LeaseLost:
            self._drop(claim)
        except StoreUnavailable:
            raise
        except Exception as error:
            self._failed(claim, _meaning(claim, error))
        else:
            self.accounts.answered(claim.account)
            self._done(claim, parts, TryResult.DONE)
        return True

    # -- claim ---------------------------------------------------------------------------------------------------

    def claim(self) -> Claim | None:
        """Lease the next command and leave the fact that it was attempted (docs/rules.md 12, 13, 20)."""
        while True:
            now = self._clock.now()
            if not command_rows.has_claimable(self._store, now, self.accounts.paused_kinds(), self._shops.keys()):
                return None
            try:
                return self._claim(now)
            except BudgetSpent as spent:  # the transaction is undone: nothing was claimed; what others may do goes on
                self.accounts.pause(spent.account, spent.ends_at)
                until = spent.ends_at.isoformat()
                log.info("budget_spent", shop=spent.account.shop, system=spent.account.remote, until=until)

    def _claim(self, now: datetime) -> Claim | None:
        with self._store.transaction() as tx:
            while True:
                command_id = command_rows.claimable(tx, now, self.accounts.paused_kinds(), self._shops.keys())
                if command_id is None:
                    return None
                row = command_rows.load(tx, command_id)
                order = order_rows.lock_by_key(tx, row.order_key)
                policy = self._policies.get(order.shop, Policy())
                command = next((c for c in due(order.facts, policy) if c.key == row.key), None)
                token = uuid.uuid4().hex
                # It is tried for so long from its first try on: effects may have been off for weeks before.
                give_up_at = row.give_up_at if row.attempts else max(row.give_up_at, now + GIVE_UP_AFTER)
                basis = command.basis if command else ""
                if not command_rows.lease(
                    tx, command_id, basis=basis, token=token, until=now + self._lease, now=now, give_up_at=give_up_at
                ):
                    continue
                if command is None:  # needed when it was opened, not by what is known now
                    command_rows.settle(tx, command_id, token, CommandState.OBSOLETE, TryResult.OBSOLETE)
                    continue
                self._spend(tx, order.shop, row.kind, now)
                event = self._event(order, row, token, "claimed", _attempted(order, row), attempt=row.attempts + 1)
                applied = self._orders.apply_in(tx, [event])
                order = applied[-1].order
                body = snapshot_rows.load(tx, order.key, command.basis) if row.kind == CommandKind.IMPORT else None
                self.accounts.claimed(AccountKey(order.shop, row.kind.remote))
                break
        self._orders.report(applied)
        leased = replace(row, basis=basis, attempts=row.attempts + 1, state=CommandState.LEASED, give_up_at=give_up_at)
        return Claim(leased, token, order, body)

    def _spend(self, tx: Transaction, shop_name: str, kind: CommandKind, now: datetime) -> None:
        """One call out of the account's budget, which all workers share. Raises BudgetSpent."""
        shop = self._shops[shop_name]
        if kind == CommandKind.IMPORT:
            ends_at = budget_rows.spend(tx, oms_account(shop.company_ref_id), shop.oms_budget, now)
            if ends_at is not None:
                raise BudgetSpent(AccountKey(shop_name, Remote.OMS), ends_at)

    # -- call ----------------------------------------------------------------------------------------------------

    def call(self, claim: Claim) -> tuple[Part, ...]:
        """The one call of this command. Raises RemoteError, Unimportable, Unreadable, LeaseLost."""
        shop, order_id = self._shops[claim.order.shop], claim.order.order_id
        facts, snapshot = claim.order.facts, claim.order.facts.snapshot
        if snapshot is None:
            raise LeaseLost
        match claim.command.kind:
            case CommandKind.ACCEPT:
                decision = claim.command.carries == "accept"
                self._about_to_send(claim)
                shop.mirakl.accept(order_id, {line.id: decision for line in snapshot.lines})
            case CommandKind.IMPORT:
                payload = self._payload(claim, shop)
                self._about_to_send(claim, payload)
                return shop.oms.import_order(payload)
            case CommandKind.TRACK:
                catalog = shop.mirakl.catalog()
                self._about_to_send(claim)
                shop.mirakl.send_tracking(order_id, best_tracking(facts), catalog)
            case CommandKind.CONFIRM:
                mandatory = snapshot.shipping_type in shop.mirakl.catalog().mandatory_tracking
                if mandatory and not tracking_held(facts).number:
                    words = "this shipping method needs tracking (SH12), and the OMS has given none that Mirakl took"
                    raise Rejected(CommandKind.CONFIRM.operation, "not_sent", code="TRACKING_MANDATORY", words=words)
                self._about_to_send(claim)
                shop.mirakl.confirm_shipment(order_id)
        return ()

    def _about_to_send(self, claim: Claim, payload: bytes | None = None) -> None:
        """The last look (docs/rules.md 18); the lease begins anew."""
        with self._store.transaction() as tx:
            if not command_rows.mark_sending(
                tx, claim.command.id, claim.token, self._clock.now(), payload=payload, lease=self._lease
            ):
                raise LeaseLost

    def _payload(self, claim: Claim, shop: Shop) -> bytes:
        """What goes to the OMS (docs/kornitx.md 7): frozen while a try may have arrived, else from the newest
        snapshot."""
        if claim.command.maybe_sent and claim.command.payload is not None:
            return claim.command.payload
        if claim.snapshot is None:
            raise Unimportable(["the order as received"])
        snapshot = claim.order.facts.snapshot
        messages: tuple[str, ...] = ()
        if snapshot is not None and snapshot.has_messages:
            messages = self._messages(claim, shop)
        return shop.oms.payload(claim.snapshot, messages)

    def _messages(self, claim: Claim, shop: Shop) -> tuple[str, ...]:
        """What the customer wrote. Unread messages hold the import, whatever is the matter with them."""
        seconds = self.accounts.seconds_paused(AccountKey(claim.order.shop, Remote.MIRAKL))
        if seconds:
            raise AccountFault(MESSAGES, "not_sent", retry_after_seconds=seconds)
        try:
            return shop.mirakl.customer_messages(claim.order.order_id)
        except Rejected as error:
            raise Retryable(error.operation, error.outcome, status=error.status, words=error.words) from error

    # -- settle --------------------------------------------------------------------------------------------------

    def _done(self, claim: Claim, parts: tuple[Part, ...], result: TryResult) -> None:
        now = self._clock.now()
        command = claim.command
        answer = Answer(command.kind, command.carries, command.round, now, now + self._grace)
        self._settle(claim, Facts(answers=(answer,), parts=parts), result, state=CommandState.DONE)

    def _failed(self, claim: Claim, error: RemoteError) -> None:
        command, now = claim.command, self._clock.now()
        verdict = after_failure(
            error,
            attempts=command.attempts,
            maybe_sent_before=command.maybe_sent or Attempt(command.kind, RESTORED) in claim.order.facts.attempts,
            give_up_at=command.give_up_at,
            now=now,
            backoff=self._backoff,
            jitter=self._jitter(),
        )
        self._account_failed(claim, verdict, error)
        key = (command.kind, command.carries, command.round)
        match verdict.result:
            case TryResult.ALREADY_DONE:
                self._done(claim, (), TryResult.ALREADY_DONE)
            case TryResult.REJECTED:
                code = ALREADY_THERE if isinstance(error, Duplicate) else error.code
                no = Rejection(*key, command.basis, now, code, error.words)
                self._settle(
                    claim, Facts(rejections=(no,)), TryResult.REJECTED, state=CommandState.REJECTED, error=error
                )
            case TryResult.GAVE_UP:
                self._settle(
                    claim,
                    Facts(given_up=(GiveUp(*key, error.words),)),
                    TryResult.GAVE_UP,
                    state=CommandState.GAVE_UP,
                    error=error,
                )
            case _:
                self._put_back(claim, verdict, error)

    def _settle(
        self, claim: Claim, says: Facts, result: TryResult, *, state: CommandState, error: RemoteError | None = None
    ) -> None:
        """Join the result as a fact whatever became of the lease; close the row only where it is still ours."""
        event = self._event(claim.order, claim.command, claim.token, "result", says, result=result, error=error)

        def release(tx: Transaction) -> bool:
            return command_rows.settle(tx, claim.command.id, claim.token, state, result)

        self._record(_Ending(claim, event, release, result, error))

    def _put_back(self, claim: Claim, verdict: Verdict, error: RemoteError) -> None:
        event = self._event(
            claim.order, claim.command, claim.token, "result", Facts(), result=verdict.result, error=error
        )
        next_at = verdict.next_at or self._clock.now()

        def release(tx: Transaction) -> bool:
            return command_rows.requeue(
                tx,
                claim.command.id,
                claim.token,
                verdict.result,
                next_at,
                maybe_sent=claim.command.maybe_sent or verdict.result == TryResult.UNKNOWN,
                attempt_counts=verdict.result != TryResult.ACCOUNT_FAULT,
            )

        self._record(_Ending(claim, event, release, verdict.result, error))

    def _record(self, ending: _Ending) -> None:
        try:
            with self._store.transaction() as tx:
                applied = self._orders.apply_in(tx, [ending.event])
                ending.release(tx)
        except StoreUnavailable:
            with self._lock:
                self._unstored.append(ending)
            raise
        self._orders.report(applied)
        self._told(ending.claim, ending.result, ending.error)

    def _store_kept(self) -> None:
        """What became of calls while the store was away. Storing one twice does nothing: its event is one."""
        while True:
            with self._lock:
                if not self._unstored:
                    return
                ending = self._unstored.popleft()
            self._record(ending)

    def _drop(self, claim: Claim) -> None:
        """Not called: open again where it is still ours and wanted, else its new holder's or nobody's."""
        command = claim.command
        with self._store.transaction() as tx:
            now = self._clock.now()
            command_rows.requeue(
                tx,
                command.id,
                claim.token,
                TryResult.OBSOLETE,
                now,
                maybe_sent=command.maybe_sent,
                attempt_counts=False,
            )
        self._told(claim, TryResult.OBSOLETE, None)

    # -- telling -------------------------------------------------------------------------------------------------

    def _event(
        self,
        order: OrderRow,
        command: CommandRow,
        token: str,
        step: str,
        says: Facts,
        *,
        attempt: int = 0,
        result: TryResult | None = None,
        error: RemoteError | None = None,
    ) -> Event:
        note: dict[str, str | int] = {"command": command.kind, "operation": command.kind.operation, "step": step}
        note |= {"attempt": attempt or command.attempts, "round": command.round}
        if result:
            note["result"] = result
        if error is not None:
            note |= {"outcome": error.outcome, "status": error.status, "code": error.code}
        return Event(
            SOURCE,
            f"{command.id}:{token}:{step}",
            order.shop,
            order.order_id,
            Trigger.CALL,
            self._clock.now(),
            says,
            note=note,
        )

    def _told(self, claim: Claim, result: TryResult, error: RemoteError | None) -> None:
        self._hooks.command_tried(claim.command.kind, result)
        if result not in (TryResult.DONE, TryResult.ALREADY_DONE, TryResult.OBSOLETE):
            log.warning(
                "command_failed",
                shop=claim.order.shop,
                order_id=claim.order.order_id,
                command=claim.command.kind,
                attempt=claim.command.attempts,
                result=result,
                outcome=error.outcome if error else "",
            )

    def _account_failed(self, claim: Claim, verdict: Verdict, error: RemoteError) -> None:
        remote = Remote.MIRAKL if error.operation == MESSAGES else claim.command.kind.remote
        account = AccountKey(claim.order.shop, remote)
        said_no = isinstance(error, Rejected) or isinstance(error.__cause__, Rejected)
        if verdict.pause_until is not None:
            self.accounts.pause(account, verdict.pause_until)
        elif said_no and error.status:  # without a status the no was our own, and nobody was asked
            self.accounts.answered(account)
        elif not said_no and error.outcome != BROKEN:
            self.accounts.failed(account, claim.order.key)


def oms_account(company_ref_id: int) -> str:
    """How the store calls an account of the OMS. Two shops may share one, and its budget."""
    return f"oms:{company_ref_id}"


def _meaning(claim: Claim, error: Exception) -> RemoteError:
    """What an error of a call is to its command. One order that breaks our code must not hold a worker for ever."""
    operation = claim.command.kind.operation
    match error:
        case RemoteError():
            return error
        case Unimportable():
            return Rejected(operation, "not_sent", code="INCOMPLETE", words=str(error))
        case Unreadable():
            words = f"the order as received cannot be read ({error.reason})"
            return Rejected(operation, "not_sent", code="UNREADABLE", words=words)
        case ConfigError():  # a key file that was emptied
            log.warning("account_not_usable", shop=claim.order.shop, error=str(error))
            return AccountFault(operation, "not_sent")
    frame = traceback.extract_tb(error.__traceback__)[-1]
    log.error(
        "call_broken",
        shop=claim.order.shop,
        order_id=claim.order.order_id,
        error=type(error).__name__,
        where=f"{frame.filename}:{frame.lineno}",
    )
    return OutcomeUnknown(operation, BROKEN)


def _attempted(order: OrderRow, command: CommandRow) -> Facts:
    sent = (best_tracking(order.facts),) if command.kind == CommandKind.TRACK else ()
    return Facts(attempts=(Attempt(command.kind, command.carries),), sent=sent)
