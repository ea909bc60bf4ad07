"""What somebody without a secret can do to the ports, over real sockets (docs/limits.md)."""

import hashlib
import hmac
import socket
import ssl
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import httpx
import pytest
import trustme
from prometheus_client import Metric
from structlog.testing import capture_logs

from adapters.engines.processes import free_port
from adapters.errors import ConfigError
from adapters.ports import LogWriter, NewRecord
from consumer.config import shop_ids
from consumer.operations.process import asked
from consumer.web.app import MAX_SCRAPES, application, callback_routes, watch_routes
from consumer.web.callbacks import MAX_CALLBACK_BYTES, MAX_UNDER_WAY, CallbackEndpoint, Intake
from consumer.web.gate import HEAD_SECONDS, MAX_CONNECTIONS, OPEN_SECONDS, Gate
from consumer.web.server import WebServer
from tests.consumer.rig import OMS_EVENTS, Rig
from tests.support import LONG, StillClock, http, wait

SECRET = "canary-secret-of-alpha"
BODY = b'{"id": 46140204, "external_ref": "1-A", "status": 8}'
SIGNED = {"X-CustomGateway-Hmac": hmac.new(SECRET.encode(), BODY, hashlib.sha256).hexdigest()}
FORGED = {"X-CustomGateway-Hmac": "0" * 64}


class Hangs:
    """A log whose broker does not answer until the test says so."""

    def __init__(self) -> None:
        self.begun = threading.Semaphore(0)
        self.end = threading.Event()

    def publish(self, records: Sequence[NewRecord]) -> None:
        self.begun.release()
        self.end.wait(LONG)


class Port:
    """A running port with callbacks, metrics and probes."""

    def __init__(self, rig: Rig, stack: ExitStack, writer: LogWriter | None = None, **options: Any) -> None:
        self.rig = rig
        endpoint = CallbackEndpoint(
            "alpha",
            99001,
            lambda: (SECRET,),
            writer=writer or rig.log,
            topic=OMS_EVENTS,
            shops=shop_ids(rig.settings),
            keep=rig.orders.keep,
            hooks=rig.metrics,
            clock=rig.clock,
        )
        intake = Intake({"alpha": endpoint}, rig.metrics, body_seconds=options.pop("body_seconds", LONG))
        watch = watch_routes(
            registry=rig.metrics.registry,
            what_is_stuck=lambda: "",
            what_is_not_ready=options.pop("what_is_not_ready", lambda: ""),
        )
        self.number = free_port()
        serves = options.pop("serves", True)
        host = options.pop("host", "127.0.0.1")
        server = WebServer("web", application([*watch, *callback_routes(intake)]), host, self.number, **options)
        server.listen()
        assert server.gate is not None
        self.gate = server.gate
        self._server = server
        self._stack = stack
        if serves:
            self.serve()
        self.url = f"{'https' if options.get('certificate') else 'http'}://localhost:{self.number}"

    def serve(self) -> None:
        thread = threading.Thread(target=self._server.run, daemon=True)
        thread.start()
        self._stack.callback(thread.join, LONG)
        self._stack.callback(self._server.stop)

    def connect(self, text: bytes = b"") -> socket.socket:
        """A connection that has sent this much."""
        one = socket.create_connection(("127.0.0.1", self.number), LONG)
        one.sendall(text)
        return one

    def put(self, headers: dict[str, str], body: Any = BODY, verify: Any = False) -> httpx.Response:
        return httpx.put(f"{self.url}/oms/callbacks/alpha", content=body, headers=headers, timeout=LONG, verify=verify)


def head(headers: dict[str, str], length: int) -> bytes:
    lines = ["PUT /oms/callbacks/alpha HTTP/1.1", "Host: o", f"Content-Length: {length}"]
    return "\r\n".join([*lines, *(f"{name}: {value}" for name, value in headers.items()), "", ""]).encode()


def answer_of(connection: socket.socket) -> bytes:
    """All that the server sends until it ends the connection. Empty if it ended the connection without an answer."""
    received = b""
    try:
        while piece := connection.recv(4096):
            received += piece
    except ConnectionResetError:
        pass
    return received


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


@pytest.fixture
def new_port(tmp_path: Path, stack: ExitStack) -> Callable[..., Port]:
    return lambda writer=None, **options: Port(Rig(tmp_path), stack, writer, **options)


# -- Connections ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("begun", [b"", b"PUT /oms", head(FORGED, 100), head(FORGED, 100) + b"{"])
def test_requests_that_are_never_complete_do_not_keep_a_callback_out(
    new_port: Callable[..., Port], stack: ExitStack, begun: bytes
) -> None:
    port = new_port()
    for _ in range(3 * MAX_CONNECTIONS):
        stack.enter_context(port.connect(begun))
    assert port.put(SIGNED).status_code == 200
    assert port.gate.connections <= MAX_CONNECTIONS


@pytest.mark.parametrize("path", ["/live", "/metrics"])
def test_a_burst_of_connections_ends_no_request_that_was_sent_whole(
    new_port: Callable[..., Port], stack: ExitStack, path: str
) -> None:
    """The connections of a burst wait together, so the event loop finds all of them in one turn."""
    port = new_port(serves=False)
    asks = port.connect(f"GET {path} HTTP/1.1\r\nHost: o\r\n\r\n".encode())
    for _ in range(5 * MAX_CONNECTIONS):
        stack.enter_context(port.connect(b"GET /live HT"))
    port.serve()
    assert answer_of(asks).startswith(b"HTTP/1.1 200")
    wait(lambda: port.gate.refused >= 4 * MAX_CONNECTIONS, "all of the burst were accepted")
    assert port.put(SIGNED).status_code == 200
    assert port.gate.connections <= MAX_CONNECTIONS


def test_a_connection_without_a_head_ends_after_ten_seconds() -> None:
    clock = StillClock()
    with Gate("127.0.0.1", 0, monotonic=clock.monotonic) as gate:
        clients = [socket.create_connection(gate.getsockname(), LONG) for _ in range(2)]
        accepted = [gate.accept()[0] for _ in clients]
        gate.head_is_read(clients[1].getsockname())
        clock.advance(HEAD_SECONDS)
        gate.end_overdue()
        assert clients[0].recv(1) == b""
        clients[1].setblocking(False)
        with pytest.raises(BlockingIOError):
            clients[1].recv(1)
        clock.advance(OPEN_SECONDS - HEAD_SECONDS)
        gate.end_overdue()
        clients[1].settimeout(LONG)
        assert clients[1].recv(1) == b""
        for one in [*clients, *accepted]:
            one.close()
        assert gate.connections == 0


def test_a_new_connection_is_closed_at_once_if_all_others_have_sent_their_requests() -> None:
    with Gate("127.0.0.1", 0, max_connections=2) as gate, ExitStack() as stack:
        for _ in range(2):
            client = stack.enter_context(socket.create_connection(gate.getsockname(), LONG))
            stack.enter_context(gate.accept()[0])
            gate.request_is_read(client.getsockname())
        late = stack.enter_context(socket.create_connection(gate.getsockname(), LONG))
        with pytest.raises(BlockingIOError):
            gate.accept()
        assert answer_of(late) == b""
        assert (gate.connections, gate.refused) == (2, 1)


def test_each_connection_carries_one_request_and_no_name_of_the_server(new_port: Callable[..., Port]) -> None:
    """A second head on the same connection could be dripped for ever."""
    answer = new_port().put(SIGNED)
    assert answer.headers["connection"] == "close"
    assert "server" not in answer.headers


# -- Bodies --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("headers", "length", "status"),
    [
        ({}, 10, 401),
        ({}, 10**9, 401),
        ({"Authorization": "Bearer another"}, 10, 401),
        ({"X-CustomGateway-Hmac": "no digest"}, 10, 401),
        (FORGED, MAX_CALLBACK_BYTES + 1, 413),
    ],
)
def test_a_body_that_cannot_be_taken_is_refused_before_it_is_sent(
    new_port: Callable[..., Port], headers: dict[str, str], length: int, status: int
) -> None:
    with new_port().connect(head(headers, length)) as client:
        assert answer_of(client).startswith(b"HTTP/1.1 %d " % status)


def test_a_body_without_a_length_is_refused_where_it_becomes_too_long(new_port: Callable[..., Port]) -> None:
    def pieces() -> Iterator[bytes]:
        for _ in range(MAX_CALLBACK_BYTES // 4096 + 1):
            yield b" " * 4096

    assert new_port().put(FORGED, pieces()).status_code == 413


def test_a_body_that_does_not_come_is_408(new_port: Callable[..., Port]) -> None:
    port = new_port(body_seconds=0.05)
    with port.connect(head(FORGED, 100) + b"{") as client:
        assert answer_of(client).startswith(b"HTTP/1.1 408 ")
    assert port.put(SIGNED).status_code == 200


def test_refusals_are_counted_and_not_written_one_by_one(new_port: Callable[..., Port]) -> None:
    port = new_port()
    with capture_logs() as lines:
        for _ in range(50):
            port.put({})
    assert [line["event"] for line in lines] == ["callback_refused"]
    labels = {"shop": "alpha", "result": "not_authentic"}
    assert port.rig.metrics.registry.get_sample_value("orderflow_callbacks_total", labels) == 50


# -- Callbacks under way -------------------------------------------------------------------------------------------


def test_while_the_broker_hangs_callbacks_are_refused_at_once_and_probes_answer(
    new_port: Callable[..., Port], stack: ExitStack
) -> None:
    writer = Hangs()
    port = new_port(writer)
    stack.callback(writer.end.set)
    waiting = [stack.enter_context(port.connect(head(SIGNED, len(BODY)) + BODY)) for _ in range(MAX_UNDER_WAY)]
    assert writer.begun.acquire(timeout=LONG)
    for path in ("/live", "/ready", "/metrics"):
        assert http().get(port.url + path, timeout=LONG).status_code == 200
    refused = port.put(SIGNED)
    assert refused.status_code == 503
    assert refused.headers["retry-after"] == "30"
    writer.end.set()
    assert all(answer_of(one).startswith(b"HTTP/1.1 200 ") for one in waiting)


def test_scrapes_that_hang_are_bounded_and_take_no_thread_of_anything_else(
    new_port: Callable[..., Port], stack: ExitStack
) -> None:
    """StoredGauges asks the database at each scrape."""
    port, begun, ends = new_port(), threading.Semaphore(0), threading.Event()
    stack.callback(ends.set)

    class Asks:
        def collect(self) -> Iterator[Metric]:
            begun.release()
            ends.wait(LONG)
            yield from ()

        def describe(self) -> list[Metric]:
            return []

    port.rig.metrics.registry.register(Asks())
    scrape = b"GET /metrics HTTP/1.1\r\nHost: o\r\n\r\n"
    waiting = [stack.enter_context(port.connect(scrape)) for _ in range(MAX_SCRAPES)]
    assert all(begun.acquire(timeout=LONG) for _ in waiting)
    assert http().get(f"{port.url}/metrics", timeout=LONG).status_code == 503
    assert http().get(f"{port.url}/ready", timeout=LONG).status_code == 200
    assert port.put(SIGNED).status_code == 200
    ends.set()
    assert all(answer_of(one).startswith(b"HTTP/1.1 200 ") for one in waiting)


def test_readiness_does_not_wait_for_a_store_that_hangs(new_port: Callable[..., Port], stack: ExitStack) -> None:
    ends = threading.Event()

    def hangs() -> str:
        ends.wait(LONG)
        return ""

    port = new_port(what_is_not_ready=hangs)
    stack.callback(ends.set)
    with ThreadPoolExecutor(10) as threads:
        for answer in threads.map(lambda _: http().get(f"{port.url}/ready", timeout=LONG), range(50)):
            assert (answer.status_code, answer.json()["wrong"]) == (503, "the store does not answer")
    assert http().get(f"{port.url}/live", timeout=LONG).status_code == 200


# -- TLS -----------------------------------------------------------------------------------------------------------


def write_certificate(authority: trustme.CA, folder: Path, name: str) -> tuple[Path, Path]:
    issued = authority.issue_cert("localhost", common_name=name)
    certificate, key = folder / "tls.crt", folder / "tls.key"
    issued.private_key_pem.write_to_path(key)
    certificate.write_bytes(b"".join(one.bytes() for one in issued.cert_chain_pems))
    return certificate, key


def test_a_handshake_that_drips_ends_after_ten_seconds(tmp_path: Path, new_port: Callable[..., Port]) -> None:
    clock = StillClock()
    certificate = write_certificate(trustme.CA(), tmp_path, "one")
    port = new_port(certificate=certificate, monotonic=clock.monotonic)
    hello = ssl.MemoryBIO()
    client = ssl.create_default_context().wrap_bio(ssl.MemoryBIO(), hello, server_hostname="localhost")
    with pytest.raises(ssl.SSLWantReadError):
        client.do_handshake()
    with port.connect() as connection:
        wait(lambda: port.gate.connections == 1, "it is accepted")
        for byte in hello.read()[:10]:
            connection.sendall(bytes([byte]))
            clock.advance(HEAD_SECONDS / 10)
        assert answer_of(connection) == b""
        wait(lambda: port.gate.connections == 0, "it is closed")


@pytest.mark.parametrize("host", ["::1", "::"])
def test_a_port_can_have_an_address_of_ipv6(host: str) -> None:
    with Gate(host, 0) as gate:
        number = gate.getsockname()[1]
        for other in ("::1", "127.0.0.1") if host == "::" else ("::1",):
            with socket.create_connection((other, number), LONG):
                gate.accept()[0].close()


def test_a_request_over_ipv6_is_answered(tmp_path: Path, stack: ExitStack) -> None:
    port = Port(Rig(tmp_path), stack, host="::")
    assert http().get(f"http://[::1]:{port.number}/live", timeout=LONG).status_code == 200
    assert asked("::", port.number) is not None
    assert asked("::1", port.number) is not None
    with pytest.raises(ConfigError, match=rf"web.port: cannot listen on \[::1\]:{port.number}: "):
        WebServer("web", None, "::1", port.number).listen()


def test_a_certificate_makes_the_port_speak_tls_and_is_read_again(
    tmp_path: Path, new_port: Callable[..., Port], stack: ExitStack
) -> None:
    authority = trustme.CA()
    port = new_port(certificate=write_certificate(authority, tmp_path, "one"))
    client = ssl.create_default_context()
    authority.configure_trust(client)

    def names() -> str:
        with client.wrap_socket(socket.create_connection(("127.0.0.1", port.number)), server_hostname="localhost") as s:
            return str(s.getpeercert())

    for _ in range(2 * MAX_CONNECTIONS):
        stack.enter_context(port.connect())  # handshakes that never begin
    assert port.put(SIGNED, verify=client).status_code == 200
    assert "'one'" in names()
    write_certificate(authority, tmp_path, "two")
    while "'two'" not in names():
        pass
    with capture_logs() as lines:  # a certificate without its key, as while both are being replaced
        (tmp_path / "tls.crt").write_bytes(authority.cert_pem.bytes())
        wait(lambda: any("KEY_VALUES_MISMATCH" in str(one.get("error")) for one in lines), "it is refused", LONG)
    assert "'two'" in names(), "the old certificate and its key stay in use"
    (tmp_path / "tls.crt").write_text("no certificate")
    with pytest.raises(ConfigError, match="intake: certificate_file and key_file cannot be used"):
        WebServer("intake", None, "127.0.0.1", 0, certificate=(tmp_path / "tls.crt", tmp_path / "tls.key"))
