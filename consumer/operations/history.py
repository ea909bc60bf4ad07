"""When each attention reason of an order began and ended, and by which event.

The journal stores what each event adds to the facts, and no reasons. So the facts are joined again, event by event, and
the reasons are those that this version finds in them with the present settings of the shop. A reason that stands now
has the beginning that is stored with the order.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from itertools import groupby
from typing import Final

from adapters.store.journal import JournalRow
from adapters.store.orders import OrderRow
from consumer.operations.timeline import TimelineRow, timeline, what_happened
from statemachine.commands import Policy
from statemachine.facts import Facts
from statemachine.joining import join
from statemachine.plan import plan
from statemachine.reasons import Reason
from statemachine.states import State

#: What begins a reason that no event begins: a plan after a change of a setting or of orderflow itself.
WITHOUT_EVENT: Final = "orderflow planned the order again, without an event"


@dataclass(frozen=True, slots=True)
class Period:
    """One attention reason, from its beginning to its end. `until` None: it stands now."""

    reason: str
    detail: str
    since: datetime
    began_with: str  # the event in words
    until: datetime | None = None
    ended_with: str = ""
    first: int | None = None  # the version of the order with which it began; None: no event began it
    last: int | None = None  # the version with which it ended


_Key = tuple[str, str]


def periods(order: OrderRow, journal: Sequence[JournalRow], policy: Policy) -> list[Period]:
    """Every attention reason that the order has or had, in the order of their beginnings.

    A reason that begins and ends in one transaction was never stored, and is left out. Of an order that cannot be
    planned only the reasons that stand are known.
    """
    stored = {(str(one.reason), one.detail): one.since for one in order.attention}
    try:
        found = list(_replayed([row for row in journal if row.version <= order.version], policy))
    except Exception:  # a quarantined order may raise anything
        found = []
    known: list[Period] = []
    for one in found:
        key = (one.reason, one.detail)
        if one.until is not None:
            known.append(one)
        elif key in stored:
            since = stored.pop(key)
            at_its_event = (
                one if one.since == since else replace(one, since=since, began_with=WITHOUT_EVENT, first=None)
            )
            known.append(at_its_event)
    known += [Period(reason, detail, since, WITHOUT_EVENT) for (reason, detail), since in stored.items()]
    return sorted(known, key=lambda one: one.since)


def _replayed(journal: Sequence[JournalRow], policy: Policy) -> Iterator[Period]:
    """The periods that the events of the journal amount to. Events that were recorded together were planned once."""
    facts, standing = Facts(), dict[_Key, Period]()
    for at, batch in groupby(journal, key=lambda row: row.recorded_at):
        rows, seen = list(batch), []
        for row in rows:
            facts = join(facts, row.event.new_facts)
            seen.append(_reasons(facts, row.after, policy))
        for key in standing.keys() - seen[-1]:
            row = rows[_last_change(seen, key, before=True)]
            yield replace(standing.pop(key), until=at, ended_with=what_happened(row), last=row.version)
        for key in [one for one in sorted(seen[-1]) if one not in standing]:
            row = rows[_last_change(seen, key, before=False)]
            standing[key] = Period(*key, at, what_happened(row), first=row.version)
    yield from standing.values()


def _last_change(seen: Sequence[Collection[_Key]], key: _Key, *, before: bool) -> int:
    """The last of these rows with which the reason began or ended. `before`: whether it stood before the first."""
    stood = [before, *(key in one for one in seen)]
    return max(number for number in range(len(seen)) if stood[number] != stood[number + 1])


def _reasons(facts: Facts, state: State, policy: Policy) -> set[_Key]:
    """The reasons of an order with these facts that is in this state (consumer/applying/planning.py)."""
    planned = plan(facts, policy)
    found = {(str(one.reason), one.detail) for one in planned.attention}
    if planned.state != state:
        found.add((str(Reason.NO_EDGE), f"{state}->{planned.state}"))
    return found


def timeline_with_reasons(journal: Sequence[JournalRow], known: Sequence[Period]) -> list[TimelineRow]:
    """The timeline, in which each row names the reasons that began and ended with it."""
    begun, ended = dict[int, list[str]](), dict[int, list[str]]()
    for one in known:
        if one.first is not None:
            begun.setdefault(one.first, []).append(one.reason)
        if one.last is not None:
            ended.setdefault(one.last, []).append(one.reason)
    rows = timeline(journal, _names(begun), _names(ended))
    rows += [
        TimelineRow(one.since, None, 1, "plan", WITHOUT_EVENT, "", begins=(one.reason,))
        for one in known
        if one.first is None
    ]
    return rows


def _names(found: Mapping[int, Sequence[str]]) -> dict[int, tuple[str, ...]]:
    return {version: tuple(dict.fromkeys(names)) for version, names in found.items()}
