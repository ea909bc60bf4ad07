"""The connections of a client: one call at a time on each, the last used first, none lost."""

from collections.abc import Iterator

import httpx
import pytest

from adapters.remotes import connections
from adapters.remotes.connections import Connections


class Line(httpx.BaseTransport):
    """One connection. It says how often it carried a request, and fails if it is told to."""

    def __init__(self) -> None:
        self.calls = 0
        self.fails = False
        self.is_closed = False

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        self.calls += 1
        if self.fails:
            raise httpx.ReadError("cut off")
        return httpx.Response(200, stream=httpx.ByteStream(b"{}"))

    def close(self) -> None:
        self.is_closed = True


@pytest.fixture
def lines() -> list[Line]:
    return []


@pytest.fixture
def clock() -> list[float]:
    return [0.0]


@pytest.fixture
def two(lines: list[Line], clock: list[float]) -> Iterator[Connections]:
    def connect() -> Line:
        lines.append(Line())
        return lines[-1]

    found = Connections(connect, 2, lambda: clock[0])
    yield found
    found.close()
    assert all(line.is_closed for line in lines)


def request(wait: float = 0.01) -> httpx.Request:
    return httpx.Request("GET", "https://alpha.example", extensions={"timeout": {"pool": wait}})


def test_a_call_that_finds_no_free_connection_ends_in_time(two: Connections) -> None:
    held = [two.handle_request(request()) for _ in range(2)]
    with pytest.raises(httpx.PoolTimeout):
        two.handle_request(request())
    held[0].close()
    two.handle_request(request()).close()
    held[1].close()


def test_a_failed_call_gives_its_connection_back(two: Connections, lines: list[Line]) -> None:
    two.handle_request(request()).close()
    lines[0].fails = True
    for _ in range(3):
        with pytest.raises(httpx.ReadError):
            two.handle_request(request())
    lines[0].fails = False
    two.handle_request(request()).close()
    assert [line.calls for line in lines] == [5]


def test_a_connection_given_back_twice_is_free_once(two: Connections, lines: list[Line]) -> None:
    first = two.handle_request(request())
    first.close()
    first.close()
    held = [two.handle_request(request()) for _ in range(2)]
    with pytest.raises(httpx.PoolTimeout):
        two.handle_request(request())
    assert [line.calls for line in lines] == [2, 1]
    for one in held:
        one.close()


def test_the_last_used_goes_first_and_one_that_rests_too_long_is_closed(
    two: Connections, lines: list[Line], clock: list[float]
) -> None:
    held = [two.handle_request(request()) for _ in range(2)]
    held[1].close()
    held[0].close()
    clock[0] += connections.REST_SECONDS + 1
    two.handle_request(request()).close()
    assert [line.calls for line in lines] == [2, 1]
    assert lines[1].is_closed
