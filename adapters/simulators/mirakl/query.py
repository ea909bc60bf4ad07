"""Query parameters, read strictly: a value that cannot be read is answered with 400."""

from collections.abc import Callable
from datetime import datetime

from adapters.simulators.mirakl.model import ApiError, Json, parse_date


class Query:
    def __init__(self, params: Json, repeated: Callable[[str], list[str]] = lambda _: []) -> None:
        """`repeated` gives all values of a parameter that may occur more than once."""
        self._params = params
        self._repeated = repeated

    def _bad(self, name: str) -> ApiError:
        return ApiError(400, f"Invalid value of parameter '{name}'", "VALIDATION_ERROR", name)

    def number(self, name: str, default: int, least: int) -> int:
        text = self._params.get(name, str(default))
        if not text.isdecimal() or int(text) < least:
            raise self._bad(name)
        return int(text)

    def flag(self, name: str) -> bool | None:
        text = self._params.get(name)
        if text not in (None, "true", "false"):
            raise self._bad(name)
        return None if text is None else text == "true"

    def choice(self, name: str, allowed: tuple[str, ...]) -> str:
        """Return one of `allowed`: the first of them if the parameter is absent."""
        text = str(self._params.get(name, allowed[0]))
        if text not in allowed:
            raise self._bad(name)
        return text

    def date(self, name: str) -> datetime | None:
        if name not in self._params:
            return None
        try:
            return parse_date(self._params[name])
        except ValueError:
            raise self._bad(name) from None

    def codes(self, name: str, limit: int | None = 100) -> set[str] | None:
        """Return the values of a parameter that separates them by commas. None if it is absent."""
        if name not in self._params:
            return None
        values = {value.strip() for value in self._params[name].split(",")}
        if limit is not None and len(values) > limit:
            raise self._bad(name)
        return values

    def repeated(self, name: str) -> set[str] | None:
        """Return the values of a parameter that may occur more than once. None if it is absent."""
        values = set(self._repeated(name))
        if len(values) > 100:
            raise self._bad(name)
        return values or None
