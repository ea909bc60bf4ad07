"""Prints the fields of a dashboard that Grafana's own model of dashboards (grafana-foundation-sdk) does not know.

It runs in the environment of the linters, with the path of the dashboard.
"""

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.cog.plugins import register_default_plugins
from grafana_foundation_sdk.models.dashboard import Dashboard


def lost(before: Any, after: Any, place: str = "") -> Iterator[str]:
    """The places of what the model did not take over."""
    if isinstance(before, dict) and isinstance(after, dict):
        for name, value in before.items():
            yield from lost(value, after[name], f"{place}/{name}") if name in after else (f"{place}/{name}",)
    elif isinstance(before, list) and isinstance(after, list) and len(before) == len(after):
        for number, (one, other) in enumerate(zip(before, after, strict=True)):
            yield from lost(one, other, f"{place}/{number}")
    elif before != after:
        yield place


register_default_plugins()
dashboard = json.loads(Path(sys.argv[1]).read_text())
modelled = json.loads(JSONEncoder().encode(Dashboard.from_json(dashboard)))
sys.stdout.writelines(f"{place}\n" for place in lost(dashboard, modelled))
