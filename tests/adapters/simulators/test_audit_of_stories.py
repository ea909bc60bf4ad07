"""For each story: the audit passes correct books, and finds the mistake for which the story was written."""

from collections import Counter
from dataclasses import dataclass, replace
from datetime import UTC, datetime

import pytest

from adapters.simulators.audit import JournalSummary, audit
from adapters.simulators.books import Effect
from adapters.simulators.stage import Life
from adapters.simulators.stories import STORIES
from adapters.simulators.world import life_of

AT = datetime(2026, 3, 1, tzinfo=UTC)
COMMANDS = {
    "accepted": "accept_order",
    "refused": "accept_order",
    "imported": "import_order",
    "shipped": "confirm_shipment",
}


@dataclass
class Books:
    """Books and journal of one life without a mistake. A test puts a mistake in by hand."""

    life: Life
    pieces: dict[str, int]
    attributes: tuple[str, ...]
    times: Counter[str]  # how often a call of ours had this effect
    journal: JournalSummary

    @classmethod
    def of(cls, story: str) -> "Books":
        life = life_of(story)
        times = Counter({"imported": int(life.imported)})
        times["accepted"], times["shipped"] = int(life.accepted_by == "api"), int(life.shipped_by == "api")
        times["refused"] = int(life.refused_by == "api")
        done = Counter({COMMANDS[kind]: count for kind, count in times.items() if count})
        waits = life.ends not in ("shipped", "refused", "canceled")
        attention = frozenset(life.reasons or ("held",)) if waits else frozenset()
        journal = JournalSummary(life.ends, done, listed=frozenset(life.reasons), attention=attention)
        return cls(life, dict(life.goods), life.attributes, times, journal)

    def findings(self) -> list[str]:
        detail = {
            "pieces": ",".join(f"{line}={pieces}" for line, pieces in self.pieces.items()),
            "attributes": ",".join(self.attributes),
        }
        effects = [self._effect(kind, "api", detail) for kind, count in self.times.items() for _ in range(count)]
        if self.life.last_tracking:
            effects.append(self._effect("tracking", "person", {"tracking": self.life.last_tracking}))
        return audit([self.life], effects, {(self.life.marketplace, self.life.order_id): self.journal})

    def _effect(self, kind: str, by: str, detail: dict[str, str]) -> Effect:
        place = "oms" if kind == "imported" else self.life.marketplace
        return Effect(AT, place, self.life.order_id, kind, by, detail if kind in ("imported", "tracking") else {})


def found(books: Books) -> str:
    return "\n".join(books.findings())


@pytest.mark.parametrize("story", STORIES)
def test_right_books_pass(story: str) -> None:
    assert Books.of(story).findings() == []


@pytest.mark.parametrize("story", [name for name, story in STORIES.items() if not story.imported])
def test_an_import_that_must_not_be_there_is_found(story: str) -> None:
    books = Books.of(story)
    books.times["imported"] = 1
    books.pieces = {f"{books.life.order_id}-1": 1}
    assert "not ours to do: imported 1 times by us, should be 0" in found(books)
    assert f"goods: the OMS makes 1 pieces of {books.life.order_id}-1, should be 0" in found(books)


@pytest.mark.parametrize("story", [name for name, story in STORIES.items() if story.imported])
def test_a_line_that_must_not_be_made_and_one_that_is_missing_are_found(story: str) -> None:
    books = Books.of(story)
    lines = [f"{books.life.order_id}-{index}" for index in range(1, len(books.life.lines) + 2)]
    not_owed = next(line for line in lines if line not in books.pieces)
    books.pieces[not_owed] = 1
    assert f"makes 1 pieces of {not_owed}, should be 0" in found(books)
    books = Books.of(story)
    owed, pieces = books.pieces.popitem()
    assert f"makes 0 pieces of {owed}, should be {pieces}" in found(books)


@pytest.mark.parametrize("story", [name for name, story in STORIES.items() if story.imported])
def test_other_pieces_and_a_second_import_are_found(story: str) -> None:
    books = Books.of(story)
    line = next(iter(books.pieces))
    books.pieces[line] += 1
    assert f"makes {books.pieces[line]} pieces of {line}, should be {books.pieces[line] - 1}" in found(books)
    books.times["imported"] = 2
    assert "doubled: imported 2 times by us" in found(books)


@pytest.mark.parametrize("story", STORIES)
def test_a_shipment_that_is_missing_or_must_not_be_there_is_found(story: str) -> None:
    books = Books.of(story)
    books.times["shipped"] = 1 - books.times["shipped"]
    assert "lost: shipped" in found(books) or "not ours to do: shipped" in found(books)


@pytest.mark.parametrize("story", [name for name, story in STORIES.items() if story.reasons])
def test_a_reason_that_nobody_was_told_is_found(story: str) -> None:
    books = Books.of(story)
    books.journal = replace(books.journal, listed=frozenset(), attention=frozenset())
    assert f"the attention list never showed: {books.life.reasons[0]}" in found(books)


@pytest.mark.parametrize("story", [name for name, story in STORIES.items() if story.attributes])
def test_an_attribute_that_the_oms_did_not_get_is_found(story: str) -> None:
    books = Books.of(story)
    books.attributes = ()
    assert f"did not get the attribute {books.life.attributes[0]}" in found(books)


@pytest.mark.parametrize(
    "story", [name for name, story in STORIES.items() if story.ends not in ("shipped", "refused", "canceled")]
)
def test_an_order_that_waits_for_nobody_is_found(story: str) -> None:
    books = Books.of(story)
    books.journal = replace(books.journal, attention=frozenset())
    assert f"waits in {books.life.ends} for nothing, and is on no list" in found(books)
