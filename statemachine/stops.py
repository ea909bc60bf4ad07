"""For a while an order must not be sent: the customer has to pay again, somebody else ships it or marked it shipped.

The cure of each such reason says to stop the order in the OMS. When Mirakl shows the order to be sent again, the reason
ends, and nothing tells the OMS. So the facts keep when Mirakl last showed that the order must not be sent.
"""

from collections.abc import Iterator
from datetime import datetime
from typing import Final

from statemachine.commands import Policy
from statemachine.facts import AFTER_SHIPPING, DEBIT, EPOCH, PAY_ON_SHIPMENT, Facts, Snapshot, age_of
from statemachine.in_oms import left_at
from statemachine.payloads import what_oms_got
from statemachine.reasons import Attention, Reason

PAYMENT: Final = "payment awaited"
SHIPPED: Final = "shipped"
NOT_OURS: Final = "can_shop_ship false"
_CENTRE: Final = "centre "


def stops_of(snapshot: Snapshot) -> tuple[tuple[str, datetime], ...]:
    """Why the OMS must not send an order that this read shows, each with the time at which that was so."""
    return tuple(sorted(_stops_of(snapshot)))


def _stops_of(snapshot: Snapshot) -> Iterator[tuple[str, datetime]]:
    shown_at = age_of(snapshot)[0]  # a stale read shows what was so earlier
    after_shipment = snapshot.workflow == PAY_ON_SHIPMENT or any(line.shipped for line in snapshot.lines)
    if snapshot.state in DEBIT and not after_shipment:
        yield PAYMENT, shown_at
    if snapshot.state in AFTER_SHIPPING:
        yield SHIPPED, shown_at
    if snapshot.state == "SHIPPING" and not snapshot.can_ship:
        yield NOT_OURS, snapshot.read_at
    if snapshot.state == "SHIPPING" and snapshot.centre not in ("", "DEFAULT"):
        yield _CENTRE + snapshot.centre, snapshot.read_at


def let_go_again(facts: Facts, policy: Policy, snapshot: Snapshot) -> Iterator[Attention]:
    """An order that is to be sent, and that had to be stopped in the OMS since the OMS got it. What left since then
    shows that the OMS goes on."""
    is_ours = snapshot.can_ship and snapshot.centre in policy.centres
    got = what_oms_got(facts)
    if not (is_ours and got and snapshot.owed_lines and snapshot.state == "SHIPPING"):
        return
    ours = {_CENTRE + centre for centre in policy.centres}
    since = max(got[0].at, left_at(facts, *snapshot.owed_lines))
    found = max(((at, what) for what, at in facts.stops if at > since and what not in ours), default=(EPOCH, ""))
    if found > (EPOCH, ""):
        yield Attention(Reason.GO_ON_IN_OMS, f"{found[1]} until {found[0]:%Y-%m-%d %H:%M:%S}")
