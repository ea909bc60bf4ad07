"""How a person's decision ends a reason. urgency.py says which kind of decision ends which reason."""

from typing import Final

from statemachine.facts import DecisionKind, Facts
from statemachine.questions.ids_in_text import read
from statemachine.reason_of_order import Attention
from statemachine.reasons import Reason
from statemachine.urgency import EndsBy

#: The rules of these reasons compare with what a person settled. So a change, one back, and the first one again are
#: three reasons, even if the first and the last have one token.
_COMPARED: Final = (Reason.LINES_CANCELED_AFTER_IMPORT, Reason.LINES_ADDED_AFTER_IMPORT, Reason.CHANGED_AFTER_IMPORT)


def is_ended(facts: Facts, one: Attention) -> bool:
    """Whether a person ended this occurrence of the reason.

    Earlier versions did not name what stood. Such a settle covers all that was known then, and nothing newer. Other
    earlier versions wrote an id of a line as it is, also with a comma in it.
    """
    if one.reason in _COMPARED or not facts.decisions:
        return False
    ends = [decision for decision in facts.decisions if decision.kind is _ended_by(one)]
    tokens = {one.token, read(one.token)}
    if any(one.after.is_known_to(decision) and tokens.intersection(decision.subject) for decision in ends):
        return True
    before = (decision.at for decision in ends if f"{one.reason}:" in decision.subject)
    return one.newest is not None and any(at >= one.newest for at in before)


def can_be_settled(one: Attention) -> bool:
    """Whether `orders settle` may end this reason: the table says so, or the reason is `already_in_oms`, by which a
    person says that the order in the OMS is this one."""
    return one.about.ends_by is EndsBy.SETTLE or one.reason is Reason.ALREADY_IN_OMS


def _ended_by(one: Attention) -> DecisionKind | None:
    """The kind of decision that ends this reason, if the decision names it.

    In earlier versions a person could settle any reason, so a stored settle still ends reasons that hold no call.
    """
    if one.about.ends_by is EndsBy.RELEASE:
        return None if one.reason is Reason.HELD else DecisionKind.RELEASE
    return None if one.about.ends_by is EndsBy.FACT and one.about.holds else DecisionKind.SETTLE
