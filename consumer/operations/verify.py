"""Does the stored order equal what its journal folds to, and what today's code decides?"""

from collections.abc import Sequence

from adapters.store.journal import JournalRow
from adapters.store.orders import OrderRow
from statemachine.attention import Reason
from statemachine.commands import Policy
from statemachine.facts import Facts, join
from statemachine.machine import decide
from statemachine.plan import plan
from statemachine.states import State, state_of

# -- Verify ------------------------------------------------------------------------------------------------------


def differences(row: OrderRow, entries: Sequence[JournalRow]) -> list[str]:
    """Where the stored row is not what its journal folds to. Entries younger than the row are left out."""
    told = [entry for entry in entries if entry.version <= row.version]
    facts = Facts()
    for entry in told:
        facts = join(facts, entry.event.new_facts)
    found = []
    if len(told) != row.version:
        found.append(f"version: stored {row.version}, the journal holds {len(told)} rows")
    if facts != row.facts:
        names = [name for name in Facts.__dataclass_fields__ if getattr(facts, name) != getattr(row.facts, name)]
        found.append(f"facts: {', '.join(names)} differ from the journal")
    after = told[-1].after if told else State.NEW
    if after != row.state:
        found.append(f"state: stored {row.state}, the journal's last is {after}")
    if (amounts_to := state_of(facts)) != row.state:
        found.append(f"state: stored {row.state}, the facts are {amounts_to}")
    return found


def redecided(row: OrderRow, entries: Sequence[JournalRow], policy: Policy) -> list[str]:
    """Where today's code decides otherwise than the code that wrote the journal and the row."""
    found = []
    state, facts = State.NEW, Facts()
    for entry in entries:
        if entry.version > row.version:
            break
        decision = decide(state, facts, entry.event)
        if (decision.before, decision.state) != (entry.before, entry.after):
            was, now = f"{entry.before} -> {entry.after}", f"{decision.before} -> {decision.state}"
            found.append(f"version {entry.version}: recorded {was}, today {now}")
        state, facts = decision.state, decision.facts
    stored = {one.token for one in row.attention}
    today = {one.token for one in plan(row.facts, policy).attention}
    # The facts alone never yield no_edge: that comes of the row's state.
    today |= {one.token for one in row.attention if one.reason == Reason.NO_EDGE}
    found += [f"attention: {token} is stored, and not today's" for token in sorted(stored - today)]
    found += [f"attention: {token} is today's, and not stored" for token in sorted(today - stored)]
    return found
