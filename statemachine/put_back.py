"""What orders of the OMS send of an order that was put back to SHIPPING, though nobody waits for goods any more.

An order may be put back because its parcel is lost: then the OMS makes the goods again, and the second parcel is
wanted. Or it is put back by mistake: then a person releases it, or marks it shipped in Mirakl's portal, and a second
parcel is one too many.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Final

from statemachine.before_shipment import newest_open
from statemachine.commands import CommandKind
from statemachine.facts import VOUCHED, Dispatch, Facts

#: How much earlier than our clock Mirakl may date the shipment that our OR24 reports, within the second of the OMS's
#: report: it may date in whole seconds, and by a clock that is behind. Nobody puts an order back and sends it again in
#: this time.
CLOCKS_DIFFER: Final = timedelta(seconds=5)


def sent_unasked(facts: Facts, put_back: datetime, each: Sequence[Dispatch]) -> tuple[Dispatch, ...]:
    """Those of these dispatches that were reported after our OR24, or after Mirakl showed the order shipped again.
    `put_back`: when Mirakl showed it shipped before.

    Not those of an order of the OMS that sent some of it before, nor of one on which the OMS first reported in between:
    a person who has the goods made again does so before the release.
    """
    until = _to_be_sent_until(facts)
    if until is None:
        return ()
    first: dict[int, datetime] = {}
    reports = [(one.oms_id, one.at) for one in facts.statuses] + [(one.oms_id, one.told_at) for one in facts.dispatches]
    for oms_id, at in reports:
        first[oms_id] = min(at, first.get(oms_id, at))
    sent = {VOUCHED, *(one.oms_id for one in facts.dispatches if one.told_at <= put_back)}
    expected = {oms_id for oms_id, at in first.items() if put_back < at <= until}
    return tuple(one for one in each if one.told_at > until and one.oms_id not in sent | expected)


def _to_be_sent_until(facts: Facts) -> datetime | None:
    """Until when an order that was put back was to be sent again: until our newest OR24 since then, or else until the
    newest read that shows it so. None: it is to be sent now."""
    read, last = facts.snapshot, newest_open(facts)
    if read is None or last is None:
        return None
    shipped_at = max((one.at for one in facts.answers if one.kind == CommandKind.CONFIRM), default=last.read_at)
    return None if read.state == "SHIPPING" and shipped_at <= last.read_at else max(shipped_at, last.read_at)
