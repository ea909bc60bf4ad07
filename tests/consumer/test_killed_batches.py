"""A process that is killed between any two steps of batches of claims, last looks, calls and results.

Six threads make the calls that are due of six orders: two imports, two trackings (OR23, then OR24) and two shipments
(OR24). A step is a statement, a commit or a request; the kill comes just before it, and ends all threads. Then another
process takes over, every order goes on to its end, and the audit compares the books of the remotes with our journal.
"""

import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
import sqlalchemy as sa

from adapters.simulators.audit import audit
from adapters.simulators.orders import KNOWN_SKUS, MARKETPLACES, Line
from adapters.simulators.stage import Life
from adapters.store import schema as s
from consumer.demo.journal_summaries import journal_summaries
from statemachine.commands import CommandState
from tests.consumer.rig import GRACE, Rig
from tests.consumer.test_batches import in_threads
from tests.consumer.test_worker_shipments import dispatched

IMPORTS, TRACKINGS, SHIPMENTS = ("1-A", "2-A"), ("3-A", "4-A"), ("5-A", "6-A")
ORDERS = (*IMPORTS, *TRACKINGS, *SHIPMENTS)
#: More steps than the threads take on each engine: about 200 on SQLite, where each row is a statement, and 170.
LAST = {"sqlite": 280, "postgresql": 220}
#: `make test` tries one step of so many, `make check` tries all of them.
EVERY = 40


class KilledError(BaseException):
    """The process is killed."""


def steps(engine: str) -> list[Any]:
    return [
        pytest.param(step, marks=() if step % EVERY == EVERY // 2 else pytest.mark.minutes)
        for step in range(1, LAST[engine])
    ]


def life(order_id: str) -> Life:
    tracking = None if order_id in SHIPMENTS else f"T-{order_id}"
    return Life(
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


LIVES = [life(order_id) for order_id in ORDERS]


def dispatch(rig: Rig, order_id: str) -> None:
    dispatched(rig, "" if order_id in SHIPMENTS else f"T-{order_id}", order_id)


def all_due(folder: Path, store_url: str | None = None) -> Rig:
    """Six orders, each with a call that is due. `store_url` None: on SQLite."""
    rig = Rig(folder, store_url=store_url)
    for order_id in (*TRACKINGS, *SHIPMENTS):
        rig.add(order_id, state="SHIPPING")
    rig.poll()
    rig.work()
    for order_id in (*TRACKINGS, *SHIPMENTS):
        dispatch(rig, order_id)
    for order_id in IMPORTS:
        rig.add(order_id, state="SHIPPING")
    rig.mirakl["alpha"].post_message(IMPORTS[0], "<p>Hello</p>")
    rig.poll()
    return rig


@contextmanager
def killed_at(rig: Rig, step: int) -> Iterator[None]:
    """Kill the process just before its `step`-th statement, commit or request: from then on nothing happens."""
    lock, left = threading.Lock(), [step]

    def count(*_: Any) -> None:
        if threading.current_thread() is threading.main_thread():
            return  # it only holds the store
        with lock:
            left[0] -= 1
            if left[0] <= 0:
                raise KilledError

    def asked(_request: httpx.Request) -> None:
        count()

    events = ("before_cursor_execute", "commit")
    for name in events:
        sa.event.listen(rig.store.engine, name, count)
    rig.nets["alpha"].hook = rig.oms_net.hook = asked
    yield
    for name in events:
        sa.event.remove(rig.store.engine, name, count)
    rig.nets["alpha"].hook = rig.oms_net.hook = lambda _request: None


def killed(rig: Rig, step: int) -> bool:
    """Let six threads make the calls, and kill them at this step. Returns whether they got so far."""
    with killed_at(rig, step):
        raised = in_threads(rig, rig.new_worker(), len(ORDERS))
    assert {type(error) for error in raised} <= {KilledError}
    return bool(raised)


def go_on(rig: Rig) -> None:
    """Another process takes over, and every order goes on to its end."""
    rig.worker = rig.new_worker()
    for _ in range(3):
        rig.work(rig.settings.worker.lease_seconds + 1)
        rig.poll(GRACE.total_seconds() + 1)
    for order_id in IMPORTS:
        dispatch(rig, order_id)
    for _ in range(3):
        rig.work(60)
        rig.poll(GRACE.total_seconds() + 1)
    assert audit(LIVES, rig.books.effects(), journal_summaries(rig.store, {})) == []
    assert [rig.attention(order_id) for order_id in ORDERS] == [[]] * len(ORDERS)
    with rig.store.reading() as connection:
        states = connection.execute(sa.select(s.commands.c.state)).scalars().all()
    assert not {CommandState.OPEN, CommandState.LEASED} & set(states)


@pytest.mark.parametrize("step", steps("sqlite"))
def test_a_kill_between_any_two_steps_of_a_batch_passes_the_audit(tmp_path: Path, step: int) -> None:
    rig = all_due(tmp_path)
    killed(rig, step)
    go_on(rig)


@pytest.mark.parametrize("step", steps("postgresql"))
def test_a_kill_between_any_two_steps_of_a_batch_on_postgresql_passes_the_audit(
    tmp_path: Path, postgres_store_url: str, step: int
) -> None:
    rig = all_due(tmp_path, postgres_store_url)
    killed(rig, step)
    go_on(rig)
    rig.store.close()


@pytest.mark.parametrize("engine", ["sqlite", "postgresql"])
def test_the_steps_that_are_tried_are_all_steps_and_a_batch_has_every_kind_of_call(
    tmp_path: Path, engine: str, request: pytest.FixtureRequest
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
    assert not killed(rig, LAST[engine])
    assert {"import_order", "send_tracking", "confirm_shipment"} in claims
    go_on(rig)
    rig.store.close()


@pytest.mark.parametrize("kind", ["imported", "tracking", "shipped"])
def test_the_audit_finds_an_effect_that_a_kill_doubled(tmp_path: Path, kind: str) -> None:
    """The tests above prove something only if the audit fails for the books of such a run."""
    rig = all_due(tmp_path)
    go_on(rig)
    (effect, *_) = [one for one in rig.books.effects() if one.kind == kind and one.by == "api"]
    rig.books.record(effect.at, effect.place, effect.order_id, kind, "api", **effect.detail)
    assert audit(LIVES, rig.books.effects(), journal_summaries(rig.store, {})) != []
