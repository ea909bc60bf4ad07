"""Where a fast way stands beside a slow one, both give the same.

Each has a test here, or one that `git grep agree tests` finds: digests (test_identity_agrees.py), the texts of digests
(test_contents.py), facts (tests/adapters/store/test_facts_json.py), repeats
(tests/consumer/applying/test_unread_repeats.py).
"""

import json
import re
import unicodedata
from collections.abc import Sequence
from typing import Any, NoReturn

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.errors import Unreadable
from adapters.messages.cloudevents import LONGEST_ATTRIBUTE, attribute
from adapters.messages.json_slices import load_object, member
from adapters.messages.text import DIRECTION_MARK, is_storable, storable, usable_id

NAMES = ("a", "b", "é", "\\u0061", "")
SPACES = st.text(" \t\r\n", max_size=2)
NUMBERS = st.from_regex(r"-?(0|[1-9][0-9]{0,30})(\.[0-9]{1,20})?([eE][+-]?[0-9]{1,3})?", fullmatch=True)
ESCAPES = ("\\n", '\\"', "\\\\", "\\/", "\\u00e9", "\\u0000", "\\ud83d\\ude00", "\\ud800")
TEXTS = st.lists(
    st.sampled_from(ESCAPES)
    | st.characters(exclude_categories=["Cs"], exclude_characters=[*map(chr, range(32)), '"', "\\"])
).map(lambda pieces: f'"{"".join(pieces)}"')


def _object(members: Sequence[tuple[str, str, str]]) -> str:
    return "{" + ",".join(f'{space}"{name}"{space}:{value}{space}' for name, value, space in members) + "}"


#: Texts of values. Names may come twice, and the last three are no JSON.
VALUES = st.recursive(
    NUMBERS | TEXTS | st.sampled_from(["true", "false", "null", "-0", "-0.0", "1E400", "NaN", "-Infinity", "01"]),
    lambda inner: (
        st.lists(inner, max_size=3).map(lambda values: f"[{','.join(values)}]")
        | st.lists(st.tuples(st.sampled_from(NAMES), inner, SPACES), max_size=4).map(_object)
    ),
    max_leaves=10,
)
OBJECTS = st.lists(st.tuples(st.sampled_from(NAMES), VALUES, SPACES), max_size=5).map(_object)


def _refuse(name: str) -> NoReturn:
    raise ValueError(name)


def _of_python(text: str) -> Any:
    """What Python's parser reads, or Unreadable."""
    try:
        return json.loads(text, parse_constant=_refuse)
    except ValueError:
        return Unreadable


def _read(text: str) -> Any:
    try:
        return load_object(text.encode())
    except Unreadable:
        return Unreadable


@given(OBJECTS)
def test_pydantics_parser_reads_as_pythons_does(text: str) -> None:
    """Also the types: 1 and 1.0 have other digests."""
    assert repr(_read(text)) == repr(_of_python(text))


@given(OBJECTS)
def test_what_only_pythons_parser_reads_changes_nothing_else(text: str) -> None:
    """Pydantic's parser refuses a lone surrogate, so Python's reads the whole object."""
    alone = _read(text)
    beside = _read(f'{text[:-1]}{"" if text == "{}" else ","}"lone":"\\ud800"}}')
    if alone is Unreadable:
        assert beside is Unreadable
    else:
        assert repr(beside) == repr(alone | {"lone": "\ud800"})


@given(OBJECTS, st.sampled_from(["a", "b"]))
def test_a_member_that_is_cut_out_is_the_one_that_is_parsed(text: str, name: str) -> None:
    whole = _read(text)
    if whole is not Unreadable:
        raw = member(text.encode(), name)
        assert (raw != b"") == (name in whole)
        assert not raw or repr(json.loads(raw)) == repr(whole[name])


ODD = st.characters(categories=["Cc", "Cs", "Cf", "Zl", "Zp", "Zs", "Co"])
ANY_TEXT = st.text(st.characters() | ODD | st.sampled_from("a. \u200e"), max_size=30)


def _has_bad(text: str) -> bool:
    return any(unicodedata.category(one) in ("Cc", "Cs") for one in text)


@given(ANY_TEXT)
def test_printable_texts_are_looked_at_as_all_others(text: str) -> None:
    assert is_storable(text) == (not _has_bad(text))
    assert storable(text) == "".join(" " if _has_bad(one) else one for one in text).strip()


@given(ANY_TEXT | st.text(min_size=LONGEST_ATTRIBUTE - 1, max_size=LONGEST_ATTRIBUTE + 1))
def test_an_attribute_is_used_if_it_is_of_fitting_length_and_storable(text: str) -> None:
    if 0 < len(text) <= LONGEST_ATTRIBUTE and not _has_bad(text):
        assert attribute({"id": text}, "id") == text
    else:
        with pytest.raises(Unreadable):
            attribute({"id": text}, "id")


@given(ANY_TEXT)
def test_an_id_of_ascii_is_looked_at_as_every_other(text: str) -> None:
    bad = not text.strip() or text in (".", "..") or _has_bad(text) or re.search(DIRECTION_MARK, text)
    if bad:
        with pytest.raises(ValueError):
            usable_id(text)
    else:
        assert usable_id(text) == text
