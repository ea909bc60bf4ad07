"""What people changed and decided: switches, offsets, dead letters, accounts, orders."""

from dataclasses import dataclass
from datetime import datetime
from typing import Final

from adapters.store import audit as audit_rows
from adapters.store import journal as journal_rows
from adapters.store.transaction import Store

#: No row of the journal has a greater id.
_NEWEST: Final = 2**63 - 1


@dataclass(frozen=True, slots=True)
class Act:
    """One thing that somebody did. `who`: the system's user that ran the command; with `--who NAME`, NAME as that user;
    "orderflow" for a pause that orderflow itself made."""

    at: datetime
    who: str
    act: str
    subject: str
    why: str


def acts(store: Store, since: datetime, who: str = "") -> list[Act]:
    """Every act since this instant, the newest first. `who`: only of those whose name holds this text."""
    found = [Act(row.at, row.who, row.act, row.subject, row.why) for row in audit_rows.since(store, since)]
    first = journal_rows.id_at(store, since)
    for row in journal_rows.decisions(store, first - 1, _NEWEST):
        order = f"{row.event.shop} {row.event.order_id}"
        for one in row.event.new_facts.decisions:
            if one.at >= since:
                names = ", ".join(dict.fromkeys(token.partition(":")[0] for token in one.subject))
                found.append(Act(one.at, one.who, f"order {one.kind}", f"{order} {names}".rstrip(), one.why))
    named = [one for one in found if who.casefold() in one.who.casefold()]
    return sorted(named, key=lambda one: one.at, reverse=True)
