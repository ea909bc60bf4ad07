"""The check of a shop's account at Mirakl, when `run` starts and by hand."""

import json
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from structlog.testing import capture_logs

from adapters.remotes.mirakl_account import MiraklAccount, Platform
from adapters.simulators.faults import Fault
from adapters.store import shops as shop_rows
from adapters.store.shops import WRONG_ACCOUNT
from consumer import clients
from consumer.config.shops import ShopOmsTable, ShopTable
from consumer.leases import poll_lease
from consumer.operations import shops
from consumer.operations.errors import NotPossible
from consumer.polling.account_check import AccountCheck
from consumer.polling.account_compare import compare
from tests.consumer.rig import Rig

OPEN = {"shop_id": 2104, "shop_state": "OPEN", "currency_iso_code": "GBP", "model": "MARKETPLACE"}


def configured(**more: Any) -> ShopTable:
    return ShopTable(
        hostname="alpha-prod.mirakl.net",
        shop_id=2104,
        api_key_file=Path("key"),
        currency="GBP",
        oms=ShopOmsTable(company_ref_id=1, api_key_file=Path("key")),
        **more,
    )


SHOP = configured()
NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[Rig]:
    yield Rig(tmp_path)


def client(rig: Rig) -> Any:
    hook = partial(rig.metrics.remote_called, "alpha")
    return clients.account_client(rig.settings.shops["alpha"], lambda: rig.keys["alpha"], hook, rig.nets["alpha"])


def check(rig: Rig) -> AccountCheck:
    return AccountCheck("alpha", rig.settings.shops["alpha"], client(rig), store=rig.store, clock=rig.clock)


def by_hand(rig: Rig) -> list[Any]:
    return shops.check(rig.store, rig.clock, "alpha", rig.settings.shops["alpha"], client(rig)).findings


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
        ({"currency_iso_code": "EUR"}, "currency_iso_code", True),
        ({"logo": "https://other-prod.mirakl.net/mmp/media/shop-logo/2000"}, "hostname", False),
    ],
)
def test_what_differs_is_named(rig: Rig, change: dict[str, Any], field: str, wrong: bool) -> None:
    (finding,) = compare(OPEN | change, SHOP, rig.clock.now())
    assert (finding.field, finding.wrong) == (field, wrong)


def test_a_closing_that_is_over_is_nothing(rig: Rig) -> None:
    over = {"closed_from": "2026-02-01T00:00:00Z", "closed_to": "2026-02-08T00:00:00Z"}
    assert compare(OPEN | over, SHOP, rig.clock.now()) == []


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
    rig.clock.advance(24 * 3600)
    assert by_hand(rig) == []
    assert rig.mirakl["alpha"].requests["A01"] == 2


def test_the_read_of_today_counts_while_mirakl_allows_no_other(rig: Rig) -> None:
    rig.mirakl["alpha"].account.fields["shop_state"] = "SUSPENDED"
    assert check(rig).run()
    rig.clock.advance(3600)
    checked = shops.check(rig.store, rig.clock, "alpha", rig.settings.shops["alpha"], client(rig))
    assert [one.field for one in checked.findings] == ["shop_state"]
    assert (f"{checked.read_at:%H:%M}", f"{checked.again_at:%d %H:%M}") == ("12:00", "02 12:00")
    assert rig.mirakl["alpha"].requests["A01"] == 1


def test_a_key_that_was_put_in_after_the_read_of_today_is_tried(rig: Rig) -> None:
    assert check(rig).run()
    rig.keys["alpha"] = "mistyped"
    (finding,) = by_hand(rig)
    assert (finding.field, finding.wrong) == ("PC01", True)
    assert "api_key_file" in finding.cure


def test_a_read_that_failed_today_is_no_answer(rig: Rig) -> None:
    rig.fail("A01", "timeout_before")
    assert check(rig).run()
    with pytest.raises(NotPossible, match=r"possible again at 2026-03-02 12:00:00 UTC.*the last read .* failed"):
        by_hand(rig)


def test_the_marketplace_of_another_host_is_shown_by_its_name(rig: Rig) -> None:
    """A01 names no marketplace. PC01 does, and counts before the addresses of the pictures."""
    pictures = {"banner": "https://beta-prod.mirakl.net/mmp/media/shop-banner/1", "logo": "https://[broken"}
    (finding,) = compare(OPEN | pictures, SHOP, rig.clock.now(), Platform(True, None, "gamma-preprod"))
    assert (finding.field, finding.found, finding.wrong) == ("hostname", "gamma-preprod", False)
    assert "alpha-prod" in finding.cure
    assert compare(OPEN | pictures, SHOP, rig.clock.now(), Platform(True, None, "alpha-prod")) == []
    own_host = SHOP.model_copy(update={"hostname": "marketplace.example"})
    assert compare(OPEN | pictures, own_host, rig.clock.now(), Platform(True, None, "gamma-preprod")) == []


def test_a_payment_workflow_that_the_marketplace_does_not_offer_is_wrong(rig: Rig) -> None:
    shop = configured(payment_workflows=["PAY_ON_ACCEPTANCE", "PAY_ON_SHIPMENT"])
    off = Platform(True, None, without=frozenset({"PAY_ON_SHIPMENT", "PAY_ON_DUE_DATE"}))
    (finding,) = compare(OPEN, shop, rig.clock.now(), off)
    assert (finding.field, finding.found, finding.wrong) == ("payment_workflows", "PAY_ON_SHIPMENT", True)
    assert compare(OPEN, shop, rig.clock.now(), Platform(True, None)) == []


def test_the_start_and_the_hand_compare_currency_and_payment_workflow(rig: Rig) -> None:
    """The whole path: the marketplace's features, and an order that was read."""
    changed = {"currency": "EUR", "payment_workflows": frozenset({"PAY_ON_ACCEPTANCE"})}
    rig.settings.shops["alpha"] = rig.settings.shops["alpha"].model_copy(update=changed)
    rig.add("1-A", workflow="PAY_ON_SHIPMENT")
    rig.poll()
    with capture_logs() as logs:
        assert check(rig).run()
    found = [(one["field"], one["found"]) for one in logs if one["event"] == "account_differs"]
    assert found == [("currency_iso_code", "GBP"), ("payment_workflow", "PAY_ON_SHIPMENT, such as 1-A")]
    assert [(one.field, one.found) for one in by_hand(rig)] == found


@pytest.mark.parametrize("status", [403, 404, 500])
def test_features_that_cannot_be_read_are_not_wrong(rig: Rig, status: int) -> None:
    rig.mirakl["alpha"].knobs.faults.append(Fault("PC01", "answer", status=status))
    assert not any(one.wrong for one in by_hand(rig))


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


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text()
    | st.sampled_from(["OPEN", "GBP", "2026-02-01"]),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(), inner, max_size=2),
    max_leaves=6,
)
NAMES = ("shop_id", "shop_state", "suspension_type", "closed_from", "closed_to", "currency_iso_code", "model", "logo")


@given(st.dictionaries(st.sampled_from(NAMES), JSON))
def test_an_account_is_compared_whatever_mirakl_sent(account: dict[str, Any]) -> None:
    for one in compare(account, SHOP, NOW):
        assert "\0" not in one.found
        assert one.cure


@given(
    st.dictionaries(
        st.sampled_from(["tenant_name", "features"]), JSON | st.fixed_dictionaries({"order_workflows": JSON})
    )
)
def test_the_features_are_read_whatever_mirakl_sent(sent: dict[str, Any]) -> None:
    reply = httpx.Response(200, content=json.dumps(sent).encode())
    asked = MiraklAccount(
        base_url="https://alpha.example",
        shop_id=2104,
        api_key=lambda: "key",
        on_call=lambda *_, **__: None,
        transport=httpx.MockTransport(lambda _: reply),
    )
    try:
        platform = asked.platform()
    finally:
        asked.close()
    assert platform.may_read
    assert platform.without == frozenset()


@pytest.mark.parametrize("name", ["pay_on_shipment", "pay_on_due_date", "no_customer_payment_confirmation"])
def test_a_workflow_that_the_marketplace_turned_off_is_read(rig: Rig, name: str) -> None:
    marketplace = rig.mirakl["alpha"]
    marketplace.marketplace = replace(marketplace.marketplace, workflows=("PAY_ON_ACCEPTANCE",))
    assert name.upper() in client(rig).platform().without
