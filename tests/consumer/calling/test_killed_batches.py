"""A process that is killed between any two steps of batches of claims, last looks, calls and results.

Eight threads make the calls that are due of eight orders: two acceptances (OR21), two imports, two trackings (OR23,
then OR24) and two shipments (OR24). The answers to one import and one OR23 are lost. A step is a statement, a commit or
a request. The kill ends all threads. Then another process takes over, every order goes on to its end, and the audit
compares the books of the remotes with our journal.

A kill between two statements of one transaction leaves nothing of it, as one before its commit. So the kills are just
before and just after each commit that writes and each request, and before one statement of so many.
`ORDERFLOW_TEST_KILLS=all .venv/bin/pytest tests/consumer/calling/test_killed_batches.py` tries each statement too.
"""

import os
import re
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, Final, NamedTuple

import httpx
import pytest
import sqlalchemy as sa

from adapters.simulators.audit import audit
from adapters.simulators.faults import Fault
from adapters.simulators.orders import KNOWN_SKUS, MARKETPLACES, Line
from adapters.simulators.stage import Life
from adapters.store import schema as s
from consumer.demo.journal_summaries import journal_summaries
from statemachine.commands import CommandState
from tests.consumer.calling.test_batches import in_threads
from tests.consumer.calling.test_worker_shipments import dispatched
from tests.consumer.rig import GRACE, Rig

ACCEPTANCES, IMPORTS = ("1-A", "2-A"), ("3-A", "4-A")
TRACKINGS, SHIPMENTS = ("5-A", "6-A"), ("7-A", "8-A")
ORDERS = (*ACCEPTANCES, *IMPORTS, *TRACKINGS, *SHIPMENTS)
#: More steps of each kind than the threads take: 140 to 180 statements on SQLite, where each row is one, 90 to 110 on
#: PostgreSQL, 9 to 12 commits and 13 requests.
LAST: Final = {
    "sqlite": {"statement": 280, "commit": 20, "request": 16},
    "postgresql": {"statement": 200, "commit": 20, "request": 16},
}
#: A kill comes before one statement of so many, unless all are asked for.
STATEMENTS: Final = 1 if os.environ.get("ORDERFLOW_TEST_KILLS") == "all" else 20
#: `make test` tries one kill of so many, `make check` tries all of them.
EVERY: Final = 12


class Kill(NamedTuple):
    """Just before the `number`-th step of this kind, or just before the first step after it, of whichever thread."""

    kind: str
    number: int
    is_after: bool = False

    def __str__(self) -> str:
        return f"{'after' if self.is_after else 'before'}-{self.kind}-{self.number}"


class KilledError(BaseException):
    """The process is killed."""


def kills(engine: str) -> list[Any]:
    last = LAST[engine]
    found = [
        Kill(kind, number, is_after)
        for kind in ("commit", "request")
        for number in range(1, last[kind])
        for is_after in (False, True)
    ]
    found += [Kill("statement", number) for number in range(STATEMENTS, last["statement"], STATEMENTS)]
    return [
        pytest.param(one, id=str(one), marks=() if place % EVERY == EVERY // 2 else pytest.mark.minutes)
        for place, one in enumerate(found)
    ]


def life(order_id: str) -> Life:
    tracking = None if order_id in SHIPMENTS else f"T-{order_id}"
    shipped = Life(
        marketplace="alpha",
        order_id=order_id,
        story="killed",
        number=0,
        seed=0,
        arrives_at_seconds=0.0,
        workflow="PAY_ON_ACCEPTANCE",
        shipping_type=MARKETPLACES["alpha"].shipping_types[0].code,
        lines=(Line(KNOWN_SKUS["alpha"][0]),),
        messages=(),
        trackings=(tracking,) if tracking else (),
        ends="shipped",
        accepted_by=None,
        imported=True,
        shipped_by="api",
        last_tracking=tracking,
        goods=((f"{order_id}-1", 1),),
    )
    if order_id in ACCEPTANCES:
        return replace(shipped, ends="canceled", accepted_by="api", imported=False, shipped_by=None, goods=())
    return shipped


LIVES = [life(order_id) for order_id in ORDERS]


def dispatch(rig: Rig, order_id: str) -> None:
    dispatched(rig, "" if order_id in SHIPMENTS else f"T-{order_id}", order_id)


def all_due(folder: Path, store_url: str | None = None) -> Rig:
    """Eight orders, each with a call that is due. `store_url` None: on SQLite."""
    rig = Rig(folder, store_url=store_url)
    worker = rig.settings.worker.model_copy(update={"calls_per_account": len(ORDERS)})
    rig.base = replace(rig.base, settings=rig.settings.model_copy(update={"worker": worker}))
    for order_id in (*TRACKINGS, *SHIPMENTS):
        rig.add(order_id, state="SHIPPING")
    rig.poll()
    rig.work()
    for order_id in (*TRACKINGS, *SHIPMENTS):
        dispatch(rig, order_id)
    for order_id in IMPORTS:
        rig.add(order_id, state="SHIPPING")
    for order_id in ACCEPTANCES:
        rig.add(order_id)
    rig.mirakl["alpha"].post_message(IMPORTS[0], "<p>Hello</p>")
    rig.poll()
    rig.oms.knobs.faults.append(Fault("order", "timeout_after", 1, IMPORTS[1], hold_seconds=0))
    rig.mirakl["alpha"].knobs.faults.append(Fault("OR23", "timeout_after", 1, TRACKINGS[1], hold_seconds=0))
    return rig


@contextmanager
def killed_at(rig: Rig, kill: Kill) -> Iterator[None]:
    """Kill the process at this step: from then on nothing happens."""
    lock, seen = threading.Lock(), Counter[str]()
    dies = False  # at the next step

    def step(kind: str) -> None:
        nonlocal dies
        if threading.current_thread() is threading.main_thread():
            return  # it only holds the store
        with lock:
            if dies:
                raise KilledError
            seen[kind] += 1
            dies = (kind, seen[kind]) == (kill.kind, kill.number)
            if dies and not kill.is_after:
                raise KilledError

    def executed(*_: Any) -> None:
        step("statement")

    def committed(connection: sa.Connection) -> None:
        step("commit" if connection.get_execution_options().get("writes") else "commit of a read")

    def asked(_request: httpx.Request) -> None:
        step("request")

    events = {"before_cursor_execute": executed, "commit": committed}
    for name, listener in events.items():
        sa.event.listen(rig.store.engine, name, listener)
    rig.nets["alpha"].hook = rig.oms_net.hook = asked
    yield
    for name, listener in events.items():
        sa.event.remove(rig.store.engine, name, listener)
    rig.nets["alpha"].hook = rig.oms_net.hook = lambda _request: None


def killed(rig: Rig, kill: Kill) -> bool:
    """Let eight threads make the calls, and kill them at this step. Returns whether they got so far."""
    with killed_at(rig, kill):
        raised = in_threads(rig, rig.new_worker(), len(ORDERS))
    assert {type(error) for error in raised} <= {KilledError}
    return bool(raised)


def go_on(rig: Rig) -> None:
    """Another process takes over, and every order goes on to its end."""
    rig.worker = rig.new_worker()
    rounds(rig, rig.settings.worker.lease_seconds + 1)
    for order_id in IMPORTS:
        dispatch(rig, order_id)
    for order_id in ACCEPTANCES:
        rig.mirakl["alpha"].cancel(order_id)
    rounds(rig, 60)
    assert audit(LIVES, rig.books.effects(), journal_summaries(rig.store, {})) == []
    assert [rig.attention(order_id) for order_id in ORDERS] == [[]] * len(ORDERS)
    with rig.store.reading() as connection:
        states = connection.execute(sa.select(s.commands.c.state)).scalars().all()
    assert not {CommandState.OPEN, CommandState.LEASED} & set(states)


def rounds(rig: Rig, seconds: float) -> None:
    for _ in range(3):
        rig.work(seconds)
        rig.poll(GRACE.total_seconds() + 1)


@pytest.mark.parametrize("kill", kills("sqlite"))
def test_a_kill_between_any_two_steps_of_a_batch_passes_the_audit(tmp_path: Path, kill: Kill) -> None:
    rig = all_due(tmp_path)
    if killed(rig, kill):
        go_on(rig)


@pytest.mark.parametrize("kill", kills("postgresql"))
def test_a_kill_between_any_two_steps_of_a_batch_on_postgresql_passes_the_audit(
    tmp_path: Path, postgres_store_url: str, kill: Kill
) -> None:
    rig = all_due(tmp_path, postgres_store_url)
    if killed(rig, kill):
        go_on(rig)
    rig.store.close()


@pytest.mark.parametrize("engine", ["sqlite", "postgresql"])
@pytest.mark.parametrize("kind", ["statement", "commit", "request"])
def test_the_steps_that_are_tried_are_all_steps_and_a_batch_has_every_kind_of_call(
    tmp_path: Path, engine: str, kind: str, request: pytest.FixtureRequest
) -> None:
    """If this fails for the number of steps, LAST has to be more."""
    rig = all_due(tmp_path, request.getfixturevalue("postgres_store_url") if engine == "postgresql" else None)
    claims: list[set[str]] = [set()]

    def note(_connection: Any, _cursor: Any, statement: str, parameters: Any, *_: Any) -> None:
        if statement.startswith("INSERT INTO journal"):
            claims[-1].update(re.findall(r'"command": "(\w+)"[^{}]*"step": "claimed"', repr(parameters)))

    def ended(*_: Any) -> None:
        claims.append(set())

    sa.event.listen(rig.store.engine, "before_cursor_execute", note)
    sa.event.listen(rig.store.engine, "commit", ended)
    assert not killed(rig, Kill(kind, LAST[engine][kind]))
    assert {"accept_order", "import_order", "send_tracking", "confirm_shipment"} in claims
    assert {"done", "unknown"} <= {result for _, result in rig.results}
    go_on(rig)
    rig.store.close()


@pytest.mark.parametrize("kind", ["accepted", "imported", "tracking", "shipped"])
def test_the_audit_finds_an_effect_that_a_kill_doubled(tmp_path: Path, kind: str) -> None:
    """The tests above prove something only if the audit fails for the books of such a run."""
    rig = all_due(tmp_path)
    go_on(rig)
    (effect, *_) = [one for one in rig.books.effects() if one.kind == kind and one.by == "api"]
    rig.books.record(effect.at, effect.place, effect.order_id, kind, "api", **effect.detail)
    assert audit(LIVES, rig.books.effects(), journal_summaries(rig.store, {})) != []
