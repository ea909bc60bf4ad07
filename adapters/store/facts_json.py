"""The facts of an order as JSON, as the columns `orders.facts` and `journal.says` hold them.

Some names in JSON are older than the names in Python, and stay: rows of every version have to be readable.
"""

from collections.abc import Mapping
from typing import Any, Final

from pydantic import ConfigDict, TypeAdapter

from statemachine.facts import Decision, Facts, Snapshot

#: The stored name of each field that is stored under another one.
_STORED_NAMES: Final[Mapping[Any, Mapping[str, str]]] = {
    Facts: {"decisions": "acts"},
    Snapshot: {"digest": "content"},
    Decision: {"kind": "act"},
}


def _adapter() -> TypeAdapter[Facts]:
    for model, names in _STORED_NAMES.items():
        # Where pydantic looks for the settings of a dataclass; the state machine knows nothing of pydantic.
        model.__pydantic_config__ = ConfigDict(alias_generator=lambda name, names=names: names.get(name, name))
    return TypeAdapter(Facts)


_FACTS: Final = _adapter()


def facts_to_json(facts: Facts) -> str:
    """Only what is known: fields that say nothing are left out. Equal facts are equal JSON."""
    return _FACTS.dump_json(facts, by_alias=True, exclude_defaults=True).decode()


def facts_from_json(text: str) -> Facts:
    return _FACTS.validate_json(text)
