"""What a poller remembers, for how long, and what makes it forget."""

from datetime import UTC, datetime, timedelta

import pytest

from consumer.polling import poll_memory
from consumer.polling.poll_memory import FIRST_WAIT, LONGEST_WAIT, PUBLISHED_FOR, AskedInVain, PublishedMemory

NOW = datetime(2026, 3, 1, tzinfo=UTC)
SECOND = timedelta(seconds=1)


def test_what_was_published_is_remembered_in_its_form_and_for_its_time() -> None:
    published = PublishedMemory()
    assert not published.has("1-A", "digest", NOW)
    published.add("1-A", "digest", NOW)
    assert published.has("1-A", "digest", NOW + PUBLISHED_FOR - SECOND)
    assert not published.has("1-A", "digest", NOW + PUBLISHED_FOR)
    assert not published.has("1-A", "another digest", NOW)
    assert not published.has("2-A", "digest", NOW)


def test_a_proof_is_another_publication_than_a_change() -> None:
    published = PublishedMemory()
    published.add("1-A", "digest", NOW)
    assert not published.has("1-A", "digest", NOW, proof=NOW)
    published.add("1-A", "digest", NOW, proof=NOW)
    assert published.has("1-A", "digest", NOW, proof=NOW)
    assert not published.has("1-A", "digest", NOW, proof=NOW + SECOND)


def test_a_cleared_memory_is_empty() -> None:
    published = PublishedMemory()
    published.add("1-A", "digest", NOW)
    published.clear()
    assert not published.has("1-A", "digest", NOW)


def test_an_id_asked_for_in_vain_waits_twice_as_long_each_time_up_to_a_day() -> None:
    in_vain, now, wait = AskedInVain(), NOW, FIRST_WAIT
    assert in_vain.is_due("1-A", now)
    for _ in range(12):
        in_vain.not_shown("1-A", now)
        assert not in_vain.is_due("1-A", now + wait - SECOND)
        now += wait
        assert in_vain.is_due("1-A", now)
        wait = min(2 * wait, LONGEST_WAIT)
    assert wait == LONGEST_WAIT


def test_an_id_that_mirakl_shows_is_due_at_once_and_waits_the_shortest_time_again() -> None:
    in_vain = AskedInVain()
    in_vain.not_shown("1-A", NOW)
    in_vain.not_shown("1-A", NOW)
    in_vain.shown("1-A")
    in_vain.shown("never asked for")
    assert in_vain.is_due("1-A", NOW)
    in_vain.not_shown("1-A", NOW)
    assert in_vain.is_due("1-A", NOW + FIRST_WAIT)


def test_the_oldest_entries_are_forgotten_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(poll_memory, "MOST", 2)
    published = PublishedMemory()
    for key in ("1-A", "2-A", "1-A", "3-A"):
        published.add(key, "digest", NOW)
    assert [key for key in ("1-A", "2-A", "3-A") if published.has(key, "digest", NOW)] == ["1-A", "3-A"]
