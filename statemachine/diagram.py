"""The table as pictures and as Markdown: what the README and docs/states.md hold. A test compares."""

from dataclasses import dataclass
from itertools import pairwise
from typing import Final

from statemachine.states import State
from statemachine.table import TABLE, Edge

#: The edges that nearly every order takes. Only these arrows get a text.
_USUAL = tuple(pairwise(state for state in State if not state.is_final))


@dataclass(frozen=True, slots=True)
class _Life:
    """What an order manager has to know of a state."""

    portal: str  # what the seller portal of Mirakl shows (docs/mirakl.md 4.2)
    acts: str  # who has to act
    next: str  # what orderflow does next
    deadline: str  # which deadline runs, and the reason that it gives
    can: str  # what a person can do; the commands are those of `orderflow`


_ACCEPT_BY: Final = "Mirakl's `acceptance_deadline`, else `accept_within_hours` after the order: `acceptance_due`"
_SHIP_BY: Final = "Mirakl's `shipping_deadline`, else 14 days after the order: `shipping_due`"
_PAY_BY: Final = "`payment_within_hours`: `payment_late`"
_LIFE: Final = {
    State.NEW: _Life(
        "Fraud Check Pending, or not shown yet",
        "the operator",
        "reads it again at each poll, until Mirakl shows its state",
        "none of Mirakl's. If the OMS reports it and Mirakl does not show it: `gone_after_hours`, `unknown_to_mirakl`",
        "`orders hold`",
    ),
    State.WAITING_ACCEPTANCE: _Life(
        "Pending Acceptance",
        "orderflow by the shop's policy, or a person (`needs_decision`)",
        "OR21 answers Mirakl",
        _ACCEPT_BY,
        "`orders accept`, `orders refuse`, with `--line` for lines; `orders handled` if it was answered in the portal",
    ),
    State.ACCEPTED: _Life(
        "Pending Acceptance, soon the next label",
        "Mirakl",
        "waits for a read that shows the acceptance; without it OR21 goes out again",
        "none until that read",
        "`orders hold`",
    ),
    State.AWAITING_PAYMENT: _Life(
        "Pending Debit, Debit in Progress",
        "Mirakl, which debits the customer",
        "waits for a read that shows SHIPPING; no call hastens that",
        _PAY_BY,
        "ask the operator if it takes long",
    ),
    State.SHIPPING: _Life(
        "Awaiting Shipment",
        "orderflow",
        "imports it: POST /order, with an address and an open line",
        _SHIP_BY,
        "`orders release` if a person has to decide; `orders handled` if it was keyed in by hand; `orders hold`",
    ),
    State.IMPORTED: _Life(
        "Awaiting Shipment; Pending Debit or Debit in Progress while Mirakl debits the customer",
        "the OMS, which makes and sends it",
        "waits for the OMS's report that every open line is sent",
        f"{_SHIP_BY}. While Mirakl debits the customer: {_PAY_BY}",
        "`orders sent` if the goods left without a report; a hold stops our calls, not the OMS",
    ),
    State.DISPATCHED: _Life(
        "Awaiting Shipment; Pending Debit or Debit in Progress where the customer pays at the shipment",
        "orderflow, then Mirakl",
        "OR23 gives the tracking, OR24 the shipment; then it waits for a read that shows it shipped",
        f"{_SHIP_BY}. While Mirakl debits the customer: {_PAY_BY}",
        "`orders sent --tracking` adds a number; `orders handled` if it was marked shipped in the portal",
    ),
    State.SHIPPED: _Life(
        "Shipped, To Collect, Received, Closed; Pending Debit or Debit in Progress where the customer pays later",
        "nobody",
        "only sends a better tracking",
        "none; while Mirakl debits the customer `payment_within_hours`, but not in PAY_ON_DELIVERY and PAY_ON_DUE_DATE",
        "nothing, unless a reason stands",
    ),
    State.REFUSED: _Life(
        "Rejected", "nobody", "nothing: final", "none", "stop it in the OMS if a reason says so, then `orders settle`"
    ),
    State.CANCELED: _Life(
        "Canceled", "nobody", "nothing: final", "none", "stop it in the OMS if a reason says so, then `orders settle`"
    ),
}


def life() -> str:
    """What an order manager has to know of each state, as Markdown."""
    rows = [
        "| state | in Mirakl's portal | who has to act | what orderflow does next | which deadline | a person can |",
        "|---|---|---|---|---|---|",
    ]
    rows += [
        f"| `{state}` | {one.portal} | {one.acts} | {one.next} | {one.deadline} | {one.can} |"
        for state, one in _LIFE.items()
    ]
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
