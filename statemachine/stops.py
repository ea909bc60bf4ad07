"""For a while an order or a line must not be sent: payment is awaited again, or somebody else ships it, for example.

The cure of each such reason says to stop the order in the OMS. When Mirakl shows the order to be sent again, the reason
ends, and nothing tells the OMS. So the facts keep when Mirakl last showed that the order must not be sent.
"""

from collections.abc import Iterator
from datetime import datetime
from typing import Final

from statemachine.commands import Policy
from statemachine.facts import AFTER_SHIPPING, DEBIT, PAY_ON_SHIPMENT, DecisionKind, Facts, Line, Snapshot, age_of
from statemachine.in_oms import left_at
from statemachine.payloads import what_oms_got
from statemachine.reason_of_order import Attention
from statemachine.reasons import Reason
from statemachine.settled import settled_pieces

PAYMENT: Final = "payment awaited"
SHIPPED: Final = "shipped"
NOT_OURS: Final = "can_shop_ship false"
_CENTRE: Final = "centre "
_SHIPPED_LINE: Final = "shipped: "
_INCIDENT: Final = "incident of "
_GONE: Final = "gone from Mirakl"
#: Asked for by canceled_by_oms.py, not here: `lines_added_after_import` is about a line that is taken back no more.
TAKEN_BACK: Final = "taken back: "


def stops_of(snapshot: Snapshot) -> tuple[tuple[str, datetime], ...]:
    """Why the OMS must not send an order that this read shows, each with the time at which that was so."""
    return tuple(sorted(_stops_of(snapshot)))


def _stops_of(snapshot: Snapshot) -> Iterator[tuple[str, datetime]]:
    shown_at = age_of(snapshot)[0]  # a stale read shows what was so earlier
    marked = [line for line in snapshot.lines if line.shipped or line.state in AFTER_SHIPPING]
    after_shipment = snapshot.workflow == PAY_ON_SHIPMENT or marked
    if snapshot.state in DEBIT and not after_shipment:
        yield PAYMENT, shown_at
    if snapshot.state in AFTER_SHIPPING or (snapshot.state in DEBIT and after_shipment):
        in_part = snapshot.state in DEBIT and 0 < len(marked) < len(snapshot.lines)
        yield from [] if in_part else [(SHIPPED, shown_at)]
    if snapshot.state in ("SHIPPING", *DEBIT):
        yield from ((_SHIPPED_LINE + line.id, shown_at) for line in marked)
    if snapshot.state == "SHIPPING" and not snapshot.can_ship:
        yield NOT_OURS, snapshot.read_at
    if snapshot.state == "SHIPPING" and snapshot.centre not in ("", "DEFAULT"):
        yield _CENTRE + snapshot.centre, snapshot.read_at
    for line in snapshot.lines:
        if snapshot.state == "SHIPPING" and line.has_incident:
            yield _INCIDENT + line.id, shown_at
        if snapshot.state == "SHIPPING" and line.is_taken_back:
            yield TAKEN_BACK + line.id, shown_at


def let_go_again(facts: Facts, policy: Policy, snapshot: Snapshot) -> Iterator[Attention]:
    """An order that is to be sent, and that had to be stopped in the OMS since the OMS got it. What left since then
    shows that the OMS goes on."""
    if not (facts.stops or facts.decisions):  # many orders have neither; this saves time
        return
    is_ours = snapshot.can_ship and snapshot.centre in policy.centres
    got = what_oms_got(facts)
    if not (is_ours and got and snapshot.owed_lines and snapshot.state == "SHIPPING"):
        return
    found = []
    for what, at in (*facts.stops, *_gone(facts, snapshot)):
        lines = _lines_of(facts, policy, snapshot, what, got[0].at) if at > got[0].at else ()
        if lines and at > left_at(facts, *lines):
            found.append((at, what))
    if found:
        at, what = max(found)
        yield Attention(Reason.GO_ON_IN_OMS, f"{what} until {at:%Y-%m-%d %H:%M:%S}")


def _gone(facts: Facts, snapshot: Snapshot) -> Iterator[tuple[str, datetime]]:
    """When a person settled that Mirakl does not show the order, and a later read shows it."""
    for one in facts.decisions:
        names_it = one.kind is DecisionKind.SETTLE and one.names(Reason.GONE_FROM_MIRAKL)
        if names_it and one.at < snapshot.read_at:
            yield _GONE, one.at


def _lines_of(facts: Facts, policy: Policy, snapshot: Snapshot, what: str, since: datetime) -> tuple[Line, ...]:
    """The lines that were stopped for this and are to be sent now. Where a person settled the incident of a line,
    `lines_added_after_import` asks for the line (settled.py)."""
    if what.startswith(TAKEN_BACK) or (what.startswith(_CENTRE) and what.removeprefix(_CENTRE) in policy.centres):
        return ()
    if what.startswith(_SHIPPED_LINE):
        return tuple(one for one in snapshot.owed_lines if what == _SHIPPED_LINE + one.id and not one.shipped)
    if not what.startswith(_INCIDENT):
        return snapshot.owed_lines
    settled = settled_pieces(facts, since)
    return tuple(one for one in snapshot.owed_lines if what == _INCIDENT + one.id and one.id not in settled)
