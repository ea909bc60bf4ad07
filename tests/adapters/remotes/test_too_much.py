"""Remotes that send more than an answer, over real sockets: it is no answer to the next request."""

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress

import pytest

from adapters.remotes.http import DIRECT, Network, Remote
from tests.support import LONG

FINE = b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n%d"


class Talker:
    """A server that keeps its connections, and gives the n-th request of each the n-th of these answers."""

    def __init__(self, stack: ExitStack, answers: list[bytes]) -> None:
        self.connections = 0
        self._closed = threading.Semaphore(0)
        self._answers = answers
        self._stack = stack
        listening = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
        self.url = f"http://127.0.0.1:{listening.getsockname()[1]}"
        self._run(self._accept, listening)
        stack.callback(listening.shutdown, socket.SHUT_RDWR)

    def _run(self, act: Callable[[socket.socket], None], one: socket.socket) -> None:
        thread = threading.Thread(target=act, args=[one], daemon=True)
        thread.start()
        self._stack.callback(thread.join, LONG)

    def _accept(self, listening: socket.socket) -> None:
        with suppress(OSError):
            while True:
                accepted, _ = listening.accept()
                self.connections += 1
                self._run(self._talk, accepted)

    def _talk(self, client: socket.socket) -> None:
        with client, suppress(OSError):
            for answer in self._answers:
                if client.recv(65536):
                    client.sendall(answer)
        self._closed.release()

    def wait_until_closed(self, count: int) -> None:
        """Wait until this server has closed one more connection."""
        assert self._closed.acquire(timeout=LONG), f"connection {count} is still open"


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


def answers(talker: Talker, times: int, network: Network = DIRECT) -> list[tuple[int, bytes]]:
    remote = Remote("mirakl", talker.url, lambda *_, **__: None, LONG, None, network=network)
    try:
        return [
            remote.call("OR24", "PUT", "/x", lambda reply: (reply.status, reply.body), authorization="key")
            for _ in range(times)
        ]
    finally:
        remote.close()


@pytest.mark.parametrize("network", [DIRECT, Network(from_environment=True)], ids=["ours", "the pool of httpcore"])
@pytest.mark.parametrize(
    "too_much",
    [FINE % 2, b"{}", b"2\r\n{}\r\n0\r\n\r\n"],
    ids=["another answer", "a body behind the body", "chunks behind the body"],
)
def test_what_comes_behind_an_answer_is_no_answer_to_the_next_request(
    stack: ExitStack, network: Network, too_much: bytes
) -> None:
    """Each later answer counted for the request after its own: for another order."""
    talker = Talker(stack, [FINE % 1 + too_much, FINE % 3])
    assert answers(talker, 2, network) == [(200, b"1"), (200, b"1")]
    assert talker.connections == 2


def test_a_204_with_a_body_costs_its_connection_and_not_the_next_call(stack: ExitStack) -> None:
    """The next call was sent, and failed: nobody knew whether it was carried out."""
    talker = Talker(stack, [b"HTTP/1.1 204 No Content\r\nContent-Length: 2\r\n\r\n{}"])
    assert answers(talker, 2) == [(204, b""), (204, b"")]


def test_an_answer_that_ends_where_it_should_keeps_its_connection(stack: ExitStack) -> None:
    talker = Talker(stack, [FINE % 1, FINE % 2])
    assert answers(talker, 2) == [(200, b"1"), (200, b"2")]
    assert talker.connections == 1


def test_a_connection_that_the_remote_closed_while_it_rested_is_opened_again(stack: ExitStack) -> None:
    """A request on the closed one would fail, and nobody would know whether it was carried out."""
    talker = Talker(stack, [FINE % 1])  # the server closes each connection after one answer
    remote = Remote("mirakl", talker.url, lambda *_, **__: None, LONG, None)
    stack.callback(remote.close)
    for number in range(1, 4):
        read = remote.call("OR24", "PUT", "/x", lambda reply: reply.body, authorization="key")
        assert (read, talker.connections) == (b"1", number)
        talker.wait_until_closed(number)
