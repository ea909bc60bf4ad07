"""The configuration of a service that runs against the simulators: orderflow.toml, keys and lists of known SKUs."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from adapters.errors import ConfigError
from adapters.simulators.orders import COMPANIES, KNOWN_SKUS, MAPPED_CARRIER, MARKETPLACES
from adapters.store.engine import hold_alone

OMS_KEY: Final = "simulated-oms-key"
#: The secret of a shop is this text, a hyphen and the shop's name.
CALLBACK_SECRET: Final = "simulated-callback-secret"  # noqa: S105 of a simulator

#: The first line of a configuration that `simulate` wrote.
_SIMULATED: Final = "# Written by orderflow simulate, which may write it again.\n"
_FILE: Final = """\
[web]
port = {port}
[worker]
grace_seconds = {grace}
retry_first_seconds = {retry}
retry_longest_seconds = 5
lease_seconds = 15
[oms]
base_url = "{oms_url}"
timeout_seconds = 5
"""
_EMBEDDED: Final = """
[store]
url = "sqlite:///orderflow.db"
"""
#: Short leases and session time-outs: the demo should not wait long for the work of a process that died.
_ENGINES: Final = """
[store]
url = {database_url}
{password}[log]
kind = "kafka"
[leases]
seconds = 8
[kafka]
bootstrap_servers = {bootstrap_servers}
group_id = "{prefix}orderflow"
session_timeout_ms = 6000
heartbeat_interval_ms = 1500
[topics]
snapshots = "{prefix}mirakl.order-snapshots"
oms_events = "{prefix}oms.order-events"
transitions = "{prefix}orderflow.transitions"
dead_letters = "{prefix}orderflow.dead-letters"
"""
DATABASE_PASSWORD_FILE: Final = "secrets/database.password"  # noqa: S105 a path
#: Partitions of each topic. The counts differ, so that no code can rely on the same assignment of two topics.
PARTITIONS: Final = {"snapshots": 6, "oms_events": 4, "transitions": 3, "dead_letters": 1}
#: How long an import waits for messages that cannot be read. In stories in which M11 fails, it works again before that.
MESSAGES_WAIT_SECONDS: Final = 10
_SHOP: Final = """
[shops.{name}]
base_url = "{url}"
shop_id = {shop_id}
api_key_file = "secrets/{name}.key"
effects = "on"
poll_interval_seconds = {interval}
poll_overlap_seconds = {overlap}
timeout_seconds = 5
retrying_after_seconds = 5
tracking_holds_for_seconds = 8
messages_wait_seconds = {messages_wait}
carriers = {{ "{mapped}" = "{carrier}" }}
acceptance = "{acceptance}"
known_skus_file = "{name}.skus"
[shops.{name}.deadlines]
gone_after_hours = {gone}
[shops.{name}.oms]
company_ref_id = {company}
api_key_file = "secrets/oms.key"
callback_secret_file = "secrets/{name}-callback.key"
"""


@dataclass(frozen=True, slots=True)
class Engines:
    """A Kafka and a PostgreSQL that the demo uses."""

    bootstrap_servers: list[str]
    database_url: str
    prefix: str = ""  # of topics and group, on a Kafka that others use too
    database_password: str = field(default="", repr=False)

    def as_toml(self) -> str:
        """The part of orderflow.toml that names both engines."""
        return _ENGINES.format(
            database_url=json.dumps(self.database_url),
            password=f'password_file = "{DATABASE_PASSWORD_FILE}"\n' if self.database_password else "",
            bootstrap_servers=json.dumps(self.bootstrap_servers),
            prefix=self.prefix,
        )


def write_settings(
    folder: Path,
    world_urls: Mapping[str, str],
    oms_url: str,
    port: int,
    *,
    speed: float = 1.0,
    engines: Engines | None = None,
    again: bool = False,
) -> Path:
    """Write the configuration into `folder`, and return the path of orderflow.toml. `port` is the service's own.

    Raises ConfigError if the folder holds a configuration already: that may be a real one, with real keys. But `again`
    replaces a configuration that was written with `again`. It also deletes the store beside it, which holds the orders
    of simulators that no longer run.
    """
    path = folder / "orderflow.toml"
    if path.exists():
        if not (again and path.read_text(encoding="utf-8").startswith(_SIMULATED)):
            raise ConfigError(f"{path} exists already; name another folder")
        _delete_store(folder / "orderflow.db")
    (folder / "secrets").mkdir(parents=True, exist_ok=True)
    _write_secret(folder / "secrets/oms.key", OMS_KEY)
    if engines is not None and engines.database_password:
        _write_secret(folder / DATABASE_PASSWORD_FILE, engines.database_password)
    text = _FILE.format(port=port, oms_url=oms_url, grace=1.5 / speed, retry=0.2 / speed)
    text += _EMBEDDED if engines is None else engines.as_toml()
    for name, url in world_urls.items():
        _write_secret(folder / f"secrets/{name}.key", MARKETPLACES[name].api_key)
        _write_secret(folder / f"secrets/{name}-callback.key", f"{CALLBACK_SECRET}-{name}")
        (folder / f"{name}.skus").write_text("\n".join(KNOWN_SKUS[name]))
        text += _SHOP.format(
            name=name,
            url=url,
            shop_id=MARKETPLACES[name].shop_id,
            company=COMPANIES[name],
            interval=0.5 / speed,
            overlap=5 / speed,
            mapped=MAPPED_CARRIER,
            carrier=MARKETPLACES[name].carriers[0].label,
            gone=5 / 3600 / speed,
            messages_wait=MESSAGES_WAIT_SECONDS,
            acceptance="known-skus" if name == "beta" else "all",
        )
    path.write_text((_SIMULATED if again else "") + text)
    return path


def _delete_store(file: Path) -> None:
    """Delete a store on SQLite. Raises ConfigError if a service runs on it."""
    lock = hold_alone(f"sqlite:///{file}", "simulate")
    for one in file.parent.glob(f"{file.name}*"):
        one.unlink()
    if lock is not None:
        lock.close()


def _write_secret(path: Path, secret: str) -> None:
    """Write a file that only this user can read, because `run` refuses others."""
    path.unlink(missing_ok=True)
    path.touch(0o600)
    path.write_text(f"{secret}\n", encoding="utf-8")
