"""Orders that the poller or the consumer cannot use, and what is kept of those that it can."""

import json
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import httpx
import pytest
import sqlalchemy as sa
from structlog.testing import capture_logs

from adapters.messages.json_slices import LONGEST_ORDER
from adapters.ports import OrdersPage
from adapters.store import cursors as cursor_rows
from adapters.store import schema as s
from adapters.store import snapshots as snapshot_rows
from statemachine.plan import Plan
from tests.consumer.polling.polling import fill, ids, watched
from tests.consumer.rig import SNAPSHOTS, AfterPage, Rig


def bad_order(rig: Rig) -> Callable[[OrdersPage], OrdersPage]:
    return lambda page: OrdersPage(
        page.body.replace(b'"order_id":"001-A"', b'"order_id":""'), page.read_at, page.server_time
    )


def dead_letters(rig: Rig) -> list[sa.Row[Any]]:
    with rig.store.reading() as connection:
        return list(connection.execute(sa.select(s.dead_letters)))


def test_an_order_without_id_is_dead_lettered_and_the_rest_of_its_page_is_published(rig: Rig) -> None:
    fill(rig, 3)
    mirakl, poller = watched(rig)
    mirakl.after = bad_order(rig)
    with capture_logs() as lines:
        outcome = poller.run()
    assert sorted(ids(rig)) == ["000-A", "002-A"]
    (one,) = dead_letters(rig)
    assert one.source == "poll:alpha"
    assert one.reason == "missing_field"
    assert one.detail == "order_id"
    assert json.loads(one.value)["order_id"] == ""
    assert cursor_rows.find(rig.store, "alpha") is not None
    assert dict(outcome.dead_letters) == {"missing_field": 1}
    assert [line["event"] for line in lines] == ["dead_lettered"]
    assert "canary" not in json.dumps(lines).lower()


def test_an_order_that_stays_unusable_is_not_dead_lettered_in_every_run(rig: Rig) -> None:
    """An alert fires at ten dead letters within 15 minutes. One order alone must not cause that."""
    fill(rig, 3)
    mirakl, poller = watched(rig)
    mirakl.after = bad_order(rig)
    counted = 0
    for _ in range(15):
        rig.clock.advance(60)
        counted += sum(poller.run().dead_letters.values())
    assert counted == 2
    assert dead_letters(rig)[0].times == 2


def test_an_unusable_order_whose_content_changes_is_one_dead_letter(rig: Rig) -> None:
    fill(rig, 3)
    mirakl, poller = watched(rig)
    for price in (b"1", b"2", b"3"):
        unusable = b'"order_id":"001-A\\u0000","x":' + price
        mirakl.after = lambda page, unusable=unusable: OrdersPage(  # type: ignore[misc]
            page.body.replace(b'"order_id":"001-A"', unusable), page.read_at, page.server_time
        )
        rig.clock.advance(660)  # a repeat within PUBLISHED_FOR (ten minutes) would not be counted
        poller.run()
    (letter,) = dead_letters(rig)
    assert (letter.reason, letter.times) == ("bad_id", 3)
    assert json.loads(letter.value)["x"] == 3


def page_of(*orders: bytes) -> Callable[[OrdersPage], OrdersPage]:
    body = b'{"orders":[' + b",".join(orders) + b'],"total_count":%d}' % len(orders)
    return lambda page: OrdersPage(body, page.read_at, page.server_time)


def test_the_orders_of_a_page_that_have_no_id_are_one_dead_letter_for_each_reason(rig: Rig) -> None:
    """A page of 1,000 of them was 1,000 dead letters, and each read of it 1,000 more if its content changed."""
    mirakl, poller = watched(rig)
    deep = b"[" * 100_000 + b"]" * 100_000
    for price in (b"1", b"2"):
        without = [b'{"order_id":"","order_state":"SHIPPING","n":%d,"x":%s}' % (n, price) for n in range(900)]
        mirakl.after = page_of(*without, *[b'{"order_id":null,"n":%d,"x":%s}' % (n, deep) for n in range(10)])
        with capture_logs() as lines:
            outcome = poller.run()
        assert dict(outcome.dead_letters) == {"missing_field": 900, "not_json": 10}
        assert [line["detail"] for line in lines] == ["order_id (900 orders of one page)", "(10 orders of one page)"]
        rig.clock.advance(660)
    assert [(one.reason, one.times) for one in dead_letters(rig)] == [("missing_field", 2), ("not_json", 2)]
    mirakl.after = lambda page: page
    fill(rig, 3)
    assert poller.run().new == 3


def test_an_order_with_two_reasons_is_counted_once_in_ten_minutes_for_each(rig: Rig) -> None:
    mirakl, poller = watched(rig)
    bad = [b'{"order_id":""}', b'{"order_id":"","x":' + b"[" * 100_000 + b"]" * 100_000 + b"}"]
    mirakl.after = page_of(*bad)
    counted = 0
    for _ in range(5):
        counted += sum(poller.run().dead_letters.values())
        rig.clock.advance(60)
    assert counted == 2


def test_an_order_that_is_too_long_is_a_dead_letter_and_is_never_parsed(rig: Rig) -> None:
    fill(rig, 3)
    mirakl, poller = watched(rig)
    long = b'"order_id":"001-A","x":[' + b"[]," * (LONGEST_ORDER // 3) + b"[]]"
    mirakl.after = lambda page: OrdersPage(
        page.body.replace(b'"order_id":"001-A"', long), page.read_at, page.server_time
    )
    poller.run()
    assert sorted(ids(rig)) == ["000-A", "002-A"]
    (letter,) = dead_letters(rig)
    assert (letter.reason, letter.source) == ("too_large", "poll:alpha")
    assert long in letter.value


def offered(rig: Rig, seconds: float) -> int:
    """Poll once after this time. Returns how many records it published."""
    before = len(rig.records())
    rig.poll(seconds)
    return len(rig.records()) - before


def test_an_order_that_the_consumer_cannot_use_is_offered_again_when_it_changes_or_after_a_day(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An earlier version offered it six times an hour, and dead-lettered it each time."""

    def breaks(*_: object) -> Plan:
        raise OverflowError

    monkeypatch.setattr("consumer.applying.planning.plan", breaks)
    rig.add("1-A")
    assert offered(rig, 1) == 1
    assert sum(offered(rig, 660) for _ in range(6)) == 0
    (letter,) = dead_letters(rig)
    assert (letter.reason, letter.times) == ("quarantined", 1)
    rig.mirakl["alpha"].accept_in_portal("1-A")
    assert offered(rig, 660) == 1
    (letter,) = dead_letters(rig)
    assert letter.times == 2
    assert offered(rig, 660) == 0
    monkeypatch.undo()
    assert offered(rig, 24 * 3600) == 1
    assert rig.row().order_id == "1-A"


def test_an_order_is_stored_byte_for_byte_as_received(rig: Rig) -> None:
    """Also with unusual spaces, numbers and order of fields."""
    order = json.loads(rig_body(rig))
    odd = (
        b'{ "order_id" :\t"1-A",\r\n "order_state": "WAITING_ACCEPTANCE" , "price":12.000, "x":1E2,'
        b' "y":"\\u00e9\xc3\xa9",'
        b' "order_lines":[ {"order_line_id":"1-A-1" ,"quantity": 2,"offer_sku":"MUG"} ],'
        b'"last_updated_date":' + json.dumps(order["last_updated_date"]).encode() + b" }"
    )
    page = b'{\n"total_count": 1 ,"orders" : [\n  ' + odd + b"\n] }"
    rig.nets["alpha"].hook = lambda _request: httpx.Response(200, content=page)
    rig.pollers["alpha"].run()
    rig.consume()
    row = rig.row()
    assert snapshot_rows.find(rig.store, row.key, row.digest) == odd
    assert row.state == "waiting_acceptance"


def rig_body(rig: Rig) -> bytes:
    rig.add("1-A")
    return rig.mirakl["alpha"].listing.body("1-A")


def test_hooks_are_called_for_every_published_page(rig: Rig) -> None:
    fill(rig, 150)
    published: list[int] = []
    rig.new_poller(hooks=AfterPage(lambda: published.append(len(rig.records())))).run()
    assert len(published) == 4
    assert all(one <= other for one, other in pairwise(published))


def test_records_are_keyed_by_shop_and_order(rig: Rig) -> None:
    rig.add("1-A")
    rig.poll()
    (record,) = rig.records(SNAPSHOTS)
    assert record.record_key == b"alpha:1-A"
