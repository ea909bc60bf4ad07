"""The connections of a client: one call at a time on each, the last used first, none lost."""

import socket
import ssl
from collections.abc import Iterator
from inspect import getmembers, isclass

import httpcore
import httpx
import pytest

from adapters.remotes import connections
from adapters.remotes.connections import Connections, OneConnection
from adapters.remotes.deadline import backend
from tests.support import LONG


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


def test_each_error_of_httpcore_has_its_namesake_in_httpx() -> None:
    """So a failed call is judged by the same classes as with httpx's own transport."""
    errors = {name for name, one in getmembers(httpcore, isclass) if issubclass(one, Exception)}
    assert all(issubclass(getattr(httpx, name), httpx.TransportError) for name in errors - {"ConnectionNotAvailable"})


def test_a_connection_that_cannot_be_opened_is_an_error_of_httpx() -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        address = f"http://127.0.0.1:{free.getsockname()[1]}"
    one = OneConnection(ssl.create_default_context())
    for _ in range(2):
        with pytest.raises(httpx.ConnectError):
            one.handle_request(httpx.Request("GET", address, extensions={"timeout": {"connect": LONG}}))
    one.close()


def test_each_wait_of_a_connection_has_the_limit_of_its_own_call() -> None:
    """The limit of a socket is set only when another one is asked for."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        host, port = server.getsockname()
        stream = backend().connect_tcp(host, port, LONG)
        client, _ = server.accept()
        with client:
            stream.write(b"a", LONG)
            for _ in range(2):
                with pytest.raises(httpcore.ReadTimeout):
                    stream.read(1, 0.01)
                client.sendall(b"b")
                assert stream.read(1, LONG) == b"b"
                with pytest.raises(httpcore.WriteTimeout):
                    stream.write(bytes(64_000_000), 0.01)  # nobody reads it
        stream.close()
        with pytest.raises(httpcore.ReadError):
            stream.read(1, LONG)
