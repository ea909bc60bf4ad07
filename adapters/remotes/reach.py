"""Whether a host takes connections, and if not, why. It sends nothing but a TLS handshake."""

import socket
import ssl
from collections.abc import Mapping
from typing import Final

from adapters.errors import Cause

_CAUSES: Final[Mapping[type[OSError], Cause]] = {
    socket.gaierror: Cause.DNS,
    ConnectionRefusedError: Cause.REFUSED,
    TimeoutError: Cause.TIMEOUT,
}


def cannot_reach(host: str, port: int, seconds: float, tls: ssl.SSLContext | None = None) -> Cause | None:
    """Connect, and with `tls` shake hands. Returns why that fails, or None if it succeeds.

    `seconds` limits each step. The cause is TLS for everything that fails after the connection is there: a server that
    does not speak TLS ends it, or waits.
    """
    try:
        plain = socket.create_connection((host, port), seconds)
    except OSError as error:
        return next((cause for kind, cause in _CAUSES.items() if isinstance(error, kind)), Cause.CONNECTION)
    with plain:
        if tls is None:
            return None
        try:
            with tls.wrap_socket(plain, server_hostname=host):
                return None
        except (OSError, ValueError):  # ValueError: the host is no name that a certificate can have
            return Cause.TLS
