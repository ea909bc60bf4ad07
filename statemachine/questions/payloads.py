"""Which payloads of an import the OMS has or may have, and whether it has the order at all."""

from dataclasses import replace

from statemachine.asked_once import asked_once
from statemachine.commands import CommandKind
from statemachine.facts import EPOCH, RESTORED, UNCLEAR, Answer, Attempt, Decision, DecisionKind, Facts, Handover
from statemachine.questions.by_field import carried
from statemachine.reasons import Reason


@asked_once
def import_known(facts: Facts) -> bool:
    """Whether the OMS has the order: it answered the import or reported on the order, or a person said so (`orders
    handled` for the import, or a settle of `already_in_oms`).

    Its ids in the OMS may still be unknown.
    """
    if facts.parts or any(one.kind == CommandKind.IMPORT for one in facts.answers):
        return True
    return settle_as_imported(facts) is not None


def settle_as_imported(facts: Facts) -> Decision | None:
    """The newest settle of `already_in_oms`, by which a person says that the OMS has the order. None: there is none."""
    return max((one for one in facts.settles if f"{Reason.ALREADY_IN_OMS}:" in one.subject), default=None)


@asked_once
def our_payloads(facts: Facts) -> tuple[Handover, ...]:
    """What our imports carry that the OMS has or may have, the oldest first. Of several, it is unknown which it has.

    A payload is left out if the OMS refused it, and no try before the refusal can have landed, or if the OMS had the
    order before the try. If the OMS confirmed an import, it has what this import carries, and no earlier payload. A
    person who says that the OMS has the order confirms none of several.
    """
    if not facts.handovers:  # of orders that are not imported yet; this saves time
        return ()
    answer = _confirming_answer(facts)
    confirmed = _confirmed(facts, answer)
    since = confirmed.at if confirmed else EPOCH
    came_late = {one for one in facts.handovers if answer and EPOCH < answer.handed_before < one.at <= answer.at}
    return tuple(
        one
        for one in facts.handovers
        if one == confirmed or (one.at >= since and one not in came_late and not _refused(facts, one))
    )


def possible_imports(facts: Facts) -> tuple[Handover, ...]:
    """Each import of ours that may have landed, the oldest first, with those that the store has forgotten.

    After a backup of the store was restored, nobody knows what was sent since the backup: the baseline counts as sent.
    """
    restored = Attempt(CommandKind.IMPORT, RESTORED) in facts.attempts
    restored = restored and _confirmed(facts, _confirming_answer(facts)) is None
    return (*(_of_baseline(facts) if restored else ()), *our_payloads(facts))


def may_be_in_oms(facts: Facts) -> bool:
    """Whether the OMS has the order, or a try of the import may have brought it there."""
    if import_known(facts) or our_payloads(facts):
        return True
    tried = any(one.kind == CommandKind.IMPORT and one.carries != RESTORED for one in facts.attempts)
    refusals = [no for no in facts.rejections if no.kind == CommandKind.IMPORT]
    return tried and (not refusals or any(no.maybe_there for no in refusals))


def was_handed_over(facts: Facts) -> bool:
    """Whether the OMS has the order, or an import that was sent may have brought it there. A claim alone sends nothing:
    the worker stores what an import carries just before it sends it, and sends none that waits for the customer's
    messages or is not needed any more."""
    return import_known(facts) or bool(possible_imports(facts))


@asked_once
def what_oms_got(facts: Facts) -> tuple[Handover, ...]:
    """What a read is compared with, the oldest first: what our imports carry, or else the baseline, if the OMS has the
    order from somebody else. Of several, nobody knows which one the OMS has. Empty: the OMS got nothing, or it is not
    known what."""
    if our_payloads(facts):
        return possible_imports(facts)
    if not import_known(facts):
        return ()
    return _of_baseline(facts) or facts.handovers[-1:]


def most_handed_over(facts: Facts, line_id: str) -> int:
    """The most pieces of the line that the OMS got (`what_oms_got`). 0: none, or it is not known."""
    return max((dict(got.items).get(line_id, 0) for got in what_oms_got(facts)), default=0)


def _of_baseline(facts: Facts) -> tuple[Handover, ...]:
    """The baseline, also without any piece of the lines that may have been left out of it. Empty: it is not known."""
    if facts.baseline is None:
        return ()
    unclear = {name.removeprefix(UNCLEAR) for name, _ in facts.baseline.contents if name.startswith(UNCLEAR)}
    items = tuple((line, 0 if line in unclear else number) for line, number in facts.baseline.items)
    return (facts.baseline, replace(facts.baseline, items=items)) if unclear else (facts.baseline,)


@asked_once
def _confirming_answer(facts: Facts) -> Answer | None:
    """The newest yes of the OMS to an import, not of a person who says so (`orders handled`)."""
    handled = (one for one in facts.decisions if one.kind is DecisionKind.HANDLED)
    by_hand = {one.at for one in handled if one.names(CommandKind.IMPORT)}
    answers = (one for one in facts.answers if one.kind == CommandKind.IMPORT and one.at not in by_hand)
    return max(answers, key=lambda one: (one.at, one), default=None)


def _confirmed(facts: Facts, answer: Answer | None) -> Handover | None:
    """What the import carries that the OMS answered with a yes. If it has the order from an earlier try: the oldest of
    the tries that carried the same, because any of them may have landed."""
    if answer is None:
        return None
    until = answer.handed_before if answer.handed_before > EPOCH else answer.at
    before = [one for one in facts.handovers if one.at <= until]
    if not before or until == answer.at:
        return max(before, default=None)
    last = max(before)
    return min(one for one in before if (one.items, carried(one)) == (last.items, carried(last)))


def _refused(facts: Facts, handover: Handover) -> bool:
    """Whether the OMS refused this payload, and no try of it before the refusal can have landed. A refusal is about the
    newest payload before it."""
    later = min((one.at for one in facts.handovers if one.at > handover.at), default=None)
    refusals = [no for no in facts.rejections if no.kind == CommandKind.IMPORT and no.at >= handover.at]
    own = [no for no in refusals if later is None or no.at < later]
    return bool(own) and not any(no.maybe_there for no in own)
