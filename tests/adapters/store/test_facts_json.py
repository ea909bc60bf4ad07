"""The JSON of facts: the stored names stay when a field gets another name in Python."""

import json
from datetime import UTC, datetime

from adapters.store.facts_json import facts_from_json, facts_to_json
from statemachine.facts import Decision, DecisionKind, Facts, Line
from tests.statemachine.lives import read, snapshot_event

#: JSON as earlier versions wrote it.
STORED = (
    '{"snapshot":{"updated_at":"2026-03-01T00:00:00Z","rank":4,"has_address":true,"read_at":"2026-03-01T00:00:00Z",'
    '"content":"digest","state":"SHIPPING"},'
    '"acts":[{"at":"2026-03-01T00:00:00Z","act":"hold","who":"ana","why":"asked","subject":["a"]}]}'
)


def test_facts_that_a_version_before_stored_are_read() -> None:
    facts = facts_from_json(STORED)
    assert facts.snapshot is not None
    assert facts.snapshot.digest == "digest"
    assert facts.decisions == (Decision(datetime(2026, 3, 1, tzinfo=UTC), DecisionKind.HOLD, "ana", "asked", ("a",)),)


def test_the_stored_names_are_those_of_the_versions_before() -> None:
    assert facts_to_json(facts_from_json(STORED)) == STORED


def test_what_is_not_known_is_not_stored() -> None:
    assert facts_to_json(Facts()) == "{}"
    one_piece = read("SHIPPING", lines=(Line("L1"),))
    assert set(json.loads(facts_to_json(snapshot_event(one_piece).new_facts))) == {"snapshot"}
