"""Builds the parts of a process from its settings. Nothing here starts a thread.

`build` makes a whole service. The other functions build one part each, for the service, the command line and the tests.
The adapters are chosen here (log, clock), in clients.py (remotes) and in stores.py (store).
"""

import os
import random
import socket
from collections.abc import Callable, Collection, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, replace
from datetime import timedelta
from functools import partial
from typing import Final
from uuid import uuid4

import structlog

from adapters.errors import ConfigError, LogUnavailable
from adapters.log.embedded import EmbeddedLog
from adapters.log.kafka import DELIVERY_SECONDS, KafkaLog
from adapters.messages.oms_events import decode_oms, unread_event
from adapters.messages.snapshots import seal_snapshot
from adapters.ports import Clock, LogWriter, Marketplace
from adapters.remotes.beside import Beside
from adapters.store import dead_letters as dead_letter_rows
from adapters.store import engine
from adapters.store import policies as policy_rows
from adapters.store import shops as shop_rows
from adapters.store.budgets import BudgetWindow
from adapters.store.clock import StoreClock
from adapters.store.leases import Lease
from adapters.store.policies import StoredPolicies
from adapters.store.transaction import Store
from consumer import config
from consumer.applying.apply import OrderWriter
from consumer.applying.dead_letter_limit import WINDOW_SECONDS, DeadLetterLimit
from consumer.applying.loop import Consumer
from consumer.applying.missing import MissingOrders
from consumer.calling.budget import Shop, oms_account
from consumer.calling.worker import Worker
from consumer.clients import account_client, mirakl_client, oms_client
from consumer.config import KafkaOption, Settings
from consumer.config.secrets import (
    ShopSecrets,
    check_callback_secrets,
    kafka_options,
    shop_secrets,
    warn_of_implausible_secrets,
)
from consumer.hooks import LOOPS_OF, NO_HOOKS, Hooks, Several
from consumer.housekeeping.housekeeping import Housekeeping
from consumer.leases import RELAY, Leases, poll_lease
from consumer.metrics.recorder import Recorder, new_recorder
from consumer.metrics.stored import AccountBudget, StoredGauges
from consumer.polling.account_check import AccountCheck
from consumer.polling.poll_schedule import ScheduledPoller
from consumer.polling.poller import Poller
from consumer.polling.pollers import PollerPool
from consumer.prefixes import check_references
from consumer.relay import Relay, RelayLoop
from consumer.retry import Backoff
from consumer.service import Base, Beats, Parts, Probe, Service, WorkSignal
from consumer.stores import group_of, open_store, outbox_of
from consumer.telemetry import LogHooks, configure_logging
from consumer.web.app import application, callback_routes, watch_routes
from consumer.web.callbacks import CallbackEndpoint, Intake
from consumer.web.server import WebServer
from statemachine.commands import Policy

log = structlog.get_logger("orderflow")

ROLES: Final = tuple(LOOPS_OF)


# -- A whole process ---------------------------------------------------------------------------------------------


def build(
    settings: Settings,
    roles: Collection[str] = ROLES,
    *,
    clock: Clock | None = None,
    holder: str | None = None,
    hooks: Hooks = NO_HOOKS,
) -> Service:
    """Build a service with these roles. Parameters and errors are those of `build_parts`."""
    return Service(build_parts(settings, roles, clock=clock, holder=holder, hooks=hooks))


def build_parts(
    settings: Settings,
    roles: Collection[str] = ROLES,
    *,
    clock: Clock | None = None,
    holder: str | None = None,
    hooks: Hooks = NO_HOOKS,
) -> Parts:
    """Open the store and the log, and build everything that a process with these roles runs.

    `clock` None: a StoreClock. `holder` is the process's name in leases; None: `_holder` makes one. `hooks` are called
    after the service's own.
    Raises ConfigError and StoreUnavailable, after closing everything that it opened.
    """
    _check_roles(settings, roles)
    clock = clock or StoreClock()
    recorder = new_recorder(settings, clock, roles)
    beats, work = Beats(clock), WorkSignal()
    hooks = Several(recorder, LogHooks(), beats, work, hooks)
    configure_logging(recorder.line_logged, recorder.line_lost)
    secrets = {name: shop_secrets(name, shop) for name, shop in settings.shops.items()}
    check_callback_secrets(secrets)
    warn_of_implausible_secrets(settings)
    with ExitStack() as closing:
        # Lock the SQLite file before the schema is migrated. Two processes on one file would poll Mirakl twice as often
        # as Mirakl allows.
        lock = engine.hold_alone(settings.store.url)
        if lock is not None:
            closing.callback(lock.close)
        store = open_store(settings, roles)
        closing.callback(store.close)
        _prepare_schema(store)
        if isinstance(clock, StoreClock):
            clock.read(store)
        bind_shops(settings, store, clock)
        check_references(settings, store)
        with store.transaction() as tx:  # every process plans by these policies from now on
            policy_rows.store(tx, config.policies(settings), clock.now())
        event_log = open_log(settings, store, clock)
        closing.callback(event_log.close)
        _check_topics(settings, event_log)
        leases = Leases(store, clock, holder or _holder(settings), settings.leases.seconds)
        base = new_base(settings, clock=clock, hooks=hooks, store=store, event_log=event_log, leases=leases)
        worker = new_worker(base, worker_shops(base, secrets, closing)) if "worker" in roles else None
        parts = Parts(
            base=base,
            roles=roles,
            recorder=recorder,
            beats=beats,
            work=work,
            consumer=new_consumer(base) if "consumer" in roles else None,
            worker=worker,
            housekeeping=new_housekeeping(base) if "worker" in roles else None,
            relay=new_relay(base) if "worker" in roles else None,
            pollers=PollerPool(
                _scheduled_pollers(base, secrets, closing) if "poller" in roles else {},
                base.settings.poller.threads,
                base.clock,
            ),
            servers=partial(new_servers, base, recorder, secrets if "web" in roles else {}),
            closing=closing,
        )
        _watch(parts)
        return replace(parts, closing=closing.pop_all())


def _check_roles(settings: Settings, roles: Collection[str]) -> None:
    """Raise ConfigError if a role is missing on SQLite, which serves one process with every role."""
    if frozenset(roles) != frozenset(ROLES) and settings.store.is_sqlite:
        raise ConfigError(
            "store.url: SQLite serves one process with every role (`orderflow run all`); processes of one role each "
            'need PostgreSQL, and [log] kind = "kafka"'
        )


def _holder(settings: Settings) -> str:
    """Return the name of this process in leases.

    With the embedded log there is one process. Its name is always the same, so that after a restart it takes its own
    leases back at once.
    """
    if settings.log.kind == "embedded":
        return "embedded"
    return f"{socket.gethostname()}:{os.getpid()}:{uuid4().hex[:8]}"


# -- Store and log -----------------------------------------------------------------------------------------------


def _prepare_schema(store: Store) -> None:
    """Migrate SQLite; PostgreSQL is migrated once by `orderflow migrate`. Raise ConfigError if the schema is
    missing, older than this version's, or one of a later version that forbids this one to run."""
    if store.is_sqlite:
        store.migrate()
    if not store.schema_fits():
        raise ConfigError("the store's schema is missing or older than this version's: run `orderflow migrate` first")


def bind_shops(settings: Settings, store: Store, clock: Clock) -> None:
    """Store each configured shop: its account at Mirakl, and whether its effects are on.

    Raises ConfigError if the account is stored under another name, or if the name has orders of another account.
    """
    switch = {"on": True, "off": False, None: None}
    with store.transaction() as tx:
        # Sorted, so that all processes lock the rows in the same order. Otherwise two processes that start together
        # could wait for each other.
        for name, shop in sorted(settings.shops.items()):
            shop_rows.bind(tx, name, shop.endpoint, shop.shop_id, effects=switch[shop.effects], now=clock.now())


def open_log(settings: Settings, store: Store, clock: Clock) -> EmbeddedLog | KafkaLog:
    """Open the log that the settings name. Raises ConfigError."""
    if settings.log.kind == "embedded":
        return EmbeddedLog(store, clock)
    return KafkaLog(
        kafka_options(settings),
        consumer=settings.kafka.options(KafkaOption.OF_CONSUMERS),
        producer=settings.kafka.options(KafkaOption.OF_PRODUCERS),
        # The relay renews its lease before each publication, so at least two thirds of the lease are left.
        # KafkaLog.publish takes at most 4/3 of these seconds: two thirds of the lease. So it ends before the lease.
        delivery_seconds=min(DELIVERY_SECONDS, settings.leases.seconds / 2),
    )


def _check_topics(settings: Settings, event_log: EmbeddedLog | KafkaLog) -> None:
    """Raise ConfigError if a topic does not exist. If no broker answers, only log it, because one may answer later."""
    if not isinstance(event_log, KafkaLog):
        return
    names = settings.topics.model_dump()
    try:
        found = event_log.partitions(list(names.values()))
    except LogUnavailable as error:
        log.warning("log_unavailable", error=str(error))
        return
    for key, name in names.items():
        if name not in found:
            raise ConfigError(
                f"topics.{key}: Kafka has no topic {name}, or this user may not see it. Create it first, with as "
                "many partitions as there will ever be consumers (docs/production.md)"
            )


def new_base(
    settings: Settings,
    *,
    clock: Clock,
    hooks: Hooks,
    store: Store,
    event_log: EmbeddedLog | KafkaLog,
    leases: Leases,
    policies: Mapping[str, Policy] | None = None,
) -> Base:
    """Return what the parts share. `policies`: of the shops that have none in the store; None: those of the settings.

    Raises ConfigError if a shop's known_skus_file cannot be read.
    """
    policies = StoredPolicies(config.policies(settings) if policies is None else policies)
    orders = OrderWriter(store, policies, clock, hooks, outbox_of(settings))
    return Base(
        settings=settings,
        clock=clock,
        hooks=hooks,
        store=store,
        log=event_log,
        policies=policies,
        orders=orders,
        leases=leases,
    )


# -- Loops -------------------------------------------------------------------------------------------------------


def new_consumer(base: Base) -> Consumer:
    """Make a consumer: one more member of the consumer group."""
    topics = base.settings.topics
    shops = frozenset(base.settings.shops)
    ids = config.shop_ids(base.settings)
    decoders = {
        topics.snapshots: lambda value, headers: seal_snapshot(value, headers, shops),
        topics.oms_events: lambda value, headers: decode_oms(value, headers, ids, base.clock.now()),
    }
    reader = base.log.reader(group_of(base.settings), list(decoders))
    limit = DeadLetterLimit(base.clock, config.key_owners(base.settings))
    limit.remember(dead_letter_rows.received_since(base.store, base.clock.now() - timedelta(seconds=WINDOW_SECONDS)))
    return Consumer(
        reader,
        base.store,
        base.orders,
        decoders,
        base.clock,
        hooks=base.hooks,
        limit=limit,
        unread_events={topics.oms_events: partial(unread_event, ids)},
        reads=[topics.snapshots],
    )


def new_worker(base: Base, shops: Mapping[str, Shop], jitter: Callable[[], float] = random.random) -> Worker:
    """Make the worker. `jitter` returns a number from 0 to 1 that shortens a wait, so that retries are spread."""
    table = base.settings.worker
    return Worker(
        base.store,
        base.orders,
        shops,
        base.policies,
        base.clock,
        grace=timedelta(seconds=table.grace_seconds),
        backoff=Backoff(table.retry_first_seconds, table.retry_longest_seconds),
        lease=timedelta(seconds=table.lease_seconds),
        calls_per_account=table.most_calls,
        hooks=base.hooks,
        jitter=jitter,
    )


def new_poller(
    base: Base,
    shop: str,
    mirakl: Marketplace,
    *,
    lease: Callable[[], Lease] | None = None,
    writer: LogWriter | None = None,
) -> Poller:
    """Make the poller of one shop.

    `lease` returns the lease of the shop's polls, renewed; None: the lease that `base.leases` holds. `writer` None: the
    log.
    """
    return Poller(
        shop,
        mirakl,
        base.store,
        writer or base.log,
        base.clock,
        topic=base.settings.topics.snapshots,
        lease=lease or partial(base.leases.kept, poll_lease(shop)),
        store_dead_letters=base.orders.store_dead_letters,
        note_missing=MissingOrders(base.store, base.orders, base.policies).note,
        overlap=timedelta(seconds=base.settings.shops[shop].poll_overlap_seconds),
        hooks=base.hooks,
    )


def new_relay(base: Base) -> RelayLoop | None:
    """Make the loop of the relay. None with the embedded log, which no other process reads."""
    if isinstance(base.log, EmbeddedLog):
        return None
    relay = Relay(base.store, base.log, partial(base.leases.kept, RELAY))
    return RelayLoop(relay, partial(base.leases.take, RELAY), base.leases.renew_seconds)


def new_housekeeping(base: Base) -> Housekeeping:
    """Make the housekeeping. If the log is embedded, it deletes old records."""
    embedded = base.log if isinstance(base.log, EmbeddedLog) else None
    return Housekeeping(
        shops=tuple(base.settings.shops),
        store=base.store,
        orders=base.orders,
        leases=base.leases,
        clock=base.clock,
        embedded_log=embedded,
        keep_records=timedelta(days=base.settings.log.keep_days),
        keep_foreign=timedelta(days=base.settings.oms.foreign_after_days),
        keep_snapshots=timedelta(days=base.settings.store.keep_snapshots_days),
        hooks=base.hooks,
    )


def worker_shops(base: Base, secrets: Mapping[str, ShopSecrets], closing: ExitStack) -> dict[str, Shop]:
    """Make the worker's clients of every shop. `closing` closes them."""
    shops, http, calls = {}, base.settings.http, base.settings.worker.threads  # `calls`: a connection for each thread
    catalogs = Beside("catalog")
    for name, shop in base.settings.shops.items():
        on_call = partial(base.hooks.remote_called, name)
        key = secrets[name].mirakl_key
        mirakl = mirakl_client(shop, key, base.clock, on_call, http=http, connections=calls, beside=catalogs)
        oms = oms_client(base.settings.oms, shop, secrets[name].oms_key, on_call, http=http, connections=calls)
        closing.callback(mirakl.close)
        closing.callback(oms.close)
        shops[name] = Shop(name, mirakl, oms, shop.oms.company_ref_id, oms_budget(base.settings))
    return shops


def _scheduled_pollers(
    base: Base, secrets: Mapping[str, ShopSecrets], closing: ExitStack
) -> dict[str, ScheduledPoller]:
    pollers, http = {}, base.settings.http
    for name, shop in base.settings.shops.items():
        on_call = _CallOfPoller(base.hooks, name)
        mirakl = mirakl_client(shop, secrets[name].mirakl_key, base.clock, on_call, http=http)
        account = account_client(shop, secrets[name].mirakl_key, on_call, http=http)
        closing.callback(mirakl.close)
        closing.callback(account.close)
        pollers[name] = ScheduledPoller(
            name,
            new_poller(base, name, mirakl),
            shop.poll_interval_seconds,
            shops=len(base.settings.shops),
            leases=base.leases,
            store=base.store,
            clock=base.clock,
            hooks=base.hooks,
            check=AccountCheck(name, shop, account, store=base.store, clock=base.clock),
        )
    return pollers


@dataclass(frozen=True, slots=True)
class _CallOfPoller:
    """Reports a call of a poller's client. The call also shows that the poller's loop is alive."""

    hooks: Hooks
    shop: str

    def __call__(
        self, system: str, operation: str, outcome: str, seconds: float, *, retry_after_seconds: float
    ) -> None:
        hooks, shop = self.hooks, self.shop
        hooks.remote_called(shop, system, operation, outcome, seconds, retry_after_seconds=retry_after_seconds)
        self.hooks.loop_turned("poller", self.shop)


def oms_budget(settings: Settings) -> tuple[BudgetWindow, ...]:
    """Return how many calls one company may make at the OMS in an hour and in a day."""
    return (
        BudgetWindow("hour", timedelta(hours=1), settings.oms.calls_per_hour),
        BudgetWindow("day", timedelta(days=1), settings.oms.calls_per_day),
    )


# -- Metrics and web ---------------------------------------------------------------------------------------------


def _watch(parts: Parts) -> None:
    """Register the gauges whose values are read at each scrape."""
    base, recorder = parts.base, parts.recorder
    if isinstance(base.clock, StoreClock):
        recorder.watch_clock(base.clock.skew_seconds)
    recorder.watch_loops(parts.beats.oldest)
    recorder.watch_pollers(parts.pollers.seconds_late)
    for name in parts.pollers.pollers:
        recorder.watch_lease("poller", name, partial(base.leases.holds, poll_lease(name)))
    if parts.worker is not None:
        recorder.watch_lease(RELAY, "", partial(base.leases.holds, RELAY))
        recorder.watch_accounts(parts.worker.accounts.by_key)
        recorder.watch_catalogs({name: shop.mirakl.catalog_unread for name, shop in parts.worker.shops.items()})
    budgets = {
        name: AccountBudget(oms_account(shop.oms.company_ref_id), oms_budget(base.settings))
        for name, shop in base.settings.shops.items()
    }
    recorder.registry.register(StoredGauges(base.store, base.clock, base.settings.shops, budgets))


def new_servers(
    base: Base,
    recorder: Recorder,
    secrets: Mapping[str, ShopSecrets],
    *,
    what_is_stuck: Probe,
    what_is_not_ready: Probe,
) -> list[WebServer]:
    """Make the web servers of a process: one for metrics and probes, and one for callbacks if [intake] has a port.

    Callbacks are taken of the shops that have a callback secret in `secrets`. Raises ConfigError if the certificate of
    [intake] cannot be used.
    """
    endpoints = {
        name: CallbackEndpoint(
            name,
            base.settings.shops[name].oms.company_ref_id,
            one.callback_secrets,
            writer=base.log,
            topic=base.settings.topics.oms_events,
            shops=config.shop_ids(base.settings),
            keep=base.orders.keep,
            hooks=base.hooks,
            clock=base.clock,
        )
        for name, one in secrets.items()
        if one.callback_secrets is not None
    }
    web, intake = base.settings.web, base.settings.intake
    watch = watch_routes(registry=recorder.registry, what_is_stuck=what_is_stuck, what_is_not_ready=what_is_not_ready)
    callbacks = callback_routes(Intake(endpoints, base.hooks))
    if intake.port is None:
        return [WebServer("web", application([*watch, *callbacks]), web.host, web.port)]
    servers = [WebServer("web", application(watch), web.host, web.port)]
    if endpoints:
        servers.append(WebServer("intake", application(callbacks), intake.host, intake.port, certificate=intake.files))
    return servers
