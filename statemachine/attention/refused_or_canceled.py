"""The rules by which an order that Mirakl refused or canceled needs a person."""

from collections.abc import Iterator
from hashlib import sha256

from statemachine.commands import CommandKind
from statemachine.facts import EPOCH, RESTORED, Attempt, Facts
from statemachine.occurrences import Begun
from statemachine.questions.in_oms import goes_on_at, unfinished_parts
from statemachine.questions.payloads import may_be_in_oms
from statemachine.questions.readings import last_answer
from statemachine.questions.receipts import dispatches_once
from statemachine.reason_of_order import Attention
from statemachine.reasons import Reason
from statemachine.states import State


def reasons_of_dead(facts: Facts, state: State) -> Iterator[Attention]:
    """Reasons of an order that Mirakl refused or canceled.

    A person has to look if goods have left, and if the OMS has or may have something of the order that did not leave
    and that the OMS has not canceled.
    """
    if facts.dispatches:
        reports = {(one.oms_id, one.items, one.covers, one.tracking.number) for one in facts.dispatches}
        told_at = max(one.told_at for one in dispatches_once(facts))
        yield Attention(Reason.CANCELED_AFTER_DISPATCH, _digest(sorted(reports)), newest=told_at)
    imported = last_answer(facts, CommandKind.IMPORT) is not None
    maybe_there = may_be_in_oms(facts) or Attempt(CommandKind.IMPORT, RESTORED) in facts.attempts
    rest = unfinished_parts(facts)
    if rest or (maybe_there and not facts.parts and not facts.dispatches):
        # Earlier versions had this reason only if nothing had left, and named no part. So then the detail stays empty,
        # and their settles still count.
        names = ",".join(str(oms_id) for oms_id in sorted(rest)) if facts.dispatches else ""
        reason = Reason.DEAD_IN_MIRAKL if state == State.REFUSED else Reason.CANCELED_AFTER_IMPORT
        # Before the first report of the OMS nobody knew whether an import without an answer had landed. So a settle
        # from before that report does not count. Nor does one from before a report that the OMS still makes the order.
        first = EPOCH if imported else min((one.at for one in facts.statuses), default=EPOCH)
        yield Attention(reason, names, after=Begun(told_at=max(first, goes_on_at(facts))))


def _digest(what: object) -> str:
    """A short name for what stands, so that a settle of one occurrence does not cover another."""
    return sha256(repr(what).encode()).hexdigest()[:8]
