"""What differs between an account at Mirakl (A01) and the configuration of its shop (docs/mirakl.md 5.1). No calls."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final
from urllib.parse import urlsplit

from adapters.errors import RemoteError
from adapters.messages.text import instant, storable
from adapters.remotes.mirakl_account import Platform
from consumer.config.shops import ShopTable

_DOMAIN: Final = "mirakl.net"


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that differs, and what a person does about it. If `wrong` is False, nothing has to be corrected."""

    field: str
    found: str
    cure: str
    wrong: bool = True


def compare(
    account: Mapping[str, Any],
    table: ShopTable,
    now: datetime,
    platform: Platform | None = None,
    orders: Mapping[str, str] | None = None,
) -> list[Finding]:
    """Compare an answer of A01 with the shop's configuration, and look for what keeps the shop from selling.

    A01 names neither the marketplace nor a payment workflow. So `platform` (PC01) is compared too, and `orders`: an
    order of the shop for each workflow that its newest orders have. None: not known.
    """
    found = [
        *_shop_id(account, table.shop_id),
        *_host(account, table, platform),
        *_currency(_text(account, "currency_iso_code"), table.currency),
    ]
    state, suspension = _text(account, "shop_state"), _text(account, "suspension_type")
    if state != "OPEN":
        cure = "open the shop at Mirakl; orders that exist still have to be shipped"
        found.append(Finding("shop_state", f"{state} {suspension}".strip(), cure, wrong=state != "CLOSE"))
    closed_from, closed_to = instant(account.get("closed_from")), instant(account.get("closed_to"))
    if closed_from is not None and (closed_to is None or closed_to > now):
        until = f"{closed_to:%Y-%m-%d}" if closed_to else "no end"
        cure = "no order comes in this time; change the dates at Mirakl if that is not intended"
        found.append(Finding("closed_from, closed_to", f"{closed_from:%Y-%m-%d} to {until}", cure, wrong=False))
    model = _text(account, "model")
    if model not in ("", "MARKETPLACE"):
        cure = "orderflow is tried with MARKETPLACE only; look at the first orders before you resume the shop"
        found.append(Finding("model", model, cure, wrong=False))
    return found + _workflows(table.payment_workflows, platform, orders or {})


def of_failure(error: RemoteError) -> Finding:
    """What a failed read (A01, SH21) says about the configuration."""
    cures = {
        401: "the key is wrong: put the shop's present key into api_key_file",
        403: "the key may not read the account (PARTNER_SHOP_READ), or shop_id is another seller's",
        404: "no Mirakl answers here: correct hostname",
        429: "too many calls: try again tomorrow",
    }
    cure = cures.get(error.status, "Mirakl gives no usable answer: check hostname and network, try again tomorrow")
    return Finding(error.operation, error.outcome, cure)


def is_another_shop(account: Mapping[str, Any], shop_id: int) -> bool:
    """Whether the account is that of another shop. An answer without a readable shop id proves nothing."""
    found = account.get("shop_id")
    return isinstance(found, int) and not isinstance(found, bool) and found != shop_id


def _shop_id(account: Mapping[str, Any], shop_id: int) -> list[Finding]:
    found = account.get("shop_id")
    if found == shop_id and not isinstance(found, bool):
        return []
    cure = f"the configuration says {shop_id}: correct shop_id, or use the key of that shop, then `shops resume`"
    return [Finding("shop_id", storable(str(found), 40), cure)]


def _host(account: Mapping[str, Any], table: ShopTable, platform: Platform | None) -> list[Finding]:
    """Compare the host with the marketplace's name in PC01, else with the addresses of the shop's pictures.

    That a host of mirakl.net begins with this name is inferred, so a difference does not count as wrong.
    """
    name, _, domain = (table.hostname or "").partition(".")
    if domain != _DOMAIN:
        return []  # a host of the operator's own, or a simulator
    if platform is not None and platform.tenant:
        shown = {platform.tenant.lower()}
    else:
        hosts = [_host_of(_text(account, picture, 2000)) for picture in ("logo", "banner")]
        shown = {host.removesuffix(f".{_DOMAIN}") for host in hosts if host.endswith(f".{_DOMAIN}")}
    if not shown or name in shown:
        return []
    others = " and ".join(sorted(shown))
    cure = f"the configuration says {name}: correct hostname, unless both are the same marketplace"
    return [Finding("hostname", storable(others, 80), cure, wrong=False)]


def _currency(found: str, expected: str | None) -> list[Finding]:
    if not (len(found) == 3 and found.isalpha()):
        cure = "ask Mirakl: the shop has no currency, so look at the currency of its first orders in the OMS"
    elif expected and found != expected:
        cure = f"the configuration says {expected}: correct currency, or hostname and key of the shop"
    else:
        return []
    return [Finding("currency_iso_code", found, cure)]


def _workflows(expected: Collection[str], platform: Platform | None, orders: Mapping[str, str]) -> list[Finding]:
    if not expected:
        return []
    cure = "correct payment_workflows, or hostname: this marketplace does not offer it (PC01)"
    off = sorted(set(expected) & (platform.without if platform else frozenset()))
    found = [Finding("payment_workflows", workflow, cure) for workflow in off]
    cure = "this customer pays at another time: add it to payment_workflows if that is right, else ask the operator"
    for workflow, order_id in sorted(orders.items()):
        if workflow not in expected:
            found.append(Finding("payment_workflow", storable(f"{workflow}, such as {order_id}", 120), cure))
    return found


def _host_of(address: str) -> str:
    try:
        return urlsplit(address).hostname or ""
    except ValueError:  # brackets that are no IPv6 address
        return ""


def _text(account: Mapping[str, Any], name: str, length: int = 40) -> str:
    value = account.get(name)
    return storable(value, length) if isinstance(value, str) else ""
