"""Who paused the effects of a shop, since when and why."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from adapters.store.pauses import Switched, switched
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
    acts = switched(store)
    found = {shop.name: pauses_of(shop, acts, configured.get(shop.name)) for shop in shops}
    return {shop: pauses for shop, pauses in found.items() if pauses}


def pauses_of(shop: ShopRow, acts: Sequence[Switched], configured: str | None) -> list[Pause]:
    """The pauses of one shop. A group that was paused twice counts from the first time since it was resumed."""
    if not shop.effects:
        why = 'effects = "off" in the configuration' if configured == "off" else "a new shop, until `shops resume`"
        return [Pause(("every effect",), None, "", why)]
    by_act: dict[Switched | None, list[str]] = {}
    for group in (one for one in shop.paused if one != WRONG_ACCOUNT):
        by_act.setdefault(_began(shop.name, group, acts), []).append(group)
    return [
        Pause(tuple(groups), act.at, act.who, act.why) if act else Pause(tuple(groups), None, "", "no pause is stored")
        for act, groups in by_act.items()
    ]


def _began(shop: str, group: str, acts: Sequence[Switched]) -> Switched | None:
    """The act with which the present pause of this group began."""
    began = None
    for act in acts:
        if act.shop == shop and act.group in ("", group):
            began = None if act.act == "resume" else began or act
    return began
