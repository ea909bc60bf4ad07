"""What a person reads on standard error beside orders if calls are not made now."""

from collections.abc import Iterable

from consumer.cli.opening import Session
from consumer.cli.output import note
from consumer.operations.at_work import NO_WORKER, no_worker, paused_shops


def note_no_worker(session: Session) -> None:
    """Say so if no worker runs, in one line."""
    if no_worker(session.store, session.clock.now()):
        note(NO_WORKER)


def note_unconfigured(session: Session, shops: Iterable[str]) -> None:
    """Say which of these shops left the configuration: nothing that their orders wait for can happen."""
    for shop in sorted(set(shops) - session.settings.shops.keys()):
        note(f"{shop} is not in the configuration: it is not read at Mirakl, and no call is made for its orders.")


def note_paused_shops(session: Session, shop: str | None) -> None:
    """Say which shops are paused, and how many calls wait for that. `shop`: only this one; None: every shop."""
    effects = {name: table.effects for name, table in session.settings.shops.items()}
    for one in paused_shops(session.store, effects, shop, session.clock.now()):
        note(one)
