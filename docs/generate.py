"""Writes the documents that are made from the code: `make docs`. A test compares them with what stands here."""

import json
import re
from pathlib import Path
from typing import Any

from adapters.messages import asyncapi, contract
from consumer.bootstrap import GROUP
from consumer.config import TopicsTable
from consumer.metrics import definitions as metrics
from statemachine import attention, diagram
from statemachine.states import State

ROOT = Path(__file__).resolve().parent.parent
EVENTS = ROOT / "docs/events"

STATES_PAGE = """\
# States and edges

Made from [statemachine/table.py](../statemachine/table.py) by `make docs`; do not edit.

{count} states, {edges} edges. `snapshot`: Mirakl was read. `oms_event`: the OMS reported. `call`: the result of a
call of ours. `act`: a person decided. An event takes at most one edge, over several states if need be.

{table}

```mermaid
{picture}
```
"""

ATTENTION_PAGE = """\
# Attention: what needs a person

An order in trouble keeps its state and gets a reason. `orderflow orders list --attention` lists such orders,
`orderflow orders explain ORDER` shows those of one. **Holds**: no call of the order is made until then.

Made from [statemachine/attention.py](../statemachine/attention.py) by `make docs`; do not edit.

{table}
"""


def documents() -> dict[Path, str]:
    """Path and text of every generated document; the README with its diagram in place."""
    readme = (ROOT / "README.md").read_text()
    picture = f"```mermaid\n{diagram.overview()}\n```"
    return {
        ROOT / "README.md": re.sub(r"```mermaid\n.*?```", lambda _: picture, readme, count=1, flags=re.DOTALL),
        ROOT / "docs/states.md": STATES_PAGE.format(
            count=len(State), edges=len(diagram.TABLE), table=diagram.markdown(), picture=diagram.mermaid()
        ),
        ROOT / "docs/metrics.md": metrics.markdown(),
        ROOT / "docs/attention.md": ATTENTION_PAGE.format(table=attention.markdown()),
        EVENTS / "asyncapi.json": _json(asyncapi.document(TopicsTable().model_dump(), GROUP, _examples())),
        **{EVENTS / f"schemas/{name}.json": _json(contract.schema(name)) for name in contract.MODELS},
    }


def _json(value: Any) -> str:
    return json.dumps(value, indent=2, ensure_ascii=False) + "\n"


def _examples() -> dict[str, list[dict[str, Any]]]:
    """The valid examples by their message. One that is an array shows an order's life, and is no message."""
    messages = {
        "oms": "OmsOrderEvent",
        "snapshot": "OrderSnapshotEvent",
        "transition": "OrderTransitionedEvent",
        "dead": "DeadLetter",
    }
    found: dict[str, list[dict[str, Any]]] = {message: [] for message in messages.values()}
    for path in sorted((EVENTS / "examples/valid").glob("*.json")):
        record = json.loads(path.read_text())
        message = messages[path.stem.partition("-")[0]]
        if message == "DeadLetter":
            found[message].append({"name": path.stem, "headers": record["headers"], "payload": record["value"]})
        elif isinstance(record, dict):
            found[message].append({"name": path.stem, "payload": record})
    return found


if __name__ == "__main__":
    for path, text in documents().items():
        path.write_text(text)
