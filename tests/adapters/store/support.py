"""Helpers that the tests of several tables use."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import sqlalchemy as sa

from adapters.store import commands as command_rows
from adapters.store import lanes as lane_rows
from adapters.store import leases as lease_rows
from adapters.store import orders as order_rows
from adapters.store import schema as s
from adapters.store import shops as shop_rows
from adapters.store.commands import LEASE, NewCommand, Release, Sending
from adapters.store.lanes import Lane, NewLease
from adapters.store.leases import Lease
from adapters.store.transaction import Store, Transaction
from statemachine.commands import Command, CommandKind, CommandState

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)


def later(seconds: float) -> datetime:
    return NOW + timedelta(seconds=seconds)


def rows(store: Store, table: sa.Table) -> list[dict[str, Any]]:
    with store.reading() as connection:
        return [dict(row) for row in connection.execute(sa.select(table)).mappings()]


def taken(store: Store, name: str, holder: str, now: datetime) -> Lease | None:
    """Take a lease for 30 s. None if another holder has it."""
    with store.transaction() as tx:
        return lease_rows.take(tx, name, holder, now + timedelta(seconds=30), now)


def leased(store: Store, name: str = "poll/alpha", holder: str = "one", now: datetime = NOW) -> Lease:
    lease = taken(store, name, holder, now)
    assert lease is not None
    return lease


#: For tests with two writers at the same time: SQLite allows only one writer at a time.
on_postgresql = pytest.mark.parametrize("open_store", ["postgresql"], indirect=True)


IMPORT = Command(CommandKind.IMPORT, "", 0, "basis")
TRACK = Command(CommandKind.TRACK, "T1", 0, "")
CONFIRM = Command(CommandKind.CONFIRM, "", 0, "")


def claimable(
    tx: Transaction, now: datetime, paused: tuple[Lane, ...] = (), shops: tuple[str, ...] = ("alpha", "beta")
) -> int | None:
    """The command that is due longest of all lanes that are not paused, with its order locked."""
    lanes = {Lane(shop, kind) for shop in shops for kind in CommandKind} - set(paused)
    return next((row.id for row in lane_rows.take(tx, dict.fromkeys(lanes, 1), paused, now)), None)


def lease(tx: Transaction, command_id: int, token: str, now: datetime, shop: str = "alpha") -> bool:
    """Lease a command, as a claim does. False if it was not free."""
    one = NewLease(command_id, shop, "basis", token, now + LEASE, later(9999))
    return lane_rows.lease(tx, [one], (), now) == {command_id}


class Desk:
    """A store with two bound shops. Each method is one statement, in a transaction of its own."""

    def __init__(self, store: Store) -> None:
        self.store = store
        with store.transaction() as tx:
            shop_rows.bind(tx, "alpha", "https://a", 1, effects=True, now=NOW)
            shop_rows.bind(tx, "beta", "https://b", 1, effects=True, now=NOW)

    def open(self, *commands: Command, shop: str = "alpha", order_id: str = "O-1", at: datetime = NOW) -> list[int]:
        with self.store.transaction() as tx:
            key = order_rows.lock(tx, [(shop, order_id)], NOW)[shop, order_id].key
            command_rows.open_due(tx, [NewCommand(key, shop, command, later(9999)) for command in commands], at)
            ids = {row.key: row.id for row in command_rows.lock_live(tx, [key])}
        return [ids[command.key] for command in commands if command.key in ids]

    def claimable(
        self, now: datetime = NOW, paused: tuple[Lane, ...] = (), shops: tuple[str, ...] = ("alpha", "beta")
    ) -> int | None:
        with self.store.transaction() as tx:
            return claimable(tx, now, paused, shops)

    def lease(self, command_id: int, token: str = "t", now: datetime = NOW) -> bool:
        with self.store.transaction() as tx:
            return lease(tx, command_id, token, now)

    def requeue(self, command_id: int, token: str = "t", **changes: Any) -> bool:
        how: dict[str, Any] = {"next_at": NOW, "maybe_sent": False, "attempt_counts": True} | changes
        return self._release(command_rows.requeued(command_id, token, "retry", how.pop("next_at"), **how))

    def settle(self, command_id: int, token: str = "t", state: CommandState = CommandState.DONE) -> bool:
        return self._release(command_rows.settled(command_id, token, state, "result"))

    def _release(self, one: Release) -> bool:
        with self.store.transaction() as tx:
            return command_rows.release(tx, [one]) == {one.command_id}

    def mark_sending(
        self, command_id: int, token: str = "t", now: datetime = NOW, payload: bytes | None = None
    ) -> bool:
        sending = [Sending(command_id, token, payload)]
        with self.store.transaction() as tx:
            held = command_rows.held(tx, sending, now)
            assert command_rows.mark_sending(tx, sending, now) == held
        return bool(held)

    def mark_obsolete(self, *ids: int) -> None:
        with self.store.transaction() as tx:
            command_rows.mark_obsolete(tx, ids)

    def row(self, command_id: int) -> dict[str, Any]:
        return next(row for row in rows(self.store, s.commands) if row["id"] == command_id)
