"""Builds the clients of the remotes from the settings."""

from dataclasses import replace
from functools import lru_cache
from typing import Final

from adapters.errors import ConfigError
from adapters.ports import Clock, OnCall
from adapters.remotes.beside import Run, at_once
from adapters.remotes.http import DIRECT, Network, Transport, network
from adapters.remotes.kornitx import KornitX
from adapters.remotes.mirakl import MiraklShop
from adapters.remotes.mirakl_account import MiraklAccount
from adapters.remotes.mirakl_carriers import CarrierNames
from consumer import config
from consumer.config.secrets import Secret
from consumer.config.shops import OmsTable, ShopTable
from consumer.config.web import HttpTable

DEFAULT_HTTP: Final = HttpTable()


@lru_cache  # all clients of a process have one TLS context, because each takes time and memory
def network_of(http: HttpTable) -> Network:
    """Return how remotes are reached. Raises ConfigError if ca_file cannot be used."""
    try:
        return network(http.ca_file, http.proxy, from_environment=http.from_environment)
    except OSError as error:  # ssl.SSLError is one too
        raise ConfigError(f"http.ca_file: {http.ca_file} cannot be used ({type(error).__name__})") from error


def mirakl_client(
    shop: ShopTable,
    api_key: Secret,
    clock: Clock,
    on_call: OnCall,
    transport: Transport | None = None,
    *,
    http: HttpTable = DEFAULT_HTTP,
    connections: int = DIRECT.connections,
    beside: Run = at_once,
) -> MiraklShop:
    """Make a client of one shop at Mirakl. `transport` None: the calls go to the network.

    `connections`: how many connections there may be. `beside` runs the reads of the marketplace's settings.
    """
    return MiraklShop(
        base_url=shop.endpoint,
        shop_id=shop.shop_id,
        api_key=api_key,
        on_call=on_call,
        clock=clock,
        timeout_seconds=shop.timeout_seconds,
        order_tax_mode=shop.order_tax_mode,
        carrier_names=CarrierNames(shop.carriers, shop.other_carrier),
        transport=transport,
        beside=beside,
        network=replace(network_of(http), connections=connections),
    )


def account_client(
    shop: ShopTable,
    api_key: Secret,
    on_call: OnCall,
    transport: Transport | None = None,
    *,
    http: HttpTable = DEFAULT_HTTP,
) -> MiraklAccount:
    """Make a client of one shop's own account at Mirakl. `transport` None: the calls go to the network."""
    return MiraklAccount(
        base_url=shop.endpoint,
        shop_id=shop.shop_id,
        api_key=api_key,
        on_call=on_call,
        transport=transport,
        network=network_of(http),
    )


def oms_client(
    oms: OmsTable,
    shop: ShopTable,
    api_key: Secret,
    on_call: OnCall,
    transport: Transport | None = None,
    *,
    http: HttpTable = DEFAULT_HTTP,
    connections: int = DIRECT.connections,
) -> KornitX:
    """Make a client of one shop's company at the OMS. `transport` None: the calls go to the network.

    `connections`: how many connections there may be.
    """
    return KornitX(
        base_url=oms.base_url,
        rules=config.order_rules(shop),
        api_key=api_key,
        auth_encoding=oms.auth_encoding,
        duplicate_codes=oms.duplicate_codes,
        rate_limit_codes=oms.rate_limit_codes,
        duplicate_message_regex=oms.duplicate_message_regex,
        rate_limit_message_regex=oms.rate_limit_message_regex,
        rate_limit_pause_seconds=oms.rate_limit_pause_seconds,
        timeout_seconds=oms.timeout_seconds,
        on_call=on_call,
        transport=transport,
        network=replace(network_of(http), connections=connections),
    )
