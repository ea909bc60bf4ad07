"""What of an order needs a person, and why."""

from dataclasses import dataclass
from typing import Final

from statemachine.commands import CommandKind, Needs, Policy, _blocked_by, _round
from statemachine.facts import DEBIT, PAY_ON_SHIPMENT, Facts, Snapshot
from statemachine.readings import (
    _is_foreign,
    acceptance,
    all_sent,
    best_tracking,
    last_act,
    last_answer,
    sent_quantity,
    unsent_parts,
)
from statemachine.states import State

#: Code of a rejection by the OMS because it holds the order already, which no attempt of ours explains.
ALREADY_THERE: Final = "ALREADY_IN_OMS"


@dataclass(frozen=True, slots=True, order=True)
class Concern:
    """One reason why a person should look (docs/attention.md holds the cure of each)."""

    reason: str
    detail: str = ""

    @property
    def token(self) -> str:
        """What `settle` covers."""
        return f"{self.reason}:{self.detail}"


#: Every reason, with what it means. Reasons in HOLDS stop every command of the order.
REASONS: Final = {
    "no_edge": "the facts want a state that no row of the table leads to",
    "unknown_state": "Mirakl shows a state that this version does not know",
    "needs_decision": "the shop's policy leaves the acceptance of this order to a person",
    "nothing_to_accept": "Mirakl waits for a decision on an order that it shows without lines",
    "address_missing": "Mirakl shows SHIPPING without an address; the order is read again",
    "nothing_to_import": "Mirakl shows SHIPPING without any open line",
    "accept_rejected": "Mirakl refused the acceptance and still waits for it",
    "import_rejected": "the order cannot be imported as it is, or the OMS refused it",
    "already_in_oms": "the OMS holds this order, and no attempt of ours explains it",
    "tracking_rejected": "Mirakl refused the tracking",
    "shipment_rejected": "Mirakl refused to mark the order shipped, on the tracking that it holds",
    "gave_up": "a call was retried until its deadline",
    "not_applied": "Mirakl said yes several times and never did it",
    "oms_canceled": "the OMS canceled the order or a line; nothing is sent until a person settles it",
    "canceled_after_import": "Mirakl canceled an order that the OMS has, or may have",
    "canceled_after_dispatch": "Mirakl canceled or refused an order whose goods have left",
    "dead_in_mirakl": "Mirakl refused an order that the OMS works on",
    "lines_canceled_after_import": "Mirakl canceled lines that the OMS has",
    "partly_sent": "some of the order has left, the rest has not",
    "sent_before_shipping": "the goods left before Mirakl allowed it",
    "quantity_exceeds_order": "the OMS sent more of a line than was ordered",
    "foreign_tracking": "Mirakl shows a tracking that is not ours; it stays",
    "held_in_oms": "the OMS stored the order and holds it for an error",
    "held": "a person holds this order",
}
HOLDS: Final = frozenset({"no_edge", "oms_canceled", "held"})


def _command_concerns(facts: Facts, needs: Needs) -> list[Concern]:
    names = {
        CommandKind.ACCEPT: "accept",
        CommandKind.IMPORT: "import",
        CommandKind.TRACK: "tracking",
        CommandKind.CONFIRM: "shipment",
    }
    found = []
    for kind, (carries, basis) in needs.items():
        blocked = _blocked_by(facts, kind, carries, basis)
        if not blocked:
            continue
        detail = f"{kind}#{_round(facts, kind, carries)}"
        if blocked == "rejected":
            last = max(r for r in facts.rejections if (r.kind, r.carries, r.basis) == (kind, carries, basis))
            # A 400 may only mean that the order had moved on: that shows at the next read (docs/rules.md 19).
            looked = facts.snapshot is not None and facts.snapshot.read_at > last.at
            if last.code == ALREADY_THERE:
                found.append(Concern("already_in_oms"))
            elif kind in (CommandKind.IMPORT, CommandKind.TRACK) or looked:
                found.append(Concern(f"{names[kind]}_rejected", detail))
        else:
            found.append(Concern(blocked, detail))
    return found


def _order_concerns(facts: Facts, policy: Policy, state: str) -> list[Concern]:
    snapshot = facts.snapshot
    dead = state in (State.CANCELED, State.REFUSED)
    found = list(_oms_concerns(facts, state, dead))
    if facts.unknown is not None and facts.newest is facts.unknown:
        found.append(Concern("unknown_state", facts.unknown.state))
    held = last_act(facts, "hold", "settle", "accept", "refuse")
    if held is not None and held.act == "hold":
        found.append(Concern("held"))
    if snapshot is None:
        return found
    if dead:
        found.extend(_dead_concerns(facts, state))
    if snapshot.state == "WAITING_ACCEPTANCE" and not snapshot.lines:
        found.append(Concern("nothing_to_accept"))
    elif snapshot.state == "WAITING_ACCEPTANCE" and not acceptance(facts, policy):
        found.append(Concern("needs_decision"))
    if state == State.SHIPPING and not snapshot.has_address:
        found.append(Concern("address_missing"))
    if state == State.SHIPPING and not snapshot.open_lines:
        found.append(Concern("nothing_to_import"))
    too_early = snapshot.state == "WAITING_ACCEPTANCE" or (
        snapshot.state in DEBIT and snapshot.workflow != PAY_ON_SHIPMENT
    )
    if state == State.DISPATCHED and too_early:
        found.append(Concern("sent_before_shipping"))
    if (
        _is_foreign(facts, snapshot.tracking)
        and best_tracking(facts)
        and not snapshot.tracking.shows(best_tracking(facts))
    ):
        found.append(Concern("foreign_tracking"))
    if not dead and (canceled := _canceled_in_oms_hands(facts, snapshot)):
        found.append(Concern("lines_canceled_after_import", ",".join(canceled)))
    found.extend(
        Concern("quantity_exceeds_order", line.id)
        for line in snapshot.lines
        if sent_quantity(facts, line.id) > max(line.quantity, 1)
    )
    return found


def _oms_concerns(facts: Facts, state: str, dead: bool) -> list[Concern]:
    found: list[Concern] = []
    if not dead:
        found.extend(
            Concern("oms_canceled", ",".join([str(c.oms_id), *(f"{line}*{n}" for line, n in c.items)]))
            for c in facts.cancellations
        )
    some_sent = bool(facts.dispatches) and not all_sent(facts)
    if (state == State.IMPORTED and some_sent) or (state == State.DISPATCHED and unsent_parts(facts)):
        found.append(Concern("partly_sent"))
    if not facts.dispatches and not dead and any(part.has_error for part in facts.parts):
        found.append(Concern("held_in_oms"))
    return found


def _dead_concerns(facts: Facts, state: str) -> list[Concern]:
    """Mirakl ended the order. Nobody has to look where the OMS never had it, or ended it too."""
    if facts.dispatches:
        return [Concern("canceled_after_dispatch")]
    ended_in_oms = {c.oms_id for c in facts.cancellations if not c.items}
    alive_in_oms = {part.oms_id for part in facts.parts} - ended_in_oms
    tried = (
        any(a.kind == CommandKind.IMPORT for a in facts.attempts) or last_answer(facts, CommandKind.IMPORT) is not None
    )
    refused_there = any(r.kind == CommandKind.IMPORT for r in facts.rejections)
    if alive_in_oms or (tried and not facts.parts and not refused_there):
        return [Concern("dead_in_mirakl" if state == State.REFUSED else "canceled_after_import")]
    return []


def _canceled_in_oms_hands(facts: Facts, snapshot: Snapshot) -> list[str]:
    imported = {line for part in facts.parts for line in part.lines}
    return [line.id for line in snapshot.lines if not line.is_open and line.id in imported]
