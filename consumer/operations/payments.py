"""Whether the customer pays before or after the shipment, and what is left to be sent after a debit."""

from statemachine.facts import PAY_ON_ACCEPTANCE, WORKFLOWS, Facts
from statemachine.questions.in_oms import is_debited_after_shipping
from statemachine.questions.readings import is_sent


def is_paid_after_shipping(facts: Facts) -> bool:
    """Whether Mirakl debits after a shipment in the order's payment workflow. One that is missing or not known counts
    as PAY_ON_ACCEPTANCE, in which the customer pays first."""
    workflow = facts.snapshot.workflow if facts.snapshot else ""
    return workflow in WORKFLOWS and workflow != PAY_ON_ACCEPTANCE


def workflow_in_words(facts: Facts) -> str:
    """The order's payment workflow, and what it means for the money."""
    workflow = (facts.snapshot.workflow if facts.snapshot else "") or "no payment workflow is named"
    if not is_paid_after_shipping(facts):
        return f"{workflow}: the customer pays before the shipment"
    known = "shows one" if is_debited_after_shipping(facts) else "orderflow knows of none"
    return f"{workflow}: Mirakl debits after a shipment, and {known}"


def left_after_debit(facts: Facts) -> list[str]:
    """The lines that are still to be sent while Mirakl debits the shipment of others."""
    if not any(line.shipped for line in facts.lines):
        return []
    return [line.id for line in facts.owed_lines if not line.shipped and not is_sent(facts, line)]
