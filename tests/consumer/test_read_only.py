"""A PostgreSQL that became a standby takes reads and no writes: every loop waits, it is told, and nothing is lost."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import psycopg
import pytest

from adapters.engines.postgres import Postgres
from adapters.engines.processes import free_port
from adapters.errors import Cause, StoreUnavailable
from adapters.store import dead_letters as dead_letter_rows
from consumer import config
from consumer.bootstrap import build_parts, new_housekeeping
from consumer.demo.settings import write_settings
from consumer.polling.pollers import PollerPool
from consumer.service import Service
from tests.consumer.rig import Rig
from tests.support import StillClock


@pytest.fixture
def rig(tmp_path: Path, postgres_alone: Postgres) -> Iterator[Rig]:
    rig = Rig(tmp_path, store_url=postgres_alone.url)
    yield rig
    rig.store.close()


def test_a_standby_costs_nothing_but_time(rig: Rig, postgres_alone: Postgres) -> None:
    rig.add("1-A", state="SHIPPING")
    rig.add("2-A", state="SHIPPING")
    rig.poll()
    housekeeping = new_housekeeping(rig.base)
    housekeeping.turn()
    rig.clock.advance(60)
    postgres_alone.demote()
    loops: list[Callable[[], object]] = [
        rig.pollers["alpha"].run,
        lambda: rig.consumer.turn(0),
        rig.worker.turn,
        housekeeping.turn,
        rig.store.try_a_write,
    ]
    refused = []
    for turn in loops:
        try:
            turn()
        except StoreUnavailable as error:
            refused.append(error.cause)
    assert set(refused) == {Cause.READ_ONLY}
    assert len(refused) >= 4, "a consumer without records has nothing to write"
    rig.store.ping()
    assert rig.effects("1-A") == []
    postgres_alone.promote()
    rig.store.try_a_write()
    rig.poll(60)
    rig.work()
    assert [rig.state(one) for one in ("1-A", "2-A")] == ["imported", "imported"]
    assert [rig.effects(one) for one in ("1-A", "2-A")] == [["imported"]] * 2
    assert dead_letter_rows.newest(rig.store) == []
    with psycopg.connect(postgres_alone.url.replace("+psycopg", "")) as connection:
        assert connection.execute("SELECT count(*) FROM leases WHERE name LIKE 'probe%'").fetchone() == (0,)


def test_a_process_on_a_standby_is_not_ready(tmp_path: Path, rig: Rig, postgres_alone: Postgres) -> None:
    """The probe only read, and said that all was well."""
    nowhere = f"http://127.0.0.1:{free_port()}"
    settings = config.load(write_settings(tmp_path / "of", {"alpha": nowhere}, nowhere, free_port()))
    parts = build_parts(settings)
    base = replace(parts.base, store=rig.store)
    none = PollerPool({}, 1, StillClock())
    service = Service(replace(parts, base=base, consumer=None, worker=None, housekeeping=None, pollers=none))
    assert service.what_is_not_ready() == ""
    postgres_alone.demote()
    assert service.what_is_not_ready() == "the store takes no writes"
    postgres_alone.promote()
    assert service.what_is_not_ready() == ""
    parts.closing.close()
