"""Which payloads of an import the OMS has or may have, and whether it has the order at all."""

from typing import Final

from statemachine.commands import CommandKind
from statemachine.facts import DecisionKind, Facts, Handover, Rejection

#: How a decision to settle names the attention reason `already_in_oms` (reasons.py, Attention.token).
_ALREADY_IN_OMS: Final = "already_in_oms:"


def import_known(facts: Facts) -> bool:
    """Whether the OMS has the order: it answered the import or reported on the order, or a person said so (`orders
    handled` for the import, or a settle of `already_in_oms`).

    Its ids in the OMS may still be unknown.
    """
    if facts.parts or any(one.kind == CommandKind.IMPORT for one in facts.answers):
        return True
    return any(_ALREADY_IN_OMS in one.subject for one in facts.decisions if one.kind == DecisionKind.SETTLE)


def handed_over(facts: Facts) -> Handover | None:
    """What the newest payload carries that the OMS has or may have. None: not known, or the OMS refused every payload.

    If the OMS has the order although it refused every payload, a person said so: then the newest payload counts.
    """
    possible = [one for one in facts.handovers if not _refused(facts, one)]
    return max(possible or (facts.handovers if import_known(facts) else ()), default=None)


def landed_perhaps(facts: Facts) -> Handover | None:
    """What the newest payload carries of which the OMS refused a repeat, so that a try before may have landed."""
    possible = [one for one in facts.handovers if any(no.maybe_there for no in _refusals(facts, one))]
    return max(possible, default=None)


def _refused(facts: Facts, handover: Handover) -> bool:
    """Whether the OMS refused this payload, and no try of it before the refusal can have landed."""
    own = _refusals(facts, handover)
    return bool(own) and not any(no.maybe_there for no in own)


def _refusals(facts: Facts, handover: Handover) -> list[Rejection]:
    """The refusals of this payload: those before the next payload."""
    later = min((one.at for one in facts.handovers if one.at > handover.at), default=None)
    refusals = [no for no in facts.rejections if no.kind == CommandKind.IMPORT and no.at >= handover.at]
    return [no for no in refusals if later is None or no.at < later]


def import_refused(facts: Facts) -> bool:
    """Whether the OMS refused every payload of the import, and no try can have brought the order there."""
    refusals = [no for no in facts.rejections if no.kind == CommandKind.IMPORT]
    if not refusals or any(no.maybe_there for no in refusals):
        return False
    return all(_refused(facts, one) for one in facts.handovers)
