"""The settings. A variable of the environment replaces the value in the file, which replaces the default.

No other module reads settings from the environment. ORDERFLOW_CONFIG, the name of the file, is read by
cli/options.py; HTTPS_PROXY and its like are read by the clients of the remotes; `doctor` reads HTTPS_PROXY. The names
of settings are a contract (docs/rules.md 34). An error names the file or the variable, and the key. It never shows
the value, which may be a secret. `example.toml` is the file that `orderflow init` writes.
"""

import os
import re
import tomllib
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from enum import Enum
from itertools import combinations
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal
from zoneinfo import ZoneInfo

from pydantic import BaseModel, Field, ValidationError, model_validator
from pydantic_settings import (
    BaseSettings,
    EnvSettingsSource,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    SettingsError,
)

from adapters.errors import ConfigError
from adapters.store import engine
from consumer.config.shops import OmsTable, ShopOmsTable, ShopTable
from consumer.config.types import Database, Hours, Seconds, Table, is_readable_by_others
from consumer.config.web import HttpTable, IntakeTable, WebTable
from statemachine.commands import Policy
from statemachine.states import State

if TYPE_CHECKING:
    from adapters.messages.oms_events import ShopIds
    from adapters.remotes.kornitx_order import OrderRules

ENV_PREFIX: Final = "ORDERFLOW_"


def example() -> str:
    """Return the commented file that `orderflow init` writes."""
    return (Path(__file__).parent / "example.toml").read_text(encoding="utf-8")


class StoreTable(Table):
    #: `sqlite:///FILE`, or `postgresql+psycopg://USER@HOST/DATABASE`.
    url: Database = "sqlite:///orderflow.db"
    #: The file that contains PostgreSQL's password. It is read for every new connection.
    password_file: Path | None = None
    #: So many days after the last event of an order that is shipped, refused or canceled and needs nobody, snapshots of
    #: it are removed. The newest stays, and so does each on which a call, a report of the OMS or a decision rests.
    keep_snapshots_days: float = Field(default=30, ge=1, le=3_650)

    @property
    def is_sqlite(self) -> bool:
        return engine.is_sqlite(self.url)


class KafkaOption(Enum):
    """The clients of kafka-python that take a setting of [kafka]. Each setting is marked with one of these values."""

    OF_EVERY_CLIENT = "consumer, producer and admin client"
    OF_CONSUMERS = "consumers alone"
    OF_PRODUCERS = "producers alone"
    OF_NONE = "read by orderflow itself"  # the files of the secrets: by consumer/config/secrets.py


_EVERY, _CONSUMERS = KafkaOption.OF_EVERY_CLIENT, KafkaOption.OF_CONSUMERS
_PRODUCERS, _NONE = KafkaOption.OF_PRODUCERS, KafkaOption.OF_NONE


class KafkaTable(Table):
    """Settings of Kafka's clients, named as in kafka-python. For a secret, the setting is the path of its file."""

    #: The brokers that a client asks first, each as HOST:PORT.
    bootstrap_servers: Annotated[list[str], Field(min_length=1), _EVERY] = Field(default=["127.0.0.1:9092"])
    #: The name of our clients in the broker's logs and quotas.
    client_id: Annotated[str, _EVERY] = "orderflow"
    #: The consumer group of all our consumers. No other application may be in it.
    group_id: Annotated[str, _NONE] = "orderflow"
    #: How the brokers are reached: with or without TLS, with or without a login.
    security_protocol: Annotated[Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"], _EVERY] = "PLAINTEXT"
    #: How a client logs in. Only with SASL_SSL or SASL_PLAINTEXT, which need it.
    sasl_mechanism: Annotated[Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"] | None, _EVERY] = None
    #: The user who logs in.
    sasl_plain_username: Annotated[str | None, _EVERY] = None
    #: The file that contains this user's password.
    sasl_plain_password_file: Annotated[Path | None, _NONE] = None
    #: The certificates, in PEM, that a broker's certificate is checked with. Without it: those of the system.
    ssl_cafile: Annotated[Path | None, _EVERY] = None
    #: The certificate, in PEM, that our clients show to a broker that asks for one.
    ssl_certfile: Annotated[Path | None, _EVERY] = None
    #: The private key of this certificate, in PEM.
    ssl_keyfile: Annotated[Path | None, _EVERY] = None
    #: The file that contains the password of this key, if it has one.
    ssl_password_file: Annotated[Path | None, _NONE] = None
    #: Whether a broker's certificate has to name its host.
    ssl_check_hostname: Annotated[bool, _EVERY] = True
    #: How long the group waits for a silent member before its partitions are reassigned. Also the longest delay before
    #: consumption resumes after a broker outage.
    session_timeout_ms: Annotated[int, Field(ge=6_000, le=300_000), _CONSUMERS] = 10_000
    #: How often a consumer shows the group that it runs. A third of `session_timeout_ms` or less.
    heartbeat_interval_ms: Annotated[int, Field(ge=500), _CONSUMERS] = 3_000
    #: How records are compressed. Without it: not at all. The codec has to be installed; `doctor` looks.
    compression_type: Annotated[Literal["gzip", "snappy", "lz4", "zstd"] | None, _PRODUCERS] = None
    #: In bytes. The topics' max.message.bytes at the broker has to be as large, or larger.
    max_request_size: Annotated[int, Field(ge=16_384), _PRODUCERS] = 1_048_576

    def options(self, which: KafkaOption) -> dict[str, Any]:
        """Return the settings that these clients take, as arguments of their constructors. A setting without a value is
        left out."""
        found = {
            name: getattr(self, name) for name, field in type(self).model_fields.items() if which in field.metadata
        }
        return {
            name: str(value) if isinstance(value, Path) else value for name, value in found.items() if value is not None
        }

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


class LeasesTable(Table):
    #: How long a process that stops renewing its leases keeps them. Then another process polls its shops and relays the
    #: outbox.
    seconds: Annotated[float, Field(ge=4, le=600)] = 30


class LogTable(Table):
    #: `embedded`: tables of the SQLite store, for one process. `kafka`: with PostgreSQL.
    kind: Literal["embedded", "kafka"] = "embedded"
    #: After this time the embedded log deletes applied records.
    keep_days: float = Field(default=7, gt=0)


class TopicsTable(Table):
    #: Orders as the poller read them.
    snapshots: str = "mirakl.order-snapshots"
    #: What the OMS reports.
    oms_events: str = "oms.order-events"
    #: Every change of an order's state.
    transitions: str = "orderflow.transitions"
    #: Records that could not be used.
    dead_letters: str = "orderflow.dead-letters"


class WorkerTable(Table):
    #: How many calls one process makes at a time. Twice the calls on the wire: whoever waits makes the batches larger.
    threads: int = Field(default=8, ge=1, le=256)
    #: How many calls to one account (a shop at Mirakl, or at the OMS) all workers together have under way. Without it:
    #: half of `threads`, so that one remote that hangs holds no more than half of them.
    calls_per_account: int | None = Field(default=None, ge=1)
    #: How long Mirakl may take to show a change that it confirmed with 204. A read that begins later has to show it.
    grace_seconds: Seconds = 120
    #: How long a call that failed waits for its second try. Each further wait is twice as long.
    retry_first_seconds: Seconds = 5
    #: The longest wait between two tries of a call.
    retry_longest_seconds: Seconds = 900
    #: How long a command belongs to its worker. If the worker died, another worker takes the command after this time.
    #: So this time has to be longer than the longest call: three times the longest timeout_seconds, or more.
    lease_seconds: Annotated[float, Field(gt=0, le=1800)] = 90  # less than leases.LONGEST in adapters/store

    @property
    def most_calls(self) -> int:
        """How many calls to one account may be under way."""
        return self.calls_per_account or max(1, self.threads // 2)


class PollerTable(Table):
    #: How many shops one process polls at a time. A shop that hangs holds one of these threads.
    threads: int = Field(default=16, ge=1, le=64)


class MaxAgeTable(Table):
    """How long an order may be in a state, in hours. After that, the alert OrdersStuckInState fires."""

    new: Annotated[Hours, Field(gt=0)] = 24
    waiting_acceptance: Annotated[Hours, Field(gt=0)] = 4
    accepted: Annotated[Hours, Field(gt=0)] = 1
    awaiting_payment: Annotated[Hours, Field(gt=0)] = 72
    shipping: Annotated[Hours, Field(gt=0)] = 4
    imported: Annotated[Hours, Field(gt=0)] = 120
    dispatched: Annotated[Hours, Field(gt=0)] = 4

    def seconds(self) -> dict[State, float]:
        return {State(name): hours * 3600 for name, hours in self.model_dump().items()}


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
    intake: IntakeTable = IntakeTable()
    http: HttpTable = HttpTable()
    worker: WorkerTable = WorkerTable()
    poller: PollerTable = PollerTable()
    leases: LeasesTable = LeasesTable()
    oms: OmsTable = OmsTable()
    max_age_hours: MaxAgeTable = MaxAgeTable()
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
        _check_addresses(self)
        names = list(self.topics.model_dump().values())
        if len(set(names)) != len(names):
            raise ValueError("topics: each needs a name of its own")
        _check_prefixes(self.shops)
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
        return env_settings, init_settings  # `load` passes the tables of the file as init arguments


def _check_prefixes(shops: Mapping[str, ShopTable]) -> None:
    """Raise ValueError if an order of the OMS could belong to two shops of one company."""
    for (one, first), (other, second) in combinations(shops.items(), 2):
        company, prefixes = second.oms.company_ref_id, (first.oms.external_ref_prefix, second.oms.external_ref_prefix)
        shorter, longer = sorted(prefixes, key=len)
        if first.oms.company_ref_id != company:
            continue
        if not longer.startswith(shorter):
            if both := {*_prefixes(first.oms)} & {*_prefixes(second.oms)}:
                raise ValueError(
                    f"shops.{other}.oms: {one} and {other} share the company {company}, and both have or had the "
                    f'prefix "{min(both)}", so an order of the OMS could belong to both'
                )
            continue
        shared = f"shops.{other}.oms.external_ref_prefix: {one} and {other} share the company {company}, "
        if shorter == longer:
            raise ValueError(f"{shared}so each needs a prefix of its own")
        raise ValueError(
            f'{shared}and "{longer}" begins with "{shorter}", so an order id of one could belong to the other: '
            'each needs a prefix that begins with no other, such as "A-" and "B-"'
        )


def _prefixes(oms: ShopOmsTable) -> tuple[str, ...]:
    return (oms.external_ref_prefix, *oms.former_external_ref_prefixes)


def _check_addresses(settings: Settings) -> None:
    """Raise ValueError for an address to which a key would go unencrypted, or for a real one beside simulators."""
    addresses = {f"shops.{name}.base_url": shop.endpoint for name, shop in settings.shops.items()}
    for key, address in {"oms.base_url": settings.oms.base_url, **addresses}.items():
        if settings.http.simulated and not address.startswith("http:"):
            raise ValueError(f"{key}: has to begin with http://, because http.simulated says that it is a simulator")
        if is_readable_by_others(address) and not settings.http.simulated:
            raise ValueError(
                f"{key}: has to begin with https://, because the key goes with each call (http:// to loopback only)"
            )


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
    _refuse_unknown_names(path, tables)
    try:
        settings = Settings(**tables)
    except ValidationError as error:
        raise ConfigError("\n".join(_error_text(path, one) for one in error.errors(include_input=False))) from error
    except SettingsError as error:  # its text names the key and shows no value
        raise ConfigError(f"environment {ENV_PREFIX}*: {error}: a table or a list is given as JSON") from error
    return _relative_to(path.parent.resolve(), settings)


def origins() -> dict[str, Any]:
    """Return the settings that variables of the environment set, as nested tables."""
    return EnvSettingsSource(Settings)()


def _refuse_unknown_names(path: Path, tables: dict[str, Any]) -> None:
    """Raise ConfigError for names that pydantic-settings would ignore, or would take for an option of its own.

    ORDERFLOW_CONFIG is no setting: it names the file. Names that begin with ORDERFLOW_TEST_ are for the tests.
    """
    for name in tables:
        if name not in Settings.model_fields:
            raise ConfigError(f"{path}: {name}: unknown key")
    for variable in os.environ:
        if variable.upper().startswith(ENV_PREFIX):
            name = variable[len(ENV_PREFIX) :].lower().split("__")[0]
            if name not in {*Settings.model_fields, "config"} and not name.startswith("test_"):
                raise ConfigError(f"environment {variable}: unknown key {name}")


def _error_text(path: Path, error: Any) -> str:
    key = ".".join(str(part) for part in error["loc"] if part != "[key]")
    text = {"extra_forbidden": "unknown key", "missing": "is missing"}.get(error["type"], error["msg"])
    text = text.removeprefix("Value error, ")
    source = _source(path, [str(part).upper() for part in error["loc"]])
    return f"{source}: {key}: {text}" if key else f"{source}: {text}"


def _source(path: Path, parts: list[str]) -> str:
    """Return where to look for a setting: its variable, else the variable of a table that contains it, else the file.

    The variable of a table is named also if it does not set this key, and the value comes from the file. If the setting
    is a table, and variables set keys inside it, the file and these variables are named.
    """
    variables = {variable.upper(): variable for variable in os.environ}
    for length in range(len(parts), 0, -1):
        name = ENV_PREFIX + "__".join(parts[:length])
        if name in variables:
            return f"environment {variables[name]}"
    inside = ENV_PREFIX + "__".join(parts) + "__"
    found = sorted(variable for name, variable in variables.items() if parts and name.startswith(inside))
    return f"{path} with environment {', '.join(found)}" if found else str(path)


def _relative_to(folder: Path, settings: Settings) -> Settings:
    """Return the settings with absolute paths, and with a zone in every instant.

    A relative path starts at the file's folder. An instant without a zone is taken as UTC.
    """

    def resolved(value: Any) -> Any:
        match value:
            case Path():
                return folder / value
            case dict():
                return {name: resolved(one) for name, one in value.items()}
            case BaseModel():
                fields = {name: getattr(value, name) for name in type(value).model_fields}
                return value.model_copy(update={name: resolved(one) for name, one in fields.items()})
            case datetime() if value.tzinfo is None:
                return value.replace(tzinfo=UTC)
        return value

    url = re.sub(r"^(sqlite(?:\+\w+)?:///)(?!/|:memory:)", rf"\g<1>{folder}/", settings.store.url)
    found: Settings = resolved(settings)
    return found.model_copy(update={"store": found.store.model_copy(update={"url": url})})


def known_skus(shop: str, table: ShopTable) -> frozenset[str]:
    """Return the SKUs in known_skus_file, one on each line. Raises ConfigError if the file cannot be read."""
    if table.known_skus_file is None:
        return frozenset()
    try:
        lines = table.known_skus_file.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"shops.{shop}.known_skus_file: {table.known_skus_file} cannot be read") from error
    return frozenset(line.strip() for line in lines if line.strip())


def policies(settings: Settings) -> dict[str, Policy]:
    """Return the policy of each shop. Raises ConfigError if a shop's known_skus_file cannot be read."""
    return {
        name: Policy(
            acceptance=shop.acceptance,
            known_skus=known_skus(name, shop),
            unknown_skus=shop.unknown_skus,
            not_before=shop.not_before,
            centres=shop.fulfilment_centres | {""},
            retrying_after=timedelta(seconds=shop.retrying_after_seconds),
            messages_wait=timedelta(seconds=shop.messages_wait_seconds),
            without_messages=shop.without_messages,
            left_out=fields_left_out(shop.oms),
            tracking_holds_for=timedelta(seconds=shop.tracking_holds_for_seconds),
            accept_within=timedelta(hours=shop.deadlines.accept_within_hours),
            accept_margin=timedelta(hours=shop.deadlines.accept_margin_hours),
            payment_within=timedelta(hours=shop.deadlines.payment_within_hours),
            gone_after=timedelta(hours=shop.deadlines.gone_after_hours),
            other_channels=_has_other_channels(shop.oms),
            accept_target=timedelta(seconds=shop.objectives.accept_seconds),
            ship_target=timedelta(seconds=shop.objectives.ship_confirm_seconds),
            shipping_margin=timedelta(hours=shop.deadlines.shipping_margin_hours),
        )
        for name, shop in settings.shops.items()
    }


def _has_other_channels(oms: ShopOmsTable) -> bool:
    return not oms.external_ref_prefix if oms.other_channels is None else oms.other_channels


def order_rules(shop: ShopTable) -> "OrderRules":
    """Return what the shop decides about its orders at the OMS."""
    from adapters.remotes.kornitx_order import OrderRules  # noqa: PLC0415 - most commands need no call to the OMS

    oms = shop.oms
    return OrderRules(
        company_ref_id=oms.company_ref_id,
        external_ref_prefix=oms.external_ref_prefix,
        tax_mode=shop.order_tax_mode,
        shipping_methods=oms.shipping_methods,
        countries=oms.countries,
        custom_fields=oms.custom_fields,
        left_out=fields_left_out(oms),
        required_order_fields=oms.required_order_fields,
        required_line_fields=oms.required_line_fields,
        pickup_point_fields=tuple(oms.pickup_point_fields),
        pickup_point_as_company=oms.pickup_point_as_company,
    )


def fields_left_out(oms: ShopOmsTable) -> frozenset[str]:
    """Return the codes of the custom fields that an import does not carry in any form."""
    return frozenset(code for code, name in oms.custom_fields.items() if not name) - set(oms.pickup_point_fields)


def shop_ids(settings: Settings) -> "tuple[ShopIds, ...]":
    """Return for each shop the company and the prefix under which the OMS knows it."""
    from adapters.messages.oms_events import ShopIds  # noqa: PLC0415 - most commands read no event

    return tuple(
        ShopIds(
            name=name,
            company_ref_id=shop.oms.company_ref_id,
            external_ref_prefix=shop.oms.external_ref_prefix,
            former_prefixes=tuple(shop.oms.former_external_ref_prefixes),
            may_split=shop.oms.may_split,
            dispatched_statuses=settings.oms.dispatched_statuses,
            time_zone=ZoneInfo(shop.oms.time_zone),
        )
        for name, shop in settings.shops.items()
    )


def key_owners(settings: Settings) -> dict[str, frozenset[str]]:
    """Return by topic what the keys of its records begin with: the shops' names, or their companies in the OMS."""
    return {
        settings.topics.snapshots: frozenset(settings.shops),
        settings.topics.oms_events: frozenset(str(shop.oms.company_ref_id) for shop in settings.shops.values()),
    }
