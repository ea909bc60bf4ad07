"""Secrets: each is a file, read again when it changes, so that a rotated key needs no restart.

Kubernetes replaces a mounted secret while the process runs. So this module returns a function, a `Secret`, and not the
text. The function is called for each use.
"""

import errno
import math
import os
import re
import stat
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from adapters.errors import ConfigError
from consumer.config import KafkaOption, Settings
from consumer.config.shops import ShopTable

#: Returns the secret that its file contains now. Raises ConfigError if there is no usable one.
Secret = Callable[[], str]
#: Returns the secrets of a file that may hold several, all of them valid.
Secrets = Callable[[], tuple[str, ...]]

#: The fewest characters of a secret that signs callbacks. Anybody who has seen one callback can guess a shorter one.
SHORTEST_CALLBACK_SECRET: Final = 16
MAX_CALLBACK_SECRETS: Final = 2
#: How often the file of a key is looked at, which each call to a remote needs: at most once in this time.
LOOK_EVERY_SECONDS: Final = 1.0
#: A longer file is not read: it holds no secret, and its text would take memory.
LONGEST_FILE_BYTES: Final = 64 * 1024
#: A secret with more characters is not refused, but `implausible` names it: it is probably two secrets in one line.
LONGEST_PLAUSIBLE_SECRET: Final = 100
#: The shape of a UUID. A text that holds two of them is probably two secrets in one line.
_UUID: Final = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE)


def secret(
    key: str, path: Path, *, look_every_seconds: float = 0.0, monotonic: Callable[[], float] = time.monotonic
) -> Secret:
    """Return a function that returns the secret in a file. `key`: the setting that names the file, for error texts.
    `look_every_seconds`: how often the function looks at the most whether the file has changed.

    Raises ConfigError if the file is missing, empty, too long, not text, not a regular file, or contains more than one
    line. If the file is missing, empty or too long later, or no regular file, the returned function returns the last
    secret. If it then has more than one line, the function raises ConfigError.
    """
    text = _watched(key, path, look_every_seconds, monotonic)

    def read() -> str:
        value = text()
        if not value.isprintable():
            raise ConfigError(f"{key}: {path} holds more than one line, or bytes that are not text")
        return value

    read()
    return read


def _watched(
    key: str, path: Path, look_every_seconds: float = 0.0, monotonic: Callable[[], float] = time.monotonic
) -> Callable[[], str]:
    """Return a function that returns the text of a file, read again when the file changes.

    While the file is missing or unusable, it returns the last text, and logs one line: nobody would see before the next
    start that a rotation failed.
    """
    version: tuple[int, ...] = ()
    value = ""
    is_empty = is_logged = False
    looks_at = -math.inf  # on the monotonic clock

    def read() -> str:
        nonlocal version, value, is_empty, is_logged, looks_at
        now_at = monotonic()
        if value and now_at < looks_at:
            return value
        looks_at = now_at + look_every_seconds
        fault = ""
        try:
            found = path.stat()
            now = (found.st_mtime_ns, found.st_size, found.st_ino)
            if now != version:
                refuse_to_open(found)
                text = path.read_text(encoding="utf-8").strip()
                version, value, is_empty = now, text or value, not text
        except (OSError, UnicodeDecodeError) as error:
            fault = _unreadable(error)
        fault = fault or ("is empty" if is_empty else "")
        if fault and not value:
            raise ConfigError(f"{key}: {path} {fault}")
        if fault and not is_logged:  # also if the file is only being replaced at this moment
            _warn("secret_unreadable", key=key, what=f"{path} {fault}; the last secret is used")
        is_logged = bool(fault)
        return value

    return read


def refuse_to_open(found: os.stat_result) -> None:
    """Raise OSError if a file with this status must not be opened.

    Opening a named pipe waits for a writer, so the thread that reads the secret would hang: for callbacks, that is the
    event loop of the port.
    """
    if not stat.S_ISREG(found.st_mode) or found.st_size > LONGEST_FILE_BYTES:
        raise OSError(errno.EINVAL, f"it is no regular file of at most {LONGEST_FILE_BYTES // 1024} KiB")


def _unreadable(error: OSError | UnicodeDecodeError) -> str:
    if isinstance(error, FileNotFoundError):
        return "is missing: write the secret alone into this file, then `chmod 600` it"
    return f"cannot be read ({getattr(error, 'strerror', None) or 'it is no text in UTF-8'})"


def callback_secrets(key: str, path: Path) -> Secrets:
    """Return a function that returns the secrets in a file, one a line. `key`: the setting that names the file.

    While a secret is replaced at the OMS, the file holds the old and the new one. Raises ConfigError if the file is
    missing, empty or not text, or holds too many secrets, or one that is too short to be safe. If it is missing or
    empty later, the returned function returns the last secrets. If it is unusable in another way, the function raises
    ConfigError: also if a line holds a secret from before with more behind or before it, because somebody joined the
    old and the new secret in one line, and neither would be right.
    """
    text = _watched(key, path)
    before: tuple[str, ...] = ()

    def read() -> tuple[str, ...]:
        nonlocal before
        found = tuple(line.strip() for line in text().splitlines() if line.strip())
        if len(found) > MAX_CALLBACK_SECRETS:
            raise ConfigError(f"{key}: {path} holds more than {MAX_CALLBACK_SECRETS} secrets")
        if any(not one.isprintable() for one in found):
            raise ConfigError(f"{key}: {path} holds bytes that are not text")
        if any(len(one) < SHORTEST_CALLBACK_SECRET for one in found):
            raise ConfigError(f"{key}: {path} holds a secret of less than {SHORTEST_CALLBACK_SECRET} characters")
        if any(one != old and (one.startswith(old) or one.endswith(old)) for one in found for old in before):
            raise ConfigError(f"{key}: {path} holds the secret from before and more on one line; {_ONE_A_LINE}")
        before = found
        return found

    read()
    return read


_ONE_A_LINE: Final = "each secret needs a line of its own: printf '\\n%s\\n' NEW >> FILE"


def implausible(path: Path) -> list[str]:
    """What is probably wrong with a file of callback secrets that can be read, without the secrets themselves.

    A file without a line end is named before anything is wrong: `echo NEW >> FILE` would join NEW to its last secret.
    """
    text = path.read_text(encoding="utf-8")
    found = []
    for number, line in enumerate((one.strip() for one in text.splitlines()), start=1):
        if len(line) > LONGEST_PLAUSIBLE_SECRET:
            found.append(f"line {number} of {path} has {len(line)} characters, perhaps two secrets")
        elif len(_UUID.findall(line)) > 1:
            found.append(f"line {number} of {path} holds two UUIDs, perhaps two secrets")
        elif any(one.isspace() for one in line):
            found.append(f"line {number} of {path} holds a space, perhaps two secrets or a remark")
    if text and not text.endswith("\n") and os.access(path, os.W_OK):  # a mounted Secret cannot be appended to
        found.append(f"{path} does not end with a line end, so `echo NEW >> FILE` would join two secrets in one line")
    return [f"{one}; {_ONE_A_LINE}" for one in found]


def warn_of_implausible_secrets(settings: Settings) -> None:
    """Log what is probably wrong with the files of callback secrets, at the start of a process."""
    for name, shop in settings.shops.items():
        path = shop.oms.callback_secret_file
        for what in implausible(path) if path else ():
            _warn("callback_secret_implausible", shop=name, what=what)


def _warn(event: str, **values: str) -> None:
    import structlog  # noqa: PLC0415 - it takes time, and commands that only read the store log nothing

    structlog.get_logger("orderflow").warning(event, **values)


def check_callback_secrets(secrets: Mapping[str, "ShopSecrets"]) -> None:
    """Raise ConfigError if two shops have a callback secret in common: one shop's sender could report for the other."""
    owners: dict[str, str] = {}
    for shop, one in secrets.items():
        for text in one.callback_secrets() if one.callback_secrets else ():
            other = owners.setdefault(text, shop)
            if other != shop:
                raise ConfigError(f"shops.{shop}.oms.callback_secret_file: holds the secret of shops.{other}")


@dataclass(frozen=True, slots=True)
class ShopSecrets:
    """The secrets of one shop. Without a callback secret, the shop takes no callbacks."""

    mirakl_key: Secret
    oms_key: Secret
    callback_secrets: Secrets | None


def shop_secrets(name: str, shop: ShopTable) -> ShopSecrets:
    """Return the secrets of a shop. Raises ConfigError if one of the files is missing or unusable."""
    callback = shop.oms.callback_secret_file
    return ShopSecrets(
        secret(f"shops.{name}.api_key_file", shop.api_key_file, look_every_seconds=LOOK_EVERY_SECONDS),
        secret(f"shops.{name}.oms.api_key_file", shop.oms.api_key_file, look_every_seconds=LOOK_EVERY_SECONDS),
        callback_secrets(f"shops.{name}.oms.callback_secret_file", callback) if callback else None,
    )


def secret_files(settings: Settings) -> dict[str, Path]:
    """Return each file that holds a secret, by the setting that names it."""
    named = {
        "store.password_file": settings.store.password_file,
        "kafka.sasl_plain_password_file": settings.kafka.sasl_plain_password_file,
        "kafka.ssl_password_file": settings.kafka.ssl_password_file,
        "kafka.ssl_keyfile": settings.kafka.ssl_keyfile,
        "intake.key_file": settings.intake.key_file,
    }
    for name, shop in settings.shops.items():
        named[f"shops.{name}.api_key_file"] = shop.api_key_file
        named[f"shops.{name}.oms.api_key_file"] = shop.oms.api_key_file
        named[f"shops.{name}.oms.callback_secret_file"] = shop.oms.callback_secret_file
    return {key: path for key, path in named.items() if path is not None}


def is_open_to_all(path: Path) -> bool:
    """Whether everybody on this machine may read, change or run the file. False if there is none."""
    try:
        return bool(path.stat().st_mode & 0o007)
    except OSError:
        return False


def refuse_open_files(settings: Settings) -> None:
    """Raise ConfigError if everybody on this machine can read or change a file with a secret."""
    files = {key: path for key, path in secret_files(settings).items() if is_open_to_all(path)}
    if files:
        found = "; ".join(f"{key}: everybody can read or change {path}" for key, path in files.items())
        raise ConfigError(f"{found}; chmod o-rwx {' '.join(str(path) for path in dict.fromkeys(files.values()))}")


def store_password(settings: Settings) -> Secret | None:
    """Return PostgreSQL's password, or None if no file is named. Raises ConfigError if the file is unusable."""
    path = settings.store.password_file
    return secret("store.password_file", path) if path else None


def kafka_options(settings: Settings) -> Callable[[], dict[str, Any]]:
    """Return a function that returns the options of every Kafka client. Each call reads the secrets again.

    The options are named as in kafka-python. Raises ConfigError if a file is missing.
    """
    table = settings.kafka
    options = table.options(KafkaOption.OF_EVERY_CLIENT)
    secrets = {
        name: secret(f"kafka.{name}_file", path)
        for name, path in (
            ("sasl_plain_password", table.sasl_plain_password_file),
            ("ssl_password", table.ssl_password_file),
        )
        if path is not None
    }
    for name in ("ssl_cafile", "ssl_certfile", "ssl_keyfile"):
        if name in options and not Path(options[name]).is_file():
            raise ConfigError(f"kafka.{name}: there is no file {options[name]}")
    return lambda: options | {name: read() for name, read in secrets.items()}
