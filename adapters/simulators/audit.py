"""The simulators' books against what orderflow believes that it did. Effects count, not requests."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from adapters.simulators.books import Effect
from adapters.simulators.stage import Life

#: Our command for each effect that a call with the shop's key can have.
COMMAND_OF: Final = {
    "accepted": "accept_order",
    "refused": "accept_order",
    "imported": "import_order",
    "tracking": "send_tracking",
    "shipped": "confirm_shipment",
}


@dataclass(frozen=True, slots=True)
class Told:
    """What our own journal says of one order."""

    state: str
    done: Counter[str] = field(default_factory=Counter)  # command -> answers that said yes
    unsure: Counter[str] = field(default_factory=Counter)  # command -> tries whose outcome nobody knows


def audit(lives: Sequence[Life], effects: Iterable[Effect], told: Mapping[tuple[str, str], Told]) -> list[str]:
    """Everything that does not hold, as sentences; nothing where all is well.

    Accepted, imported and shipped once each, by whom the life says; the last tracking is the newest dispatch's; our
    journal explains every effect of ours, and every yes in it stands in the books; each order ended where it should.
    """
    by_order: dict[str, list[Effect]] = {}
    for effect in effects:
        by_order.setdefault(effect.order_id, []).append(effect)
    findings = [
        f"{order_id}: is in the books, and in nobody's life"
        for order_id in sorted(by_order.keys() - {life.order_id for life in lives})
    ]
    for life in lives:
        mine = by_order.get(life.order_id, [])
        ours = told.get((life.marketplace, life.order_id))
        findings += [f"{life.order_id} ({life.story}): {text}" for text in _of_one(life, mine, ours)]
    return findings


def _of_one(life: Life, effects: Sequence[Effect], told: Told | None) -> Iterable[str]:
    if told is None:
        yield "lost: orderflow has never seen it"
        return
    if told.state != life.ends:
        yield f"ended {told.state}, should be {life.ends}"
    by_api = Counter(effect.kind for effect in effects if effect.by == "api" and effect.kind in COMMAND_OF)
    expected = {
        "accepted": int(life.accepted_by == "api"),
        "refused": 0,
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
    yield from _unexplained(by_api, told)


def _unexplained(by_api: Counter[str], told: Told) -> Iterable[str]:
    effects_of: Counter[str] = Counter()
    for kind, count in by_api.items():
        effects_of[COMMAND_OF[kind]] += count
    for command in sorted({*effects_of, *told.done}):
        known = told.done[command] + told.unsure[command]
        if effects_of[command] > known:
            yield f"unexplained: {command} had {effects_of[command]} effects, our journal knows of {known}"
        if told.done[command] and not effects_of[command]:
            yield f"believed: our journal says {command} was done, the books know nothing of it"
