"""Sicknesses of the engines: PostgreSQL and Kafka hang, are slow, lock, or have no room left."""

import os
import pwd
import subprocess
import tempfile
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import psycopg
from psycopg import sql

from adapters.store import order_lists
from adapters.store import orders as order_rows
from tests.sick.proxy import Manner
from tests.sick.service import OURS, Service
from tests.sick.sickness import ALL_ORDERS, Sickness, Sign, before, logged, metric, not_ready, shop
from tests.sick.waves import Wave, life
from tests.support import wait

#: How many locked orders Mirakl shows changes of.
LOCKED_CHANGES = 40
#: The size of the disk that gets full. The journal of all that was played before has to fit on it.
SMALL_DISK = "256m"


def _database_frozen(service: Service) -> None:
    service.postgres.freeze()
    service.held.callback(service.postgres.thaw)


def _broker_frozen(service: Service) -> None:
    for number in range(service.brokers):
        service.kafka.freeze(number)
        service.held.callback(service.kafka.thaw, number)


def _topic_without_leader(service: Service) -> None:
    """Kill the broker that alone has the topic of the transitions."""
    service.kafka.kill(service.brokers - 1)
    service.held.callback(service.kafka.start_broker, service.brokers - 1)


def _slow_network(service: Service) -> None:
    service.proxies["database"].manner = Manner(delay_seconds=0.008)
    service.held.callback(setattr, service.proxies["database"], "manner", Manner())


def _resetting_network(service: Service) -> None:
    service.proxies["database"].manner = Manner(refuses=True)
    service.held.callback(setattr, service.proxies["database"], "manner", Manner())


def _with_settings(*settings: str) -> Callable[[Service], None]:
    """Let the server run with these settings, as in postgresql.conf."""

    def begin(service: Service) -> None:
        with service.database() as connection:
            for one in settings:
                name, _, value = one.partition("=")
                connection.execute(sql.SQL("ALTER SYSTEM SET {} = {}").format(sql.Identifier(name), sql.Literal(value)))
            connection.execute("SELECT pg_reload_conf()")
        service.held.callback(_with_the_usual_settings, service)

    return begin


def _with_the_usual_settings(service: Service) -> None:
    with service.database() as connection:
        connection.execute("ALTER SYSTEM RESET ALL")
        connection.execute("SELECT pg_reload_conf()")


def _holding(*statements: str) -> Callable[[Service], None]:
    """Run these statements in a transaction that stays open."""

    def begin(service: Service) -> None:
        connection = service.held.enter_context(service.database())
        connection.execute("BEGIN")
        for one in statements:
            connection.execute(one.encode())
        service.held.callback(connection.execute, "ROLLBACK")

    return begin


def _locked_order(service: Service) -> None:
    """Lock the row of an order that is on its way."""
    one = life("alpha", 0.0)
    wave = Wave(service.simulated, [one])
    service.held.callback(wave.stop)
    service.held.callback(wait, lambda: wave.settled(service.store), "the locked order goes on", 180)
    wait(lambda: ("alpha", one.order_id) in order_rows.states(service.store), "the order is stored", 30)
    connection = service.held.enter_context(service.database())
    connection.execute("BEGIN")
    connection.execute("SELECT id FROM orders WHERE order_id = %s FOR UPDATE", (one.order_id,))
    service.held.callback(connection.execute, "ROLLBACK")


def _locked_shop(service: Service) -> None:
    """Lock all orders of alpha. Then records about them arrive in most partitions."""
    _holding("SELECT id FROM orders WHERE shop = 'alpha' FOR UPDATE")(service)
    for row in order_lists.latest(service.store, shop="alpha", states=["shipped"], limit=LOCKED_CHANGES):
        service.simulated.mirakl["alpha"].mark_received(row.order_id)


def _run(*command: str) -> None:
    subprocess.run(command, check=True, capture_output=True, timeout=10)


def _full_disk(service: Service) -> None:
    """Move the journal to a small file system, and fill that with a file. Only root may mount one."""
    disk = Path(tempfile.mkdtemp(prefix="orderflow-disk-"))
    service.held.callback(disk.rmdir)
    owner = pwd.getpwnam("postgres")  # the server does not run as root
    options = f"size={SMALL_DISK},mode=0700,uid={owner.pw_uid},gid={owner.pw_gid}"
    _run("mount", "-t", "tmpfs", "-o", options, "tmpfs", str(disk))
    service.held.callback(_run, "umount", str(disk))
    connection = service.held.enter_context(service.database())
    connection.execute(sql.SQL("CREATE TABLESPACE small LOCATION {}").format(sql.Literal(str(disk))))
    service.held.callback(connection.execute, "DROP TABLESPACE small")
    connection.execute("ALTER TABLE journal SET TABLESPACE small")
    service.held.callback(connection.execute, "ALTER TABLE journal SET TABLESPACE pg_default")
    filling = disk / "filling"
    service.held.callback(filling.unlink)
    with filling.open("wb", buffering=0) as file, suppress(OSError):
        while True:
            file.write(bytes(65_536))  # the last one is written in part


_NO_DEAD_LETTER = Sign("no dead letter", lambda seen, _: not seen.grew("orderflow_dead_letters_total"))


def _sessions_ended(service: Service) -> None:
    """End every session of the service, so often that some are in the middle of a transaction."""
    stopping = threading.Event()

    def end() -> None:
        with service.database() as connection:
            while not stopping.wait(0.1):
                connection.execute(
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE client_addr IS NOT NULL"
                    " AND pid <> pg_backend_pid() AND application_name <> %s",
                    (OURS,),
                )

    thread = threading.Thread(target=end, daemon=True)
    thread.start()
    service.held.callback(thread.join)
    service.held.callback(stopping.set)


def _no_session_left(service: Service) -> None:
    """Take every session that the server allows, but for those of the superuser."""
    taken = 0
    with suppress(psycopg.OperationalError):
        for _ in range(400):
            connection = service.held.enter_context(service.database())
            taken += connection.execute("SELECT 1").rowcount
    assert taken > 100, f"only {taken} sessions were free"
    connection.close()  # of the superuser, so that the harness itself can look


ENGINES = (
    Sickness(
        "database-frozen",
        "PostgreSQL, all its processes",
        "a database takes connections and answers nothing: probes and metrics answer, nothing is lost",
        _database_frozen,
        touches=ALL_ORDERS,
        signs=(not_ready("the store does not answer"), logged("loop_failed", cause="timeout")),
    ),
    Sickness(
        "database-frozen-for-long",
        "PostgreSQL, all its processes",
        "a database answers nothing for more than two minutes: no process counts as dead, and the cause is shown",
        _database_frozen,
        seconds=150.0,
        touches=ALL_ORDERS,
        signs=(
            not_ready("the store does not answer"),
            metric('orderflow_loop_failing{cause="timeout"'),
            logged("loop_failing", cause="timeout"),
            _NO_DEAD_LETTER,
        ),
        recovery_seconds=120.0,
    ),
    Sickness(
        "database-unreachable",
        "the network to PostgreSQL",
        "every connection to the database is reset: new ones are made as soon as that is possible",
        _resetting_network,
        seconds=14.0,
        touches=ALL_ORDERS,
        signs=(not_ready(), logged("loop_failed", cause="connection")),
    ),
    Sickness(
        "database-slow-network",
        "the network to PostgreSQL",
        "each statement takes 16 ms more: orders take longer, and nothing fails",
        _slow_network,
        touches=ALL_ORDERS,
        unseen="nothing fails, so nothing has to be shown",
    ),
    Sickness(
        "database-slow-disk",
        "the disk of PostgreSQL",
        "each commit waits 100 ms for its disk: orders take longer, and nothing fails",
        _with_settings("commit_delay=100000", "commit_siblings=0"),
        touches=ALL_ORDERS,
        unseen="nothing fails, so nothing has to be shown",
    ),
    Sickness(
        "database-ends-sessions",
        "the sessions at PostgreSQL",
        "the server ends every session ten times a second: what was committed counts, and the rest is done again",
        _sessions_ended,
        seconds=12.0,
        touches=ALL_ORDERS,
        signs=(logged("loop_failed", cause="connection"),),
    ),
    Sickness(
        "database-read-only",
        "PostgreSQL, which is no longer the primary",
        "a database refuses every write: loops wait, nothing is dead-lettered, and all go on after it",
        _with_settings("default_transaction_read_only=on"),
        touches=ALL_ORDERS,
        signs=(not_ready(), logged("loop_failed", cause="read_only"), _NO_DEAD_LETTER),
    ),
    Sickness(
        "database-disk-full",
        "the disk of PostgreSQL's journal",
        "the disk of a table is full for more than a minute: loops wait, their cause is shown, and nothing is lost",
        _full_disk,
        seconds=75.0,
        touches=ALL_ORDERS,
        signs=(
            metric('orderflow_loop_failing{cause="disk_full"'),
            logged("loop_failing", cause="disk_full"),
            _NO_DEAD_LETTER,
        ),
        recovery_seconds=90.0,
        cannot_play="" if os.geteuid() == 0 else "it mounts a small disk, and only root may do that",
    ),
    Sickness(
        "database-table-locked",
        "the table commands",
        "somebody holds a lock on a table: loops wait, and go on when it is released",
        _holding("LOCK TABLE commands IN SHARE ROW EXCLUSIVE MODE"),
        touches=ALL_ORDERS,
        signs=(logged("loop_failed", cause="locked"),),
    ),
    Sickness(
        "database-table-locked-for-long",
        "the table commands",
        "somebody holds a lock on a table for more than a minute: the cause is locked, and nothing is dead-lettered",
        _holding("LOCK TABLE commands IN SHARE ROW EXCLUSIVE MODE"),
        seconds=75.0,
        touches=ALL_ORDERS,
        signs=(
            metric('orderflow_loop_failing{cause="locked"'),
            logged("loop_failing", cause="locked"),
            _NO_DEAD_LETTER,
        ),
        recovery_seconds=90.0,
    ),
    Sickness(
        "database-row-locked",
        "the row of one order of alpha",
        "somebody holds a lock on one order: it waits alone, and nothing is dead-lettered",
        _locked_order,
        seconds=40.0,
        signs=(
            logged("loop_failed", cause="locked"),
            _NO_DEAD_LETTER,
        ),
        recovery_seconds=60.0,
    ),
    Sickness(
        "database-shop-locked",
        "the rows of all orders of alpha",
        "somebody holds all orders of a shop locked, and Mirakl shows changes of them: the other shop's orders go on",
        _locked_shop,
        seconds=30.0,
        touches=shop("alpha"),
        signs=(logged("loop_failed", cause="locked"), _NO_DEAD_LETTER),
        recovery_seconds=60.0,
    ),
    Sickness(
        "database-old-snapshot",
        "a transaction at PostgreSQL",
        "somebody holds a snapshot open: no row can be cleaned up, and nothing waits",
        _holding("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ", "SELECT count(*) FROM orders"),
        seconds=14.0,
        short_seconds=6.0,
        unseen="nothing waits, so nothing has to be shown",
    ),
    Sickness(
        "database-no-session-left",
        "the sessions at PostgreSQL",
        "others use up all sessions: the service goes on with those that it has",
        _no_session_left,
        seconds=14.0,
        touches=ALL_ORDERS,
        unseen="the service goes on with the sessions that it has",
    ),
    Sickness(
        "topic-without-leader",
        "the broker that alone has the topic of the transitions",
        "a topic without a leader: its records wait in the outbox, and orders go on",
        _topic_without_leader,
        seconds=26.0,
        touches=before(14.0),
        signs=(metric("orderflow_outbox_unpublished{"), logged("loop_failed", loop="relay")),
        brokers=3,
        recovery_seconds=60.0,
    ),
    Sickness(
        "broker-frozen",
        "the Kafka broker",
        "a broker takes connections and answers nothing: probes and metrics answer, callbacks are refused at once",
        _broker_frozen,
        touches=ALL_ORDERS,
        signs=(logged("loop_failed", cause="timeout"),),
    ),
)
