"""What differs between an account at Mirakl (A01) and the configuration of its shop (docs/mirakl.md 5.1). No calls."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from adapters.errors import RemoteError
from adapters.messages.text import instant, storable


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that differs, and what a person does about it. If `wrong` is False, nothing has to be corrected."""

    field: str
    found: str
    cure: str
    wrong: bool = True


def compare(account: Mapping[str, Any], shop_id: int, now: datetime) -> list[Finding]:
    """Compare an answer of A01 with the configured shop id, and look for what keeps the shop from selling."""
    found: list[Finding] = []
    found += _shop_id(account, shop_id)
    currency = _text(account, "currency_iso_code")
    if not (len(currency) == 3 and currency.isalpha()):
        found.append(Finding("currency_iso_code", currency, "ask Mirakl: no order can be imported without a currency"))
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
    return found


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


def _text(account: Mapping[str, Any], name: str) -> str:
    value = account.get(name)
    return storable(value, 40) if isinstance(value, str) else ""
