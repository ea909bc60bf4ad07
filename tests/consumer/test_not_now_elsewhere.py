"""Every error of the database in the poller and in the relay: it costs one poll, or one publication that is repeated.

test_not_now.py has the consumer, the worker and the housekeeping.
"""

from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from adapters.errors import StoreUnavailable
from adapters.store import cursors as cursor_rows
from tests.consumer.rig import Rig
from tests.consumer.test_not_now import OF_EACH_CLASS, is_later, refusing
from tests.consumer.test_relay import World
from tests.support import new_store


def raised_for(sqlstate: str) -> type[Exception]:
    return StoreUnavailable if is_later(sqlstate) else sa.exc.DBAPIError


@pytest.mark.parametrize("sqlstate", OF_EACH_CLASS)
def test_every_error_of_the_database_at_the_cursor_of_a_shop_costs_one_poll(tmp_path: Path, sqlstate: str) -> None:
    rig = Rig(tmp_path, shops=("alpha", "beta"))
    rig.add("1-A")
    rig.add("9-B", "beta", sku="TASSE-33CL")
    rig.clock.advance(1)

    def is_of_alpha(statement: str, parameters: Any) -> bool:
        return statement.startswith(("INSERT INTO cursors", "UPDATE cursors")) and "alpha" in repr(parameters)

    with refusing(rig, sqlstate, is_of_alpha):
        with pytest.raises(raised_for(sqlstate)):
            rig.pollers["alpha"].run()
        rig.pollers["beta"].run()
    assert [cursor_rows.find(rig.store, shop) is not None for shop in ("alpha", "beta")] == [False, True]
    rig.poll()
    assert cursor_rows.find(rig.store, "alpha")
    assert [(rig.state(one), rig.row(one).version) for one in ("1-A", "9-B")] == [("waiting_acceptance", 1)] * 2


@pytest.mark.parametrize("sqlstate", OF_EACH_CLASS)
def test_every_error_of_the_database_in_the_relay_repeats_a_publication(tmp_path: Path, sqlstate: str) -> None:
    world = World(new_store(tmp_path))
    world.add("1", "2")
    with refusing(world, sqlstate, lambda statement, _: statement.startswith("DELETE FROM outbox")):
        with pytest.raises(raised_for(sqlstate)):
            world.relay.turn()
        assert len(world.waiting()) == 2, "nothing is lost"
    world.relay.turn()
    assert world.waiting() == []
