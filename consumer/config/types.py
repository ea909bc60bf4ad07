"""The types of settings: texts that are checked, and spans of time. The text of an error never shows the value."""

import re
from typing import Annotated, Final
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from adapters.store import engine


class Table(BaseModel):
    """A table of the file. An unknown key is an error: a misspelt setting would have no effect."""

    model_config = ConfigDict(extra="forbid", frozen=True)


def _host_only(value: str) -> str:
    if "://" in value:
        raise ValueError("is a host name alone, without https:// (for a simulator use base_url)")
    if "/" in value:
        raise ValueError("is a host name alone, without a path")
    if ":" in value:
        raise ValueError("is a host name alone, without a port (for a simulator use base_url)")
    label = r"[A-Za-z0-9]([A-Za-z0-9-]*[A-Za-z0-9])?"
    if not re.fullmatch(rf"{label}(\.{label})*", value):
        raise ValueError("is not a host name")
    return value.lower()


def _address(value: str) -> str:
    if not re.fullmatch(r"https?://[^/\s@]+(/[^\s@]*)?", value):
        raise ValueError("has to begin with http:// or https:// and name a host, without user and password")
    return value.rstrip("/")


def place(host: str, port: int) -> str:
    """Return host and port as in a web address: an IPv6 address has brackets."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def is_loopback(address: str) -> bool:
    """Whether a web address names this machine, so that nobody else can read what is sent there."""
    host = urlsplit(address).hostname or ""
    return re.fullmatch(r"localhost|127(\.\d{1,3}){3}|::1", host) is not None


def is_readable_by_others(address: str) -> bool:
    """Whether others can read what is sent to a web address: it begins with http://, and is not of this machine."""
    return address.startswith("http:") and not is_loopback(address)


def _web_address(value: str) -> str:
    value = _address(value)
    try:
        urlsplit(value)
    except ValueError as error:  # brackets that are no IPv6 address
        raise ValueError("is not a web address") from error
    return value


def _database(value: str) -> str:
    if engine.has_password(value):  # raises ValueError too
        raise ValueError("a password belongs into a file: password_file")
    if not value.startswith(("sqlite://", "postgresql+psycopg://")):
        raise ValueError("has to begin with sqlite:// or postgresql+psycopg://")
    return value


def _time_zone(value: str) -> str:
    try:
        ZoneInfo(value)
    except (KeyError, ValueError, OSError) as error:  # an unknown zone, a path, a folder
        raise ValueError("is no time zone of the IANA database, such as Europe/London") from error
    return value


def _regex(value: str) -> str:
    try:
        re.compile(value)
    except re.error as error:
        raise ValueError("is not a regular expression") from error
    return value


#: Attributes of an order that orderflow makes itself (docs/kornitx.md 4).
_OUR_ATTRIBUTES: Final = frozenset({":MiraklOrderMessage", ":MiraklPickupPoint"})


def _attribute_name(value: str) -> str:
    if value in _OUR_ATTRIBUTES:
        raise ValueError("is the name of an attribute that orderflow makes itself")
    return value


Host = Annotated[str, AfterValidator(_host_only)]
WebAddress = Annotated[str, AfterValidator(_web_address)]
ProxyAddress = Annotated[str, AfterValidator(_address)]
Regex = Annotated[str, AfterValidator(_regex)]
AttributeName = Annotated[str, AfterValidator(_attribute_name)]
TimeZone = Annotated[str, AfterValidator(_time_zone)]
Database = Annotated[str, AfterValidator(_database)]
Seconds = Annotated[float, Field(gt=0, le=86_400, allow_inf_nan=False)]
Hours = Annotated[float, Field(ge=0, le=8_760, allow_inf_nan=False)]
