"""Every check, by what is asked: the subjects of one examination."""

from collections.abc import Callable, Sequence
from concurrent.futures import TimeoutError as NotInTime
from datetime import timedelta
from functools import partial
from typing import Any, Final, TypeVar

from adapters.ports import Clock
from adapters.store.transaction import Store
from consumer.config import Settings
from consumer.operations.doctor import cluster, database, machine, remotes
from consumer.operations.doctor.cluster import Cluster
from consumer.operations.doctor.database import Database
from consumer.operations.doctor.examine import LIMIT_SECONDS, Subject, examine
from consumer.operations.doctor.findings import Check, Found, Line
from consumer.operations.doctor.remotes import AtRemote

T = TypeVar("T")
#: The rows of a subject: a check's name, its function, and the check that it needs.
Rows = Sequence[tuple[str, Callable[[T], Sequence[Found]], str]]

OF_MACHINE: Final[Rows[Settings]] = (
    ("configuration", machine.configuration, ""),
    ("secrets", machine.secrets_are_there, ""),
    ("callback_secrets", machine.callback_secrets, ""),
    ("file_modes", machine.file_modes, ""),
    ("other_files", machine.other_files, ""),
    ("ca_file", machine.ca_file, ""),
    ("codecs", machine.codecs, ""),
    ("proxy", machine.proxy, ""),
    ("ports", machine.ports, ""),
)
#: How long a check of another subject waits until it is known whether the store can be used.
STORE_SECONDS: Final = LIMIT_SECONDS / 2


def names() -> list[tuple[str, str]]:
    """Return the name of each check, and what is true if the check is ok."""
    rows: list[tuple[str, Callable[..., Any], str]] = [
        *OF_MACHINE,
        *database.CHECKS,
        *cluster.CHECKS,
        *remotes.OF_MIRAKL,
        *remotes.OF_OMS,
    ]
    return [(name, (look.__doc__ or "").strip()) for name, look, _ in rows]


def look_at_everything(
    settings: Settings,
    *,
    machine_clock: Clock,
    clock: Clock,
    transport: Any = None,
    outage: timedelta,
    limit_seconds: float = LIMIT_SECONDS,
) -> list[Line]:
    """Run every check that these settings need. Returns one line for each thing that was looked at.

    `clock`: that of the store, by which calls are counted. `transport` None: the remotes are called over the network.
    """
    store = Database(settings, machine_clock, clock)
    usable = partial(_usable, store)
    subjects = [
        Subject("", _bound(OF_MACHINE, settings)),
        Subject("", _bound(database.CHECKS, store), store.ends),
    ]
    if settings.log.kind == "kafka":
        brokers = Cluster(settings, usable, outage)
        subjects.append(Subject("", _bound(cluster.CHECKS, brokers), brokers.close))
    for rows in (remotes.OF_MIRAKL, remotes.OF_OMS):
        for name in sorted(settings.shops):
            shop = AtRemote(settings, name, clock, machine_clock, usable, transport)
            subjects.append(Subject(name, _bound(rows, shop)))
    try:
        return examine(subjects, limit_seconds)
    finally:
        store.close()


def _bound(rows: Rows[T], patient: T) -> list[Check]:
    return [Check(name, partial(look, patient), needs) for name, look, needs in rows]


def _usable(store: Database) -> Store | None:
    """Wait until the store's own checks know whether it can be used. Returns it, or None."""
    try:
        return store.fits.result(STORE_SECONDS)
    except NotInTime:
        return None
