"""The audit of a demo: compares the simulators' books with orderflow's journal. It counts effects, not requests."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from adapters.simulators.books import Effect
from adapters.simulators.stage import Life
from statemachine.commands import CommandKind
from statemachine.questions.ids_in_text import entries, read

#: Our command for each effect that a call with the shop's key can have.
COMMAND_OF: Final = {
    "accepted": CommandKind.ACCEPT,
    "refused": CommandKind.ACCEPT,
    "imported": CommandKind.IMPORT,
    "tracking": CommandKind.TRACK,
    "shipped": CommandKind.CONFIRM,
}


@dataclass(frozen=True, slots=True)
class JournalSummary:
    """What orderflow's journal says of one order."""

    state: str
    done: Counter[str] = field(default_factory=Counter)  # command: how often the remote answered that it was done
    unknown: Counter[str] = field(default_factory=Counter)  # command: attempts whose outcome is unknown
    listed: frozenset[str] = frozenset()  # reasons that orderflow's attention list showed at some time
    attention: frozenset[str] = frozenset()  # those that stand now


def audit(
    lives: Sequence[Life], effects: Iterable[Effect], journal: Mapping[tuple[str, str], JournalSummary]
) -> list[str]:
    """Return every mistake, as a sentence. The list is empty if there is none. `journal`: by marketplace and order id.

    Our calls must have accepted, refused, imported and shipped an order once if its life says so, and never otherwise.
    An order must have the state that its life names and, if it is shipped, the tracking that its life names. The OMS
    must have got the pieces that its life names, and no others. The attention list must have shown every reason that
    its life names. At the end it must hold every order that is not shipped, refused or canceled. The journal must
    explain each effect of our calls, and each success in the journal must have an effect.
    """
    by_order: dict[str, list[Effect]] = {}
    for effect in effects:
        by_order.setdefault(effect.order_id, []).append(effect)
    findings = [
        f"{order_id}: is in the books, but belongs to no life"
        for order_id in sorted(by_order.keys() - {life.order_id for life in lives})
    ]
    for life in lives:
        of_order = by_order.get(life.order_id, [])
        summary = journal.get((life.marketplace, life.order_id))
        findings += [f"{life.order_id} ({life.story}): {text}" for text in _of_one(life, of_order, summary)]
    return findings


def _of_one(life: Life, effects: Sequence[Effect], journal: JournalSummary | None) -> Iterable[str]:
    if journal is None:
        yield "lost: orderflow has never seen it"
        return
    if journal.state != life.ends:
        yield f"ended {journal.state}, should be {life.ends}"
    by_api = Counter(effect.kind for effect in effects if effect.by == "api" and effect.kind in COMMAND_OF)
    expected = {
        "accepted": int(life.accepted_by == "api"),
        "refused": int(life.refused_by == "api"),
        "imported": int(life.imported),
        "shipped": int(life.shipped_by == "api"),
    }
    for kind, wanted in expected.items():
        if by_api[kind] != wanted:
            what = "lost" if by_api[kind] < wanted else "doubled" if wanted else "not ours to do"
            yield f"{what}: {kind} {by_api[kind]} times by us, should be {wanted}"
    numbers = [effect.detail.get("tracking") or None for effect in effects if effect.kind == "tracking"]
    last = numbers[-1] if numbers else None
    if life.ends == "shipped" and last != life.last_tracking:
        yield f"the last tracking is {last}, the newest dispatch's is {life.last_tracking}"
    yield from _wrong_goods(life, effects)
    yield from _not_listed(life, journal)
    yield from _unexplained(by_api, journal)


def _wrong_goods(life: Life, effects: Sequence[Effect]) -> Iterable[str]:
    """Compare the pieces and attributes that the OMS got with those that it has to have."""
    imports = [effect.detail for effect in effects if effect.kind == "imported"]
    made = {
        read(line): int(pieces)
        for detail in imports
        for line, _, pieces in (one.rpartition("=") for one in entries(detail.get("pieces", "")))
    }
    wanted = dict(life.goods)
    for line in sorted({*made, *wanted}) if imports else ():
        if made.get(line, 0) != wanted.get(line, 0):
            yield f"goods: the OMS makes {made.get(line, 0)} pieces of {line}, should be {wanted.get(line, 0)}"
    for name in life.attributes if imports else ():
        if all(name not in detail.get("attributes", "").split(",") for detail in imports):
            yield f"the OMS did not get the attribute {name}"


#: The states in which orderflow expects nothing more.
_FINAL: Final = ("shipped", "refused", "canceled")


def _not_listed(life: Life, journal: JournalSummary) -> Iterable[str]:
    for reason in life.reasons:
        if reason not in journal.listed | journal.attention:
            yield f"the attention list never showed: {reason}"
    if journal.state not in _FINAL and not journal.attention:
        yield f"waits in {journal.state} for nothing, and is on no list"


def _unexplained(by_api: Counter[str], journal: JournalSummary) -> Iterable[str]:
    effects_of: Counter[str] = Counter()
    for kind, count in by_api.items():
        effects_of[COMMAND_OF[kind]] += count
    for command in sorted({*effects_of, *journal.done}):
        explained = journal.done[command] + journal.unknown[command]
        if effects_of[command] > explained:
            yield f"unexplained: {command} had {effects_of[command]} effects, our journal explains {explained}"
        if journal.done[command] and not effects_of[command]:
            yield f"without effect: our journal says that {command} was done, the books do not show it"
