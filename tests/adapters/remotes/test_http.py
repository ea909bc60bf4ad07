"""The parts that both remotes use: outcomes, which are values of a metric's label, and error codes."""

from urllib.parse import quote

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.remotes.http import CallOutcome, Remote, outcome_of, safe_code


def test_the_outcomes_are_those_of_the_metric() -> None:
    assert [*CallOutcome] == (
        ["2xx", "400", "401", "403", "404", "409", "429", "4xx", "5xx", "timeout", "network", "body_error"]
    )  # other people's dashboards and alerts use these values


@pytest.mark.parametrize(
    ("status", "outcome"),
    [(200, "2xx"), (204, "2xx"), (302, "4xx"), (400, "400"), (408, "4xx"), (429, "429"), (500, "5xx"), (503, "5xx")],
)
def test_the_outcome_of_a_status(status: int, outcome: str) -> None:
    assert outcome_of(status) == outcome


def test_every_status_has_an_outcome() -> None:
    assert {outcome_of(status) for status in range(200, 600)} <= {*CallOutcome}


@pytest.mark.parametrize(
    ("code", "safe"),
    [(8014, "8014"), ("A_B", "A_B"), ("a b", ""), ("x" * 65, ""), (None, ""), (True, ""), ({}, "")],
)
def test_a_code_that_may_hold_words_is_left_out(code: object, safe: str) -> None:
    assert safe_code(code) == safe


#: Texts that a URL holds as they are.
PLAIN = st.text("abcXYZ0129_~-", max_size=20)


@given(
    st.sampled_from(
        [
            "https://shop.example",
            "https://shop.example/",
            "http://127.0.0.1:80/a",
            "http://[::1]/a b",
            "https://a:444/b/",
        ]
    ),
    st.one_of(PLAIN, st.text("aA0_~-./", max_size=9), st.text().map(lambda order_id: quote(order_id, safe=""))).map(
        lambda order_id: f"/api/orders/{order_id}/accept"
    ),
    st.none() | st.dictionaries(PLAIN, PLAIN, max_size=3) | st.dictionaries(st.text(), st.text(), max_size=2),
    st.none() | st.binary(max_size=20),
    st.sampled_from(["GET", "PUT", "POST"]),
)
def test_a_request_is_the_one_that_httpx_would_build(
    base: str, path: str, params: dict[str, str] | None, content: bytes | None, method: str
) -> None:
    """Remote builds and sends requests past httpx.Client, which takes several times the CPU time."""
    seen: list[httpx.Request] = []

    def answer(request: httpx.Request) -> httpx.Response:
        seen.append(request)
        return httpx.Response(204)

    remote = Remote("mirakl", base, lambda *_, **__: None, 30.0, httpx.MockTransport(answer))
    remote.call("OR21", method, path, lambda _: None, authorization="key", params=params, content=content)
    more = {"Authorization": "key"} | ({} if content is None else {"Content-Type": "application/json"})
    remote._client.send(
        remote._client.build_request(method, path, params=params, headers=more, content=content), stream=True
    )
    ours, theirs = seen
    assert (ours.method, ours.url, ours.url.raw_path) == (theirs.method, theirs.url, theirs.url.raw_path)
    assert ours.headers.multi_items() == theirs.headers.multi_items()
    assert (ours.content, ours.extensions) == (theirs.content, theirs.extensions)


def test_a_cookie_is_not_sent_back() -> None:
    """A remote could fill memory with them, and the calls of all threads would share what one answer says."""
    seen: list[httpx.Request] = []

    def answer(request: httpx.Request) -> httpx.Response:
        seen.append(request)
        return httpx.Response(204, headers={"Set-Cookie": "a=b"})

    remote = Remote("mirakl", "https://shop.example", lambda *_, **__: None, 30.0, httpx.MockTransport(answer))
    for _ in range(2):
        remote.call("OR21", "PUT", "/api/orders/1/accept", lambda _: None, authorization="key")
    assert [one.headers.get("Cookie") for one in seen] == [None, None]
