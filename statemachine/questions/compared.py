"""Which read is compared with what the OMS got: as a rule the newest one before the shipment (before_shipment.py)."""

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Final

from statemachine.asked_once import asked_once
from statemachine.commands import CommandKind
from statemachine.facts import Facts, Line, Withdrawn
from statemachine.questions.before_shipment import newest_open, newest_underway, oldest_shipped
from statemachine.questions.formulas import differ
from statemachine.questions.in_oms import STANDING_STILL, is_confirmed_by_us
from statemachine.questions.payloads import may_be_in_oms, what_oms_got
from statemachine.questions.readings import is_ended_everywhere, is_sent, last_answer, ordered_pieces
from statemachine.questions.receipts import repeats
from statemachine.questions.vouches import report_known_at
from statemachine.reads_kept import LastOpen

#: A read that began later after the answer to OR24 may lack data of the customer, because Mirakl has removed them.
SOON: Final = timedelta(days=1)


@asked_once
def compared(facts: Facts) -> LastOpen | None:
    """The read that is compared with what the OMS got, with all its contents. None: it is not known.

    It is the newest read before the shipment. If the first read after it shows soon after OR24 that the parcel goes
    elsewhere, it is that one: but of its contents only this counts. Others may change because of the shipment.

    If the order was reported shipped while the OMS had goods of it (`_is_marked_too_early`), it is the newest read that
    shows the order under way: what the customer asks for counts as long as the OMS makes them. The facts do not tell
    which of these reads came before the goods left, so those of a parcel on its way count, too.
    """
    last, first, underway = newest_open(facts), oldest_shipped(facts), newest_underway(facts)
    if last and first and underway and underway > last and _is_marked_too_early(facts, first.read_at):
        return underway
    answer = last_answer(facts, CommandKind.CONFIRM)
    if last is None or first is None or answer is None or first < last or not first.has_address:
        return last
    known = dict(last.contents)
    moved = {name: digest for name, digest in first.contents if differ(known.get(name, digest), digest)}
    if not moved or first.read_at - answer.at > SOON:
        return last
    return replace(first, contents=tuple(sorted((known | moved).items())))


def _is_marked_too_early(facts: Facts, shown_at: datetime) -> bool:
    """Whether the OMS had goods of the order that had not left when a read first showed (began at `shown_at`) that
    somebody else had reported the shipment, or makes them after a person said that they had left.

    What happens later changes nothing about that: else an older read would be compared again, with what a person
    settled of a newer one. Our own OR24 follows the OMS's reports, or the word of a person (`orders sent`).
    """
    if _is_made_though_vouched(facts):
        return True
    if is_confirmed_by_us(facts) or not may_be_in_oms(facts):
        return False
    known = replace(
        facts,
        dispatches=tuple(one for one in facts.dispatches if one.told_at <= shown_at),
        cancellations=tuple(one for one in facts.cancellations if one.told_at <= shown_at),
        statuses=tuple(one for one in facts.statuses if one.at <= shown_at),
    )
    got = {line_id for one in what_oms_got(facts) for line_id, pieces in one.items if pieces}
    lines = [line for line in facts.lines if (not got or line.id in got) and not _was_taken_back(line, shown_at)]
    return any(not (is_sent(known, _as_ordered(facts, line)) or is_ended_everywhere(known, line.id)) for line in lines)


def _is_made_though_vouched(facts: Facts) -> bool:
    """Whether the OMS reported progress after a person first said that the goods had left: a status that does not say
    that an order of the OMS left."""
    vouched_at = min(report_known_at(facts).values(), default=None)
    if vouched_at is None:
        return False
    again, left = repeats(facts), {(one.oms_id, one.told_at) for one in facts.dispatches if one.covers}
    since = [one for one in facts.statuses if one.at > vouched_at and one.at not in again]
    return any(one.status not in STANDING_STILL and (one.oms_id, one.at) not in left for one in since)


def _was_taken_back(line: Line, by: datetime) -> bool:
    """Whether Mirakl had taken the line back at this time. What has no date may be later."""
    return line.is_taken_back and bool(line.withdrawn_at) and max(line.withdrawn_at) <= by


def _as_ordered(facts: Facts, line: Line) -> Line:
    """The line as it was to be sent: what Mirakl took back since does not count."""
    return replace(line, state="SHIPPED", quantity=ordered_pieces(facts, line), withdrawn=Withdrawn.NONE)
