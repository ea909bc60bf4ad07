"""What a person decides: an act on an order is an event like any other; a switch of a shop is audited."""

import uuid
from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Final

from adapters.messages.wire import CloudEvent, ShopIds, oms_event, snapshot_event, snapshot_of, to_structured
from adapters.ports import Clock, LogWriter, NewRecord, OrderflowError, Unreadable
from adapters.store import views
from adapters.store.transaction import OrderRow, Store, Transaction, headers_from_json
from adapters.store.views import CommandView, Letter, ShopView
from consumer.apply import Orders
from consumer.config import TopicsTable
from statemachine.commands import KINDS, retry_subject
from statemachine.events import ACT, Event
from statemachine.facts import Act, Facts
from statemachine.states import ACCEPT, CANCELED, REFUSED, is_pending, last_answer, mirakl_state

SOURCE: Final = "/orderflow/person"

#: What a person can do to an order.
ACTS: Final = ("accept", "refuse", "hold", "settle", "retry")

#: The groups of effects that `--only` names.
GROUPS: Final = tuple(dict.fromkeys(group for _, group, _ in KINDS))


class NotPossible(OrderflowError):
    """What was asked for makes no sense now. The text says why."""


# -- Orders ------------------------------------------------------------------------------------------------------


def act(orders: Orders, order: OrderRow, kind: str, *, who: str, why: str, at: datetime) -> OrderRow:
    """Apply one act; the order as it is then. Raises NotPossible where it would do nothing."""
    if order.shop not in orders.policies:  # apply would plan its calls by a policy that is not the shop's
        raise NotPossible(f"{_name(order)}: its shop is not in the configuration")
    needs_words(why)
    subject = _SUBJECT[kind](orders.store, order, at)
    says = Facts(acts=(Act(at, kind, who, why, subject),))
    event = Event(SOURCE, uuid.uuid4().hex, order.shop, order.order_id, ACT, at, says, note={"act": kind})
    with orders.store.transaction() as tx:
        applied = orders.apply_in(tx, [event])
        if kind == "retry":
            tx.hurry(order.key, at)
    orders.tell(applied)
    return views.find_orders(orders.store, order.order_id, order.shop)[0]


def _decision(_store: Store, order: OrderRow, _at: datetime) -> tuple[str, ...]:
    """accept, refuse: only while Mirakl waits for the answer."""
    _not_final(order)
    if mirakl_state(order.facts) not in ("", "STAGING", "WAITING_ACCEPTANCE"):
        raise NotPossible(f"{_name(order)} waits for no decision any more: it is {order.state}")
    if is_pending(order.facts, last_answer(order.facts, ACCEPT)):
        raise NotPossible(f"{_name(order)}: Mirakl has our answer already; a read has to show it first")
    return ()


def _hold(_store: Store, order: OrderRow, _at: datetime) -> tuple[str, ...]:
    _not_final(order)
    if "held" in _reasons(order):
        raise NotPossible(f"{_name(order)} is held already")
    return ()


def _settled(_store: Store, order: OrderRow, _at: datetime) -> tuple[str, ...]:
    """All that needs attention now. A hold ends with the act itself: named, it would stay settled for ever."""
    if not _reasons(order) - {"no_edge"}:
        missing_row = " but no_edge, which only an upgrade ends" if order.attention else ""
        raise NotPossible(f"{_name(order)}: nothing to settle{missing_row}")
    return tuple(f"{reason}:{detail}" for reason, detail, _ in order.attention if reason not in ("held", "no_edge"))


def _retried(store: Store, order: OrderRow, at: datetime) -> tuple[str, ...]:
    """Every call that ended without success. None, but a call that waits in back-off: that one is hurried."""
    commands = views.commands(store, order.key)
    subject = tuple(retry_subject((c.kind, c.carries, c.round)) for c in _ended(order, commands))
    if not subject and not any(c.state == "open" and c.next_at > at for c in commands):
        raise NotPossible(
            f"{_name(order)}: nothing to retry: no call was refused or given up, and none waits for its next try"
        )
    return subject


_SUBJECT: Final = {"accept": _decision, "refuse": _decision, "hold": _hold, "settle": _settled, "retry": _retried}


def _ended(order: OrderRow, commands: Sequence[CommandView]) -> list[CommandView]:
    """The last round of each command, where it was refused or given up, or said yes to and never done."""
    last = {(c.kind, c.carries): c for c in sorted(commands, key=lambda c: c.round)}
    never_done = {detail.split("#", maxsplit=1)[0] for reason, detail, _ in order.attention if reason == "not_applied"}
    return [
        c for c in last.values() if c.state in ("rejected", "gave_up") or (c.state == "done" and c.kind in never_done)
    ]


def _not_final(order: OrderRow) -> None:
    if order.state in (REFUSED, CANCELED):
        raise NotPossible(f"{_name(order)} is {order.state}, which is final")


def _reasons(order: OrderRow) -> set[str]:
    return {reason for reason, _, _ in order.attention}


def _name(order: OrderRow) -> str:
    return f"{order.shop} {order.order_id}"


# -- Shops -------------------------------------------------------------------------------------------------------


def pause(store: Store, clock: Clock, shop: str, *, only: str | None, who: str, why: str) -> ShopView:
    """Let the shop's effects rest, or one group of them. It goes on to read, decide and show."""
    needs_words(why)
    with store.transaction() as tx:
        _, resting = _switches(tx, shop)
        tx.switch(shop, paused={*resting, *_groups(only)})
        tx.add_audit(who, "pause", _subject(shop, only), why, clock.now())
    return _shop(store, shop)


def resume(
    store: Store, clock: Clock, shop: str, *, only: str | None, who: str, why: str, configured: str | None
) -> ShopView:
    """Let them go on. `configured` is the file's `effects`: "on", "off", or None where it has no such line.

    A shop first seen without the line began with its effects off: this switches them on.
    """
    if configured == "off":
        raise NotPossible(f'shops.{shop}.effects is "off" in the configuration: take the line out or set it to "on"')
    needs_words(why)
    with store.transaction() as tx:
        effects, resting = _switches(tx, shop)
        tx.switch(shop, paused=set(resting if effects else GROUPS) - set(_groups(only)), effects=True)
        tx.add_audit(who, "resume", _subject(shop, only), why, clock.now())
    return _shop(store, shop)


# -- Dead letters ------------------------------------------------------------------------------------------------


def replay(
    store: Store,
    log: LogWriter,
    clock: Clock,
    letter_id: int,
    *,
    shops: Sequence[ShopIds],
    topics: TopicsTable,
    who: str,
    why: str,
) -> str:
    """Publish a dead letter once more, byte for byte. Returns the topic. Raises NotPossible, LogUnavailable."""
    needs_words(why)
    letter = _open_letter(store, letter_id)
    record = _record_of(letter, shops, topics, clock)
    log.publish([record])  # first: published twice does nothing twice, marked and not published would be lost
    with store.transaction() as tx:  # one that a fast consumer has set aside again by now stays open
        tx.close_letter(letter.id, letter.times, "replayed")
        tx.add_audit(who, "replayed", f"dead letter {letter_id}", why, clock.now())
    return record.topic


def discard(store: Store, clock: Clock, letter_id: int, *, who: str, why: str) -> None:
    """Mark a dead letter as seen to. Raises NotPossible."""
    needs_words(why)
    letter = _open_letter(store, letter_id)
    with store.transaction() as tx:
        if not tx.close_letter(letter.id, letter.times, "discarded"):
            raise NotPossible(f"dead letter {letter_id} was set aside once more, or seen to, just now: look again")
        tx.add_audit(who, "discarded", f"dead letter {letter_id}", why, clock.now())


def _open_letter(store: Store, letter_id: int) -> Letter:
    letters = views.dead_letters(store, letter_id)
    if not letters:
        raise NotPossible(f"there is no dead letter {letter_id}")
    if letters[0].state != "open":
        raise NotPossible(f"dead letter {letter_id} is {letters[0].state} already")
    return letters[0]


def _record_of(letter: Letter, shops: Sequence[ShopIds], topics: TopicsTable, clock: Clock) -> NewRecord:
    """As it came from its topic; what came from a poll or a callback gets its envelope only now."""
    value = letter.value or b""
    kind, _, shop_name = letter.source.partition(":")
    if not shop_name:
        return NewRecord(letter.source, letter.record_key, value, headers_from_json(letter.headers))
    shop = next((one for one in shops if one.name == shop_name), None)
    if shop is None:
        raise NotPossible(f"dead letter {letter.id}: its shop {shop_name} is not in the configuration")
    try:
        if kind == "callback":
            return _enveloped(topics.oms_events, oms_event(shop.company_ref_id, value, clock.now()), base64=False)
        order_id, snapshot = snapshot_of(value, letter.first_at)
        return _enveloped(topics.snapshots, snapshot_event(shop_name, order_id, value, snapshot), base64=True)
    except Unreadable as error:
        raise NotPossible(f"dead letter {letter.id} can still not be read ({error}); discard it") from error


def _enveloped(topic: str, event: CloudEvent, *, base64: bool) -> NewRecord:
    value, headers = to_structured(event, base64=base64)
    return NewRecord(topic, event.extensions["partitionkey"].encode(), value, headers)


def _switches(tx: Transaction, shop: str) -> tuple[bool, tuple[str, ...]]:
    """Its row stays locked to the end of the transaction, so that nobody's change in between is lost."""
    found = tx.switches(shop)
    if found is None:
        raise NotPossible(f"the store knows no shop {shop}: `orderflow run` makes it known")
    return found


def _shop(store: Store, name: str) -> ShopView:
    return next(shop for shop in views.shops(store) if shop.name == name)


def _groups(only: str | None) -> Collection[str]:
    return (only,) if only else GROUPS


def _subject(shop: str, only: str | None) -> str:
    return f"{shop} {only}" if only else shop


def needs_words(why: str) -> None:
    """Raises NotPossible for a reason that is none."""
    if not why.strip():
        raise NotPossible("--reason says nothing")
