"""The JSON of facts: the stored names stay when a field gets another name in Python."""

import json
from datetime import UTC, datetime
from typing import Any, Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.store.facts_json import Written, facts_from_json, facts_to_json, read_facts, row_to_json
from statemachine.facts import Decision, DecisionKind, Facts, Line, Part
from statemachine.joining import join
from statemachine.plan import plan
from tests.statemachine.lives import read, snapshot_event
from tests.statemachine.walk import Walk

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
    one_piece = read("WAITING_ACCEPTANCE", lines=(Line("L1"),))
    assert set(json.loads(facts_to_json(snapshot_event(one_piece).new_facts))) == {"seen", "snapshot", "to_send"}


# -- What a newer version wrote -----------------------------------------------------------------------------------

#: A member, elements of sets, a line and the read that holds it: each has something that this version does not know.
NEWER: Final[dict[str, Any]] = {
    "snapshot": json.loads(STORED)["snapshot"] | {"lines": [{"id": "L1", "gift": True}], "paid_by": "card"},
    "parts": [{"oms_id": 7}, {"oms_id": 7, "stock": "north"}, {"oms_id": 8, "ref": "R", "stock": "south"}],
    "acts": [
        {"at": "2026-03-01T00:00:00Z", "act": "freeze", "who": "ana", "why": "fraud"},
        {"at": "2026-03-01T00:00:00Z", "act": "hold", "who": "ana", "why": "asked"},
    ],
    "gifts": [{"colour": "red"}],
    "shipped_seen": True,
}


def test_facts_of_a_newer_version_are_read_without_what_is_not_known() -> None:
    facts, newer = read_facts(json.dumps(NEWER))
    assert newer == json.dumps(NEWER)
    assert facts.snapshot is not None
    assert facts.snapshot.lines == (Line("L1"),)
    assert facts.parts == (Part(7), Part(8, "R")), "two elements that differ only in what is not known are one"
    assert [one.kind for one in facts.decisions] == [DecisionKind.HOLD]
    assert facts.shipped_seen


def test_what_is_not_known_is_written_back_as_it_was() -> None:
    facts, newer = read_facts(json.dumps(NEWER))
    after = join(facts, Facts(parts=(Part(9),), clock=datetime(2026, 3, 2, tzinfo=UTC)))
    written = json.loads(facts_to_json(after, newer))
    for name in ("parts", "acts"):
        assert all(one in written[name] for one in NEWER[name])
    assert written == NEWER | {
        "parts": [*NEWER["parts"], {"oms_id": 9}],
        "acts": [NEWER["acts"][1], NEWER["acts"][0]],
        "clock": "2026-03-02T00:00:00Z",
    }
    assert read_facts(json.dumps(written))[0] == after
    again, newer = read_facts(json.dumps(written))
    assert json.loads(facts_to_json(again, newer)) == written, "nothing is written twice"


def test_a_newer_read_replaces_the_stored_one_with_all_that_it_held() -> None:
    facts, newer = read_facts(json.dumps(NEWER))
    read_later = snapshot_event(read("SHIPPED", updated=10 * 365 * 86_400)).new_facts
    written = json.loads(facts_to_json(join(facts, read_later), newer))
    assert written["snapshot"] == json.loads(facts_to_json(read_later))["snapshot"]
    assert written["gifts"] == NEWER["gifts"]


@pytest.mark.parametrize(
    "text",
    [
        '{"parts":[{"oms_id":"x","stock":"north"}]}',
        '{"parts":[{"ref":"R","stock":"north"}]}',
        '{"snapshot":{"stock":"north"}}',
        '{"gifts":',
        '{"gifts":1,"snapshot":'
        + STORED[12:].replace('"SHIPPING"}', '"SHIPPING","lines":[{"id":"1","withdrawn":"?"}]}'),
    ],
)
def test_facts_that_are_those_of_no_version_raise(text: str) -> None:
    """The last: a word that we do not know inside of a read. Such a version names itself as the oldest that may run."""
    with pytest.raises(ValueError):
        facts_from_json(text)


def test_facts_of_this_version_are_read_once() -> None:
    assert read_facts(STORED) == (facts_from_json(STORED), "")


# -- Facts that this process wrote ----------------------------------------------------------------------------------


def test_a_row_as_this_process_wrote_it_is_not_decoded_again() -> None:
    facts = snapshot_event(read("SHIPPING")).new_facts
    text = row_to_json(facts)
    assert text == facts_to_json(facts)
    assert read_facts(text) == (facts, "")
    assert read_facts(text)[0] is facts
    other = text.replace("SHIPPING", "SHIPPED")
    assert read_facts(other)[0] == facts_from_json(other) != facts


def test_what_a_newer_version_wrote_is_never_kept() -> None:
    facts, newer = read_facts(json.dumps(NEWER))
    text = row_to_json(facts, newer)
    assert read_facts(text) == (facts, text)


def test_only_the_last_rows_are_kept() -> None:
    written = Written(2)
    for text in ("a", "b", "a", "c"):
        written.keep(text, Facts())
    assert [written.find(text) is None for text in ("a", "b", "c")] == [False, True, False]


@given(st.integers(0, 10_000))
def test_facts_that_are_kept_plan_as_facts_that_are_decoded(seed: int) -> None:
    """Also where a word of a closed set comes back from the JSON as a plain text."""
    walk = Walk(seed)
    for _ in range(12):
        walk.step()
    decoded = facts_from_json(f" {facts_to_json(walk.facts)}")  # a text that was never written
    assert decoded == walk.facts
    assert plan(decoded, walk.policy) == plan(walk.facts, walk.policy)


@given(st.integers(0, 10_000))
def test_the_strict_decoder_and_the_lenient_one_agree(seed: int) -> None:
    """A member of a newer version is refused by the strict one, so the lenient one reads the whole text."""
    walk = Walk(seed)
    for _ in range(12):
        walk.step()
    text = facts_to_json(walk.facts)
    newer = json.dumps(json.loads(text) | {"of_a_newer_version": 1})
    assert read_facts(newer) == (read_facts(text)[0], newer)
    assert repr(read_facts(newer)[0]) == repr(read_facts(text)[0])
