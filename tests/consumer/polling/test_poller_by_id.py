"""Orders that a poll reads by their ids."""

import json
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from structlog.testing import capture_logs

from adapters.errors import Rejected
from adapters.simulators.orders import ALPHA, Line, build_order
from adapters.store import cursors as cursor_rows
from consumer import bootstrap
from consumer.polling.poll_memory import PUBLISHED_FOR
from consumer.polling.poller import FIRST_WINDOW
from tests.consumer.polling.polling import DAY, watched
from tests.consumer.rig import Rig


def test_orders_that_only_the_oms_reported_are_read_by_id_a_hundred_at_a_time(rig: Rig) -> None:
    for number in range(130):
        old = build_order(ALPHA, f"{number:03d}-A", created=rig.clock.now(), lines=[Line("MUG")], state="RECEIVED")
        rig.mirakl["alpha"].add_order(old)
    rig.clock.advance((FIRST_WINDOW + timedelta(days=1)).total_seconds())  # no window shows them
    for number in range(130):
        _the_oms_reports(rig, f"{number:03d}-A", number + 1)
    rig.consume()
    mirakl, poller = watched(rig)
    poller.run()
    rig.consume()
    asked = [query.order_ids for query, _ in mirakl.asked if query.order_ids]
    assert [len(one) for one in asked] == [100, 30]
    assert {rig.state(f"{number:03d}-A") for number in range(130)} == {"shipped"}


def _the_oms_reports(rig: Rig, order_id: str, oms_id: int = 1) -> None:
    body = json.dumps({"id": oms_id, "external_ref": order_id, "status": 4}).encode()
    rig.take_callback("http://alpha", {}, body)


def test_ids_that_mirakl_does_not_show_do_not_crowd_out_the_others(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    """The OMS may report on orders of another shop. Their ids must not delay the read that proves a call."""
    monkeypatch.setattr("consumer.polling.poller.MAX_BY_ID", 3)
    for number in range(6):
        _the_oms_reports(rig, f"foreign-{number}")
    rig.consume()
    mirakl, poller = watched(rig)
    for _ in range(3):
        rig.clock.advance(60)
        poller.run()
    asked = [query.order_ids for query, _ in mirakl.asked if query.order_ids]
    assert [len(one) for one in asked] == [3, 3], "each id once"
    assert len({name for some in asked for name in some}) == 6
    rig.clock.advance(PUBLISHED_FOR.total_seconds())
    poller.run()
    assert mirakl.asked[-1][0].order_ids, "asked for again later"


def test_an_order_gone_from_mirakl_for_a_day_is_told_and_makes_no_further_events(rig: Rig) -> None:
    rig.imported()
    rig.mirakl["alpha"].remove("1-A")
    rig.poll(DAY - 60)
    assert rig.row().facts.not_found == ()
    rig.poll(120)
    assert len(rig.row().facts.not_found) == 1
    rig.poll(DAY - 1)
    assert rig.attention() == []
    rig.poll(2)
    assert rig.attention() == ["gone_from_mirakl"]
    rows = len(rig.journal())
    for _ in range(5):
        rig.poll(DAY)
    assert len(rig.journal()) == rows


@pytest.mark.parametrize(
    ("oms_table", "reasons"),
    [
        ({}, []),
        ({"other_channels": False}, ["unknown_to_mirakl"]),
        ({"external_ref_prefix": "A-"}, ["unknown_to_mirakl"]),
        ({"external_ref_prefix": "A-", "other_channels": True}, []),
    ],
)
def test_an_order_that_only_the_oms_knows_for_a_day_is_told_if_the_company_has_no_other_channels(
    tmp_path: Path, oms_table: dict[str, Any], reasons: list[str]
) -> None:
    """A prefix is the shop's own, so no other channel has it."""
    rig = Rig(tmp_path, oms_table=oms_table)
    keeper = bootstrap.new_housekeeping(rig.base)
    ref = f"{oms_table.get('external_ref_prefix', '')}1-A"
    for status in (4, 512, 8):
        rig.take_callback("http://alpha", {}, json.dumps({"id": 7, "external_ref": ref, "status": status}).encode())
        rig.poll(DAY / 2 - 1)
        keeper.turn()
        assert rig.attention() == ([] if status != 8 else reasons)
    rig.add("1-A", state="SHIPPING")
    rig.poll(DAY)
    assert rig.attention() == []


def test_an_order_that_the_sweep_shows_is_published_once_a_day_and_asked_for_by_no_id(rig: Rig) -> None:
    rig.imported()
    reads = len(rig.records())
    mirakl, poller = watched(rig)
    for _ in range(25):
        rig.clock.advance(DAY / 24)
        poller.run()
        rig.consume()
    assert len(rig.records()) - reads == 1
    assert [query for query, _ in mirakl.asked if query.order_ids] == []
    assert rig.row().facts.not_found == ()


def test_an_order_that_waits_for_its_payment_is_asked_for_by_id_so_that_it_is_missed(rig: Rig) -> None:
    """No sweep shows an order that waits for its payment."""
    rig.add("1-A", state="WAITING_DEBIT")
    rig.poll()
    rig.mirakl["alpha"].remove("1-A")
    for _ in range(3):
        rig.poll(DAY + 1)
    assert "gone_from_mirakl" in rig.attention()


@pytest.mark.parametrize("trouble", ["refused", "cut short"])
def test_a_read_that_mirakl_refuses_or_cuts_short_does_not_show_that_an_order_is_gone(rig: Rig, trouble: str) -> None:
    rig.imported()
    rig.mirakl["alpha"].remove("1-A")
    asked = []

    def answer(request: httpx.Request) -> httpx.Response | None:
        if "order_ids" not in request.url.params:
            return None
        asked.append(request)
        if trouble == "refused":
            return httpx.Response(400, json={"message": "no"})
        return httpx.Response(200, content=b'{"orders": [], "total_count": 1}')

    rig.nets["alpha"].hook = answer
    for _ in range(4):
        rig.poll(DAY + 1)
    assert asked
    assert rig.row().facts.not_found == ()


def test_ids_of_many_bytes_keep_the_url_below_4_kb(rig: Rig) -> None:
    """The ids come from the OMS. Some gateways refuse a longer URL, and httpx refuses a URL of 64 kB."""
    names = [f"{number:02d}-" + "\u6f22" * 197 for number in range(40)]
    for name in names:
        _the_oms_reports(rig, name)
    rig.consume()
    urls: list[str] = []
    rig.nets["alpha"].hook = lambda request: urls.append(str(request.url))
    assert rig.pollers["alpha"].run().complete
    assert max(len(url) for url in urls) < 4_000
    asked = [name for url in urls for name in httpx.URL(url).params.get("order_ids", "").split(",") if name]
    assert sorted(asked) == names


def test_an_id_that_mirakl_refuses_does_not_stop_the_poll(rig: Rig) -> None:
    """The id comes from the OMS, and need not be one that Mirakl takes."""
    worst = "x" * 180
    rig.mirakl["alpha"].add_order(
        build_order(ALPHA, "1-A", created=rig.clock.now(), lines=[Line("MUG")], state="RECEIVED")
    )
    rig.clock.advance((FIRST_WINDOW + timedelta(days=1)).total_seconds())
    for order_id in (worst, "1-A", "2-A", "3-A"):
        _the_oms_reports(rig, order_id)
    rig.consume()
    refused = rig.nets["alpha"]
    refused.hook = lambda request: httpx.Response(400) if worst in request.url.params.get("order_ids", "") else None
    with capture_logs() as lines:
        outcome = rig.pollers["alpha"].run()
    rig.consume()
    assert outcome.complete
    assert rig.state("1-A") == "shipped"
    assert [line["event"] for line in lines] == ["id_refused"]
    assert cursor_rows.find(rig.store, "alpha") is not None


def test_a_listing_without_ids_that_mirakl_refuses_fails_the_run(rig: Rig) -> None:
    rig.nets["alpha"].hook = lambda _request: httpx.Response(400)
    with pytest.raises(Rejected):
        rig.pollers["alpha"].run()
    assert cursor_rows.find(rig.store, "alpha") is None
