"""Which read is compared with what the OMS got: as a rule the newest one before the shipment (before_shipment.py)."""

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Final

from statemachine.asked_once import asked_once
from statemachine.commands import CommandKind
from statemachine.facts import EPOCH, VOUCHED, Facts
from statemachine.questions.before_shipment import newest_open, newest_underway, oldest_shipped
from statemachine.questions.formulas import differ
from statemachine.questions.in_oms import is_confirmed_by_us, unfinished_parts
from statemachine.questions.payloads import may_be_in_oms
from statemachine.questions.readings import is_ended_everywhere, is_sent, last_answer
from statemachine.questions.vouches import report_known_at, sent_beside_at
from statemachine.reads_kept import LastOpen

#: A read that began later after the answer to OR24 may lack data of the customer, because Mirakl has removed them.
SOON: Final = timedelta(days=1)


@asked_once
def compared(facts: Facts) -> LastOpen | None:
    """The read that is compared with what the OMS got, with all its contents. None: it is not known.

    It is the newest read before the shipment. If the first read after it shows soon after OR24 that the parcel goes
    elsewhere, it is that one: but of its contents only this counts. Others may change because of the shipment.

    If somebody else reported the shipment while the OMS had goods of the order (`_is_marked_too_early`), it is the
    newest read before the arrival: as long as the OMS makes them, what the customer asks for counts. The facts do not
    tell which of these reads came before the goods left, so those of a parcel on its way count, too.
    """
    last, first = newest_open(facts), oldest_shipped(facts)
    if last and first and first > last and _is_marked_too_early(facts, first.read_at):
        underway = newest_underway(facts)
        return underway if underway and underway.has_address and underway > last else last  # else data are removed
    answer = last_answer(facts, CommandKind.CONFIRM)
    if last is None or first is None or answer is None or first < last or not first.has_address:
        return last
    known = dict(last.contents)
    moved = {name: digest for name, digest in first.contents if differ(known.get(name, digest), digest)}
    if not moved or first.read_at - answer.at > SOON:
        return last
    return replace(first, contents=tuple(sorted((known | moved).items())))


def _is_marked_too_early(facts: Facts, shown_at: datetime) -> bool:
    """Whether the OMS had goods of the order that had not left, by its own reports, when a read first showed (began at
    `shown_at`) that somebody else had reported the shipment, or when a person said that they had left.

    Our own OR24 follows the OMS's reports, or the word of a person (`orders sent`): then only if the OMS reported since
    that it makes them, or that it sent others.
    """
    vouched_at = min(report_known_at(facts).values(), default=None)
    if (vouched_at is None and is_confirmed_by_us(facts)) or not may_be_in_oms(facts):
        return False
    if vouched_at is not None and not (unfinished_parts(facts) or sent_beside_at(facts) > EPOCH):
        return False
    by = shown_at if vouched_at is None else vouched_at
    reports = tuple(one for one in facts.dispatches if one.oms_id != VOUCHED)
    before = replace(facts, dispatches=tuple(one for one in reports if one.told_at <= by))
    late = [line for line in facts.lines if not (line.is_taken_back or is_sent(before, line))]
    return any(not is_ended_everywhere(facts, line.id) for line in late)
