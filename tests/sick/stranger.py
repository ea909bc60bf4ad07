"""A stranger who knows no secret: `python -m tests.sick.stranger KIND PORT`, until it is killed.

A program of its own does not take the interpreter from the simulators.
"""

import gzip
import socket
import sys
import time
from contextlib import suppress

SECONDS = 5.0


def request(*lines: str, body: bytes = b"") -> bytes:
    return "\r\n".join(["PUT /oms/callbacks/beta HTTP/1.1", "Host: o", *lines, "", ""]).encode() + body


FORGED = f"X-CustomGateway-Hmac: {'0' * 64}"
MEBIBYTE = b"x" * (1024 * 1024)
BOMB = gzip.compress(bytes(50 * 1024 * 1024))
#: What each kind of stranger sends, again and again.
SENT = {
    "bodies": request(f"Content-Length: {len(MEBIBYTE)}", body=MEBIBYTE),
    "bombs": request(FORGED, "Content-Encoding: gzip", f"Content-Length: {len(BOMB)}", body=BOMB),
    "heads": request(*(f"X-{number}: {'y' * 1000}" for number in range(1000))),
    "forgers": request(FORGED, "Content-Length: 46", body=b'{"id": 1, "external_ref": "1-A", "status": 8} '),
}
PAUSE_SECONDS = 0.02


def send(port: int, text: bytes) -> None:
    with suppress(OSError), socket.create_connection(("127.0.0.1", port), SECONDS) as one:
        one.sendall(text)
        one.shutdown(socket.SHUT_WR)
        while one.recv(65536):
            pass


def half_requests(port: int, count: int) -> None:
    """Keep this many connections open, each with half a head. One that was closed is opened again."""
    half = request(FORGED, "Content-Length: 60000")[:60]
    open_: list[socket.socket] = []
    while True:
        while len(open_) < count:
            with suppress(OSError):
                one = socket.create_connection(("127.0.0.1", port), SECONDS)
                one.sendall(half)
                one.setblocking(False)
                open_.append(one)
            if len(open_) % 50 == 0:
                time.sleep(0.05)
        time.sleep(0.5)
        for one in [*open_]:
            with suppress(BlockingIOError, ConnectionError):
                if one.recv(100):
                    continue
                open_.remove(one)
                one.close()


def main(kind: str, port: int) -> None:
    if kind == "half":
        half_requests(port, 1000)
    while True:
        send(port, SENT[kind])
        time.sleep(PAUSE_SECONDS)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
