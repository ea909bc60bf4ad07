"""What a person can do with a dead letter: look at it, replay it, or discard it. The last two are audited."""

from collections.abc import Sequence

from adapters.errors import RecordRefused, Unreadable
from adapters.messages.cloudevents import record_of
from adapters.messages.oms_events import ShopIds, oms_event
from adapters.messages.snapshots import snapshot_event, snapshot_of
from adapters.ports import Clock, LogWriter, NewRecord
from adapters.store import audit as audit_rows
from adapters.store import dead_letters as dead_letter_rows
from adapters.store.dead_letters import CALLBACK, StoredDeadLetter, split_source
from adapters.store.schema import DeadLetterState
from adapters.store.transaction import Store
from consumer.config import TopicsTable
from consumer.operations.errors import NotPossible, require_reason


def find(store: Store, dead_letter_id: int) -> StoredDeadLetter:
    """The dead letter with this id. Raises NotPossible if there is none."""
    found = dead_letter_rows.find(store, dead_letter_id)
    if found is None:
        raise NotPossible(f"there is no dead letter {dead_letter_id}")
    return found


def set_aside(store: Store, shops: Sequence[ShopIds], shop: str) -> list[int]:
    """The ids of the open dead letters of a shop that were set aside: its orders, and the reports of its company.

    Raises NotPossible if the shop is not configured.
    """
    ids = next((one for one in shops if one.name == shop), None)
    if ids is None:
        raise NotPossible(f"the shop {shop} is not in the configuration")
    found = [dead_letter_rows.set_aside(store, owner) for owner in (shop, str(ids.company_ref_id))]
    return sorted(found[0] + found[1])


def topic_of(dead_letter: StoredDeadLetter, shops: Sequence[ShopIds], topics: TopicsTable) -> str:
    """The topic to which a replay publishes it. Raises NotPossible as `replay` does."""
    require_open(dead_letter)
    return _record_of(dead_letter, shops, topics).topic


def replay(
    store: Store,
    log: LogWriter,
    clock: Clock,
    dead_letter: StoredDeadLetter,
    *,
    shops: Sequence[ShopIds],
    topics: TopicsTable,
    who: str,
    why: str,
) -> str:
    """Publish a dead letter once more, byte for byte. Returns the topic.

    Raises LogUnavailable, StoreUnavailable, and NotPossible, also if the log never takes the record.

    The record is published before its row is marked, because a record that is published twice changes nothing. If the
    row were marked first, a crash before the publication would lose the record.
    """
    require_reason(why)
    require_open(dead_letter)
    record = _record_of(dead_letter, shops, topics)
    try:
        log.publish([record])
    except RecordRefused as error:
        raise NotPossible(f"{_subject(dead_letter)}: {record.topic} does not take it: {error}") from error
    with store.transaction() as tx:
        # A fast consumer may have dead-lettered the record again by now. Then the row stays open.
        dead_letter_rows.close(tx, dead_letter.id, dead_letter.times, DeadLetterState.REPLAYED)
        audit_rows.add(tx, who=who, act="replayed", subject=_subject(dead_letter), why=why, at=clock.now())
    return record.topic


def discard(store: Store, clock: Clock, dead_letter: StoredDeadLetter, *, who: str, why: str) -> None:
    """Close a dead letter without using it. Raises NotPossible, also if the same record came again meanwhile."""
    require_reason(why)
    require_open(dead_letter)
    with store.transaction() as tx:
        if not dead_letter_rows.close(tx, dead_letter.id, dead_letter.times, DeadLetterState.DISCARDED):
            raise NotPossible(f"{_subject(dead_letter)} came again, or was closed, just now: look at it again")
        audit_rows.add(tx, who=who, act="discarded", subject=_subject(dead_letter), why=why, at=clock.now())


def require_open(dead_letter: StoredDeadLetter) -> None:
    if dead_letter.state != DeadLetterState.OPEN:
        raise NotPossible(f"{_subject(dead_letter)} is {dead_letter.state} already")


def _subject(dead_letter: StoredDeadLetter) -> str:
    return f"dead letter {dead_letter.id}"


def _record_of(dead_letter: StoredDeadLetter, shops: Sequence[ShopIds], topics: TopicsTable) -> NewRecord:
    """The record to publish. A dead letter that came from a topic is published as it was.

    An order of a poll, or a callback, was never in the log, so it gets its envelope now. Raises NotPossible if the shop
    is not configured, if the content still cannot be read, or if there is none, because Kafka did not give the record.
    """
    value = dead_letter.value
    if value is None:
        raise NotPossible(f"{_subject(dead_letter)} has no content to publish ({dead_letter.reason}); discard it")
    came_by, shop_name = split_source(dead_letter.source)
    if not shop_name:
        return NewRecord(dead_letter.source, dead_letter.key, value, dead_letter.headers)
    shop = next((one for one in shops if one.name == shop_name), None)
    if shop is None:
        raise NotPossible(f"{_subject(dead_letter)}: its shop {shop_name} is not in the configuration")
    try:
        if came_by == CALLBACK:
            return record_of(topics.oms_events, oms_event(shop.company_ref_id, value, dead_letter.first_at))
        order_id, snapshot = snapshot_of(value, dead_letter.first_at)
        return record_of(
            topics.snapshots, snapshot_event(shop_name, order_id, value, snapshot.digest, snapshot.read_at)
        )
    except Unreadable as error:
        raise NotPossible(f"{_subject(dead_letter)} can still not be read ({error}); discard it") from error
