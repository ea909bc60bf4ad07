"""The facts of an order as JSON, as the columns `orders.facts` and `journal.says` hold them.

Some names in JSON are older than the names in Python. They stay, because rows of older versions must be readable.

A newer version may have written a row, while both versions run side by side, or before a way back. Its JSON may have
members that this version does not know, and words that are no member of an enum here. This version reads the rest. When
it writes the row, what it does not know goes back into the JSON as it was (docs/decisions/0016-two-versions.md).
"""

import json
import threading
from collections.abc import Mapping, Sequence
from dataclasses import fields, replace
from functools import cache
from typing import Any, Final

from pydantic import ConfigDict, TypeAdapter, ValidationError

from statemachine.facts import Decision, Facts, Snapshot

#: The stored name of each field that has another name in Python.
_STORED_NAMES: Final[Mapping[Any, Mapping[str, str]]] = {
    Facts: {"decisions": "acts"},
    Snapshot: {"digest": "content"},
    Decision: {"kind": "act"},
}


def _adapter(*, strict: bool) -> TypeAdapter[Facts]:
    """`strict`: a member that no field reads is an error. Dataclasses inside these three inherit the setting."""
    for model, names in _STORED_NAMES.items():
        # pydantic reads the settings of a dataclass here. The state machine itself does not import pydantic.
        model.__pydantic_config__ = ConfigDict(
            alias_generator=lambda name, names=names: names.get(name, name), extra="forbid" if strict else "ignore"
        )
    return TypeAdapter(Facts)


@cache
def _lenient() -> TypeAdapter[Facts]:
    """Made when a newer version's facts are read: making it takes 20 ms, which every command would wait for."""
    return _adapter(strict=False)


_SETS: Final = tuple(field.name for field in fields(Facts) if field.default == ())
#: The stored names of all members that this version knows.
_MEMBERS: Final = frozenset(_STORED_NAMES[Facts].get(field.name, field.name) for field in fields(Facts))
#: Parses and reads in one pass. What it refuses is parsed once more, for `_lenient`: tests hold that both agree.
_STRICT: Final = _adapter(strict=True)


def facts_to_json(facts: Facts, newer: str = "") -> str:
    """Encode facts. Fields with their default value are left out. Equal facts give equal JSON.

    `newer` is the second result of `read_facts` for the row that is replaced: what this version does not know of it is
    kept as it is.
    """
    text = _STRICT.dump_json(facts, by_alias=True, exclude_defaults=True).decode()
    if not newer:
        return text
    return json.dumps(_with_newer(json.loads(text), json.loads(newer)), separators=(",", ":"), ensure_ascii=False)


def row_to_json(facts: Facts, newer: str = "") -> str:
    """Encode the facts of a row as `facts_to_json` does, and keep them for `read_facts`."""
    text = facts_to_json(facts, newer)
    if not newer:
        _WRITTEN.keep(text, facts)
    return text


class Written:
    """The facts that this process wrote last, by their JSON. Any thread may use it.

    A row that was written is soon read again: by the claim of its call, then by the result of the call. Decoding it
    takes as long as joining an event, and the plan of these facts is kept with them (asked_once.py). So both are saved
    if the row is still as this process wrote it; another text is another key. A test holds that both are equal.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._lock = threading.Lock()
        self._facts: dict[str, Facts] = {}  # the oldest first

    def keep(self, text: str, facts: Facts) -> None:
        with self._lock:
            self._facts.pop(text, None)
            self._facts[text] = facts
            if len(self._facts) > self._most:
                del self._facts[next(iter(self._facts))]

    def find(self, text: str) -> Facts | None:
        return self._facts.get(text)


#: With its plan, an order of one line takes about 6 kB here.
_WRITTEN: Final = Written(1000)


def facts_from_json(text: str) -> Facts:
    """Decode facts, without what this version does not know."""
    return read_facts(text)[0]


def read_facts(text: str) -> tuple[Facts, str]:
    """Decode facts. The second result is `text` if it holds something that this version does not know, else "".

    Raises ValueError if the text is not the facts of any version.
    """
    written = _WRITTEN.find(text)
    if written is not None:
        return written, ""
    try:
        return _STRICT.validate_json(text), ""
    except ValidationError as error:
        if any(one["type"] not in _NEWER for one in error.errors()):
            raise
    facts = _lenient().validate_python(_readable(json.loads(text)))
    # Two elements that differ only in what we do not know are one here.
    sets: dict[str, Any] = {name: tuple(sorted({*getattr(facts, name)})) for name in _SETS}
    return replace(facts, **sets), text


#: The errors of a text that a newer version wrote: a member that no field reads, and a word that an enum does not have.
_NEWER: Final = frozenset({"unexpected_keyword_argument", "enum"})


def _readable(stored: Mapping[str, Any]) -> dict[str, Any]:
    """Return the stored facts without the elements of sets that hold a word of a newer version.

    Such a word outside of a set stays, so that the facts cannot be read: a read of an order without one of its lines
    would be another read.
    """
    return {
        name: [one for one in value if _known(name, [one])] if isinstance(value, list) else value
        for name, value in stored.items()
    }


def _known(name: str, value: object) -> Any:
    """Return the part of a stored member that this version knows, as it would write it. None: it cannot be read."""
    try:
        facts = _lenient().validate_python({name: value})
    except ValidationError:
        return None
    return _lenient().dump_python(facts, mode="json", by_alias=True, exclude_defaults=True).get(name)


def _with_newer(mine: dict[str, Any], stored: Mapping[str, Any]) -> dict[str, Any]:
    """Return the facts to write, `mine`, with everything of the stored facts that this version does not know."""
    return mine | {name: _member(name, mine.get(name), value) for name, value in stored.items()}


def _member(name: str, mine: Any, stored: Any) -> Any:
    if name not in _MEMBERS:
        return stored
    if isinstance(stored, list):
        return _elements(name, mine or [], stored)
    return stored if _known(name, stored) == mine else mine


def _elements(name: str, mine: Sequence[Any], stored: Sequence[Any]) -> list[Any]:
    """Return the elements of a set to write. An element of which this version knows only a part is written as it is
    stored. Elements that this version cannot read come last, as they are stored."""
    known = [(_known(name, [one]) or [None])[0] for one in stored]
    found: list[Any] = []
    for one in mine:
        found += [verbatim for verbatim, part in zip(stored, known, strict=True) if part == one] or [one]
    return found + [verbatim for verbatim, part in zip(stored, known, strict=True) if part is None]
