"""One claim of many commands and as many claims of one command agree: on what is claimed, and on what they store.

Threads that come together share one claim (consumer/calling/together.py), because a claim of many commands costs
little more than a claim of one. What they may call must not depend on that.
"""

from collections import Counter
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from typing import Any, Final

import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from adapters.errors import StoreUnavailable
from adapters.store import budgets as budget_rows
from adapters.store import schema as s
from adapters.store.budgets import BudgetWindow
from adapters.store.commands import LEASE
from consumer.calling.accounts import AccountKey, Accounts
from consumer.calling.budget import oms_account
from consumer.calling.circuit import CIRCUIT_OPENS_AFTER, CIRCUIT_PAUSE_SECONDS
from consumer.calling.claims import Claims
from statemachine.commands import CommandKind, CommandState, Group, Policy, Remote
from statemachine.events import Event
from tests.consumer.rig import Rig
from tests.statemachine.lives import answered, read, sent, snapshot_event

SHOPS = ("alpha", "beta")
#: What has to happen to an order so that a call of this kind is due.
DUE: Final = {
    CommandKind.ACCEPT: (snapshot_event(read("WAITING_ACCEPTANCE")),),
    CommandKind.IMPORT: (snapshot_event(read("SHIPPING")),),
    CommandKind.TRACK: (snapshot_event(read("SHIPPING")), answered(CommandKind.IMPORT), sent("T1")),
    CommandKind.CONFIRM: (snapshot_event(read("SHIPPING")), answered(CommandKind.IMPORT), sent("")),
}
#: One call an hour.
BUDGET = BudgetWindow("hour", timedelta(hours=1), 1)
_KEPT = ("shops", "policies", "schema_versions")


@dataclass(frozen=True)
class Due:
    """An order and the command that was opened for it."""

    shop: str
    kind: CommandKind
    due_in: int = 0  # minutes; more than 0: it is not due yet
    lease_ends_in: int | None = None  # minutes; None: it is not leased. Less than 0: its worker died


@dataclass(frozen=True)
class World:
    """What may be claimed, and why not all of it."""

    orders: tuple[Due, ...]
    most: int = 8  # how many threads ask
    per_account: int = 4
    #: Shops whose acceptances are planned, and by now no longer needed.
    held: frozenset[str] = frozenset()
    paused: frozenset[tuple[str, Group]] = frozenset()  # by a person
    resting: frozenset[AccountKey] = frozenset()  # after a fault
    spent: frozenset[str] = frozenset()  # shops whose budget at the OMS is spent
    tested: frozenset[tuple[str, CommandKind]] = frozenset()  # operations whose circuit is open


shops = st.sampled_from(SHOPS)
orders = st.builds(
    Due, shops, st.sampled_from(CommandKind), st.integers(-3, 1), st.sampled_from([None, None, None, -1, 1])
)
worlds = st.builds(
    World,
    st.lists(orders, max_size=10).map(tuple),
    st.integers(1, 8),
    st.integers(1, 4),
    held=st.frozensets(shops),
    paused=st.frozensets(st.tuples(shops, st.sampled_from(Group)), max_size=1),
    resting=st.frozensets(st.builds(AccountKey, shops, st.sampled_from(Remote)), max_size=1),
    spent=st.frozensets(shops, max_size=1),
    tested=st.frozensets(st.tuples(shops, st.sampled_from(CommandKind)), max_size=1),
)


@pytest.fixture(params=["sqlite", "postgresql"])
def rig(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Rig]:
    url = request.getfixturevalue("postgres_store_url") if request.param == "postgresql" else None
    rig = Rig(tmp_path, shops=SHOPS, store_url=url)
    yield rig
    rig.store.close()


def of(number: int, shop: str, event: Event) -> Event:
    return replace(event, shop=shop, order_id=f"O-{number}", event_id=f"O-{number}:{event.event_id}")


def empty(rig: Rig) -> None:
    """Delete every order, and all that was stored with them."""
    with rig.store.transaction() as tx:
        for table in reversed(s.metadata.sorted_tables):
            if table.name not in _KEPT:
                tx.execute(sa.delete(table))


def make(rig: Rig, world: World) -> Claims:
    """Make this world in the store, in place of what it holds. Returns the claims of a worker that has claimed
    nothing yet."""
    now = rig.clock.now()
    empty(rig)
    rig.orders.apply([of(n, one.shop, event) for n, one in enumerate(world.orders) for event in DUE[one.kind]])
    with rig.store.transaction() as tx:
        for n, one in enumerate(world.orders):
            of_order = sa.select(s.orders.c.id).where(s.orders.c.order_id == f"O-{n}").scalar_subquery()
            values: dict[str, Any] = {"next_at": now + timedelta(minutes=one.due_in)}
            if one.lease_ends_in is not None:
                until = now + timedelta(minutes=one.lease_ends_in)
                values |= {"state": CommandState.LEASED, "lease_token": f"of {n}", "lease_until": until, "attempts": 1}
            tx.execute(sa.update(s.commands).where(s.commands.c.order_key == of_order).values(**values))
        for shop in world.spent:
            budget_rows.spend(tx, oms_account(rig.worker.shops[shop].company_ref_id), [BUDGET], now)
    for shop in SHOPS:
        rig.switch(shop, effects=True, paused=tuple(group for of_shop, group in world.paused if of_shop == shop))
    accounts = Accounts(SHOPS, rig.clock)
    rig.clock.advance(-CIRCUIT_PAUSE_SECONDS)
    for shop, kind in world.tested:
        for order_key in range(CIRCUIT_OPENS_AFTER):
            accounts.failed(AccountKey(shop, kind.remote), kind.operation, order_key)
    rig.clock.advance(CIRCUIT_PAUSE_SECONDS)
    for key in world.resting:
        accounts.pause(key, now + timedelta(minutes=1))
    return Claims(
        rig.store,
        rig.orders,
        {shop: replace(one, oms_budget=(BUDGET,)) for shop, one in rig.worker.shops.items()},
        {shop: Policy("hold" if shop in world.held else "all") for shop in SHOPS},
        rig.clock,
        accounts=accounts,
        lease=LEASE,
        per_account=world.per_account,
    )


def stored(rig: Rig) -> dict[str, list[Any]]:
    """What the store says of commands, orders and events, without ids and tokens, which differ from run to run."""
    c, o, j = s.commands.c, s.orders.c, s.journal.c
    of_commands = sa.select(
        *(o.order_id, c.kind, c.carries, c.state, c.attempts, c.lease_until, c.next_at, c.give_up_at, c.basis),
        *(c.unwanted, c.maybe_sent, c.last_outcome, c.lease_token.like("of %").label("of_another")),
    ).join_from(s.commands, s.orders)
    of_orders = sa.select(o.order_id, o.state, o.version, o.facts, o.attention, o.wake_at, o.read_after)
    of_events = sa.select(o.order_id, j.version, j.trigger, j.at, j.says, j.note, j.before, j.after)
    with rig.store.reading() as connection:
        return {
            "commands": list(connection.execute(of_commands.order_by(o.order_id, c.kind, c.carries))),
            "orders": list(connection.execute(of_orders.order_by(o.order_id))),
            "events": list(
                connection.execute(of_events.join_from(s.journal, s.orders).order_by(o.order_id, j.version))
            ),
        }


def under_way(rig: Rig) -> Counter[AccountKey]:
    """The leased commands of each account whose lease has not run out."""
    c = s.commands.c
    leased = sa.select(c.shop, c.kind).where(c.state == CommandState.LEASED, c.lease_until >= rig.clock.now())
    with rig.store.reading() as connection:
        return Counter(AccountKey(row.shop, row.kind.remote) for row in connection.execute(leased))


def tokens(rig: Rig) -> dict[int, str]:
    c = s.commands.c
    with rig.store.reading() as connection:
        return {row.id: row.lease_token for row in connection.execute(sa.select(c.id, c.lease_token))}


IMPORTS = tuple(Due("alpha", CommandKind.IMPORT) for _ in range(3))
TRACKS = tuple(Due("alpha", CommandKind.TRACK) for _ in range(3))
ACCEPT = Due("alpha", CommandKind.ACCEPT)


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@example(World((ACCEPT, *IMPORTS), most=4))  # one lane has less than its share
@example(World((ACCEPT, *TRACKS), most=4, per_account=3))  # and the room of its account
@example(World((ACCEPT, ACCEPT, *IMPORTS), most=4, held=frozenset({"alpha"})))  # what is not needed takes no place
@example(World((*IMPORTS, *TRACKS), most=4, spent=frozenset({"alpha"})))  # and neither does what is spent
@given(worlds)
def test_a_claim_of_many_and_claims_of_one_agree(rig: Rig, world: World) -> None:
    claims = make(rig, world)
    before = under_way(rig)
    together = claims.claim(world.most)
    for claim in together:
        assert tokens(rig)[claim.command.id] == claim.token
        assert claim.order == rig.row(claim.order.order_id)
    assert len({claim.token for claim in together}) == len({claim.order.key for claim in together}) == len(together)
    for account, calls in under_way(rig).items():
        assert calls <= max(world.per_account, before[account])
    found = stored(rig)

    claims = make(rig, world)
    alone = [claim for _ in range(world.most) for claim in claims.claim(1)]
    assert names(together) == names(alone)
    assert found == stored(rig)


def names(claims: Collection[Any]) -> list[tuple[str, str]]:
    return sorted((claim.order.order_id, claim.command.kind) for claim in claims)


@contextmanager
def fails_after(rig: Rig, commits: int, error: Exception) -> Iterator[None]:
    """After so many commits every statement raises this error."""
    left = [commits]

    def count(_connection: Any) -> None:
        left[0] -= 1

    def refuse(*_: Any) -> None:
        if left[0] <= 0:
            raise error

    sa.event.listen(rig.store.engine, "commit", count)
    sa.event.listen(rig.store.engine, "before_cursor_execute", refuse)
    yield
    sa.event.remove(rig.store.engine, "commit", count)
    sa.event.remove(rig.store.engine, "before_cursor_execute", refuse)


@pytest.mark.parametrize("error", [StoreUnavailable("gone"), ValueError("a fault of our own")], ids=["gone", "fault"])
def test_what_was_claimed_before_a_claim_failed_is_called(rig: Rig, error: Exception) -> None:
    """Its lease would hold it for 90 s."""
    claims = make(rig, World((ACCEPT, *IMPORTS)))
    with fails_after(rig, 2, error):  # a look and a claim
        assert len(claims.claim(4)) == 3
        with pytest.raises(type(error)):
            claims.claim(1)
