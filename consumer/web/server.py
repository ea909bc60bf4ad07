"""One port of a process: its listening socket, its event loop in a thread of its own, and the limits of both."""

import asyncio
import errno
import ssl
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

import structlog
import uvicorn

from adapters.errors import ConfigError
from consumer.config.secrets import refuse_to_open
from consumer.config.types import place
from consumer.web.gate import BACKLOG, Gate
from consumer.web.seldom import Seldom

log = structlog.get_logger("orderflow.web")

#: How long open requests may go on after the loops have ended. A stop takes 20 s in all.
STOP_SECONDS: Final = 1
#: How often overdue connections are ended, and how often a changed certificate is looked for.
TICK_SECONDS: Final = 1.0
#: The longest head of a request, in bytes.
MAX_HEAD_BYTES: Final = 16 * 1024


class _Certificate:
    """The certificate of a port. A changed file is used by the next handshakes, without a restart."""

    def __init__(self, name: str, certificate: Path, key: Path) -> None:
        """Raises ConfigError if the files cannot be used."""
        self._name = name
        self._files = (certificate, key)
        self.context = _context()
        self._read_at = self._versions()
        self._load()

    def read_again(self) -> None:
        """Read the files if they have changed. Raises ConfigError; the old certificate stays in use then."""
        versions = self._versions()
        if versions != self._read_at:
            self._read_at = versions
            self._load()

    def _versions(self) -> list[tuple[int, int]]:
        try:
            found = [path.stat() for path in self._files]
            for one in found:
                refuse_to_open(one)
            return [(one.st_mtime_ns, one.st_ino) for one in found]
        except OSError as error:
            raise ConfigError(f"{self._name}: certificate_file or key_file cannot be read") from error

    def _load(self) -> None:
        try:
            # First into another context: if certificate and key do not fit, OpenSSL has dropped the old key already.
            _context().load_cert_chain(*self._files)
            self.context.load_cert_chain(*self._files)
        except (OSError, ssl.SSLError) as error:
            words = getattr(error, "reason", None) or type(error).__name__
            raise ConfigError(f"{self._name}: certificate_file and key_file cannot be used ({words})") from error


def _context() -> ssl.SSLContext:
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    made.minimum_version = ssl.TLSVersion.TLSv1_2
    return made


class WebServer:
    """Serves one ASGI application at one port."""

    def __init__(
        self,
        name: str,
        application: Any,
        host: str,
        port: int,
        *,
        certificate: tuple[Path, Path] | None = None,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """`name` is the table of the settings, and the name of the thread. `certificate`: the files of the certificate
        and its key; None: the port speaks plain HTTP. Raises ConfigError if they cannot be used."""
        self.name = name
        self.application = application
        self._address = (host, port)
        self._monotonic = monotonic
        self.gate: Gate | None = None  # None before `listen`
        self._certificate = _Certificate(name, *certificate) if certificate else None
        self._seldom = Seldom()
        options: dict[str, Any] = {}
        if self._certificate is not None:
            context = self._certificate.context
            options["ssl_context_factory"] = lambda *_: context
        self._server = uvicorn.Server(
            uvicorn.Config(
                self._answer,
                loop="asyncio",
                http="h11",
                ws="none",
                lifespan="off",
                interface="asgi3",
                log_config=None,
                access_log=False,
                # One request for each connection: the next one begins with the limits for its head.
                headers=[("connection", "close")],
                server_header=False,
                backlog=BACKLOG,
                proxy_headers=False,  # the gate knows the connection by the address of its client
                h11_max_incomplete_event_size=MAX_HEAD_BYTES,
                timeout_graceful_shutdown=STOP_SECONDS,
                **options,
            )
        )

    def listen(self) -> None:
        """Open the port. Raises ConfigError."""
        host, port = self._address
        try:
            self.gate = Gate(host, port, monotonic=self._monotonic)
        except OSError as error:
            taken = "another process listens there: stop it, or set another port"
            why = taken if error.errno == errno.EADDRINUSE else error.strerror
            raise ConfigError(f"{self.name}.port: cannot listen on {place(host, port)}: {why}") from error

    def run(self) -> None:
        """Answer requests until `stop` is called. The port has to be open."""
        if self.gate is not None:
            with asyncio.Runner(loop_factory=asyncio.SelectorEventLoop) as runner:
                runner.run(self._serve(self.gate))

    def stop(self) -> None:
        """Let `run` end within STOP_SECONDS."""
        self._server.should_exit = True

    def close(self) -> None:
        """Close the port."""
        if self.gate is not None:
            self.gate.close()

    async def _serve(self, gate: Gate) -> None:
        asyncio.get_running_loop().set_exception_handler(lambda _loop, context: self._log_error(context))
        ticks = asyncio.create_task(self._tick(gate))
        try:
            await self._server.serve(sockets=[gate])
        finally:
            ticks.cancel()

    async def _tick(self, gate: Gate) -> None:
        while True:
            gate.end_overdue()
            try:
                if self._certificate is not None:
                    self._certificate.read_again()
            except ConfigError as error:
                if times := self._seldom.times("certificate_not_read", str(error)):
                    log.error("certificate_not_read", error=str(error), times=times)
            await asyncio.sleep(TICK_SECONDS)

    async def _answer(self, scope: Mapping[str, Any], receive: Any, send: Any) -> None:
        gate, client = self.gate, scope["client"]
        if gate is None:
            return

        async def watched() -> Any:
            message = await receive()
            if not message.get("more_body"):
                gate.request_is_read(client)
            return message

        gate.head_is_read(client)
        if not {name for name, _ in scope["headers"]} & {b"content-length", b"transfer-encoding"}:
            gate.request_is_read(client)  # it has no body, for which the application would ask
        await self.application(scope, watched, send)

    def _log_error(self, context: Mapping[str, Any]) -> None:
        """Log an error of the event loop, such as no descriptor left. It may happen thousands of times a second."""
        error = type(context.get("exception")).__name__
        if times := self._seldom.times(error):
            log.error("web_failed", port=self.name, error=error, what=context["message"], times=times)
