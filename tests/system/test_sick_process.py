"""Real processes of which a part is sick: they end, or they go on, and both can be seen."""

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from adapters.engines.processes import free_port
from consumer.demo.fleet import STOP_SECONDS
from consumer.demo.settings import write_settings
from tests.support import child_signal, http, wait


@contextmanager
def running(folder: Path, port: int, out: object) -> Iterator[subprocess.Popen[bytes]]:
    """`orderflow run`, with both remotes refusing connections, and with `out` as its standard output."""
    nowhere = f"http://127.0.0.1:{free_port()}"
    file = write_settings(folder, {"alpha": nowhere}, nowhere, port)
    command = [str(Path(sys.executable).with_name("orderflow")), "run", "--config", str(file)]
    process = subprocess.Popen(command, stdout=out, stderr=subprocess.PIPE)  # type: ignore[call-overload]
    try:
        yield process
    finally:
        process.kill()
        process.wait()
        if process.stderr:
            process.stderr.close()


def is_ready(port: int) -> bool:
    try:
        return http().get(f"http://127.0.0.1:{port}/ready").status_code == 200
    except httpx.TransportError:
        return False


def lost_lines(port: int) -> float:
    text = http().get(f"http://127.0.0.1:{port}/metrics").text
    found = re.search(r"^orderflow_log_lines_lost_total (\S+)", text, re.MULTILINE)
    return float(found[1]) if found else -1


@pytest.mark.minutes
@pytest.mark.parametrize("out", ["a full disk", "a pipe without a reader"])
def test_a_process_whose_log_cannot_be_written_goes_on_and_counts(tmp_path: Path, out: str) -> None:
    port = free_port()
    if out == "a full disk":
        stream = os.open("/dev/full", os.O_WRONLY)
    else:
        reader, stream = os.pipe()
        os.close(reader)
    with running(tmp_path, port, stream) as process:
        os.close(stream)
        wait(lambda: is_ready(port), "the process is ready", 120)
        wait(lambda: lost_lines(port) >= 2, "lost lines are counted", 120)
        assert is_ready(port)
        process.send_signal(signal.SIGTERM)
        process.wait(STOP_SECONDS)
        assert process.stderr
        assert b"Traceback" not in process.stderr.read()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_process_stops_in_order_after_each_signal_that_ends_it(tmp_path: Path, number: signal.Signals) -> None:
    """SIGHUP, which a terminal sends when it closes, ended it in the middle of its work."""
    port = free_port()
    with child_signal(number, signal.SIG_DFL), running(tmp_path, port, subprocess.PIPE) as process:
        wait(lambda: is_ready(port), "the process is ready", 120)
        process.send_signal(number)
        assert process.wait(STOP_SECONDS) == 0
        assert process.stdout
        assert b"stopped" in process.stdout.read()
        process.stdout.close()


def test_a_process_that_was_told_to_outlive_its_terminal_does(tmp_path: Path) -> None:
    """As `nohup` does it."""
    port = free_port()
    with child_signal(signal.SIGHUP, signal.SIG_IGN), running(tmp_path, port, subprocess.DEVNULL) as process:
        wait(lambda: is_ready(port), "the process is ready", 120)
        process.send_signal(signal.SIGHUP)
        process.send_signal(signal.SIGHUP)
        assert is_ready(port)
        process.send_signal(signal.SIGTERM)
        assert process.wait(STOP_SECONDS) == 0
