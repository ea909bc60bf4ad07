"""Who paused the effects of a shop, since when and why."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from adapters.store.pauses import PauseAct, began
from adapters.store.shops import WRONG_ACCOUNT, ShopRow
from adapters.store.transaction import Store
from consumer.operations.instants import to_the_minute


@dataclass(frozen=True, slots=True)
class Pause:
    """Groups of effects that one act paused.

    `since` None: no act is stored, because the shop is new or the configuration switches its effects off.
    """

    groups: tuple[str, ...]
    since: datetime | None
    who: str
    why: str

    def __str__(self) -> str:
        if self.since is None:
            return f"{' '.join(self.groups)}: {self.why}"
        return f"{' '.join(self.groups)} by {self.who} since {to_the_minute(self.since)}: {self.why}"


def read_pauses(store: Store, shops: Sequence[ShopRow], configured: Mapping[str, str | None]) -> dict[str, list[Pause]]:
    """The pauses of each shop that has one. `configured`: the setting `effects` of each configured shop."""
    found = {shop.name: _pauses_of(store, shop, configured.get(shop.name)) for shop in shops}
    return {shop: pauses for shop, pauses in found.items() if pauses}


def _pauses_of(store: Store, shop: ShopRow, configured: str | None) -> list[Pause]:
    """The pauses of one shop. A group that was paused twice counts from the first time since it was resumed."""
    if not shop.effects:
        why = 'effects = "off" in the configuration' if configured == "off" else "a new shop, until `shops resume`"
        return [Pause(("every effect",), None, "", why)]
    groups = [one for one in shop.paused if one != WRONG_ACCOUNT]
    acts = began(store, shop.name, groups)
    by_act: dict[PauseAct | None, list[str]] = {}
    for group in groups:
        by_act.setdefault(acts.get(group), []).append(group)
    return [
        Pause(tuple(of_act), act.at, act.who, act.why) if act else Pause(tuple(of_act), None, "", "no pause is stored")
        for act, of_act in by_act.items()
    ]
