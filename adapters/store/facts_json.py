"""The facts of an order as JSON, as the columns `orders.facts` and `journal.says` hold them."""

from typing import Final

from pydantic import TypeAdapter

from statemachine.facts import Facts

_FACTS: Final = TypeAdapter(Facts)


def facts_to_json(facts: Facts) -> str:
    """Only what is known: fields that say nothing are left out."""
    return _FACTS.dump_json(facts, exclude_defaults=True).decode()


def facts_from_json(text: str) -> Facts:
    return _FACTS.validate_json(text)
