"""Fair turns: how many calls each lane may begin. claims.py decides before that which lanes may be called at all."""

from collections import Counter
from collections.abc import Collection, Mapping, Sequence

from adapters.store.lanes import Lane
from consumer.calling.accounts import AccountKey


def account_of(lane: Lane) -> AccountKey:
    """The account that the calls of a lane use."""
    return AccountKey(lane.shop, lane.kind.remote)


class Turns:
    """Shares calls out to lanes in turn. It remembers whose turn was longest ago. Not thread-safe."""

    def __init__(self, per_account: int) -> None:
        """`per_account`: how many calls to one account may be under way at a time."""
        self._per_account = per_account
        self._served: dict[Lane, int] = {}  # the number of the turn that a lane had last
        self._turn = 0

    def share(
        self, due: Sequence[Lane], most: int, *, under_way: Mapping[Lane, int], tested: Collection[Lane] = ()
    ) -> dict[Lane, int]:
        """Share at most `most` calls out to the lanes in `due`, one after another. Returns the calls of each lane.

        Of lanes that had no turn yet, the first in `due` goes first. A lane in `tested` gets one call.
        """
        room: Counter[AccountKey] = Counter()
        for lane in {*due, *under_way}:
            room[account_of(lane)] -= under_way.get(lane, 0)
        given: Counter[Lane] = Counter()
        waiting = sorted(due, key=lambda lane: self._served.get(lane, 0))
        while waiting and given.total() < most:
            again = []
            for lane in waiting:
                if given.total() == most or room[account_of(lane)] + self._per_account <= 0:
                    continue
                given[lane] += 1
                room[account_of(lane)] -= 1
                self._turn += 1
                self._served[lane] = self._turn
                if lane not in tested:
                    again.append(lane)
            waiting = again
        return dict(given)
