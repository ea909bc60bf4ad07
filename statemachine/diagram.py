"""The table as pictures and prose. The README and docs/states.md hold what these functions return; a test compares."""

from itertools import pairwise

from statemachine.states import State
from statemachine.table import TABLE, Edge

#: The way of nearly every order, drawn with words on its arrows.
_USUAL = tuple(pairwise(state for state in State if not state.is_final))


def mermaid(table: tuple[Edge, ...] = TABLE) -> str:
    """A Mermaid state diagram: every edge of the table, the usual way with the kinds of event on it."""
    lines = ["stateDiagram-v2", "    [*] --> new"]
    for edge in table:
        label = f": {', '.join(edge.on)}" if (edge.source, edge.target) in _USUAL else ""
        lines.append(f"    {edge.source} --> {edge.target}{label}")
    lines += [f"    {state} --> [*]" for state in State if state.is_final]
    return "\n".join(lines)


def overview(table: tuple[Edge, ...] = TABLE) -> str:
    """The usual way alone, with what each of its edges means: small enough to read at a glance."""
    lines = ["stateDiagram-v2", "    direction LR", "    [*] --> new"]
    lines += [
        f"    {edge.source} --> {edge.target}: {edge.means}" for edge in table if (edge.source, edge.target) in _USUAL
    ]
    return "\n".join(lines)


def markdown(table: tuple[Edge, ...] = TABLE) -> str:
    """The whole table as Markdown."""
    rows = ["| from | on | to | what it means |", "|---|---|---|---|"]
    rows += [f"| `{e.source}` | {', '.join(f'`{kind}`' for kind in e.on)} | `{e.target}` | {e.means} |" for e in table]
    return "\n".join(rows)
