"""Types of fields for models of the remotes' messages.

Most of them accept wrong values, because real messages differ from the published schemas (docs/mirakl.md 1.5).
"""

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


class _OrNull:
    """Marks a field in which null means absent, and adds null to the field's published schema (contract.py)."""

    def __get_pydantic_json_schema__(self, core: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        schema = handler(core)
        schema.pop("default", None)  # it is already in the schema of the field
        return {"anyOf": [schema, {"type": "null"}]}


class Loose(_OrNull):
    """Marks a field that never makes its message unreadable: null and any invalid value become `default`."""

    def __init__(self, default: object) -> None:
        self.default = default

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.with_default_schema(handler(source), default=self.default, on_error="default")


class Listed(_OrNull):
    """Marks a list that may be null, which means empty. An invalid element makes the message unreadable."""

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_before_validator_function(
            lambda value: () if value is None else value, handler(source)
        )


class Message(BaseModel):
    """A part of a remote's message. Unknown fields are ignored. A number is accepted where a text is expected."""

    model_config = ConfigDict(frozen=True, extra="ignore", coerce_numbers_to_str=True)


#: A text, made safe to store. Null, and any value that is neither a text nor a number, becomes "".
Text = Annotated[str, AfterValidator(storable), Loose("")]
#: An instant in UTC. Anything that is not an ISO 8601 date-time becomes None.
Instant = Annotated[datetime | None, BeforeValidator(instant, json_schema_input_type=str), Loose(None)]
#: An id that can be a key. A message without this field, or with an invalid id, is unreadable.
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
