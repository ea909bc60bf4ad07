"""Sicknesses of our own processes: stopped, with a wrong clock, with a log that cannot be written."""

import fcntl
import os
import signal
from collections.abc import Callable

from kafka import KafkaProducer

from consumer.config import TopicsTable
from consumer.demo.settings import PARTITIONS
from tests.sick.service import Service
from tests.sick.sickness import Sickness, Sign, Touch, before, grows, logged, metric, shop
from tests.system.next_version import make_next_version

DAY_SECONDS = 86_400


def _stopped(name: str) -> Callable[[Service], None]:
    def begin(service: Service) -> None:
        pid = service.fleet.members[name].process.pid
        os.kill(pid, signal.SIGSTOP)
        service.held.callback(os.kill, pid, signal.SIGCONT)

    return begin


#: Lets the machine's clock of a process be wrong by so many seconds. The monotonic clock stays as it is.
_WRONG_CLOCK = """
from datetime import timedelta
from adapters.clock import SystemClock
right = SystemClock.now
SystemClock.now = lambda clock: right(clock) + timedelta(seconds={seconds})
"""


def _with_clock(seconds: int, *roles: str) -> Callable[[Service], None]:
    def begin(service: Service) -> None:
        for role in roles:
            service.guest(role, first=_WRONG_CLOCK.format(seconds=seconds))

    return begin


def _without_a_codec(service: Service) -> None:
    """Start a consumer that lacks the library of a compression, and publish such a record to each partition."""
    service.guest("consumer", first="from kafka import codec\ncodec.zstd = None\n")
    producer = KafkaProducer(bootstrap_servers=service.kafka.bootstrap_servers, compression_type="zstd")
    for partition in range(PARTITIONS["snapshots"]):
        producer.send(TopicsTable().snapshots, key=b"alpha:no order", value=b"no JSON" * 100, partition=partition)
    producer.flush()
    producer.close()


def _log_on_a_full_disk(service: Service) -> None:
    full = os.open("/dev/full", os.O_WRONLY)
    service.held.callback(os.close, full)
    service.guest("consumer", stdout=full)


def _log_without_a_reader(service: Service) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    service.held.callback(os.close, writer)
    service.guest("consumer", stdout=writer)


def _log_that_nobody_reads(service: Service) -> None:
    """A pipe that is full, whose reader lives and does not read."""
    reader, writer = os.pipe()
    service.held.callback(os.close, reader)
    service.held.callback(os.close, writer)
    os.set_blocking(writer, False)
    size = fcntl.fcntl(writer, fcntl.F_GETPIPE_SZ)
    os.write(writer, b"\n" * (size - 100))
    os.set_blocking(writer, True)
    service.guest("consumer", stdout=writer)


def _beside_the_next_version(service: Service) -> None:
    """Migrate the store to the next version, and run a worker and a consumer of it."""
    folder = service.folder / "next"
    if not folder.exists():
        folder.mkdir()
        make_next_version(folder)
        service.orderflow("migrate", code=folder)
    for role in ("worker", "consumer"):
        service.guest(role, code=folder)


_SKEW = "orderflow_clock_skew_seconds"

PROCESSES = (
    Sickness(
        "consumer-stopped",
        "consumer-0, by SIGSTOP",
        "a consumer is stopped beyond its session: the other takes its partitions, and nothing is applied twice",
        _stopped("consumer-0"),
        seconds=24.0,
        touches=before(12.0),
        quiet=("consumer-0",),
        signs=(grows("orderflow_consumer_rebalances_total"),),
    ),
    Sickness(
        "poller-stopped",
        "poller-0, by SIGSTOP",
        "a poller is stopped beyond its lease: another polls its shops, and its late writes move no cursor",
        _stopped("poller-0"),
        seconds=26.0,
        touches=before(14.0),
        quiet=("poller-0",),
        signs=(metric('orderflow_leader{role="poller"'),),
    ),
    Sickness(
        "worker-stopped",
        "worker-0, by SIGSTOP",
        "a worker is stopped in the middle of its calls: the others make the calls, and only what it holds waits",
        _stopped("worker-0"),
        seconds=24.0,
        touches=before(1.0),
        quiet=("worker-0",),
        signs=(grows("orderflow_commands_total"),),
    ),
    Sickness(
        "web-stopped",
        "web-0, by SIGSTOP",
        "the process of the callbacks hangs: the OMS sends them again later, and all else goes on",
        _stopped("web-0"),
        touches=shop("beta"),
        quiet=("web-0",),
        recovery_seconds=60.0,
        unseen="the probes of web-0 do not answer",
    ),
    Sickness(
        "clock-ahead",
        "a worker and a poller whose clock is a day ahead",
        "a wrong clock has no effect: all processes go by the database's clock",
        _with_clock(DAY_SECONDS, "worker", "poller"),
        seconds=16.0,
        signs=(metric("orderflow_clock_skew_seconds", DAY_SECONDS / 2),),
    ),
    Sickness(
        "clock-behind",
        "a worker and a poller whose clock is a day behind",
        "a wrong clock has no effect: all processes go by the database's clock",
        _with_clock(-DAY_SECONDS, "worker", "poller"),
        seconds=16.0,
        signs=(Sign("metric orderflow_clock_skew_seconds", lambda seen, _: seen.lowest(_SKEW) < -DAY_SECONDS / 2),),
    ),
    Sickness(
        "consumer-without-codec",
        "a consumer that lacks a compression's library",
        "its partitions stop and say why, all others go on; the other consumers go on with them when it has ended",
        _without_a_codec,
        touches=Touch("orders of its partitions", lambda _: True),
        signs=(metric("orderflow_progress_stopped{"), logged("partition_stopped", reason="record_unreadable")),
    ),
    Sickness(
        "log-on-a-full-disk",
        "a consumer whose standard output is on a full disk",
        "a line that cannot be written is lost and counted, and the consumer goes on",
        _log_on_a_full_disk,
        seconds=10.0,
        touches=before(6.0),
        signs=(metric("orderflow_log_lines_lost_total"),),
    ),
    Sickness(
        "log-without-a-reader",
        "a consumer whose log has lost its reader",
        "a line that cannot be written is lost and counted, and the consumer goes on",
        _log_without_a_reader,
        seconds=10.0,
        touches=before(6.0),
        signs=(metric("orderflow_log_lines_lost_total"),),
    ),
    Sickness(
        "log-that-nobody-reads",
        "a consumer whose log is a pipe that is full",
        "a write of the log that blocks stops no loop: lines are lost and counted",
        _log_that_nobody_reads,
        touches=before(6.0),
        signs=(metric("orderflow_log_lines_lost_total"),),
    ),
    Sickness(
        "older-beside-newer",
        "all processes, which are older than the store",
        "the next version has migrated the store and runs beside this one: all stay ready, and no fact is lost",
        _beside_the_next_version,
        seconds=16.0,
        touches=before(8.0),
        signs=(Sign("/ready 200 of all", lambda seen, _: not seen.wrong()),),
    ),
)
