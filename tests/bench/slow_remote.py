"""A remote that answers every request after a while, in a process of its own, so that it costs the measured process
nothing: python -m tests.bench.slow_remote MILLISECONDS [--tell]. It prints its port; with --tell also a line for each
PUT: the seconds since 1970 and the path. A PUT gets 204. A listing by ids shows those of them that were accepted, as
orders that the customer canceled since, so that an order ends as it would at Mirakl; any other request gets an empty
listing."""

import asyncio
import sys
import time
from datetime import UTC, datetime
from urllib.parse import parse_qs, urlsplit

from tests.bench.made import order_bytes

ANSWER = b"HTTP/1.1 204 No Content\r\nContent-Length: 0\r\n\r\n"


def listing(target: str, accepted: set[str]) -> bytes:
    """The answer to an OR11 with this target."""
    wanted = ",".join(parse_qs(urlsplit(target).query).get("order_ids", [])).split(",")
    now = datetime.now(UTC)
    orders = [order_bytes(int(one.partition("-")[0]), "CANCELED", now) for one in wanted if one in accepted]
    body = b'{"orders": [%b], "total_count": %d}' % (b", ".join(orders), len(orders))
    return b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(body) + body


async def serve(seconds: float, *, tells: bool) -> None:
    accepted: set[str] = set()

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                method, target = head.decode().split(" ", 2)[:2]
                if method == "PUT" and target.endswith("/accept"):
                    accepted.add(target.split("/")[-2])
                if method == "PUT" and tells:
                    sys.stdout.write(f"{time.time()} {target}\n")
                    sys.stdout.flush()
                lengths = [line.split(b":")[1] for line in head.lower().split(b"\r\n") if b"content-length:" in line]
                await reader.readexactly(int(lengths[0]) if lengths else 0)
                await asyncio.sleep(seconds)
                writer.write(ANSWER if method == "PUT" else listing(target, accepted))
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0, backlog=512)
    sys.stdout.write(f"{server.sockets[0].getsockname()[1]}\n")
    sys.stdout.flush()
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(serve(float(sys.argv[1]) / 1000, tells="--tell" in sys.argv))
