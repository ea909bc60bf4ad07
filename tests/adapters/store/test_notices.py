"""Notices: a process hears that another one opened commands."""

from collections.abc import Iterator

import pytest

from adapters.errors import StoreUnavailable
from adapters.store import notices as notice_rows
from adapters.store.notices import Notices
from tests.adapters.store.support import IMPORT, TRACK, Desk, on_postgresql
from tests.support import LONG, Meanwhile, OpenStore

pytestmark = on_postgresql


@pytest.fixture
def notices(open_store: OpenStore) -> Iterator[Notices]:
    notices = Notices(open_store())
    assert notices.wait(0) == 0, "it listens from here on"
    yield notices
    notices.close()


def test_another_process_hears_how_many_commands_were_opened_when_they_are_committed(
    open_store: OpenStore, notices: Notices
) -> None:
    desk = Desk(open_store())
    assert notices.wait(0) == 0
    heard = Meanwhile(lambda: notices.wait(LONG))
    assert heard.waits()
    desk.open(IMPORT, TRACK)
    assert heard.result() == 2
    desk.open(order_id="O-2")
    assert notices.wait(0.1) == 0, "an order without a new command wakes nobody"


def test_after_a_lost_connection_it_listens_again(open_store: OpenStore, notices: Notices) -> None:
    store = open_store()
    desk = Desk(store)
    with store.writing() as connection:
        connection.exec_driver_sql(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE datname = current_database() AND query LIKE 'LISTEN %%'"
        )
    with pytest.raises(StoreUnavailable):
        while True:
            notices.wait(LONG)
    assert notices.wait(0) == 0
    desk.open(IMPORT)
    assert notices.wait(LONG) == 1


def test_nothing_is_heard_of_what_is_rolled_back(open_store: OpenStore, notices: Notices) -> None:
    with pytest.raises(KeyError), open_store().transaction() as tx:
        notice_rows.opened(tx, 3)
        raise KeyError
    assert notices.wait(0.1) == 0
