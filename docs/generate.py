"""Writes the documents that are made from the code: `make docs`. A test compares them with what stands here."""

import re
from pathlib import Path

from consumer import explain, metrics
from statemachine import diagram
from statemachine.states import STATES

ROOT = Path(__file__).resolve().parent.parent

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


def documents() -> dict[Path, str]:
    """Path and text of every generated document; the README with its diagram in place."""
    readme = (ROOT / "README.md").read_text()
    picture = f"```mermaid\n{diagram.overview()}\n```"
    return {
        ROOT / "README.md": re.sub(r"```mermaid\n.*?```", lambda _: picture, readme, count=1, flags=re.DOTALL),
        ROOT / "docs/states.md": STATES_PAGE.format(
            count=len(STATES), edges=len(diagram.TABLE), table=diagram.markdown(), picture=diagram.mermaid()
        ),
        ROOT / "docs/metrics.md": metrics.markdown(),
        ROOT / "docs/attention.md": explain.attention_markdown(),
    }


if __name__ == "__main__":
    for path, text in documents().items():
        path.write_text(text)
