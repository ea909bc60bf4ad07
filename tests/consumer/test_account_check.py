"""The check of a shop's account at Mirakl, when `run` starts and by hand."""

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from adapters.simulators.faults import Fault
from adapters.store import shops as shop_rows
from adapters.store.shops import WRONG_ACCOUNT
from consumer import clients
from consumer.account_check import AccountCheck
from consumer.account_compare import compare
from consumer.leases import poll_lease
from consumer.operations import shops
from consumer.operations.errors import NotPossible
from tests.consumer.rig import Rig

OPEN = {"shop_id": 2104, "shop_state": "OPEN", "currency_iso_code": "GBP", "model": "MARKETPLACE"}


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[Rig]:
    yield Rig(tmp_path)


def client(rig: Rig) -> Any:
    hook = partial(rig.metrics.remote_called, "alpha")
    return clients.account_client(rig.settings.shops["alpha"], lambda: rig.keys["alpha"], hook, rig.nets["alpha"])


def check(rig: Rig) -> AccountCheck:
    table = rig.settings.shops["alpha"]
    return AccountCheck("alpha", table.endpoint, table.shop_id, client(rig), store=rig.store, clock=rig.clock)


def by_hand(rig: Rig) -> list[Any]:
    return shops.check(rig.store, rig.clock, "alpha", rig.settings.shops["alpha"], client(rig))


def paused(rig: Rig) -> tuple[str, ...]:
    return shop_rows.list_all(rig.store)[0].paused


@pytest.mark.parametrize(
    ("change", "field", "wrong"),
    [
        ({"shop_id": 7}, "shop_id", True),
        ({"shop_id": None}, "shop_id", True),
        ({"currency_iso_code": None}, "currency_iso_code", True),
        ({"shop_state": "SUSPENDED", "suspension_type": "MANUAL"}, "shop_state", True),
        ({"shop_state": "CLOSE"}, "shop_state", False),
        ({"closed_from": "2026-02-01T00:00:00Z", "closed_to": None}, "closed_from, closed_to", False),
        ({"model": "DROPSHIP"}, "model", False),
    ],
)
def test_what_differs_is_named(rig: Rig, change: dict[str, Any], field: str, wrong: bool) -> None:
    (finding,) = compare(OPEN | change, 2104, rig.clock.now())
    assert (finding.field, finding.wrong) == (field, wrong)


def test_a_closing_that_is_over_is_nothing(rig: Rig) -> None:
    over = {"closed_from": "2026-02-01T00:00:00Z", "closed_to": "2026-02-08T00:00:00Z"}
    assert compare(OPEN | over, 2104, rig.clock.now()) == []


def test_the_key_of_another_shop_stops_the_effects_until_a_person_resumes(rig: Rig) -> None:
    rig.mirakl["alpha"].account.fields["shop_id"] = 7
    rig.add("1-A")
    rig.poll()
    assert check(rig).run()
    assert rig.work() == 0
    assert rig.effects() == []
    assert WRONG_ACCOUNT in paused(rig)
    shops.resume(rig.store, rig.clock, "alpha", only=None, who="ops", why="mended", configured=None)
    assert paused(rig) == ()
    assert rig.work() > 0


def test_no_single_group_is_resumed_while_the_key_belongs_to_another_shop(rig: Rig) -> None:
    rig.mirakl["alpha"].account.fields["shop_id"] = 7
    rig.add("1-A")
    rig.poll()
    assert check(rig).run()
    before = paused(rig)
    with pytest.raises(NotPossible, match="belongs to another shop"):
        shops.resume(rig.store, rig.clock, "alpha", only="import", who="ops", why="x", configured=None)
    assert paused(rig) == before
    assert rig.work() == 0


def test_a_group_that_an_earlier_version_resumed_is_paused_again_by_the_next_check(rig: Rig) -> None:
    rig.mirakl["alpha"].account.fields["shop_id"] = 7
    with rig.store.transaction() as tx:
        shop_rows.set_switches(tx, "alpha", paused={WRONG_ACCOUNT, "accept"})
    assert check(rig).run()
    assert paused(rig) == ("accept", "import", "ship", WRONG_ACCOUNT)


def test_a_restart_spends_no_second_call(rig: Rig) -> None:
    assert check(rig).run()
    assert check(rig).run()
    assert rig.mirakl["alpha"].requests["A01"] == 1
    with pytest.raises(NotPossible, match="possible again at 2026-03-02 12:00:00 UTC"):
        by_hand(rig)
    rig.clock.advance(24 * 3600)
    assert by_hand(rig) == []
    assert rig.mirakl["alpha"].requests["A01"] == 2


@pytest.mark.parametrize(("status", "cure"), [(401, "api_key_file"), (403, "PARTNER_SHOP_READ"), (404, "hostname")])
def test_a_refused_read_says_what_to_correct(rig: Rig, status: int, cure: str) -> None:
    rig.mirakl["alpha"].knobs.faults.append(Fault("A01", "answer", status=status))
    (finding,) = by_hand(rig)
    assert cure in finding.cure
    assert paused(rig) == ()


def test_a_check_that_fails_keeps_no_order_from_being_read(rig: Rig) -> None:
    rig.fail("A01", "timeout_before")
    rig.add("1-A")
    poller = rig.new_scheduled(check=check(rig))
    assert rig.leases.take(poll_lease("alpha"))
    assert [poller.turn(), poller.turn()] == [0.0, 0.0]
    rig.consume()
    assert rig.state() == "waiting_acceptance"
