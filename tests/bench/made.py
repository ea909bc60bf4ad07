"""Orders as OR11 would list them, for the benchmarks."""

import json
from datetime import UTC, datetime
from typing import Any

from adapters.simulators.orders import ALPHA, Line, build_order

#: Fields of a simulated order that orderflow never reads. They are left out, so that an order has about 2 kB, as in
#: docs/performance.md.
LEFT_OUT = ("billing_address", "commission_taxes", "shipping_taxes", "taxes", "offer_state_code", "category_label")


#: When the orders were created, unless a benchmark says when: all their deadlines are over.
CREATED = datetime(2026, 3, 1, 12, tzinfo=UTC)


def order_bytes(number: int, state: str, read_at: datetime, made: datetime = CREATED) -> bytes:
    """One order as OR11 would list it."""
    order = build_order(ALPHA, f"{number:08d}-A", created=made, lines=[Line("MUG-11OZ-WHT")], state=state)
    order["last_updated_date"] = read_at.strftime("%Y-%m-%dT%H:%M:%SZ")
    return json.dumps(_trimmed(order)).encode()


def _trimmed(value: Any) -> Any:
    if isinstance(value, dict):
        kept = {name: one for name, one in value.items() if name not in LEFT_OUT}
        return {name: _trimmed(one) for name, one in kept.items() if one not in (None, "", [], {}, False, 0)}
    return [_trimmed(one) for one in value] if isinstance(value, list) else value
