"""Digests of the custom fields: which fields differ, what a settle covers, and what an import left out."""

import pytest

from statemachine.facts import EPOCH, Handover
from statemachine.questions.by_field import (
    carried,
    changed_fields,
    code_digest,
    digest_named,
    fields_in,
    handed,
    joined,
    left_out_of,
    settled_on,
    shows_change,
)
from statemachine.questions.formulas import numbered

GIFT, CARD = code_digest("gift"), code_digest("card")
ONE, TWO, THREE = "0000000a", "0000000b", "0000000c"


def digest(formula: int = 2, **fields: str) -> str:
    return numbered(joined({code_digest(code): value for code, value in fields.items()}), formula)


def test_a_digest_holds_its_fields_and_another_digest_holds_none() -> None:
    assert fields_in(digest(gift=ONE, card=TWO)) == {GIFT: ONE, CARD: TWO}
    assert (fields_in(digest()), fields_in(digest(gift=""))) == ({}, {GIFT: ""})
    assert [fields_in(other) for other in ("", "0123abcd", "2_0123abcd")] == [None] * 3


def test_a_field_that_is_added_changed_or_taken_away_differs_unless_it_is_left_out() -> None:
    before, after = digest(gift=ONE, card=ONE), digest(gift=TWO, size=ONE)
    assert changed_fields(before, after, ()) == {GIFT: TWO, CARD: "", code_digest("size"): ONE}
    assert changed_fields(before, after, (GIFT, CARD, code_digest("size"))) == {}
    assert not shows_change(digest(gift=""), digest(), ())


@pytest.mark.parametrize("other", ["0123abcd", digest(3, gift=TWO), "2_0123abcd"])
def test_digests_of_other_formulas_show_nothing_and_a_settle_then_covers_all(other: str) -> None:
    now = digest(gift=ONE)
    if not other.startswith("2_"):
        assert not shows_change(other, now, ())
    assert digest_named(other, now, ()) == now
    assert settled_on(other, now) == now


def test_a_settle_covers_the_fields_that_it_names() -> None:
    has, now = digest(gift=ONE, card=ONE), digest(gift=TWO, card=ONE)
    settled = digest_named(has, now, ())
    assert settled == digest(gift=TWO)
    assert settled_on(has, settled) == now
    assert settled_on(settled, digest_named(now, digest(card=THREE), ())) == digest(gift="", card=THREE)


def test_an_import_keeps_what_it_left_out() -> None:
    contents = (("custom fields", digest(gift=ONE, card=TWO)), ("prices", "0123abcd"))
    known, unknown = Handover(EPOCH, (), handed(contents, {"gift"})), Handover(EPOCH, (), contents)
    assert left_out_of(known, {"card"}) == {GIFT}
    assert left_out_of(Handover(EPOCH, (), handed(contents, ())), {"card"}) == frozenset()
    assert left_out_of(unknown, {"card"}) == {CARD}
    assert carried(known) == carried(unknown, {"gift"}) == (("custom fields", digest(card=TWO)), contents[1])
    assert handed((), {"gift"}) == (), "its contents are not known"
