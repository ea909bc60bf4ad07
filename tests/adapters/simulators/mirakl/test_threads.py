"""M10 and M11, messages, as docs/mirakl.md 5.10 says."""

import httpx
import pytest

from adapters.simulators.mirakl.model import stamp
from tests.adapters.simulators.mirakl.shop import Shop


def threads(shop: Shop, **params: str) -> httpx.Response:
    return shop.ask("GET", "/api/inbox/threads", params=params)


@pytest.mark.parametrize(
    "params", [{"entity_id": "1-A"}, {"limit": "101"}, {"page_token": "forged.token"}, {"updated_since": "x"}]
)
def test_m11_answers_errors_in_the_shape_of_messaging(params: dict[str, str]) -> None:
    answer = threads(Shop(), **params)
    assert answer.status_code == 400
    assert "message" in answer.json()["errors"][0]


def test_m11_returns_messages_only_if_asked() -> None:
    shop = Shop()
    shop.add("1-A")
    thread_id = shop.simulator.post_message("1-A", "Hello<br />there")
    shop.simulator.post_message("1-A", "Certainly", "SHOP_USER")
    query = {"entity_type": "MMP_ORDER", "entity_id": "1-A"}
    assert "messages" not in threads(shop, **query).json()["data"][0]
    (thread,) = threads(shop, **query, with_messages="true").json()["data"]
    assert [message["from"]["type"] for message in thread["messages"]] == ["CUSTOMER_USER", "SHOP_USER"]
    assert thread["metadata"]["shop_reply_needed_since"] is None
    whole = shop.ask("GET", f"/api/inbox/threads/{thread_id}").json()
    assert whole["messages"][0]["body"] == "Hello<br />there"
    assert shop.ask("GET", "/api/inbox/threads/none").status_code == 404


def test_only_a_customers_message_sets_has_customer_message_and_by_default_not_the_date() -> None:
    shop = Shop()
    shop.add("1-A")
    shop.clock.pass_seconds(5)
    shop.simulator.post_message("1-A", "Reminder", "OPERATOR_USER")
    assert shop.read()["has_customer_message"] is False
    shop.simulator.post_message("1-A", "Hello")
    assert shop.read()["has_customer_message"] is True
    assert shop.read()["last_updated_date"] == "2026-03-01T09:00:00Z"
    bumping = Shop(message_bumps_update_date=True)
    bumping.add("1-A")
    bumping.clock.pass_seconds(5)
    bumping.simulator.post_message("1-A", "Hello")
    assert bumping.read()["last_updated_date"] == "2026-03-01T09:00:05Z"


def test_m11_pages_by_token_newest_first_and_ignores_other_parameters() -> None:
    shop = Shop()
    shop.add("1-A")
    shop.add("2-A")
    for number in range(5):
        shop.clock.pass_seconds(1)
        shop.simulator.post_message("1-A", "Hello", topic=f"topic {number}")
    shop.simulator.post_message("2-A", "Hello")
    page = threads(shop, entity_type="MMP_ORDER", entity_id="1-A", limit="2").json()
    assert page["previous_page_token"] is None
    topics = [thread["topic"]["value"] for thread in page["data"]]
    pages = [page]
    while page["next_page_token"] is not None:
        page = threads(shop, page_token=page["next_page_token"], entity_id="2-A", limit="50").json()
        pages.append(page)
        topics += [thread["topic"]["value"] for thread in page["data"]]
    assert topics == [f"topic {number}" for number in (4, 3, 2, 1, 0)]
    back = threads(shop, page_token=pages[2]["previous_page_token"]).json()
    assert back["data"] == pages[1]["data"]
    assert threads(shop, page_token=pages[1]["previous_page_token"]).json() == pages[0]


def test_m11_filters_and_returns_the_last_hundred_messages() -> None:
    shop = Shop()
    shop.add("1-A")
    for number in range(105):
        thread_id = shop.simulator.post_message("1-A", f"message {number}")
    shop.clock.pass_seconds(60)
    (thread,) = threads(shop, with_messages="true").json()["data"]
    assert thread["messages"][0]["body"] == "message 5"
    assert len(shop.ask("GET", f"/api/inbox/threads/{thread_id}").json()["messages"]) == 105
    assert threads(shop, updated_since=stamp(shop.clock())).json()["data"] == []
    assert threads(shop, entity_type="MMP_OFFER", entity_id="1-A").json()["data"] == []
    assert threads(shop, channel_codes="FR_WEB").json()["data"] == []
