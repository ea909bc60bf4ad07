"""Fields of the remotes' messages. Most are lenient: real messages differ from the published schemas
(docs/mirakl.md 1.5)."""

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
    """Marks a field in which null means absent. The published schema shows that (contract.py)."""

    def __get_pydantic_json_schema__(self, core: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        schema = handler(core)
        schema.pop("default", None)  # the schema of the field holds it too
        return {"anyOf": [schema, {"type": "null"}]}


class Loose(_OrNull):
    """Marks a field that must not fail its message: null and every value of a wrong type become `default`."""

    def __init__(self, default: object) -> None:
        self.default = default

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.with_default_schema(handler(source), default=self.default, on_error="default")


class Listed(_OrNull):
    """Marks a list that may be null, which means empty. Its elements have to be right."""

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_before_validator_function(
            lambda value: () if value is None else value, handler(source)
        )


class Message(BaseModel):
    """A part of a remote's message. Unknown fields are ignored. A number is accepted where a text is expected."""

    model_config = ConfigDict(frozen=True, extra="ignore", coerce_numbers_to_str=True)


#: Text that is made safe to store. Anything else, null too, is "".
Text = Annotated[str, AfterValidator(storable), Loose("")]
#: An instant in UTC, or None for anything that is not an ISO 8601 date-time.
Instant = Annotated[datetime | None, BeforeValidator(instant, json_schema_input_type=str), Loose(None)]
#: An identifier that can be a key. A message without it, or with a wrong one, fails.
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
