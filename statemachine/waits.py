"""What an order waits for: a call, a person, a remote or a deadline; an order that waits for nothing is lost.

Every order that is not at its end waits for a call of ours, for a person (then it is on the attention list), or for
something that comes by itself. An order that waits for nothing is lost, and no list shows it. Tests walk over random
histories and look for such an order. How long a call may wait (for the customer's messages, for a tracking) is in
troubles.py.
"""

from enum import StrEnum

from statemachine.commands import Policy
from statemachine.facts import DEBIT, Facts
from statemachine.plan import Plan, awaits_read_after
from statemachine.questions.readings import is_canceled_by_oms, mirakl_state
from statemachine.states import State


class WaitsFor(StrEnum):
    """Who or what moves an order next."""

    CALL = "call"  # a call of ours that is due
    PERSON = "person"  # the order is on the list of those that need a person
    READ = "read"  # a read that is asked for by the order's id: it shows what became of a call, or of a report
    MIRAKL = "mirakl"  # Mirakl's next state: Mirakl checks or debits the order, or no line of it is owed
    OMS = "oms"  # the OMS's next report: the OMS has the order, and did not cancel all of it
    TIME = "time"  # a deadline, at which it gets an attention reason, or the end of a wait of OR24 for OR23
    OTHERS = "others"  # orderflow does not touch it, as it is older than the shop's `not_before`


def waits_for(facts: Facts, policy: Policy, wanted: Plan) -> frozenset[WaitsFor]:
    """What moves an order whose plan is `wanted`. Empty: the order is at its end, or lost."""
    if wanted.state.is_at_its_end:  # a better tracking of a shipped order still goes out
        return frozenset({WaitsFor.CALL} if wanted.due else ())
    answers = {
        WaitsFor.CALL: bool(wanted.due),
        WaitsFor.PERSON: bool(wanted.attention),
        WaitsFor.READ: awaits_read_after(facts) is not None,
        WaitsFor.MIRAKL: _mirakl_goes_on(facts),
        WaitsFor.OMS: wanted.state is State.IMPORTED and _oms_goes_on(facts),
        WaitsFor.TIME: wanted.wakes_at is not None,
        WaitsFor.OTHERS: policy.leaves_alone(facts),
    }
    return frozenset(one for one, holds in answers.items() if holds)


def _mirakl_goes_on(facts: Facts) -> bool:
    """Whether Mirakl moves the order by itself."""
    shown = mirakl_state(facts)
    nothing_owed = facts.snapshot is not None and not facts.snapshot.owed_lines
    return shown == "STAGING" or shown in DEBIT or (shown == "SHIPPING" and nothing_owed)


def _oms_goes_on(facts: Facts) -> bool:
    """Whether the OMS has a part of the order that it did not cancel. Its ids may not be known yet."""
    return not is_canceled_by_oms(facts)
