"""The addresses of a host, with a limit for the wait: a name server that does not answer can take a minute.

The system's function has no limit. So it runs in a few threads of its own. A name is looked up once at a time: calls
that want the same name wait for the same answer.
"""

import socket
import threading
from concurrent.futures import Future
from typing import Final

import httpcore

from adapters.remotes.beside import Beside

#: How many names are looked up at a time.
THREADS: Final = 4

_beside = Beside("lookup", THREADS)
_lock = threading.Lock()
_under_way: dict[tuple[str, int], Future[list[str]]] = {}


def addresses(host: str, port: int, seconds: float | None) -> list[str]:
    """Return the addresses of the host, in the order in which they should be tried.

    Raises httpcore.ConnectTimeout if they are not known after so many seconds, and httpcore.ConnectError if there is
    none.
    """
    try:
        return _found(host, port, socket.AI_NUMERICHOST)  # an address is its own, without a look-up
    except (OSError, UnicodeError):
        pass
    with _lock:
        looked_up = _under_way.get((host, port))
        if looked_up is None:
            looked_up = _under_way[host, port] = Future()
            _beside(lambda: _look_up(host, port))
    try:
        return looked_up.result(seconds)
    except TimeoutError:
        raise httpcore.ConnectTimeout("the name server does not answer") from None
    except (OSError, UnicodeError) as error:  # UnicodeError: the text can be no host's name
        raise httpcore.ConnectError("the name is not known") from error


def _look_up(host: str, port: int) -> None:
    found: list[str] = []
    failed: Exception | None = None
    try:
        found = _found(host, port, 0)
    except Exception as error:
        failed = error
    with _lock:
        looked_up = _under_way.pop((host, port))
    if failed is None:
        looked_up.set_result(found)
    else:
        looked_up.set_exception(failed)


def _found(host: str, port: int, flags: int) -> list[str]:
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=flags)
    return list(dict.fromkeys(str(place[0]) for *_, place in found))
