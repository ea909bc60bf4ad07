"""Claims: takes the next commands for a worker, in fair turns, in one transaction.

A claim is an event like any other: it adds the fact that the call was attempted (docs/rules.md 20).
"""

import os
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from adapters.errors import BrokenOrders, StoreUnavailable
from adapters.ports import Clock
from adapters.remotes.kornitx_order import external_ref_in
from adapters.store import budgets as budget_rows
from adapters.store import commands as command_rows
from adapters.store import lanes as lane_rows
from adapters.store import orders as order_rows
from adapters.store import snapshots as snapshot_rows
from adapters.store.commands import CommandRow, Release
from adapters.store.lanes import Lane, NewLease
from adapters.store.orders import OrderRow
from adapters.store.transaction import Store, Transaction
from consumer.applying.apply import OrderWriter
from consumer.applying.planning import GIVE_UP_AFTER, plan_of
from consumer.calling.accounts import AccountKey, Accounts
from consumer.calling.budget import Shop, oms_account, pause_spent, windows_of
from consumer.calling.lanes import Turns
from consumer.calling.tries import Claim, claimed_event
from consumer.hooks import Applied
from consumer.retry import TryResult
from statemachine.commands import CommandKind, CommandState, Policy
from statemachine.questions.payloads import possible_imports


@dataclass(frozen=True, slots=True)
class _Wanted:
    """A command to lease, with its order."""

    command: CommandRow
    order: OrderRow
    token: str
    is_needed: bool  # now; the command was needed when it was opened

    @property
    def account(self) -> AccountKey:
        return AccountKey(self.order.shop, self.command.kind.remote)


class Claims:
    """Claims commands. One thread at a time may call `claim`."""

    def __init__(
        self,
        store: Store,
        orders: OrderWriter,
        shops: Mapping[str, Shop],
        policies: Mapping[str, Policy],
        clock: Clock,
        *,
        accounts: Accounts,
        lease: timedelta,
        per_account: int,
    ) -> None:
        """`per_account`: how many calls to one account may be under way at a time, counted over all workers."""
        self._store = store
        self._orders = orders
        self._shops = shops
        self._policies = policies
        self._clock = clock
        self._accounts = accounts
        self._lease = lease
        self._lanes = [Lane(shop, kind) for shop in shops for kind in CommandKind]
        self._turns = Turns(per_account)

    def claim(self, most: int) -> list[Claim]:
        """Lease up to `most` commands, and add the fact that their calls were attempted (docs/rules.md 12, 13, 20).

        As many claims of one command would lease the same ones (tests/consumer/calling/test_claims_agree.py). An order
        that cannot be read or planned, or whose claim the store refuses, is quarantined. Raises StoreUnavailable, and
        whatever else the first transaction raises.
        """
        claims: list[Claim] = []
        short: set[Lane] = set()  # had less than was asked for: what is left of them waits, or is locked
        while len(claims) < most:
            try:
                found, goes_on = self._claim_once(most - len(claims), short)
            except Exception:
                if not claims:
                    raise
                break  # what was claimed has to be called, or its leases would hold it. The next claim raises it again
            claims += found
            if not goes_on:
                break
        return claims

    def _claim_once(self, most: int, short: set[Lane]) -> tuple[list[Claim], bool]:
        """Claim in one transaction, from lanes that are not in `short`. Adds to it the lanes that had less than was
        asked for. Returns also whether other lanes are due."""
        while True:
            now, paused = self._clock.now(), self._accounts.paused_lanes()
            due, asked = self._look(now, {*paused, *short}, paused, most)
            if not asked:
                return [], False
            locked: list[OrderRow] = []
            try:
                claims = self._claim(now, asked, paused, locked, short)
            except StoreUnavailable:
                raise
            except BrokenOrders as error:
                self._orders.quarantine(error.orders)
            except Exception as error:  # the store refuses what the claim of an order writes
                if most > 1:
                    most = 1  # so that it is known which order
                    continue
                if not locked:
                    raise
                self._orders.quarantine({(locked[0].shop, locked[0].order_id): type(error).__name__})
            else:
                return claims, not short.issuperset(due)

    def _look(
        self, now: datetime, without: Collection[Lane], paused: Sequence[Lane], most: int
    ) -> tuple[Sequence[Lane], dict[Lane, int]]:
        """Return the lanes that are due, and how many commands to claim of which: of none, if none is due, or if no
        account has room for one."""
        lanes = [lane for lane in self._lanes if lane not in without] if without else self._lanes
        seen = lane_rows.look(self._store, lanes, paused, now)
        while seen.orphans and lane_rows.adopt(self._store):
            seen = lane_rows.look(self._store, lanes, paused, now)
        tested = [lane for lane in seen.due if self._accounts.is_tested(lane)]
        under_way = self._accounts.with_reads(seen.under_way)
        return seen.due, self._turns.share(seen.due, most, under_way=under_way, tested=tested)

    def _claim(
        self,
        now: datetime,
        asked: Mapping[Lane, int],
        paused: Sequence[Lane],
        locked: list[OrderRow],
        short: set[Lane],
    ) -> list[Claim]:
        """Claim commands of these lanes: all that are needed and may be called. Adds each order that it locks to
        `locked`, and the lanes that had less than was asked for to `short`."""
        with self._store.transaction() as tx:
            rows = lane_rows.take(tx, asked, paused, now)
            orders = order_rows.lock_by_keys(tx, {row.order_key for row in rows}) if rows else {}
            locked += orders.values()
            tokens = _tokens(len(rows))
            wanted = [self._wanted(row, orders[row.order_key], token) for row, token in zip(rows, tokens, strict=True)]
            spent = self._spent(tx, wanted, now)
            wanted = [one for one in wanted if not (one.is_needed and one.account in spent)]
            wanted = self._leased(tx, wanted, paused, now)
            not_needed = [one for one in wanted if not one.is_needed]
            command_rows.release(tx, [_obsolete(one) for one in not_needed])
            needed = [one for one in wanted if one.is_needed]
            events = [claimed_event(one.order, one.command, one.token, now) for one in needed]
            applied = self._orders.apply_in(tx, events, [one.order for one in needed], new_ids=True)
            claims = self._claims(tx, needed, applied)
        for account, ends_at in spent.items():
            pause_spent(self._accounts, account, ends_at)
        for claim in claims:
            self._accounts.claimed(claim.account, claim.command.kind.operation)
        self._orders.report(applied)
        taken = Counter(Lane(orders[row.order_key].shop, row.kind) for row in rows)
        short |= {lane for lane, number in asked.items() if taken[lane] < number}
        return claims

    def _wanted(self, row: CommandRow, order: OrderRow, token: str) -> _Wanted:
        policy = self._policies.get(order.shop, Policy())
        needed = next((command for command in plan_of(order, policy).due if command.key == row.key), None)
        row = replace(row, basis=needed.basis if needed else "")
        return _Wanted(row, order, token, needed is not None)

    def _spent(self, tx: Transaction, wanted: Sequence[_Wanted], now: datetime) -> dict[AccountKey, datetime]:
        """Return the accounts whose budget is spent, and until when."""
        found = {}
        for account in {one.account for one in wanted if one.is_needed}:
            shop = self._shops[account.shop]
            windows = windows_of(shop, account.remote)
            ends_at = budget_rows.spent_until(tx, oms_account(shop.company_ref_id), windows, now)
            if ends_at is not None:
                found[account] = ends_at
        return found

    def _leased(
        self, tx: Transaction, wanted: Sequence[_Wanted], paused: Sequence[Lane], now: datetime
    ) -> list[_Wanted]:
        """Lease these commands. Returns those that were free, with their values as leased commands."""
        found = []
        for one in wanted:
            # GIVE_UP_AFTER counts from the first try, because effects may have been off for weeks before
            # (docs/rules.md 27).
            later = one.command.give_up_at if one.command.attempts else now + GIVE_UP_AFTER
            leased = replace(
                one.command,
                attempts=one.command.attempts + 1,
                state=CommandState.LEASED,
                give_up_at=max(one.command.give_up_at, later),
            )
            found.append(replace(one, command=leased))
        leases = [
            NewLease(
                one.command.id, one.order.shop, one.command.basis, one.token, now + self._lease, one.command.give_up_at
            )
            for one in found
        ]
        free = lane_rows.lease(tx, leases, paused, now)
        return [one for one in found if one.command.id in free]

    def _claims(self, tx: Transaction, needed: Sequence[_Wanted], applied: Sequence[Applied]) -> list[Claim]:
        after = {one.order.key: one.order for one in applied}
        contents = {
            (one.order.key, one.order.facts.snapshot.digest)
            for one in needed
            if one.command.kind is CommandKind.IMPORT and one.order.facts.snapshot is not None
        }
        bodies = snapshot_rows.load(tx, contents)
        by_order = {key: body for (key, _), body in bodies.items()}
        refs = _earlier_refs(tx, needed)
        return [
            Claim(one.command, one.token, after[key := one.order.key], by_order.get(key), refs.get(key, ""))
            for one in needed
        ]


def _tokens(count: int) -> list[str]:
    """So many tokens of leases, each of 16 random bytes. They are asked for at once: during each call of the operating
    system another thread takes the interpreter."""
    drawn = os.urandom(16 * count)
    return [drawn[16 * number : 16 * (number + 1)].hex() for number in range(count)]


def _earlier_refs(tx: Transaction, needed: Sequence[_Wanted]) -> dict[int, str]:
    """The external_ref of each import that may have landed already, by the key of its order. The shop's prefix may have
    changed since."""
    imports = (one for one in needed if one.command.kind is CommandKind.IMPORT)
    again = {one.order.key for one in imports if possible_imports(one.order.facts)}
    return {key: external_ref_in(payload) for key, payload in command_rows.newest_payloads(tx, again).items()}


def _obsolete(one: _Wanted) -> Release:
    return command_rows.settled(one.command.id, one.token, CommandState.OBSOLETE, TryResult.OBSOLETE)
