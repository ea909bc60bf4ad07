"""The table as pictures and as Markdown: what the README and docs/states.md hold. A test compares."""

from itertools import pairwise

from statemachine.states import State
from statemachine.table import TABLE, Edge

#: The way of nearly every order. Only these arrows get words.
_USUAL = tuple(pairwise(state for state in State if not state.is_final))


def mermaid(table: tuple[Edge, ...] = TABLE) -> str:
    """A Mermaid state diagram of every edge. Only the edges of the usual way show their kinds of event."""
    lines = ["stateDiagram-v2", "    [*] --> new"]
    for edge in table:
        label = f": {', '.join(edge.on)}" if (edge.source, edge.target) in _USUAL else ""
        lines.append(f"    {edge.source} --> {edge.target}{label}")
    lines += [f"    {state} --> [*]" for state in State if state.is_final]
    return "\n".join(lines)


def overview(table: tuple[Edge, ...] = TABLE) -> str:
    """The usual way only, with what each of its edges means."""
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
