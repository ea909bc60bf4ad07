"""Remotes that lie, over real sockets: what their answers cannot do (docs/limits.md); and how remotes are reached."""

import gzip
import socket
import ssl
import threading
import zlib
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

import psutil
import pytest
import trustme

from adapters.engines.processes import free_port
from adapters.errors import Cause, RemoteError
from adapters.remotes.http import DIRECT, Network, Remote, Reply, network
from tests.support import LONG

BODY = b'{"orders": []}'
FINE = b"HTTP/1.1 200 OK\r\nContent-Length: 14\r\n\r\n" + BODY
Answer = bytes | Iterator[bytes]


class Liar:
    """A server that gives each request this answer, whatever it is. `heads` are the requests."""

    def __init__(self, stack: ExitStack, answer: Callable[[], Answer], tls: ssl.SSLContext | None = None) -> None:
        self.heads: list[bytes] = []
        self._answer = answer
        self._tls = tls
        listening = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
        self.port = listening.getsockname()[1]
        self.url = f"{'https' if tls else 'http'}://localhost:{self.port}"
        thread = threading.Thread(target=self._serve, args=[listening], daemon=True)
        thread.start()
        stack.callback(thread.join, LONG)
        stack.callback(listening.shutdown, socket.SHUT_RDWR)

    def _serve(self, listening: socket.socket) -> None:
        with suppress(OSError):
            while True:
                accepted, _ = listening.accept()
                with suppress(OSError), accepted:
                    self._talk(self._tls.wrap_socket(accepted, server_side=True) if self._tls else accepted)

    def _talk(self, client: socket.socket) -> None:
        with client:
            self.heads.append(client.recv(65536))
            answer = self._answer()
            for piece in [answer] if isinstance(answer, bytes) else answer:
                client.sendall(piece)


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


@pytest.fixture
def authority() -> trustme.CA:
    return trustme.CA()


def call(url: str, reached: Network = DIRECT, timeout_seconds: float = LONG) -> Reply:
    remote = Remote("mirakl", url, lambda *_, **__: None, timeout_seconds, None, network=reached)
    try:
        return remote.call("OR11", "GET", "/api/orders", lambda reply: reply, authorization="key")
    finally:
        remote.close()


def zipped(body: bytes, *, encoding: str = "gzip") -> bytes:
    head = f"HTTP/1.1 200 OK\r\nContent-Encoding: {encoding}\r\nContent-Length: {len(body)}\r\n\r\n"
    return head.encode() + body


def chunked(encoding: str, pieces: Iterator[bytes]) -> Iterator[bytes]:
    yield f"HTTP/1.1 200 OK\r\nContent-Encoding: {encoding}\r\nTransfer-Encoding: chunked\r\n\r\n".encode()
    for piece in pieces:
        yield b"%x\r\n%b\r\n" % (len(piece), piece)
    yield b"0\r\n\r\n"


def a_gibibyte_of_zeros() -> Iterator[bytes]:
    compress = zlib.compressobj(9, wbits=31)
    for _ in range(64):
        yield compress.compress(bytes(16 * 1024 * 1024))
    yield compress.flush()


def headers_without_end() -> Iterator[bytes]:
    yield b"HTTP/1.1 200 OK\r\n"
    while True:
        yield b"X: %b\r\n" % (b"y" * 8192)


@pytest.mark.parametrize(
    ("lie", "words"),
    [
        (lambda: zipped(gzip.compress(gzip.compress(bytes(10**8))), encoding="gzip, gzip"), "DecodingError"),
        (lambda: zipped(gzip.compress(BODY), encoding="br"), "DecodingError"),
        (lambda: zipped(b"not gzip"), "DecodingError"),
        (lambda: zipped(gzip.compress(BODY)[:-9]), "DecodingError"),
        (lambda: zipped(gzip.compress(BODY) + gzip.compress(bytes(10**8))), "DecodingError"),
        (lambda: chunked("gzip", a_gibibyte_of_zeros()), "BodyTooLong"),
        (headers_without_end, "RemoteProtocolError"),
    ],
    ids=["two layers", "not asked for", "no gzip", "cut off", "more after the end", "a bomb", "headers without end"],
)
def test_a_lie_fails_the_call_and_takes_no_memory(stack: ExitStack, lie: Callable[[], Answer], words: str) -> None:
    liar = Liar(stack, lie)
    process = psutil.Process()
    before = process.memory_info().rss
    with pytest.raises(RemoteError) as error:
        call(liar.url)
    assert error.value.words == words
    assert process.memory_info().rss - before < 30 * 1024 * 1024  # the largest body that is read has 4 MiB


def test_a_call_without_an_answer_says_its_cause(
    stack: ExitStack, authority: trustme.CA, monkeypatch: pytest.MonkeyPatch
) -> None:
    asks = socket.getaddrinfo

    def looked_up(host: str, *rest: Any, **more: Any) -> Any:
        """Answer as a name server does that knows no such host: the machine's own may give no answer in time."""
        if host == "no-such-host.invalid":
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        return asks(host, *rest, **more)

    monkeypatch.setattr(socket, "getaddrinfo", looked_up)
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost").configure_cert(tls)
    silent = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
    causes = {
        Liar(stack, lambda: FINE, tls).url: Cause.TLS,  # its authority is unknown
        "https://no-such-host.invalid": Cause.DNS,
        f"http://127.0.0.1:{free_port()}": Cause.REFUSED,
        f"http://127.0.0.1:{silent.getsockname()[1]}": Cause.TIMEOUT,
        Liar(stack, lambda: b"").url: Cause.CONNECTION,
        Liar(stack, lambda: chunked("gzip", a_gibibyte_of_zeros())).url: Cause.TOO_LONG,
    }
    for url, cause in causes.items():
        with pytest.raises(RemoteError) as error:
            call(url, timeout_seconds=1.0 if cause == Cause.TIMEOUT else LONG)
        assert error.value.cause == cause


@pytest.mark.parametrize(
    "answer",
    [
        FINE,
        zipped(gzip.compress(BODY)),
        zipped(gzip.compress(BODY), encoding="x-gzip"),
        zipped(BODY, encoding="identity"),
    ],
    ids=["plain", "gzip", "x-gzip", "identity"],  # the bytes hold a time, and two processes run the tests
)
def test_an_honest_answer_is_read(stack: ExitStack, answer: bytes) -> None:
    assert call(Liar(stack, lambda: answer).url).body == BODY


def test_an_honest_answer_in_small_pieces_is_read(stack: ExitStack) -> None:
    body = gzip.compress(BODY)
    liar = Liar(stack, lambda: chunked("gzip", (body[place : place + 1] for place in range(len(body)))))
    assert call(liar.url).body == BODY


def test_an_empty_answer_that_says_gzip_is_empty(stack: ExitStack) -> None:
    assert call(Liar(stack, lambda: zipped(b"")).url).body == b""


@pytest.mark.parametrize("tls", [False, True])
def test_a_head_that_drips_is_a_time_out(stack: ExitStack, authority: trustme.CA, tls: bool, tmp_path: Path) -> None:
    """httpx's limit begins anew with each byte. A call with a timeout of 2 s took 45 s."""
    ends = threading.Event()
    stack.callback(ends.set)

    def drips() -> Iterator[bytes]:
        yield b"HTTP/1.1 200 OK\r\nX: "
        for _ in range(500):
            if not ends.wait(0.02):
                yield b"y"

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost").configure_cert(context)
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    liar = Liar(stack, drips, context if tls else None)
    with pytest.raises(RemoteError) as error:
        call(liar.url, network(tmp_path / "ca.pem", None, from_environment=False), timeout_seconds=0.4)
    assert error.value.outcome == "timeout"


def test_a_body_that_drips_is_a_time_out(stack: ExitStack) -> None:
    """Each piece comes in time, but a call that never ends would outlive the lease of its command."""
    ends = threading.Event()
    stack.callback(ends.set)

    def drips() -> Iterator[bytes]:
        yield b"HTTP/1.1 200 OK\r\n\r\n"
        while not ends.wait(0.02):
            yield b" "

    with pytest.raises(RemoteError) as error:
        call(Liar(stack, drips).url, timeout_seconds=0.2)
    assert error.value.outcome == "timeout"


def test_a_redirect_is_not_followed(stack: ExitStack) -> None:
    """The key would go along."""
    other = Liar(stack, lambda: FINE)
    redirect = f"HTTP/1.1 302 Found\r\nLocation: {other.url}/api/orders\r\nContent-Length: 0\r\n\r\n".encode()
    assert call(Liar(stack, lambda: redirect).url).status == 302
    assert other.heads == []


# -- How remotes are reached ---------------------------------------------------------------------------------------


@pytest.fixture
def secured(stack: ExitStack, authority: trustme.CA) -> Liar:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost").configure_cert(context)
    return Liar(stack, lambda: FINE, context)


def test_a_certificate_of_an_authority_that_is_not_trusted_ends_the_call(secured: Liar) -> None:
    with pytest.raises(RemoteError) as error:
        call(secured.url)
    assert error.value.words == "ConnectError"


def test_the_certificates_of_ca_file_are_trusted(secured: Liar, authority: trustme.CA, tmp_path: Path) -> None:
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    assert call(secured.url, network(tmp_path / "ca.pem", None, from_environment=False)).body == BODY
    (tmp_path / "ca.pem").write_text("no certificate")
    with pytest.raises(OSError):
        network(tmp_path / "ca.pem", None, from_environment=False)


def test_the_environment_counts_only_if_it_is_asked_for(
    stack: ExitStack, secured: Liar, authority: trustme.CA, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "ca.pem"))
    assert call(secured.url, network(None, None, from_environment=True)).body == BODY
    with pytest.raises(RemoteError):
        call(secured.url, network(None, None, from_environment=False))
    proxy = Liar(stack, lambda: b"HTTP/1.1 502 Bad Gateway\r\n\r\n")
    monkeypatch.setenv("HTTPS_PROXY", proxy.url)
    with pytest.raises(RemoteError):
        call(secured.url, network(None, None, from_environment=True))
    assert proxy.heads[0].startswith(b"CONNECT localhost:")


def test_calls_by_https_go_through_the_proxy_and_calls_to_loopback_by_http_do_not(stack: ExitStack) -> None:
    proxy = Liar(stack, lambda: b"HTTP/1.1 502 Bad Gateway\r\n\r\n")
    through = network(None, proxy.url, from_environment=False)
    with pytest.raises(RemoteError) as error:
        call("https://alpha.mirakl.example", through)
    assert error.value.words == "ProxyError"
    assert proxy.heads[0].startswith(b"CONNECT alpha.mirakl.example:443 ")
    assert b"key" not in proxy.heads[0]
    assert call(Liar(stack, lambda: FINE).url, through).body == BODY
    assert len(proxy.heads) == 1
