"""Cutting a page of OR11 into its orders, and JSON into its parts, byte for byte."""

import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.messages.json_slices import (
    LONGEST_ORDER,
    MOST_MEMBERS,
    MOST_ORDERS,
    MOST_VALUES,
    SlicedPage,
    load_object,
    member,
    slice_array,
    slice_orders,
)
from adapters.messages.snapshots import snapshot_of
from adapters.messages.text import digest_of
from tests.adapters.messages.helpers import NOW, reason_of
from tests.support import apart

SPACES = st.text(" \t\r\n", max_size=3)
ODD = [
    '{"order_id" : "é\\u00e9"}',
    '{ "b":1.50e+3,\t"a":[ ] }',
    "{}",
    '"\\ud800"',
    "[1 , 2]",
    "null",
    "-0.0",
    "9" * 5000,
    "NaN",
]


@given(st.lists(st.sampled_from(ODD)), st.lists(SPACES, min_size=12, max_size=12), st.integers(0, 10**6) | st.none())
def test_slices_are_the_bytes_as_received(orders: list[str], space: list[str], total: int | None) -> None:
    inner = f"{space[0]},{space[1]}".join(orders)
    count = "" if total is None else f',{space[2]}"total_count"{space[3]}:{space[4]}{total}{space[5]}'
    page = f'{space[6]}{{{space[7]}"orders"{space[8]}:{space[9]}[{space[10]}{inner}{space[11]}]{count}}}{space[0]}'
    sliced = slice_orders(page.encode())
    assert [order.raw for order in sliced.orders] == [one.encode() for one in orders]
    assert sliced.total_count == total
    assert slice_array(f"{space[0]}[{space[10]}{inner}{space[11]}]{space[1]}".encode()) == [o.encode() for o in orders]


def test_an_order_in_a_wrong_encoding_makes_only_itself_unreadable() -> None:
    good, bad = b'{"order_id": "A-1"}', b'{"order_id": "\xff"}'
    orders = slice_orders(b'{"orders": [' + bad + b", " + good + b"]}").orders
    assert [order.raw for order in orders] == [bad, good]
    assert reason_of(snapshot_of, bad, NOW) == "not_json"


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b"{}",
        b'{"orders":[{}',
        b'{"orders":[{}]',
        b'{"orders":[{}]}x',
        b'{"orders":[1,]}',
        b'{"orders":[],,}',
        b'{,"orders":[]}',
        b'{"orders":[],}x',
        b'{"orders":[1 2]}',
        b'{1:[],"orders":[]}',
        b"<html>",
        b"\xef\xbb\xbf{}",
    ],
)
def test_a_page_without_orders_is_unreadable(body: bytes) -> None:
    assert reason_of(slice_orders, body) == "not_json"


@pytest.mark.parametrize("comma", [b",", b" ,\n"])
def test_a_page_with_a_comma_after_its_last_member_is_read(comma: bytes) -> None:
    sliced = slice_orders(b'{"total_count":1,"orders":[{"order_id": "A-1"}]' + comma + b"}")
    assert [order.raw for order in sliced.orders] == [b'{"order_id": "A-1"}']
    assert sliced.total_count == 1


@pytest.mark.parametrize("text", [b"", b"{}", b"[", b"[1,]", b"[1 2]", b"[1]x", b"\xef\xbb\xbf[]"])
def test_a_text_that_is_not_an_array_is_unreadable(text: bytes) -> None:
    assert reason_of(slice_array, text) == "not_json"


@pytest.mark.parametrize(
    ("order", "identity"),
    [
        (b'{"order_id": "A-1"}', "A-1"),
        (b'{"order_id": "A-1", "customer": "\xff"}', "A-1"),
        (b'{"order_id": 12}', "12"),
        (b"{}", digest_of(b"{}")),
        (b"null", digest_of(b"null")),
    ],
)
def test_the_identity_of_an_order_with_or_without_a_usable_id(order: bytes, identity: str) -> None:
    (found,) = slice_orders(b'{"orders": [' + order + b"]}").orders
    assert found.identity == identity


def test_a_member_keeps_its_bytes() -> None:
    raw = '{"a": 1, "data" : { "x":"é\\u00e9", "n": 1.50 } , "b": []}'.encode()
    assert member(raw, "data") == '{ "x":"é\\u00e9", "n": 1.50 }'.encode()
    assert member(raw, "c") == b""
    assert reason_of(member, b'{"data": 1', "data") == "not_json"


def test_a_total_count_that_is_not_a_number_is_ignored() -> None:
    assert slice_orders(b'{"total_count": null, "orders": []}') == SlicedPage([], None)


@pytest.mark.parametrize(
    "bad",
    [
        b'{"order_id":"A-2","x":' + b"[" * 1200 + b"]" * 1200 + b"}",
        b'{"order_id":"A-2","x":"a\x01] } \\" ,"}',
        b'{"order_id":"A-2","x":{"y":[1,,2]}}',
    ],
    ids=["nested too deeply", "control character", "comma too many"],
)
def test_an_order_that_is_no_json_makes_only_itself_unreadable(bad: bytes) -> None:
    good = [b'{"order_id": "A-1"}', b'{"order_id": "A-3"}']
    page = slice_orders(b'{"orders": [' + good[0] + b", " + bad + b" ," + good[1] + b'], "total_count": 3}')
    assert [order.raw for order in page.orders] == [good[0], bad, good[1]]
    assert page.total_count == 3
    assert reason_of(snapshot_of, bad, NOW) == "not_json"


def test_no_orders_and_the_mark_of_utf_8_are_read() -> None:
    assert slice_orders(b'{"orders": null, "total_count": 0}') == SlicedPage([], 0)
    marked = slice_orders(b'\xef\xbb\xbf{"orders": [{"order_id": "A-1"}]}')
    assert [order.raw for order in marked.orders] == [b'{"order_id": "A-1"}']
    assert load_object(b'\xef\xbb\xbf{"a": 1}') == {"a": 1}
    assert member(b'\xef\xbb\xbf{"a": {"b": 1}}', "a") == b'{"b": 1}'


PAGE_BYTES = 4 * 1024 * 1024


def test_a_page_that_ends_within_a_text_is_found_unreadable_at_once() -> None:
    """A search that begins anew at each quote took 25 s for 32 kB, in which no other thread of the process ran."""
    with apart() as call:
        for order in (b'{"a":"' + b'\\"' * 500_000, b'{"a":' + b'"x" ' * 250_000 + b'"', b'{"a":"\\'):
            assert call(reason_of, slice_orders, b'{"orders":[' + order) == "not_json"


@pytest.mark.parametrize(
    "page",
    [
        b'{"orders":[' + b"{}," * (PAGE_BYTES // 3) + b"{}]}",
        b'{"orders":[],"x":[' + b"[]," * (PAGE_BYTES // 3) + b"[]]}",
        b"{" + b'"x":{},' * (PAGE_BYTES // 7) + b'"orders":[]}',
    ],
    ids=["many orders", "another member", "many members"],
)
def test_a_page_of_very_many_values_is_unreadable_and_takes_no_memory(page: bytes) -> None:
    tracemalloc.start()
    try:
        assert reason_of(slice_orders, page) == "not_json"
        assert tracemalloc.get_traced_memory()[1] < 40 * 1024 * 1024
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("value", [b"[],", b"{},", b'{"":1},', b"[[]],", b"1,"])
def test_an_object_of_very_many_values_is_unreadable_and_takes_no_memory(value: bytes) -> None:
    """Parsing one took 130 MB, and no other thread ran meanwhile."""
    whole = b'{"error":[' + value * (PAGE_BYTES // len(value)) + b"0]}"
    tracemalloc.start()
    try:
        assert reason_of(load_object, whole) == "not_json"
        assert tracemalloc.get_traced_memory()[1] < 1024 * 1024
    finally:
        tracemalloc.stop()


def test_as_many_values_as_an_object_may_have_are_read() -> None:
    whole = b'{"x":[' + b"[]," * (MOST_VALUES // 2 - 2) + b"0]}"
    assert len(load_object(whole)["x"]) == MOST_VALUES // 2 - 1


def test_an_order_that_is_too_long_makes_only_itself_unreadable_and_takes_no_memory() -> None:
    good = [b'{"order_id": "A-1"}', b'{"order_id": "A-3"}']
    long = b'{"order_id":"A-2","x":[' + b"[]," * (PAGE_BYTES // 3) + b"[]]}"
    assert len(long) > LONGEST_ORDER
    tracemalloc.start()
    try:
        page = slice_orders(b'{"orders": [' + good[0] + b", " + long + b" ," + good[1] + b'], "total_count": 3}')
        assert tracemalloc.get_traced_memory()[1] < 60 * 1024 * 1024
    finally:
        tracemalloc.stop()
    assert [order.raw for order in page.orders] == [good[0], long, good[1]]
    assert page.orders[1].identity == digest_of(long)


def test_as_many_orders_and_members_as_a_page_may_have_are_read() -> None:
    page = b"{" + b'"x":1,' * (MOST_MEMBERS - 1) + b'"orders":[' + b",".join([b"{}"] * MOST_ORDERS) + b"]}"
    assert len(slice_orders(page).orders) == MOST_ORDERS
