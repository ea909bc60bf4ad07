"""What orders of the OMS send of an order that was put back to SHIPPING, though nobody waits for goods any more.

An order may be put back because its parcel is lost: then the OMS makes the goods again, and the second parcel is
wanted. Or it is put back by mistake: then a person releases it, or marks it shipped in Mirakl's portal, and a second
parcel is one too many.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Final

from statemachine.commands import CommandKind
from statemachine.facts import EPOCH, VOUCHED, Dispatch, Facts, rank_of
from statemachine.questions.before_shipment import newest_to_send
from statemachine.questions.readings import debit_comes_first, was_shipped

#: How much earlier than our clock Mirakl may date the shipment that our OR24 reports, within the second of the OMS's
#: report: it may date in whole seconds, and by a clock that is behind. Nobody puts an order back and sends it again in
#: this time.
CLOCKS_DIFFER: Final = timedelta(seconds=5)


def is_of_whole_order(facts: Facts) -> bool:
    """Whether the newest read that shows the order shipped is about all of it, as far as is known. Where Mirakl debits
    after the shipment, a debit may be of one parcel: then another read has to show the whole order shipped."""
    return debit_comes_first(facts) or (facts.snapshot is not None and was_shipped(facts, facts.snapshot.workflow))


def left_while_shipped(facts: Facts, left: datetime, shipped: datetime, to_send: datetime) -> bool:
    """Whether goods left between two dates of Mirakl: of a read that shows the order shipped, and of a later one that
    shows it to be sent. So it was put back after they had left, and no OR24 of ours was needed for them.

    The facts do not keep the first read that shows it put back. But if what the newest read shows came later than the
    put back, they keep a read without that, and it may show that the order was to be sent when the goods left.
    """
    if not (EPOCH < shipped < left < to_send and is_of_whole_order(facts)):
        return False
    read = facts.snapshot
    rank = rank_of(read.workflow if read else "", "SHIPPING")
    others = [(one.rank, one.updated_at) for one in facts.not_shown]
    others += [(one.rank, one.updated_at) for one in facts.other_values]
    return not any(of == rank and shipped < at <= left for of, at in others)


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
    read, last = facts.snapshot, newest_to_send(facts)
    if read is None or last is None:
        return None
    shipped_at = max((one.at for one in facts.answers if one.kind == CommandKind.CONFIRM), default=last.read_at)
    return None if read.state == "SHIPPING" and shipped_at <= last.read_at else max(shipped_at, last.read_at)
