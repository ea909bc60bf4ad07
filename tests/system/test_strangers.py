"""A real process, and strangers who know no secret: what they hold, and whether orders go on (docs/limits.md)."""

import json
import os
import signal
import socket
import subprocess
import sys
import textwrap
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from pathlib import Path

import httpx
import psutil
import pytest

from adapters.engines.processes import free_port
from consumer.demo.fleet import STOP_SECONDS
from consumer.demo.settings import CALLBACK_SECRET, write_settings
from tests.support import LONG, http

DESCRIPTORS = 256
BEARER = {"Authorization": f"Bearer {CALLBACK_SECRET}-alpha"}
ORDERFLOW = Path(sys.executable).with_name("orderflow")


class Running:
    """`orderflow run all` with few file descriptors. Its remotes do not answer."""

    def __init__(self, folder: Path) -> None:
        nowhere = f"http://127.0.0.1:{free_port()}"
        self.port = free_port()
        settings = write_settings(folder, {"alpha": nowhere}, nowhere, free_port())
        settings.write_text(settings.read_text() + f"[intake]\nport = {self.port}\n")
        self.output = folder / "output"
        with self.output.open("wb") as output:
            self.process = subprocess.Popen(
                ["bash", "-c", f'ulimit -n {DESCRIPTORS}; exec "$0" run all --config "$1"', ORDERFLOW, settings],
                stdout=output,
                stderr=subprocess.STDOUT,
            )

    def wait_until_it_answers(self) -> None:
        ends_at = time.monotonic() + 3 * LONG
        while not self.answers():
            assert self.process.poll() is None, self.output.read_text()
            assert time.monotonic() < ends_at, self.output.read_text()

    def answers(self) -> bool:
        with suppress(httpx.HTTPError):
            body = b'{"id": 1, "external_ref": "1-A", "status": 8}'
            url = f"http://127.0.0.1:{self.port}/oms/callbacks/alpha"
            return http().put(url, content=body, headers=BEARER, timeout=LONG).status_code == 200
        return False

    def lines_of_the_log(self) -> int:
        """How many bytes it has written, but for those about the remotes, which do not answer."""
        lines = self.output.read_bytes().splitlines()
        return sum(len(line) for line in lines if b"poll_failed" not in line)

    def memory(self) -> int:
        return psutil.Process(self.process.pid).memory_info().rss

    def send(self, text: bytes) -> None:
        """Send this, as far as the process takes it, and read what it answers."""
        with suppress(OSError), socket.create_connection(("127.0.0.1", self.port), LONG) as one:
            one.sendall(text)
            one.shutdown(socket.SHUT_WR)
            while one.recv(65536):
                pass


@pytest.fixture
def running(tmp_path: Path) -> Iterator[Running]:
    one = Running(tmp_path)
    try:
        one.wait_until_it_answers()
        yield one
    finally:
        one.process.kill()
        one.process.wait(LONG)


def request(*lines: str, body: bytes = b"") -> bytes:
    return "\r\n".join(["PUT /oms/callbacks/alpha HTTP/1.1", "Host: o", *lines, "", ""]).encode() + body


@pytest.mark.minutes
def test_strangers_get_no_descriptors_no_memory_and_no_lines_of_the_log(running: Running) -> None:
    mebibyte = b"x" * (1024 * 1024)
    forged = f"X-CustomGateway-Hmac: {'0' * 64}"
    with ExitStack() as stack, ThreadPoolExecutor(8) as threads:
        list(threads.map(running.send, [request("Content-Length: 1048576", body=mebibyte)] * 20))
        before, lines_before = running.memory(), running.lines_of_the_log()
        attacks = [
            *[request("Content-Length: 1048576", body=mebibyte)] * 200,
            *[request("Content-Length: 1048576", forged, body=mebibyte)] * 100,
            *[request("Transfer-Encoding: chunked", forged, body=b"100000\r\n" + mebibyte)] * 100,
            *[request(*(f"X-{number}: {'y' * 1000}" for number in range(1000)))] * 50,
            *[b"\x16\x03\x01" + b"\x00" * 500] * 200,
        ]
        list(threads.map(running.send, attacks))
        for number in range(3 * DESCRIPTORS):
            idle = stack.enter_context(socket.create_connection(("127.0.0.1", running.port), LONG))
            with suppress(OSError):
                idle.sendall(request("Content-Length: 60000", forged)[: 10 if number % 2 else None])
        assert running.answers()
        assert running.memory() - before < 30 * 1024 * 1024
        assert running.lines_of_the_log() - lines_before < 20_000
    running.process.send_signal(signal.SIGTERM)
    assert running.process.wait(STOP_SECONDS) == 0


def test_a_process_raises_its_limit_of_open_files() -> None:
    program = (
        "import resource; from consumer import service; service.raise_descriptor_limit(); "
        "print(resource.getrlimit(resource.RLIMIT_NOFILE))"
    )
    output = subprocess.check_output(["bash", "-c", f"ulimit -Sn 100; ulimit -Hn 200; {sys.executable} -c '{program}'"])
    assert output == b"(200, 200)\n"


def test_a_stop_ends_in_time_whatever_hangs(tmp_path: Path) -> None:
    """A client that does not close, and a thread that Python waits for at the end of a process."""
    nowhere = f"http://127.0.0.1:{free_port()}"
    settings = write_settings(tmp_path, {"alpha": nowhere}, nowhere, free_port())
    program = textwrap.dedent("""
        import sys, threading
        from pathlib import Path
        from consumer import bootstrap, config, service

        def build():
            one = bootstrap.build(config.load(Path(sys.argv[1])))
            one.parts.closing.callback(threading.Event().wait)
            threading.Thread(target=threading.Event().wait, name="a call").start()
            threading.Thread(target=threading.Event().wait, name="a loop", daemon=True).start()
            return one

        service.run(build, end_seconds=1.0)
    """)
    process = subprocess.Popen([sys.executable, "-c", program, settings], stdout=subprocess.PIPE, env=os.environ)
    with process, process.stdout or sys.stdin as output:
        lines = [output.readline()]
        while b'"running"' not in lines[-1]:
            lines.append(output.readline())
            assert lines[-1], lines
        process.send_signal(signal.SIGTERM)
        assert process.wait(LONG) == 1
        forced = next(line for line in output.read().splitlines() if b'"stop_forced"' in line)
        assert {"a call", "a loop", "MainThread"} <= set(json.loads(forced)["threads"])
