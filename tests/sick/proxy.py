"""A small TCP proxy that can be slow, silent or broken. It stands between the service and one part of the outside."""

import asyncio
import ssl
import threading
from collections.abc import Callable, Coroutine
from contextlib import suppress
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

LOOK_SECONDS = 0.05


@dataclass(slots=True)
class Manner:
    """How the proxy treats all connections, those that are open already too."""

    silent: bool = False  # it accepts connections and takes requests, and passes nothing on
    refuses: bool = False  # it resets every connection
    ends: bool = False  # it ends each open connection at its next piece, and takes new ones
    delay_seconds: float = 0.0  # before each piece that it passes on, in both directions, and before its own answers
    byte_seconds: float = 0.0  # before each byte of an answer: the answer drips
    answer: bytes = b""  # it ends each open connection, and answers each new one with these bytes
    answers: Callable[[], bytes] | None = None  # as `answer`, with other bytes each time


class Proxy:
    """Listens on a port of its own, and passes connections on to `target`. `manner` may be replaced at any time."""

    def __init__(self, host: str, target: int, tls: ssl.SSLContext | None = None) -> None:
        """`tls`: what it shows to those who connect. To `target` it speaks without TLS."""
        self.manner = Manner()
        self._tls = tls
        self._target = (host, target)
        self._loop = asyncio.new_event_loop()
        self._servers: list[asyncio.Server] = []
        started = threading.Event()
        self._thread = threading.Thread(target=self._serve, args=(started,), name=f"proxy to {target}", daemon=True)
        self._thread.start()
        started.wait(10)
        self.port: int = self._servers[0].sockets[0].getsockname()[1]

    @classmethod
    def to_url(cls, url: str, tls: ssl.SSLContext | None = None) -> "Proxy":
        parts = urlsplit(url)
        assert parts.hostname and parts.port
        return cls(parts.hostname, parts.port, tls)

    @property
    def url(self) -> str:
        return f"https://localhost:{self.port}" if self._tls else f"http://127.0.0.1:{self.port}"

    def stop(self) -> None:
        """Close every connection, and end the thread."""
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)

    def _serve(self, started: threading.Event) -> None:
        asyncio.set_event_loop(self._loop)
        try:
            self._servers.append(self._run(asyncio.start_server(self._connected, "127.0.0.1", 0, ssl=self._tls)))
            started.set()
            self._loop.run_forever()
        finally:
            started.set()
            for task in asyncio.all_tasks(self._loop):
                task.cancel()
            with suppress(asyncio.CancelledError):
                self._run(asyncio.sleep(LOOK_SECONDS))
            self._loop.close()

    def _run(self, work: Coroutine[Any, Any, Any]) -> Any:
        return self._loop.run_until_complete(work)

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there: asyncio.StreamWriter | None = None
        try:
            if self.manner.refuses:
                return
            if answer := self.manner.answers() if self.manner.answers else self.manner.answer:
                await reader.read(65536)
                await asyncio.sleep(self.manner.delay_seconds)
                writer.write(answer)
                await writer.drain()
                return
            answers, there = await asyncio.open_connection(*self._target)
            began = self.manner
            ways = [
                self._pass_on(reader, there, began, is_answer=False),
                self._pass_on(answers, writer, began, is_answer=True),
            ]
            tasks = [asyncio.ensure_future(way) for way in ways]
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in tasks:
                task.cancel()
        except (OSError, asyncio.CancelledError):
            pass
        finally:
            for one in (writer, there):
                if one is not None:
                    one.transport.abort() if self.manner.refuses else one.close()

    async def _pass_on(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, began: Manner, *, is_answer: bool
    ) -> None:
        """Pass pieces on until `reader` ends or the manner ends the connection. `began`: the manner when the connection
        was made: `ends` spares new connections."""
        with suppress(OSError):
            while piece := await reader.read(65536):
                while self.manner.silent:
                    await asyncio.sleep(LOOK_SECONDS)
                if (
                    self.manner.refuses
                    or self.manner.answer
                    or self.manner.answers
                    or (self.manner.ends and began is not self.manner)
                ):
                    return
                await asyncio.sleep(self.manner.delay_seconds)
                if is_answer and self.manner.byte_seconds:
                    await self._drip(piece, writer)
                else:
                    writer.write(piece)
                    await writer.drain()

    async def _drip(self, piece: bytes, writer: asyncio.StreamWriter) -> None:
        for at in range(len(piece)):
            if not self.manner.byte_seconds:
                writer.write(piece[at:])
                break
            writer.write(piece[at : at + 1])
            await writer.drain()
            await asyncio.sleep(self.manner.byte_seconds)
