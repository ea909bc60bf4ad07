"""What a person reads on standard error beside orders if calls are not made now."""

from consumer.cli.opening import Session
from consumer.cli.output import note
from consumer.operations.at_work import NO_WORKER, no_worker, paused_shops


def note_no_worker(session: Session) -> None:
    """Say so if no worker runs, in one line."""
    if no_worker(session.store, session.clock.now()):
        note(NO_WORKER)


def note_paused_shops(session: Session, shop: str | None) -> None:
    """Say which shops are paused, and how many calls wait for that. `shop`: only this one; None: every shop."""
    effects = {name: table.effects for name, table in session.settings.shops.items()}
    for one in paused_shops(session.store, effects, shop, session.clock.now()):
        note(one)
