"""Settings: environment over file over defaults. The only module that reads the environment.

Names are a contract (docs/rules.md 34). Every error names the file, or the variable, and the key; none shows a value.
"""

import os
import re
import tomllib
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, Final, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator
from pydantic_settings import (
    BaseSettings,
    EnvSettingsSource,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    SettingsError,
)

from adapters.errors import ConfigError
from adapters.messages.oms_events import DISPATCHED_STATUSES, ShopIds
from adapters.store import engine as database
from statemachine.commands import Policy
from statemachine.facts import EPOCH

ENV_PREFIX: Final = "ORDERFLOW_"

#: OR11 may run once a minute (docs/mirakl.md 3).
SHORTEST_POLL_SECONDS: Final = 60


class _Table(BaseModel):
    """A table of the file. An unknown key is an error: a misspelt one must not be ignored."""

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


def _web_address(value: str) -> str:
    if not re.fullmatch(r"https?://[^/\s@]+(/[^\s@]*)?", value):
        raise ValueError("has to begin with http:// or https:// and name a host, without user and password")
    return value.rstrip("/")


def _database(value: str) -> str:
    if database.has_password(value):  # raises ValueError too
        raise ValueError("a password belongs into a file: password_file")
    return value


def _regex(value: str) -> str:
    try:
        re.compile(value)
    except re.error as error:
        raise ValueError("is not a regular expression") from error
    return value


Host = Annotated[str, AfterValidator(_host_only)]
WebAddress = Annotated[str, AfterValidator(_web_address)]
Regex = Annotated[str, AfterValidator(_regex)]
Database = Annotated[str, AfterValidator(_database)]
Seconds = Annotated[float, Field(gt=0, le=86_400, allow_inf_nan=False)]


class StoreTable(_Table):
    url: Database = "sqlite:///orderflow.db"
    #: PostgreSQL's; read for every new connection.
    password_file: Path | None = None

    @property
    def is_sqlite(self) -> bool:
        return database.is_sqlite(self.url)


class KafkaTable(_Table):
    """As kafka-python names them; a secret is the file that holds it."""

    bootstrap_servers: Annotated[list[str], Field(min_length=1)] = ["127.0.0.1:9092"]
    client_id: str = "orderflow"
    group_id: str = "orderflow"
    security_protocol: Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"] = "PLAINTEXT"
    sasl_mechanism: Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"] | None = None
    sasl_plain_username: str | None = None
    sasl_plain_password_file: Path | None = None
    ssl_cafile: Path | None = None
    ssl_certfile: Path | None = None
    ssl_keyfile: Path | None = None
    ssl_password_file: Path | None = None
    ssl_check_hostname: bool = True
    #: A consumer that died is missed after so long, and its partitions go to the others. The group waits as long for
    #: whoever lost its client while no broker was there: so long may it take until a broker's return is felt.
    session_timeout_ms: int = Field(default=10_000, ge=6_000, le=300_000)
    heartbeat_interval_ms: int = Field(default=3_000, ge=500)
    compression_type: Literal["gzip", "snappy", "lz4", "zstd"] | None = None
    #: The broker's max.message.bytes has to be as large.
    max_request_size: int = Field(default=1_048_576, ge=16_384)

    @model_validator(mode="after")
    def _consistent(self) -> "KafkaTable":
        if self.security_protocol.startswith("SASL"):
            for name in ("sasl_mechanism", "sasl_plain_username", "sasl_plain_password_file"):
                if getattr(self, name) is None:
                    raise ValueError(f"security_protocol = {self.security_protocol} needs {name}")
        elif self.sasl_mechanism is not None:
            raise ValueError("sasl_mechanism has no meaning without security_protocol SASL_SSL or SASL_PLAINTEXT")
        if self.heartbeat_interval_ms * 3 > self.session_timeout_ms:
            raise ValueError("heartbeat_interval_ms has to be a third of session_timeout_ms or less")
        return self


class LeasesTable(_Table):
    #: Who polls a shop, or relays the outbox, is replaced after so long without a sign of life.
    seconds: Annotated[float, Field(ge=4, le=600)] = 30


class LogTable(_Table):
    kind: Literal["embedded", "kafka"] = "embedded"
    keep_days: float = Field(default=7, gt=0)  # records that were applied are forgotten after this


class TopicsTable(_Table):
    snapshots: str = "mirakl.order-snapshots"
    oms_events: str = "oms.order-events"
    transitions: str = "orderflow.transitions"
    dead_letters: str = "orderflow.dead-letters"


class WebTable(_Table):
    host: str = "127.0.0.1"
    port: int = Field(default=9464, ge=0, le=65535)


class WorkerTable(_Table):
    threads: int = Field(default=8, ge=1, le=64)
    #: A yes of Mirakl has to show in a read that begins later than this.
    grace_seconds: Seconds = 120
    retry_first_seconds: Seconds = 5
    retry_longest_seconds: Seconds = 900
    #: A command whose worker died is another's after so long; a call is given up after at most a third of it.
    lease_seconds: Seconds = 90


class OmsTable(_Table):
    base_url: WebAddress = "https://api-sl-2-2.kornitx.net"
    auth_encoding: Literal["base64", "raw"] = "base64"
    timeout_seconds: float = Field(default=20, gt=0, le=25)  # the longest call stays below the lease of its command
    #: Of one company, over all workers (docs/kornitx.md 2.2).
    calls_per_hour: int = Field(default=1_000, ge=1)
    calls_per_day: int = Field(default=10_000, ge=1)
    dispatched_statuses: frozenset[int] = DISPATCHED_STATUSES
    duplicate_codes: frozenset[int] = frozenset()
    rate_limit_codes: frozenset[int] = frozenset()
    duplicate_message_regex: Regex = "duplicate|already exist"
    rate_limit_message_regex: Regex = "rate limit|too many|limit exceeded"
    rate_limit_pause_seconds: Seconds = 60


class ShopOmsTable(_Table):
    company_ref_id: int = Field(ge=1)
    api_key_file: Path
    callback_secret_file: Path | None = None
    external_ref_prefix: str = ""
    may_split: bool = False
    shipping_methods: dict[str, str] = Field(default_factory=dict)


class ShopTable(_Table):
    hostname: Host | None = None
    base_url: WebAddress | None = None
    shop_id: int = Field(ge=1)
    api_key_file: Path
    effects: Literal["on", "off"] | None = None
    poll_interval_seconds: Seconds = 60
    #: The update window reaches back over the last one by so much: Mirakl's replicas may lag.
    poll_overlap_seconds: Seconds = 300
    acceptance: Literal["all", "hold", "known-skus"] = "all"
    known_skus_file: Path | None = None
    not_before: datetime = EPOCH
    order_tax_mode: Literal["TAX_INCLUDED", "TAX_EXCLUDED"] = "TAX_INCLUDED"
    other_carrier: str = "Other"
    timeout_seconds: float = Field(default=20, gt=0, le=25)
    oms: ShopOmsTable

    @model_validator(mode="after")
    def _consistent(self) -> "ShopTable":
        if self.hostname is None and self.base_url is None:
            raise ValueError("needs a hostname (or, for a simulator, a base_url)")
        if self.base_url is None and self.poll_interval_seconds < SHORTEST_POLL_SECONDS:
            raise ValueError(
                "poll_interval_seconds has to be 60 or more: Mirakl allows one listing a minute (OR11). "
                "Shorter ones are for simulators, with base_url"
            )
        if self.acceptance == "known-skus" and self.known_skus_file is None:
            raise ValueError("acceptance = known-skus needs known_skus_file, one SKU a line")
        return self

    @property
    def endpoint(self) -> str:
        return self.base_url or f"https://{self.hostname}"


class Settings(BaseSettings):
    """The whole configuration."""

    model_config = SettingsConfigDict(
        env_prefix=ENV_PREFIX,
        env_nested_delimiter="__",
        extra="forbid",
        frozen=True,
        nested_model_default_partial_update=True,
    )

    store: StoreTable = StoreTable()
    log: LogTable = LogTable()
    kafka: KafkaTable = KafkaTable()
    topics: TopicsTable = TopicsTable()
    web: WebTable = WebTable()
    worker: WorkerTable = WorkerTable()
    leases: LeasesTable = LeasesTable()
    oms: OmsTable = OmsTable()
    shops: dict[Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_-]{0,39}$")], ShopTable]

    @model_validator(mode="after")
    def _consistent(self) -> "Settings":
        if not self.shops:
            raise ValueError("shops: at least one [shops.NAME] is needed")
        if self.log.kind == "embedded" and not self.store.is_sqlite:
            raise ValueError('log.kind: "embedded" is for one process on SQLite; PostgreSQL goes with "kafka"')
        longest = max([self.oms.timeout_seconds, *(shop.timeout_seconds for shop in self.shops.values())])
        if self.worker.lease_seconds < 3 * longest:
            raise ValueError("worker.lease_seconds has to be three times the longest timeout_seconds, or more")
        names = list(self.topics.model_dump().values())
        if len(set(names)) != len(names):
            raise ValueError("topics: each needs a name of its own")
        seen: dict[tuple[int, str], str] = {}
        for name, shop in self.shops.items():
            key = (shop.oms.company_ref_id, shop.oms.external_ref_prefix)
            if key in seen:
                raise ValueError(
                    f"shops.{name}.oms.external_ref_prefix: {seen[key]} and {name} share the company "
                    f"{key[0]}, so each needs a prefix of its own"
                )
            seen[key] = name
        accounts: dict[tuple[str, int], str] = {}
        for name, shop in self.shops.items():
            other = accounts.setdefault((shop.endpoint, shop.shop_id), name)
            if other != name:
                raise ValueError(f"shops.{name}: is the same account as shops.{other}")
        return self

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        return env_settings, init_settings  # the file comes in as init


def load(path: Path) -> Settings:
    """Read the file and the environment. Paths in the file are relative to it. Raises ConfigError."""
    try:
        tables = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise ConfigError(f"{path}: there is no such file; `orderflow init` writes one") from error
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: cannot be read ({type(error).__name__})") from error
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{path}: is not TOML: {error}") from error
    _no_unknown_names(path, tables)
    try:
        settings = Settings(**tables)
    except ValidationError as error:
        raise ConfigError("\n".join(_complaint(path, one) for one in error.errors(include_input=False))) from error
    except SettingsError as error:  # its text names the key, and no value
        raise ConfigError(f"environment {ENV_PREFIX}*: {error}: a table or a list is given as JSON") from error
    return _with_paths_from(path.parent.resolve(), settings)


def origins() -> dict[str, Any]:
    """What the environment says, as nested tables."""
    return EnvSettingsSource(Settings)()


def _no_unknown_names(path: Path, tables: dict[str, Any]) -> None:
    """Refuse what pydantic-settings would pass over in silence, or take for an option of its own."""
    for name in tables:
        if name not in Settings.model_fields:
            raise ConfigError(f"{path}: {name}: unknown key")
    for variable in os.environ:
        if variable.upper().startswith(ENV_PREFIX):
            name = variable[len(ENV_PREFIX) :].lower().split("__")[0]
            if name not in Settings.model_fields and not name.startswith("test_"):
                raise ConfigError(f"environment {variable}: unknown key {name}")


def _complaint(path: Path, error: Any) -> str:
    key = ".".join(str(part) for part in error["loc"] if part != "[key]")
    what = {"extra_forbidden": "unknown key", "missing": "is missing"}.get(error["type"], error["msg"])
    what = what.removeprefix("Value error, ")
    place = _place(path, [str(part).upper() for part in error["loc"]])
    return f"{place}: {key}: {what}" if key else f"{place}: {what}"


def _place(path: Path, parts: list[str]) -> str:
    """The file, or the variable that said it: its own, that of a table around it, or one inside it."""
    variables = {variable.upper(): variable for variable in os.environ}
    for length in range(len(parts), 0, -1):
        name = ENV_PREFIX + "__".join(parts[:length])
        if name in variables:
            return f"environment {variables[name]}"
    inside = ENV_PREFIX + "__".join(parts) + "__"
    found = sorted(variable for name, variable in variables.items() if parts and name.startswith(inside))
    return f"{path} with environment {', '.join(found)}" if found else str(path)


def _with_paths_from(base: Path, settings: Settings) -> Settings:
    """Every Path of the tree, from the folder of the file."""

    def rebased(table: Any) -> Any:
        match table:
            case Path():
                return base / table
            case dict():
                return {name: rebased(one) for name, one in table.items()}
            case BaseModel():
                fields = {name: getattr(table, name) for name in type(table).model_fields}
                return table.model_copy(update={name: rebased(one) for name, one in fields.items()})
            case datetime() if table.tzinfo is None:
                return table.replace(tzinfo=UTC)
        return table

    url = re.sub(r"^(sqlite(?:\+\w+)?:///)(?!/|:memory:)", rf"\g<1>{base}/", settings.store.url)
    found: Settings = rebased(settings)
    return found.model_copy(update={"store": found.store.model_copy(update={"url": url})})


def store_password(settings: Settings) -> Callable[[], str] | None:
    """PostgreSQL's password, where a file has it. Raises ConfigError."""
    path = settings.store.password_file
    return secret("store.password_file", path) if path else None


def kafka_client(settings: Settings) -> Callable[[], dict[str, Any]]:
    """What every Kafka client needs, as kafka-python names it; secrets are read anew each time. Raises ConfigError."""
    table = settings.kafka
    given = {
        name: str(value) if isinstance(value, Path) else value
        for name, value in table.model_dump(exclude_none=True).items()
        if not name.endswith("_file") and name not in {"group_id", *KAFKA_CONSUMER, *KAFKA_PRODUCER}
    }
    secrets = {
        name: secret(f"kafka.{name}_file", path)
        for name, path in (
            ("sasl_plain_password", table.sasl_plain_password_file),
            ("ssl_password", table.ssl_password_file),
        )
        if path is not None
    }
    for name in ("ssl_cafile", "ssl_certfile", "ssl_keyfile"):
        if name in given and not Path(given[name]).is_file():
            raise ConfigError(f"kafka.{name}: there is no file {given[name]}")
    return lambda: given | {name: read() for name, read in secrets.items()}


#: Settings of [kafka] that only consumers, and only producers, take.
KAFKA_CONSUMER: Final = ("session_timeout_ms", "heartbeat_interval_ms")
KAFKA_PRODUCER: Final = ("compression_type", "max_request_size")


def secret(key: str, path: Path) -> Callable[[], str]:
    """The secret of a file, read again when the file changes, so that a rotated key needs no restart.

    Raises ConfigError at once where it is missing or empty, naming `key` and the file.
    """
    version: tuple[int, ...] = ()
    held = ""

    def read() -> str:
        nonlocal version, held
        try:
            stat = path.stat()
            now = (stat.st_mtime_ns, stat.st_size, stat.st_ino)
            if now != version:
                # An empty file is half-way through a rotation: the old secret holds until it is whole.
                held = path.read_text(encoding="utf-8").strip() or held
                version = now
        except (OSError, UnicodeDecodeError) as error:
            if not held:
                raise ConfigError(f"{key}: {path} cannot be read ({type(error).__name__})") from error
        if not held:
            raise ConfigError(f"{key}: {path} is empty")
        if not held.isprintable():
            raise ConfigError(f"{key}: {path} holds more than one line, or something that is no text")
        return held

    read()
    return read


def known_skus(shop: str, table: ShopTable) -> frozenset[str]:
    """The SKUs of known_skus_file, one a line. Raises ConfigError."""
    if table.known_skus_file is None:
        return frozenset()
    try:
        lines = table.known_skus_file.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"shops.{shop}.known_skus_file: {table.known_skus_file} cannot be read") from error
    return frozenset(line.strip() for line in lines if line.strip())


def policies(settings: Settings) -> dict[str, Policy]:
    """What each shop wants decided. Raises ConfigError."""
    return {
        name: Policy(shop.acceptance, known_skus(name, shop), shop.not_before) for name, shop in settings.shops.items()
    }


def shop_ids(settings: Settings) -> tuple[ShopIds, ...]:
    """How each shop is called at the OMS."""
    return tuple(
        ShopIds(
            name=name,
            company_ref_id=shop.oms.company_ref_id,
            external_ref_prefix=shop.oms.external_ref_prefix,
            may_split=shop.oms.may_split,
            dispatched_statuses=settings.oms.dispatched_statuses,
        )
        for name, shop in settings.shops.items()
    )


EXAMPLE: Final = """\
# orderflow: one file, read by `orderflow run --config orderflow.toml`. Paths are relative to this file.
# Any key can come from the environment instead: ORDERFLOW_WEB__PORT=9000 is port in [web].

[store]
url = "sqlite:///orderflow.db"

# url = "postgresql+psycopg://orderflow@db.example/orderflow"   # with [log] kind = "kafka": many processes
# password_file = "secrets/store.password"

[log]
kind = "embedded"                # in the store; nothing else to install. "kafka": see docs/production.md

# [kafka]                        # as kafka-python names them; secrets are files
# bootstrap_servers = ["kafka.example:9093"]
# security_protocol = "SASL_SSL"
# sasl_mechanism = "SCRAM-SHA-512"
# sasl_plain_username = "orderflow"
# sasl_plain_password_file = "secrets/kafka.password"
# ssl_cafile = "secrets/kafka-ca.pem"

[web]                            # /metrics /live /ready /oms/callbacks/SHOP
host = "127.0.0.1"
port = 9464

[oms]                            # KornitX
base_url = "https://api-sl-2-2.kornitx.net"

[shops.alpha]                    # one table a shop; its name is a label in metrics, so keep it
hostname = "alpha.mirakl.net"    # the host name alone
shop_id = 2104
api_key_file = "secrets/alpha.key"
# effects = "on"                 # accept, import and ship. Without this line: off, until `orderflow shops resume alpha`
poll_interval_seconds = 60       # Mirakl allows one listing a minute
# acceptance = "all"             # "hold": a person decides. "known-skus": accept what known_skus_file lists
# known_skus_file = "alpha.skus"
# not_before = 2026-01-01T00:00:00Z   # leave older orders alone

[shops.alpha.oms]
company_ref_id = 99999
api_key_file = "secrets/alpha-oms.key"
callback_secret_file = "secrets/alpha-callback.key"   # the OMS reports to PUT /oms/callbacks/alpha
# external_ref_prefix = ""       # where two shops share one company
"""
