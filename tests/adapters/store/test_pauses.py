"""Which act a present pause of a shop's effects began with."""

import pytest

from adapters.store import audit as audit_rows
from adapters.store.pauses import began
from adapters.store.transaction import Store
from tests.adapters.store.support import later

#: Each history: the acts in their order, as "act subject", and the number of the act with which each pause began.
HISTORIES = {
    "never paused by an act": ([], {}),
    "each group for itself": (["pause alpha import", "pause alpha ship"], {"import": 0, "ship": 1}),
    "every effect": (["pause alpha"], {"import": 0, "ship": 0}),
    "twice: since the first": (["pause alpha import", "pause alpha", "pause alpha import"], {"import": 0, "ship": 1}),
    "resumed and paused again": (["pause alpha", "resume alpha", "pause alpha"], {"import": 2, "ship": 2}),
    "one group resumed": (["pause alpha", "resume alpha import", "pause alpha import"], {"import": 2, "ship": 0}),
    "resumed": (["pause alpha import", "resume alpha"], {}),
    "acts of another shop": (["pause alpha-2 import", "pause alpha import", "resume alpha-2"], {"import": 1}),
    "another act": (["pause alpha import", "discard alpha import"], {"import": 0}),
}


@pytest.mark.parametrize("history", HISTORIES)
def test_a_pause_began_with_the_first_act_since_the_last_resumption(store: Store, history: str) -> None:
    acts, expected = HISTORIES[history]
    with store.transaction() as tx:
        for number, one in enumerate(acts):
            act, _, subject = one.partition(" ")
            audit_rows.add(tx, who=f"person {number}", act=act, subject=subject, why="why", at=later(number))
    found = began(store, "alpha", ["import", "ship"])
    assert {group: (one.who, one.at) for group, one in found.items()} == {
        group: (f"person {number}", later(number)) for group, number in expected.items()
    }
