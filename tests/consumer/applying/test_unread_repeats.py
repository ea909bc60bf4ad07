"""A repeat is counted without reading its data, and ends as one whose data was read. Real store, embedded log."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from adapters.store import schema as s
from statemachine.events import Event, Sealed, Trigger
from tests.consumer.applying.looping import World, said


class Sealing(World):
    """A consumer whose decoder reads the envelope first, unless `opens` says that it reads all at once."""

    def __init__(self, folder: Path, *, opens: bool = False) -> None:
        folder.mkdir()
        self._opens = opens
        self.opened: list[str] = []
        self.dropped: Counter[Trigger] = Counter()
        super().__init__(folder)

    def decode(  # type: ignore[override]  # a decoder may seal
        self, value: bytes | None, _headers: Sequence[tuple[str, bytes]]
    ) -> Event | Sealed | None:
        event = super().decode(value, _headers)
        if self._opens or event is None:
            return event

        def opened() -> Event:
            self.opened.append(event.event_id)
            return event

        return Sealed(event.source, event.event_id, event.shop, event.order_id, event.trigger, opened)

    def repeats_dropped(self, trigger: Trigger, count: int) -> None:
        self.dropped[trigger] += count

    def rows(self) -> list[tuple[object, ...]]:
        """What is stored of each event and of its order."""
        j, o = s.journal.c, s.orders.c
        stored = sa.select(j.event_id, j.repeats, j.result, j.says, o.order_id, o.state, o.facts, o.version)
        with self.store.reading() as connection:
            found = connection.execute(stored.join(s.orders, o.id == j.order_key).order_by(j.id))
            return [tuple(row) for row in found]


def test_the_data_of_a_repeat_is_not_read(tmp_path: Path) -> None:
    world = Sealing(tmp_path / "one")
    for n in (1, 2):
        world.publish(said(n))
    world.drain()
    for n in (1, 1, 3):
        world.publish(said(n))
    assert world.drain() == 3
    assert world.opened == [said(n).event_id for n in (1, 2, 3)]
    assert world.dropped == {said(1).trigger: 2}
    assert {row[0]: row[1] for row in world.rows()} == {said(1).event_id: 2, said(2).event_id: 0, said(3).event_id: 0}
    world.store.close()


def test_the_id_of_an_event_of_another_order_is_no_repeat(tmp_path: Path) -> None:
    """In silence, the other order's event would be lost."""
    world = Sealing(tmp_path / "one")
    world.publish(said(1))
    world.drain()
    other = Event(said(1).source, said(1).event_id, said(1).shop, "O-OTHER", said(1).trigger, said(1).at)
    world.publish(other)
    world.drain()
    assert world.batches[-1] == (1, [], ["not_applicable"])
    assert not world.dropped
    world.store.close()


@settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(batches=st.lists(st.lists(st.integers(0, 4), min_size=1, max_size=5), min_size=1, max_size=4))
def test_a_repeat_ends_alike_read_or_not(batches: list[list[int]], tmp_path_factory: pytest.TempPathFactory) -> None:
    found = []
    folder = tmp_path_factory.mktemp("agree")
    for opens in (False, True):
        world = Sealing(folder / f"{opens}", opens=opens)
        for numbers in batches:
            for n in numbers:
                world.publish(said(n))
            world.drain()
        found.append(world.rows())
        world.store.close()
    assert found[0] == found[1]
