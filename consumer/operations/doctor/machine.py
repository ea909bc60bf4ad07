"""Checks of this machine: the configuration's files, secrets, ports, certificates, codecs and the proxy."""

import errno
import json
import os
import socket
import ssl
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from http import HTTPStatus
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from adapters.errors import ConfigError
from adapters.log.kafka_client import check_codec
from adapters.remotes.reach import cannot_reach
from adapters.store.engine import sqlite_file
from consumer import clients, config
from consumer.config import Settings, secrets
from consumer.config.types import place
from consumer.config.web import IntakeTable
from consumer.operations.doctor.findings import Found, fail, ok, warn

REACH_SECONDS: Final = 5.0
#: How long a port of this machine may take to say that orderflow has it.
ASK_SECONDS: Final = 2.0
#: The codecs in which others may publish records. One that cannot be read stops its partition.
CODECS: Final = ("gzip", "snappy", "lz4", "zstd")


def configuration(settings: Settings) -> list[Found]:
    """What was read. A configuration that cannot be read ends the command before any check."""
    engine = "SQLite" if settings.store.is_sqlite else "PostgreSQL"
    return ok(f"{engine}, log {settings.log.kind}, shops: {', '.join(sorted(settings.shops))}")


def secrets_are_there(settings: Settings) -> list[Found]:
    """Each secret is one line of text in its file."""
    files = secrets.secret_files(settings)
    cure = "put the secret alone into the file, on one line; the user that runs orderflow has to be able to read it"
    is_one_line = ("password_file", "api_key_file")
    readers = {key: secrets.secret for key in files if key.endswith(is_one_line)}
    return _problems((partial(read, key, files[key]) for key, read in readers.items()), cure) or ok(
        f"{len(readers)} are there"
    )


def callback_secrets(settings: Settings) -> list[Found]:
    """Each shop's callback secrets are long, few, its own, and each on a line of its own."""
    files = {name: one.oms.callback_secret_file for name, one in settings.shops.items()}
    has_one = {name: path for name, path in files.items() if path is not None}
    if not has_one:
        return ok("no shop takes callbacks: the OMS publishes its events itself")
    cure = "write one secret of 16 characters or more into the file (openssl rand -hex 32), another one for each shop"

    def read(name: str, path: Path) -> secrets.Secrets:
        return secrets.callback_secrets(f"shops.{name}.oms.callback_secret_file", path)

    found = _problems((partial(read, name, path) for name, path in has_one.items()), cure)
    if found:
        return found
    owners: dict[str, str] = {}
    for name, path in has_one.items():
        for text in read(name, path)():
            if owners.setdefault(text, name) != name:
                found += fail(f"{name} and {owners[text]} have the same secret", cure)
    for path in dict.fromkeys(has_one.values()):
        for what in secrets.implausible(path):
            found += warn(*what.split("; ", 1))
    return found or ok(f"shops that have one: {len(has_one)}")


def file_modes(settings: Settings) -> list[Found]:
    """No file with a secret can be read by everybody; neither can SQLite's database, which holds personal data."""
    files = secrets.secret_files(settings)
    found = [one for key, path in files.items() if secrets.is_open_to_all(path) for one in _open(key, path)]
    database = sqlite_file(settings.store.url)
    if database and secrets.is_open_to_all(database):
        text = f"everybody on this machine can read the database: {database} ({_mode(database):04o})"
        found += warn(text, f"chmod 600 {database}*")
    return found or ok("nobody else can read a secret")


def other_files(settings: Settings) -> list[Found]:
    """Lists of SKUs can be read; certificates fit their keys."""
    found: list[Found] = []
    for name, shop in settings.shops.items():
        found += _problems([partial(config.known_skus, name, shop)], "put the list there, one SKU a line")
    if pair := settings.intake.files:
        try:
            ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(*pair)
        except OSError as error:  # ssl.SSLError is one too
            text = f"intake.certificate_file: {pair[0]} and {pair[1]} cannot be used ({type(error).__name__})"
            found += fail(text, "both are PEM, and the key is that of the first certificate")
    return found or ok("can be used")


def ca_file(settings: Settings) -> list[Found]:
    """The certificates that remotes are checked with can be loaded."""
    try:
        clients.network_of(settings.http)
    except ConfigError as error:
        return fail(str(error), "the file holds certificates in PEM; without the setting those of certifi are trusted")
    return ok(str(settings.http.ca_file or "the certificates of certifi"))


def codecs(settings: Settings) -> list[Found]:
    """The libraries of every compression in which others may publish to Kafka are installed."""
    if settings.log.kind != "kafka":
        return ok("not needed: nobody else writes the embedded log")
    missing = []
    for codec in CODECS:
        try:
            check_codec(codec)
        except ConfigError:
            missing.append(codec)
    if missing:
        return fail(f"not installed: {', '.join(missing)}", "install orderflow again, with its dependencies")
    return ok(", ".join(CODECS))


def proxy_of(settings: Settings) -> tuple[str, int] | None:
    """Return host and port of the proxy through which remotes are called. None: there is none."""
    address = settings.http.proxy or (os.environ.get("HTTPS_PROXY", "") if settings.http.from_environment else "")
    parts = urlsplit(address)
    return (parts.hostname, parts.port or (443 if parts.scheme == "https" else 80)) if parts.hostname else None


def proxy(settings: Settings) -> list[Found]:
    """The proxy takes connections."""
    found = proxy_of(settings)
    if found is None:
        return ok("none is set")
    cause = cannot_reach(*found, REACH_SECONDS)
    if cause is not None:
        cure = "correct http.proxy (HTTPS_PROXY if http.proxy is not set), or start the proxy"
        return fail(f"{found[0]}:{found[1]}: {cause}", cure)
    return ok(f"{found[0]}:{found[1]} takes connections")


def ports(settings: Settings) -> list[Found]:
    """The ports that `run` opens are free, or an orderflow that runs here has them."""
    web, intake = settings.web, settings.intake
    wanted = [("web", web.host, web.port, partial(_runs_here, settings))]
    if intake.port is not None:  # the process that has it may have another port for its metrics
        wanted.append(("intake", intake.host, intake.port, partial(_takes_callbacks, intake, intake.port)))
    found: list[Found] = []
    shown = []
    for name, host, port, is_ours in wanted:
        problem = _cannot_listen(host, port)
        if problem and not (problem == errno.EADDRINUSE and is_ours()):
            cure = f"{name}.port: take another port, or end the program that has it (ss -ltnp)"
            found += fail(f"{name}: {place(host, port)}: {os.strerror(problem)}", cure)
        shown.append(f"{place(host, port)}: {'orderflow runs here' if problem else 'free'}")
    return found or ok(", ".join(shown))


# -- Helpers -----------------------------------------------------------------------------------------------------


def _problems(looks: Iterable[Callable[[], object]], cure: str) -> list[Found]:
    """Call each, and return what each ConfigError says."""
    found: list[Found] = []
    for look in looks:
        try:
            look()
        except ConfigError as error:
            found += fail(str(error), cure)
    return found


def _mode(path: Path) -> int:
    try:
        return path.stat().st_mode & 0o777
    except OSError:  # another check reports it
        return 0


def _open(key: str, path: Path) -> list[Found]:
    return fail(f"{key}: everybody on this machine can read {path} ({_mode(path):04o})", f"chmod o-rwx {path}")


def _cannot_listen(host: str, port: int) -> int:
    """Return the errno with which listening at this address fails, or 0 if it does not fail."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, kind, protocol) as listening:
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listening.bind(address)
    except socket.gaierror:
        return errno.EADDRNOTAVAIL
    except OSError as error:
        return error.errno or errno.EIO
    return 0


def _runs_here(settings: Settings) -> bool:
    """Whether an orderflow answers at the port of [web]."""
    connection = HTTPConnection(_asked(settings.web.host), settings.web.port, timeout=ASK_SECONDS)
    try:
        connection.request("GET", "/live")
        answer = json.loads(connection.getresponse().read(1000))
    except (OSError, HTTPException, ValueError):
        return False
    finally:
        connection.close()
    return isinstance(answer, Mapping) and {"ok", "wrong"} <= answer.keys()


def _takes_callbacks(intake: IntakeTable, port: int) -> bool:
    """Whether callbacks are taken at the port of [intake]. The request is no callback: none is counted or logged."""
    host = _asked(intake.host)
    unchecked = ssl._create_unverified_context()  # noqa: S323 - nothing secret is sent; the name is not this address
    connection = (
        HTTPSConnection(host, port, timeout=ASK_SECONDS, context=unchecked)
        if intake.files
        else HTTPConnection(host, port, timeout=ASK_SECONDS)
    )
    try:
        connection.request("GET", "/oms/callbacks/doctor")
        answer = connection.getresponse()
    except (OSError, HTTPException):
        return False
    finally:
        connection.close()
    return answer.status == HTTPStatus.METHOD_NOT_ALLOWED and answer.headers.get("allow") == "PUT"


def _asked(host: str) -> str:
    """The address at which this machine asks itself."""
    return "127.0.0.1" if host in ("0.0.0.0", "::") else host  # noqa: S104 - compared
