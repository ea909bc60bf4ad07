"""What the attention reasons of a deadline rest on in one order. No text holds personal data."""

from datetime import timedelta

from consumer.operations.cases import Case
from statemachine.deadlines import is_canceled_and_settled
from statemachine.facts import EPOCH
from statemachine.questions.payloads import was_handed_over


def acceptance_due(case: Case) -> str:
    named_by_mirakl = case.facts.snapshot is not None and case.facts.snapshot.accept_by > EPOCH
    until = "Mirakl's acceptance_deadline" if named_by_mirakl else _since_created(case.policy.accept_within)
    return f"until {case.one.detail} UTC: {until}"


def shipping_due(case: Case) -> str:
    named_by_mirakl = case.facts.snapshot is not None and case.facts.snapshot.ship_by > EPOCH
    until = "Mirakl's shipping_deadline" if named_by_mirakl else _since_created(case.policy.ship_within)
    where = ""
    if is_canceled_and_settled(case.facts):
        where = "; the OMS canceled all of it, so nobody there makes it"
    elif not (case.facts.dispatches or was_handed_over(case.facts)):
        where = "; the OMS does not have the order"
    return f"until {case.one.detail} UTC: {until}{where}"


def _since_created(within: timedelta) -> str:
    return f"{within / timedelta(hours=1):g} hours after the order, because Mirakl names no deadline"
