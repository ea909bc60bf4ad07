"""The customer's messages of an order, as M11 shows them."""

from pathlib import Path
from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.ports import CustomerMessages
from tests.adapters.remotes.mirakl_world import World

MIRAKL = Path(__file__).resolve().parents[3].parent / "shared" / "mirakl"


def threads(*messages: dict[str, Any], token: object = None) -> httpx.Response:
    return httpx.Response(200, json={"data": [{"messages": list(messages)}], "next_page_token": token})


def message(number: int, body: object, by: str = "CUSTOMER_USER") -> dict[str, Any]:
    return {"id": str(number), "body": body, "date_created": f"2026-03-0{number}T10:00:00Z", "from": {"type": by}}


def test_all_pages_of_the_customer_s_messages_are_read_oldest_first() -> None:
    pages = [
        threads(message(3, "third"), message(9, "ours", "SHOP_USER"), token="t2"),
        threads(message(3, "third"), message(1, "first<br />line"), message(2, "  "), {"from": None, "body": 5}),
    ]
    world = World(lambda request: pages["page_token" in request.url.params])
    assert world.shop.customer_messages("A/B").texts == ("first\nline", "third")
    assert [request.url.params.get("page_token") for request in world.sent] == [None, "t2"]
    assert world.sent[0].url.params["entity_id"] == "A/B"
    assert world.sent[0].url.params["with_messages"] == "true"


def test_reading_messages_ends_after_twenty_pages() -> None:
    world = World(lambda request: threads(message(1, "x"), token="again"))
    assert world.shop.customer_messages("A").texts == ("x",)
    assert len(world.sent) == 20


def test_the_topic_of_a_free_text_thread_comes_once_before_its_first_message() -> None:
    free = {"type": "FREE_TEXT", "value": "Print <ANA>"}
    coded = {"type": "REASON_CODE", "value": "31"}
    data = [
        {"id": "T2", "topic": free, "messages": [message(3, "in red"), message(2, "hello")]},
        {"id": "T1", "topic": coded, "messages": [message(1, "where is it?")]},
        {"id": "T3", "topic": free, "messages": [message(4, "ours", "SHOP_USER")]},
        {"id": "T4", "topic": {"type": "FREE_TEXT", "value": None}, "messages": [message(5, "bye")]},
        {"id": "T5", "topic": "?", "messages": [message(6, "again")]},
    ]
    pages = [{"data": data, "next_page_token": "t2"}, {"data": data[:1]}]
    world = World(lambda request: httpx.Response(200, json=pages["page_token" in request.url.params]))
    expected = ("where is it?", "Print <ANA>", "hello", "in red", "bye", "again")
    assert world.shop.customer_messages("A").texts == expected


@pytest.mark.parametrize(
    ("attachments", "by", "expected"),
    [
        ([{"id": "1", "name": "logo.png", "size": 9}], "CUSTOMER_USER", True),
        ([{"id": "1", "name": "logo.png", "size": 9}], "SHOP_USER", False),
        (["?"], "CUSTOMER_USER", True),
        ([], "CUSTOMER_USER", False),
        (None, "CUSTOMER_USER", False),
        ({"id": "1", "name": "logo.png"}, "CUSTOMER_USER", True),
        ("logo.png", "CUSTOMER_USER", True),
        ({"id": "1", "name": "logo.png"}, "SHOP_USER", False),
    ],
)
def test_a_file_of_the_customer_is_noticed(attachments: object, by: str, expected: bool) -> None:
    world = World(lambda _: threads(message(1, "", by) | {"attachments": attachments}))
    assert world.shop.customer_messages("A") == CustomerMessages(has_attachments=expected)


def test_a_picture_in_a_message_counts_as_a_file() -> None:
    world = World(lambda _: threads(message(1, "print<img src='https://a.example/ana.png'>")))
    found = world.shop.customer_messages("A")
    assert (found.texts, found.has_attachments) == (("print https://a.example/ana.png",), True)


_UNREADABLE = [
    pytest.param([{"messages": [message(2, {"text": "x"})]}], id="a body that is an object"),
    pytest.param([{"messages": ["x"]}], id="a message that is a text"),
    pytest.param([{"messages": {"0": message(2, "x")}}], id="messages that are an object"),
    pytest.param(["x"], id="a thread that is a text"),
    pytest.param([{"messages": [{"id": "2", "body": "x", "from": "CUSTOMER_USER"}]}], id="no sender"),
]


@pytest.mark.parametrize("more", _UNREADABLE)
def test_what_cannot_be_read_beside_a_message_counts_as_a_file(more: list[Any]) -> None:
    data = [{"messages": [message(1, "ANA")]}, *more]
    world = World(lambda _: httpx.Response(200, json={"data": data}))
    found = world.shop.customer_messages("A")
    assert (found.texts, found.has_attachments) == (("ANA",), True)


@pytest.mark.parametrize("more", _UNREADABLE)
def test_if_nothing_can_be_read_there_is_no_message_so_that_the_import_waits(more: list[Any]) -> None:
    world = World(lambda _: httpx.Response(200, json={"data": more}))
    assert world.shop.customer_messages("A") == CustomerMessages()


@pytest.mark.parametrize(
    "more",
    [[None], [{"messages": [None]}], [{"messages": None}], [{"messages": [message(2, {"text": "x"}, "SHOP_USER")]}]],
)
def test_what_is_empty_or_not_the_customer_s_counts_as_nothing(more: list[Any]) -> None:
    data = [{"messages": [message(1, "ANA")]}, *more]
    world = World(lambda _: httpx.Response(200, json={"data": data}))
    assert world.shop.customer_messages("A").has_attachments is False


def test_two_messages_with_one_id_are_both_read() -> None:
    data = [
        {"id": "T1", "messages": [message(1, "ANA"), message(1, "BEN")]},
        {"id": "T2", "messages": [message(1, "ANA")]},
    ]
    pages = [{"data": data, "next_page_token": "t2"}, {"data": data[:1]}]
    world = World(lambda request: httpx.Response(200, json=pages["page_token" in request.url.params]))
    assert world.shop.customer_messages("A").texts == ("ANA", "BEN", "ANA")


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=20),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["id", "body", "from", "type", "topic", "value", "messages"]), inner)
    ),
    max_leaves=20,
)


@given(
    st.lists(
        st.fixed_dictionaries(
            {"messages": st.lists(st.fixed_dictionaries({"body": _JSON, "from": st.just({"type": "CUSTOMER_USER"})}))},
            optional={"topic": st.fixed_dictionaries({"type": st.just("FREE_TEXT"), "value": _JSON}) | _JSON},
        )
        | _JSON,
        max_size=4,
    )
)
def test_threads_of_any_shape_are_read_as_far_as_they_are_texts(data: Any) -> None:
    world = World(lambda _: httpx.Response(200, json={"data": data}))
    texts = world.shop.customer_messages("A").texts
    assert all(text and text == text.strip() for text in texts)
    written = [message["body"] for one in data if isinstance(one, dict) for message in _listed(one.get("messages"))]
    assert len(texts) <= sum(isinstance(body, str | int | float) for body in written) + len(data)


def _listed(messages: Any) -> list[dict[str, Any]]:
    found = messages if isinstance(messages, list) else []
    return [one for one in found if isinstance(one, dict) and "body" in one]


def test_the_sample_of_m11_is_read() -> None:
    samples = list((MIRAKL / "samples").glob("*M11*.json"))
    if not samples:
        pytest.skip(f"no samples at {MIRAKL}")
    last = httpx.Response(200, json={"data": [], "previous_page_token": None})
    world = World(
        lambda r: last if "page_token" in r.url.params else httpx.Response(200, content=samples[0].read_bytes())
    )
    assert world.shop.customer_messages("Order_00010-A") == CustomerMessages()
    assert len(world.sent) == 2
