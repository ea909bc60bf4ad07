"""What many tests need: a clock that they move, a store of their own, and a second thread."""

import multiprocessing
import signal
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any

import httpx
import sqlalchemy as sa

from adapters.messages.snapshots import snapshot_of
from adapters.store.transaction import Store
from consumer.web.server import WebServer

#: Opens a test's database once more, as another process does.
OpenStore = Callable[[], Store]
#: After so many seconds a test takes it that a thread that has not ended waits for a lock.
SOON = 0.3
#: After so many seconds a test takes it that a thread that has not ended never will.
LONG = 20.0


class StillClock:
    """Time that moves when a test says so."""

    def __init__(self, at: datetime = datetime(2026, 3, 1, 12, tzinfo=UTC)) -> None:
        self.at = at

    def now(self) -> datetime:
        return self.at

    def monotonic(self) -> float:
        return self.at.timestamp()

    def advance(self, seconds: float) -> None:
        self.at += timedelta(seconds=seconds)


def new_store(folder: Path) -> Store:
    """An empty store with its schema."""
    store = Store(f"sqlite:///{folder}/orderflow.db")
    make_schema(store)
    return store


def make_schema(store: Store) -> None:
    """Give the store its schema. A SQLite file that does not exist yet is copied from one that the migrations made.

    Most tests begin with an empty store, and the migrations take 60 ms of CPU time each.
    """
    if store.is_sqlite:
        sa.event.listen(store.engine, "connect", _do_not_wait_for_the_disk)
        _share_statements(store.engine)
    file = store.engine.url.database if store.is_sqlite else None
    if file in (None, "", ":memory:") or Path(file).exists():
        store.migrate()
    else:
        Path(file).write_bytes(_empty_store())


#: The statements that were compiled, of all stores of the process, and the dialect that they were compiled for.
_STATEMENTS: dict[Any, Any] = {}
_DIALECTS: dict[str, sa.Dialect] = {}


def _share_statements(engine: sa.Engine) -> None:
    """Let the SQLite stores of all tests share compiled statements: to compile them takes a sixth of a short test."""
    engine.dialect = _DIALECTS.setdefault(engine.name, engine.dialect)
    engine.update_execution_options(compiled_cache=_STATEMENTS)


def _do_not_wait_for_the_disk(connection: Any, _record: object) -> None:
    """Let commits return before the disk has them. Only a power failure would lose them, and no test has one."""
    connection.execute("PRAGMA synchronous = OFF")


@cache
def _empty_store() -> bytes:
    """The file of a SQLite store without an order."""
    with tempfile.TemporaryDirectory() as folder:
        store = Store(f"sqlite:///{folder}/orderflow.db")
        store.migrate()
        store.close()  # SQLite writes its log into the file when the last connection is closed
        (file,) = Path(folder).iterdir()
        return file.read_bytes()


@contextmanager
def child_signal(number: signal.Signals, handler: signal.Handlers) -> Iterator[None]:
    """A process that is started meanwhile begins with this handling of the signal, whatever ours is. A test run in the
    background of a shell has SIGINT ignored, for example, and after `nohup` SIGHUP."""
    before = signal.signal(number, handler)
    try:
        yield
    finally:
        signal.signal(number, before)


@cache
def http() -> httpx.Client:
    """A client for the ports of tests. Each client of its own would read all certificates, which takes 30 ms of CPU."""
    return httpx.Client(limits=httpx.Limits(max_keepalive_connections=0), trust_env=False)


class Meanwhile:
    """A call in a thread of its own, with its result."""

    def __init__(self, call: Callable[[], Any]) -> None:
        self._call = call
        self._found: list[Any] = []
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        try:
            self._found.append(self._call())
        except Exception as error:
            self._found.append(error)

    def waits(self) -> bool:
        """Whether the call still runs after SOON seconds."""
        self._thread.join(SOON)
        return self._thread.is_alive()

    def result(self) -> Any:
        """What the call returned, or the exception that it raised."""
        self._thread.join(LONG)
        assert self._found, f"the call has not ended after {LONG:.0f} s"
        return self._found[0]


@contextmanager
def apart() -> Iterator[Callable[..., Any]]:
    """Gives a function that calls another one in a process of its own, and returns its result.

    For calls that may hold the interpreter, so that no thread could notice that they do not end. The test fails if one
    has not ended after three times LONG seconds: the process may still have to start.
    """
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        yield lambda function, *args: pool.apply_async(function, args).get(3 * LONG)


def wait(holds: Callable[[], object], what: str, seconds: float = 30.0) -> None:
    """Wait until the condition holds. The test fails if it does not hold within `seconds`."""
    ends_at = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < ends_at, f"not within {seconds:.0f} s: {what}"
        time.sleep(0.02)


def owed_quantities(raw: bytes) -> dict[str, int | None]:
    """The pieces of each owed line of an order of OR11, as the worker passes them to `Oms.payload`."""
    _, snapshot = snapshot_of(raw, datetime(2026, 3, 1, 12, tzinfo=UTC))
    return {line.id: line.quantity for line in snapshot.owed_lines}


@contextmanager
def serving(server: WebServer) -> Iterator[None]:
    """The server answers at its port, in a thread of its own."""
    server.listen()
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    try:
        yield
    finally:
        server.stop()
        thread.join(LONG)
