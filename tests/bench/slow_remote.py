"""A remote that answers every request after a while, in a process of its own, so that it costs the measured process
nothing: python -m tests.bench.slow_remote MILLISECONDS [--tell]. It prints its port; with --tell also a line for each
PUT: the seconds since 1970 and the path. A PUT gets 204, and any other request an empty listing."""

import asyncio
import sys
import time

_EMPTY = b'{"orders": [], "total_count": 0}'
ANSWER = b"HTTP/1.1 204 No Content\r\nContent-Length: 0\r\n\r\n"
LISTING = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(_EMPTY) + _EMPTY


async def serve(seconds: float, *, tells: bool) -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                writes = head.startswith(b"PUT ")
                if writes and tells:
                    sys.stdout.write(f"{time.time()} {head.split(b' ', 2)[1].decode()}\n")
                    sys.stdout.flush()
                lengths = [line.split(b":")[1] for line in head.lower().split(b"\r\n") if b"content-length:" in line]
                await reader.readexactly(int(lengths[0]) if lengths else 0)
                await asyncio.sleep(seconds)
                writer.write(ANSWER if writes else LISTING)
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0, backlog=512)
    sys.stdout.write(f"{server.sockets[0].getsockname()[1]}\n")
    sys.stdout.flush()
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(serve(float(sys.argv[1]) / 1000, tells="--tell" in sys.argv))
