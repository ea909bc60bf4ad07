"""The table as pictures and as Markdown: what the README and docs/states.md hold. A test compares."""

from itertools import pairwise
from typing import Final

from statemachine.states import State
from statemachine.table import TABLE, Edge

#: The edges that nearly every order takes. Only these arrows get a text.
_USUAL = tuple(pairwise(state for state in State if not state.is_final))

#: What an order in each state waits for, and what a person can do about it. The commands are those of `orderflow`.
_LIFE: Final = {
    State.NEW: ("the first read that shows its state; Mirakl checks it in STAGING", "`orders hold`"),
    State.WAITING_ACCEPTANCE: (
        "OR21: by the shop's policy, or by a person's decision",
        "`orders accept`, `orders refuse`, with `--line` for lines; `orders handled` if it was answered in the portal",
    ),
    State.ACCEPTED: ("a read that shows the acceptance; without it OR21 goes out again", "`orders hold`"),
    State.AWAITING_PAYMENT: ("the customer's money, which Mirakl debits", "ask the operator if it takes long"),
    State.SHIPPING: (
        "the import: POST /order, with an address and an open line",
        "`orders release` if a person has to decide; `orders handled` if it was keyed in by hand; `orders hold`",
    ),
    State.IMPORTED: (
        "the OMS's report that every open line is sent",
        "`orders sent` if the goods left without a report; a hold stops our calls, not the OMS",
    ),
    State.DISPATCHED: (
        "OR23 (tracking), OR24 (shipment), and a read that shows it shipped",
        "`orders sent --tracking` adds a number; `orders handled` if it was marked shipped in the portal",
    ),
    State.SHIPPED: ("nothing; a better tracking is still sent", "nothing, unless a reason stands"),
    State.REFUSED: ("nothing: final", "stop it in the OMS if a reason says so, then `orders settle`"),
    State.CANCELED: ("nothing: final", "stop it in the OMS if a reason says so, then `orders settle`"),
}


def life() -> str:
    """What each state waits for, as Markdown."""
    rows = ["| state | waits for | a person can |", "|---|---|---|"]
    rows += [f"| `{state}` | {waits} | {can} |" for state, (waits, can) in _LIFE.items()]
    return "\n".join(rows)


def mermaid(table: tuple[Edge, ...] = TABLE) -> str:
    """A Mermaid state diagram of every edge. Only the usual edges show their kinds of event."""
    lines = ["stateDiagram-v2", "    [*] --> new"]
    for edge in table:
        label = f": {', '.join(edge.on)}" if (edge.source, edge.target) in _USUAL else ""
        lines.append(f"    {edge.source} --> {edge.target}{label}")
    lines += [f"    {state} --> [*]" for state in State if state.is_final]
    return "\n".join(lines)


def overview(table: tuple[Edge, ...] = TABLE) -> str:
    """A Mermaid diagram of the usual edges only, with what each of them means."""
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
