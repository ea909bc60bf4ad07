"""Orders that Mirakl does not show any more."""

from datetime import datetime

from statemachine.commands import Policy
from statemachine.facts import EPOCH, Decision, Facts


def not_found_since_read(facts: Facts) -> tuple[datetime, ...]:
    """The reads by id that did not show the order since a read last showed it. Empty if no read ever showed it."""
    newest = facts.newest
    return tuple(at for at in facts.not_found if at > newest.read_at) if newest else ()


def is_gone(facts: Facts, policy: Policy) -> bool:
    """Whether two reads by id, `gone_after` or more apart, did not show the order, and no read between or after did."""
    missed = not_found_since_read(facts)
    return bool(missed) and missed[-1] - missed[0] >= policy.gone_after


def is_next_miss(facts: Facts, policy: Policy, at: datetime) -> bool:
    """Whether a read at `at` that did not show the order has to be kept as a fact. Two such reads are kept: the first
    one, and the one that proves that the order is gone."""
    missed = not_found_since_read(facts)
    if facts.newest is None or at <= facts.newest.read_at or is_gone(facts, policy):
        return False
    return not missed or at - missed[0] >= policy.gone_after


def misses_known_to(facts: Facts, decision: Decision) -> set[datetime]:
    """The reads by id that did not show the order, if the person decided after them and no read had shown it since.
    Empty if an earlier version stored the decision: it is not known what the person knew."""
    return {at for at in facts.not_found if EPOCH < decision.seen.read_at < at <= decision.at}
