"""Starts processes of the service, and asks them how they are: what tests of whole processes share."""

import os
import subprocess
import sys
import time
from contextlib import suppress

import httpx

from tests.support import http

#: How long an answer may take while the machine catches up on a minute of work.
ANSWER_SECONDS = 10.0


def value(text: str, metric: str) -> float:
    """The sum of the values of all lines that begin with `metric`."""
    return sum(float(line.split()[-1]) for line in text.splitlines() if line.startswith(metric))


def is_ready(port: int) -> bool:
    try:
        return http().get(f"http://127.0.0.1:{port}/ready").status_code == 200
    except httpx.HTTPError:
        return False


def until_not_ready(port: int) -> str:
    ends_at = time.monotonic() + 10
    while time.monotonic() < ends_at:
        answer = http().get(f"http://127.0.0.1:{port}/ready")
        if answer.status_code == 503:
            return str(answer.json()["wrong"])
    return ""


def status(port: int, path: str) -> int:
    with suppress(httpx.HTTPError):
        return http().get(f"http://127.0.0.1:{port}{path}", timeout=ANSWER_SECONDS).status_code
    return 0


def scrape(port: int) -> str:
    return http().get(f"http://127.0.0.1:{port}/metrics", timeout=ANSWER_SECONDS).text


PYTHON, MAIN = sys.executable, "from consumer.cli.app import main; main()"
PROGRAM = [PYTHON, "-c", MAIN]


def start(*arguments: str) -> "subprocess.Popen[bytes]":
    return subprocess.Popen([*PROGRAM, *arguments], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def orderflow(*arguments: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run([*PROGRAM, *arguments], capture_output=True, text=True, check=False, env=os.environ)
