"""SQLite and PostgreSQL store the same, whatever is applied and claimed.

Statements on many rows differ between them: PostgreSQL takes each column as an array, and SQLite one row after the
other (adapters/store/bulk.py); PostgreSQL asks all lanes at once (adapters/store/lanes.py).
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from adapters.store import schema as s
from statemachine.events import Event
from tests.consumer.applying.test_apply import batches, distinguished
from tests.consumer.calling.test_claims_agree import SHOPS, World, empty, make, names, stored, worlds
from tests.consumer.rig import Rig
from tests.statemachine.test_confluence import histories

#: The tables that apply writes. Their ids differ from run to run.
WRITTEN = (s.orders, s.journal, s.commands, s.snapshots, s.names, s.objective_results)
IDS = ("id", "order_key")


@pytest.fixture
def rigs(tmp_path: Path, postgres_store_url: str) -> Iterator[tuple[Rig, Rig]]:
    """One on each engine. Their clocks show the same."""
    both = Rig(tmp_path, shops=SHOPS), Rig(tmp_path, shops=SHOPS, store_url=postgres_store_url)
    yield both
    for rig in both:
        rig.store.close()


def rows(rig: Rig) -> dict[str, list[str]]:
    """What these tables hold, each row with the id of its order."""
    found = {}
    with rig.store.reading() as connection:
        for table in WRITTEN:
            columns: list[Any] = [column for column in table.c if column.name not in IDS]
            statement = sa.select(*columns)
            if "order_key" in table.c:
                statement = sa.select(s.orders.c.order_id, *columns).join_from(table, s.orders)
            found[table.name] = sorted(map(repr, connection.execute(statement)))
    return found


@st.composite
def runs(draw: st.DrawFn) -> list[list[Event]]:
    """Events of two orders in any sequence, in batches, with repeats."""
    events = [
        replace(event, order_id=order_id, event_id=f"{order_id}:{event.event_id}")
        for order_id in ("O-1", "O-2")
        for event in map(distinguished, draw(histories())[1])
    ]
    return draw(batches(draw(st.permutations(events))))


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(runs())
def test_what_is_applied_is_stored_alike(rigs: tuple[Rig, Rig], run: Sequence[Sequence[Event]]) -> None:
    reported = []
    for rig in rigs:
        empty(rig)
        reported.append([[one.result for one in rig.orders.apply(batch)] for batch in run])
    assert reported[0] == reported[1]
    assert rows(rigs[0]) == rows(rigs[1])


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(worlds)
def test_what_is_claimed_is_the_same_and_stored_alike(rigs: tuple[Rig, Rig], world: World) -> None:
    claimed = [names(make(rig, world).claim(world.most)) for rig in rigs]
    assert claimed[0] == claimed[1]
    assert stored(rigs[0]) == stored(rigs[1])
