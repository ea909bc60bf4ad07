"""Builds the clients of the remotes from the settings."""

from adapters.ports import Clock, OnCall
from adapters.remotes.http import Transport
from adapters.remotes.kornitx import KornitX
from adapters.remotes.mirakl import MiraklShop
from adapters.remotes.mirakl_account import MiraklAccount
from adapters.remotes.mirakl_carriers import CarrierNames
from consumer import config
from consumer.config_shops import OmsTable, ShopTable
from consumer.secrets import Secret


def mirakl_client(
    shop: ShopTable, api_key: Secret, clock: Clock, on_call: OnCall, transport: Transport | None = None
) -> MiraklShop:
    """Make a client of one shop at Mirakl. `transport` None: the calls go to the network."""
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
    )


def account_client(
    shop: ShopTable, api_key: Secret, on_call: OnCall, transport: Transport | None = None
) -> MiraklAccount:
    """Make a client of one shop's own account at Mirakl. `transport` None: the calls go to the network."""
    return MiraklAccount(
        base_url=shop.endpoint, shop_id=shop.shop_id, api_key=api_key, on_call=on_call, transport=transport
    )


def oms_client(
    oms: OmsTable, shop: ShopTable, api_key: Secret, on_call: OnCall, transport: Transport | None = None
) -> KornitX:
    """Make a client of one shop's company at the OMS. `transport` None: the calls go to the network."""
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
    )
