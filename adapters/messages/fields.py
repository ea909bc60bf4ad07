"""Types of fields for models of the remotes' messages.

Most of them accept wrong values, because real messages differ from the published schemas (docs/mirakl.md 1.5).
"""

from datetime import datetime
from typing import Annotated, Any, get_args

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    GetCoreSchemaHandler,
    GetJsonSchemaHandler,
    StrictStr,
    ValidationError,
    WithJsonSchema,
)
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, PydanticOmit, core_schema

from adapters.messages.text import CONTROL_CHARACTER, DIRECTION_MARK, instant, local_instant, storable, usable_id


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


class Readable(_OrNull):
    """Marks a list from which unreadable elements are left out. Null, and any value that is not a list, becomes empty.

    If the validation's context is a list, a name is added to it for each value that was left out: that of the field
    and, if an element was left out, that of its first field that could not be read, as `items.quantity`.
    """

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        element = core_schema.with_info_wrap_validator_function(_or_omit, handler.generate_schema(get_args(source)[0]))
        elements = core_schema.tuple_schema([element], variadic_item_index=0)
        return core_schema.with_info_before_validator_function(_or_empty, elements)


def _or_omit(value: object, read: core_schema.ValidatorFunctionWrapHandler, info: core_schema.ValidationInfo) -> object:
    try:
        return read(value)
    except ValidationError as errors:
        _note(info, errors)
        raise PydanticOmit from None


def _or_empty(value: object, info: core_schema.ValidationInfo) -> object:
    if isinstance(value, list | tuple):
        return value
    if value is not None:
        _note(info)
    return ()


def _note(info: core_schema.ValidationInfo, errors: ValidationError | None = None) -> None:
    if not isinstance(info.context, list):
        return
    places = errors.errors(include_url=False, include_context=False, include_input=False) if errors else []
    inside = [str(step) for step in places[0]["loc"]] if places else []
    info.context.append(".".join([str(info.field_name), *inside]))


class Message(BaseModel):
    """A part of a remote's message. Unknown fields are ignored. A number is accepted where a text is expected."""

    model_config = ConfigDict(frozen=True, extra="ignore", coerce_numbers_to_str=True)


#: A text, made safe to store. Null, and any value that is neither a text nor a number, becomes "".
Text = Annotated[str, AfterValidator(storable), Loose("")]
#: An instant in UTC, from an ISO 8601 date-time, or from a date alone (its midnight). Anything else becomes None.
Instant = Annotated[datetime | None, BeforeValidator(instant, json_schema_input_type=str), Loose(None)]
#: A date-time as it was written; a date alone is its midnight. Without an offset it has no time zone. Else None.
LocalInstant = Annotated[datetime | None, BeforeValidator(local_instant, json_schema_input_type=str), Loose(None)]
#: An id that can be a key. A model without this field, or with an invalid id, is unreadable.
Id = Annotated[
    StrictStr,
    AfterValidator(usable_id),
    WithJsonSchema(
        {
            "type": "string",
            "maxLength": 200,
            "pattern": "\\S",
            "not": {"anyOf": [{"enum": [".", ".."]}, {"pattern": CONTROL_CHARACTER}, {"pattern": DIRECTION_MARK}]},
        }
    ),
]
