"""Dead letters: counted if they come again, and closed once."""

import json
from dataclasses import replace

import pytest

from adapters.store import dead_letters as dead_letter_rows
from adapters.store import schema as s
from adapters.store.dead_letters import DeadLetter, StoredDeadLetter
from adapters.store.schema import DeadLetterState
from adapters.store.transaction import Store
from tests.adapters.store.support import (
    NOW,
    later,
    rows,
)
from tests.support import OpenStore

DEAD_LETTER = DeadLetter("topic", "topic/0/1", "not_json", "x", "digest", b"k", b"\xff", (("h", b"\xfe"),))


def add(store: Store, dead_letter: DeadLetter = DEAD_LETTER) -> StoredDeadLetter:
    with store.transaction() as tx:
        dead_letter_rows.add(tx, [dead_letter], NOW)
    return next(one for one in dead_letter_rows.newest(store) if one.reason == dead_letter.reason)


def close(store: Store, read: StoredDeadLetter, state: DeadLetterState = DeadLetterState.REPLAYED) -> bool:
    with store.transaction() as tx:
        return dead_letter_rows.close(tx, read.id, read.times, state)


def test_the_same_bytes_for_the_same_reason_are_counted(store: Store) -> None:
    one = replace(DEAD_LETTER, value=b"\xff\x00")
    with store.transaction() as tx:
        dead_letter_rows.add(tx, [], NOW)
        dead_letter_rows.add(tx, [one, replace(one, place="topic/0/2")], NOW)
        dead_letter_rows.add(tx, [replace(one, place="topic/0/3"), replace(one, reason="bad_id")], later(5))
    first, second = sorted(dead_letter_rows.newest(store), key=lambda each: each.id)
    assert first == StoredDeadLetter(
        source="topic",
        place="topic/0/3",  # of the record that came last
        reason="not_json",
        detail="x",
        digest="digest",
        key=b"k",
        value=b"\xff\x00",
        headers=(("h", b"\xfe"),),
        id=first.id,
        first_at=NOW,
        last_at=later(5),
        times=3,
        state=DeadLetterState.OPEN,
    )
    assert second.reason == "bad_id"
    assert second.times == 1
    assert dead_letter_rows.find(store, second.id) == second
    assert dead_letter_rows.find(store, 99) is None
    assert json.loads(rows(store, s.dead_letters)[0]["headers"]) == [["h", "fe"]]


def test_a_dead_letter_is_closed_once(open_store: OpenStore) -> None:
    one, other = open_store(), open_store()
    first, second = add(one), add(one, replace(DEAD_LETTER, reason="bad_id"))
    assert close(one, first)
    assert not close(other, first, DeadLetterState.DISCARDED), "it is closed already"
    assert not close(one, replace(first, id=99)), "there is none"
    states = {found.id: found.state for found in dead_letter_rows.newest(one)}
    assert states == {first.id: DeadLetterState.REPLAYED, second.id: DeadLetterState.OPEN}


@pytest.mark.parametrize("state", [DeadLetterState.REPLAYED, DeadLetterState.DISCARDED])
def test_a_dead_letter_that_comes_again_is_open_again(store: Store, state: DeadLetterState) -> None:
    first = add(store)
    assert close(store, first, state)
    again = add(store, replace(DEAD_LETTER, place="topic/0/7"))
    assert again == replace(first, place="topic/0/7", times=2)
    assert close(store, again)


def test_a_dead_letter_that_came_again_before_it_was_closed_stays_open(store: Store) -> None:
    """A fast consumer dead-letters a replayed record again before the replay is marked. A person has to see that."""
    read = add(store)
    add(store)
    assert not close(store, read)
    found = dead_letter_rows.find(store, read.id)
    assert found is not None
    assert found.state == DeadLetterState.OPEN
