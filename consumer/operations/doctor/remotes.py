"""Checks of each shop at Mirakl, and of its company at the OMS. No order is changed, and none is created."""

from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, field
from datetime import datetime
from http import HTTPStatus
from http.client import HTTPConnection, HTTPException
from typing import Any, Final
from urllib.parse import urlsplit

from adapters.errors import AccountFault, Cause, ConfigError, RemoteError
from adapters.ports import Clock
from adapters.remotes.mirakl_account import MiraklAccount
from adapters.remotes.reach import cannot_reach
from adapters.store.transaction import Store
from consumer import clients
from consumer.config import Settings
from consumer.config.secrets import Secret, secret
from consumer.config.shops import OmsTable, ShopTable
from consumer.config.types import is_readable_by_others
from consumer.operations import shops
from consumer.operations.doctor.findings import Found, fail, ok, skew, skipped, warn
from consumer.operations.doctor.machine import REACH_SECONDS, proxy_of
from consumer.operations.errors import NotPossible
from consumer.polling.account_compare import Finding, of_failure

#: A remote that takes longer for a piece of its answer does not answer, so that all checks end in time.
ANSWER_SECONDS: Final = 5.0
_CURES: Final = {
    Cause.DNS: "correct the host",
    Cause.REFUSED: "correct host and port",
    Cause.TLS: "http.ca_file has to hold the authority of a proxy that inspects TLS; or the host is another one",
}
_NETWORK: Final = "look at the network, its policies and its proxy ([http]) between here and there"


@dataclass(frozen=True, slots=True)
class AtRemote:
    """One shop, with what the doctor needs to call its remotes.

    `clock`: that of the store, `machine`: that of this machine. `store` returns the store if it can be used.
    `transport` None: the calls go to the network.
    """

    settings: Settings
    shop: str
    clock: Clock
    machine: Clock
    store: Callable[[], Store | None]
    transport: Any = None
    dates: list[tuple[datetime, datetime]] = field(default_factory=list)  # the remote's clock, and ours then

    @property
    def table(self) -> ShopTable:
        found = self.settings.shops[self.shop]
        return found.model_copy(update={"timeout_seconds": min(ANSWER_SECONDS, found.timeout_seconds)})

    @property
    def oms(self) -> OmsTable:
        found = self.settings.oms
        return found.model_copy(update={"timeout_seconds": min(ANSWER_SECONDS, found.timeout_seconds)})

    def key(self, setting: str) -> Secret:
        """Return a key of the shop. Raises ConfigError."""
        table = self.table.oms if setting.startswith("oms.") else self.table
        return secret(f"shops.{self.shop}.{setting}", table.api_key_file)

    def account(self) -> MiraklAccount:
        """Make a client of the shop's account. Raises ConfigError."""
        key, http = self.key("api_key_file"), self.settings.http
        return clients.account_client(self.table, key, lambda *_, **__: None, self.transport, http=http)

    def noted(self, date: datetime | None) -> None:
        """Note the time at which the remote answered just now."""
        if date is not None:
            self.dates.append((date, self.machine.now()))


# -- Mirakl ------------------------------------------------------------------------------------------------------


def mirakl_reach(patient: AtRemote) -> list[Found]:
    """The marketplace takes connections."""
    setting = "base_url" if patient.table.base_url else "hostname"
    return _reach(patient, patient.table.endpoint, f"shops.{patient.shop}.{setting}")


def mirakl_key(patient: AtRemote) -> list[Found]:
    """A Mirakl answers there, and knows the key (PC01, whose calls Mirakl does not limit)."""
    try:
        client = patient.account()
    except ConfigError as error:
        return skipped(str(error))
    with closing(client):
        try:
            asked = client.platform()
        except RemoteError as error:
            return fail(f"PC01: {error.outcome}", of_failure(error).cure)
    patient.noted(asked.answered_at)
    if asked.may_read:
        return ok("the key is known")
    return ok("the key is known; it may not read the marketplace's features (PC01: 403)")


def mirakl_account(patient: AtRemote) -> list[Found]:
    """The account is the configured one, and open (A01, which Mirakl allows once a day)."""

    def look(store: Store) -> list[Finding]:
        with closing(patient.account()) as client:
            return shops.check(store, patient.clock, patient.shop, patient.table, client).findings

    return _once_a_day(patient, look, "the configured one, and open")


def mirakl_carriers(patient: AtRemote) -> list[Found]:
    """Mirakl knows the carriers of the shop's map (SH21, once a day)."""
    if not patient.table.carriers:
        return ok("the shop has no map of carriers")

    def look(store: Store) -> list[Finding]:
        key, http = patient.key("api_key_file"), patient.settings.http
        made = clients.mirakl_client(
            patient.table, key, patient.clock, lambda *_, **__: None, patient.transport, http=http
        )
        with closing(made) as client:
            return shops.check_carriers(store, patient.clock, patient.shop, patient.table, client.catalog)

    return _once_a_day(patient, look, "every carrier is known")


# -- The OMS -----------------------------------------------------------------------------------------------------


def oms_reach(patient: AtRemote) -> list[Found]:
    """The OMS takes connections."""
    return _reach(patient, patient.oms.base_url, "oms.base_url")


def oms_key(patient: AtRemote) -> list[Found]:
    """The OMS knows the company and its key. It is asked with a body that is no JSON, of which it can make no order."""
    http = patient.settings.http
    try:
        key = patient.key("oms.api_key_file")
        made = clients.oms_client(patient.oms, patient.table, key, lambda *_, **__: None, patient.transport, http=http)
    except ConfigError as error:
        return skipped(str(error))
    with closing(made) as client:
        try:
            patient.noted(client.ask_who_we_are())
        except AccountFault as error:
            if error.status in (400, 429) and error.retry_after_seconds is not None:
                return warn(f"the OMS takes no call now: {error.outcome} {error.code}".rstrip(), "ask again later")
            settings = f"shops.{patient.shop}.oms.company_ref_id, api_key_file and oms.auth_encoding"
            cure = f"correct {settings}; or the company lets other addresses call only"
            return fail(f"the OMS refuses the company: {error.outcome} {error.code}".rstrip(), cure)
        except RemoteError as error:
            return fail(f"no answer of an OMS: {error.outcome}", "correct oms.base_url, or ask the OMS")
    return ok(f"company {patient.table.oms.company_ref_id} and its key are known")


# -- Both --------------------------------------------------------------------------------------------------------


def clock(patient: AtRemote) -> list[Found]:
    """The clock of this machine shows the time of the remote's answers."""
    if not patient.dates:
        return skipped("the answer names no time")
    theirs, ours = patient.dates[0]
    return skew((ours - theirs).total_seconds(), "the remote")


#: Each check with what it needs.
OF_MIRAKL: Final[tuple[tuple[str, Callable[[AtRemote], list[Found]], str], ...]] = (
    ("mirakl.reach", mirakl_reach, ""),
    ("mirakl.key", mirakl_key, "mirakl.reach"),
    ("mirakl.clock", clock, "mirakl.key"),
    ("mirakl.account", mirakl_account, "mirakl.key"),
    ("mirakl.carriers", mirakl_carriers, "mirakl.key"),
)
OF_OMS: Final[tuple[tuple[str, Callable[[AtRemote], list[Found]], str], ...]] = (
    ("oms.reach", oms_reach, ""),
    ("oms.key", oms_key, "oms.reach"),
    ("oms.clock", clock, "oms.key"),
)


def _reach(patient: AtRemote, address: str, setting: str) -> list[Found]:
    """Connect to the host, or to the proxy in between. A transport of a test is not tried."""
    parts = urlsplit(address)
    http, is_tls = patient.settings.http, parts.scheme == "https"
    host, port = parts.hostname or "", parts.port or (443 if is_tls else 80)
    if is_tls and (through := proxy_of(patient.settings)):
        if cannot_reach(*through, REACH_SECONDS) is not None:
            return skipped("proxy has to be ok first")
        return ok(f"{host}: through the proxy {through[0]}")
    if patient.transport is not None:
        return ok(host)
    try:
        tls = clients.network_of(http).tls if is_tls else None
    except ConfigError as error:
        return skipped(str(error))
    cause = cannot_reach(host, port, REACH_SECONDS, tls)
    if cause is not None:
        return fail(f"{host}:{port}: {cause}", f"{setting}: {_CURES.get(cause, _NETWORK)}")
    return _simulated(host, port) if is_readable_by_others(address) else ok(f"{host}:{port}")


def _simulated(host: str, port: int) -> list[Found]:
    """Fail if a remote to which http.simulated sends the key unencrypted is no simulator. No key is sent here."""
    cure = "take http.simulated out of the configuration, and use https://"
    connection = HTTPConnection(host, port, timeout=REACH_SECONDS)
    try:
        connection.request("HEAD", "/_sim/orders")
        is_simulator = connection.getresponse().status == HTTPStatus.OK
    except (OSError, HTTPException):
        is_simulator = False
    finally:
        connection.close()
    if is_simulator:
        return warn(f"{host}:{port}: a simulator", f"for a real shop {cure}")
    return fail(f"{host}:{port}: is no simulator, and http.simulated sends it the key unencrypted", cure)


def _once_a_day(patient: AtRemote, look: Callable[[Store], list[Finding]], well: str) -> list[Found]:
    """Make a check whose calls the store counts."""
    store = patient.store()
    if store is None:
        return skipped("the store, which counts these calls, cannot be used")
    try:
        findings = look(store)
    except NotPossible as error:
        return skipped(str(error))
    except ConfigError as error:
        return skipped(str(error))
    found: list[Found] = []
    for one in findings:
        found += (fail if one.wrong else warn)(f"{one.field}: {one.found}", one.cure)
    return found or ok(well)
