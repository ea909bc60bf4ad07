"""Lenient fields: the published schemas of the remotes are no validators (docs/mirakl.md 1.5)."""

from datetime import datetime
from typing import Annotated, Any

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    GetCoreSchemaHandler,
    GetJsonSchemaHandler,
    StrictStr,
    WithJsonSchema,
)
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, core_schema

from adapters.messages.text import CONTROL_CHARACTER, instant, storable, usable_id

# -- Models: lenient, because the published schemas are no validators (docs/mirakl.md 1.5) ---------------------------


class _OrNull:
    """Null is as good as absent; the published schema says so (contract.py)."""

    def __get_pydantic_json_schema__(self, core: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        schema = handler(core)
        schema.pop("default", None)  # the field's own says it
        return {"anyOf": [schema, {"type": "null"}]}


class Loose(_OrNull):
    """Marks a field that must not fail its message: null and every wrong type become `default`."""

    def __init__(self, default: object) -> None:
        self.default = default

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.with_default_schema(handler(source), default=self.default, on_error="default")


class Listed(_OrNull):
    """Marks a list of which null is an empty one. What it holds has to be right."""

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_before_validator_function(
            lambda value: () if value is None else value, handler(source)
        )


class Message(BaseModel):
    """Part of a remote's message. Unknown fields are ignored; a number serves as text."""

    model_config = ConfigDict(frozen=True, extra="ignore", coerce_numbers_to_str=True)


Text = Annotated[str, AfterValidator(storable), Loose("")]
Instant = Annotated[datetime | None, BeforeValidator(instant, json_schema_input_type=str), Loose(None)]
Id = Annotated[
    StrictStr,
    AfterValidator(usable_id),
    WithJsonSchema(
        {
            "type": "string",
            "maxLength": 200,
            "pattern": "\\S",
            "not": {"anyOf": [{"enum": [".", ".."]}, {"pattern": CONTROL_CHARACTER}]},
        }
    ),
]
