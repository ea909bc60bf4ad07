"""`orderflow config`: what is set, and what can be set."""

import re
import tomllib
from collections.abc import Mapping
from typing import Any

from consumer import config
from consumer.cli.options import FILE, Config, Json, group
from consumer.cli.output import print_json, print_rows
from consumer.config import Settings

commands = group("The configuration: what is set, and what can be set.")


@commands.command("show")
def config_show(file: Config = FILE, as_json: Json = False) -> None:
    """Print every setting, and where its value comes from: environment, file or default.

    Secrets belong in files of their own, whose paths are shown. A secret, or a user and password in an address, is
    shown as (hidden).

    \b
    Example:
      ORDERFLOW_WEB__PORT=9000 orderflow config show
    """
    values = _flat(config.load(file).model_dump(mode="json"))
    environment, written = _flat(config.origins()), _flat(tomllib.loads(file.read_text(encoding="utf-8")))

    def origin(key: str) -> str:
        return "environment" if key in environment else "file" if key in written else "default"

    rows = [{"key": key, "value": _redacted(key, value), "origin": origin(key)} for key, value in values.items()]
    print_rows(rows, as_json)


@commands.command("schema")
def config_schema() -> None:
    """Print the JSON Schema of the configuration, for editors and checks.

    \b
    Example:
      orderflow config schema > orderflow.schema.json
    """
    print_json(Settings.model_json_schema())


def _flat(tables: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested tables as dotted keys."""
    found: dict[str, Any] = {}
    for name, value in tables.items():
        if isinstance(value, Mapping) and value:
            found |= _flat(value, f"{prefix}{name}.")
        else:
            found[f"{prefix}{name}"] = value
    return found


def _redacted(key: str, value: Any) -> Any:
    """The value, unless it is a secret. Secrets belong in files of their own. A secret that is set here is hidden."""
    name = key.rsplit(".", maxsplit=1)[-1]
    if value and re.search("password|secret|token", name) and not name.endswith("_file"):
        return "(hidden)"
    return re.sub(r"//\S*@", "//(hidden)@", value) if isinstance(value, str) else value
