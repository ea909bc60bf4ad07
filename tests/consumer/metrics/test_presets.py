"""Which series exist from the start: those that the process's roles count. And how many there are with fifty shops."""

import re
from collections.abc import Collection
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, Final

import pytest
import sqlalchemy as sa

from adapters.errors import Retryable, Unreadable, UnreadableReason
from adapters.messages.oms_events import unread_callback
from adapters.ports import NewRecord
from adapters.remotes.http import CallOutcome
from adapters.simulators.orders import COMPANIES
from adapters.store import schema as s
from adapters.store import shops as shop_rows
from adapters.store.attention_json import attention_to_json
from consumer import config
from consumer.bootstrap import new_housekeeping, oms_budget
from consumer.calling.accounts import Account, AccountKey
from consumer.hooks import HOOKS, Applied, CallbackResult, Hooks, PollResult
from consumer.metrics.definitions import METRICS, Type
from consumer.metrics.labels import ALERTED_CALLBACK_RESULTS, ALERTED_OUTCOMES, ROLES
from consumer.metrics.presets import no_presets
from consumer.metrics.recorder import Recorder
from consumer.metrics.stored import AccountBudget, StoredGauges
from statemachine.commands import Remote
from statemachine.events import Trigger
from statemachine.facts import DecisionKind
from statemachine.machine import EventResult
from statemachine.reason_of_order import StandingAttention
from statemachine.reasons import REASONS
from statemachine.states import State
from tests.consumer.housekeeping.test_decision_count import LATER, decide
from tests.consumer.metrics.exported import families, labels_of, series
from tests.consumer.rig import OMS_EVENTS, Rig
from tests.statemachine.lives import read, snapshot_event
from tests.support import LONG, StillClock

MONITORING: Final = Path(__file__).resolve().parents[3] / "k8s" / "monitoring"
SHOPS: Final = [f"shop-{number}" for number in range(50)]
HOUR: Final = 3600


def of_roles(roles: Collection[str]) -> Recorder:
    return Recorder({"alpha": 60}, "1", StillClock(), roles=roles)


def counted(recorder: Recorder) -> set[tuple[str, ...]]:
    """The series of counters that a process exports, by name and labels."""
    return {one for one in exported(recorder) if one[0] in METRICS and METRICS[one[0]].type is Type.COUNTER}


def exported(recorder: Recorder) -> set[tuple[str, ...]]:
    return {
        (sample.name, *(f"{label}={value}" for label, value in sample.labels.items()))
        for family in families(recorder)
        for sample in family.samples
    }


# -- Each role has the series that it counts ---------------------------------------------------------------------


class ByRole(Hooks):
    """A recorder for each role. What happens is counted by that of the role which acts now, as in a process of it."""

    def __init__(self) -> None:
        self.role = "poller"
        self.recorders = {role: of_roles([role]) for role in ROLES}
        for name in HOOKS:
            setattr(self, name, partial(self._count, name))

    def _count(self, hook: str, *args: Any, **kwargs: Any) -> None:
        getattr(self.recorders[self.role], hook)(*args, **kwargs)

    def born_later(self) -> set[tuple[str, ...]]:
        """The series that were counted and did not exist from the start. Of calls and callbacks only those that alerts
        read, and no metric without presets."""
        unread = {f"outcome={one}" for one in CallOutcome if one not in ALERTED_OUTCOMES}
        unread |= {f"result={one}" for one in CallbackResult if one not in ALERTED_CALLBACK_RESULTS}
        found = {
            (role, *one)
            for role, recorder in self.recorders.items()
            for one in counted(recorder) - counted(of_roles([role]))
            if METRICS[one[0]].presets is not no_presets
        }
        return {one for one in found if not unread.intersection(one)}


def test_what_a_role_counts_exists_in_its_processes_from_the_start(tmp_path: Path) -> None:
    """A life of orders, in which each role does its part."""
    by = ByRole()
    rig = Rig(tmp_path, hooks=by)
    keeper = new_housekeeping(rig.base)

    def turn() -> None:
        rig.clock.advance(1)
        by.role = "poller"
        try:
            rig.pollers["alpha"].run()
        except Retryable as error:
            by.poll_failed("alpha", error)
        by.role = "consumer"
        rig.consume()
        by.role = "worker"
        rig.work()
        keeper.turn()

    turn()
    rig.add("1-A")
    rig.fail("OR21", "503")
    turn()
    rig.clock.advance(HOUR)
    turn()
    rig.mirakl["alpha"].confirm_debit("1-A")
    rig.fail("OR11", "503")
    turn()
    turn()
    decide(rig, DecisionKind.SENT)
    rig.clock.advance(LATER)
    turn()
    rig.oms.dispatch("1-A", tracking="T1", carrier="DPD UK")
    rig.fail("OR23", "503")
    turn()
    rig.clock.advance(HOUR)
    turn()
    rig.add("2-A", state="SHIPPING")
    turn()
    rig.oms.dispatch("2-A", tracking="T2", carrier="DPD UK")
    turn()
    rig.log.publish([NewRecord(OMS_EVENTS, b"1-A", b"{")])
    rig.add("3-A")
    turn()
    by.role = "web"
    ids, body = config.shop_ids(rig.settings), b'{"external_ref": "3-A"}'
    error = Unreadable(UnreadableReason.MISSING_FIELD, "id")
    event = unread_callback(ids, COMPANIES["alpha"], body, error, rig.clock.now())
    assert event is not None
    rig.orders.keep([event], [])
    by.callback_dead_lettered(UnreadableReason.MISSING_FIELD)
    for result in CallbackResult:
        by.callback_answered("alpha", result)
    moved = {role: moves(recorder) for role, recorder in by.recorders.items()}
    assert {role for role, count in moved.items() if count} == {"consumer", "worker"}
    assert moved["consumer"] >= 3
    assert moved["worker"] >= 2
    assert by.born_later() == set()


def moves(recorder: Recorder) -> float:
    """How many changes of state were counted."""
    (family,) = [one for one in families(recorder) if one.name == "orderflow_transitions"]
    return sum(sample.value for sample in family.samples)


def test_the_roles_together_have_the_series_of_a_process_with_all_of_them() -> None:
    apart = set().union(*(counted(of_roles([role])) for role in ROLES))
    assert apart == counted(of_roles(ROLES))
    assert counted(of_roles(["web"])) < apart


def test_a_process_has_no_transitions_that_another_role_counts() -> None:
    """They are most of what 50 shops export: 81 for each shop."""
    name = "orderflow_transitions_total"
    moves_of = {role: {one for one in counted(of_roles([role])) if one[0] == name} for role in ROLES}
    assert (moves_of["poller"], moves_of["web"], moves_of["consumer"] & moves_of["worker"]) == (set(), set(), set())


@pytest.mark.parametrize("role", ROLES)
def test_gauges_by_which_an_alert_finds_that_a_role_is_missing_are_in_every_process(role: str) -> None:
    """OrdersPollStale, OrdersNoLeader, OrdersPollerAbsent, OrdersNoConsumer and OrdersRoleMissing read them."""
    assert {
        ("orderflow_poll_last_success_timestamp_seconds", "shop=alpha"),
        ("orderflow_poll_interval_seconds", "shop=alpha"),
        ("orderflow_consumer_assigned_partitions",),
        *(("orderflow_role_running", f"role={one}") for one in ROLES),
    } <= exported(of_roles([role]))


# -- How many there are ------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def busy(tmp_path_factory: pytest.TempPathFactory) -> Rig:
    """Fifty shops, each with an order."""
    rig = Rig(tmp_path_factory.mktemp("busy"))
    rig.imported()
    with rig.store.transaction() as tx:
        for number, name in enumerate(SHOPS):
            shop_rows.bind(tx, name, f"https://{name}", number, effects=True, now=rig.clock.now())
    first = snapshot_event(read("SHIPPING"))
    rig.orders.apply([replace(first, shop=name, source=f"/test/{name}") for name in SHOPS])
    return rig


def used(rig: Rig, roles: Collection[str], reasons: int) -> Recorder:
    """A process with these roles after use: each shop has an order with so many attention reasons; each histogram has
    its series, of both topics, and of each state that an order has left. Each role counts here what other roles count,
    too, so that the numbers are upper limits."""
    standing = [StandingAttention(reason, since=rig.clock.now()) for reason in tuple(REASONS)[:reasons]]
    with rig.store.transaction() as tx:
        tx.execute(sa.update(s.orders).values(attention=attention_to_json(standing)))
    metrics = Recorder(dict.fromkeys(SHOPS, 60.0), "1", rig.clock, roles=roles)
    if "worker" in roles:
        metrics.watch_accounts({AccountKey(name, remote): Account() for name in SHOPS for remote in Remote})
        metrics.watch_catalogs({name: lambda: 0 for name in SHOPS})
    if "poller" in roles:
        for name in SHOPS:
            metrics.watch_lease("poller", name, lambda: True)
    budgets = {name: AccountBudget("1", oms_budget(rig.settings)) for name in SHOPS}
    metrics.registry.register(StoredGauges(rig.store, rig.clock, SHOPS, budgets, wait_seconds=LONG))
    event = snapshot_event(read("SHIPPING"))
    for state in State:
        after = replace(rig.row(), state=State.REFUSED if state != State.REFUSED else State.CANCELED)
        metrics.event_applied(Applied(event, after, EventResult.MOVED, state, 1))
    applied = Applied(event, rig.row(), EventResult.MOVED, State.NEW, 1)
    metrics.batch_applied([], [applied, replace(applied, event=replace(event, trigger=Trigger.OMS_EVENT))], [])
    for name in SHOPS:
        for operation in ("OR11", "OR21", "OR23", "OR24"):
            metrics.remote_called(name, "mirakl", operation, "2xx", 0.1)
        metrics.remote_called(name, "oms", "import_order", "2xx", 0.1)
        metrics.poll_ended(name, PollResult(new=1), 1)
        metrics.callback_answered(name, CallbackResult.TAKEN)
    return metrics


@pytest.mark.parametrize(
    ("roles", "reasons"),
    [*(pytest.param([role], 10, id=role) for role in ROLES), pytest.param(ROLES, 7, id="all")],
)
def test_fifty_shops_stay_within_the_budget(busy: Rig, roles: Collection[str], reasons: int) -> None:
    """A process of all roles is for a few shops on SQLite, and keeps the budget with fifty too."""
    found = families(used(busy, roles, reasons))
    by_name = series(found)
    assert by_name["orderflow_attention"] == reasons * len(SHOPS)
    assert by_name.total() < 10_000
    for family in found:
        if "shop" not in labels_of(family) and family.type != Type.HISTOGRAM:
            assert by_name[family.name] <= 100, family.name


def test_a_metric_that_neither_an_alert_nor_the_dashboard_reads_has_no_series_before_its_use() -> None:
    """With 50 shops these were 450 series, of 10,716."""
    read = "".join((MONITORING / name).read_text() for name in ("rules/alerts.yaml", "dashboards/orderflow.json"))
    preset = {name for name, metric in METRICS.items() if metric.presets is not no_presets}
    assert {name for name in preset if not re.search(rf"{name}\b", read)} == set()
