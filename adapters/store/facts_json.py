"""The facts of an order as JSON, as the columns `orders.facts` and `journal.says` hold them.

Some names in JSON are older than the names in Python. They stay, because rows of older versions must be readable.
"""

from collections.abc import Mapping
from typing import Any, Final

from pydantic import ConfigDict, TypeAdapter

from statemachine.facts import Decision, Facts, Snapshot

#: The stored name of each field that has another name in Python.
_STORED_NAMES: Final[Mapping[Any, Mapping[str, str]]] = {
    Facts: {"decisions": "acts"},
    Snapshot: {"digest": "content"},
    Decision: {"kind": "act"},
}


def _adapter() -> TypeAdapter[Facts]:
    for model, names in _STORED_NAMES.items():
        # pydantic reads the settings of a dataclass here. The state machine itself does not import pydantic.
        model.__pydantic_config__ = ConfigDict(alias_generator=lambda name, names=names: names.get(name, name))
    return TypeAdapter(Facts)


_FACTS: Final = _adapter()


def facts_to_json(facts: Facts) -> str:
    """Encode facts. Fields with their default value are left out. Equal facts give equal JSON."""
    return _FACTS.dump_json(facts, by_alias=True, exclude_defaults=True).decode()


def facts_from_json(text: str) -> Facts:
    return _FACTS.validate_json(text)
