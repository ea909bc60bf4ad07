"""Starts the service of a rig again with other settings, on the same store and the same simulated remotes."""

from collections.abc import Mapping
from functools import partial
from typing import Any

from adapters.remotes.mirakl import MiraklShop
from adapters.store import policies as policy_rows
from consumer import bootstrap, clients, config
from consumer.prefixes import check_references
from tests.consumer.rig import Rig, rig_settings


def start_again(rig: Rig, shop_table: Mapping[str, Any] = {}, oms_table: Mapping[str, Any] = {}) -> None:
    """Start all parts with these settings of each shop and of its table `oms`; other settings have their default. The
    policies are stored, and the housekeeping has its first turns, as at the start of a process."""
    rig.settings = rig_settings(rig.settings.store.url, rig.mirakl, shop_table, oms_table)
    bootstrap.bind_shops(rig.settings, rig.store, rig.clock)
    check_references(rig.settings, rig.store)
    rig.policies = dict(config.policies(rig.settings))
    with rig.store.transaction() as tx:
        policy_rows.store(tx, rig.policies, rig.clock.now())
    rig.base = bootstrap.new_base(
        rig.settings, clock=rig.clock, hooks=rig.base.hooks, store=rig.store, event_log=rig.log, leases=rig.leases
    )
    rig.orders = rig.base.orders
    rig.clients = {name: _client(rig, name) for name in rig.mirakl}
    rig.worker = rig.new_worker()
    rig.pollers = {name: rig.new_poller(name) for name in rig.mirakl}
    rig.consumer = rig.new_consumer()
    housekeeping = bootstrap.new_housekeeping(rig.base)
    for _ in range(2):  # the second one plans orders again that another policy planned
        housekeeping.turn()


def _client(rig: Rig, name: str) -> MiraklShop:
    called = partial(rig.base.hooks.remote_called, name)
    return clients.mirakl_client(rig.settings.shops[name], lambda: rig.keys[name], rig.clock, called, rig.nets[name])
