"""A name server that does not answer, and a name with many addresses: a call ends in time (docs/limits.md)."""

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import partial
from typing import Any

import httpcore
import pytest

from adapters.engines.processes import free_port
from adapters.errors import Cause, RemoteError
from adapters.remotes import lookup
from adapters.remotes.http import Remote
from tests.support import LONG, Meanwhile, wait

#: Stands for any name. The name server of the tests answers for it.
HOST = "alpha.example"
Answer = Callable[[], list[tuple[str, int]]]


@pytest.fixture
def answer(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[Answer], None]]:
    """Let the system's look-up of HOST return what a function returns. Addresses are still looked up as ever."""
    asks = socket.getaddrinfo

    def use(function: Answer) -> None:
        def looked_up(host: str, *rest: Any, **more: Any) -> Any:
            if host != HOST or more.get("flags", 0) & socket.AI_NUMERICHOST:
                return asks(host, *rest, **more)
            return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", place) for place in function()]

        monkeypatch.setattr(socket, "getaddrinfo", looked_up)

    yield use
    wait(lambda: not lookup._under_way, "every look-up has ended")


def failed(port: int, timeout_seconds: float) -> RemoteError:
    """The error of a call."""
    remote = Remote("mirakl", f"http://{HOST}:{port}", lambda *_, **__: None, timeout_seconds, None)
    call = partial(remote.call, "OR11", "GET", "/api/orders", lambda reply: reply, authorization="key")
    try:
        error = Meanwhile(call).result()
        assert isinstance(error, RemoteError)
        return error
    finally:
        remote.close()


def test_a_name_server_that_does_not_answer_ends_the_call_in_time(answer: Callable[[Answer], None]) -> None:
    ends, asked, answered = threading.Event(), [], []

    def hangs() -> list[tuple[str, int]]:
        asked.append(1)
        ends.wait(10 * LONG)
        answered.append(1)
        return []

    answer(hangs)
    try:
        for _ in range(2 * lookup.THREADS):
            error = failed(80, 0.2)
            assert (error.cause, error.outcome) == (Cause.TIMEOUT, "timeout")
        assert len(asked) == 1  # calls that want the same name wait for the same answer, and take one thread
        assert not answered, "no call waited for the answer"
    finally:
        ends.set()


def test_a_name_with_many_addresses_that_do_not_answer_ends_the_call_in_time(
    answer: Callable[[Answer], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each address was tried for the whole limit of a connection: twenty took 100 s."""
    connects, tried = socket.create_connection, []

    def connect(address: tuple[str, int], *rest: Any, **more: Any) -> socket.socket:
        tried.append(address)
        return connects(address, *rest, **more)

    monkeypatch.setattr(socket, "create_connection", connect)
    with ExitStack() as stack:
        full = stack.enter_context(socket.create_server(("0.0.0.0", 0), backlog=0))  # each of 127.0.0.0/8
        port = full.getsockname()[1]
        for _ in range(3):  # what the backlog holds; from then on a connection gets no answer
            filling = stack.enter_context(socket.socket())
            filling.setblocking(False)
            filling.connect_ex(("127.0.0.1", port))
        answer(lambda: [(f"127.0.0.{number}", port) for number in range(1, 41)])
        error = failed(port, 0.2)
    assert error.cause == Cause.TIMEOUT
    assert 1 <= len(tried) < 40, "the limit counts for all addresses together"


def test_the_next_address_is_tried_if_one_refuses(answer: Callable[[Answer], None]) -> None:
    with socket.create_server(("127.0.0.2", 0)) as listening:
        port = listening.getsockname()[1]

        def serve() -> None:
            with listening.accept()[0] as client:
                client.recv(4096)
                client.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}")

        thread = threading.Thread(target=serve)
        thread.start()
        answer(lambda: [("127.0.0.1", port), ("127.0.0.2", port)])
        remote = Remote("mirakl", f"http://{HOST}:{port}", lambda *_, **__: None, LONG, None)
        assert remote.call("OR11", "GET", "/", lambda reply: reply, authorization="key").body == b"{}"
        remote.close()
        thread.join(LONG)


def test_a_name_without_an_address_is_a_fault_of_the_name(answer: Callable[[Answer], None]) -> None:
    def unknown() -> list[tuple[str, int]]:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    answer(unknown)
    assert failed(free_port(), LONG).cause == Cause.DNS
    answer(list)
    assert failed(free_port(), LONG).cause == Cause.CONNECTION


def test_a_text_that_can_be_no_name_is_a_fault_of_the_connection() -> None:
    with pytest.raises(httpcore.ConnectError):
        lookup.addresses("a" * 70 + ".example", 443, LONG)
