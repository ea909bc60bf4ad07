"""Dead letters, by hand: replayed or discarded."""

from collections.abc import Sequence

from adapters.errors import Unreadable
from adapters.messages.cloudevents import record_of
from adapters.messages.oms_events import ShopIds, oms_event
from adapters.messages.snapshots import snapshot_event, snapshot_of
from adapters.ports import Clock, LogWriter, NewRecord
from adapters.store import audit as audit_rows
from adapters.store import dead_letters as dead_letter_rows
from adapters.store.dead_letters import StoredDeadLetter
from adapters.store.transaction import Store
from consumer.config import TopicsTable
from consumer.operations.orders import NotPossible, needs_words

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
        dead_letter_rows.close(tx, letter.id, letter.times, "replayed")
        audit_rows.add(tx, who=who, act="replayed", subject=f"dead letter {letter_id}", why=why, at=clock.now())
    return record.topic


def discard(store: Store, clock: Clock, letter_id: int, *, who: str, why: str) -> None:
    """Mark a dead letter as seen to. Raises NotPossible."""
    needs_words(why)
    letter = _open_letter(store, letter_id)
    with store.transaction() as tx:
        if not dead_letter_rows.close(tx, letter.id, letter.times, "discarded"):
            raise NotPossible(f"dead letter {letter_id} was set aside once more, or seen to, just now: look again")
        audit_rows.add(tx, who=who, act="discarded", subject=f"dead letter {letter_id}", why=why, at=clock.now())


def _open_letter(store: Store, letter_id: int) -> StoredDeadLetter:
    letter = dead_letter_rows.find(store, letter_id)
    if letter is None:
        raise NotPossible(f"there is no dead letter {letter_id}")
    if letter.state != "open":
        raise NotPossible(f"dead letter {letter_id} is {letter.state} already")
    return letter


def _record_of(letter: StoredDeadLetter, shops: Sequence[ShopIds], topics: TopicsTable, clock: Clock) -> NewRecord:
    """As it came from its topic; what came from a poll or a callback gets its envelope only now."""
    value = letter.value or b""
    kind, _, shop_name = letter.source.partition(":")
    if not shop_name:
        return NewRecord(letter.source, letter.key, value, letter.headers)
    shop = next((one for one in shops if one.name == shop_name), None)
    if shop is None:
        raise NotPossible(f"dead letter {letter.id}: its shop {shop_name} is not in the configuration")
    try:
        if kind == "callback":
            return record_of(topics.oms_events, oms_event(shop.company_ref_id, value, clock.now()))
        order_id, snapshot = snapshot_of(value, letter.first_at)
        return record_of(topics.snapshots, snapshot_event(shop_name, order_id, value, snapshot))
    except Unreadable as error:
        raise NotPossible(f"dead letter {letter.id} can still not be read ({error}); discard it") from error
