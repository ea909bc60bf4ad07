"""Compares an order with its journal: with what its events add up to, and with what this version would decide."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Final

from adapters.store import journal as journal_rows
from adapters.store import orders as order_rows
from adapters.store.journal import JournalRow
from adapters.store.orders import OrderRow
from adapters.store.transaction import Store
from statemachine.commands import Policy
from statemachine.facts import Facts
from statemachine.joining import join
from statemachine.machine import decide
from statemachine.plan import plan
from statemachine.reasons import Reason
from statemachine.states import State, state_of

#: How many orders are in memory at a time.
PAGE: Final = 200


def verified(
    store: Store, shop: str | None, policies: Mapping[str, Policy] | None, changed_after: datetime | None = None
) -> Iterator[tuple[OrderRow, list[str]]]:
    """Yield every order, of one shop or of all, with its differences (`verify`). Holds one page of them in memory."""
    for page in order_rows.pages(store, shop, PAGE, changed_after):
        journals = journal_rows.of_orders(store, [row.key for row in page])
        for row in page:
            yield row, verify(row, journals[row.key], policies)


def verify(row: OrderRow, journal: Sequence[JournalRow], policies: Mapping[str, Policy] | None) -> list[str]:
    """Differences between an order and its journal, as sentences. With the `policies` of the shops, also those between
    the order and what this version would decide."""
    found = differences(row, journal)
    return found if policies is None else found + redecided(row, journal, policies.get(row.shop, Policy()))


def differences(order: OrderRow, journal: Sequence[JournalRow]) -> list[str]:
    """Differences between an order and the sum of its journal, as sentences.

    Events that were applied after the order was read are left out.
    """
    applied = [row for row in journal if row.version <= order.version]
    facts = Facts()
    for row in applied:
        facts = join(facts, row.event.new_facts)
    found = []
    if len(applied) != order.version:
        found.append(f"version: stored {order.version}, the journal holds {len(applied)} rows")
    if facts != order.facts:
        names = [name for name in Facts.__dataclass_fields__ if getattr(facts, name) != getattr(order.facts, name)]
        found.append(f"facts: {', '.join(names)} differ from the journal")
    last_state = applied[-1].after if applied else State.NEW
    if last_state != order.state:
        found.append(f"state: stored {order.state}, the journal's last is {last_state}")
    if (state := state_of(facts)) != order.state:
        found.append(f"state: stored {order.state}, the facts are {state}")
    return found


def redecided(order: OrderRow, journal: Sequence[JournalRow], policy: Policy) -> list[str]:
    """Differences between what this version decides and what the journal and the order hold, as sentences."""
    found = []
    state, facts = State.NEW, Facts()
    for row in journal:
        if row.version > order.version:
            break
        decision = decide(state, facts, row.event)
        if (decision.before, decision.state) != (row.before, row.after):
            recorded, today = f"{row.before} -> {row.after}", f"{decision.before} -> {decision.state}"
            found.append(f"version {row.version}: recorded {recorded}, today {today}")
        state, facts = decision.state, decision.facts
    stored_reasons = {one.token for one in order.attention}
    todays_reasons = {one.token for one in plan(order.facts, policy).attention}
    # `plan` never returns these two, because they depend on more than the facts.
    others = (Reason.NO_EDGE, Reason.QUARANTINED)
    todays_reasons |= {one.token for one in order.attention if one.reason in others}
    found += [f"attention: {token} is stored, and not today's" for token in sorted(stored_reasons - todays_reasons)]
    found += [f"attention: {token} is today's, and not stored" for token in sorted(todays_reasons - stored_reasons)]
    return found
