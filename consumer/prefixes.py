"""Whether the OMS has orders of a shop under a prefix that the settings do not name (`external_ref_prefix`)."""

from contextlib import closing
from functools import partial

from adapters.errors import ConfigError
from adapters.remotes.kornitx_order import beginning_with, external_ref_in
from adapters.store import commands as command_rows
from adapters.store.transaction import Store
from consumer.config import Settings


def check_references(settings: Settings, store: Store) -> None:
    """Raise ConfigError if the OMS has or may have orders to send under a prefix that the settings do not name: no
    report on them would reach them.

    Every such order is looked at. The newest one alone does not show that a former prefix is named no more too early.
    """
    for name, shop in settings.shops.items():
        prefixes = (shop.oms.external_ref_prefix, *shop.oms.former_external_ref_prefixes)
        with closing(command_rows.payloads_in_oms(store, name, partial(_beginnings, prefixes))) as others:
            for order_id, payload in others:
                reference = external_ref_in(payload)
                if reference and reference not in [prefix + order_id for prefix in prefixes]:
                    prefix = reference.removesuffix(order_id)
                    raise ConfigError(
                        f"shops.{name}.oms.external_ref_prefix: the OMS has orders of the shop under the prefix "
                        f'"{prefix}", as {reference}. Keep that prefix, or name it in former_external_ref_prefixes too'
                    )


def _beginnings(prefixes: tuple[str, ...], order_id: str) -> tuple[bytes, ...]:
    return tuple(beginning_with(prefix + order_id) for prefix in prefixes)
