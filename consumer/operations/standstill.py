"""What stands still, one sentence each: polls, calls, callbacks, the outbox, the loops of this machine's process.

`orderflow status` shows all of it.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Final

from adapters.store.backlog import NEAR, Backlog
from adapters.store.counts import StoredCounts, unconfigured
from adapters.store.shops import WRONG_ACCOUNT, ShopRow
from consumer.config import Settings
from consumer.hooks import BEAT_SECONDS, CallbackResult
from consumer.leases import RELAY
from consumer.operations.instants import to_the_minute
from consumer.operations.pauses import Pause
from consumer.operations.process import Process
from statemachine.commands import CommandKind

#: A shop stands still if its last successful poll ended more than so many of its intervals ago.
STALE_INTERVALS: Final = 10
#: A call that may be made stands still if it was not made for this time.
DUE_FOR: Final = timedelta(minutes=15)
#: A call for an order whose deadline is near stands still if it was not made for this time.
DUE_NEAR_DEADLINE_FOR: Final = timedelta(minutes=5)
#: A record of the outbox stands still if it was not published for this time.
UNPUBLISHED_FOR: Final = timedelta(minutes=5)
#: Answers to callbacks that prove no right secret, or for which there is none to compare with.
REFUSED_CALLBACKS: Final = (CallbackResult.NOT_AUTHENTIC, CallbackResult.UNVERIFIABLE)
#: KornitX repeats a callback for ten hours (docs/kornitx.md 8). A refusal before that says nothing of now.
CALLBACK_REPEATED_FOR: Final = timedelta(hours=10)


def of_shop(
    shop: ShopRow, calls: Sequence[Backlog], settings: Settings, now: datetime, *, is_polled: bool
) -> Iterator[str]:
    """What stands still for a configured shop. `is_polled`: whether a process holds the lease of its polls."""
    if WRONG_ACCOUNT in shop.paused:
        yield f"{shop.name}: every call waits, because its key belongs to another shop"
    if shop.polled_at is None:
        yield f"{shop.name}: never polled"
    elif now - shop.polled_at > STALE_INTERVALS * timedelta(seconds=settings.shops[shop.name].poll_interval_seconds):
        yield f"{shop.name}: no poll has succeeded for {_minutes(now - shop.polled_at)}"
    if not is_polled:
        yield f"{shop.name}: no process polls it"
    for one in calls:
        if one.oldest_due is not None and _is_on(one.kind, shop) and now - one.oldest_due > DUE_FOR:
            yield f"{shop.name}: {one.kind} has been due for {_minutes(now - one.oldest_due)}"


def _is_on(kind: CommandKind, shop: ShopRow) -> bool:
    return shop.effects and kind.group not in shop.paused


def near_deadlines(
    shop: ShopRow, calls: Sequence[Backlog], pauses: Sequence[Pause], process: Process | None, now: datetime
) -> Iterator[str]:
    """Orders that reach Mirakl's deadline while the call that they need is not made: behind a pause, behind an account
    that rests, or because nobody makes it."""
    for one in calls:
        why = _why_not_made(one, shop, pauses, process, now)
        if not one.near or one.deadline is None or not why:
            continue
        over = f", {one.overdue} already over" if one.overdue else ""
        yield (
            f"{shop.name}: {one.kind} is not made, and the deadline at Mirakl is nearer than "
            f"{NEAR / timedelta(hours=1):.0f} h for {one.near} order{'s' * (one.near != 1)}{over} (the first: "
            f"{to_the_minute(one.deadline)}): {why}"
        )


def _why_not_made(one: Backlog, shop: ShopRow, pauses: Sequence[Pause], process: Process | None, now: datetime) -> str:
    """Why the calls of this kind are not made. Empty: they are made."""
    if not _is_on(one.kind, shop):
        paused = [str(pause) for pause in pauses if not shop.effects or one.kind.group in pause.groups]
        return f"paused, {'; '.join(paused)}" if paused else "paused"
    system = str(one.kind.remote)
    rests = [why for at, name, why in process.resting if (at, name) == (system, shop.name)] if process else []
    if rests:
        return f"the account at {system} rests, {' and '.join(rests)}"
    if one.oldest_due is not None and now - one.oldest_due > DUE_NEAR_DEADLINE_FOR:
        return f"no worker has made it for {_minutes(now - one.oldest_due)}"
    return ""


def of_callbacks(process: Process, shops: Collection[str], now: datetime) -> Iterator[str]:
    """Shops whose callbacks are refused: the last one that was refused is newer than the last one that was taken."""
    for shop in sorted(shops):
        last_of = process.callbacks.get(shop, {})
        refused = max((last_of.get(one, 0.0), str(one)) for one in REFUSED_CALLBACKS)
        taken = last_of.get(CallbackResult.TAKEN, 0.0)
        at = datetime.fromtimestamp(refused[0], UTC)
        if refused[0] > taken and now - at <= CALLBACK_REPEATED_FOR:
            last = f"the last one was taken at {to_the_minute(datetime.fromtimestamp(taken, UTC))}" if taken else ""
            what = "the secret is wrong" if refused[1] == CallbackResult.NOT_AUTHENTIC else "its file is unusable"
            yield (
                f"{shop}: callbacks are refused ({refused[1]}: {what}), the last one {_minutes(now - at)} ago, and "
                f"{last or 'none was taken'} by the process of this machine"
            )


def of_unconfigured(counts: StoredCounts, shops: Collection[str]) -> Iterator[str]:
    """Shops that are not among `shops`, the configured ones, and have open orders."""
    orders: dict[str, int] = {}
    for (shop, _), waiting in unconfigured(counts, shops).items():
        orders[shop] = orders.get(shop, 0) + waiting.count
    for shop, count in sorted(orders.items()):
        orders_are = "order of it is" if count == 1 else "orders of it are"
        yield f"{shop}: is not in the configuration, and {count} {orders_are} open"


def of_relay(counts: StoredCounts, leases: Mapping[str, str], now: datetime) -> Iterator[str]:
    if RELAY not in leases:
        yield "no process publishes the outbox"
    for topic, waiting in counts.outbox.items():
        if waiting.oldest is not None and now - waiting.oldest > UNPUBLISHED_FOR:
            yield f"{topic}: {waiting.count} records are not published, the oldest for {_minutes(now - waiting.oldest)}"


def of_process(process: Process, now: datetime) -> Iterator[str]:
    for loop, beat in sorted(process.beats.items()):
        if now.timestamp() - beat > BEAT_SECONDS:
            yield f"a thread of the loop {loop} of this machine has had no turn for {now.timestamp() - beat:.0f} s"
    yield from (f"the loop {one} of this machine fails" for one in process.failing)
    yield from (f"{shop}: {why} at {system}, in the process of this machine" for system, shop, why in process.resting)


def _minutes(span: timedelta) -> str:
    return f"{span / timedelta(minutes=1):.0f} min"
